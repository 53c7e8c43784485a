import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from training.fitting.presence_calibration import calibrate, mean_shift, presence_tail


@given(
    st.lists(st.lists(st.floats(-12, 12), min_size=2, max_size=2), min_size=1, max_size=20),
    st.lists(st.floats(1e-5, 0.999), min_size=2, max_size=2),
)
@settings(deadline=None, max_examples=50)
def test_a_shift_brings_every_word_to_its_rate(scores, rates):
    scores, rates = np.array(scores), np.array(rates)
    np.testing.assert_allclose(expit(scores + mean_shift(scores, rates)).mean(axis=0), rates, rtol=1e-4)


@pytest.mark.parametrize("too_sure", [2.0, 1.0, 0.7])
def test_calibration_finds_how_sure_a_member_may_be(too_sure):
    generator = np.random.default_rng(5)
    truth = generator.normal(-2.0, 1.5, size=(4000, 3))
    targets = generator.binomial(5, expit(truth)) / 5
    found = calibrate(too_sure * truth + [1.0, -2.0, 0.0], targets, targets.mean(axis=0))
    assert found.slope == pytest.approx(1 / too_sure, rel=0.05)
    np.testing.assert_allclose(found.apply(too_sure * truth + [1.0, -2.0, 0.0]).mean(0), targets.mean(0), rtol=1e-4)


def test_without_pictures_held_aside_nothing_is_calibrated():
    found = calibrate(np.zeros([0, 2]), np.zeros([0, 2]), np.array([0.1, 0.2]))
    assert found.slope == 1.0 and found.shift.tolist() == [0.0, 0.0]


def test_the_tail_is_the_mean_below_the_floor():
    presence = np.array([[0.5, 0.02], [0.002, 0.03], [0.004, 0.04]])
    assert presence_tail(["dog", "man"], presence, np.array([0.2, 0.3])) == {"dog": 0.003, "man": 0.01}
