"""The file of an int8 encoder: a graph in 8-bit whole numbers, with its weights and the encoder it was made from.

How large activations get is measured on pictures of the collection. So the file is the encoder: it lies with the
features and then with the captioner, and its digest stands in the identity. Whoever has it needs neither the weights
nor what quantized them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np

from beam_pipeline.encoders.base import COPY_AGAIN, IMAGENET, INT8, RANDOM, EncoderSpec
from beam_pipeline.runtime import storage
from training.array_files import pack_npz, parse_npz
from training.data.feature_set import EncoderIdentity
from training.documents import Damaged, parse_json
from training.errors import UserError
from training.own_names import INT8_ENCODER

_NPZ = b"PK\x03\x04"
_TAIL = "tail"


def is_int8_encoder(weights: str) -> bool:
    """Whether the value of --weights is the path of an int8 encoder."""
    path = storage.absolute(weights)
    if weights in (IMAGENET, RANDOM) or not storage.is_file(path):
        return False
    with storage.open_file(path) as file:
        return file.read(len(_NPZ)) == _NPZ


def find_or_quantize(
    directory: str,
    original: EncoderSpec,
    quantize: Callable[[], tuple[np.ndarray, np.ndarray]],
    tail: Callable[[], bytes | None],
) -> EncoderSpec:
    """The int8 encoder that a directory keeps, quantized now if there is none.

    Args:
      directory: of the feature set.
      original: the encoder in float32.
      quantize: gives the original's graph and weights in int8.
      tail: gives what the original computes behind its layer, content of `encoder_tail.npz`; None for nothing.

    Raises:
      UserError: the directory has the int8 encoder of another original.
    """
    path = storage.join(directory, INT8_ENCODER)
    if not storage.exists(path):
        storage.write_atomic(path, pack(*quantize(), original.identity, tail()))
    elif (made_from := _read_original(path)).id != original.identity.id:
        raise UserError(
            f"--output {directory}: its int8 encoder was made from {made_from}, and this run would make it from "
            f"{original.identity}; choose another --output, or the weights, layer and kind that it was made from"
        )
    return int8_spec(path)


def int8_spec(path: str) -> EncoderSpec:
    """File of an int8 encoder -> how workers load it.

    Raises:
      UserError: there is no such file, or it is not an int8 encoder.
    """
    if not storage.is_file(path) and not (storage.is_local(path) and os.path.islink(path)):
        raise UserError(
            f"{path}: the int8 encoder is missing; copy it from the features or from a captioner that has it, or give "
            "its path as --weights"
        )
    return EncoderSpec(path, replace(_read_original(path), precision=INT8, weights_sha256=storage.sha256(path)))


def pack(graph: np.ndarray, weights: np.ndarray, original: EncoderIdentity, tail: bytes | None) -> bytes:
    """Quantized graph -> content of the file (npz).

    Args:
      graph, weights: uint8 [size], the two files of an engine's graph.
      original: the encoder in float32 that was quantized.
      tail: what it computes behind its layer, content of `encoder_tail.npz`; None for nothing.
    """
    arrays = {"graph": graph, "weights": weights, "made_from": np.array(json.dumps(asdict(original), sort_keys=True))}
    if tail is not None:
        arrays[_TAIL] = np.frombuffer(tail, np.uint8)
    return pack_npz(arrays)


def read_graph(path: str) -> tuple[np.ndarray, np.ndarray]:
    """File of an int8 encoder -> its graph and its weights, as `pack` took them.

    Raises:
      UserError: it is not an int8 encoder.
    """
    arrays = _read(path, "graph", "weights")
    return arrays["graph"], arrays["weights"]


def read_tail(path: str) -> bytes | None:
    """File of an int8 encoder -> its tail, as `pack` took it; None where an earlier captionbeam made the file.

    Raises:
      UserError: it is not an int8 encoder.
    """
    arrays = _read(path)
    return arrays[_TAIL].tobytes() if _TAIL in arrays else None


def _read_original(path: str) -> EncoderIdentity:
    return parse_json(str(_read(path, "made_from")["made_from"]).encode(), EncoderIdentity, path, COPY_AGAIN)


def _read(path: str, *names: str) -> dict[str, np.ndarray]:
    arrays = parse_npz(storage.read_own(path), path, COPY_AGAIN)
    if not set(names) <= arrays.keys():
        raise Damaged(path, "not an int8 encoder made by captionbeam, or damaged", COPY_AGAIN)
    return arrays
