"""Pieces that the captioner models share. Letters: N captions, T words, V vocabulary, E embedding, H hidden units."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras.random import SeedGenerator


class Noise:
    """Where dropout gets its randomness: a pure function of the seed and of how often it was asked.

    A training step that is done again after a kill then drops the same units, without any generator's state on disk.

    Args:
      seed: int32 [2], unique to the training step.
    """

    def __init__(self, seed: tf.Tensor):
        self._seed = seed
        self._asked = 0

    def drop(self, values: tf.Tensor, rate: float, alike: int | None = None) -> tf.Tensor:
        """Sets a share of the values to zero and scales the others up; shape and dtype stay.

        Args:
          alike: axis along which values share their fate.
        """
        self._asked += 1
        if not rate:
            return values
        seed = tf.random.experimental.stateless_fold_in(self._seed, self._asked)
        shape = tf.unstack(tf.shape(values))
        if alike is not None:
            shape[alike] = 1
        return tf.nn.experimental.stateless_dropout(values, rate, seed, noise_shape=shape)


class Silence:
    """The Noise of inference: nothing is dropped."""

    def drop(self, values: tf.Tensor, rate: float, alike: int | None = None) -> tf.Tensor:
        return values


class Standardize(keras.layers.Layer):
    """Features [..., C] -> the same with mean 0 and variance 1 for each channel, by statistics that are set once."""

    def build(self, shape):
        self.mean = self.add_weight(name="mean", shape=shape[-1:], initializer="zeros", trainable=False)
        self.scale = self.add_weight(name="scale", shape=shape[-1:], initializer="ones", trainable=False)
        self.built = True

    def fit(self, features: np.ndarray) -> None:
        """Takes the statistics from features [..., C]."""
        flat = features.reshape(-1, features.shape[-1]).astype(np.float32)
        self.mean.assign(flat.mean(axis=0))
        self.scale.assign(1.0 / (flat.std(axis=0) + 1e-3))

    def call(self, features):
        return (features - self.mean) * self.scale


class Lstm(keras.layers.Layer):
    """An LSTM (Hochreiter and Schmidhuber 1997, forget gate of Gers et al. 2000) with one step for decoding and a
    packed run over whole captions for training. `inputs` turns what is read [..., I] into gates [..., 4H], for as
    many words at once as are known.

    Args:
      input_size: I, hidden_size: H.
      seeds: of the weights.
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

    def build(self, _):
        size = self.hidden_size
        self.recurrent = self.add_weight(name="recurrent", shape=(size, 4 * size), initializer=self._orthogonal)
        self.built = True

    def call(self, gates, hidden, cell):
        """One step: gates of the inputs [..., 4H], hidden and cell [..., H] -> hidden and cell [..., H]."""
        gates += tf.tensordot(hidden, self.recurrent, axes=1)
        enter, forget, candidate, leave = tf.split(gates, 4, axis=-1)
        cell = tf.sigmoid(forget) * cell + tf.sigmoid(enter) * tf.tanh(candidate)
        return tf.sigmoid(leave) * tf.tanh(cell), cell

    def run(self, gates: tf.Tensor, lengths: tf.Tensor, hidden: tf.Tensor, cell: tf.Tensor) -> tf.Tensor:
        """Whole captions: gates of the inputs [N, T, 4H], T known, lengths int32 [N], first state [N, H] -> hidden
        states [N, T, H].

        Captions are sorted by length, so that step t computes only those that still have a word; what lies behind a
        caption's end is zero.
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
    return np.repeat([0.0, 1.0, 0.0, 0.0], hidden_size)
