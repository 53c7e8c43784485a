"""How much more one collection uses a word than another: log-odds with an informative Dirichlet prior.

Monroe, Colaresi and Quinn, "Fightin' Words: Lexical Feature Selection and Evaluation for Identifying the Content of
Political Conflict", Political Analysis 16, 2008, equations 16, 20 and 22.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr
from scipy.stats import false_discovery_control

PRIOR_WEIGHT = 500.0  # word mentions that the prior weighs as much as


@dataclass(frozen=True)
class LogOdds:
    """Comparison of two collections, float64 [W] each, above 0 where the first uses the word more.

    Attributes:
      delta: difference of the two log-odds, shrunk by the prior; nats.
      z: delta over its standard deviation.
    """

    delta: np.ndarray
    z: np.ndarray

    def p_values(self) -> np.ndarray:
        """Two-sided: how often chance alone gives a z as far from 0; [W]."""
        return 2 * ndtr(-np.abs(self.z))


def log_odds(first: np.ndarray, second: np.ndarray, prior_weight: float = PRIOR_WEIGHT) -> LogOdds:
    """Counts of W words in two collections, [W] each, at least 0 -> LogOdds.

    The prior says of every word what both collections together say of it, with the weight of `prior_weight` mentions:
    a word that is rare in both has to show more than its few mentions.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    both = first + second
    total = both.sum()
    if total == 0:
        return LogOdds(np.zeros_like(first), np.zeros_like(first))
    prior = prior_weight * both / total
    with np.errstate(divide="ignore", invalid="ignore"):
        odds = [
            np.log(counts + prior) - np.log(np.maximum(counts.sum() + prior_weight - counts - prior, 0.0))
            for counts in (first, second)
        ]
        delta = odds[0] - odds[1]
        z = delta / np.sqrt(1 / (first + prior) + 1 / (second + prior))
    # A word of neither collection, or the only word of both, tells nothing.
    known = np.isfinite(z)
    return LogOdds(np.where(known, delta, 0.0), np.where(known, z, 0.0))


def q_values(p_values: np.ndarray) -> np.ndarray:
    """p-values [W] -> q-values [W]: the share of false discoveries among all words with a p as small.

    Benjamini and Hochberg, "Controlling the false discovery rate", 1995.
    """
    return false_discovery_control(p_values, method="bh") if len(p_values) else np.zeros(0)
