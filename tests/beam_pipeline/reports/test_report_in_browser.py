"""The pages in a real Chromium: they load, work by mouse and keyboard, stay offline, and run nothing they are given."""

import os
import re
import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from beam_pipeline.commands.compare import compare
from beam_pipeline.options.results import CompareOptions, ReportOptions
from beam_pipeline.reports import report as report_module
from beam_pipeline.reports.report import report

CHROMIUM = os.environ.get("CAPTIONBEAM_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HOSTILE = ('"><img src=x onerror=alert(1)>.jpg', "it's & <b>.jpg", "100%25 #1?.jpg")


@pytest.fixture(scope="module")
def chromium():
    if not CHROMIUM:
        pytest.skip("needs chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium):
    """Opens a page and waits until it has drawn itself; afterwards nothing may have been asked for, said or run."""
    contexts, oddities = [], []

    def visit(path, **settings):
        context = chromium.new_context(viewport={"width": 1200, "height": 900}, **settings)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("request", lambda request: None if _is_local(request.url) else oddities.append(request.url))
        page.on("console", lambda message: oddities.append(message.text))
        page.on("pageerror", lambda error: oddities.append(str(error)))
        page.on("dialog", lambda dialog: (oddities.append(dialog.message), dialog.dismiss()))
        page.goto(Path(path).as_uri())
        page.wait_for_selector("html[data-drawn=yes]")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert oddities == []


def until(page, expression, argument=None) -> None:
    """Waits for JavaScript to come true; Playwright's own way needs eval, which the page forbids."""
    for _ in range(300):
        if page.evaluate(expression, argument):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"{expression} did not come true")


def _is_local(url: str) -> bool:
    return url.startswith(("file:", "data:image/"))


@pytest.fixture
def many(results, good, tmp_path, noisy_jpeg):
    """The report of 60 pictures with 26 content words, two of them rejected; returns the page."""
    folder = tmp_path / "many"
    folder.mkdir()
    words = [f"word{chr(97 + number)}" for number in range(26)]
    captions, presence, scores = {}, {}, {}
    for number in range(60):
        path = folder / f"p{number:02d}.jpg"
        path.write_bytes(noisy_jpeg(number))
        said = [word for at, word in enumerate(words) if number % (at + 1) == 0]
        captions[path] = " ".join(["a", *said])
        presence[path] = {word: {"presence": 0.1 if number == 0 else 0.9} for word in said}
        scores[path] = -(number + 1) / 60
    rejected = {folder / "cut.jpg": "truncated", folder / "page.jpg": "not an image: a web page"}
    directory = results(captions, rejected, scores=scores, presence=presence, flags={folder / "p07.jpg": ("repeats",)})
    return report(ReportOptions(str(directory)))


def first_column(page, table="#word-table") -> list[str]:
    return page.locator(f"{table} tbody th").all_text_contents()


def test_words_are_ordered_searched_and_leafed_through(visit, many):
    page = visit(many)
    table = page.locator("#word-table")
    assert first_column(page)[:2] == ["worda", "wordb"] and len(first_column(page)) == 20
    assert table.get_by_role("status").text_content() == "1–20 of 26 words"
    table.get_by_role("button", name="Word", exact=True).click()
    assert (
        first_column(page)[0] == "worda"
        and table.get_by_role("columnheader", name="Word").get_attribute("aria-sort") == "ascending"
    )
    table.get_by_role("button", name="Word", exact=True).click()
    assert first_column(page)[0] == "wordz"
    table.get_by_role("button", name="Next").click()
    assert first_column(page) == [f"word{letter}" for letter in "fedcba"]
    table.get_by_role("searchbox").fill("WORDQ")
    assert first_column(page) == ["wordq"] and table.get_by_role("status").text_content() == "1 word found"
    table.get_by_role("searchbox").fill("nothing like it")
    assert first_column(page) == [] and table.get_by_role("status").text_content() == "no words found"


def test_numbers_are_ordered_as_numbers(visit, many):
    page = visit(many)
    page.locator("#word-table").get_by_role("button", name="In captions", exact=True).click()
    said = [int(text) for text in page.locator("#word-table tbody td:nth-child(6)").all_text_contents()]
    assert said == sorted(said, reverse=True) and said[0] == 60 and said[-1] < 10


def test_captions_are_searched_filtered_ordered_and_leafed_through(visit, many):
    page = visit(many)
    gallery = page.locator("#gallery")
    names = gallery.locator(".name")
    assert names.count() == 24 and names.first.text_content() == "p00.jpg"
    gallery.get_by_label("Sort").select_option("least")
    assert names.first.text_content() == "p59.jpg"
    gallery.get_by_label("Show").select_option("flagged")
    assert names.all_text_contents() == ["p07.jpg"] and gallery.locator(".flag").text_content() == "repeats a phrase"
    gallery.get_by_label("Show").select_option("all")
    gallery.get_by_label("Sort").select_option("name")
    gallery.get_by_label("Search captions and names").fill("wordz")
    assert names.all_text_contents() == ["p00.jpg", "p26.jpg", "p52.jpg"]
    gallery.get_by_label("Search captions and names").fill("p5")
    assert names.count() == 10
    gallery.get_by_label("Search captions and names").fill("")
    gallery.get_by_role("button", name="Next").click()
    assert names.first.text_content() == "p24.jpg"


def test_a_picture_is_called_by_its_file_and_found_by_its_folder_too(visit, results, good, tmp_path, jpeg):
    (tmp_path / "photos" / "trip").mkdir()
    (tmp_path / "photos" / "trip" / "sea.jpg").write_bytes(jpeg((1, 2, 3)))
    captions = {good / "00.jpg": "a dog", tmp_path / "photos" / "trip" / "sea.jpg": "a boat"}
    gallery = visit(report(ReportOptions(str(results(captions))))).locator("#gallery")
    gallery.get_by_label("Search captions and names").fill("trip")
    assert gallery.locator(".name").all_text_contents() == ["sea.jpg"]
    assert gallery.locator(".name a").get_attribute("title") == "trip/sea.jpg"


def test_a_word_leads_to_the_pictures_behind_it(visit, many):
    page = visit(many)
    page.locator("#cloud").get_by_role("button", name="wordc").click()
    panel = page.locator("#word-panel")
    assert "wordc fits 17.2 of 60 pictures" in panel.locator(".facts").text_content()
    lists = panel.locator("ul")
    assert lists.count() == 2 and "p00.jpg" not in lists.first.text_content()
    assert lists.last.locator(".name").all_text_contents() == ["p00.jpg"]
    page.get_by_label("Word", exact=True).select_option("wordz")
    assert panel.locator(".facts").text_content().startswith("wordz fits")


def test_the_chart_shows_words_with_intervals_in_light_and_dark(visit, many):
    page = visit(many)
    bars = page.locator("#chart svg .mark-rect path")
    assert bars.count() == 25 and page.locator("#chart svg .mark-rule.role-mark line").count() == 25
    light = bars.first.get_attribute("fill")
    page.emulate_media(color_scheme="dark")
    until(page, "(light) => document.querySelector('#chart .mark-rect path')?.getAttribute('fill') !== light", light)
    page.get_by_label("number of pictures").check()
    until(page, "document.querySelectorAll('#chart .mark-rect path').length === 25")


def test_thumbnails_are_drawn_when_they_are_looked_at(visit, many):
    page = visit(many)
    page.locator("#gallery").scroll_into_view_if_needed()
    until(page, "document.querySelector('#gallery img').naturalWidth > 0")
    assert page.locator("img:not([loading=lazy])").count() == 0


def test_everything_is_reached_by_keyboard(visit, many):
    page = visit(many)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.locator("#word-table").get_by_role("searchbox").focus()
    page.keyboard.type("wordb")
    assert first_column(page) == ["wordb"]
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the heading of the first column
    assert page.locator("#word-table th[aria-sort=ascending]").text_content() == "Word"
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.className") == "word":
            break
    page.keyboard.press("Enter")
    assert page.locator("#word-panel .facts strong").text_content() == "wordb"
    assert page.evaluate("document.activeElement.id") == "word-choice", "the focus follows"
    page.locator("#gallery").get_by_role("button", name="Next").focus()
    page.keyboard.press("Enter")
    assert page.locator("#gallery .name").first.text_content() == "p24.jpg"
    assert page.evaluate("document.activeElement.textContent") == "Next →", "and stays on what was pressed"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360])
