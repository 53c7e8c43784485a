"""The word-presence head: features of a picture -> for each word, the probability that a person's caption uses it.

Two layers: the first is applied to each cell of the grid, and the mean and the maximum of its output over the cells say
how much of the picture shows something and whether any part does. Fang et al. ("From captions to visual concepts and
back", 2015) and Wu et al. ("What value do explicit high level concepts have in vision to language problems?", 2016) put
such detectors of words before their captioners. The probabilities of several small heads are averaged; standardisation
and calibration are folded into their kernels.

Letters: B pictures, P grid positions, C channels, Q cells, M members, H hidden units of a member, V words.
"""

from __future__ import annotations

import hashlib
import json
import math
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf
from scipy.special import expit

from training.array_files import pack_npz
from training.documents import Sha256OrNone, Share
from training.models.captioner_files import damage_reported, read_arrays
from training.own_names import PRESENCE, PRESENCE_TAIL, PRESENCE_WORDS
from training.storage import read_document, remove, write_bytes, write_document
from training.text.plurals import counted

SCHEMA_VERSION = 2
_CELL = 2  # positions of the grid that a cell is wide and high
TINY = 1e-12  # presence below this is the same to a logarithm
ABSENT = 1e-3  # presence below this counts as this: differences between absent words mean nothing
_ARRAYS = ("hidden_kernel", "hidden_bias", "output_kernel", "output_bias", "mean_inputs")
_POOL = "pool_shift"
_RENEW = f"run the same train command again, which renews the head alone, or remove {PRESENCE_WORDS} to do without"


@dataclass(frozen=True)
class _Document:
    """Schema of `presence.json`; `arrays_sha256` is of `presence.npz`, where it is known."""

    words: tuple[str, ...]
    rare: dict[str, Share]
    arrays_sha256: Sha256OrNone = ""


@dataclass(frozen=True)
class PresenceHead:
    """A trained and calibrated head.

    Attributes:
      words: V of them, the commonest in the training captions first.
      rare: word too rare in the training captions to be learnt -> share of the captions that use it.
      hidden_kernel [C, M*H], hidden_bias [M*H], output_kernel [M, 2*H, V], output_bias [M, 1, V]: float32.
      mean_inputs: float32 [Q, C], of the mean training picture: the reference point of grounding.
      pool_shift: float32 [V], of `opinion_pool`; None if head and decoder are not pooled.
      parts: for the head of an ensemble, those of its captioners that are asked; None for one that is not.
    """

    words: tuple[str, ...]
    rare: Mapping[str, float]
    hidden_kernel: np.ndarray
    hidden_bias: np.ndarray
    output_kernel: np.ndarray
    output_bias: np.ndarray
    mean_inputs: np.ndarray
    pool_shift: np.ndarray | None = None
    parts: tuple[PresenceHead | None, ...] = ()

    def presence(self, inputs: np.ndarray) -> np.ndarray:
        """Inputs float32 [B, Q, C] -> presence float32 [B, V], in NumPy; `PresenceGraph` computes the same."""
        hidden = np.maximum(inputs @ self.hidden_kernel + self.hidden_bias, 0)
        members, each = len(self.output_kernel), (hidden.mean(axis=1), hidden.max(axis=1))  # (B, M*H) each
        pooled = np.concatenate([np.split(values, members, axis=1) for values in each], axis=2)  # (M, B, 2*H)
        return expit(pooled @ self.output_kernel + self.output_bias).mean(axis=0)

    def fingerprint(self) -> bytes:
        """sha256 digest of everything that decides its output."""
        digest = hashlib.sha256(json.dumps([self.words, sorted(self.rare.items())]).encode())
        for array in self.stored().values():
            digest.update(array.tobytes())
        return digest.digest()

    def stored(self) -> dict[str, np.ndarray]:
        """Its arrays by name as they are written to a file."""
        # Half precision: a kernel's rounding is far below what two trainings differ by.
        arrays = {name: getattr(self, name).astype(np.float16) for name in _ARRAYS}
        return arrays if self.pool_shift is None else arrays | {_POOL: self.pool_shift.astype(np.float16)}

    def save(self, directory: str, tail: Mapping[str, float]) -> None:
        """Writes the head's three files, the words last: without them there is no head.

        Args:
          tail: word -> its mean presence in the pictures where it is below `word_evidence.FLOOR`.
        """
        data = pack_npz(self.stored())
        write_bytes(posixpath.join(directory, PRESENCE), data)
        document: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "words": dict(tail)}
        write_document(posixpath.join(directory, PRESENCE_TAIL), document)
        document = {"schema_version": SCHEMA_VERSION, "words": self.words, "rare": dict(self.rare)}
        document["arrays_sha256"] = hashlib.sha256(data).hexdigest()
        write_document(posixpath.join(directory, PRESENCE_WORDS), document)


