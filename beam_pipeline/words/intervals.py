"""95 % intervals for the number of pictures that a word fits."""

from __future__ import annotations

import math
from bisect import bisect_left

from scipy.special import bdtr

Z = 1.959963984540054  # 97.5 % quantile of the normal distribution
_TAILS = (0.025, 0.975)


def wilson(said: int, pictures: int) -> tuple[float, float]:
    """Pictures whose caption says a word, of so many -> interval, in pictures.

    The score interval of a binomial share (Wilson 1927), times the number of pictures. It tells how far chance could
    have moved the number in a collection of this size; that captions err is not in it.
    """
    if not pictures:
        return 0.0, 0.0
    share = said / pictures
    weight = Z * Z / pictures
    centre = (share + weight / 2) / (1 + weight)
    half = Z / (1 + weight) * math.sqrt(share * (1 - share) / pictures + weight / (4 * pictures))
    # At either end the formula gives 0 or all pictures exactly; rounding must not miss it.
    low = 0.0 if said == 0 else max(0.0, centre - half)
    high = 1.0 if said == pictures else min(1.0, centre + half)
    return low * pictures, high * pictures


def poisson_binomial(total: float, squares: float) -> tuple[float, float]:
    """Sum of p and sum of p * p over pictures -> interval for how many of them a person would use the word of.

    The number is a sum of independent yes-or-no outcomes with chances p. A binomial of the same mean and (rounding its
    number of trials up) no smaller variance stands in for it (Ehm, "Binomial approximation to the Poisson binomial
    distribution", 1991); for many pictures that is the normal approximation, and for few it neither leaves the range of
    0 to all pictures nor promises too much. How well p is calibrated is not in it.
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

    What `scipy.stats.binom.ppf` gives, which takes a second and 90 MB to import.
    """
    return bisect_left(range(trials), probability, key=lambda k: bdtr(k, trials, chance))
