"""Zip files: joined, preceded and followed by other bytes, split, and directories that nobody should believe."""

import contextlib
import io
import struct
import tracemalloc
import zipfile
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.inputs.containers import list_container, read_input
from beam_pipeline.inputs.left_out import left_out_kind
from beam_pipeline.inputs.sources import stat_file


def zip_of(members, comment=b"", **options) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as archive:
        archive.comment = comment
        for name, data in members:
            archive.writestr(name, data)
    return buffer.getvalue()


def files_in(path, data: bytes):
    """Content of a zip -> ({name: content or problem}, what was ignored)."""
    path.write_bytes(data)
    ignored = Counter()
    files = list(list_container(stat_file(str(path)), ignored))
    read = {file.uri.removeprefix(f"{path}!/"): file.problem or read_input(file, 1 << 20) for file in files}
    return read, +ignored


@pytest.fixture
def members_of(tmp_path):
    return lambda data: files_in(tmp_path / "a.zip", data)


@pytest.fixture
def archive(tmp_path):
    """Address of the archive itself, where a problem of the whole is told."""
    return str(tmp_path / "a.zip")


def patched(data: bytes, form: str, offset: int, value: int, signature: bytes = b"PK\x05\x06") -> bytes:
    """Data with a number of the last record of this signature changed."""
    changed = bytearray(data)
    struct.pack_into(form, changed, data.rindex(signature) + offset, value)
    return bytes(changed)


A, B = zip_of([("a.jpg", b"first")]), zip_of([("b.jpg", b"second")])


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(A + B, id="joined"),
        pytest.param(A + bytes(100) + B, id="zeros between"),
        pytest.param(
            zip_of([("a.jpg", b"first")], b"remark") + zip_of([("b.jpg", b"second")], b"remark"), id="comments"
        ),
        pytest.param(b"#!/bin/sh\n" * 9 + A + B, id="behind a program"),
        pytest.param(
            zip_of([("a.jpg", b"first"), ("b.jpg", b"second")], b"PK\x05\x06" * 99), id="a false end in a comment"
        ),
        pytest.param(A + B + bytes(1000), id="zeros after"),
    ],
)
def test_archives_that_were_joined_are_all_read(members_of, data):
    assert members_of(data) == ({"a.jpg": b"first", "b.jpg": b"second"}, {})


def test_members_of_one_name_are_all_read(members_of):
    with pytest.warns(UserWarning, match="Duplicate name"):
        data = zip_of([("a.jpg", b"first"), ("a.jpg", b"second")])
    assert members_of(data)[0] == {"a.jpg": b"first", "a (2).jpg": b"second"}
    assert members_of(A + A)[0] == {"a.jpg": b"first", "a (2).jpg": b"first"}


def test_large_forms_are_read(members_of, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 3)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    data = zip_of([("a.jpg", b"first"), ("b.jpg", b"second")])
    assert b"PK\x06\x06" in data
    assert members_of(data)[0] == {"a.jpg": b"first", "b.jpg": b"second"}
    assert members_of(b"before" + data)[0] == {"a.jpg": b"first", "b.jpg": b"second"}
    lost, _ = members_of(patched(data, "<4s", 0, b"????", b"PK\x06\x06"))
    assert list(lost.values()) == ["not a zip archive, or cut (no directory of members)"]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        pytest.param(A + b"more", "what follows its end (4 bytes) is not read", id="after"),
        pytest.param(
            B[:40] + A, "its beginning (40 bytes) holds members without a directory and is not read", id="before"
        ),
        pytest.param(
            patched(patched(A, "<H", 10, 7), "<H", 8, 7),
            "its directory has 1 member and says 7",
            id="fewer than it says",
        ),
    ],
)
def test_what_is_not_read_is_named_beside_what_is(members_of, archive, data, problem):
    files, ignored = members_of(data)
    assert files == {"a.jpg": b"first", archive: problem}
    assert ignored == ({"member": 6} if "says 7" in problem else {})


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        pytest.param(A[:-30], "not a zip archive, or cut (no directory of members)", id="cut"),
        pytest.param(A[5:], "not a zip archive, or cut (its directory is not where its end says)", id="head cut"),
        pytest.param(patched(A, "<H", 4, 1), "one part of an archive that was split", id="disks"),
        pytest.param(patched(A, "<H", 8, 0), "one part of an archive that was split", id="entries elsewhere"),
        pytest.param(patched(A, "<I", 12, 0xFFFFFFFE), "not a zip archive, or cut", id="a directory of 4 GB"),
        pytest.param(patched(A, "<I", 16, 0xFFFFFFFE), "not a zip archive, or cut", id="a directory past the end"),
        pytest.param(patched(A, "<I", 12, 50), "not a zip archive, or cut", id="a directory that ends within an entry"),
        pytest.param(
            patched(A, "<H", 28, 0xFFFF, b"PK\x01\x02"), "not a zip archive, or cut", id="a name past the end"
        ),
    ],
)
def test_a_directory_that_is_wrong_is_one_line(members_of, archive, data, problem):
    files, _ = members_of(data)
    assert list(files) == [archive]
    assert problem in files[archive]


