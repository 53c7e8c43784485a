"""InceptionV3 run by TensorFlow, and the frozen graph that other engines read."""

from __future__ import annotations

import atexit

import numpy as np

from beam_pipeline.encoders.base import ENCODER_BATCH, EncoderSpec
from beam_pipeline.encoders.weights import load_model, preprocess
from beam_pipeline.images.decode import INPUT_SIZE
from beam_pipeline.runtime.memory import give_back
from training.data.feature_set import FEATURE_DTYPE


def frozen(spec: EncoderSpec, precision: str, batch: int):
    """EncoderSpec -> TensorFlow function of constants, uint8 [batch, 299, 299, 3] -> float16 features.

    Args:
      precision: of its arithmetic, "bfloat16" or "float32".

    Raises:
      UserError: the weights are not InceptionV3's.
    """
    import tensorflow as tf

    encode = load_model(spec.weights_path, spec.identity, precision)
    # Traced with constants in place of the variables: to replace them afterwards takes three times as long.
    weights = [
        [variable.numpy() for variable in of] for of in (encode.trainable_variables, encode.non_trainable_variables)
    ]

    @tf.function(
        input_signature=[tf.TensorSpec([batch, INPUT_SIZE, INPUT_SIZE, 3], tf.uint8)],
        autograph=False,
    )
    def features(pixels):
        constants = tf.nest.map_structure(tf.constant, weights)
        grid, _ = encode.stateless_call(*constants, preprocess(pixels), training=False)  # (B, 8, 8, C)
        grid = tf.cast(tf.reshape(grid, [batch, -1, grid.shape[-1]]), tf.float32)  # (B, P, C)
        if spec.identity.feature_kind == "pooled":
            grid = tf.reduce_mean(grid, axis=1)  # (B, C)
        return [tf.cast(grid, FEATURE_DTYPE)]

    return features.get_concrete_function()


class TensorFlowEncoder:
    """InceptionV3 without its classifier, frozen into one graph of constants with a fixed batch shape.

    Its first call has TensorFlow optimise the graph, which takes about a second more.
    """

    def __init__(self, spec: EncoderSpec):
        self._features = frozen(spec, spec.identity.precision, ENCODER_BATCH)
        # A TensorFlow function that outlives the interpreter's modules prints a stack trace when it is torn down.
        atexit.register(self.close)
        # The model that was frozen is garbage now, and what the first call needs to optimise the graph afterwards: in
        # that order the peak is 0.3 GB lower.
        give_back()
        self._optimised = False

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
        features = self._features(tf.constant(pixels))[0].numpy()[:count]
        if not self._optimised:
            self._optimised = True
            give_back()
        return features
