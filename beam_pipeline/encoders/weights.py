"""InceptionV3's weights: Keras' own, a file's, or random ones fitted to a collection; and the model that holds them."""

from __future__ import annotations

import io
import os
import shutil
import socket
import tempfile

import numpy as np

from beam_pipeline.images.decode import INPUT_SIZE
from beam_pipeline.runtime import storage
from training.data.feature_set import EncoderIdentity
from training.errors import UserError

_HDF5 = b"\x89HDF\r\n\x1a\n"
_KERAS_WEIGHTS = "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5"


def weight_file(weights: str) -> str:
    """Path of a weight file as the user gave it -> absolute path.

    Raises:
      UserError: it is none.
    """
    path = storage.absolute(weights)
    if not storage.is_file(path):
        raise UserError(f"--weights {weights}: no such file; give imagenet, random or the path of a weight file")
    with storage.open_file(path) as file:
        if file.read(len(_HDF5)) != _HDF5:
            raise UserError(
                f"--weights {weights}: not a Keras weight file (HDF5); if it is an encoder in int8, add "
                "--engine openvino --precision int8"
            )
    return path


def keras_imagenet_weights() -> str:
    """Path of Keras' own ImageNet weights, downloaded on first use.

    Raises:
      UserError: they are not in Keras' cache and cannot be downloaded.
    """
    import keras

    home = os.environ.get("KERAS_HOME", os.path.expanduser("~/.keras"))
    cached = os.path.join(home, "models", _KERAS_WEIGHTS)
    if os.path.exists(cached):
        return cached
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20)  # urlretrieve has no limit of its own: an unreachable host must not hang the job
    try:
        keras.applications.InceptionV3(weights="imagenet", include_top=False)
    except Exception as error:  # Keras raises a bare one when the download fails
        raise UserError(
            f"--weights imagenet: Keras could not download its weights ({_one_line(error)}); offline, "
            f"put {_KERAS_WEIGHTS} into {os.path.dirname(cached)}, or give --weights PATH, or --weights random"
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)
    return cached


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def load_model(weights_path: str, identity: EncoderIdentity, precision: str):
    """Weights -> Keras model from pixels, as `preprocess` gives them, to the layer's grid [n, 8, 8, C].

    Args:
      weights_path: weight file, or the statistics of random weights.
      identity: which of both it is, and the layer.
      precision: of its arithmetic, "bfloat16" or "float32".

    Raises:
      UserError: the weights are not InceptionV3's.
    """
    import keras

    model = _build_model(precision)
    if identity.weights == "random":
        _set_random_weights(model, _load_statistics(weights_path))
    else:
        _load_weights(model, weights_path)
    return keras.Model(model.input, model.get_layer(identity.layer).output)


def preprocess(pixels):
    """Uint8 -> float32 from -1 to 1, as InceptionV3 was trained."""
    import tensorflow as tf

    return tf.cast(pixels, tf.float32) / 127.5 - 1.0


def _build_model(precision: str):
    import keras

    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    try:
        return keras.applications.InceptionV3(weights=None, include_top=False, input_shape=(INPUT_SIZE, INPUT_SIZE, 3))
    finally:
        keras.config.set_dtype_policy(policy)


def _load_weights(model, path: str) -> None:
    with storage.local_copy(path) as local, tempfile.TemporaryDirectory(prefix="captionbeam-") as directory:
        try:
            model.load_weights(_named_by_layout(local, directory))
        except (ValueError, OSError, KeyError) as error:
            raise UserError(
                f"--weights {path}: not weights of InceptionV3 without its top ({_one_line(error)}); "
                "save them with include_top=False"
            ) from error


def _named_by_layout(path: str, directory: str) -> str:
    """Weight file -> a link to it in the directory, whose name ends as Keras wants it: by that alone it tells its two
    layouts apart, and people rename files.
    """
    import h5py

    with h5py.File(path) as file:
        ending = ".h5" if "layer_names" in file.attrs else ".weights.h5"
    link = os.path.join(directory, f"encoder{ending}")
    try:
        os.symlink(os.path.abspath(path), link)
    except OSError:  # not everybody may on Windows
        shutil.copyfile(path, link)
    return link


# Random weights: He et al. 2015 initialisation, then every batch norm's mean and variance measured on pictures of the
# collection; without the second step activations vanish on their way through 94 layers. Batch norms add 1, so that ReLU
# cuts 16 % of what they give and not half of it: shapes survive the depth much better.


def _set_random_weights(model, statistics: dict[str, np.ndarray]) -> None:
    import keras

    _he_initialise(model, int(statistics["seed"]))
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for position, layer in enumerate(norms):
        layer.moving_mean.assign(statistics[f"mean_{position}"])
        layer.moving_variance.assign(statistics[f"variance_{position}"])


def _he_initialise(model, seed: int) -> None:
    import keras

    generator = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            shape = layer.kernel.shape  # (height, width, C in, C out)
            deviation = np.sqrt(2.0 / np.prod(shape[:3]))
            layer.kernel.assign(generator.standard_normal(shape, dtype=np.float32) * deviation)
        elif isinstance(layer, keras.layers.BatchNormalization):
            layer.beta.assign(np.ones(layer.beta.shape, np.float32))


def fit_random_statistics(pixels: np.ndarray, seed: int = 0) -> bytes:
    """uint8 [n, 299, 299, 3] -> statistics file (npz): the seed, and mean and variance of every batch norm."""
    import keras
    import tensorflow as tf

    model = _build_model("float32")
    _he_initialise(model, seed)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in norms:
        layer.momentum = 0.0  # so that one pass in training mode leaves the batch's own statistics behind
    # As a graph: layer by layer, Keras would keep what every layer gave until the end.
    tf.function(lambda images: model(images, training=True), autograph=False)(preprocess(pixels))
    arrays: dict[str, np.ndarray | np.int64] = {"seed": np.int64(seed)}
    for position, layer in enumerate(norms):
        arrays[f"mean_{position}"] = np.asarray(layer.moving_mean)
        arrays[f"variance_{position}"] = np.asarray(layer.moving_variance)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _load_statistics(path: str) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(storage.read_bytes(path)), allow_pickle=False) as arrays:
        return dict(arrays)
