"""Pictures in .tar and .zip files: what is listed, what is read, and what a hostile archive cannot do."""

import io
import os
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from pathlib import Path

import pytest

from beam_pipeline.inputs.containers import fingerprint, list_container, read_input
from beam_pipeline.inputs.input_file import TooLarge, UnreadableMember
from beam_pipeline.inputs.sources import resolve_collection, stat_file
from training.errors import UserError

MAX_BYTES = 1 << 20


def write_tar(path: Path, members, **options) -> Path:
    """(name or TarInfo, bytes) of each member -> the archive."""
    with tarfile.open(path, "w", **options) as archive:
        for name, data in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def write_zip(path: Path, members, method=zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


WRITERS = {"tar": write_tar, "zip": write_zip}


@pytest.fixture(params=WRITERS)
def write(request, tmp_path):
    """members -> path of an archive, once of each kind."""
    return lambda members: WRITERS[request.param](tmp_path / f"photos.{request.param}", members)


def members_of(path) -> tuple[dict[str, object], Counter]:
    """({name: InputFile}, what was ignored) of an archive."""
    ignored = Counter()
    files = list(list_container(stat_file(str(path)), ignored))
    return {file.uri.removeprefix(f"{path}!/"): file for file in files}, +ignored


def test_members_are_read_by_their_places(write):
    contents = {"a.jpg": b"first", "deep/er/b.png": bytes(100_000), "no_suffix": b"x", "empty.jpg": b""}
    path = write(contents.items())
    files, ignored = members_of(path)
    assert ignored == {}
    assert {name: read_input(file, MAX_BYTES) for name, file in files.items()} == contents
    assert [file.size for file in files.values()] == [len(data) for data in contents.values()]
    assert {file.mtime for file in files.values()} == {path.stat().st_mtime}


def test_what_is_no_picture_is_counted(write):
    path = write([("a.jpg", b"x"), ("._a.jpg", b"x"), ("__MACOSX/._a.jpg", b"x"), ("a.cls", b"3"), ("b.tar", b"x")])
    files, ignored = members_of(path)
    assert list(files) == ["a.jpg"]
    assert ignored == {"shadow": 2, "other": 1, "nested": 1}


def test_a_text_beside_a_picture_is_its_caption(write):
    path = write(
        [
            ("s/000.jpg", b"x"),
            ("s/000.txt", b"a dog\n runs\n"),
            ("s/000.json", b'{"caption": "a dog runs", "url": "http://x"}'),
            ("s/001.left.jpg", b"x"),
            ("s/001.right.jpg", b"x"),
            ("s/001.json", b'{"captions": ["two views", "of a hill"]}'),
            ("s/IMG.1.jpg", b"x"),
            ("s/IMG.1.txt", b"one"),
            ("s/IMG.2.jpg", b"x"),
            ("s/IMG.2.txt", b"two"),
            ("s/002.jpg", b"x"),
            ("s/002.json", b"[1, 2]"),
            ("s/003.jpg", b"x"),
            ("s/003.json", b'{"text": "half a pair \\ud83d"}'),
        ]
    )
    files, ignored = members_of(path)
    assert {name: file.captions for name, file in files.items()} == {
        "s/000.jpg": ("a dog runs",),
        "s/001.left.jpg": ("two views", "of a hill"),
        "s/001.right.jpg": ("two views", "of a hill"),
        "s/IMG.1.jpg": ("one",),
        "s/IMG.2.jpg": ("two",),
        "s/002.jpg": (),
        "s/003.jpg": ("half a pair ?",),
    }
    assert ignored == {}


def test_a_caption_that_cannot_be_read_is_counted(write):
    path = write(
        [("a.jpg", b"x"), ("a.txt", b"\xff\xfe"), ("b.jpg", b"x"), ("b.json", b"[" * 50_000), ("b.txt", b"a cat")]
    )
    files, ignored = members_of(path)
    assert [file.captions for file in files.values()] == [(), ("a cat",)]
    assert ignored == {"caption": 2}


def test_a_book_beside_a_picture_is_no_caption(write):
    files, ignored = members_of(write([("a.jpg", b"x"), ("a.txt", b"word " * 20_000)]))
    assert files["a.jpg"].captions == ()
    assert ignored == {"caption": 1}


def test_names_that_lead_outside_are_labels(write, tmp_path):
    names = ["../../escaped.jpg", "/tmp/absolute.jpg", "C:/windows.jpg", "a/../../b.jpg", "new\nline 🐕 %41*[x].jpg"]
    path = write([(name, name.encode()) for name in names])
    before = sorted(tmp_path.rglob("*"))
    files, _ = members_of(path)
    assert {name.lstrip("/") for name in files} == {name.lstrip("/") for name in names}
    assert sorted(read_input(file, MAX_BYTES) for file in files.values()) == sorted(name.encode() for name in names)
    assert sorted(tmp_path.rglob("*")) == before
    assert not Path("/tmp/absolute.jpg").exists()


def test_links_and_devices_in_a_tar_are_not_inputs(tmp_path):
    special = []
    for name, kind in (("s.jpg", tarfile.SYMTYPE), ("h.jpg", tarfile.LNKTYPE), ("d.jpg", tarfile.CHRTYPE)):
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "/etc/passwd"
        special.append((info, b""))
    folder = tarfile.TarInfo("folder")
    folder.type = tarfile.DIRTYPE
    files, ignored = members_of(write_tar(tmp_path / "a.tar", [*special, (folder, b""), ("folder/a.jpg", b"x")]))
    assert list(files) == ["folder/a.jpg"]
    assert ignored == {"link": 3}


def test_links_in_a_zip_are_not_inputs(tmp_path):
    link = zipfile.ZipInfo("s.jpg")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    members = [(link, b"/etc/passwd"), ("folder/", b""), ("a.jpg", b"x")]
    files, ignored = members_of(write_zip(tmp_path / "a.zip", members))
    assert list(files) == ["a.jpg"]
    assert ignored == {"link": 1}


def test_a_cut_tar_loses_only_what_is_cut(tmp_path):
    path = write_tar(tmp_path / "a.tar", [(f"{number}.jpg", bytes(1000)) for number in range(4)])
    os.truncate(path, 3 * 1536 + 512 + 100)
    files, _ = members_of(path)
    assert {name: file.problem for name, file in files.items()} == {
        "0.jpg": "",
        "1.jpg": "",
        "2.jpg": "",
        "3.jpg": "truncated: the archive ends within it",
        str(path): "damaged after 4 members, the rest is not read (it ends within a member)",
    }


def test_a_tar_that_is_damaged_in_the_middle_says_so(tmp_path):
    """Python's reader takes the damaged header for the end, in silence."""
    path = write_tar(tmp_path / "a.tar", [(f"{number}.jpg", bytes(1000)) for number in range(4)])
    data = bytearray(path.read_bytes())
    data[2 * 1536 : 2 * 1536 + 512] = b"?" * 512
    path.write_bytes(data)
    files, _ = members_of(path)
    assert list(files) == ["0.jpg", "1.jpg", str(path)]
    assert files[str(path)].problem.startswith("damaged after 2 members, the rest is not read")


def header(name: bytes, size: bytes, kind: bytes) -> bytes:
    block = name.ljust(100, b"\0") + b"0000644\0" * 1 + b"0000000\0" * 2 + size + b"00000000000\0" + b" " * 8 + kind
    block = block.ljust(257, b"\0") + b"ustar\x0000"
    block = block.ljust(512, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


@pytest.mark.parametrize("kind", [b"L", b"x"])
def test_a_header_that_claims_gigabytes_is_not_read(tmp_path, kind):
    path = tmp_path / "a.tar"
    path.write_bytes(header(b"long", b"17777777777\0", kind))
    os.truncate(path, 3 << 30)  # sparse: no disk is used, but reading it would fill the memory
    (problem,) = members_of(path)[0].values()
    assert "a header of 2,147,483,647 bytes" in problem.problem


def test_a_header_that_points_backwards_ends_the_list(tmp_path):
    path = tmp_path / "a.tar"
    backwards = b"\xff" * 8 + struct.pack(">i", -1024)
    path.write_bytes(header(b"a.jpg", b"00000000000\0", b"0") + header(b"b.jpg", backwards, b"0") + bytes(1024))
    files, _ = members_of(path)
    assert list(files) == ["a.jpg", str(path)]
    assert "damaged after 1 member" in files[str(path)].problem


@pytest.mark.parametrize("name", ["a.tar", "a.zip", "a.parquet", "a.tfrecord"])
@pytest.mark.parametrize("data", [b"", b"<html>404</html>" * 100])
def test_what_is_no_archive_is_one_line(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    if data or name != "a.tfrecord":  # an empty TFRecord file is one
        (file,) = members_of(tmp_path / name)[0].values()
        assert (file.uri, file.member) == (str(tmp_path / name), None)
        assert file.problem and "\n" not in file.problem
    with pytest.raises(UserError, match=name) as raised:
        resolve_collection(str(tmp_path / name))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "a.TAR.XZ"])
def test_a_compressed_tar_says_what_to_do(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x1f\x8b")
    (file,) = members_of(tmp_path / name)[0].values()
    assert "repack it as .tar" in file.problem


def test_a_member_that_unpacks_to_more_than_it_says_is_cut_off(tmp_path):
    """The directory says 10 bytes; 16 MiB would come out."""
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(16)) + packer.flush()
    path = write_zip(tmp_path / "a.zip", [("a.jpg", packed)], zipfile.ZIP_STORED)
    data = path.read_bytes()
    central = data.rindex(b"PK\x01\x02")
    patched = bytearray(data)
    struct.pack_into("<H", patched, 8, zipfile.ZIP_DEFLATED)
    struct.pack_into("<H", patched, central + 10, zipfile.ZIP_DEFLATED)
    struct.pack_into("<I", patched, central + 24, 10)
    path.write_bytes(patched)
    (file,) = members_of(path)[0].values()
    assert file.size == 10
    with pytest.raises(UnreadableMember, match="has more than the 10 bytes"):
        read_input(file, 1 << 30)


def test_a_large_member_is_refused_unread(write):
    path = write([("a.jpg", bytes(2 * MAX_BYTES))])
    (file,) = members_of(path)[0].values()
    os.remove(path)
    with pytest.raises(TooLarge, match="2,097,152 bytes, over the limit of 1,048,576; --max-bytes raises it"):
        fingerprint(file, MAX_BYTES)


def test_a_damaged_zip_member_is_noticed(tmp_path):
    path = write_zip(tmp_path / "a.zip", [("a.jpg", b"pixels" * 100)], zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    (file,) = members_of(path)[0].values()
    with pytest.raises(UnreadableMember, match="its checksum differs"):
        read_input(file, MAX_BYTES)


@pytest.mark.parametrize(
    ("at", "value", "problem"),
    [(8, 1, "encrypted"), (10, zipfile.ZIP_BZIP2, "compressed by method 12 of zip; only deflate can be read")],
)
def test_zip_members_that_cannot_be_unpacked_say_why(tmp_path, at, value, problem):
    path = write_zip(tmp_path / "a.zip", [("a.jpg", b"x")], zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    struct.pack_into("<H", data, data.rindex(b"PK\x01\x02") + at, value)
    path.write_bytes(data)
    (file,) = members_of(path)[0].values()
    assert file.problem == problem


def test_an_archive_that_changes_after_listing_is_noticed(write):
    path = write([("a.jpg", b"x" * 100), ("b.jpg", b"y" * 100)])
    _, last = members_of(path)[0].values()
    os.truncate(path, 40)
    with pytest.raises(UnreadableMember):
        read_input(last, MAX_BYTES)
    os.remove(path)
    with pytest.raises(FileNotFoundError):
        read_input(last, MAX_BYTES)
