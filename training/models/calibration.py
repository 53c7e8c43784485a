"""Signals of a caption -> the probability that it is accepted, by a logistic regression that only ever rises.

Platt ("Probabilistic outputs for support vector machines", 1999) with several scores in place of one: each signal is
oriented so that more of it speaks for the caption, and no weight may fall below zero. So of two captions the one that
is better by every signal is never the less likely one, whatever the few pictures that were fitted say.

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

BINS = 10  # of the calibration error, with equally many captions each
_PENALTY = 1.0  # on the squared weights of standardized signals: a normal prior of variance 1


@dataclass(frozen=True)
class Calibration:
    """A fitted regression: tuples of F numbers.

    Attributes:
      center, spread: of each signal in the captions that were fitted.
      weights: of the standardized signals, 0 or more.
      bias: log-odds of a caption whose signals are all at the center.
    """

    center: tuple[float, ...]
    spread: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float

    def probability(self, signals: np.ndarray) -> np.ndarray:
        """float64 [..., F] -> float64 [...]"""
        standardized = (signals - np.array(self.center)) / np.array(self.spread)
        return expit((standardized * np.array(self.weights)).sum(axis=-1) + self.bias)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(fields: Mapping[str, Any], signals: int) -> Calibration:
        """Raises ValueError, KeyError or TypeError where a number is missing, is none, or no `signals` of them."""
        center, spread, weights = (tuple(map(float, fields[name])) for name in ("center", "spread", "weights"))
        bias = float(fields["bias"])
        numbers = [*center, *spread, *weights, bias]
        if {len(center), len(spread), len(weights)} != {signals} or not np.isfinite(numbers).all():
            raise ValueError(f"not {signals} numbers each")
        return Calibration(center, spread, weights, bias)


def fit_calibration(signals: np.ndarray, accepted: np.ndarray) -> Calibration:
    """Signals float64 [n, F] and whether each caption is accepted, bool [n] -> Calibration.

    Targets are Platt's, a little inside of 0 and 1, so that captions which are all accepted give no certainty.
    """
    center = signals.mean(axis=0)
    spread = np.maximum(signals.std(axis=0), 1e-6)
    standardized = (signals - center) / spread
    yes = int(accepted.sum())
    targets = np.where(accepted, (yes + 1) / (yes + 2), 1 / (len(accepted) - yes + 2))

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        weights, bias = parameters[:-1], parameters[-1]
        logits = standardized @ weights + bias
        wrong = expit(logits) - targets
        value = (np.logaddexp(0, logits) - targets * logits).sum() + _PENALTY / 2 * weights @ weights
        return float(value), np.append(standardized.T @ wrong + _PENALTY * weights, wrong.sum())

    start = np.append(np.zeros(signals.shape[1]), np.log(targets.mean() / (1 - targets.mean())))
    bounds = [(0.0, None)] * signals.shape[1] + [(None, None)]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-12}).x
    return Calibration(tuple(center.tolist()), tuple(spread.tolist()), tuple(found[:-1].tolist()), float(found[-1]))


def calibration_error(probabilities: np.ndarray, accepted: np.ndarray) -> float:
    """Expected calibration error: mean distance of probability and share accepted over `BINS` bins of equal size."""
    order = np.argsort(probabilities, kind="stable")
    parts = [part for part in np.array_split(order, BINS) if len(part)]
    gaps = [abs(probabilities[part].mean() - accepted[part].mean()) * len(part) for part in parts]
    return float(sum(gaps) / len(order))


def error_by_chance(probabilities: np.ndarray) -> float:
    """The `calibration_error` that captions of these probabilities have on average where each is exactly right.

    A bin's share accepted varies about normally, and the mean distance of that is sqrt(2/pi) standard deviations.
    """
    order = np.argsort(probabilities, kind="stable")
    parts = [probabilities[part] for part in np.array_split(order, BINS) if len(part)]
    return float(sum(np.sqrt(2 / np.pi * (part * (1 - part)).sum()) for part in parts) / len(order))


def brier(probabilities: np.ndarray, accepted: np.ndarray) -> float:
    """Mean squared distance of probability and outcome, 0 to 1."""
    return float(((probabilities - accepted) ** 2).mean())


def ranking(probabilities: np.ndarray, accepted: np.ndarray) -> float | None:
    """Area under the ROC curve: how often an accepted caption has more than one that is not; None without both."""
    yes = int(accepted.sum())
    no = len(accepted) - yes
    if not yes or not no:
        return None
    ranks = rankdata(probabilities)
    return float((ranks[accepted].sum() - yes * (yes + 1) / 2) / (yes * no))


def figures(probabilities: np.ndarray, accepted: np.ndarray) -> dict[str, Any]:
    """Confidence of captions, float64 [n], and which are accepted, bool [n] -> what tells how good it is."""
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
    """What `figures` gave -> a line for people."""
    error, chance = figures["calibration_error"], figures["calibration_error_by_chance"]
    line = (
        f"people accept {figures['accepted']:.1%}, mean confidence {figures['confidence']:.3f}, "
        f"calibration error {error:.3f} ({chance:.3f} by chance alone), "
        f"Brier {figures['brier']:.3f} ({figures['brier_of_base_rate']:.3f} by the share accepted alone)"
    )
    area = figures["ranking"]
    return line if area is None else f"{line}, area under the ROC curve {area:.3f}"
