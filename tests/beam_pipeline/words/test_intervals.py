import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from beam_pipeline.words.intervals import binomial_quantile, poisson_binomial, wilson


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (1, 10), (5, 10), (10, 10), (37, 1000)])
def test_wilson_is_the_textbook_s(successes, trials):
    expected = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    low, high = wilson(successes, trials)
    assert (low / trials, high / trials) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_no_pictures_have_no_interval():
    assert wilson(0, 0) == (0, 0)
    assert poisson_binomial(0.0, 0.0) == (0, 0)


def distribution(chances):
    """P(number = 0), P(1), ... by convolution: the Poisson-binomial distribution itself."""
    found = np.ones(1)
    for p in chances:
        found = np.convolve(found, [1 - p, p])
    return found


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=25))
def test_the_interval_of_a_few_pictures_holds_95_percent(chances):
    low, high = poisson_binomial(sum(chances), sum(p * p for p in chances))
    assert 0 <= low <= high <= len(chances)
    inside = distribution(chances)[int(low) : int(high) + 1].sum()
    assert inside >= 0.93


def test_the_interval_of_many_pictures_is_the_normal_one():
    chances = np.random.default_rng(0).beta(0.3, 2.0, size=5000)
    low, high = poisson_binomial(chances.sum(), (chances**2).sum())
    half = 1.96 * np.sqrt((chances * (1 - chances)).sum())
    assert (low, high) == pytest.approx((chances.sum() - half, chances.sum() + half), abs=2)


@pytest.mark.parametrize("trials", [1, 2, 7, 100, 12_345, 10_000_000])
@pytest.mark.parametrize("chance", [1e-9, 0.001, 0.1, 0.5, 0.9, 0.999_999, 1.0])
def test_binomial_quantiles_are_scipy_s(trials, chance):
    found = [binomial_quantile(tail, trials, chance) for tail in (0.025, 0.975)]
    assert found == binom.ppf((0.025, 0.975), trials, chance).tolist()


def test_certainty_has_no_width():
    assert poisson_binomial(7.0, 7.0) == (7, 7)
