"""How much more one collection uses a word than another: log-odds with an informative Dirichlet prior.

Monroe, Colaresi and Quinn, "Fightin' Words: Lexical Feature Selection and Evaluation for Identifying the Content of
Political Conflict", Political Analysis 16, 2008, equations 16, 20 and 22.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import betainc

# Word mentions that the prior weighs as much as. It belongs to neither side, so z comes out too small by the square
# root of n / (n + weight): of a small collection's n mentions it is a tenth at most, which costs 5 % of z.
PRIOR_WEIGHT, PRIOR_SHARE = 500.0, 0.1


@dataclass(frozen=True)
class LogOdds:
    """Comparison of two collections, float64 [W] each, above 0 where the first uses the word more.

    Attributes:
      delta: difference of the two log-odds, shrunk by the prior; nats.
      z: delta over its standard deviation.
    """

    delta: np.ndarray
    z: np.ndarray


def log_odds(first: np.ndarray, second: np.ndarray) -> LogOdds:
    """Counts of W words in two collections, [W] each, at least 0 -> LogOdds.

    The prior says of every word what both collections together say of it: a word that is rare in both has to show more
    than its few mentions.
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
    # A word of neither collection, or the only word of both, tells nothing.
    known = np.isfinite(z)
    return LogOdds(np.where(known, delta, 0.0), np.where(known, z, 0.0))


def exact_p_values(first: np.ndarray, first_pictures: int, second: np.ndarray, second_pictures: int) -> np.ndarray:
    """Pictures that use a word, of all pictures of two collections, [W] each -> two-sided p-values [W].

    The exact conditional test of two rates (Przyborowski and Wilenski 1940): if the pictures that use a word fell on
    the collections by size alone, the first one's share of them would be binomial. The normal tail of z would not do:
    where a small collection meets a large one, z is far too sure of words with a handful of mentions. Counts need not
    be whole; the binomial's tails are incomplete beta functions.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    chance = first_pictures / (first_pictures + second_pictures)
    at_least = np.where(first > 0, betainc(np.maximum(first, 1e-9), second + 1, chance), 1.0)
    at_most = np.where(second > 0, betainc(np.maximum(second, 1e-9), first + 1, 1 - chance), 1.0)
    return np.minimum(1.0, 2 * np.minimum(at_least, at_most))


def q_values(p_values: np.ndarray) -> np.ndarray:
    """p-values [W] -> q-values [W]: the share of false discoveries among all words with a p as small.

    Benjamini and Hochberg, "Controlling the false discovery rate", 1995.
    """
    p_values = np.asarray(p_values, np.float64)
    words = len(p_values)
    order = np.argsort(p_values)
    scaled = p_values[order] * (words / np.arange(1, words + 1))  # p times words over rank
    q = np.empty(words)
    q[order] = np.minimum.accumulate(scaled[::-1])[::-1]  # no more than that of any larger p
    return q