def test_no_serious_barrier(visit, many, compared, scheme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    for path in (many, compared):
        page = visit(path, color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 800})
        found = axe.run(page).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"


@pytest.mark.parametrize("place", ["inside", "beside"])
def test_hostile_names_are_shown_as_they_are_and_open(visit, results, tmp_path, jpeg, colours, monkeypatch, place):
    if place == "beside":
        monkeypatch.setattr(report_module, "MAX_PAGE_BYTES", 1)
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, colour in zip(HOSTILE, colours, strict=False):
        (folder / name).write_bytes(jpeg(colour))
    rejected = {folder / f"cut {name}": "<script>alert(1)</script>" for name in HOSTILE}
    directory = results({folder / name: f"a dog says {name}" for name in HOSTILE}, rejected)
    page = visit(report(ReportOptions(str(directory))))
    gallery = page.locator("#gallery")
    assert sorted(gallery.locator(".name").all_text_contents()) == sorted(HOSTILE)
    assert sorted(page.locator("#rejected-table tbody th").all_text_contents()) == sorted(
        f"cut {name}" for name in HOSTILE
    )
    assert page.locator("b, img[src=x], [onerror]").count() == 0
    assert page.locator("script").count() == 4
    gallery.scroll_into_view_if_needed()
    until(page, "[...document.querySelectorAll('#gallery img')].filter((one) => one.naturalWidth > 0).length === 3")
    opened = set()
    for link in gallery.locator("a").all():
        address = link.evaluate("(link) => link.href")
        parts = urlsplit(address)
        assert not parts.query and not parts.fragment
        opened.add(Path(unquote(parts.path)))
        other = page.context.new_page()
        other.goto(address)
        assert other.locator("img").evaluate("(image) => image.naturalWidth") == 64, "the picture itself"
    assert opened == {folder / name for name in HOSTILE}


