"""Random weights that still tell pictures apart, for tests and demonstrations without a download.

He et al. 2015 initialisation, then every batch norm's mean and variance measured on pictures of the collection; without
the second step activations vanish on their way through the 94 layers of InceptionV3. Batch norms add 1, so that ReLU
cuts 16 % of what they give and not half of it: shapes survive the depth much better.

The file of such weights holds what they are made from: the seed, and the statistics of every batch norm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from beam_pipeline.encoders.base import COPY_AGAIN, FLOAT32, Architecture
from beam_pipeline.runtime import storage
from training.array_files import pack_npz, parse_npz
from training.documents import Damaged

if TYPE_CHECKING:
    import keras


def fit_random_statistics(architecture: Architecture, pixels: np.ndarray, seed: int = 0) -> bytes:
    """Pictures to measure statistics on -> content of the statistics file (npz).

    Args:
      pixels: RGB uint8 [n, 299, 299, 3].
      seed: of the random weights.
    """
    import tensorflow as tf

    model = architecture.build_with_precision(FLOAT32)
    _initialise(model, seed)
    norms = _batch_norms(model)
    for layer in norms:
        layer.momentum = 0.0  # so that one pass in training mode leaves the batch's own statistics behind
    # As a graph: layer by layer, Keras would keep what every layer gave until the end.
    tf.function(lambda images: model(images, training=True), autograph=False)(architecture.preprocess(pixels))
    arrays = {"seed": np.array(seed, np.int64)}
    for position, layer in enumerate(norms):
        arrays[f"mean_{position}"] = np.asarray(layer.moving_mean)
        arrays[f"variance_{position}"] = np.asarray(layer.moving_variance)
    return pack_npz(arrays)


def set_random_weights(model: keras.Model, path: str) -> None:
    """Gives a model the random weights of a statistics file.

    Raises:
      UserError: the file is damaged, or of another network.
    """
    statistics = parse_npz(storage.read_own(path), path, COPY_AGAIN)
    norms = _batch_norms(model)
    expected = {f"{kind}_{position}" for kind in ("mean", "variance") for position in range(len(norms))} | {"seed"}
    if statistics.keys() != expected or statistics["seed"].shape or statistics["seed"].dtype.kind != "i":
        raise Damaged(path, "damaged, or the statistics of another network", COPY_AGAIN)
    _initialise(model, abs(int(statistics["seed"])))
    for position, layer in enumerate(norms):
        for kind, variable in (("mean", layer.moving_mean), ("variance", layer.moving_variance)):
            values = statistics[f"{kind}_{position}"]
            if values.shape != variable.shape or values.dtype != np.float32:
                raise Damaged(path, f"damaged ({kind}_{position} is {values.dtype} {list(values.shape)})", COPY_AGAIN)
            variable.assign(values)


def _batch_norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    import keras

    return [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]


def _initialise(model: keras.Model, seed: int) -> None:
    import keras

    generator = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            shape = layer.kernel.shape  # (height, width, C in, C out)
            deviation = np.sqrt(2.0 / np.prod(shape[:3]))
            layer.kernel.assign(generator.standard_normal(shape, dtype=np.float32) * deviation)
        elif isinstance(layer, keras.layers.BatchNormalization):
            layer.beta.assign(np.ones(layer.beta.shape, np.float32))
