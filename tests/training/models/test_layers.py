import numpy as np
import pytest
import tensorflow as tf
from keras.random import SeedGenerator

from training.models.layers import Lstm, StatelessDropout

STEPS, SIZE = 4, 5


@pytest.fixture(scope="module")
def lstm():
    layer = Lstm(3, SIZE, SeedGenerator(0), name="lstm")
    layer.build(None)
    return layer


def step_by_step(lstm, gates, lengths, hidden, cell):
    """What `Lstm.run` promises, one caption and one word at a time, with TensorFlow's own gradients."""
    rows = []
    for row, length in enumerate(lengths):
        states, now, memory = [], hidden[row : row + 1], cell[row : row + 1]
        for t in range(STEPS):
            if t < length:
                now, memory = lstm(gates[row : row + 1, t], now, memory)
                states.append(now)
            else:
                states.append(tf.zeros_like(now))
        rows.append(tf.stack(states, axis=1))
    return tf.concat(rows, axis=0)


@pytest.mark.parametrize("lengths", [[2, 4, 0, 1, 4], [4, 4, 4, 4, 4], [0, 0, 0, 0, 0], [1, 1, 3, 3, 2]])
def test_a_packed_run_and_its_gradients_are_those_of_single_steps(lstm, lengths):
    generator = np.random.default_rng(len(lengths) + sum(lengths))
    draw = lambda *shape: tf.constant(generator.normal(size=shape), tf.float32)  # noqa: E731
    inputs = draw(5, STEPS, 4 * SIZE), draw(5, SIZE), draw(5, SIZE)
    weights = draw(5, STEPS, SIZE)
    found = []
    for run in (lambda *given: lstm.run(given[0], tf.constant(lengths), *given[1:]), None):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            gates, hidden, cell = inputs
            states = run(*inputs) if run else step_by_step(lstm, gates, lengths, hidden, cell)
            total = tf.reduce_sum(states * weights)
        gradients = tape.gradient(total, [*inputs, lstm.recurrent.value], unconnected_gradients="zero")
        found.append([states, *(tf.convert_to_tensor(gradient) for gradient in gradients)])
    assert any(lengths) == bool(np.abs(found[0][-1]).max() > 0.01)
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_caption_does_not_depend_on_those_beside_it(lstm):
    generator = np.random.default_rng(0)
    gates = tf.constant(generator.normal(size=(6, STEPS, 4 * SIZE)), tf.float32)
    lengths, first = tf.constant([3, 1, 4, 2, 4, 3]), tf.zeros([6, SIZE])
    together = lstm.run(gates, lengths, first, first).numpy()
    for row in range(6):
        alone = lstm.run(gates[row : row + 1], lengths[row : row + 1], first[:1], first[:1]).numpy()
        np.testing.assert_allclose(together[row], alone[0], atol=1e-6)
        assert (together[row, int(lengths[row]) :] == 0).all()


@pytest.mark.parametrize("axis", [1, 2])
def test_values_along_an_axis_share_their_fate(axis):
    dropped = StatelessDropout(tf.constant([0, 1])).drop(tf.ones([3, 40, 50]), 0.5, shared_axis=axis).numpy()
    assert (dropped == dropped.take([0], axis=axis)).all()
    assert sorted(set(dropped.ravel().tolist())) == [0.0, 2.0]
    assert 0.3 < (dropped > 0).mean() < 0.7


def test_values_that_are_dropped_together_share_one_mask():
    values = tf.ones([5, 40, 8])
    dropped = StatelessDropout(tf.constant([1, 2])).drop(values, 0.25, shared_axis=2).numpy()
    kept = dropped[..., :1] != 0
    np.testing.assert_allclose(dropped, np.where(kept, 1 / 0.75, 0) * np.ones([5, 40, 8]), rtol=1e-6)
    assert 0.6 < kept.mean() < 0.9
    assert (StatelessDropout(tf.constant([1, 2])).drop(values, 0.0, shared_axis=2) == values).numpy().all()
