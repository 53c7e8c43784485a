import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from training.documents import Damaged, parse_json
from training.models.calibration import (
    Calibration,
    brier,
    calibration_error,
    error_by_chance,
    figures,
    fit_calibration,
    in_words,
    ranking,
)


def drawn(pictures, seed=0):
    generator = np.random.default_rng(seed)
    signals = generator.normal([-1.0, 5.0, 0.0], [0.5, 2.0, 1.0], size=(pictures, 3))
    truth = expit(2.0 * (signals[:, 0] + 1.0) + 0.5 * (signals[:, 1] - 5.0))  # the third tells nothing
    return signals, truth, generator.random(pictures) < truth


def test_it_finds_the_probabilities_that_drew_the_outcomes():
    signals, truth, accepted = drawn(20_000)
    found = fit_calibration(signals, accepted)
    assert np.abs(found.probability(signals) - truth).mean() < 0.01
    assert found.weights[2] < 0.05
    fresh, _, outcome = drawn(20_000, seed=1)
    assert calibration_error(found.probability(fresh), outcome) < 0.015


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9), st.booleans()), min_size=2, max_size=40))
@settings(deadline=None, max_examples=50)
def test_it_never_falls_where_a_signal_rises_and_is_never_certain(captions):
    signals = np.array([row[:2] for row in captions])
    found = fit_calibration(signals, np.array([row[2] for row in captions]))
    here = found.probability(signals)
    assert ((here > 0) & (here < 1)).all()
    for raised in ([1.0, 0.0], [0.0, 1.0]):
        assert (found.probability(signals + raised) >= here).all()


@pytest.mark.parametrize("accepted", [True, False])
def test_outcomes_all_alike_give_no_certainty(accepted):
    signals, _, _ = drawn(50)
    found = fit_calibration(signals, np.full(50, accepted))
    likely = found.probability(signals) if accepted else 1 - found.probability(signals)
    assert likely.min() > 0.95 and likely.max() < 1


def test_it_is_read_as_it_was_written_and_damage_is_noticed():
    found = Calibration((1.0, 2.0), (0.5, 0.1), (0.0, 3.0), -1.0)
    read = partial(parse_json, kind=Calibration, path="c.json", mend="train again")
    again = read(json.dumps(found.to_json()).encode())
    assert again == found and again.is_of(2) and not again.is_of(3)
    assert not replace(found, spread=(0.5, 0.0)).is_of(2) and not replace(found, weights=(1.0,)).is_of(2)
    for damage in ({"bias": float("nan")}, {"bias": float("inf")}, {"spread": ["x", 1]}):
        with pytest.raises(Damaged, match=r"c\.json"):
            read(json.dumps(found.to_json() | damage).encode())


def test_figures_of_a_forecast_that_is_worked_out_by_hand():
    probabilities, accepted = np.array([0.1, 0.4, 0.6, 0.9]), np.array([False, True, False, True])
    assert brier(probabilities, accepted) == pytest.approx((0.01 + 0.36 + 0.36 + 0.01) / 4)
    assert ranking(probabilities, accepted) == 0.75
    assert calibration_error(probabilities, accepted) == pytest.approx((0.1 + 0.6 + 0.6 + 0.1) / 4)  # a bin each
    assert ranking(np.array([0.5, 0.5]), np.array([True, False])) == 0.5
    assert ranking(probabilities, np.ones(4, bool)) is None
    found = figures(probabilities, accepted)
    assert (found["accepted"], found["confidence"], found["brier_of_base_rate"]) == (0.5, 0.5, 0.25)
    assert "people accept 50.0%" in in_words(found) and "ROC curve 0.750" in in_words(found)
    assert "ROC" not in in_words(figures(probabilities, np.ones(4, bool)))


def test_the_calibration_error_of_truth_is_that_of_chance():
    generator = np.random.default_rng(2)
    truth = generator.random(10_000)
    errors = [calibration_error(truth[:500], generator.random(500) < truth[:500]) for _ in range(200)]
    assert error_by_chance(truth[:500]) == pytest.approx(np.mean(errors), rel=0.1)
    assert calibration_error(truth, generator.random(10_000) < truth) < 0.02
    assert calibration_error(truth**3, generator.random(10_000) < truth) > 0.2
