import hashlib
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from beam_pipeline.images.decode import DecodedImage
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


def test_a_remote_picture_is_opened_only_where_that_is_allowed(tmp_path):
    update_thumbnails(str(tmp_path), [Wanted("a" * 64, "nowhere://x.jpg")], DEFAULT_DECODE_LIMITS, remote=False)
    assert not (tmp_path / "thumbnails.zip").exists()


def test_a_picture_that_is_missing_or_has_changed_has_no_thumbnail(good):
    readable = wanted_of(good / "00.jpg")
    others = [Wanted("b" * 64, str(good / "01.jpg")), Wanted("c" * 64, str(good / "missing.jpg"))]
    ((sha256, data),) = make_thumbnails([readable, *others], DEFAULT_DECODE_LIMITS)
    assert sha256 == readable.sha256 and data.startswith(b"\xff\xd8\xff")


def test_a_file_that_is_no_zip_is_an_empty_store(tmp_path):
    (tmp_path / "thumbnails.zip").write_bytes(b"no zip")
    with ThumbnailStore(str(tmp_path)) as store:
        assert store.sizes == {}
