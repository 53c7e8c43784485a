"""What a report shows of large collections, and how it names and links it."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.captions.picture import CaptionedPicture
from beam_pipeline.reports.report_data import (
    common_folder,
    folder_name,
    link_to,
    read_rejected,
    sample_pictures,
    shown_picture,
)
from beam_pipeline.shards.ledger import DONE, REJECTED, LedgerLine


def picture(number) -> CaptionedPicture:
    return CaptionedPicture(hashlib.sha256(b"%d" % number).hexdigest(), f"/p/{number:03d}.jpg", "a dog", -1.0)


@pytest.mark.parametrize("most", [1, 7, 40, 100])
def test_the_sample_is_what_has_the_smallest_sha256_however_it_is_cut(captions, most):
    """So it is a random one, the same for every order of the runs, and of a shard only the head is read."""
    pictures = [picture(number) for number in range(40)]
    runs = [sorted(part, key=lambda one: one.sha256) for part in (pictures[:25], pictures[25:30], pictures[30:])]
    directory = captions(*((run, []) for run in runs))
    smallest = sorted(pictures, key=lambda one: one.sha256)[:most]
    assert [one.uri for one in sample_pictures(directory, most)] == sorted(one.uri for one in smallest)


def test_of_a_large_shard_only_the_head_is_read(captions, tmp_path):
    pictures = sorted((picture(number) for number in range(40)), key=lambda one: one.sha256)
    directory = captions((pictures, []))
    (path,) = (tmp_path / "captions").glob("captions-*.jsonl")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:6], *["not read"] * 34]))
    assert len(sample_pictures(directory, 5)) == 5


def test_a_later_run_has_the_last_word_on_a_picture(captions):
    first, later = picture(1), CaptionedPicture(picture(1).sha256, "/p/moved.jpg", "a cat", -1.0)
    assert [one.caption for one in sample_pictures(captions(([first], []), ([later], [])), 5)] == ["a cat"]


@pytest.mark.parametrize(
    ("more", "confidence", "own"),
    [({}, 0.368, False), ({"confidence": 0.7}, 0.7, True), ({"confidence": None}, 0.368, False)],
)
def test_confidence_is_the_row_s_or_the_mean_probability_of_its_words(more, confidence, own):
    shown = shown_picture(CaptionedPicture("a", "u", "c", -1.0, **more))
    assert shown.confidence == pytest.approx(confidence, abs=1e-3) and shown.has_confidence == own


def test_rejected_files_are_counted_by_reason_and_the_newest_run_counts(captions):
    def line(name, outcome, reason=""):
        return LedgerLine(f"/p/{name}", 1, 1.0, "", outcome, "decode" if reason else "", reason)

    first = [line("a", REJECTED, "cut"), line("b", REJECTED, "cut"), line("c", REJECTED, "odd"), line("d", DONE)]
    directory = captions(([], first), ([], [line("b", DONE)]))
    found = read_rejected(directory, 2)
    assert found.total == 2 and [one.uri for one in found.lines] == ["/p/a", "/p/c"]
    assert dict(found.reasons) == {("decode", "cut"): 1, ("decode", "odd"): 1}


def test_where_none_was_rejected_no_ledger_is_read():
    assert read_rejected("/nowhere", 0).total == 0


@pytest.mark.parametrize(
    ("uri", "page", "link"),
    [
        ("/data/photos/a.jpg", "/data/captions", "../photos/a.jpg"),
        ("/data/100%25 #1?.jpg", "/data", "./100%2525%20%231%3F.jpg"),
        ("/data/a:b.jpg", "/data", "./a%3Ab.jpg"),
        ('/data/"><img src=x>.jpg', "/data/out", "../%22%3E%3Cimg%20src%3Dx%3E.jpg"),
        ("/data/caf\udce9.jpg", "/data", "./caf%E9.jpg"),
        ("https://example.org/a b.jpg?x=1", "/data", "https://example.org/a%20b.jpg?x=1"),
        ('https://example.org/"><script>', "/data", "https://example.org/%22%3E%3Cscript%3E"),
        ("gs://bucket/a.jpg", "/data", ""),
        ("javascript://%0aalert(1)", "/data", ""),
        ("/data/a.tar!/b.jpg", "/data", ""),
        ("/data/a.jpg", "gs://bucket/captions", ""),
    ],
)
def test_links_open_what_a_browser_can_open(uri, page, link):
    assert link_to(uri, page) == link


@given(st.lists(st.text("ab/", max_size=8).map(lambda text: "/" + text), min_size=1, max_size=6))
def test_the_common_folder_holds_all_and_none_below_it_does(uris):
    folder = common_folder(uris)
    assert folder.endswith("/") and all(uri.startswith(folder) for uri in uris)
    rests = [uri[len(folder) :] for uri in uris]
    assert len({rest.split("/")[0] for rest in rests if "/" in rest}) != 1 or any("/" not in rest for rest in rests)


@pytest.mark.parametrize(
    ("folder", "name"), [("/data/my photos/", "my photos"), ("/data/a.tar!/", "a.tar"), ("/", ""), ("", "")]
)
def test_a_collection_is_called_by_its_folder(folder, name):
    assert folder_name(folder) == name
