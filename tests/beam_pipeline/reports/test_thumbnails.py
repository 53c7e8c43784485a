import hashlib
import io
import os
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from beam_pipeline.images.decode import DecodedImage
from beam_pipeline.inputs.reader import PictureReader
from beam_pipeline.options.limits import DEFAULT_DECODE_LIMITS
from beam_pipeline.reports.thumbnails import SIDE, ThumbnailStore, Wanted, make_thumbnails, thumbnail, update_thumbnails


@given(st.integers(1, 20000), st.integers(1, 20000))
def test_a_thumbnail_has_the_proportions_of_the_picture(width, height):

    image = DecodedImage(np.zeros([299, 299, 3], np.uint8), width, height)
    with Image.open(io.BytesIO(thumbnail(image))) as small:
        longer = max(width, height)
        assert max(small.size) == min(SIDE, longer), "never larger than the picture"
        assert small.size[0] / max(small.size) == pytest.approx(width / longer, abs=1 / max(small.size))
        assert small.size[1] / max(small.size) == pytest.approx(height / longer, abs=1 / max(small.size))


def wanted_of(path) -> Wanted:
    return Wanted(hashlib.sha256(path.read_bytes()).hexdigest(), str(path))


def test_the_store_gets_what_is_missing_and_loses_what_is_not_wanted(good, tmp_path):
    first, second, third = (wanted_of(good / f"{number:02d}.jpg") for number in range(3))
    update_thumbnails(str(tmp_path), [first, second], DEFAULT_DECODE_LIMITS, remote=False)
    with ThumbnailStore(str(tmp_path)) as store:
        assert store.sizes.keys() == {first.sha256, second.sha256}
        kept = store.read(second.sha256)
    update_thumbnails(str(tmp_path), [second, third], DEFAULT_DECODE_LIMITS, remote=False)
    with ThumbnailStore(str(tmp_path)) as store:
        assert store.sizes.keys() == {second.sha256, third.sha256}
        assert store.read(second.sha256) == kept


def test_the_store_does_not_change_where_nothing_is_missing(good, tmp_path):
    wanted = [wanted_of(good / "00.jpg")]
    update_thumbnails(str(tmp_path), wanted, DEFAULT_DECODE_LIMITS, remote=False)
    before = (tmp_path / "thumbnails.zip").stat().st_mtime_ns
    update_thumbnails(str(tmp_path), wanted, DEFAULT_DECODE_LIMITS, remote=False)
    assert (tmp_path / "thumbnails.zip").stat().st_mtime_ns == before


def test_a_remote_picture_is_opened_only_where_that_is_allowed(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(PictureReader, "read", lambda self, uri, limit: opened.append(uri) or b"no picture")
    addresses = ["nowhere://x.jpg", "nowhere://x.zip!/x.jpg"]
    for remote, expected in ((False, []), (True, addresses)):
        wanted = [Wanted(letter * 64, uri) for letter, uri in zip("ab", addresses, strict=True)]
        update_thumbnails(str(tmp_path), wanted, DEFAULT_DECODE_LIMITS, remote)
        assert sorted(opened) == expected and not (tmp_path / "thumbnails.zip").exists()


def test_a_picture_that_is_missing_or_has_changed_has_no_thumbnail(good):
    readable = wanted_of(good / "00.jpg")
    others = [Wanted("b" * 64, str(good / "01.jpg")), Wanted("c" * 64, str(good / "missing.jpg"))]
    ((sha256, data),) = make_thumbnails([readable, *others], DEFAULT_DECODE_LIMITS)
    assert sha256 == readable.sha256 and data.startswith(b"\xff\xd8\xff")


def written(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def jpeg_of(side):
    buffer = io.BytesIO()
    Image.new("RGB", (side, 2)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"no zip"),
        lambda path: path.write_bytes(path.read_bytes()[:-30]),
        lambda path: path.write_bytes(path.read_bytes()[:100] + b"????" + path.read_bytes()[104:]),
        lambda path: (path.unlink(), path.symlink_to(path)),
        lambda path: (path.unlink(), os.mkfifo(path)),
        lambda path: (path.unlink(), path.symlink_to("/dev/zero")),
        lambda path: written(path, {f"{'a' * 64}.jpg": bytes(1 << 20)}, zipfile.ZIP_DEFLATED),
        lambda path: written(path, {f"{'a' * 64}.jpg": b"no picture"}),
        lambda path: written(path, {f"{'a' * 64}.jpg": jpeg_of(SIDE + 1)}),
        lambda path: written(path, {"../../escaped.jpg": jpeg_of(9)}),
    ],
)
def test_a_damaged_store_holds_nothing_and_is_made_again(good, tmp_path, damage):
    wanted, path = [wanted_of(good / "00.jpg")], tmp_path / "thumbnails.zip"
    update_thumbnails(str(tmp_path), wanted, DEFAULT_DECODE_LIMITS, remote=False)
    whole = path.read_bytes()
    damage(path)
    with ThumbnailStore(str(tmp_path)) as store:
        assert store.sizes == {} and not store.is_whole
    update_thumbnails(str(tmp_path), wanted, DEFAULT_DECODE_LIMITS, remote=False)
    assert path.read_bytes() == whole


def test_members_that_overlap_are_not_unpacked(tmp_path):
    names = [f"{number:064x}.jpg" for number in range(300)]
    written(tmp_path / "thumbnails.zip", {name: jpeg_of(9) for name in names[:1]})
    data = (tmp_path / "thumbnails.zip").read_bytes()
    begin = data.index(b"PK\x01\x02")
    entry, end = data[begin : begin + 46 + 68], data[begin + 46 + 68 :]
    entries = b"".join(entry.replace(names[0].encode(), name.encode()) for name in names)
    count = len(names).to_bytes(2, "little") * 2
    (tmp_path / "thumbnails.zip").write_bytes(
        data[:begin] + entries + end[:8] + count + len(entries).to_bytes(4, "little") + end[16:]
    )
    with ThumbnailStore(str(tmp_path)) as store:
        assert store.sizes == {} and not store.is_whole
