"""Signals of a caption -> the probability that people accept it, by a monotone logistic regression; and its figures.

Platt scaling ("Probabilistic outputs for support vector machines", 1999) with several scores in place of one: more of a
signal speaks for the caption, and no weight may be negative. So a caption that is better by every signal is never the
less likely one, however few pictures the regression was fitted to.

Letters: n captions, F signals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import rankdata

from training.documents import Number

BINS = 10  # of the calibration error, with equally many captions each
_PENALTY = 1.0  # on the squared weights of standardized signals: a normal prior of variance 1


@dataclass(frozen=True)
class Calibration:
    """A fitted logistic regression of F signals.

    Attributes:
      center, spread: mean and standard deviation of each signal in the captions that it was fitted to.
      weights: of the standardized signals, 0 or more.
      bias: log-odds of a caption whose signals are all at the center.
    """

    center: tuple[Number, ...]
    spread: tuple[Number, ...]
    weights: tuple[Number, ...]
    bias: Number

    def probability(self, signals: np.ndarray) -> np.ndarray:
        """Signals float64 [..., F] -> probability of acceptance float64 [...]."""
        standardized = (signals - np.array(self.center)) / np.array(self.spread)
        return expit((standardized * np.array(self.weights)).sum(axis=-1) + self.bias)

    def to_json(self) -> dict[str, Any]:
        """Fields as JSON has them."""
        return asdict(self)

    def is_of(self, signals: int) -> bool:
        """Whether it is of F = `signals` signals, none without a spread."""
        return {len(self.center), len(self.spread), len(self.weights)} == {signals} and all(self.spread)


def fit_calibration(signals: np.ndarray, accepted: np.ndarray) -> Calibration:
    """Fits the regression by maximum a posteriori.

    Targets are Platt's, a little inside of 0 and 1, so that captions which are all accepted give no certainty.

    Args:
      signals: float64 [n, F].
      accepted: whether people accept each caption, bool [n].
    """
    center = signals.mean(axis=0)
    spread = np.maximum(signals.std(axis=0), 1e-6)
    standardized = (signals - center) / spread
    positives = int(accepted.sum())
    targets = np.where(accepted, (positives + 1) / (positives + 2), 1 / (len(accepted) - positives + 2))

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        weights, bias = parameters[:-1], parameters[-1]
        logits = standardized @ weights + bias
        error = expit(logits) - targets
        value = (np.logaddexp(0, logits) - targets * logits).sum() + _PENALTY / 2 * weights @ weights
        return float(value), np.append(standardized.T @ error + _PENALTY * weights, error.sum())

    start = np.append(np.zeros(signals.shape[1]), np.log(targets.mean() / (1 - targets.mean())))
    bounds = [(0.0, None)] * signals.shape[1] + [(None, None)]
    fitted = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-12}).x
    return Calibration(tuple(center.tolist()), tuple(spread.tolist()), tuple(fitted[:-1].tolist()), float(fitted[-1]))


def calibration_error(probabilities: np.ndarray, accepted: np.ndarray) -> float:
    """Expected calibration error: mean distance of probability and share accepted, over `BINS` bins of equal size.

    Args:
      probabilities: float64 [n].
      accepted: bool [n].
    """
    order = np.argsort(probabilities, kind="stable")
    parts = [part for part in np.array_split(order, BINS) if len(part)]
    gaps = [abs(probabilities[part].mean() - accepted[part].mean()) * len(part) for part in parts]
    return float(sum(gaps) / len(order))


def error_by_chance(probabilities: np.ndarray) -> float:
    """The calibration error to expect by chance from exact probabilities, float64 [n].

    A bin's share of accepted captions is about normally distributed; its mean absolute deviation is sqrt(2/pi) standard
    deviations.
    """
    order = np.argsort(probabilities, kind="stable")
    parts = [probabilities[part] for part in np.array_split(order, BINS) if len(part)]
    return float(sum(np.sqrt(2 / np.pi * (part * (1 - part)).sum()) for part in parts) / len(order))


def brier(probabilities: np.ndarray, accepted: np.ndarray) -> float:
    """Brier score: mean squared distance of probabilities float64 [n] and outcomes bool [n], 0 to 1."""
    return float(((probabilities - accepted) ** 2).mean())


def ranking(probabilities: np.ndarray, accepted: np.ndarray) -> float | None:
    """Area under the ROC curve of probabilities float64 [n] and outcomes bool [n]; None unless both outcomes occur."""
    positives = int(accepted.sum())
    negatives = len(accepted) - positives
    if not positives or not negatives:
        return None
    ranks = rankdata(probabilities)
    return float((ranks[accepted].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def figures(probabilities: np.ndarray, accepted: np.ndarray) -> dict[str, Any]:
    """Confidence of captions, float64 [n], and which are accepted, bool [n] -> figures of its quality, rounded."""
    area = ranking(probabilities, accepted)
    return {
        "accepted": round(float(accepted.mean()), 4),
        "confidence": round(float(probabilities.mean()), 4),
        "calibration_error": round(calibration_error(probabilities, accepted), 4),
        "calibration_error_by_chance": round(error_by_chance(probabilities), 4),
        "brier": round(brier(probabilities, accepted), 4),
        "brier_of_base_rate": round(brier(np.full(len(accepted), accepted.mean()), accepted), 4),
        "ranking": None if area is None else round(area, 4),
    }


def in_words(figures: Mapping[str, Any]) -> str:
    """Figures of a confidence -> one line for people."""
    error, chance = figures["calibration_error"], figures["calibration_error_by_chance"]
    line = (
        f"people accept {figures['accepted']:.1%}, mean confidence {figures['confidence']:.3f}, "
        f"calibration error {error:.3f} ({chance:.3f} by chance alone), "
        f"Brier {figures['brier']:.3f} ({figures['brier_of_base_rate']:.3f} by the share accepted alone)"
    )
    area = figures["ranking"]
    return line if area is None else f"{line}, area under the ROC curve {area:.3f}"
