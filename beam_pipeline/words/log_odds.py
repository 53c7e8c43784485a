"""Which words one collection uses more than another: log-odds with an informative Dirichlet prior, and their tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betainc

# Word mentions that the prior weighs as much as. The prior belongs to neither side and shrinks z by the square root of
# n / (n + weight), n the mentions of the smaller collection; at a tenth of n that is 5 %.
PRIOR_WEIGHT, PRIOR_SHARE = 500.0, 0.1


@dataclass(frozen=True)
class LogOdds:
    """Comparison of two collections word by word; float64 [W] each, above 0 where the first uses the word more.

    Attributes:
      delta: difference of the two log-odds, shrunk by the prior, in nats.
      z: delta over its standard deviation.
    """

    delta: np.ndarray
    z: np.ndarray


def log_odds(first: ArrayLike, second: ArrayLike) -> LogOdds:
    """Counts of W words in two collections, [W] each, 0 or more -> LogOdds.

    Monroe, Colaresi and Quinn, "Fightin' Words: Lexical Feature Selection and Evaluation for Identifying the Content of
    Political Conflict", Political Analysis 16, 2008, equations 16, 20 and 22. The prior of a word is its share in both
    collections together, so a rare word needs more than a few mentions to stand out. A word of neither collection, and
    the only word of both, has 0.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    both = first + second
    total = both.sum()
    if total == 0:
        return LogOdds(np.zeros_like(first), np.zeros_like(first))
    weight = max(1.0, min(PRIOR_WEIGHT, PRIOR_SHARE * min(first.sum(), second.sum())))
    prior = weight * both / total
    with np.errstate(divide="ignore", invalid="ignore"):
        odds = [
            np.log(counts + prior) - np.log(np.maximum(counts.sum() + weight - counts - prior, 0.0))
            for counts in (first, second)
        ]
        delta = odds[0] - odds[1]
        z = delta / np.sqrt(1 / (first + prior) + 1 / (second + prior))
    defined = np.isfinite(z)
    return LogOdds(np.where(defined, delta, 0.0), np.where(defined, z, 0.0))


def exact_p_values(first: ArrayLike, first_pictures: int, second: ArrayLike, second_pictures: int) -> np.ndarray:
    """Exact test of the difference of two rates, word by word -> two-sided p-values, float64 [W].

    Przyborowski and Wilenski, "Homogeneity of results in testing samples from Poisson series", Biometrika 31, 1940. If
    the pictures that use a word fell on the two collections by size alone, the first one's part of them would be
    binomial. The normal tail of z would not do: where a small collection meets a large one, it is far too small for
    words with a few mentions.

    Args:
      first, second: pictures of either collection that use a word, [W]. They need not be integers, since the tails of
        the binomial are incomplete beta functions.
      first_pictures, second_pictures: all pictures of either collection.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    chance = first_pictures / (first_pictures + second_pictures)
    at_least = np.where(first > 0, betainc(np.maximum(first, 1e-9), second + 1, chance), 1.0)
    at_most = np.where(second > 0, betainc(np.maximum(second, 1e-9), first + 1, 1 - chance), 1.0)
    return np.minimum(1.0, 2 * np.minimum(at_least, at_most))


def q_values(p_values: ArrayLike) -> np.ndarray:
    """p-values [W] -> q-values, float64 [W]: the false discovery rate of all words with a p-value as small.

    Benjamini and Hochberg, "Controlling the false discovery rate: a practical and powerful approach to multiple
    testing", Journal of the Royal Statistical Society B 57, 1995. The same as `scipy.stats.false_discovery_control`.
    """
    p_values = np.asarray(p_values, np.float64)
    words = len(p_values)
    order = np.argsort(p_values)
    scaled = p_values[order] * (words / np.arange(1, words + 1))  # p times words over rank
    q = np.empty(words)
    q[order] = np.minimum.accumulate(scaled[::-1])[::-1]  # no more than that of any larger p
    return q
