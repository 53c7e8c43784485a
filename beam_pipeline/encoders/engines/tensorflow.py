"""TensorFlow as an engine, and the frozen graph that other engines read."""

from __future__ import annotations

import atexit
from typing import TYPE_CHECKING, Any

import numpy as np

from beam_pipeline.encoders.base import (
    BFLOAT16,
    ENCODER_BATCH,
    FLOAT32,
    POOLED,
    Architecture,
    Encoder,
    EncoderSpec,
    Engine,
)
from beam_pipeline.encoders.weights import load_model
from beam_pipeline.images.decode import INPUT_SIZE
from beam_pipeline.runtime.memory import release_memory
from training.data.feature_set import FEATURE_DTYPE

if TYPE_CHECKING:
    import tensorflow as tf


class TensorFlow(Engine):
    """Runs the frozen graph by TensorFlow, which every installation has."""

    name = "tensorflow"
    precisions = (BFLOAT16, FLOAT32)

    def load(self, spec: EncoderSpec, architecture: Architecture) -> Encoder:
        """Loads an encoder whose weights are known to be those of the spec.

        Raises:
          UserError: the weights are another network's.
        """
        return TensorFlowEncoder(frozen_function(spec, architecture, spec.identity.precision, ENCODER_BATCH))


def frozen_function(spec: EncoderSpec, architecture: Architecture, precision: str, batch: int) -> Any:
    """Encoder -> TensorFlow function without variables, uint8 [batch, 299, 299, 3] -> float16 features.

    Args:
      spec: names the weights, the layer and the kind of features.
      architecture: the network.
      precision: that it computes in, "bfloat16" or "float32".
      batch: pictures in every call.

    Raises:
      UserError: the weights are another network's.
    """
    import tensorflow as tf

    model = load_model(spec, architecture, precision)
    # Traced with constants in place of the variables: to replace them afterwards takes three times as long.
    weights = [
        [variable.numpy() for variable in variables]
        for variables in (model.trainable_variables, model.non_trainable_variables)
    ]

    @tf.function(
        input_signature=[tf.TensorSpec([batch, INPUT_SIZE, INPUT_SIZE, 3], tf.uint8)],
        autograph=False,
    )
    def features(pixels: tf.Tensor) -> list[tf.Tensor]:
        constants = tf.nest.map_structure(tf.constant, weights)
        grid, _ = model.stateless_call(*constants, architecture.preprocess(pixels), training=False)  # (B, H, W, C)
        grid = tf.cast(tf.reshape(grid, [batch, -1, grid.shape[-1]]), tf.float32)  # (B, P, C)
        if spec.identity.feature_kind == POOLED:
            grid = tf.reduce_mean(grid, axis=1)  # (B, C)
        return [tf.cast(grid, FEATURE_DTYPE)]

    return features.get_concrete_function()


class TensorFlowEncoder:
    """One graph of constants with a fixed batch shape.

    Its first call has TensorFlow optimise the graph, which takes about a second more.

    Args:
      function: as `frozen_function` makes it, of ENCODER_BATCH pictures.
    """

    def __init__(self, function: Any):
        self._function = function
        # A TensorFlow function that outlives the interpreter's modules prints a stack trace when it is torn down.
        atexit.register(self.close)
        # The model that was frozen is garbage now, and what the first call needs to optimise the graph afterwards: in
        # that order the peak is 0.3 GB lower.
        release_memory()
        self._optimised = False

    def close(self) -> None:
        """Lets the graph go; the encoder cannot be used afterwards."""
        self._function = None

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        """RGB uint8 [n <= ENCODER_BATCH, 299, 299, 3] -> float16 [n, P, C] or [n, C]."""
        import tensorflow as tf

        count = len(pixels)
        if count < ENCODER_BATCH:
            padding = np.zeros([ENCODER_BATCH - count, *pixels.shape[1:]], np.uint8)
            pixels = np.concatenate([pixels, padding])
        features = self._function(tf.constant(pixels))[0].numpy()[:count]
        if not self._optimised:
            self._optimised = True
            release_memory()
        return features
