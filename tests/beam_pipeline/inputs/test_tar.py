"""Tar files to their true end, and headers that nobody should believe."""

import io
import os
import tarfile
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest

from beam_pipeline.inputs.containers import list_container, read_input
from beam_pipeline.inputs.sources import stat_file

BLOCK = 512
END = bytes(2 * BLOCK)


def member(name: bytes, data: bytes = b"x", kind: bytes = b"0", size: int | None = None) -> bytes:
    """A header and its padded content, as any tar has them."""
    size = len(data) if size is None else size
    number = b"%011o\0" % size if 0 <= size < 8**11 else b"\x80" + size.to_bytes(11, "big")
    block = name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + number + b"00000000000\0" + b" " * 8 + kind
    block = (block.ljust(257, b"\0") + b"ustar\x0000").ljust(BLOCK, b"\0")
    header = block[:148] + b"%06o\0 " % sum(block) + block[156:]
    return header + data + bytes(-len(data) % BLOCK)


def pax(*records: bytes) -> bytes:
    """A header of pax with these records."""
    return member(b"pax", b"".join(records), b"x")


def record(key: bytes, value: bytes) -> bytes:
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + 1
    while len(b"%d" % length) + len(rest) != length:
        length += 1
    return b"%d" % length + rest


@pytest.fixture
def members_of(tmp_path):
    """Content of a tar -> ({name: content or problem}, what was ignored)."""

    def members_of(data: bytes):
        path = tmp_path / "a.tar"
        path.write_bytes(data)
        ignored = Counter()
        files = list(list_container(stat_file(str(path)), ignored))
        return {file.uri.removeprefix(f"{path}!/"): file.problem or read_input(file, 1 << 20) for file in files} | {
            str(path): file.problem for file in files if file.uri == str(path)
        }, +ignored

    return members_of


def tar_of(names, form=tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(name.encode(errors="surrogateescape"))
            archive.addfile(info, io.BytesIO(name.encode(errors="surrogateescape")))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "between",
    [
        pytest.param(b"", id="joined"),
        pytest.param(bytes(3 << 20), id="padded with megabytes"),
        pytest.param(b"\0" * 7, id="no whole blocks between"),
    ],
)
def test_joined_tars_are_read_to_the_true_end(members_of, between):
    files, ignored = members_of(tar_of(["a.jpg", "b.jpg"]) + between + tar_of(["c.jpg"]) + between + tar_of(["d.jpg"]))
    assert files == {name: name.encode() for name in ("a.jpg", "b.jpg", "c.jpg", "d.jpg")}
    assert ignored == {}


def test_joined_tars_of_the_same_names_lose_none(members_of):
    data = member(b"0.jpg", b"first") + END + member(b"0.jpg", b"second") + member(b"0 (2).jpg", b"third") + END
    files, _ = members_of(data)
    assert files == {"0.jpg": b"first", "0 (2).jpg": b"second", "0 (2) (2).jpg": b"third"}


def test_what_follows_the_end_and_is_no_tar_is_named(members_of, tmp_path):
    files, _ = members_of(member(b"a.jpg") + END + b"not a header")
    assert files == {
        "a.jpg": b"x",
        str(
            tmp_path / "a.tar"
        ): "damaged after 1 member, the rest is not read (what follows its end (12 bytes) is no tar)",
    }


def test_a_tar_without_a_mark_of_its_end_may_have_been_cut(members_of):
    files, ignored = members_of(member(b"a.jpg"))
    assert (files, ignored) == ({"a.jpg": b"x"}, {"unended": 1})


def test_what_was_never_written_is_not_read(tmp_path):
    """A hole of a terabyte before the second of two joined tars."""
    path = tmp_path / "a.tar"
    with open(path, "wb") as file:
        file.write(member(b"a.jpg") + END)
        file.seek(1 << 40)
        file.write(member(b"b.jpg") + END)
        file.truncate(1 << 42)
    files = list(list_container(stat_file(str(path)), Counter()))
    assert [file.uri.removeprefix(f"{path}!/") for file in files] == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_of_every_form_are_those_of_tarfile(members_of, form):
    long = "" if form == tarfile.USTAR_FORMAT else "n" * 10_000
    names = ["p" * 90 + "/" + "q" * 90 + ".jpg", f"d/{long}.jpg", "é🐕.jpg", "no\udcffutf8.jpg", "new\nline\x1b[2J.jpg"]
    files, _ = members_of(tar_of(names, form))
    assert files == {name: name.encode(errors="surrogateescape") for name in names}


def test_a_name_without_bounds_keeps_its_end(members_of):
    (name,) = members_of(pax(record(b"path", b"n" * 900_000 + b".jpg")) + member(b"a") + END)[0]
    assert len(name) == 32 << 10 and name.endswith(".jpg")


