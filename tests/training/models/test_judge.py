"""The judge: signals of hypotheses, their ranking, and the file."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.errors import UserError
from training.models.confidence import Confidence, content_number
from training.models.familiarity import Familiarity
from training.models.judge import SIGNALS, Judge, JudgedWords, load_judge, remove_judge
from training.models.phrases import PhraseHead
from training.models.presence import joined_heads
from training.own_names import JUDGE
from training.text.vocabulary import END, PAD, SPECIALS

WORDS = ("dog", "sea", "hat")  # of the head, in the order of the vocabulary's first words
RARITY = np.array([1.0, 2.0, 3.0])
DOG, SEA, HAT, OTHER = range(SPECIALS, SPECIALS + 4)  # the head does not know the last one
PLACES = np.array([3] * SPECIALS + [0, 1, 2, 3], np.int32)
FITTED, NEW = "aa" * 32, "bb" * 32  # sha256, both of the first half


def hypotheses(*captions, length=5):
    """Captions as ids -> ids of one picture, int32 [1, K, T]."""
    rows = [[*caption, END, *[PAD] * (length - 1 - len(caption))] for caption in captions]
    return np.array([rows], np.int32)


def signals(*captions, presence=(0.9, 0.1, 0.5), length=5):
    """Signals of hypotheses of one picture by name: float64 [K] each."""
    ids = hypotheses(*captions, length=length)
    scores = np.full(ids.shape[:2], -1.0, np.float32)
    words = JudgedWords(PLACES, RARITY, lambda ids, phrases: np.full(ids.shape[:2], phrases[0, 0]))
    found = words.signals(ids, scores, np.array([presence], np.float32), np.array([[0.25]], np.float32))
    assert (found[..., SIGNALS.index("phrases")] == 0.25).all()
    assert found.shape == (1, len(captions), len(SIGNALS)) and np.isfinite(found).all()
    return dict(zip(SIGNALS, found[0].T, strict=True))


@pytest.fixture
def judge(untrained_head):
    """Prefers long captions; of the halves, one prefers short ones."""
    weights = tuple(float(name == "words") for name in SIGNALS)
    shorter = tuple(-weight for weight in weights)
    phrases = PhraseHead(untrained_head((1, 4), ("dog", "dog ."), members=1), np.array([1.0, 2.0], np.float32))
    contents = frozenset([content_number(FITTED)])
    return Judge(weights, (weights, shorter), contents, (1.0, 2.0, 3.0), phrases, {"pictures": 1})


def test_agreement_and_coverage_are_those_of_the_confidence():
    captions = {"dog": [DOG], "dog sea": [DOG, SEA], "hat hat": [HAT, HAT], "other": [OTHER]}
    found = signals(*captions.values())
    confidence = Confidence(
        WORDS, RARITY.astype(np.float32), np.zeros(0), np.zeros(0), Familiarity(np.zeros(1), np.eye(1), 1.0)
    )
    (picture,) = confidence.picture_signals(np.array([[0.9, 0.1, 0.5]], np.float32), np.zeros([1, 1], np.float32))
    for place, caption in enumerate(captions):
        score, agreement, coverage, _ = confidence.signals(picture, caption, -1.0)
        told = (found["score"][place], found["agreement"][place], found["coverage"][place])
        assert told == pytest.approx((score, agreement, coverage), abs=1e-6), caption


def test_signals_tell_what_a_caption_says_and_leaves_unsaid():
    found = signals([DOG, OTHER], [DOG, DOG, SEA], [OTHER])
    assert found["words"].tolist() == [2, 3, 1]
    np.testing.assert_allclose(found["presence"], [np.log(0.9), (np.log(0.9) + np.log(0.1)) / 2, 0], rtol=1e-5)
    np.testing.assert_allclose(found["least_presence"], [np.log(0.9), np.log(0.1), 0], rtol=1e-5)
    np.testing.assert_allclose(found["unsaid"], [0.1 * 2 + 0.5 * 3, 0.5 * 3, 0.9 + 0.1 * 2 + 0.5 * 3], rtol=1e-5)
    assert found["repeated"].tolist() == [0, 1, 0]


def test_consensus_is_the_share_of_n_grams_that_other_hypotheses_have():
    found = signals([DOG, SEA, HAT], [DOG, SEA, HAT], [OTHER])["consensus"]
    assert found[0] == found[1] == pytest.approx((1 + 1 / 4 + 1 + 0 + 1 + 0 + 1 + 0) / 8)
    assert found[2] == pytest.approx((1 / 2 + 1 / 2) / 8)  # the end mark is a word of all
    assert signals([DOG])["consensus"].tolist() == [0]


@given(st.lists(st.lists(st.sampled_from([DOG, SEA, HAT, OTHER]), min_size=1, max_size=5), min_size=2, max_size=4))
def test_signals_of_a_hypothesis_depend_on_no_padding_and_on_no_order(captions):
    found, longer = signals(*captions, length=6), signals(*captions, length=9)
    turned = signals(*captions[::-1], length=6)
    for name in SIGNALS:
        np.testing.assert_allclose(longer[name], found[name], rtol=1e-9, atol=1e-12, err_msg=name)
        np.testing.assert_allclose(turned[name][::-1], found[name], rtol=1e-9, atol=1e-12, err_msg=name)


def test_the_better_hypothesis_comes_first_and_the_likelier_one_among_equals(judge):
    values = np.zeros([3, len(SIGNALS)])
    values[:, SIGNALS.index("words")] = [3, 5, 3]
    assert judge.rank(values).tolist() == judge.rank(values, NEW).tolist() == [1, 0, 2]


def test_a_picture_that_it_was_fitted_to_is_judged_by_the_other_half(judge):
    values = np.zeros([2, len(SIGNALS)])
    values[:, SIGNALS.index("words")] = [3, 5]
    assert judge.rank(values, FITTED).tolist() == [0, 1]
    turned = replace(judge, halves=judge.halves[::-1])
    assert turned.rank(values, FITTED).tolist() == [1, 0]
    assert turned.id != judge.id


def test_an_ensemble_is_judged_by_the_mean_of_its_judges(judge):
    members = joined_heads([judge.phrases.head] * 2)
    other = replace(judge, weights=(1.0,) * len(SIGNALS), fitted=frozenset([7]))
    joined = judge.joined([other])
    assert joined.weights[SIGNALS.index("words")] == 1 and joined.weights[SIGNALS.index("score")] == 0.5
    assert joined.fitted == judge.fitted | {7} and joined.id not in (judge.id, other.id)
    assert joined.phrases.head.fingerprint() == members.fingerprint()


def test_a_judge_is_read_as_it_was_written_and_for_its_captioner_only(judge, tmp_path):
    judge.save(str(tmp_path), "model")
    found = load_judge(str(tmp_path), 3, "model")
    assert found == judge and found.id == judge.id
    assert load_judge(str(tmp_path), 3, "another model") is None
    remove_judge(str(tmp_path))
    assert load_judge(str(tmp_path), 3, "model") is None


def test_a_judge_of_an_earlier_version_does_not_count(judge, tmp_path, edit_document):
    judge.save(str(tmp_path), "model")
    edit_document(tmp_path / JUDGE, schema_version=1, phrases=None, arrays_sha256=None)
    assert load_judge(str(tmp_path), 3, "model") is None


@pytest.mark.parametrize(
    "change",
    [
        {"signals": ["score"]},
        {"weights": [1.0]},
        {"halves": [[1.0], [1.0]]},
        {"rarity": [1.0]},
        {"fitted": [-1]},
        {"phrases": ["dog"]},
        {"arrays_sha256": "aa" * 32},
        {"weights": None},
        {"weights": ["1"] * len(SIGNALS)},
    ],
)
def test_a_damaged_judge_is_told(judge, tmp_path, change, edit_document):
    judge.save(str(tmp_path), "model")
    edit_document(tmp_path / JUDGE, **change)
    with pytest.raises(UserError, match=r"judge.(json|npz): .*; run the same train command again, which makes it anew"):
        load_judge(str(tmp_path), 3, "model")
