"""The captioner models: one interface for training and decoding, two ways to use a picture.

`look` gives what a model looks at in B pictures, and `encode` turns that into a memory, a tuple of [B, ...] tensors.
Training gives whole captions to `teacher_forcing`; decoding goes word by word with `start` and `step`. Both return
pre-logits [..., H], which `logits` turns into scores of the vocabulary. A picture's R captions, or R hypotheses, share
its memory.

Letters: B pictures, R captions of a picture, T words, P grid positions, C channels, E embedding, H hidden units, V
vocabulary.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras.random import SeedGenerator

from training.errors import UserError
from training.keras_settings import usual_keras
from training.models.layers import Dropout, Lstm, NoDropout, Standardize
from training.models.model_config import ModelConfig
from training.models.tail import Tail

Tensors = tuple[tf.Tensor, ...]
WORD_SPREAD = 0.1  # standard deviation of the numbers of a word embedding before training


def _dense(size: int, name: str, seeds: SeedGenerator, **options: Any) -> keras.layers.Dense:
    return keras.layers.Dense(size, kernel_initializer=keras.initializers.GlorotUniform(seeds), name=name, **options)


def _embedding(config: ModelConfig, seeds: SeedGenerator) -> keras.layers.Embedding:
    start = keras.initializers.RandomNormal(stddev=WORD_SPREAD, seed=seeds)
    return keras.layers.Embedding(
        config.vocabulary_size, config.embedding_size, embeddings_initializer=start, name="words"
    )


class CaptionModel(keras.Model):
    """What both models share: an LSTM over embedded words, and the layer that turns pre-logits into scores of words.

    Args:
      config: sizes and dropout rates.
      seeds: of the initial weights.
    """

    lstm: Lstm
    output_words: keras.layers.Dense
    seen_shape: tuple[int, ...]

    def __init__(self, config: ModelConfig, seeds: SeedGenerator):
        super().__init__(name=config.model)
        self.config = config
        self.tail = Tail(config.tail, config.tail_precision) if config.tail else None
        self.standardize = Standardize(name="standardize") if config.standardize else None
        self.words = _embedding(config, seeds)

    def look(self, features: tf.Tensor) -> tf.Tensor:
        """Features float [B, P, C], or [B, C] of the merge model -> what the model looks at, float32: the grid that its
        tail makes of them, or the features as they are.
        """
        features = tf.cast(features, tf.float32)
        return features if self.tail is None else self.tail(features)

    def encode(self, seen: tf.Tensor, dropout: Dropout) -> Tensors:
        """What the model looks at, float32 [B, P, C] or [B, C] -> memory: a tuple of [B, ...] tensors."""
        raise NotImplementedError

    def start(self, memory: Tensors, captions: int) -> Tensors:
        """Memory -> state before the first word: hidden and cell state float32 [B, R, H] for R = `captions`."""
        raise NotImplementedError

    def step(self, memory: Tensors, state: Tensors, ids: tf.Tensor) -> tuple[tf.Tensor, Tensors]:
        """State and ids int32 [B, R] of the last words -> (pre-logits float32 [B, R, H], state)."""
        hidden, cell = self.lstm(self._gates(memory, self.words(ids)), *state)
        return self._pre_logits(memory, hidden), (hidden, cell)

    def teacher_forcing(self, memory: Tensors, ids: tf.Tensor, lengths: tf.Tensor, dropout: Dropout) -> tf.Tensor:
        """Pre-logits of every next word of known captions (Williams and Zipser 1989), float32 [B, R*T, H].

        Args:
          memory: of `encode`.
          ids: of the words before each next word, int32 [B, R, T], START first.
          lengths: how many of them count, int32 [B, R].
          dropout: StatelessDropout in training.
        """
        words = dropout.drop(self.words(ids), self.config.word_dropout)  # (B, R, T, E)
        first = self.start(memory, tf.shape(ids)[1])
        hidden = _run(self.lstm, self._gates(memory, words), lengths, first)
        return dropout.drop(self._pre_logits(memory, hidden), self.config.output_dropout)

    def logits(self, pre_logits: tf.Tensor) -> tf.Tensor:
        """Pre-logits float32 [..., H] -> unnormalised log-probabilities of the next word float32 [..., V]."""
        return self.output_words(pre_logits)

    def _gates(self, memory: Tensors, words: tf.Tensor) -> tf.Tensor:
        """Embedded words [B, R, E] or [B, R, T, E] -> inputs of the LSTM's gates [B, R, 4H] or [B, R, T, 4H]."""
        raise NotImplementedError

    def _pre_logits(self, memory: Tensors, hidden: tf.Tensor) -> tf.Tensor:
        """Hidden states [B, Q, H] -> pre-logits [B, Q, H]."""
        raise NotImplementedError


