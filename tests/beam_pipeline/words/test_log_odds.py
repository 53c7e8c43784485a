import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from beam_pipeline.words.log_odds import exact_p_values, log_odds, q_values


def test_it_is_the_paper_s_formula():
    first, second = [30.0, 10.0, 0.0], [100.0, 260.0, 40.0]
    found = log_odds(first, second)
    weight = 0.1 * 40  # a tenth of the smaller side
    for word in range(3):
        prior = weight * (first[word] + second[word]) / 440
        odds = [
            math.log((counts[word] + prior) / (sum(counts) + weight - counts[word] - prior))
            for counts in (first, second)
        ]
        variance = 1 / (first[word] + prior) + 1 / (second[word] + prior)
        assert found.delta[word] == pytest.approx(odds[0] - odds[1])
        assert found.z[word] == pytest.approx((odds[0] - odds[1]) / math.sqrt(variance))


def test_the_two_sides_mirror_each_other():
    first, second = [30.0, 10.0, 0.0], [10.0, 26.0, 4.0]
    np.testing.assert_allclose(log_odds(first, second).z, -log_odds(second, first).z)


@pytest.mark.parametrize(("first", "second"), [([], []), ([0, 0], [0, 0]), ([5], [3]), ([5, 0], [5, 0])])
def test_nothing_to_tell_is_zero_and_no_division_by_zero(first, second):
    found = log_odds(np.array(first, float), np.array(second, float))
    assert found.delta.tolist() == found.z.tolist() == [0.0] * len(first)


def test_p_values_are_those_of_the_binomial_test():
    # Of 4 pictures 3 or more fall on the third that is A: 9 of 81 ways; doubled.
    found = exact_p_values(np.array([3.0, 0.0, 5.0]), 10, np.array([1.0, 4.0, 0.0]), 20)
    np.testing.assert_allclose(found, [2 * 9 / 81, 2 * 16 / 81, 2 / 243])


@pytest.mark.parametrize("sizes", [(40, 40), (100, 4000), (1000, 1500)])
def test_where_nothing_differs_nothing_is_found(sizes):
    """Both collections drawn from one population: a q of 5 % may come up in 5 % of comparisons, give or take."""
    generator = np.random.default_rng(3)
    shares = 1 / np.arange(3, 400)
    alarms = 0
    for _ in range(100):
        counts = [generator.binomial(size, shares).astype(float) for size in sizes]
        alarms += (q_values(exact_p_values(counts[0], sizes[0], counts[1], sizes[1])) <= 0.05).any()
    assert alarms <= 9


def test_q_values_are_benjamini_and_hochberg_s():
    assert q_values(np.array([0.01, 0.04, 0.03, 0.005])).tolist() == pytest.approx([0.02, 0.04, 0.04, 0.02])
    assert q_values(np.zeros(0)).tolist() == []


@given(st.lists(st.floats(0, 1) | st.sampled_from([0.0, 0.01, 0.5, 1.0]), min_size=1, max_size=50))
def test_q_values_are_scipy_s_to_the_last_bit(p_values):
    assert q_values(np.array(p_values)).tolist() == false_discovery_control(p_values, method="bh").tolist()
