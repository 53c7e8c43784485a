"""Layers that the captioner models share, and dropout without hidden state.

Letters: N captions, T words, I inputs, H hidden units, C channels.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras.random import SeedGenerator


class StatelessDropout:
    """Dropout whose randomness is a pure function of a seed and of how often it was called.

    A training step that is repeated after a kill then drops the same units, without a generator's state on disk.

    Args:
      seed: int32 [2], unique to the training step.
    """

    def __init__(self, seed: tf.Tensor):
        self._seed = seed
        self._calls = 0

    def drop(self, values: tf.Tensor, rate: float, shared_axis: int | None = None) -> tf.Tensor:
        """Sets a random share of the values to zero and scales the others by 1 / (1 - rate); shape and dtype stay.

        Args:
          values: float [...].
          rate: share to drop, 0 to below 1.
          shared_axis: axis along which all values are dropped or kept together; None for each on its own.
        """
        self._calls += 1
        if not rate:
            return values
        seed = tf.random.experimental.stateless_fold_in(self._seed, self._calls)
        shape = tf.unstack(tf.shape(values))
        if shared_axis is not None:
            shape[shared_axis] = 1
        return tf.nn.experimental.stateless_dropout(values, rate, seed, noise_shape=shape)


class NoDropout:
    """Takes the place of StatelessDropout at inference: nothing is dropped."""

    def drop(self, values: tf.Tensor, rate: float, shared_axis: int | None = None) -> tf.Tensor:
        """Returns the values as they are."""
        return values


Dropout = StatelessDropout | NoDropout


class Standardize(keras.layers.Layer):
    """Features [..., C] -> the same with mean 0 and variance 1 for each channel, by statistics that are set once."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.mean = self.add_weight(name="mean", shape=shape[-1:], initializer="zeros", trainable=False)
        self.scale = self.add_weight(name="scale", shape=shape[-1:], initializer="ones", trainable=False)
        self.built = True

    def fit(self, features: np.ndarray) -> None:
        """Takes mean and standard deviation of each channel from features, float [..., C]."""
        flat = features.reshape(-1, features.shape[-1]).astype(np.float32)
        self.mean.assign(flat.mean(axis=0))
        self.scale.assign(1.0 / (flat.std(axis=0) + 1e-3))

    def call(self, features: tf.Tensor) -> tf.Tensor:
        return (features - self.mean) * self.scale


class Lstm(keras.layers.Layer):
    """An LSTM (Hochreiter and Schmidhuber 1997, forget gate of Gers et al. 2000): a step at a time for decoding, whole
    captions packed for training.

    Its dense layer `inputs` turns inputs [..., I] into gates [..., 4H], for as many words at once as are known.

    Args:
      input_size: I.
      hidden_size: H.
      seeds: of the initial weights.
      name: of the layer.
    """

    def __init__(self, input_size: int, hidden_size: int, seeds: SeedGenerator, name: str):
        super().__init__(name=name)
        self.hidden_size = hidden_size
        self._orthogonal = keras.initializers.Orthogonal(seed=seeds)
        self.inputs = keras.layers.Dense(
            4 * hidden_size,
            kernel_initializer=keras.initializers.GlorotUniform(seeds),
            bias_initializer=lambda shape, dtype: tf.constant(_forget_open(hidden_size), dtype),
            name="inputs",
        )
        self.inputs.build([None, input_size])

    def build(self, _: tuple[int, ...]) -> None:
        size = self.hidden_size
        self.recurrent = self.add_weight(name="recurrent", shape=(size, 4 * size), initializer=self._orthogonal)
        self.built = True

    def call(self, gates: tf.Tensor, hidden: tf.Tensor, cell: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """One step: gates of the inputs [..., 4H], hidden and cell state [..., H] -> new hidden and cell state."""
        gates += tf.tensordot(hidden, self.recurrent, axes=1)
        enter, forget, candidate, leave = tf.split(gates, 4, axis=-1)
        cell = tf.sigmoid(forget) * cell + tf.sigmoid(enter) * tf.tanh(candidate)
        return tf.sigmoid(leave) * tf.tanh(cell), cell

    def run(self, gates: tf.Tensor, lengths: tf.Tensor, hidden: tf.Tensor, cell: tf.Tensor) -> tf.Tensor:
        """Runs over whole captions, packed: step t computes only those that still have a word.

        Args:
          gates: of the inputs, float32 [N, T, 4H]; T is known when the graph is built.
          lengths: words of each caption, int32 [N].
          hidden, cell: state before the first word, float32 [N, H].

        Returns:
          hidden states, float32 [N, T, H]; zero behind a caption's end.
        """
        count = tf.shape(gates)[0]
        order = tf.argsort(lengths, direction="DESCENDING", stable=True)
        gates = tf.gather(gates, order)
        hidden, cell = tf.gather(hidden, order), tf.gather(cell, order)
        outputs = []
        for t, now in enumerate(tf.unstack(gates, axis=1)):
            alive = tf.reduce_sum(tf.cast(lengths > t, tf.int32))
            hidden, cell = self(now[:alive], hidden[:alive], cell[:alive])
            outputs.append(tf.pad(hidden, [[0, count - alive], [0, 0]]))
        stacked = tf.stack(outputs, axis=1)  # (N, T, H), sorted
        return tf.gather(stacked, tf.argsort(order))


def _forget_open(hidden_size: int) -> np.ndarray:
    """Initial biases of the gates, float64 [4H]: 1 for the forget gate, 0 for the others."""
    return np.repeat([0.0, 1.0, 0.0, 0.0], hidden_size)