def test_a_member_past_the_end_says_so(members_of):
    for value in (len(A), 0xFFFFFFFE):
        assert members_of(patched(A, "<I", 42, value, b"PK\x01\x02"))[0] == {
            "a.jpg": "its place is outside the archive"
        }
    assert members_of(patched(A, "<I", 20, 0xFFFFFFFE, b"PK\x01\x02"))[0] == {
        "a.jpg": "its place is outside the archive"
    }


def test_a_place_of_sixty_four_bits_is_no_trace(members_of):
    """An extra field may say that a member begins at 2^64 - 1."""
    info = zipfile.ZipInfo("a.jpg")
    info.extra = struct.pack("<HHQ", 1, 8, (1 << 64) - 1)
    data = zip_of([(info, b"first")])
    assert members_of(patched(data, "<I", 42, 0xFFFFFFFF, b"PK\x01\x02"))[0] == {
        "a.jpg": "its place is outside the archive"
    }


def test_members_that_overlap_cannot_multiply_what_a_file_holds(members_of):
    """One local header, named by a thousand entries."""
    names = [f"{number:04}.jpg" for number in range(1000)]
    data = zip_of([(name, b"x") for name in names])
    entries = data[data.index(b"PK\x01\x02") : data.index(b"PK\x05\x06")]
    one = bytearray(entries)
    for number in range(1000):
        struct.pack_into("<I", one, number * len(entries) // 1000 + 42, 0)
    files, _ = members_of(data.replace(entries, bytes(one)))
    assert Counter(files.values()) == {b"x": 1, "it overlaps another member": 999}
    longer = bytearray(data)
    struct.pack_into("<I", longer, data.index(b"PK\x01\x02") + 20, 100)
    files, _ = members_of(bytes(longer))
    assert Counter(files.values()) == {b"x": 999, "it overlaps another member": 1}


def test_a_directory_is_not_held(tmp_path):
    """Its entries in memory would take ten times their bytes."""
    entry = zip_of([("a.cls", b"")])
    entry = entry[entry.index(b"PK\x01\x02") : entry.index(b"PK\x05\x06")]
    number = 20_000
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, number % 65536, number % 65536, number * len(entry), 0, 0)
    path, ignored = tmp_path / "a.zip", Counter()
    path.write_bytes(entry * number + end)
    tracemalloc.start()
    try:
        files = list(list_container(stat_file(str(path)), ignored))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (files, ignored) == ([], {"other": number})
    assert peak < number * len(entry) * 2


def test_joined_archives_without_end_are_bounded(members_of, archive):
    empty = zip_of([])
    files, _ = members_of(empty * 5000 + A)
    assert files.pop("a.jpg") == b"first"
    assert files == {}


@pytest.mark.parametrize(
    "name", ["nul\0.jpg", "../x.jpg", "/x.jpg", "\x1b]0;x\x07.jpg", "n" * 10_000 + ".jpg", "é\ud83d.jpg"]
)
def test_names_are_labels(members_of, name):
    raw = name.encode("utf-8", "surrogatepass")
    data = zip_of([("@" * len(raw), b"x"), ("ok.jpg", b"y")]).replace(b"@" * len(raw), raw)
    assert sorted(members_of(data)[0].values()) == [b"x", b"y"]


@given(
    st.lists(st.tuples(st.text(max_size=20).map(lambda name: name.replace("\0", "") + ".jpg"), st.binary(max_size=99))),
    st.binary(max_size=30),
    st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
)
def test_what_zipfile_writes_is_read_as_zipfile_reads_it(tmp_path_factory, members, comment, method):
    members = {name: data for name, data in members if name.isprintable() and not left_out_kind(name, by_suffix=True)}
    data = zip_of(members.items(), comment, compression=method)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        expected = {name: archive.read(name) for name in archive.namelist()}
    found, ignored = files_in(tmp_path_factory.mktemp("zip") / "a.zip", data)
    assert found == expected
    assert ignored == {}


def test_every_cut_and_changed_byte_is_listed_or_named(members_of, archive):
    data = zip_of([("a.jpg", b"first"), ("b.txt", b"a dog"), ("b.jpg", b"second")])
    for length in range(len(data)):
        assert members_of(data[:length])[0].keys() >= {archive}, length
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 0x41
        path = archive
        with open(path, "wb") as file:
            file.write(changed)
        files = list(list_container(stat_file(path), Counter()))
        for file in files:
            if not file.problem:
                with contextlib.suppress(OSError):
                    assert read_input(file, 1 << 20) in (b"first", b"second", b"a dog"), place
