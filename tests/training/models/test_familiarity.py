import numpy as np
import pytest
import tensorflow as tf

from training.models.familiarity import UNLIKE, fit_familiarity, pooled_features, pooled_features_of, with_limit

CHANNELS = 2048


def pooled(generator, pictures):
    """Pooled features that vary along three directions and a little along all others."""
    along = np.random.default_rng(1).normal(size=(3, CHANNELS)) / 8
    values = np.exp(-2 + 0.5 * generator.normal(size=(pictures, 3)) @ along + 0.05 * generator.normal(size=CHANNELS))
    return (values * np.exp(0.05 * generator.normal(size=(pictures, CHANNELS)))).astype(np.float16)


@pytest.fixture(scope="module")
def known():
    return fit_familiarity(pooled(np.random.default_rng(0), 300))


def distances(known, features):
    return np.array([known.distance(one) for one in pooled_features_of(features)])


def test_pictures_like_those_of_the_training_are_near_and_others_are_far(known):
    like = pooled(np.random.default_rng(2), 100)
    moved = like.copy()
    moved[:, :200] = 0.5
    louder = 3 * like
    near, far, loud = (distances(known, features) for features in (like, moved, louder))
    assert 1 < np.median(near) < 3
    assert far.min() > near.max() and loud.min() > near.max()


def test_distance_is_the_mahalanobis_distance_of_the_covariance_that_the_directions_describe(known):
    features = next(pooled_features_of(pooled(np.random.default_rng(3), 1)))
    spreads = 1 / np.linalg.norm(known.directions.astype(np.float64), axis=1)
    units = known.directions * spreads[:, None]
    np.testing.assert_allclose(units @ units.T, np.eye(len(units)), atol=1e-4)
    away = (features - known.mean).astype(np.float64)
    covariance = units.T @ np.diag(spreads**2 - known.rest**2) @ units + known.rest**2 * np.eye(CHANNELS)
    expected = np.sqrt(away @ np.linalg.solve(covariance, away) / CHANNELS)
    assert known.distance(features) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("pictures", [1, 2, 70])
def test_few_pictures_or_pictures_all_alike_give_a_finite_distance(pictures):
    same = np.full([pictures, CHANNELS], 0.25, np.float16)
    found = fit_familiarity(same)
    assert distances(found, same).max() == pytest.approx(0, abs=1e-3)
    assert np.isfinite(distances(found, pooled(np.random.default_rng(4), 2))).all()


def test_the_limit_is_what_all_but_a_few_held_out_pictures_keep_to(known):
    found = with_limit(known, range(101))
    assert found.limit == pytest.approx(100 * UNLIKE) and known.limit == float("inf")


def test_a_grid_is_looked_at_by_its_mean_on_a_logarithmic_scale():
    grid = np.zeros([1, 64, CHANNELS], np.float16)
    grid[0, :2] = 1.0  # half of one cell of sixteen: 2x2 positions, of which two lie in a row
    found = pooled_features(tf.constant(grid)).numpy()
    np.testing.assert_allclose(found, np.full([1, CHANNELS], np.log(1.5) / 16), rtol=1e-3)
