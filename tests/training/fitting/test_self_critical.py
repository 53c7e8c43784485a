import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocoevalcap.cider.cider import Cider

from training.fitting.self_critical import CiderReward, advantages, policy_loss, sample_captions
from training.models.caption_models import ModelConfig, build_model
from training.models.layers import NoDropout
from training.text.vocabulary import END, PAD, SPECIALS, START, UNKNOWN

WORDS = SPECIALS + 5
caption = st.lists(st.integers(SPECIALS, WORDS - 1), min_size=1, max_size=9)


@pytest.fixture(scope="module")
def model():
    return build_model(ModelConfig("merge", WORDS, embedding_size=6, hidden_size=16), (2048,))


@pytest.fixture(scope="module")
def features():
    return tf.constant(np.random.default_rng(3).normal(size=(2, 2048)), tf.float16)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(caption, st.lists(caption, min_size=1, max_size=3)), min_size=2, max_size=5),
)
def test_reward_is_the_cider_that_captions_are_scored_with(pictures):
    reward = CiderReward(references for _, references in pictures)
    spelt = lambda ids: " ".join(f"w{number}" for number in ids)  # noqa: E731
    truths = {number: [spelt(one) for one in references] for number, (_, references) in enumerate(pictures)}
    hypotheses = {number: [spelt(said)] for number, (said, _) in enumerate(pictures)}
    _, expected = Cider().compute_score(truths, hypotheses)
    found = [reward.of([said], references)[0] for said, references in pictures]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_reward_is_highest_for_what_people_wrote_and_nothing_for_what_nobody_did():
    documents = [[[4, 5, 6, END], [4, 5, 7, END]], [[8, 5, END]]]
    reward = CiderReward(documents)
    same, part, other = reward.of([[4, 5, 6, END], [4, 6, END], [7, 7, 7]], documents[0][:1])
    assert same == pytest.approx(10 * 1.0) and 0 < part < same and other == 0


def test_advantage_is_the_distance_to_the_other_samples():
    reward = CiderReward([[[4, 5, END]], [[6, 7, END]]])
    sampled = np.array([[[4, 5, END], [6, 7, END], [4, 5, END]]], np.int32)
    references = np.array([[[4, 5, END, PAD], [PAD] * 4]], np.int32)
    advantage, mean = advantages(reward, sampled, references)
    right, wrong = reward.of([[4, 5, END], [6, 7, END]], [[4, 5, END]])
    assert mean == pytest.approx((2 * right + wrong) / 3)
    np.testing.assert_allclose(advantage[0], [(right - wrong) / 2, wrong - right, (right - wrong) / 2], rtol=1e-5)
    assert abs(advantage.sum()) < 1e-5


def test_samples_come_as_often_as_the_model_says(model, features):
    draws = sample_captions(model, features, 4000, 3, tf.constant([1, 2])).numpy()
    assert draws.shape == (2, 4000, 3)
    assert not np.isin(draws, [START, UNKNOWN]).any() and (draws[..., 0] >= SPECIALS).all()
    memory = model.encode(tf.cast(features, tf.float32), NoDropout())
    pre_logits, _ = model.step(memory, model.start(memory, 1), tf.fill([2, 1], START))
    logits = model.logits(pre_logits).numpy()[:, 0, SPECIALS:].astype(np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for picture in range(2):
        share = np.bincount(draws[picture, :, 0], minlength=WORDS)[SPECIALS:] / 4000
        np.testing.assert_allclose(share, expected[picture], atol=0.035)


def test_after_the_end_mark_comes_padding_alone_and_a_seed_gives_one_draw(model, features):
    draws = sample_captions(model, features, 50, 8, tf.constant([1, 2])).numpy()
    ended = np.cumsum(draws == END, axis=2) - (draws == END) > 0
    assert ended.any() and (draws[ended] == PAD).all() and (draws[~ended] != PAD).all()
    np.testing.assert_array_equal(draws, sample_captions(model, features, 50, 8, tf.constant([1, 2])))
    assert not np.array_equal(draws, sample_captions(model, features, 50, 8, tf.constant([1, 3])))


def test_a_step_down_the_loss_makes_rewarded_captions_likelier(model, features):
    sampled = tf.constant([[[4, 5, END], [6, END, PAD]]] * 2, tf.int32)
    advantage = tf.constant([[1.0, -1.0]] * 2)

    def likelihood(sign):
        return -float(policy_loss(model, features, sampled, tf.constant([sign] * 2), NoDropout()))

    before = likelihood([1.0, 0.0]), likelihood([0.0, 1.0])
    with tf.GradientTape() as tape:
        loss = policy_loss(model, features, sampled, advantage, NoDropout())
    variables = model.trainable_variables
    kept = [variable.numpy() for variable in variables]
    for variable, gradient in zip(variables, tape.gradient(loss, [one.value for one in variables]), strict=True):
        if gradient is not None:
            variable.assign_sub(0.05 * tf.convert_to_tensor(gradient))
    after = likelihood([1.0, 0.0]), likelihood([0.0, 1.0])
    for variable, value in zip(variables, kept, strict=True):
        variable.assign(value)
    assert after[0] - after[1] > before[0] - before[1] + 0.1
