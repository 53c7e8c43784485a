import hashlib
import os
import zipfile
from collections import Counter

import pytest

from beam_pipeline.inputs import reader as reader_module
from beam_pipeline.inputs.input_file import TooLarge
from beam_pipeline.inputs.reader import PictureReader


@pytest.fixture
def archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("x", "y"):
            archive.writestr(f"{name}.jpg", f"picture {name}")
    return tmp_path / "a.zip"


def test_files_and_members_are_read_by_address(archive, tmp_path):
    (tmp_path / "b.jpg").write_bytes(b"a file")
    reader = PictureReader()
    addresses = [f"{archive}!/y.jpg", str(tmp_path / "b.jpg"), f"{archive}!/x.jpg"]
    assert [reader.read(address) for address in addresses] == [b"picture y", b"a file", b"picture x"]
    with pytest.raises(TooLarge):
        reader.read(addresses[1], max_bytes=5)


def test_containers_are_listed_once_though_addresses_alternate_between_them(tmp_path, monkeypatch):
    for name in ("a.zip", "b.zip", "c.zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for number in range(3):
                archive.writestr(f"{number}.jpg", f"{name} {number}")
    listed, list_container = Counter(), reader_module.list_container

    def count_and_list(container, ignored):
        listed[os.path.basename(container.uri)] += 1
        return list_container(container, ignored)

    monkeypatch.setattr(reader_module, "list_container", count_and_list)
    reader = PictureReader()
    for number in range(3):
        for name in ("a.zip", "b.zip"):
            assert reader.read(f"{tmp_path}/{name}!/{number}.jpg") == f"{name} {number}".encode()
    assert listed == {"a.zip": 1, "b.zip": 1}
    monkeypatch.setattr(reader_module, "_MOST_PLACES", 6)
    for name in ("a.zip", "c.zip", "a.zip", "b.zip"):  # b was used least lately, and is let go for c
        reader.read(f"{tmp_path}/{name}!/0.jpg")
    assert listed == {"a.zip": 1, "b.zip": 2, "c.zip": 1}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a.zip!/z.jpg", "no such member in the archive any more"),
        ("gone.zip!/x.jpg", "no such member in the archive any more"),
        ("gone.jpg", "no such file or directory"),
        (".", "a folder, not a file"),
    ],
)
def test_what_cannot_be_read_says_why(archive, tmp_path, name, reason):
    with pytest.raises(OSError, match=reason):
        PictureReader().read(str(tmp_path / name))


def test_what_has_changed_since_is_refused(archive):
    reader = PictureReader()
    address = f"{archive}!/x.jpg"
    assert reader.read_unchanged(address, hashlib.sha256(b"picture x").hexdigest()) == b"picture x"
    with pytest.raises(OSError, match="changed since it was captioned; run captionbeam caption again"):
        reader.read_unchanged(address, hashlib.sha256(b"picture y").hexdigest())
