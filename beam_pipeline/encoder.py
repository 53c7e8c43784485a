"""InceptionV3 as a feature extractor: uint8 pictures [B, 299, 299, 3] -> float16 features.

`resolve_encoder` runs once, where the job starts: it finds the weights and names the encoder's identity. Workers
call `load_encoder` on what it returned, once per process. B = ENCODER_BATCH, P = 64 grid positions, C = 2048 channels.
"""

from __future__ import annotations

import atexit
import io
import os
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from beam_pipeline import storage
from beam_pipeline.images import INPUT_SIZE, RESIZE
from training.errors import JobFailed, UserError
from training.feature_records import FEATURE_DTYPE
from training.feature_set import RANDOM_STATISTICS, EncoderIdentity

# One fixed shape for every batch, short ones padded: a picture's features then never depend on its neighbours.
ENCODER_BATCH = 16
# Both give [8, 8, 2048]. The last block is the most particular to ImageNet's classes; the one before it tells more of
# what people write (docs/caption-quality.md) and is cheaper.
LAYERS = ("mixed9", "mixed10")
STATISTICS_PICTURES = (
    48  # enough for stable batch-norm statistics of every channel (each sees at least 64 positions a picture)
)
_HDF5 = b"\x89HDF\r\n\x1a\n"
_KERAS_WEIGHTS = "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5"


class Encoder(Protocol):
    """What an engine must offer."""

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        """RGB uint8 [n <= B, 299, 299, 3] -> float16 [n, 64, 2048] or [n, 2048]."""


@dataclass(frozen=True)
class EncoderSpec:
    """How a worker makes the encoder; picklable, a few strings.

    Attributes:
      weights_path: weight file, or the statistics file of random weights; any Beam file system.
      identity: what the encoder must be.
    """

    weights_path: str
    identity: EncoderIdentity


def resolve_encoder(
    weights: str,
    feature_kind: str,
    layer: str,
    precision: str,
    output: str,
    sample: Callable[[], np.ndarray],
) -> EncoderSpec:
    """What the user asked for -> EncoderSpec, with every file found and hashed.

    Args:
      weights: "imagenet", "random" or the path of a weight file.
      feature_kind: "grid" or "pooled".
      layer: see `LAYERS`.
      precision: "auto", "bfloat16" or "float32".
      output: directory that keeps the statistics of random weights.
      sample: gives uint8 [n, 299, 299, 3] pictures of the collection; called only to fit new random weights.

    Raises:
      UserError: the weights cannot be had; says the offline ways.
    """
    if weights == "random":
        weights_path = storage.join(output, RANDOM_STATISTICS)
        if not storage.exists(weights_path):
            storage.write_atomic(weights_path, _fit_random_statistics(sample()))
    elif weights == "imagenet":
        weights_path = keras_imagenet_weights()
    else:
        weights_path = storage.absolute(weights)
        if not storage.is_file(weights_path):
            raise UserError(f"--weights {weights}: no such file; give imagenet, random or the path of a weight file")
        with storage.open_file(weights_path) as file:
            if file.read(len(_HDF5)) != _HDF5:
                raise UserError(f"--weights {weights}: not a Keras weight file (HDF5)")
    identity = EncoderIdentity(
        architecture="InceptionV3",
        engine="tensorflow",
        weights_sha256=storage.sha256(weights_path),
        weights=weights if weights in ("imagenet", "random") else weights_path,
        input_size=INPUT_SIZE,
        resize=RESIZE,
        precision=resolve_precision(precision),
        feature_kind=feature_kind,
        layer=layer,
    )
    return EncoderSpec(weights_path, identity)


def resolve_precision(precision: str) -> str:
    """ "auto" -> "bfloat16" where the processor multiplies it in hardware, else "float32"."""
    if precision != "auto":
        return precision
    try:
        with open("/proc/cpuinfo") as cpuinfo:
            fast = re.search(r"\b(avx512_bf16|amx_bf16)\b", cpuinfo.read())
    except OSError:
        fast = None
    return "bfloat16" if fast else "float32"


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


def load_encoder(spec: EncoderSpec) -> Encoder:
    """EncoderSpec -> a ready encoder, its graph traced and warm.

    Raises:
      JobFailed: the weights are not those that the spec names, or not InceptionV3's.
    """
    found = storage.sha256(spec.weights_path)
    if found != spec.identity.weights_sha256:
        raise JobFailed(
            f"{spec.weights_path}: these weights ({found[:8]}) are not those that the job began with "
            f"({spec.identity.weights_sha256[:8]}); start the job again with one file"
        )
    return TensorFlowEncoder(spec)


class TensorFlowEncoder:
    """InceptionV3 without its classifier, frozen into one graph of constants with a fixed batch shape."""

    def __init__(self, spec: EncoderSpec):
        import keras
        import tensorflow as tf
        from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

        identity = spec.identity
        model = _build_model(identity.precision)
        if identity.weights == "random":
            _set_random_weights(model, _load_statistics(spec.weights_path))
        else:
            _load_weights(model, spec.weights_path)

        encode = keras.Model(model.input, model.get_layer(identity.layer).output)

        @tf.function(
            input_signature=[tf.TensorSpec([ENCODER_BATCH, INPUT_SIZE, INPUT_SIZE, 3], tf.uint8)],
            autograph=False,
        )
        def features(pixels):
            grid = encode(_preprocess(pixels), training=False)  # (B, 8, 8, C)
            grid = tf.cast(tf.reshape(grid, [ENCODER_BATCH, -1, grid.shape[-1]]), tf.float32)  # (B, P, C)
            if identity.feature_kind == "pooled":
                grid = tf.reduce_mean(grid, axis=1)  # (B, C)
            return tf.cast(grid, FEATURE_DTYPE)

        self._features = convert_variables_to_constants_v2(features.get_concrete_function())
        # A TensorFlow function that outlives the interpreter's modules prints a stack trace when it is torn down.
        atexit.register(self.close)
        self.encode(np.zeros([1, INPUT_SIZE, INPUT_SIZE, 3], np.uint8))

    def close(self) -> None:
        """Lets the graph go; the encoder cannot be used afterwards."""
        self._features = None

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        """RGB uint8 [n <= B, 299, 299, 3] -> float16 [n, 64, 2048] or [n, 2048]."""
        import tensorflow as tf

        count = len(pixels)
        if count < ENCODER_BATCH:
            padding = np.zeros([ENCODER_BATCH - count, *pixels.shape[1:]], np.uint8)
            pixels = np.concatenate([pixels, padding])
        return self._features(tf.constant(pixels))[0].numpy()[:count]


def _preprocess(pixels):
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
    # Keras tells the two file layouts apart by the name's ending, so the copy keeps it.
    with storage.local_copy(path) as local:
        try:
            model.load_weights(local)
        except (ValueError, OSError, KeyError) as error:
            raise UserError(
                f"--weights {path}: not weights of InceptionV3 without its top ({_one_line(error)}); "
                "save them with include_top=False"
            ) from error


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


def _fit_random_statistics(pixels: np.ndarray, seed: int = 0) -> bytes:
    """uint8 [n, 299, 299, 3] -> statistics file (npz): the seed, and mean and variance of every batch norm."""
    import keras
    import tensorflow as tf

    model = _build_model("float32")
    _he_initialise(model, seed)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in norms:
        layer.momentum = 0.0  # so that one pass in training mode leaves the batch's own statistics behind
    # As a graph: layer by layer, Keras would keep what every layer gave until the end.
    tf.function(lambda images: model(images, training=True), autograph=False)(_preprocess(pixels))
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