def test_a_size_in_pax_counts(members_of):
    data = pax(record(b"size", b"3"), record(b"comment", b"n" * 999)) + member(b"a.jpg", b"abc", size=0)
    assert members_of(data + member(b"b.jpg") + END)[0] == {"a.jpg": b"abc", "b.jpg": b"x"}


def test_sparse_members_say_so(members_of):
    old = bytearray(member(b"old.jpg", b"x", b"S"))
    old[482] = 1  # its map goes on in another block
    old[148:156] = b"%06o\0 " % sum(old[:148] + b" " * 8 + old[156:BLOCK])
    more = old[:BLOCK] + bytes(504) + b"\1" + bytes(7) + bytes(512) + old[BLOCK:]
    new = pax(record(b"GNU.sparse.major", b"1"), record(b"GNU.sparse.name", b"new.jpg")) + member(b"GNUSparseFile.0/a")
    files, _ = members_of(bytes(more) + new + member(b"b.jpg") + END)
    assert files.pop("b.jpg") == b"x"
    assert set(files) == {"old.jpg", "new.jpg"}
    assert all("a sparse file" in problem for problem in files.values())


MANY = 3_000


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        pytest.param(pax(record(b"path", b"b.jpg")) * MANY, "", id="3,000 pax headers in a row"),
        pytest.param(member(b"long", b"b.jpg\0", b"L") * MANY, "", id="3,000 long names in a row"),
        pytest.param(
            member(b"pax", record(b"path", b"no.jpg"), b"g") * MANY + pax(record(b"path", b"b.jpg")),
            "",
            id="3,000 global headers",
        ),
        pytest.param(pax(b"5 a=\n" * 99_000, record(b"path", b"b.jpg")), "", id="99,000 records"),
        pytest.param(pax(b"1" * 100_000 + b" path=b.jpg\n"), "a record that has no length", id="digits"),
        pytest.param(pax(b"0 path=b.jpg\n"), "a record that has a wrong length", id="a record of no length"),
        pytest.param(pax(b"99 path=b.jpg\n"), "a record that has a wrong length", id="a record past the end"),
        pytest.param(pax(record(b"size", b"-512")), "points backwards", id="a negative size in pax"),
        pytest.param(pax(record(b"size", b"1e9")), "invalid literal", id="a size that is no number"),
        pytest.param(pax(record(b"size", b"9" * 5000)), "Exceeds the limit", id="a size of 5,000 digits"),
        pytest.param(member(b"pax", kind=b"x", size=1 << 80), "a header of", id="a pax header of 2^80 bytes"),
        pytest.param(member(b"pax", kind=b"x", size=9_999), "it ends within a header", id="a cut pax header"),
    ],
)
def test_headers_that_extend_others_are_bounded(members_of, tmp_path, data, problem):
    tracemalloc.start()
    try:
        files, _ = members_of(member(b"a.jpg") + data + member(b"b") + END)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert files.pop("a.jpg") == b"x"
    if problem:
        assert problem in files.pop(str(tmp_path / "a.tar"))
        assert files == {}
    else:
        assert files == {"b.jpg": b"x"}
    assert peak < 3 * len(data) + (8 << 20)


def test_a_member_of_an_absurd_size_is_cut_off(members_of, tmp_path):
    files, _ = members_of(member(b"a.jpg", size=1 << 80) + END)
    assert files == {
        "a.jpg": "truncated: the archive ends within it",
        str(tmp_path / "a.tar"): "damaged after 1 member, the rest is not read (it ends within a member)",
    }


def test_a_compressed_tar_that_is_called_tar_says_what_to_do(members_of, tmp_path):
    assert members_of(b"\x1f\x8b\x08" + bytes(600))[0] == {
        str(tmp_path / "a.tar"): "not a tar archive (it is compressed as a whole; unpack it, or repack it as .tar)"
    }


def test_every_cut_of_a_tar_is_listed_or_named(members_of, tmp_path):
    whole = tar_of(["a.jpg", "n" * 200 + ".jpg"], tarfile.GNU_FORMAT)
    for length in range(0, len(whole), 100):
        files, ignored = members_of(whole[:length])
        named = files.pop(str(tmp_path / "a.tar"), None)
        assert len(files) == 2 or named or ignored == {"unended": 1}, length


def test_a_changed_byte_is_listed_or_named(members_of):
    whole = tar_of(["a.jpg", "b.jpg"], tarfile.GNU_FORMAT)[: 5 * BLOCK]
    for place in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[place] ^= 0x41
        files, _ = members_of(bytes(changed))
        assert files, place


def test_places_are_read_again_by_whoever_opens_the_file_anew(tmp_path):
    path = Path(tmp_path, "a.tar")
    path.write_bytes(tar_of(["a.jpg"]))
    ((file),) = list_container(stat_file(str(path)), Counter())
    assert os.fspath(path) == file.file
    assert read_input(file, 10) == b"a.jpg"
