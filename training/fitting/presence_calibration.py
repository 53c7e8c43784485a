"""Scores of the word-presence head -> probabilities that are right on average, each word's total included.

Letters: V words, A held-out pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit

from training.text.word_evidence import FLOOR

NATS = 15.0  # logits of a member beyond this are the same to a calibration


@dataclass(frozen=True)
class PresenceCalibration:
    """Platt scaling with a shift for each word: logit of presence = slope * logit of a member + shift of the word.

    Attributes:
      slope: one for all words; below 1 if the members are overconfident.
      shift: float64 [V].
    """

    slope: float
    shift: np.ndarray

    def apply(self, logits: np.ndarray) -> np.ndarray:
        """Logits of a member, float [n, V] -> calibrated presence float64 [n, V]."""
        return expit(self.slope * logits + self.shift)


def calibrate(logits: np.ndarray, targets: np.ndarray, rates: np.ndarray) -> PresenceCalibration:
    """Fits the slope by maximum likelihood, with shifts that keep every word's mean presence at its training rate.

    Isotonic regression would need more pictures that show a word than rare words have; the shifts need none, since the
    rates are known from all training captions.

    Args:
      logits: of members for the pictures that they held out, float [A, V].
      targets: share of the captions that use each word, float [A, V].
      rates: share of the training captions that use each word, float64 [V].
    """
    if not len(logits):
        return PresenceCalibration(1.0, np.zeros(len(rates)))
    logits = logits.astype(np.float64).clip(-NATS, NATS)

    def loss(slope: float) -> float:
        scores = slope * logits + mean_shift(slope * logits, rates)
        return float(np.logaddexp(0.0, scores).sum() - (targets * scores).sum())

    slope = float(minimize_scalar(loss, bounds=(0.2, 2.0), method="bounded", options={"xatol": 0.01}).x)
    return PresenceCalibration(slope, mean_shift(slope * logits, rates))


def mean_shift(scores: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Shift with mean(sigmoid(scores + shift)) = rates, by Newton's method in log-odds, float64 [V].

    Args:
      scores: float64 [A, V].
      rates: between 0 and 1, float64 [V].
    """
    wanted = np.log(rates) - np.log1p(-rates)
    shift = wanted - np.median(scores, axis=0)
    for _ in range(50):
        p = expit(scores + shift)
        mean = p.mean(axis=0)
        slope = (p * (1 - p)).mean(axis=0) / (mean * (1 - mean))  # of the mean's log-odds, in (0, 1]
        step = np.clip((wanted - np.log(mean) + np.log1p(-mean)) / np.maximum(slope, 0.05), -2.0, 2.0)
        shift = shift + step
        if np.abs(step).max() < 1e-6:
            break
    return shift


def presence_tail(words: Sequence[str], presence: np.ndarray, rates: np.ndarray) -> dict[str, float]:
    """Mean presence of each word in the pictures where it is below `FLOOR`, and so is not stored.

    Args:
      words: V of them.
      presence: in held-out pictures, float64 [A, V].
      rates: of words that are below it nowhere, float64 [V].
    """
    below = presence < FLOOR
    pictures = below.sum(axis=0)
    means = np.where(pictures, (presence * below).sum(axis=0) / np.maximum(pictures, 1), np.minimum(rates, FLOOR))
    return {word: round(float(mean), 9) for word, mean in zip(words, means, strict=True)}
