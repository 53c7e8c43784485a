"""What a decoder process does with one file; the process itself is tested with the pool."""

import numpy as np
import pytest

from beam_pipeline.images.decode import decode_image
from beam_pipeline.images.decoder_process import ABOUT, start_decoder
from beam_pipeline.runtime.isolated_process import Refused

DECODER = "beam_pipeline.images.decode:decode_image"


def test_a_picture_becomes_its_size_its_pixels_and_its_views(noisy_jpeg):
    size, pixels, views = start_decoder(DECODER, 100, 2)(noisy_jpeg(0))
    expected = decode_image(noisy_jpeg(0), views=2)
    assert ABOUT.unpack(size) == (expected.width, expected.height, False) == (64, 48, False)
    assert np.array_equal(np.frombuffer(pixels, np.uint8).reshape(299, 299, 3), expected.pixels)
    assert np.array_equal(np.frombuffer(views, np.uint8).reshape(2, 299, 299, 3), expected.views)


def test_a_file_that_is_no_picture_is_refused():
    with pytest.raises(Refused, match="not an image of a known format"):
        start_decoder(DECODER, 100, 0)(b"no picture")
