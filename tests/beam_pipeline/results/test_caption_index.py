import pytest

from beam_pipeline.captions.picture import CaptionedPicture
from beam_pipeline.results.caption_index import CaptionedFile, CaptionIndex
from beam_pipeline.shards.ledger import DONE, DUPLICATE, REJECTED, LedgerLine
from training.errors import JobFailed


def line(uri, sha256, outcome=DONE) -> LedgerLine:
    return LedgerLine(uri, 1, 1.0, sha256, outcome)


def test_every_file_has_the_caption_of_its_picture(captions):
    picture = CaptionedPicture("1a", "/p/a.jpg", "a dog", -1.0, ("repeats",), confidence=0.25)
    lines = [line("/p/a.jpg", "1a"), line("/p/sub/b.jpg", "1a", DUPLICATE), line("/q.jpg", "", REJECTED)]
    shared = ("1a", "a dog", -1.0, ("repeats",), ("dog",))
    first = CaptionedFile("/p/a.jpg", *shared, duplicate=False, confidence=0.25, withheld=True)
    second = CaptionedFile("/p/sub/b.jpg", *shared, duplicate=True, confidence=0.25, withheld=True)
    with CaptionIndex(captions(([picture], lines)), 0.5, min_confidence=0.3) as index:
        assert list(index.files()) == [first, second]
        assert list(index.pictures()) == [(first, second)]
        assert index.counts() == {DONE: 1, DUPLICATE: 1, REJECTED: 1}
        assert index.withheld() == 2
        assert index.common_folder() == "/p/", "a rejected file does not count"
        assert [index.holds(uri) for uri in ("/p/a.jpg", "/q.jpg", "/p/c.jpg")] == [True, True, False]


def test_captions_are_withheld_by_their_flag_or_by_a_limit(captions):
    pictures = [
        CaptionedPicture("a", "/a", "a", -1.0, ("low_confidence",), confidence=0.4),
        CaptionedPicture("b", "/b", "b", -1.0, (), confidence=0.6),
        CaptionedPicture("c", "/c", "c", -1.0),
    ]
    directory = captions((pictures, [line(one.uri, one.sha256) for one in pictures]))

    def withheld(limit):
        with CaptionIndex(directory, 0.5, limit) as index:
            return [file.uri for file in index.files() if file.withheld]

    assert [withheld(limit) for limit in (None, 0.0, 0.5, 0.7)] == [["/a"], [], ["/a"], ["/a", "/b"]]


def test_files_that_share_all_but_the_ending_are_known(captions):
    pictures = [CaptionedPicture(name.encode().hex(), f"/p/{name}", name, -1.0) for name in ("a.jpg", "a.png", "b.jpg")]
    lines = [line(one.uri, one.sha256) for one in pictures] + [line("/p/b.gif", "", REJECTED)]
    with CaptionIndex(captions((pictures, lines)), 0.5) as index:
        assert [index.shares_stem(one.uri) for one in pictures] == [True, True, False]


def test_a_directory_without_captions_has_no_files(captions):
    with CaptionIndex(captions(([], [])), 0.5) as index:
        assert (list(index.files()), list(index.pictures()), index.common_folder()) == ([], [], "")


def test_the_newest_run_has_the_last_word_on_a_file(captions, tmp_path):
    pictures = [CaptionedPicture("1a", "/p/a.jpg", "one", -1.0), CaptionedPicture("2b", "/p/b.jpg", "two", -1.0)]
    directory = captions(
        (pictures, [line("/p/a.jpg", "1a"), line("/p/b.jpg", "2b"), line("/p/c.jpg", "1a", DUPLICATE)]),
        ([], [line("/p/a.jpg", "2b", DUPLICATE), line("/p/c.jpg", "", REJECTED)]),
    )
    with CaptionIndex(directory, 0.5) as index:
        assert [(file.uri, file.caption) for file in index.files()] == [("/p/a.jpg", "two"), ("/p/b.jpg", "two")]
        assert [[file.uri for file in files] for files in index.pictures()] == [["/p/a.jpg", "/p/b.jpg"]]
        assert index.counts() == {DONE: 1, DUPLICATE: 1, REJECTED: 1}


def test_captions_that_were_lost_are_not_passed_over(captions):
    directory = captions(([], [line("/p/a.jpg", "1a")]))
    with pytest.raises(JobFailed, match="1 captioned file without a caption"):
        CaptionIndex(directory, 0.5)
