import hashlib

import pytest

from training.data.splits import DEV, OUTSIDE, TRAIN, Split, decode_uris, image_names, make_split
from training.errors import UserError

JUDGES, TRAINS = "00000000" + 56 * "f", "ffffffff" + 56 * "f"  # below and above every share


def of(split, *uris, sha256=TRAINS):
    return split.of(sha256, uris)


def test_both_lists_decide_and_the_rest_is_outside():
    split = Split(frozenset({"t.jpg"}), frozenset({"d.jpg"}), dev_share=0.5)
    assert [of(split, uri, sha256=JUDGES) for uri in ("/a/t.jpg", "/a/d.jpg", "/a/o.jpg")] == [TRAIN, DEV, OUTSIDE]


def test_dev_list_alone_leaves_all_others_to_train():
    split = Split(None, frozenset({"d.jpg"}), dev_share=0.5)
    assert [of(split, uri, sha256=JUDGES) for uri in ("/a/d.jpg", "/a/o.jpg")] == [DEV, TRAIN]


def test_train_list_alone_gives_a_share_of_its_own_pictures_to_dev():
    split = Split(frozenset({"t.jpg"}), None, dev_share=0.5)
    assert of(split, "/a/t.jpg", sha256=JUDGES) == DEV
    assert of(split, "/a/t.jpg", sha256=TRAINS) == TRAIN
    assert of(split, "/a/o.jpg", sha256=JUDGES) == of(split, "/a/o.jpg", sha256=TRAINS) == OUTSIDE


def test_one_picture_under_two_names_in_both_lists_judges_and_does_not_train():
    split = Split(frozenset({"x1.jpg", "y.jpg"}), frozenset({"x2.jpg"}), dev_share=0.0)
    assert of(split, "/a/x1.jpg", "/b/x2.jpg") == DEV
    assert split.in_both(["/a/x1.jpg", "/b/x2.jpg"])
    assert not split.in_both(["/a/y.jpg"]) and not split.in_both(["/a/x2.jpg"])


def test_without_two_lists_no_picture_is_in_both():
    assert not Split(frozenset({"x.jpg"}), None, 0.5).in_both(["/a/x.jpg"])
    assert not Split(None, frozenset({"x.jpg"}), 0.5).in_both(["/a/x.jpg"])


def test_a_list_may_name_a_picture_by_its_file_name_or_its_whole_path():
    assert image_names(["s3://b/one/x.jpg"]) == {"s3://b/one/x.jpg", "x.jpg"}
    split = Split(None, frozenset({"/a/x.jpg"}), dev_share=0.0)
    assert [of(split, uri) for uri in ("/a/x.jpg", "/b/x.jpg")] == [DEV, TRAIN]


def test_spellings_of_one_name_in_composed_and_decomposed_unicode_are_the_same(tmp_path):
    (tmp_path / "dev.txt").write_text("u\u0308ber.jpg\n", encoding="utf-8")
    split = make_split(None, str(tmp_path / "dev.txt"), pictures=10)
    assert split.dev == {"\u00fcber.jpg"}
    assert of(split, "/a/\u00fcber.jpg") == of(split, "/a/u\u0308ber.jpg") == DEV


def test_names_that_are_not_utf8_survive():
    assert decode_uris([b"/a/\xff.jpg"]) == ["/a/\udcff.jpg"]
    assert of(Split(None, frozenset({"x.jpg"}), 0.0), *decode_uris([b"/a/\xff.jpg", b"/a/x.jpg"])) == DEV


def test_split_by_content_is_a_share_that_neither_names_nor_other_pictures_change():
    digests = [hashlib.sha256(bytes([number % 256, number // 256])).hexdigest() for number in range(2000)]
    split = make_split(None, None, pictures=2000)
    judging = [digest for digest in digests if of(split, "/a/x.jpg", sha256=digest) == DEV]
    assert 160 < len(judging) < 240  # a tenth; three standard deviations are 40
    assert judging == [digest for digest in digests if of(split, "/b/y.jpg", sha256=digest) == DEV]
    assert {of(split, "/a/x.jpg", sha256=digest) for digest in set(digests) - set(judging)} == {TRAIN}


@pytest.mark.parametrize(("pictures", "share"), [(0, 0.1), (5, 0.1), (20_000, 0.1), (40_000, 0.05), (2_000_000, 0.001)])
def test_at_most_2000_pictures_judge_in_expectation(pictures, share):
    assert make_split(None, None, pictures) == Split(None, None, share)


@pytest.mark.parametrize(("text", "fault"), [(None, "no such file"), ("\n", "names no picture")])
def test_a_list_that_names_nothing_is_told(tmp_path, text, fault):
    if text is not None:
        (tmp_path / "list.txt").write_text(text)
    with pytest.raises(UserError, match=f"list.txt: {fault}"):
        make_split(str(tmp_path / "list.txt"), None, pictures=1)
