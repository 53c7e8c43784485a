"""Fixtures of the encoders' tests.

pixels          five smooth pictures, uint8 [5, 299, 299, 3]
spec_of         engine, precision -> EncoderSpec of InceptionV3 with random weights, the same for all
tiny            a network of one convolution, which is built in no time
no_sample       pictures to fit weights to, where none may be asked for
"""

import hashlib

import numpy as np
import pytest

from beam_pipeline.encoders.base import Architecture, EncoderRequest
from beam_pipeline.encoders.registry import resolve_encoder


@pytest.fixture(scope="session")
def pixels():
    """Smooth pictures, as photos are; noise alone says nothing about the arithmetic."""
    coarse = np.random.default_rng(0).integers(0, 256, (5, 13, 13, 3), np.uint8)
    return coarse.repeat(23, axis=1).repeat(23, axis=2)


@pytest.fixture(scope="session")
def spec_of(pixels, tmp_path_factory):
    output = str(tmp_path_factory.mktemp("random"))

    def spec_of(engine, precision="float32"):
        return resolve_encoder(EncoderRequest("random", "grid", "mixed9", precision, engine), output, lambda: pixels)

    return spec_of


class Tiny(Architecture):
    name = "Tiny"
    layers = ("grid",)
    imagenet_weights = "tiny_notop.h5"

    imagenet_url = "http://127.0.0.1:9/nobody"
    imagenet_md5 = hashlib.md5(b"weights").hexdigest()

    def build(self):
        import keras

        picture = keras.Input([299, 299, 3])
        patches = keras.layers.Conv2D(4, 100, strides=100)(picture)
        norm = keras.layers.BatchNormalization(name="grid")(patches)
        return keras.Model(picture, norm)

    def preprocess(self, pixels):
        import tensorflow as tf

        return tf.cast(pixels, tf.float32) / 255


@pytest.fixture
def tiny():
    return Tiny()


@pytest.fixture
def no_sample():
    def no_sample():
        raise AssertionError("nothing has to be fitted to the collection")

    return no_sample