def test_a_page_of_nothing_has_no_error(visit, results):
    page = visit(report(ReportOptions(str(results({})))))
    assert page.locator(".empty").count() == 4


@pytest.fixture
def compared(results, good, tmp_path, capsys):
    """The page of a comparison."""
    first = results({good / f"{number:02d}.jpg": "a dog by the sea" for number in range(10)}, name="coast")
    second = results({good / f"{number:02d}.jpg": "a dog in a street" for number in range(10, 20)}, name="town")
    compare(CompareOptions(str(first), str(second), str(tmp_path / "comparison.csv")))
    assert "comparison.html: the same comparison as a page" in capsys.readouterr().out
    return tmp_path / "comparison.html"


def test_a_comparison_has_a_chart_and_a_table(visit, compared):
    page = visit(compared)
    assert page.locator("h1").text_content() == "coast and town"
    assert first_column(page) == ["sea", "dog", "street"]
    rows = page.locator("#word-table tbody tr").all_text_contents()
    assert "more in A" in rows[0] and "more in B" in rows[2] and "more" not in rows[1]
    assert page.locator("#chart svg .mark-symbol path").count() == 2, "a word that is level has no interval"
    page.locator("#word-table").get_by_role("button", name=re.compile("^z")).click()
    assert first_column(page)[0] == "street"
