"""Pictures of a shard, read ahead, decoded and encoded; a broken one is rejected and disturbs no other."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from beam_pipeline.encoders.base import ENCODER_BATCH
from beam_pipeline.inputs.input_file import InputFile
from beam_pipeline.inputs.sources import resolve_collection, stat_file
from beam_pipeline.options.limits import DEFAULT_DECODE_LIMITS, DecodeLimits
from beam_pipeline.shards.contents import Picture
from beam_pipeline.shards.encoding import encode_pictures, encode_pixels, read_picture, sample_pixels
from beam_pipeline.shards.overlap import count_outcomes
from training.errors import UserError


@pytest.fixture
def write(tmp_path):
    """Writes a file; returns the Picture of it."""

    def write(name: str, content: bytes) -> Picture:
        (tmp_path / name).write_bytes(content)
        return Picture(hashlib.sha256(content).hexdigest(), (stat_file(str(tmp_path / name)),))

    return write


def outcomes(read) -> list[tuple[str, str]]:
    return [(line.outcome, line.stage) for line in read.lines]


def test_a_picture_is_read_from_the_first_file_that_still_has_it(write, jpeg, tmp_path):
    picture = write("b.jpg", jpeg("red"))
    gone = InputFile(str(tmp_path / "a.jpg"), 1, 1.0)
    (copy,) = write("c.jpg", jpeg("red")).files
    read = read_picture(Picture(picture.sha256, (gone, *picture.files, copy)), DEFAULT_DECODE_LIMITS)
    assert outcomes(read) == [("rejected", "read"), ("done", ""), ("duplicate", "")]
    assert [line.uri for line in read.lines] == [str(tmp_path / name) for name in ("a.jpg", "b.jpg", "c.jpg")]
    assert read.image.pixels.shape == (299, 299, 3)


def test_a_picture_that_cannot_be_decoded_rejects_all_its_files(write):
    picture = write("a.jpg", b"no image")
    read = read_picture(Picture(picture.sha256, picture.files * 2), DEFAULT_DECODE_LIMITS)
    assert (outcomes(read), read.image) == ([("rejected", "decode")] * 2, None)


def test_a_picture_whose_profile_is_too_large_is_done_and_says_so(write, tmp_path):
    Image.new("RGB", (9, 9), "red").save(tmp_path / "a.tif", icc_profile=bytes(9 << 20))
    read = read_picture(write("b.tif", (tmp_path / "a.tif").read_bytes()), DEFAULT_DECODE_LIMITS)
    (line,) = read.lines
    assert (line.outcome, line.reason) == ("done", "its colour profile is too large to be applied")
    counts = dict(output.value for output in count_outcomes(read.lines))
    assert counts == {"done": 1, "profiles_left_out": 1}


def test_a_file_that_changes_while_the_job_runs_is_rejected(write, jpeg):
    (file,) = write("a.jpg", jpeg("red")).files
    read = read_picture(Picture("0" * 64, (file,)), DEFAULT_DECODE_LIMITS)
    assert (outcomes(read), read.image) == ([("rejected", "read")], None)
    assert "changed while the job ran" in read.lines[0].reason


def test_a_known_picture_is_not_read_again():
    files = tuple(InputFile(f"/p/{name}.jpg", 1, 1.0) for name in "ab")
    read = read_picture(Picture("aa", files, known_as=("/p/b.jpg",)), DEFAULT_DECODE_LIMITS)
    assert (outcomes(read), read.image) == ([("duplicate", ""), ("done", "")], None)


@pytest.mark.parametrize(("listed_with", "stage"), [("", "read"), ("gone", "list")])
def test_a_problem_is_rejected_where_it_arose(listed_with, stage):
    file = InputFile("/p/a.jpg", -1, -1, problem=listed_with)
    read = read_picture(Picture("aa", (file,), problem="gone"), DEFAULT_DECODE_LIMITS)
    assert [(line.outcome, line.stage, line.reason, line.sha256) for line in read.lines] == [
        ("rejected", stage, "gone", "")
    ]


def test_features_come_in_the_order_of_the_pictures_and_broken_ones_have_none(write, jpeg, colours, encoder):
    pictures = [write(f"{number:02d}.jpg", jpeg(colour)) for number, colour in enumerate(colours)]
    pictures.insert(3, write("broken.jpg", b"no image"))
    encoded = list(encode_pictures(pictures, encoder, DecodeLimits(views=1)))
    assert [one.read.picture for one in encoded] == pictures
    assert encoded.pop(3).feature is None
    for one, colour in zip(encoded, colours, strict=True):
        assert np.abs(one.feature[:3].astype(float) - colour).max() < 4
        assert one.views.shape == (1, 2048)


def test_nothing_to_encode_loads_no_encoder(write):
    def load():
        raise AssertionError("not needed")

    (encoded,) = encode_pictures([write("a.jpg", b"no image")], load, DEFAULT_DECODE_LIMITS)
    assert encoded.feature is None


def test_pixels_are_encoded_in_batches_of_one_size():
    sizes = []

    class Count:
        def encode(self, pixels):
            sizes.append(len(pixels))
            return pixels

    pixels = [np.full([1], number) for number in range(2 * ENCODER_BATCH + 1)]
    assert list(encode_pixels(pixels, Count)) == pixels
    assert sizes == [ENCODER_BATCH, ENCODER_BATCH, 1]


def test_a_sample_is_of_the_pictures_that_can_be_decoded(good, tmp_path):
    (good / "broken.jpg").write_bytes(b"no image")
    pixels = sample_pixels(resolve_collection(str(good)), DEFAULT_DECODE_LIMITS)
    assert (pixels.shape, pixels.dtype) == ((20, 299, 299, 3), np.uint8)


def test_without_a_picture_there_is_no_sample(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    (tmp_path / "list.txt").write_text("nowhere.jpg\n")
    for images, problem in (
        (tmp_path, "broken.jpg: not an image"),
        (tmp_path / "list.txt", "nowhere.jpg: no such file"),
    ):
        with pytest.raises(UserError, match=rf"--images {images}: holds no picture .*\({tmp_path}/{problem}"):
            sample_pixels(resolve_collection(str(images)), DEFAULT_DECODE_LIMITS)
