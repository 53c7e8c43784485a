"""The judge is fitted to validation pictures of which people say what some hypotheses say."""

import re

import numpy as np
import pytest

from training.data.dataset import pictures_of, scan
from training.data.splits import DEV, Split
from training.fitting.confidence import word_weights
from training.fitting.judge import LEAST_PICTURES, fit_judge
from training.fitting.self_critical import CiderReward
from training.models.confidence import content_number
from training.models.phrases import PhraseHead

PICTURES = LEAST_PICTURES + 40  # of some, no hypothesis has an end
WORDS = ("a", "dog", "cat", "hat", "on", "top", "of", "red", "blue", "sea")


@pytest.fixture(scope="module")
def collection(tmp_path_factory, record, write_features):
    """Feature set and split; people always say two words."""
    generator = np.random.default_rng(5)

    def picture(number):
        captions = ("dog sea", "sea dog", "hat dog", "dog hat", "sea hat")
        return record(f"picture-{number}", generator.normal(size=2048).astype(np.float16), captions)

    first, *others = [picture(number) for number in range(PICTURES + 1)]
    features = write_features(tmp_path_factory.mktemp("collection"), [[first, *others]])
    return features, Split(frozenset(first.uris), frozenset(uri for one in others for uri in one.uris), 0.0)


@pytest.fixture(scope="module")
def captioner(tiny_captioner, give_head):
    return give_head(tiny_captioner(words=WORDS, end_bias=6.0), words=("dog", "cat", "hat", "a"))


@pytest.fixture(scope="module")
def phrases(untrained_head):
    return PhraseHead(untrained_head((1, 2048), ("dog", "dog sea"), members=1), np.array([1.0, 2.0], np.float32))


def fit(captioner, collection, phrases, pictures=PICTURES):
    features, split = collection
    reward = CiderReward([[[4, 5, 2]], [[4, 6, 2]], [[7, 8, 2]], [[9, 10, 2]]])
    rarity = word_weights(captioner.presence.words, scan(features, split).words)
    chosen = list(pictures_of(features, split.selects(DEV)))[:pictures]
    return fit_judge(captioner, iter(chosen), reward, rarity, phrases), chosen


def test_it_learns_what_people_prefer_and_is_measured_by_halves(captioner, collection, phrases):
    judge, pictures = fit(captioner, collection, phrases)
    told = judge.report["cross_validated"]
    assert told["likeliest"] < told["chosen"] <= told["best"]
    assert judge.fitted < {content_number(picture.sha256) for picture, _ in pictures}
    assert judge.halves[0] != judge.halves[1] and judge.report["pictures"] == len(judge.fitted)
    assert fit(captioner, collection, phrases)[0].id == judge.id


def test_too_few_pictures_give_no_judge_and_say_so(captioner, collection, phrases, caplog):
    with caplog.at_level("INFO", logger="captionbeam"):
        judge, _ = fit(captioner, collection, phrases, LEAST_PICTURES)
    assert judge is None
    assert re.fullmatch(rf"judge: none, \d+ validation pictures, {LEAST_PICTURES} needed", caplog.messages[-1])
