import math

import numpy as np
import pytest
import tensorflow as tf

from training.decoding.guidance import GuidedModel
from training.models.captioner import load_captioner
from training.models.layers import NoDropout
from training.models.presence import PresenceGraph, head_inputs, load_presence
from training.options import GUIDANCE
from training.text.vocabulary import SPECIALS, START

WORDS = ("a", "dog", "cat", "hat", "on", "top", "of")


@pytest.fixture
def captioner(tiny_captioner, give_head):
    return give_head(tiny_captioner(words=WORDS, end_bias=1.0), words=("cat", "dog", "beach"))


def gains(captioner, features, weight):
    seen = PresenceGraph(captioner.presence)(tf.constant(features))
    return GuidedModel(captioner, weight).guide(None, *seen)[1].numpy()


def test_a_word_gains_by_how_much_likelier_it_is_here_than_in_the_mean_picture(captioner, random_features):
    features = random_features(3)
    head = captioner.presence
    here = np.maximum(head.presence(head_inputs(tf.constant(features)).numpy()), 1e-3)
    mean = np.maximum(head.presence(head.mean_inputs[None]), 1e-3)
    gain = gains(captioner, features, 0.5)
    for word in ("cat", "dog"):
        place = head.words.index(word)
        expected = 0.5 * np.log(here[:, place] / mean[:, place])
        np.testing.assert_allclose(gain[:, SPECIALS + WORDS.index(word)], expected, atol=1e-5)
    others = [id for id in range(SPECIALS + len(WORDS)) if id not in (SPECIALS + 1, SPECIALS + 2)]
    assert not gain[:, others].any()  # marks, and words that the head does not know


def test_absent_is_absent_however_small_its_probability(captioner, random_features):
    head = captioner.presence
    head.output_bias[:] = -30.0
    assert not gains(captioner, random_features(2), 1.0).any()


def test_a_word_that_is_said_gains_no_more_and_may_still_lose(captioner, random_features):
    model = GuidedModel(captioner, 1.0)
    memory = captioner.model.encode(tf.cast(random_features(1), tf.float32), NoDropout())
    dog, cat = SPECIALS + 1, SPECIALS + 2
    gain = np.zeros([1, SPECIALS + len(WORDS)], np.float32)
    gain[0, dog], gain[0, cat] = 2.0, -2.0
    memory = memory, tf.constant(gain)
    (_, first), state = model.step(memory, model.start(memory, 2), tf.constant([[START, START]]))
    (_, after), _ = model.step(memory, state, tf.constant([[dog, cat]]))
    assert first.numpy()[0, :, [dog, cat]].T.tolist() == [[2.0, -2.0], [2.0, -2.0]]
    assert after.numpy()[0, :, [dog, cat]].T.tolist() == [[0.0, -2.0], [2.0, -2.0]]


def test_guidance_brings_the_words_of_the_picture(captioner, random_features, decoder):
    """With a head that sees a dog wherever the first channel is lit, and a weight that leaves no doubt."""
    head = captioner.presence
    for array in (head.hidden_kernel, head.output_kernel, head.mean_inputs):
        array[:] = 0.0
    head.hidden_kernel[0], head.output_kernel[..., head.words.index("dog")] = 1.0, 9.0
    head.output_bias[:] = -6.0
    features = np.abs(random_features(4))
    features[:, 0] = [9, 0, 9, 0]
    told = decoder(captioner, batch_size=4, guidance=5.0, min_words=3).decode(features)
    alone = decoder(captioner, batch_size=4, guidance=0.0, min_words=3).decode(features)
    dogs = [one.caption.split().count("dog") for one in told]
    assert dogs[0] >= 1 and dogs[2] >= 1
    assert [told[number].caption for number in (1, 3)] == [alone[number].caption for number in (1, 3)]
    assert sum(dogs) > sum(one.caption.split().count("dog") for one in alone)


def test_without_weight_or_head_captions_are_the_models_own(tiny_captioner, captioner, random_features, decoder):
    bare = tiny_captioner(words=WORDS, end_bias=1.0)
    features = random_features(4)
    unguided, plain = decoder(captioner, guidance=0.0), decoder(bare)
    assert [one.caption for one in unguided.decode(features)] == [one.caption for one in plain.decode(features)]


def test_an_ensemble_is_guided_by_the_mean_of_its_heads(tiny_captioner, give_head, random_features):
    first, second = (give_head(tiny_captioner(words=WORDS), words=("cat", "dog")) for _ in range(2))
    second.presence.output_bias[:] = 1.0
    second.presence.save(second.path, {})
    other = give_head(tiny_captioner(words=WORDS), words=("cat", "hat"))
    together = load_captioner(",".join(one.path for one in (first, second, other)))
    inputs = head_inputs(tf.constant(random_features(3))).numpy()
    heads = load_presence(first.path), load_presence(second.path)
    expected = np.mean([head.presence(inputs) for head in heads], axis=0)
    np.testing.assert_allclose(together.presence.presence(inputs), expected, atol=1e-6)
    assert together.presence.words == ("cat", "dog")
    assert math.isfinite(gains(together, random_features(3), GUIDANCE).sum())