class MergeModel(CaptionModel):
    """A merge architecture: an LSTM reads the words alone, and its state meets the image vector just before the softmax
    (Tanti, Gatt and Camilleri 2018, "Where to put the image in an image caption generator").

    Args:
      config: sizes and dropout rates.
      seeds: of the initial weights.
    """

    def __init__(self, config: ModelConfig, seeds: SeedGenerator):
        super().__init__(config, seeds)
        self.image_norm = keras.layers.LayerNormalization(name="image_norm")
        self.image = _dense(config.hidden_size, "image", seeds, activation="relu")
        self.lstm = Lstm(config.embedding_size, config.hidden_size, seeds, name="lstm")
        self.join_image = _dense(config.hidden_size, "join_image", seeds)
        self.join_words = _dense(config.hidden_size, "join_words", seeds, use_bias=False)
        self.output_words = _dense(config.vocabulary_size, "output_words", seeds)

    def encode(self, seen: tf.Tensor, dropout: Dropout) -> Tensors:
        """What it looks at, float32 [B, P, C] or [B, C] -> memory: image vectors float32 [B, H]."""
        seen = self.standardize(seen) if self.standardize else seen
        pooled = tf.reduce_mean(seen, axis=1) if seen.shape.rank == 3 else seen  # (B, C)
        image = dropout.drop(self.image(self.image_norm(pooled)), self.config.feature_dropout)
        return (self.join_image(image),)

    def start(self, memory: Tensors, captions: int) -> Tensors:
        """Memory -> state before the first word: zero hidden and cell state float32 [B, R, H] for R = `captions`."""
        zero = tf.zeros_like(tf.repeat(memory[0][:, None], captions, axis=1))
        return zero, zero

    def _gates(self, memory: Tensors, words: tf.Tensor) -> tf.Tensor:
        return self.lstm.inputs(words)

    def _pre_logits(self, memory: Tensors, hidden: tf.Tensor) -> tf.Tensor:
        return tf.nn.relu(memory[0][:, None] + self.join_words(hidden))


