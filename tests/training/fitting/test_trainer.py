import numpy as np
import pytest
import tensorflow as tf

from training.fitting.trainer import LearningRate, TailRate, Trainer
from training.models.caption_models import ModelConfig, build_model
from training.models.operations import Operation
from training.options import TrainOptions
from training.text.vocabulary import END

IDS = tf.constant([[[4, 5, END], [5, END, 0]], [[6, END, 0], [0, 0, 0]]], tf.int32)


@pytest.fixture
def trainer():
    return new_trainer()


def new_trainer(seed=0):
    options = TrainOptions("features", "out", learning_rate=1e-2, seed=seed, max_words=3, averaging=0.5)
    model = build_model(ModelConfig("merge", 8, embedding_size=6, hidden_size=16), (2048,))
    return Trainer(model, (2048,), options, steps=40, second_steps=10)


@pytest.fixture(scope="module")
def features():
    return tf.constant(np.random.default_rng(3).normal(size=(2, 2048)), tf.float16)


def weights(trainer):
    return [variable.numpy() for variable in trainer.variables]


def test_the_rate_warms_up_falls_to_zero_and_falls_again_in_the_second_stage():
    rate = LearningRate(1.0, steps=100, second=0.5, second_steps=10)
    found = [float(rate(step)) for step in (0, 5, 10, 55, 99, 100, 105, 110)]
    np.testing.assert_allclose(found, [0.01, 0.505, 1.0, 0.5, 0.0, 0.5, 0.25, 0.0], atol=2e-3)


def test_steps_make_the_loss_smaller(trainer, features):
    losses = [float(trainer.step(features, IDS)) for _ in range(40)]
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.3 and trainer.steps_done() == 40


def test_the_seed_decides_what_a_step_does(features):
    for seeds, same in (((1, 1), True), ((1, 2), False)):
        trainers = [new_trainer(seed) for seed in seeds]
        for trainer in trainers:
            trainer.step(features, IDS)
        one, other = map(weights, trainers)
        assert all(map(np.array_equal, one, other)) is same


def test_the_average_follows_the_weights_and_takes_their_place_in_its_context(trainer, features):
    averages = weights(trainer)
    for done in range(3):
        trainer.step(features, IDS)
        keep = min(0.5, (1 + done) / (10 + done))
        averages = [keep * old + (1 - keep) * new for old, new in zip(averages, weights(trainer), strict=True)]
    before = weights(trainer)
    with trainer.averaged_weights():
        for one, expected in zip(weights(trainer), averages, strict=True):
            np.testing.assert_allclose(one, expected, atol=1e-6)
    assert all(map(np.array_equal, weights(trainer), before))
    with pytest.raises(ValueError), trainer.averaged_weights():
        raise ValueError
    assert all(map(np.array_equal, weights(trainer), before))


@pytest.mark.parametrize(("learns", "warm_up"), [(True, 0.0), (True, 0.05), (False, 0.0)])
def test_a_tail_learns_after_the_decoder_has_warmed_up_or_not_at_all(learns, warm_up):
    tail = (Operation("convolution", (0,), channels=4),)
    model = build_model(ModelConfig("merge", 8, embedding_size=6, hidden_size=16, tail=tail), (16, 6))
    model.tail.set_arrays({"kernel_1": np.ones([1, 1, 6, 4]), "bias_1": np.ones(4)})
    model.tail.trainable = learns
    options = TrainOptions("features", "out", learning_rate=1e-2, max_words=3, tail_warm_up=warm_up)
    trainer = Trainer(model, (16, 6), options, steps=40)
    changed = []
    for _ in range(3):
        trainer.step(tf.ones([2, 16, 6], tf.float16), IDS)
        changed.append(bool(np.any(model.tail.arrays["kernel_1"].numpy() != 1)))
    assert changed == [learns and not warm_up, learns and not warm_up, learns]
    assert (trainer.word_loss is not None) is learns


def test_the_rate_of_the_tail_falls_to_zero_after_its_warm_up():
    rate = TailRate(1.0, warm_up=20, steps=100)
    np.testing.assert_allclose(
        [float(rate(step)) for step in (0, 19, 20, 60, 100, 105)], [0, 0, 1, 0.5, 0, 0], atol=1e-6
    )


def test_the_second_stage_begins_from_the_present_weights(trainer, features):
    trainer.step(features, IDS)
    trainer.begin_second_stage()
    assert trainer.steps_done() == 40
    assert all(map(np.array_equal, weights(trainer), [average.numpy() for average in trainer.averages]))
