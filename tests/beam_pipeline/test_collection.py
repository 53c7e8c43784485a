import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.collection import FOLDER, LIST, PATTERN, Listing, format_list_entry, parse_list_entry, resolve_source
from training.errors import UserError


def names(images) -> list[str]:
    return [os.path.basename(file.uri) for file in Listing(resolve_source(str(images)))]


def test_folders_are_walked_in_sorted_order(tmp_path):
    for name in ("b.jpg", "a.png", "deep/er/c.webp", "hash_without_suffix", "notes.md"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    listing = Listing(resolve_source(str(tmp_path)))
    found = list(listing)
    assert [os.path.relpath(file.uri, tmp_path) for file in found] == [
        "a.png",
        "b.jpg",
        "deep/er/c.webp",
        "hash_without_suffix",
    ]
    assert all(file.size == 1 and file.mtime > 0 for file in found)
    assert listing.ignored == {"other": 1}


def test_a_name_with_brackets_is_a_folder_before_it_is_a_pattern(tmp_path):
    folder = tmp_path / "set [2024] (final)"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.jpg").write_bytes(b"x")
    assert resolve_source(str(folder)).kind == FOLDER
    assert names(folder) == ["0.jpg", "1.jpg", "2.jpg"]


def test_a_file_with_brackets_is_itself(tmp_path):
    (tmp_path / "a[1].jpg").write_bytes(b"x")
    (tmp_path / "a1.jpg").write_bytes(b"x")
    assert names(tmp_path / "a[1].jpg") == ["a[1].jpg"]


def test_shadow_files_are_not_inputs(tmp_path):
    for number in range(5):
        (tmp_path / f"{number}.jpg").write_bytes(b"x")
        (tmp_path / f"._{number}.jpg").write_bytes(bytes.fromhex("0005160700020000").ljust(4096, b"\0"))
    (tmp_path / "__MACOSX").mkdir()
    for name in (".DS_Store", "Thumbs.db", "__MACOSX/._x.jpg"):
        (tmp_path / name).write_bytes(b"x")
    listing = Listing(resolve_source(str(tmp_path)))
    assert len(list(listing)) == 5
    assert listing.ignored == {"shadow": 8}
    list(listing)
    assert listing.ignored == {"shadow": 8}, "a second pass counts anew"


def test_a_pattern_takes_whatever_matches(tmp_path):
    for name in ("a.jpg", "b.JPG", "c.txt", "sub/d.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    assert resolve_source(f"{tmp_path}/*.jpg").kind == PATTERN
    assert names(f"{tmp_path}/*.jpg") == ["a.jpg"]
    assert sorted(names(f"{tmp_path}/**/*.jpg")) == ["a.jpg", "d.jpg"]


@pytest.mark.parametrize("images", ["photos/*.jpgg", "no_such_folder", "no_such_list.txt"])
def test_what_names_nothing_is_one_line(tmp_path, monkeypatch, images):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as raised:
        resolve_source(images)
    assert images in str(raised.value) and "\n" not in str(raised.value)
    assert raised.value.exit_status == 2


def test_a_list_names_files_relative_to_itself(tmp_path):
    (tmp_path / "a b.jpg").write_bytes(b"xy")
    entries = tmp_path / "list.txt"
    entries.write_bytes(b"\xef\xbb\xbfa b.jpg\r\n\r\n/nowhere/c.jpg\r\n")
    assert resolve_source(str(entries)).kind == LIST
    found, missing = Listing(resolve_source(str(entries)))
    assert (found.uri, found.size, found.problem) == (str(tmp_path / "a b.jpg"), 2, "")
    assert (missing.uri, missing.size, missing.problem) == ("/nowhere/c.jpg", -1, "no such file or directory")


def test_a_link_to_a_folder_above_ends(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(b"x")
    (tmp_path / "in" / "loop").symlink_to(tmp_path)
    assert names(tmp_path) == ["a.jpg"]


def test_a_dangling_link_is_listed_with_its_problem(tmp_path):
    (tmp_path / "a.jpg").symlink_to(tmp_path / "gone.jpg")
    (file,) = Listing(resolve_source(str(tmp_path)))
    assert "no such file" in file.problem


@given(st.text(min_size=1).filter(lambda name: "\0" not in name))
def test_list_entries_survive_any_name(name):
    line = format_list_entry(name)
    assert line.splitlines() == [line]
    assert parse_list_entry(line) == name


def test_a_name_that_is_not_utf8_survives_a_list():
    name = os.fsdecode(b"/a/\xff\xfe.jpg")
    line = format_list_entry(name)
    assert parse_list_entry(line.encode().decode()) == name
