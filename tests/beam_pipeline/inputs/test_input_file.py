import pytest

from beam_pipeline.inputs.input_file import (
    InputFile,
    Member,
    TooLarge,
    clean_captions,
    is_container,
    locality_key,
    split_member_uri,
)


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        ("/data/a.tar!/b/c.jpg", ("/data/a.tar", "b/c.jpg")),
        ("s3://bucket/x!/a.ZIP!/b.jpg", ("s3://bucket/x!/a.ZIP", "b.jpg")),
        ("/data/a.tgz!/b.jpg", ("/data/a.tgz", "b.jpg")),
        ("/data/hurray!/b.jpg", None),
        ("/data/a.jpg", None),
    ],
)
def test_an_address_is_of_a_member_if_a_container_stands_before_the_mark(uri, parts):
    assert split_member_uri(uri) == parts


def test_a_path_that_exists_is_no_member(tmp_path):
    (tmp_path / "a.zip!").mkdir()
    (tmp_path / "a.zip!" / "b.jpg").write_bytes(b"")
    assert split_member_uri(f"{tmp_path}/a.zip!/b.jpg") is None
    assert split_member_uri(f"{tmp_path}/a.zip!/c.jpg") == (f"{tmp_path}/a.zip", "c.jpg")


def test_containers_are_known_by_their_endings():
    names = [
        "a.tar",
        "A.ZIP",
        "a.parquet",
        "a.tfrecord",
        "a.tfrecords",
        "a.tar.gz",
        "a.7z",
        "a.jpg",
        "tar",
        "a.tar.txt",
    ]
    assert [name for name in names if is_container(name)] == names[:7]


@pytest.mark.parametrize(
    ("value", "captions"),
    [
        (" a\tdog\n runs ", ["a dog runs"]),
        (["a dog", "", None, 3, "a cat"], ["a dog", "a cat"]),
        ("half a pair \ud83d", ["half a pair ?"]),
        (None, []),
        ({"caption": "a dog"}, []),
    ],
)
def test_captions_are_texts_with_single_spaces(value, captions):
    assert clean_captions(value) == captions


def member(form, *place):
    return InputFile(f"/a.{form}!/x", 1, 0.0, member=Member(f"/a.{form}", form, place))


def test_members_that_lie_close_by_are_read_together():
    assert locality_key(member("parquet", 1, 0)) == locality_key(member("parquet", 1, 500))
    assert locality_key(member("parquet", 1, 0)) != locality_key(member("parquet", 2, 0))
    assert locality_key(member("tar", 512, 1)) == locality_key(member("tar", 60 << 20, 1))
    assert locality_key(member("tar", 512, 1)) != locality_key(member("tar", 70 << 20, 1))


def test_an_input_knows_the_file_that_holds_it():
    assert member("tar", 512, 1).file == "/a.tar" and member("tar", 512, 1).place == (512, 1)
    assert InputFile("/a.jpg", 1, 0.0).file == "/a.jpg"


def test_a_problem_is_one_line():
    assert InputFile("/a.tar", 1, 0.0).with_problem("not\n  an archive").problem == "not an archive"


def test_what_is_too_large_says_by_how_much():
    assert str(TooLarge(12, 10)) == "12 bytes, over the limit of 10; --max-bytes raises it"
    assert str(TooLarge(None, 10)) == "more than 10 bytes, over the limit of 10; --max-bytes raises it"
