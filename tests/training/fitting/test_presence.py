from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from training.data.dataset import pictures_of, scan
from training.data.splits import DEV, TRAIN, make_split
from training.fitting.presence import (
    PooledPictures,
    calibrate,
    fit_presence,
    mean_shift,
    pool_pictures,
    presence_tail,
)
from training.models.presence import head_inputs
from training.options import PresenceOptions

SMALL = PresenceOptions(members=2, hidden_size=32, epochs=30, batch_size=8, folds=4, learning_rate=1e-2, min_count=2)


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


def test_targets_are_shares_of_captions():
    words, share = np.array([0, 2, 1], np.int32), np.array([1, 0.5, 0.25], np.float16)
    pictures = PooledPictures(np.zeros([2, 1]), np.arange(3), np.zeros(2, int), words, share, np.array([0, 2, 3]))
    np.testing.assert_array_equal(pictures.targets(np.array([1, 0]), 3), [[0, 0.25, 0], [1, 0, 0.5]])


@pytest.fixture(scope="module")
def split_of():
    """Function (feature set of scenes) -> its split."""

    def split(features):
        directory = Path(features.path)
        return make_split(str(directory / "train.txt"), str(directory / "dev.txt"), features.records)

    return split


@pytest.fixture(scope="module")
def fitted(pooled_features, split_of):
    split = split_of(pooled_features)
    return fit_presence(pooled_features, split, scan(pooled_features, split).words, 0, SMALL)


def test_it_learns_which_words_people_use(pooled_features, split_of, fitted):
    head, tail = fitted
    assert set(head.words) == {"a", "runs", "on", "the", "dog", "cat", "horse", "beach", "street"} == set(tail)
    place = {word: number for number, word in enumerate(head.words)}
    split = split_of(pooled_features)
    judged = 0
    for picture, feature in pictures_of(pooled_features, lambda *content: split.of(*content) == DEV):
        presence = head.presence(head_inputs(feature[None]).numpy())[0]
        for choice in (("dog", "cat", "horse"), ("beach", "street")):
            assert max(choice, key=lambda word: presence[place[word]]) in picture.captions[0]
        assert presence[place["runs"]] > 0.9
        judged += 1
    assert judged == 6


def test_the_same_seed_gives_the_same_head(pooled_features, split_of, fitted):
    split = split_of(pooled_features)
    counts = scan(pooled_features, split).words
    assert fit_presence(pooled_features, split, counts, 0, SMALL)[0].fingerprint() == fitted[0].fingerprint()
    assert fit_presence(pooled_features, split, counts, 1, SMALL)[0].fingerprint() != fitted[0].fingerprint()


def test_words_too_rare_to_learn_keep_their_rate(pooled_features, split_of):
    split = split_of(pooled_features)
    counts = scan(pooled_features, split).words
    options = PresenceOptions(members=1, hidden_size=4, epochs=1, min_count=84)
    head, tail = fit_presence(pooled_features, split, counts, 0, options)
    assert set(head.words) == {"a", "runs", "on", "the"}  # of every caption of 42 pictures
    assert head.rare["dog"] == pytest.approx(28.5 / 85) and tail["dog"] == head.rare["dog"]


def test_a_head_learns_from_views_and_is_judged_by_pictures(tmp_path, record, write_features):
    feature, views = np.full(2048, 0.125, np.float16), np.zeros([2, 2048], np.float16)
    seen = record("seen", feature, ("a dog", "a cat"))
    viewed = record("viewed", 2 * feature, ("a dog",))
    object.__setattr__(viewed, "views", views)
    silent = record("silent", feature, ())
    features = write_features(tmp_path, [[seen, viewed, silent]])
    split = make_split(None, None, 3)
    chosen = type(split)(None, frozenset(), 0.0)
    assert chosen.of(seen.sha256, seen.uris) == TRAIN
    with open(tmp_path / "pooled", "w+b") as file:
        found = pool_pictures(features, chosen, ("dog", "cat"), 10, file, 2)
        assert found.first.tolist() == [0, 1, 4]
        assert found.inputs.shape == (4, 1, 2048)
        np.testing.assert_allclose(found.inputs[:, 0, 0], np.log([2, 3, 1, 1]), rtol=1e-3)
        np.testing.assert_array_equal(found.targets(np.arange(2), 2), [[0.5, 0.5], [1, 0]])
        assert found.fold.tolist() == [int(one.sha256[-8:], 16) % 10 for one in (seen, viewed)]
