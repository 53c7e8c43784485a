"""The report page without a browser: what it holds, that it stays small, and that no failure of it costs the job."""

import base64
import hashlib
import html.parser
import json
import os
import re
import zipfile

import pytest

from beam_pipeline.cli import main
from beam_pipeline.options.limits import DEFAULT_DECODE_LIMITS
from beam_pipeline.options.results import ReportOptions
from beam_pipeline.reports import report as report_module
from beam_pipeline.reports.report import report, report_of_caption
from beam_pipeline.reports.thumbnails import PictureReader
from beam_pipeline.runtime import storage
from training.errors import JobFailed, UserError
from training.own_names import REPORT, THUMBNAILS

HOSTILE = "</script><script>alert(1)</script><!-- \" ' & <img src=x onerror=alert(1)>"


class Page(html.parser.HTMLParser):
    """The elements of a page, its texts, and the contents of its scripts."""

    def __init__(self, path):
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.scripts: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.cdata_elem == "script":
            self.scripts[-1] += data
        elif self.cdata_elem is None:
            self.text += data

    def named(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def json(self, identifier):
        ids = [attributes.get("id") for attributes in self.named("script")]
        return json.loads(self.scripts[ids.index(identifier)])

    @property
    def words(self):
        return " ".join(re.sub(r"\s+", " ", self.text).split())


@pytest.fixture
def collection(results, good):
    """Three captioned pictures, one rejected file; returns the captions directory."""
    captions = {good / "00.jpg": "a dog on grass", good / "01.jpg": "a dog", good / "02.jpg": "a cat"}
    presence = {good / "00.jpg": {"dog": {"presence": 0.9}}, good / "01.jpg": {"dog": {"presence": 0.1}}}
    scores = {good / "02.jpg": -2.0}
    return results(captions, {good / "cut.jpg": "truncated"}, scores=scores, presence=presence)


def build(directory, **options) -> Page:
    path = report(ReportOptions(str(directory), **options))
    return Page(type(directory)(path))


def test_the_page_tells_what_became_of_every_file(collection, capsys):
    page = build(collection)
    assert "Of 4 files, 3 were captioned, 0 are duplicates, and 1 was rejected." in page.words
    assert "Every file is accounted for." in page.words
    assert "All 3 pictures." in page.words and "truncated" in page.words
    assert f"{collection / REPORT}: report of 3 pictures and 3 words" in capsys.readouterr().out


def test_the_data_of_the_page_are_the_results(collection):
    page = build(collection)
    data = page.json("data")
    assert [(one["name"], one["caption"]) for one in data["pictures"]] == [
        ("00.jpg", "a dog on grass"),
        ("01.jpg", "a dog"),
        ("02.jpg", "a cat"),
    ]
    assert [one["confidence"] for one in data["pictures"]] == [0.607, 0.607, 0.135]
    assert data["rejected"] == [{"name": "cut.jpg", "stage": "decode", "reason": "truncated"}]
    rows = {row["word"]: row for row in data["words"]}
    assert rows["dog"]["estimate"] == 1.0 and rows["dog"]["images"] == 2
    assert data["examples"]["dog"] == {"shows": [[0, 0.9]], "unlikely": [[1, 0.1]]}
    assert page.json("thumbnails")["embedded"].keys() == {one["id"] for one in data["pictures"]}


def test_the_caption_row_s_own_confidence_comes_first(collection, edit_captions):
    edit_captions(collection, lambda rows: [row | {"confidence": 0.25} for row in rows])
    page = build(collection)
    assert [one["confidence"] for one in page.json("data")["pictures"]] == [0.25] * 3
    assert "probability that a person would accept the caption" in page.words


def test_nothing_in_the_markup_leads_out_of_the_page(collection):
    page = build(collection)
    addresses = [
        value for _, attributes in page.elements for name, value in attributes.items() if name in ("src", "href")
    ]
    assert addresses and all(address.startswith("#") for address in addresses)
    (policy,) = [one["content"] for one in page.named("meta") if one.get("http-equiv") == "Content-Security-Policy"]
    directives = dict(one.split(maxsplit=1) for one in policy.split("; "))
    scripts = directives.pop("script-src")
    assert directives == {
        "default-src": "'none'",
        "style-src": "'unsafe-inline'",
        "img-src": "'self' data: file:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    run = [script for script, attributes in zip(page.scripts, page.named("script"), strict=True) if not attributes]
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in run]
    assert scripts == " ".join(f"'sha256-{digest}'" for digest in digests) and len(digests) == 2


def test_hostile_texts_stay_texts(results, good, tmp_path):
    folder = tmp_path / "photos" / "odd"
    folder.mkdir()
    path = folder / HOSTILE.replace("/", "∕")
    path.write_bytes((good / "03.jpg").read_bytes())
    plain = build(results({good / "01.jpg": "a dog"}, {good / "cut.jpg": "why"}, "plain"))
    page = build(results({path: HOSTILE}, {folder / "cut.jpg": HOSTILE}, "hostile"))
    count = [[tag for tag, _ in one.elements].count("script") for one in (plain, page)]
    assert count == [4, 4] and not page.named("img")
    (picture,) = page.json("data")["pictures"]
    assert (picture["name"], picture["caption"]) == (path.name, HOSTILE)
    assert page.json("data")["rejected"][0]["reason"] == HOSTILE


@pytest.mark.skipif(os.name != "posix", reason="names of other systems are texts")
def test_names_that_are_not_utf8_can_be_shown_and_opened(results, good):
    path = good / os.fsdecode(b"caf\xe9.jpg")
    try:
        path.write_bytes((good / "03.jpg").read_bytes())
    except OSError:
        pytest.skip("root may read everything")
    page = build(results({path: "a dog"}))
    (picture,) = page.json("data")["pictures"]
    assert picture["name"] == "caf\\udce9.jpg" and picture["link"].endswith("/caf%E9.jpg")


def test_the_page_is_rebuilt_from_the_results_alone(collection, good, tmp_path):
    first = (build(collection), (collection / REPORT).read_bytes())[1]
    for path in good.iterdir():
        path.unlink()
    page = build(collection)
    assert (collection / REPORT).read_bytes() == first
    assert len(page.json("thumbnails")["embedded"]) == 3
    (collection / THUMBNAILS).unlink()
    page = build(collection, output=str(tmp_path / "elsewhere.html"))
    assert page.json("thumbnails")["embedded"] == {}
    assert "3 pictures on this page have no thumbnails: they could not be read" in page.words
    assert not (collection / THUMBNAILS).exists()


def test_a_second_page_opens_no_picture(collection, monkeypatch):
    build(collection)
    before = (collection / THUMBNAILS).read_bytes()
    monkeypatch.setattr(PictureReader, "read", lambda *_: pytest.fail("a picture was opened"))
    build(collection)
    assert (collection / THUMBNAILS).read_bytes() == before


@pytest.mark.parametrize("damage", ["removed", "changed", "broken", "no zip"])
def test_what_cannot_be_made_small_is_left_out(collection, good, damage):
    if damage == "removed":
        (good / "00.jpg").unlink()
    elif damage == "changed":
        (good / "00.jpg").write_bytes((good / "05.jpg").read_bytes())
    elif damage == "broken":
        (good / "00.jpg").write_bytes(b"\xff\xd8\xff no picture")
    else:
        (collection / THUMBNAILS).write_bytes(b"no zip")
    page = build(collection)
    assert len(page.json("thumbnails")["embedded"]) == (3 if damage == "no zip" else 2)


def test_many_thumbnails_lie_beside_the_page(collection, good, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(report_module, "MAX_PAGE_BYTES", 1500)
    beside = tmp_path / "report_files"
    beside.mkdir()
    (beside / ("0" * 64 + ".jpg")).write_bytes(b"of an earlier page")
    (beside / "notes.txt").write_bytes(b"somebody's")
    page = build(collection, output=str(tmp_path / "report.html"))
    thumbnails, data = page.json("thumbnails"), page.json("data")
    assert thumbnails["beside"] == "report_files" and "embedded" not in thumbnails
    assert thumbnails["names"] == [one["id"] for one in data["pictures"]]
    assert {path.name for path in beside.iterdir()} == {f"{name}.jpg" for name in thumbnails["names"]} | {"notes.txt"}
    assert "its thumbnails are in report_files/ beside it" in capsys.readouterr().out
    assert "This page and the folder of thumbnails beside it contain file names" in page.words


def test_a_collection_without_anything_has_a_page(results):
    page = build(results({}))
    assert "There were no files." in page.words and "No files were rejected." in page.words
    assert "The captions contain no content words." in page.words and "No pictures were captioned." in page.words


def test_what_is_no_finished_captioning_is_refused_in_one_line(collection, edit_captions, tmp_path, capsys):
    assert main(["report", str(tmp_path / "nowhere")]) == 2
    assert "no summary.json here" in capsys.readouterr().err
    path = edit_captions(collection, lambda rows: [{}])
    with pytest.raises(UserError, match=rf"{path.name}:1: uri is missing; remove ledger"):
        report(ReportOptions(str(collection)))


def test_a_stream_takes_the_page_alone_with_all_its_thumbnails(collection, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(report_module, "MAX_PAGE_BYTES", 1)
    report(ReportOptions(str(collection), "-"))
    said = capfd.readouterr()
    assert said.out.startswith("<!doctype html>") and said.out.rstrip().endswith("</html>")
    assert said.err.startswith("standard output: report of 3 pictures") and not (tmp_path / "-").exists()


def test_a_link_that_the_user_names_is_followed_and_one_in_the_directory_is_not(collection, tmp_path):
    target = tmp_path / "target.html"
    target.write_text("mine")
    (collection / REPORT).symlink_to(target)
    report(ReportOptions(str(collection)))
    assert target.read_text() == "mine" and not (collection / REPORT).is_symlink()
    (tmp_path / "link.html").symlink_to(target)
    report(ReportOptions(str(collection), str(tmp_path / "link.html")))
    assert (tmp_path / "link.html").is_symlink() and "a dog on grass" in target.read_text()


def test_where_the_page_cannot_be_written_one_line_says_so(collection, caplog, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(JobFailed, match="cannot be written"):
        report(ReportOptions(str(collection), str(tmp_path / "file" / "report.html")))
    (collection / REPORT).mkdir()
    report_of_caption(str(collection), DEFAULT_DECODE_LIMITS)  # no exception: the captions are committed
    (record,) = caplog.records
    said = record.getMessage()
    assert (
        f"{REPORT}: not written (a folder where a file is to be written; move it away" in said
        and "captionbeam report" in said
        and "\n" not in said
    )


@pytest.mark.parametrize("digests", [True, False])
def test_a_missing_result_is_named_and_not_the_page(collection, tmp_path, digests):
    summary = json.loads((collection / "summary.json").read_text())
    if not digests:  # as earlier captionbeams wrote it
        del summary["checksum"], summary["results"]
        storage.write_document(str(collection / "summary.json"), summary)
    (collection / "word_evidence.jsonl").unlink()
    with pytest.raises(UserError, match=r"word_evidence\.jsonl") as raised:
        report(ReportOptions(str(collection), str(tmp_path / "page.html")))
    assert "page.html" not in str(raised.value)


def test_a_stranger_s_results_write_nothing_outside(collection, edit_captions, monkeypatch, tmp_path):
    monkeypatch.setattr(report_module, "MAX_PAGE_BYTES", 1)
    path = edit_captions(collection, lambda rows: [rows[0] | {"sha256": "../../escaped"}, *rows[1:]])
    with zipfile.ZipFile(collection / THUMBNAILS, "w") as archive:
        archive.writestr("../../escaped.jpg", b"")
        archive.writestr("a" * 64 + ".jpg", bytes(2 << 20))
    with pytest.raises(UserError, match=rf"{path.name}:1: sha256: expected a text"):
        report(ReportOptions(str(collection)))
    edit_captions(collection, lambda rows: [rows[0] | {"sha256": "a" * 64}, *rows[1:]])
    page = build(collection)
    assert "a" * 64 not in page.json("thumbnails")["names"]
    assert not list(tmp_path.glob("**/escaped*"))


def test_no_thumbnail_is_written_through_a_link(collection, monkeypatch, tmp_path):
    monkeypatch.setattr(report_module, "MAX_PAGE_BYTES", 1)
    build(collection)
    beside = collection / "report_files"
    first, *others = sorted(beside.iterdir())
    precious = tmp_path / "precious"
    for content in (b"mine", bytes(first.stat().st_size)):  # of another size, and of the same
        precious.write_bytes(content)
        data = first.read_bytes()
        first.unlink()
        first.symlink_to(precious)
        build(collection)
        assert precious.read_bytes() == content and not first.is_symlink() and first.read_bytes() == data
    for path in (first, *others):
        path.unlink()
    beside.rmdir()
    (tmp_path / "folder").mkdir()
    beside.symlink_to(tmp_path / "folder")
    with pytest.raises(UserError, match="report_files: a link, and thumbnails are not written through one"):
        report(ReportOptions(str(collection)))
    assert not list((tmp_path / "folder").iterdir())


def test_the_store_of_thumbnails_is_a_zip_of_jpegs(collection):
    build(collection)
    with zipfile.ZipFile(collection / THUMBNAILS) as archive:
        names = archive.namelist()
        assert names and all(re.fullmatch(r"[0-9a-f]{64}\.jpg", name) for name in names)
        assert all(archive.read(name).startswith(b"\xff\xd8\xff") for name in names)
