from pathlib import Path

import numpy as np
import pytest

from training.data.dataset import pictures_of, scan
from training.data.splits import DEV, TRAIN, make_split
from training.fitting.presence import PooledPictures, fit_presence, pool_pictures
from training.models.caption_models import build_model
from training.models.model_config import ModelConfig
from training.models.presence import head_inputs
from training.options import PresenceOptions

MODEL = build_model(ModelConfig("merge", 10, embedding_size=4, hidden_size=8), (2048,))
SMALL = PresenceOptions(members=2, hidden_size=32, epochs=30, batch_size=8, folds=4, learning_rate=1e-2, min_count=2)


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
    return fit_presence(pooled_features, split, scan(pooled_features, split).words, MODEL, 0, SMALL)


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
    assert fit_presence(pooled_features, split, counts, MODEL, 0, SMALL)[0].fingerprint() == fitted[0].fingerprint()
    assert fit_presence(pooled_features, split, counts, MODEL, 1, SMALL)[0].fingerprint() != fitted[0].fingerprint()


def test_words_too_rare_to_learn_keep_their_rate(pooled_features, split_of):
    split = split_of(pooled_features)
    counts = scan(pooled_features, split).words
    options = PresenceOptions(members=1, hidden_size=4, epochs=1, min_count=84)
    head, tail = fit_presence(pooled_features, split, counts, MODEL, 0, options)
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
        found = pool_pictures(features, chosen, ("dog", "cat"), MODEL, 10, file, 2)
        assert found.first.tolist() == [0, 1, 4]
        assert found.inputs.shape == (4, 1, 2048)
        np.testing.assert_allclose(found.inputs[:, 0, 0], np.log([2, 3, 1, 1]), rtol=1e-3)
        np.testing.assert_array_equal(found.targets(np.arange(2), 2), [[0.5, 0.5], [1, 0]])
        assert found.fold.tolist() == [int(one.sha256[-8:], 16) % 10 for one in (seen, viewed)]
