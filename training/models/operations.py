"""What the encoder computes behind a cached layer, as a list of operations, and the shapes that follow from it.

The list comes from files that strangers may have made, so it is walked here before anything is built from it. Light: no
TensorFlow.

Letters: P = H*W grid positions, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

CONVOLUTION, CONCATENATE, AVERAGE_POOL, MAX_POOL = "convolution", "concatenate", "average_pool", "max_pool"
_MOST_CHANNELS = 1 << 13  # of an output; InceptionV3 has 2,048 at most
_MOST_NUMBERS = 1 << 23  # in all outputs of a picture, 32 MiB in float32

Grid = tuple[int, int, int]  # height, width and channels


@dataclass(frozen=True)
class Operation:
    """One operation of the encoder's tail; see `training.models.tail`.

    Attributes:
      kind: "convolution" (with bias and ReLU), "average_pool", "max_pool" or "concatenate" (of channels).
      inputs: operations whose outputs it takes, by number; 0 is the cached grid, 1 the first operation.
      size: height and width of its window.
      stride: of its window, both ways.
      padding: "same" or "valid".
      channels: that a convolution gives.
      name: of the encoder's layer that it ends; "" within one.
    """

    kind: Annotated[str, Meta(pattern="^(convolution|average_pool|max_pool|concatenate)$")]
    inputs: Annotated[tuple[Annotated[int, Meta(ge=0, le=999)], ...], Meta(min_length=1, max_length=16)]
    size: tuple[Annotated[int, Meta(ge=1, le=31)], Annotated[int, Meta(ge=1, le=31)]] = (1, 1)
    stride: Annotated[int, Meta(ge=1, le=8)] = 1
    padding: Annotated[str, Meta(pattern="^(same|valid)$")] = "same"
    channels: Annotated[int, Meta(ge=0, le=_MOST_CHANNELS)] = 0
    name: Annotated[str, Meta(max_length=100)] = ""


Operations = Annotated[tuple[Operation, ...], Meta(max_length=999)]


def output_grids(operations: Sequence[Operation], feature_shape: tuple[int, ...]) -> list[Grid]:
    """Operations and shape of the cached feature -> the grid of every output; the cached one is the first.

    Args:
      operations: in the order of their computation.
      feature_shape: of a picture, (P, C) or (C,).

    Raises:
      ValueError: the operations cannot be computed, would take too much memory, or do not end in a square grid.
    """
    if len(feature_shape) != 2:
        raise ValueError("operations on a grid, and the features are pooled")
    side = math.isqrt(feature_shape[0])
    grids: list[Grid] = [(side, side, feature_shape[1])]
    for number, operation in enumerate(operations, start=1):
        try:
            grids.append(_output_grid(operation, grids))
        except ValueError as error:
            raise ValueError(f"operation {number} ({operation.kind}): {error}") from error
    if sum(map(math.prod, grids)) > _MOST_NUMBERS:
        raise ValueError(f"the outputs of a picture hold more than {_MOST_NUMBERS:,} numbers")
    used = {one for operation in operations for one in operation.inputs}
    if unused := next((number for number in range(1, len(operations)) if number not in used), None):
        raise ValueError(f"operation {unused} ({operations[unused - 1].kind}): nothing takes its output")
    height, width, _ = grids[-1]
    if height != width or height < 2:  # the word-presence head takes means of 2x2 positions
        raise ValueError(f"the last grid is {height}x{width}, not square or smaller than 2x2")
    return grids


def array_shapes(operations: Sequence[Operation], feature_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Operations and shape of the cached feature -> shapes of their weights: "kernel_N" and "bias_N" of the N-th.

    Raises:
      ValueError: as `output_grids` does.
    """
    grids = output_grids(operations, feature_shape)
    shapes: dict[str, tuple[int, ...]] = {}
    for number, operation in convolutions(operations):
        shapes[f"kernel_{number}"] = (*operation.size, grids[operation.inputs[0]][2], operation.channels)
        shapes[f"bias_{number}"] = (operation.channels,)
    return shapes


def convolutions(operations: Sequence[Operation]) -> Iterator[tuple[int, Operation]]:
    """Operations -> those that have weights, with their numbers from 1."""
    return ((number, one) for number, one in enumerate(operations, start=1) if one.kind == CONVOLUTION)


def misfit(found: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]]) -> str | None:
    """Shapes of arrays by name, as they are and as they must be -> what is wrong with them; None if nothing is."""
    for name in sorted(found.keys() | wanted.keys()):
        if name not in found:
            return f"{name} is missing"
        if name not in wanted:
            return f"{name} is not needed"
        if found[name] != wanted[name]:
            return f"{name} is {list(found[name])}, not {list(wanted[name])}"
    return None


def _output_grid(operation: Operation, grids: Sequence[Grid]) -> Grid:
    if late := next((one for one in operation.inputs if one >= len(grids)), None):
        raise ValueError(f"takes the output of operation {late}, which comes later")
    inputs = [grids[one] for one in operation.inputs]
    (height, width, channels), *others = inputs
    if operation.kind == CONCATENATE:
        if any(other[:2] != (height, width) for other in others):
            raise ValueError("joins grids of different sizes")
        channels = sum(one[2] for one in inputs)
    elif others:
        raise ValueError("takes several inputs")
    else:
        if operation.size[0] > height or operation.size[1] > width:
            raise ValueError(f"its window, {'x'.join(map(str, operation.size))}, is larger than {height}x{width}")
        # "valid" windows lie within the grid, "same" ones begin at every stride-th position.
        covered = operation.size if operation.padding == "valid" else (1, 1)
        height, width = (
            (side - one) // operation.stride + 1 for side, one in zip((height, width), covered, strict=True)
        )
        if operation.kind == CONVOLUTION:
            channels = operation.channels
    if not 1 <= channels <= _MOST_CHANNELS:
        raise ValueError(f"channels: {channels:,}, not 1 to {_MOST_CHANNELS:,}")
    return height, width, channels
