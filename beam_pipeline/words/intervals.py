"""95 % confidence intervals for the number of pictures that a word fits."""

from __future__ import annotations

import math
from bisect import bisect_left

from scipy.special import bdtr

Z = 1.959963984540054  # 97.5 % quantile of the normal distribution
_TAILS = (0.025, 0.975)


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Successes of a number of trials -> 95 % score interval for the expected number of successes.

    Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the American Statistical
    Association 22, 1927; its interval for a share, times the number of trials. Of captions that contain a word among a
    collection's captions it covers the sampling error, but not the errors of the captioner.
    """
    if not trials:
        return 0.0, 0.0
    share = successes / trials
    weight = Z * Z / trials
    centre = (share + weight / 2) / (1 + weight)
    half = Z / (1 + weight) * math.sqrt(share * (1 - share) / trials + weight / (4 * trials))
    # At either end the formula gives exactly 0 or all trials; rounding must not miss it.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == trials else min(1.0, centre + half)
    return low * trials, high * trials


def poisson_binomial(total: float, squares: float) -> tuple[float, float]:
    """Sum of p and sum of p * p over independent trials with chances p -> 95 % interval for the number of successes.

    The number of pictures for which a person would use a word is such a number. It is approximated by a binomial of the
    same mean and, since its number of trials is rounded up, no smaller variance (Ehm, "Binomial approximation to the
    Poisson binomial distribution", Statistics & Probability Letters 11, 1991). For many pictures that is the normal
    approximation; for few the interval stays between 0 and all pictures and does not become too narrow. Errors of the
    calibration of p are not covered.
    """
    if total <= 0:
        return 0.0, 0.0
    # n trials with chance q: n q = sum of p and n q q = sum of p p. A rounding error must not cost or add a trial.
    trials = max(math.ceil(total * total / squares - 1e-9), math.ceil(total - 1e-9))
    chance = min(1.0, total / trials)
    low, high = (binomial_quantile(tail, trials, chance) for tail in _TAILS)
    return float(low), float(high)


def binomial_quantile(probability: float, trials: int, chance: float) -> int:
    """Smallest number of successes k with P(X <= k) >= `probability`, for X binomial with `trials` and `chance`.

    The same as `scipy.stats.binom.ppf`; importing `scipy.stats` takes a second and 90 MB.
    """
    return bisect_left(range(trials), probability, key=lambda k: bdtr(k, trials, chance))
