"""The engine TensorFlow: batches of one shape, and both kinds of features."""

from dataclasses import replace

import numpy as np
import pytest

from beam_pipeline.encoders.base import EncoderSpec
from beam_pipeline.encoders.engines.tensorflow import TensorFlow
from beam_pipeline.encoders.random_weights import fit_random_statistics
from training.data.feature_set import EncoderIdentity


@pytest.fixture
def spec(tiny, pixels, tmp_path):
    path = tmp_path / "random_encoder.npz"
    path.write_bytes(fit_random_statistics(tiny, pixels))
    identity = EncoderIdentity("Tiny", "tensorflow", "", "random", 299, "", "float32", "grid", "grid")
    return EncoderSpec(str(path), identity)


def test_a_picture_has_the_same_features_in_any_batch(spec, tiny, pixels):
    encoder = TensorFlow().load(spec, tiny)
    features = encoder.encode(pixels)
    assert (features.shape, features.dtype) == ((5, 4, 4), np.float16)
    for order in ([0], [4, 0], [0] * 16):
        assert encoder.encode(pixels[order]).tobytes() == features[order].tobytes()
    assert encoder.encode(pixels[:0]).shape == (0, 4, 4)


def test_pooled_features_are_the_mean_of_the_grid(spec, tiny, pixels):
    grid = TensorFlow().load(spec, tiny).encode(pixels)
    pooled = TensorFlow().load(replace(spec, identity=replace(spec.identity, feature_kind="pooled")), tiny)
    np.testing.assert_allclose(pooled.encode(pixels), grid.astype(np.float32).mean(axis=1), rtol=2e-3, atol=1e-3)
