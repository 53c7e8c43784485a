"""The rest of an encoder behind a cached layer, as `training.models.tail` reads it: convolutions with folded norms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from training.models.operations import AVERAGE_POOL, CONCATENATE, CONVOLUTION, MAX_POOL, Operation

if TYPE_CHECKING:
    import keras


def operations_behind(
    model: keras.Model, layer: str, named: tuple[str, ...]
) -> tuple[tuple[Operation, ...], dict[str, np.ndarray]]:
    """Network with its weights -> what it computes behind a layer.

    Args:
      layer: name of the layer whose output the first operation takes.
      named: layers whose operations keep their names.

    Returns:
      operations, and float32 arrays "kernel_N" and "bias_N" of the N-th, from 1.
    """
    import keras

    place = {id(model.get_layer(layer).output): 0}  # of each output
    operations: list[Operation] = []
    arrays: dict[str, np.ndarray] = {}
    for one in model.layers:  # in the order of their computation
        inputs = one.input if isinstance(one.input, list) else [one.input]
        if not inputs or not all(id(value) in place for value in inputs):
            continue  # not behind the layer
        sources = tuple(place[id(value)] for value in inputs)
        if isinstance(one, keras.layers.Conv2D):
            kernel = np.asarray(one.kernel, np.float32)
            bias = np.asarray(one.bias, np.float32) if one.use_bias else np.zeros(kernel.shape[-1], np.float32)
            operations.append(
                Operation(
                    CONVOLUTION,
                    sources,
                    (kernel.shape[0], kernel.shape[1]),
                    one.strides[0],
                    one.padding,
                    kernel.shape[-1],
                )
            )
            arrays[f"kernel_{len(operations)}"], arrays[f"bias_{len(operations)}"] = kernel, bias
        elif isinstance(one, keras.layers.BatchNormalization):
            (number,) = sources
            factor = 1.0 / np.sqrt(np.asarray(one.moving_variance, np.float32) + one.epsilon)
            if one.scale:
                factor = factor * np.asarray(one.gamma, np.float32)
            shift = np.asarray(one.beta, np.float32) if one.center else 0.0
            arrays[f"kernel_{number}"] = arrays[f"kernel_{number}"] * factor
            arrays[f"bias_{number}"] = (arrays[f"bias_{number}"] - np.asarray(one.moving_mean)) * factor + shift
            place[id(one.output)] = number
            continue
        elif isinstance(one, keras.layers.Activation):  # every convolution has one
            place[id(one.output)] = sources[0]
            continue
        elif isinstance(one, keras.layers.Concatenate):
            operations.append(Operation(CONCATENATE, sources, name=one.name if one.name in named else ""))
        elif isinstance(one, keras.layers.AveragePooling2D | keras.layers.MaxPooling2D):
            kind = AVERAGE_POOL if isinstance(one, keras.layers.AveragePooling2D) else MAX_POOL
            operations.append(Operation(kind, sources, one.pool_size, one.strides[0], one.padding))
        else:
            raise NotImplementedError(f"{one.name}: a tail has no {type(one).__name__}")
        place[id(one.output)] = len(operations)
    return tuple(operations), arrays
