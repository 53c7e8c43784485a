"""The file `encoder_tail.npz`: what an encoder computes behind a cached layer. Light: no TensorFlow."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np

from training.array_files import pack_npz, parse_npz
from training.documents import Damaged, parse_json
from training.models.operations import Operation, Operations, array_shapes, misfit

_DTYPE = np.float16  # of kernels and biases


def pack_tail(operations: Sequence[Operation], arrays: Mapping[str, np.ndarray]) -> bytes:
    """Operations and their kernels and biases -> content of `encoder_tail.npz`."""
    text = json.dumps([asdict(operation) for operation in operations])
    return pack_npz({"operations": np.array(text), **{name: array.astype(_DTYPE) for name, array in arrays.items()}})


def parse_tail(
    data: bytes, path: str, mend: str, feature_shape: tuple[int, ...], layer: str
) -> tuple[tuple[Operation, ...], dict[str, np.ndarray]]:
    """Content of `encoder_tail.npz` -> the operations up to a layer, and their kernels and biases.

    Args:
      path: of the file, for messages.
      mend: what to do about a damaged file, as the end of the message.
      feature_shape: of what the first operation takes, (P, C).
      layer: name of the layer whose grid the last operation gives.

    Raises:
      Damaged: it is no such file, does not fit the features, or has no such layer.
    """
    arrays = parse_npz(data, path, mend)
    operations = parse_json(str(arrays.pop("operations", "")).encode(errors="replace"), Operations, path, mend)
    try:
        fault = misfit({name: array.shape for name, array in arrays.items()}, array_shapes(operations, feature_shape))
        fault = fault or next((f"{name} is {one.dtype}" for name, one in arrays.items() if one.dtype != _DTYPE), None)
        names = [operation.name for operation in operations]
        if not fault and layer not in names:
            fault = f"has no layer {layer}"
        if fault:
            raise ValueError(fault)
        operations = operations[: names.index(layer) + 1]
        return operations, {name: arrays[name] for name in array_shapes(operations, feature_shape)}
    except ValueError as error:
        raise Damaged(path, f"no tail of this encoder ({error})", mend) from error
