from pathlib import Path

import pytest

from training.data.dataset import pictures_of, scan
from training.data.splits import DEV, make_split
from training.fitting.phrases import fit_phrases
from training.fitting.pooled_pictures import pooled_pictures
from training.fitting.presence import fit_presence
from training.models.caption_models import build_model
from training.models.model_config import ModelConfig
from training.models.presence import head_inputs
from training.options import PresenceOptions
from training.text.vocabulary import Vocabulary

MODEL = build_model(ModelConfig("merge", 10, embedding_size=4, hidden_size=8), (2048,))
SMALL = PresenceOptions(members=2, hidden_size=32, epochs=30, batch_size=8, folds=4, learning_rate=1e-2, min_count=2)


@pytest.fixture(scope="module")
def split_of():
    """Function (feature set of scenes) -> its split."""

    def split(features):
        directory = Path(features.path)
        return make_split(str(directory / "train.txt"), str(directory / "dev.txt"), features.records)

    return split


@pytest.fixture(scope="module")
def training(pooled_features, split_of):
    """The pooled training pictures, and the words of their captions."""
    split = split_of(pooled_features)
    with pooled_pictures(pooled_features, split, MODEL) as pictures:
        yield pictures, scan(pooled_features, split).words


@pytest.fixture(scope="module")
def fitted(training):
    return fit_presence(*training, 0, SMALL)


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


def test_the_same_seed_gives_the_same_head(training, fitted):
    assert fit_presence(*training, 0, SMALL)[0].fingerprint() == fitted[0].fingerprint()
    assert fit_presence(*training, 1, SMALL)[0].fingerprint() != fitted[0].fingerprint()


def test_words_too_rare_to_learn_keep_their_rate(training):
    options = PresenceOptions(members=1, hidden_size=4, epochs=1, min_count=84)
    head, tail = fit_presence(*training, 0, options)
    assert set(head.words) == {"a", "runs", "on", "the"}  # of every caption of 42 pictures
    assert head.rare["dog"] == pytest.approx(28.5 / 85) and tail["dog"] == head.rare["dog"]


def test_phrases_are_learnt_as_words_are(training, pooled_features, split_of):
    words = ("a", "runs", "on", "the", "dog", "cat", "horse", "beach")
    options = PresenceOptions(hidden_size=32, epochs=30, batch_size=8, learning_rate=1e-2)
    phrases = fit_phrases(training[0], Vocabulary(words), 8, 0, options)
    assert {"a", ".", "a dog", "a dog runs", "on the beach .", "beach ."} <= set(phrases.phrases)
    assert not any("street" in phrase for phrase in phrases.phrases)  # not in the vocabulary
    place = {phrase: number for number, phrase in enumerate(phrases.phrases)}
    assert phrases.rarity[place["a"]] == 0 < phrases.rarity[place["a dog"]]
    assert len(phrases.head.output_kernel) == 1
    split = split_of(pooled_features)
    dev = list(pictures_of(pooled_features, lambda *content: split.of(*content) == DEV))
    assert len(dev) == 6
    for picture, feature in dev:
        presence = phrases.head.presence(head_inputs(feature[None]).numpy())[0]
        likeliest = max(("a dog runs", "a cat runs", "a horse runs"), key=lambda phrase: presence[place[phrase]])
        assert likeliest in picture.captions[0]
    again = fit_phrases(training[0], Vocabulary(words), 8, 0, options)
    assert again.fingerprint() == phrases.fingerprint()
