"""The encoder's last blocks as the first layer of a captioner: they learn with it, from cached features.

`extract` writes the rest of the encoder behind the cached layer as a graph of folded convolutions, `encoder_tail.npz`.
Batch normalisation is folded into kernels and biases, so nothing of it is left to learn or to keep still.

Letters: B pictures, H and W positions, C channels.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict

import keras
import numpy as np
import tensorflow as tf

from training.array_files import parse_npz
from training.documents import Damaged, parse_json
from training.models.model_config import CONCATENATE, CONVOLUTION, Operation

_MEND = "remove it and run the same `captionbeam extract` command again, which makes it again"
_POOLS = {"average_pool": tf.nn.avg_pool2d, "max_pool": tf.nn.max_pool2d}


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
        channels = [shape[-1]]
        self.kernels, self.biases = {}, {}
        for number, operation in enumerate(self.operations, start=1):
            incoming = sum(channels[one] for one in operation.inputs)
            if operation.kind == CONVOLUTION:
                size = (*operation.size, incoming, operation.channels)
                self.kernels[number] = self.add_weight(name=f"kernel_{number}", shape=size, initializer="zeros")
                self.biases[number] = self.add_weight(name=f"bias_{number}", shape=size[-1:], initializer="zeros")
            channels.append(operation.channels if operation.kind == CONVOLUTION else incoming)
        self.built = True

    def call(self, features: tf.Tensor) -> tf.Tensor:
        side = math.isqrt(features.shape[1])
        grid = tf.reshape(tf.cast(features, self._precision), [-1, side, side, features.shape[-1]])
        outputs = [grid]
        for number, operation in enumerate(self.operations, start=1):
            inputs = [outputs[one] for one in operation.inputs]
            padding, stride = operation.padding.upper(), operation.stride
            if operation.kind == CONVOLUTION:
                kernel, bias = (tf.cast(one[number], self._precision) for one in (self.kernels, self.biases))
                outputs.append(tf.nn.relu(tf.nn.conv2d(inputs[0], kernel, stride, padding) + bias))
            elif operation.kind == CONCATENATE:
                outputs.append(tf.concat(inputs, axis=-1))
            else:
                outputs.append(_POOLS[operation.kind](inputs[0], operation.size, stride, padding))
        last = outputs[-1]
        return tf.cast(tf.reshape(last, [-1, last.shape[1] * last.shape[2], last.shape[3]]), tf.float32)

    def set_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        """Takes kernels and biases from arrays, as `parse_tail` gives them."""
        for name, variables in (("kernel", self.kernels), ("bias", self.biases)):
            for number, variable in variables.items():
                variable.assign(arrays[f"{name}_{number}"].astype(np.float32))


def pack_tail(operations: Sequence[Operation], arrays: dict[str, np.ndarray]) -> bytes:
    """Operations and their kernels and biases -> content of `encoder_tail.npz`."""
    file = io.BytesIO()
    text = json.dumps([asdict(operation) for operation in operations])
    np.savez(file, operations=np.array(text), **{name: array.astype(np.float16) for name, array in arrays.items()})
    return file.getvalue()


def parse_tail(data: bytes, path: str, layer: str) -> tuple[tuple[Operation, ...], dict[str, np.ndarray]]:
    """Content of `encoder_tail.npz` -> the operations up to a layer, and their kernels and biases.

    Args:
      path: of the file, for messages.
      layer: name of the layer whose grid the last operation gives.

    Raises:
      Damaged: it is no such file, or has no such layer.
    """
    arrays = parse_npz(data, path, _MEND)
    text = arrays.pop("operations", np.array("[]"))
    operations = parse_json(str(text).encode(), tuple[Operation, ...], path, _MEND)
    names = [operation.name for operation in operations]
    if layer not in names:
        raise Damaged(path, f"has no layer {layer}", _MEND)
    return operations[: names.index(layer) + 1], arrays
