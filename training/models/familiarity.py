"""How much a picture resembles the training pictures: the distance by probabilistic PCA of its pooled features.

Tipping and Bishop ("Probabilistic principal component analysis", 1999): training pictures vary along a few directions,
each by its own spread, and in all others by one. A picture's squared distance is the mean of its squared deviations in
these units: 1 on average for the training pictures, and more for others like them, whose noise the directions did not
follow. So the limit of what is familiar is taken from pictures that were held out.

Letters: B pictures, C channels, K directions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

import numpy as np
import tensorflow as tf
from scipy.linalg import eigh

from training.models.presence import head_inputs

DIRECTIONS = 64
PICTURES = 4096  # that the spreads are measured on, at most
UNLIKE = 0.99  # share of pictures held out from training that count as like it
_STEEP = 4  # set by hand, since next to no dev picture lies beyond the limit: see docs/explanation/confidence.md
_READ_AT_ONCE = 64
_LEAST_SPREAD = 1e-3  # of the mean spread: pictures that are all alike leave directions without any


def pooled_features(features: tf.Tensor) -> tf.Tensor:
    """Features float [B, P, C] or [B, C] -> mean over the cells of the word-presence head's inputs, float32 [B, C]."""
    return tf.reduce_mean(head_inputs(features), axis=1)


@dataclass(frozen=True)
class Familiarity:
    """The distribution of the training pictures' pooled features.

    Attributes:
      mean: float32 [C].
      directions: float32 [K, C], of unit length, each already divided by its spread.
      rest: spread in every other direction.
      limit: distance above which a picture is unlike anything in training.
    """

    mean: np.ndarray
    directions: np.ndarray
    rest: float
    limit: float = float("inf")

    def discount(self, distance: float) -> float:
        """Distance of a picture -> factor of its confidence: 1 up to the limit, then less; a half at 1.2 limits."""
        return 1.0 if distance <= self.limit else (self.limit / distance) ** _STEEP

    def distance(self, pooled: np.ndarray) -> float:
        """Pooled features of one picture, float32 [C] -> its distance from the training pictures, 0 or more."""
        along, spreads = self._along
        away = (pooled - self.mean).astype(np.float64)
        # No call of BLAS: its threads would wait for cores that are encoding, for longer than the product takes.
        inside = np.einsum("kc,c->k", along, away)  # (K,), in spreads
        moved = inside * spreads  # in the features' own unit
        left = max(float(away @ away - moved @ moved), 0.0)
        return float(np.sqrt((inside @ inside + left / self.rest**2) / len(away)))

    @cached_property
    def _along(self) -> tuple[np.ndarray, np.ndarray]:
        """The directions as numbers to calculate with, float64 [K, C], and the spread along each [K]."""
        along = self.directions.astype(np.float64)
        return along, 1.0 / np.maximum(np.linalg.norm(along, axis=1), np.finfo(np.float32).tiny)


def fit_familiarity(features: Iterable[np.ndarray]) -> Familiarity:
    """Features of training pictures, float16 [P, C] or [C] each -> Familiarity without a limit.

    Shards hold pictures in the order of their checksums, so the first `PICTURES` are a random sample.
    """
    pooled = np.stack(list(pooled_features_of(islice(features, PICTURES))))  # (N, C)
    mean = pooled.mean(axis=0, dtype=np.float64)
    away = pooled - mean
    pictures, channels = away.shape
    kept = min(DIRECTIONS, pictures, channels - 1)
    variances, directions = _principal(away, kept)
    total = float((away * away).sum()) / pictures
    floor = _LEAST_SPREAD**2 * max(total / channels, np.finfo(np.float32).tiny)
    spreads = np.sqrt(np.maximum(variances, floor))
    rest = np.sqrt(max((total - float(variances.sum())) / (channels - kept), floor))
    return Familiarity(mean.astype(np.float32), (directions / spreads[:, None]).astype(np.float32), float(rest))


def with_limit(familiarity: Familiarity, distances: Iterable[float]) -> Familiarity:
    """Sets the limit to the `UNLIKE` quantile of the distances of pictures held out from training."""
    return replace(familiarity, limit=float(np.quantile(list(distances), UNLIKE)))


def pooled_features_of(features: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Features of single pictures, float16 [P, C] or [C] each -> pooled features of each, float32 [C]."""
    remaining = iter(features)
    while batch := list(islice(remaining, _READ_AT_ONCE)):
        yield from pooled_features(tf.constant(np.stack(batch))).numpy()


def _principal(away: np.ndarray, kept: int) -> tuple[np.ndarray, np.ndarray]:
    """Principal components: deviations from the mean float64 [N, C] -> the K = `kept` largest variances [K] and their
    directions [K, C], by the smaller one of the two Gram matrices.
    """
    pictures, channels = away.shape
    few = pictures < channels
    products = (away @ away.T if few else away.T @ away) / pictures
    last = len(products) - 1
    variances, vectors = eigh(products, subset_by_index=[last - kept + 1, last])
    directions = (vectors.T @ away) if few else vectors.T
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    return np.maximum(variances, 0.0), directions / np.maximum(lengths, np.finfo(np.float64).tiny)
