import numpy as np
import pytest
import tensorflow as tf

from training.decoding.picture_words import WordKnowledge, count_expected
from training.text.vocabulary import END, PAD, START

DOG, CAT = 4, 5


def test_expected_counts_follow_what_could_have_been_said():
    """After the start a dog with 3/4 or a cat; after either the end with 1/2, else the same again."""
    after = {START: {DOG: 0.75, CAT: 0.25}, DOG: {END: 0.5, DOG: 0.5}, CAT: {END: 0.5, CAT: 0.5}}
    table = np.zeros([6, 6], np.float32)
    for word, following in after.items():
        table[word, list(following)] = list(following.values())
    said = np.array([[[START, DOG, END, PAD]], [[START, CAT, CAT, END]]], np.int32)
    counts = tf.zeros([2, 1, 6])
    for place in range(4):
        ids = said[..., place]
        counts = count_expected(counts, tf.constant(ids), tf.gather(table, ids))
    np.testing.assert_allclose(counts[0, 0].numpy()[[END, DOG, CAT]], [0.5, 1.25, 0.25], atol=1e-6)
    np.testing.assert_allclose(counts[1, 0].numpy()[[END, DOG, CAT]], [1.0, 0.75, 1.25], atol=1e-6)


WORDS = ("a", "dog", "cat", "runs")


def test_a_captioner_without_a_head_knows_what_it_expects(tiny_captioner, random_features, decoder):
    captioner = tiny_captioner(words=WORDS, end_bias=2.0)
    knowing = decoder(captioner, batch_size=4, evidence=True)
    (_, arrays), (_, last) = knowing.decode_batches(random_features(5))
    assert arrays.words == WORDS and arrays.kinds == ("expected",)
    assert arrays.expected.shape == (4, 4) and last.expected.shape == (1, 4)
    assert arrays.expected.min() >= 0 and arrays.expected.max() > 0
    # Captions come with no evidence then, and are the same as without it.
    plain = decoder(captioner, batch_size=4).decode(random_features(5))
    for one, bare in zip(knowing.decode(random_features(5)), plain, strict=True):
        assert one.evidence is None and one.caption == bare.caption
        assert one.score == pytest.approx(bare.score, abs=1e-5)


def test_evidence_does_not_depend_on_the_batch(tiny_captioner, give_head, random_features, decoder):
    captioner = give_head(tiny_captioner(words=WORDS, end_bias=2.0))
    features = np.abs(random_features(5))
    together = decoder(captioner, batch_size=4, evidence=True).decode(features)
    alone = [decoder(captioner, batch_size=4, evidence=True).decode(one[None])[0] for one in features]
    assert [(one.caption, one.score, one.evidence.words) for one in together] == [
        (one.caption, one.score, one.evidence.words) for one in alone
    ]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one.evidence.values, other.evidence.values)


def test_evidence_covers_what_is_said_and_what_is_likely(tiny_captioner, give_head, random_features, decoder):
    captioner = give_head(tiny_captioner(words=WORDS, end_bias=2.0), rare={"runs": 0.25, "yak": 1e-4})
    features = np.abs(random_features(3))
    asked = decoder(captioner, batch_size=4, evidence=True)
    (hypotheses, arrays), *_ = asked.decode_batches(features)
    assert arrays.words == ("dog", "cat", "beach", "t-shirt", "a", "runs")
    for row, one in enumerate(asked.decode(features)):
        assert one.caption == hypotheses[row].caption
        assert one.evidence.kinds == ("expected", "presence", "grounding")
        assert {"runs", *one.caption.split()} <= set(one.evidence.words)
        assert one.evidence.words == tuple(sorted(one.evidence.words))
        for word, known in zip(one.evidence.words, one.evidence.values, strict=True):
            place = arrays.words.index(word)
            assert tuple(known) == tuple(getattr(arrays, kind)[row, place] for kind in one.evidence.kinds)
        # "runs" was too rare to be learnt: the same in every picture. "beach" is in no caption.
        assert tuple(one.evidence.values[one.evidence.words.index("runs"), 1:]) == (0.25, 0.0)
        assert arrays.expected[row, 2] == 0.0


def test_only_whole_words_are_known(tiny_captioner):
    knowledge = WordKnowledge(tiny_captioner(words=("dog", "'s", ",", "n't", "t-shirt")))
    assert knowledge.words == ("dog", "t-shirt")


def test_likely_words_are_kept_above_the_floor(tiny_captioner):
    knowledge = WordKnowledge(tiny_captioner(words=("dog", "cat", "hat")))
    expected = np.zeros([1, 7], np.float32)
    expected[0, 4:] = [0.02, 0.002, 0.003]
    evidence = knowledge.evidence(knowledge.arrays(expected, ()), 0, "a hat")
    assert evidence.words == ("dog", "hat")
    np.testing.assert_allclose(evidence.values, [[0.02], [0.003]], rtol=1e-6)


def test_the_decoder_expects_what_it_expects_with_and_without_guidance(
    tiny_captioner, give_head, random_features, decoder
):
    captioner = give_head(tiny_captioner(words=WORDS, end_bias=2.0))
    features = np.abs(random_features(4))
    alone, guided = (
        next(decoder(captioner, batch_size=4, evidence=True, guidance=weight).decode_batches(features))
        for weight in (0.0, 0.1)
    )
    same = [row for row in range(4) if alone[0][row].caption == guided[0][row].caption]
    assert same  # one more draw after other words would be another count
    np.testing.assert_allclose(alone[1].expected[same], guided[1].expected[same], rtol=1e-5)