def joined_heads(each: Sequence[PresenceHead | None]) -> PresenceHead | None:
    """Heads of an ensemble's captioners, None for one without -> the head of the ensemble; None if none has one.

    It has the words of the first head, and the members of all heads that have the same words.
    """
    first = next((head for head in each if head is not None), None)
    if first is None:
        return None
    parts = tuple(head if head is not None and head.words == first.words else None for head in each)
    heads = [head for head in parts if head is not None]
    shifts = [head.pool_shift for head in heads if head.pool_shift is not None]
    channels = max(len(head.hidden_kernel) for head in heads)  # of what the captioners look at
    kernels = [np.pad(head.hidden_kernel, [(0, channels - len(head.hidden_kernel)), (0, 0)]) for head in heads]
    return replace(
        first,
        hidden_kernel=np.concatenate(kernels, axis=1),
        hidden_bias=np.concatenate([head.hidden_bias for head in heads]),
        output_kernel=np.concatenate([head.output_kernel for head in heads]),
        output_bias=np.concatenate([head.output_bias for head in heads]),
        pool_shift=np.mean(shifts, axis=0) if len(shifts) == len(heads) else None,
        parts=parts,
    )


def remove_presence(directory: str) -> None:
    """Removes the head of a captioner directory, sound or damaged; there may be none."""
    remove(posixpath.join(directory, PRESENCE_WORDS))


def load_presence(directory: str) -> PresenceHead | None:
    """Captioner directory -> its word-presence head; None if it has none.

    Raises:
      UserError: a file is damaged, missing beside the other, or of another schema version.
    """
    path = posixpath.join(directory, PRESENCE_WORDS)
    document = read_document(path, _Document, _RENEW, SCHEMA_VERSION)
    if document is None:
        return None
    words, rare = document.words, document.rare
    path = posixpath.join(directory, PRESENCE)
    stored = read_arrays(path, document.arrays_sha256, _RENEW)
    with damage_reported(path, _RENEW):
        return head_of(stored, words, rare)


def head_of(stored: Mapping[str, np.ndarray], words: tuple[str, ...], rare: Mapping[str, float]) -> PresenceHead:
    """What `PresenceHead.stored` gave, the words, and the rate of rarer ones -> the head.

    Raises:
      KeyError: an array is missing.
      ValueError: an array does not fit the others, or the words.
    """
    arrays = {name: stored[name].astype(np.float32) for name in _ARRAYS}
    shift = stored[_POOL].astype(np.float32) if _POOL in stored else None
    (channels, hidden), (members, pooled, _) = arrays["hidden_kernel"].shape, arrays["output_kernel"].shape
    cells = arrays["mean_inputs"].shape[0]
    shapes = [(channels, hidden), (hidden,), (members, pooled, len(words)), (members, 1, len(words)), (cells, channels)]
    fits = [array.shape for array in arrays.values()] == shapes and (shift is None or shift.shape == (len(words),))
    if 2 * hidden != members * pooled or not fits:
        raise ValueError(f"does not fit {counted(len(words), 'word')}")
    hidden_kernel, hidden_bias, output_kernel, output_bias, mean_inputs = (arrays[name] for name in _ARRAYS)
    return PresenceHead(words, rare, hidden_kernel, hidden_bias, output_kernel, output_bias, mean_inputs, shift)