class AttentionModel(CaptionModel):
    """An LSTM with spatial attention to the 8x8 grid at every word: the new hidden state is the query (Lu et al. 2017,
    "Knowing when to look"), by scaled dot products in several heads (Vaswani et al. 2017, "Attention is all you need").

    The mean of the grid gives the LSTM's first state and is added to the gates of every word.

    Args:
      config: sizes and dropout rates.
      seeds: of the initial weights.
    """

    def __init__(self, config: ModelConfig, seeds: SeedGenerator):
        super().__init__(config, seeds)
        hidden = config.hidden_size
        self.grid = _dense(hidden, "grid", seeds, activation="relu")
        self.grid_norm = keras.layers.LayerNormalization(name="grid_norm")
        self.keys = _dense(hidden, "keys", seeds, use_bias=False)
        self.first = _dense(2 * hidden, "first", seeds, activation="tanh")
        self.scene = _dense(4 * hidden, "scene", seeds, use_bias=False)
        self.lstm = Lstm(config.embedding_size, hidden, seeds, name="lstm")
        self.query = _dense(hidden, "query", seeds, use_bias=False)
        self.join_context = _dense(hidden, "join_context", seeds)
        self.join_hidden = _dense(hidden, "join_hidden", seeds, use_bias=False)
        self.output_words = _dense(config.vocabulary_size, "output_words", seeds)

    def encode(self, seen: tf.Tensor, dropout: Dropout) -> Tensors:
        """What it looks at, float32 [B, P, C] -> memory, with D = H / heads: keys float32 [B, heads, D, P], values
        [B, heads, P, D], the scene's part of the gates [B, 4H], and the state before the first word [B, 2H].
        """
        seen = self.standardize(seen) if self.standardize else seen
        grid = self.grid_norm(self.grid(seen))  # (B, P, H)
        # Whole channels at once (Tompson et al. 2015): values dropped at single positions would be found elsewhere by
        # attention, and would not change the mean of the grid.
        grid = dropout.drop(grid, self.config.feature_dropout, shared_axis=1)
        grid = dropout.drop(grid, self.config.position_dropout, shared_axis=2)
        scene = tf.reduce_mean(grid, axis=1)
        keys = tf.transpose(self._heads(self.keys(grid)), [0, 2, 3, 1])
        values = tf.transpose(self._heads(grid), [0, 2, 1, 3])
        return keys, values, self.scene(scene), self.first(scene)

    def start(self, memory: Tensors, captions: int) -> Tensors:
        """Memory -> state before the first word: hidden and cell state float32 [B, R, H] for R = `captions`."""
        first = tf.repeat(memory[3][:, None], captions, axis=1)  # (B, R, 2H)
        hidden, cell = tf.split(first, 2, axis=-1)
        return hidden, cell

    def _gates(self, memory: Tensors, words: tf.Tensor) -> tf.Tensor:
        scene = memory[2][:, None]  # (B, 1, 4H)
        return self.lstm.inputs(words) + (scene if words.shape.rank == 3 else scene[:, None])

    def _pre_logits(self, memory: Tensors, hidden: tf.Tensor) -> tf.Tensor:
        """Hidden states [B, Q, H] -> pre-logits [B, Q, H]: each joined with the part of the grid that it attends to."""
        keys, values, *_ = memory
        query = tf.transpose(self._heads(self.query(hidden)), [0, 2, 1, 3])  # (B, heads, Q, D)
        attention = tf.nn.softmax(tf.matmul(query, keys) * query.shape[-1] ** -0.5)  # (B, heads, Q, P)
        context = tf.transpose(tf.matmul(attention, values), [0, 2, 1, 3])
        context = tf.reshape(context, tf.shape(hidden))  # (B, Q, H)
        return tf.tanh(self.join_context(context) + self.join_hidden(hidden))

    def _heads(self, values: tf.Tensor) -> tf.Tensor:
        """[B, N, H] -> [B, N, heads, D]"""
        heads, size = self.config.heads, self.config.hidden_size // self.config.heads
        return tf.reshape(values, [tf.shape(values)[0], -1, heads, size])


def _run(lstm: Lstm, gates: tf.Tensor, lengths: tf.Tensor, first: Tensors) -> tf.Tensor:
    """Gates [B, R, T, 4H], lengths [B, R], first state [B, R, H] -> hidden states [B, R*T, H]."""
    pictures, captions, steps, size = tf.shape(gates)[0], tf.shape(gates)[1], gates.shape[2], lstm.hidden_size
    rows = pictures * captions
    hidden, cell = (tf.reshape(values, [rows, size]) for values in first)
    states = lstm.run(tf.reshape(gates, [rows, steps, 4 * size]), tf.reshape(lengths, [rows]), hidden, cell)
    return tf.reshape(states, [pictures, captions * steps, size])


MODELS: dict[str, type[CaptionModel]] = {"attention": AttentionModel, "merge": MergeModel}


def build_model(config: ModelConfig, feature_shape: tuple[int, ...], seed: int = 0) -> CaptionModel:
    """Builds a model with random weights.

    Args:
      config: sizes and dropout rates.
      feature_shape: of a picture, (P, C) or (C,).
      seed: of the weights.

    Raises:
      UserError: the model cannot use features of this shape, or its heads do not divide its hidden units.
      ValueError: its tail cannot be computed from them.
    """
    if config.model == "attention" and len(feature_shape) != 2:
        raise UserError(
            "--model attention needs the 8x8 grid, and these features are pooled; "
            "extract with --feature-kind grid, or train --model merge"
        )
    if config.model == "attention" and config.hidden_size % config.heads:
        raise UserError(
            f"hidden_size {config.hidden_size} is not a multiple of the {config.heads} heads of attention; choose one"
        )
    with usual_keras():
        model = MODELS[config.model](config, SeedGenerator(seed))
        model.seen_shape = config.seen_shape(feature_shape)
        memory = model.encode(model.look(tf.zeros([1, *feature_shape])), NoDropout())
        pre_logits, _ = model.step(memory, model.start(memory, 1), tf.zeros([1, 1], tf.int32))
        model.logits(pre_logits)
        model.built = True
    return model
