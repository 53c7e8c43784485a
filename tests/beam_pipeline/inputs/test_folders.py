import glob
import os
import shutil
import subprocess
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_pipeline.inputs.folders import AGAIN, Place, place_of_pattern, walk
from beam_pipeline.inputs.input_file import InputFile


def nothing(path):
    return False


def put(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def found(*begins, excluded=nothing, ignored=None) -> list[str]:
    places = [Place(str(begin)) if isinstance(begin, os.PathLike) else place_of_pattern(begin) for begin in begins]
    ignored = Counter() if ignored is None else ignored
    return [one.problem if isinstance(one, InputFile) else one.path for one in walk(places, excluded, ignored)]


def below(folder, *begins, **options) -> list[str]:
    return [os.path.relpath(path, folder) for path in found(*(begins or [folder]), **options)]


def test_each_of_many_folders_that_link_to_each_other_is_read_once(tmp_path):
    names = [f"folder{number}" for number in range(8)]
    for name in names:
        put(tmp_path, f"{name}/picture.jpg")
    for name in names:
        for other in names:
            if other != name:
                (tmp_path / name / f"to_{other}").symlink_to(tmp_path / other)
    ignored = Counter()
    assert below(tmp_path, ignored=ignored) == [f"{name}/picture.jpg" for name in names]
    assert ignored == {AGAIN: 56}


def test_the_path_of_a_folder_itself_goes_before_links_to_it_however_they_are_named(tmp_path):
    put(tmp_path, "in/real/a.jpg", "out/b.jpg", "out/deep/c.jpg")
    (tmp_path / "in" / "1_first").symlink_to(tmp_path / "in" / "real")
    (tmp_path / "in" / "2_out").symlink_to(tmp_path / "out")
    (tmp_path / "in" / "3_deep").symlink_to(tmp_path / "out" / "deep")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    expected = ["in/real/a.jpg", "in/2_out/b.jpg", "in/2_out/deep/c.jpg"]
    assert below(tmp_path, tmp_path / "in") == expected
    assert below(tmp_path, tmp_path / "link", tmp_path / "in") == expected
    assert below(tmp_path, tmp_path / "link") == [
        "link/real/a.jpg",
        "link/2_out/b.jpg",
        "link/2_out/deep/c.jpg",
    ]
    assert below(tmp_path) == ["in/real/a.jpg", "out/b.jpg", "out/deep/c.jpg"]


def test_links_to_folders_above_and_to_themselves_end(tmp_path):
    put(tmp_path, "in/a.jpg", "b.jpg")
    (tmp_path / "in" / "above").symlink_to("..")
    (tmp_path / "in" / "itself").symlink_to(".")
    (tmp_path / "in" / "circle").symlink_to("circle")
    assert below(tmp_path, tmp_path / "in") == ["in/a.jpg", "in/circle", "in/above/b.jpg"]


@pytest.fixture
def nested(tmp_path):
    """Function: name of a folder, depth -> that many folders, one in the other, and a picture in the last."""

    def nest(name: str, depth: int) -> None:
        home = os.getcwd()
        os.chdir(tmp_path)
        try:
            for _ in range(depth):
                os.mkdir(name)
                os.chdir(name)
            with open("a.jpg", "wb"):
                pass
        finally:
            os.chdir(home)

    yield nest
    subprocess.run(["rm", "-rf", str(tmp_path)], check=True)  # shutil.rmtree calls itself for each


def test_folders_may_be_nested_deeper_than_calls(nested, tmp_path):
    nested("d", 1300)
    expected = [os.path.join(tmp_path, *["d"] * 1300, "a.jpg")]
    assert found(tmp_path) == expected
    assert found(f"{tmp_path}/**/*.jpg") == expected


def test_a_folder_beyond_the_longest_path_is_named_once(nested, tmp_path):
    nested("d" * 250, 20)
    put(tmp_path, "a.jpg")
    picture, problem = found(tmp_path)
    assert picture == str(tmp_path / "a.jpg")
    assert problem.startswith("folder cannot be listed: its path is longer than the system allows")


def test_a_folder_that_goes_while_it_is_listed_is_named(tmp_path):
    put(tmp_path, "a.jpg", "b/c.jpg", "d.jpg")
    places = walk([Place(str(tmp_path))], nothing, Counter())
    first = next(places)
    shutil.rmtree(tmp_path / "b")
    assert isinstance(first, Place)
    assert [one.problem if isinstance(one, InputFile) else one.relative for one in places] == [
        "folder cannot be listed: no such file or directory",
        "d.jpg",
    ]


def test_names_that_are_no_utf8_or_hold_line_ends_are_kept_and_sorted_by_their_bytes(tmp_path):
    names = [b"\xff.jpg", b"new\nline/\xfe.jpg", b"a.jpg"]
    os.mkdir(os.path.join(os.fsencode(tmp_path), b"new\nline"))
    for name in names:
        with open(os.path.join(os.fsencode(tmp_path), name), "wb"):
            pass
    assert [os.fsencode(path) for path in found(tmp_path)] == [
        os.path.join(os.fsencode(tmp_path), name) for name in sorted(names)
    ]


def test_folders_of_systems_are_left_out_unless_the_user_names_them(tmp_path):
    put(tmp_path, "a.jpg", "@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg", "b/@eaDir/x.jpg", ".Trash-1000/files/c.jpg")
    ignored = Counter()
    assert below(tmp_path, ignored=ignored) == ["a.jpg"]
    assert ignored == {"shadow": 3}
    assert below(tmp_path, tmp_path / "b" / "@eaDir") == ["b/@eaDir/x.jpg"]
    assert below(tmp_path, f"{tmp_path}/b/@eaDir/*") == ["b/@eaDir/x.jpg"]
    assert below(tmp_path, f"{tmp_path}/*/@eaDir/*") == ["b/@eaDir/x.jpg"]
    assert below(tmp_path, f"{tmp_path}/**/*.jpg") == ["a.jpg"]


def test_excluded_folders_are_not_opened(tmp_path):
    put(tmp_path, "a.jpg", "raw/b.jpg", "c/raw/d.jpg")
    ignored = Counter()
    assert below(tmp_path, excluded=lambda path: path.endswith("raw/"), ignored=ignored) == ["a.jpg"]
    assert ignored == {"excluded": 2}


NAMES = st.sampled_from(["a", "b", ".a", "a.jpg", "b.jpg", ".b.jpg", "[a]", "*"])
PARTS = st.sampled_from(["a", "*", "**", "*.jpg", ".*", "[ab]", "?", "b.jpg", "[!a]*", "[[]a]"])


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(NAMES, min_size=1, max_size=4), max_size=8),
    st.lists(PARTS, min_size=1, max_size=4).filter(lambda parts: any(map(glob.has_magic, parts))),
)
def test_patterns_match_what_glob_matches(tmp_path_factory, paths, parts):
    folder = tmp_path_factory.mktemp("in")
    for path in paths:
        try:
            put(folder, "/".join(path))
        except OSError:  # a file is where a folder should be, or the other way round
            continue
    pattern = "/".join([str(folder), *parts])
    expected = sorted({path for path in glob.iglob(pattern, recursive=True) if os.path.isfile(path)})
    places = walk([place_of_pattern(pattern)], nothing, Counter())
    assert sorted(place.path for place in places if isinstance(place, Place)) == expected