def inputs_of(feature_shape: tuple[int, ...]) -> tuple[int, int]:
    """Shape of a picture's feature, (P, C) or (C,) -> shape of the head's inputs, (Q, C)."""
    *grid, channels = feature_shape
    return ((math.isqrt(grid[0]) // _CELL) ** 2 if grid else 1), channels


def head_inputs(features: tf.Tensor) -> tf.Tensor:
    """Features float [B, P, C] or [B, C] -> inputs of the head, float32 [B, Q, C].

    Cells of a grid are means of 2x2 positions; pooled features are one cell. Values are long-tailed, so the head sees
    their logarithms.
    """
    features = tf.cast(features, tf.float32)
    if features.shape.rank == 2:
        # The factor brings a mean over the whole grid, little of which is lit, to where the logarithm bends.
        return _log(8.0 * features[:, None])
    _, positions, channels = features.shape
    side = math.isqrt(positions)
    grid = tf.reshape(features, [-1, side, side, channels])
    cells = tf.nn.avg_pool2d(grid, _CELL, _CELL, "VALID")
    return _log(tf.reshape(cells, [-1, (side // _CELL) ** 2, channels]))


def first_layer(cells: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Output of the head's first layer, pooled over the cells.

    Args:
      cells: inputs, float32 [B, Q, C].
      kernel: float32 [C, N].
      bias: float32 [N].

    Returns:
      mean and maximum over the cells, float32 [B, N] each.
    """
    hidden = tf.nn.relu(tf.tensordot(cells, kernel, axes=1) + bias)
    return tf.reduce_mean(hidden, axis=1), tf.reduce_max(hidden, axis=1)


def _log(values: tf.Tensor) -> tf.Tensor:
    """log(1 + |value|) with the value's sign: random encoders' features may be negative."""
    return tf.sign(values) * tf.math.log1p(tf.abs(values))


class PresenceGraph:
    """The head inside a TensorFlow graph.

    Args:
      head: whose arrays become variables.
    """

    def __init__(self, head: PresenceHead):
        parts = head.parts or (head,)
        self._asked = [part is not None for part in parts]
        heads = [part for part in parts if part is not None]
        self._arrays = [
            tuple(map(tf.Variable, (one.hidden_kernel, one.hidden_bias, one.output_kernel, one.output_bias)))
            for one in heads
        ]
        of_mean = [one.presence(one.mean_inputs[None]) for one in heads]
        members = [len(one.output_kernel) for one in heads]
        mean = np.average(of_mean, axis=0, weights=members).astype(np.float32)
        self.log_of_mean = tf.Variable(np.log(np.maximum(mean, TINY)))  # (1, V)

    def __call__(self, seen: tf.Tensor | tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, tf.Tensor]:
        """What a model looks at, float [B, P, C] or [B, C], or each of an ensemble -> presence and grounding, float32
        [B, V] each.
        """
        each = seen if isinstance(seen, tuple) else (seen,) * len(self._asked)
        asked = [one for one, is_asked in zip(each, self._asked, strict=True) if is_asked]
        logits = tf.concat([_logits(one, *arrays) for one, arrays in zip(asked, self._arrays, strict=True)], axis=0)
        presence = tf.reduce_mean(tf.sigmoid(logits), axis=0)
        return presence, tf.math.log(tf.maximum(presence, TINY)) - self.log_of_mean


def _logits(
    seen: tf.Tensor, hidden_kernel: tf.Tensor, hidden_bias: tf.Tensor, output_kernel: tf.Tensor, output_bias: tf.Tensor
) -> tf.Tensor:
    """What a model looks at, float [B, P, C] or [B, C], by the members of its head -> float32 [M, B, V]."""
    each = first_layer(head_inputs(seen), hidden_kernel, hidden_bias)  # (B, M*H) each
    pooled = tf.concat([tf.split(values, output_kernel.shape[0], axis=1) for values in each], axis=2)  # (M, B, 2*H)
    return tf.matmul(pooled, output_kernel) + output_bias
