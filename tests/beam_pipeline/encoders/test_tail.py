"""What an encoder computes behind a layer, as operations: the same numbers as the network's own."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from beam_pipeline.encoders.registry import ARCHITECTURES, tail_of
from beam_pipeline.encoders.tail import operations_behind
from beam_pipeline.encoders.weights import load_model
from training.models.caption_models import build_model
from training.models.model_config import ModelConfig
from training.models.tail import Tail
from training.models.tail_file import pack_tail, parse_tail


def block(values, channels, name=None, strides=1, padding="same"):
    """A convolution with its norm and ReLU, as InceptionV3 has them."""
    values = keras.layers.Conv2D(channels, 3, strides, padding, use_bias=False)(values)
    values = keras.layers.BatchNormalization(scale=False)(values)
    return keras.layers.Activation("relu", name=name)(values)


@pytest.fixture(scope="module")
def network():
    """A small network of all kinds of layers, with norms that have seen something."""
    picture = keras.Input([40, 40, 3])
    cut = block(picture, 6, name="cut", strides=2)
    first = block(cut, 5, strides=2, padding="valid")
    second = keras.layers.MaxPooling2D(3, strides=2)(cut)
    middle = keras.layers.Concatenate(name="middle")([first, second])
    pooled = keras.layers.AveragePooling2D(3, strides=1, padding="same")(middle)
    last = keras.layers.Concatenate(name="last")([block(pooled, 4), block(block(middle, 3), 2), middle])
    model = keras.Model(picture, last)
    generator = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([generator.uniform(0.5, 1.5, array.shape) for array in layer.get_weights()])
    return model


@pytest.mark.parametrize(
    ("behind", "precision", "tolerance"), [("last", "float32", 1e-2), ("middle", "bfloat16", 5e-2)]
)
def test_a_tail_gives_what_the_network_gives(network, behind, precision, tolerance):
    data = pack_tail(*operations_behind(network, "cut", ("cut", "middle", "last")))
    operations, arrays = parse_tail(data, "encoder_tail.npz", "mend it", (400, 6), behind)
    parts = keras.Model(network.input, [network.get_layer(name).output for name in ("cut", behind)])
    cached, wanted = parts(np.random.default_rng(1).normal(size=(3, 40, 40, 3)).astype(np.float32))
    cached = cached.numpy().reshape(3, 400, 6)
    tail = Tail(operations, precision)
    tail.build(cached.shape)
    tail.set_arrays(arrays)
    found = tail(cached).numpy()
    assert found.shape == (3, 81, wanted.shape[-1])
    np.testing.assert_allclose(found, wanted.numpy().reshape(found.shape), rtol=tolerance, atol=tolerance)


def test_a_layer_that_no_tail_has_is_named(network):
    flat = keras.layers.Flatten(name="flat")(network.output)
    with pytest.raises(NotImplementedError, match="flat: a tail has no Flatten"):
        operations_behind(keras.Model(network.input, flat), "cut", ())


def test_the_tail_of_an_encoder_gives_what_its_next_layer_gives(spec_of, pixels):
    spec = spec_of("tensorflow")  # with random weights
    last = replace(spec, identity=replace(spec.identity, layer="mixed10"))
    inception = load_model(last, ARCHITECTURES["InceptionV3"], "float32")
    data = pack_tail(*operations_behind(inception, "mixed8", ("mixed9", "mixed10")))
    operations, arrays = parse_tail(data, "encoder_tail.npz", "", (64, 1280), "mixed9")
    config = ModelConfig("attention", 6, embedding_size=4, hidden_size=8, standardize=True, tail=operations)
    model = build_model(config, (64, 1280))
    model.tail.set_arrays(arrays)
    both = keras.Model(inception.input, [inception.get_layer(name).output for name in ("mixed8", "mixed9")])
    cached, wanted = (grid.numpy().reshape(2, 64, -1) for grid in both(pixels[:2] / np.float32(127.5) - 1))
    seen = model.look(cached.astype(np.float16)).numpy()
    assert seen.shape == wanted.shape and np.abs(seen - wanted).mean() < 2e-3 * np.abs(wanted).mean()
    model.standardize.fit(seen)
    standardized = model.standardize(seen).numpy()
    assert abs(standardized.mean()) < 1e-3 and standardized.std() == pytest.approx(1, abs=0.1)
    pooled = replace(spec, identity=replace(spec.identity, feature_kind="pooled"))
    assert tail_of(last) is None and tail_of(pooled) is None
