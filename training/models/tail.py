"""The encoder's last blocks as the first layer of a captioner, which may learn with it, from cached features.

`extract` writes the rest of the encoder behind the cached layer as a graph of folded convolutions, `encoder_tail.npz`.
Batch normalisation is folded into kernels and biases, so nothing of it is left to learn or to keep still.

Letters: B pictures, H and W positions, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from training.models.operations import AVERAGE_POOL, CONCATENATE, CONVOLUTION, MAX_POOL, Operation, array_shapes

_POOLS = {AVERAGE_POOL: tf.nn.avg_pool2d, MAX_POOL: tf.nn.max_pool2d}


class Tail(keras.layers.Layer):
    """Cached grid [B, P, C] -> the grid of a later layer of the encoder, float32 [B, P', C'].

    Args:
      operations: in the order of their computation; the last one gives the grid.
      precision: that it computes in, "bfloat16" or "float32".
    """

    def __init__(self, operations: Sequence[Operation], precision: str):
        super().__init__(name="tail")
        self.operations, self._precision = tuple(operations), precision

    def build(self, shape: tuple[int, ...]) -> None:
        """Makes kernels and biases of zeros for features float [B, P, C].

        Raises:
          ValueError: the operations cannot be computed from them.
        """
        self.arrays = {
            name: self.add_weight(name=name, shape=size, initializer="zeros")
            for name, size in array_shapes(self.operations, tuple(shape[1:])).items()
        }
        self.built = True

    def call(self, features: tf.Tensor) -> tf.Tensor:
        side = math.isqrt(features.shape[1])
        grid = tf.reshape(tf.cast(features, self._precision), [-1, side, side, features.shape[-1]])
        outputs = [grid]
        for number, operation in enumerate(self.operations, start=1):
            inputs = [outputs[one] for one in operation.inputs]
            padding, stride = operation.padding.upper(), operation.stride
            if operation.kind == CONVOLUTION:
                kernel, bias = (tf.cast(self.arrays[f"{one}_{number}"], self._precision) for one in ("kernel", "bias"))
                outputs.append(tf.nn.relu(tf.nn.conv2d(inputs[0], kernel, stride, padding) + bias))
            elif operation.kind == CONCATENATE:
                outputs.append(tf.concat(inputs, axis=-1))
            else:
                outputs.append(_POOLS[operation.kind](inputs[0], operation.size, stride, padding))
        last = outputs[-1]
        return tf.cast(tf.reshape(last, [-1, last.shape[1] * last.shape[2], last.shape[3]]), tf.float32)

    def set_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes kernels and biases from arrays, as `tail_file.parse_tail` gives them."""
        for name, variable in self.arrays.items():
            variable.assign(arrays[name].astype(np.float32))
