import hashlib
import zipfile

import pytest

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


def test_a_container_is_listed_once_for_all_its_members(archive):
    reader = PictureReader()
    assert reader.read(f"{archive}!/x.jpg") == b"picture x"
    places = reader._members
    assert reader.read(f"{archive}!/y.jpg") == b"picture y"
    assert reader._members is places


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
