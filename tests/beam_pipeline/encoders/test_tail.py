"""What an encoder computes behind a layer, as operations: the same numbers as the network's own."""

import keras
import numpy as np
import pytest

from beam_pipeline.encoders.tail import operations_behind
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
