"""Phrases of captions, and how well they agree with those that people likely use."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.errors import UserError
from training.models.phrases import ORDERS, PhraseAgreement, PhraseHead, load_phrases, phrases_of
from training.own_names import JUDGE_ARRAYS
from training.text.vocabulary import END, PAD, SPECIALS, Vocabulary

VOCABULARY = Vocabulary(("dog", "sea", "hat", "runs"))
PHRASES = ("dog", "sea", ".", "dog sea", "sea .", "dog sea .", "sea dog sea .")
RARITY = np.linspace(1.0, 4.0, len(PHRASES)).astype(np.float32)


@pytest.fixture(scope="module")
def head(untrained_head):
    return PhraseHead(untrained_head((1, 4), PHRASES, members=1), RARITY)


def test_phrases_have_up_to_four_words_and_only_words_of_the_vocabulary():
    found = ", ".join(phrases_of(["dog", "sea", "hat", "runs"], VOCABULARY))
    assert found == (
        "dog, dog sea, dog sea hat, dog sea hat runs, sea, sea hat, sea hat runs, sea hat runs ., "
        "hat, hat runs, hat runs ., runs, runs ., ."
    )
    assert list(phrases_of(["dog", "zebra", "sea"], VOCABULARY)) == ["dog", "sea", "sea .", "."]


def cosine(caption, presence):
    """The same as PhraseAgreement of one caption, counted one phrase after the other."""
    place = {phrase: number for number, phrase in enumerate(PHRASES)}
    total = 0.0
    for order in range(1, ORDERS + 1):
        counts = Counter(phrase for phrase in phrases_of(caption, VOCABULARY) if len(phrase.split()) == order)
        its = [number for phrase, number in place.items() if len(phrase.split()) == order]
        rarity = {phrase: float(RARITY[place[phrase]]) if phrase in place else 4.0 for phrase in counts}
        length = math.sqrt(sum(count * rarity[phrase] ** 2 for phrase, count in counts.items()))
        picture = math.sqrt(sum((presence[number] * float(RARITY[number])) ** 2 for number in its))
        matched = sum(rarity[phrase] ** 2 * presence[place[phrase]] for phrase in counts if phrase in place)
        total += matched / max(length * picture, 1e-12)
    return total / ORDERS


captions = st.lists(st.lists(st.sampled_from(VOCABULARY.words), max_size=6), min_size=1, max_size=4)


@given(captions, st.lists(st.floats(0, 1, width=32), min_size=len(PHRASES), max_size=len(PHRASES)))
def test_agreement_is_a_cosine_for_each_length_of_phrases(head, each, presence):
    rows = [[*VOCABULARY.encode(caption), END] + [PAD] * (6 - len(caption)) for caption in each]
    found = PhraseAgreement(head, VOCABULARY)(np.array([rows], np.int32), np.array([presence], np.float32))
    assert found[0] == pytest.approx([cosine(caption, presence) for caption in each], rel=1e-6, abs=1e-9)


def test_agreement_depends_on_no_other_picture(head):
    generator = np.random.default_rng(2)
    ids = generator.choice([PAD, END, *range(SPECIALS, SPECIALS + 4)], size=(32, 3, 7)).astype(np.int32)
    presence = generator.random([32, len(PHRASES)], np.float32)
    agreement = PhraseAgreement(head, VOCABULARY)
    alone = [agreement(ids[row : row + 1], presence[row : row + 1])[0] for row in range(32)]
    np.testing.assert_array_equal(agreement(ids, presence), alone)


def test_a_phrase_of_other_words_matches_nothing(head):
    edited = replace(head, head=replace(head.head, words=("zebra", *PHRASES[1:])))
    ids = np.array([[[SPECIALS, SPECIALS + 1, END]]], np.int32)
    presence = np.ones([1, len(PHRASES)], np.float32)
    assert 0 < PhraseAgreement(edited, VOCABULARY)(ids, presence) < PhraseAgreement(head, VOCABULARY)(ids, presence)


def test_captions_may_be_shorter_than_phrases(head):
    ids = np.array([[[SPECIALS, END]]], np.int32)
    presence = np.ones([1, len(PHRASES)], np.float32)
    assert 0 < PhraseAgreement(head, VOCABULARY)(ids, presence)[0, 0] < 1


def test_a_head_is_read_as_it_was_written_and_damage_is_told(head, tmp_path):
    sha256 = head.save(str(tmp_path))
    found = load_phrases(str(tmp_path), PHRASES, sha256, "train again")
    assert found.fingerprint() == head.fingerprint() and found.phrases == PHRASES
    with pytest.raises(UserError, match=rf"{JUDGE_ARRAYS}: damaged \(does not fit 1 phrase\); train again"):
        load_phrases(str(tmp_path), PHRASES[:1], sha256, "train again")
    (tmp_path / JUDGE_ARRAYS).write_bytes(b"nothing")
    with pytest.raises(UserError, match="changed since it was written"):
        load_phrases(str(tmp_path), PHRASES, sha256, "train again")
