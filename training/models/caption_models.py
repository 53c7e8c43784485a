"""The captioner models: one interface for training and decoding, two ways to look at a picture.

`encode` turns the features of B pictures into a memory, a tuple of [B, ...] tensors. Training gives whole captions to
`teach`; decoding goes word by word with `start` and `step`. Both give what the next word is drawn from, [..., H], and
`logits` turns that into scores of the vocabulary. A picture's R captions, or R hypotheses, share its memory.

Letters: B pictures, R captions of a picture, T words, P = 64 grid positions, C = 2048 channels, E embedding, H hidden
units, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
import tensorflow as tf
from keras.random import SeedGenerator

from training.errors import UserError
from training.models.layers import Lstm, Noise, Silence, Standardize

Tensors = tuple[tf.Tensor, ...]
WORD_SPREAD = 0.1  # standard deviation of the numbers of a word embedding before training


@dataclass(frozen=True)
class ModelConfig:
    """All that rebuilds a model.

    Attributes:
      model: "attention" or "merge".
      vocabulary_size: V.
      embedding_size: E, hidden_size: H.
      heads: attention heads; divides H.
      feature_dropout, word_dropout, output_dropout: shares dropped of the projected picture, of the word embeddings and
        of what the next word is drawn from.
      position_dropout: share of the grid's positions that the attention model does not see at all.
      standardize: give every channel of the features mean 0 and variance 1 first.
    """

    model: str
    vocabulary_size: int
    embedding_size: int = 128
    hidden_size: int = 512
    heads: int = 8
    feature_dropout: float = 0.3
    word_dropout: float = 0.3
    output_dropout: float = 0.5
    position_dropout: float = 0.0
    standardize: bool = False


def _dense(size: int, name: str, seeds: SeedGenerator, **options) -> keras.layers.Dense:
    return keras.layers.Dense(size, kernel_initializer=keras.initializers.GlorotUniform(seeds), name=name, **options)


def _embedding(config: ModelConfig, seeds: SeedGenerator) -> keras.layers.Embedding:
    start = keras.initializers.RandomNormal(stddev=WORD_SPREAD, seed=seeds)
    return keras.layers.Embedding(
        config.vocabulary_size, config.embedding_size, embeddings_initializer=start, name="words"
    )


def _standardize(config: ModelConfig) -> Standardize | None:
    return Standardize(name="standardize") if config.standardize else None


class MergeModel(keras.Model):
    """The picture joins after the language model: an LSTM reads the words alone, and its state meets the pooled image
    vector just before the softmax (Tanti, Gatt and Camilleri 2018, "Where to put the image in an image caption
    generator").
    """

    def __init__(self, config: ModelConfig, seeds: SeedGenerator):
        super().__init__(name="merge")
        self.config = config
        self.standardize = _standardize(config)
        self.words = _embedding(config, seeds)
        self.image_norm = keras.layers.LayerNormalization(name="image_norm")
        self.image = _dense(config.hidden_size, "image", seeds, activation="relu")
        self.lstm = Lstm(config.embedding_size, config.hidden_size, seeds, name="lstm")
        self.join_image = _dense(config.hidden_size, "join_image", seeds)
        self.join_words = _dense(config.hidden_size, "join_words", seeds, use_bias=False)
        self.output_words = _dense(config.vocabulary_size, "output_words", seeds)

    def encode(self, features: tf.Tensor, noise: Noise | Silence) -> Tensors:
        """float32 [B, P, C] or [B, C] -> image vectors [B, H]."""
        features = self.standardize(features) if self.standardize else features
        pooled = tf.reduce_mean(features, axis=1) if features.shape.rank == 3 else features  # (B, C)
        image = noise.drop(self.image(self.image_norm(pooled)), self.config.feature_dropout)
        return (self.join_image(image),)

    def start(self, memory: Tensors, captions: int) -> Tensors:
        """Memory -> zero hidden and cell state [B, R, H] for R = `captions` of each picture."""
        zero = tf.zeros_like(tf.repeat(memory[0][:, None], captions, axis=1))
        return zero, zero

    def step(self, memory: Tensors, state: Tensors, ids: tf.Tensor) -> tuple[tf.Tensor, Tensors]:
        """Ids [B, R] of the words just said -> (what the next word is drawn from [B, R, H], state)."""
        hidden, cell = self.lstm(self.lstm.inputs(self.words(ids)), *state)
        return self._join(memory, hidden), (hidden, cell)

    def teach(self, memory: Tensors, ids: tf.Tensor, lengths: tf.Tensor, noise: Noise | Silence) -> tf.Tensor:
        """Said words [B, R, T] and their number [B, R] -> what each next word is drawn from [B, R*T, H]."""
        words = noise.drop(self.words(ids), self.config.word_dropout)  # (B, R, T, E)
        hidden = _run(self.lstm, self.lstm.inputs(words), lengths)
        return noise.drop(self._join(memory, hidden), self.config.output_dropout)

    def _join(self, memory: Tensors, hidden: tf.Tensor) -> tf.Tensor:
        return tf.nn.relu(memory[0][:, None] + self.join_words(hidden))

    def logits(self, drawn_from: tf.Tensor) -> tf.Tensor:
        """[..., H] -> unnormalised log-probabilities [..., V]."""
        return self.output_words(drawn_from)


class AttentionModel(keras.Model):
    """An LSTM that looks at the 8x8 grid before every word: spatial attention with the new hidden state as the query
    (Lu et al. 2017, "Knowing when to look"), as scaled dot products in several heads (Vaswani et al. 2017). The mean of
    the grid gives the LSTM's first state and stands beside every word that it reads.
    """

    def __init__(self, config: ModelConfig, seeds: SeedGenerator):
        super().__init__(name="attention")
        self.config = config
        hidden = config.hidden_size
        self.standardize = _standardize(config)
        self.words = _embedding(config, seeds)
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

    def encode(self, features: tf.Tensor, noise: Noise | Silence) -> Tensors:
        """float32 [B, P, C] -> all that every word needs of the picture, D = H / heads: keys [B, heads, D, P], values
        [B, heads, P, D], the scene's part of the gates [B, 4H], and the state before the first word [B, 2H].
        """
        features = self.standardize(features) if self.standardize else features
        grid = self.grid_norm(self.grid(features))  # (B, P, H)
        # Of the whole picture (Tompson et al. 2015): what each position drops on its own, attention learns to make use
        # of and the mean of the grid does not feel.
        grid = noise.drop(grid, self.config.feature_dropout, alike=1)
        grid = noise.drop(grid, self.config.position_dropout, alike=2)
        scene = tf.reduce_mean(grid, axis=1)
        keys = tf.transpose(self._heads(self.keys(grid)), [0, 2, 3, 1])
        values = tf.transpose(self._heads(grid), [0, 2, 1, 3])
        return keys, values, self.scene(scene), self.first(scene)

    def start(self, memory: Tensors, captions: int) -> Tensors:
        """Memory -> hidden and cell state [B, R, H] before the first word, for R = `captions` of each picture."""
        first = tf.repeat(memory[3][:, None], captions, axis=1)  # (B, R, 2H)
        hidden, cell = tf.split(first, 2, axis=-1)
        return hidden, cell

    def step(self, memory: Tensors, state: Tensors, ids: tf.Tensor) -> tuple[tf.Tensor, Tensors]:
        """Ids [B, R] of the words just said -> (what the next word is drawn from [B, R, H], state)."""
        gates = self.lstm.inputs(self.words(ids)) + memory[2][:, None]
        hidden, cell = self.lstm(gates, *state)
        return self._look(memory, hidden), (hidden, cell)

    def teach(self, memory: Tensors, ids: tf.Tensor, lengths: tf.Tensor, noise: Noise | Silence) -> tf.Tensor:
        """Said words [B, R, T] and their number [B, R] -> what each next word is drawn from [B, R*T, H]."""
        words = noise.drop(self.words(ids), self.config.word_dropout)  # (B, R, T, E)
        gates = self.lstm.inputs(words) + memory[2][:, None, None]  # (B, R, T, 4H)
        hidden = _run(self.lstm, gates, lengths, self.start(memory, tf.shape(ids)[1]))
        return noise.drop(self._look(memory, hidden), self.config.output_dropout)

    def _look(self, memory: Tensors, hidden: tf.Tensor) -> tf.Tensor:
        """Hidden states [B, Q, H] -> joined with the part of the grid that each attends to [B, Q, H]."""
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

    def logits(self, drawn_from: tf.Tensor) -> tf.Tensor:
        """[..., H] -> unnormalised log-probabilities [..., V]."""
        return self.output_words(drawn_from)


def _run(lstm: Lstm, gates: tf.Tensor, lengths: tf.Tensor, first: Tensors | None = None) -> tf.Tensor:
    """Gates [B, R, T, 4H], lengths [B, R], first state [B, R, H] or None for zeros -> hidden states [B, R*T, H]."""
    pictures, captions, steps, size = tf.shape(gates)[0], tf.shape(gates)[1], gates.shape[2], lstm.hidden_size
    rows = pictures * captions
    hidden, cell = (tf.reshape(values, [rows, size]) for values in first or (tf.zeros([rows, size]),) * 2)
    states = lstm.run(tf.reshape(gates, [rows, steps, 4 * size]), tf.reshape(lengths, [rows]), hidden, cell)
    return tf.reshape(states, [pictures, captions * steps, size])


CaptionModel = MergeModel | AttentionModel
MODELS: dict[str, type[MergeModel] | type[AttentionModel]] = {"attention": AttentionModel, "merge": MergeModel}


def build_model(config: ModelConfig, feature_shape: tuple[int, ...], seed: int = 0) -> CaptionModel:
    """ModelConfig -> a model with all its weights drawn by the seed.

    Raises:
      UserError: the model cannot look at features of this shape, or its heads do not divide its hidden units.
    """
    if config.model == "attention" and len(feature_shape) != 2:
        raise UserError(
            "--model attention looks at the 8x8 grid, and these features are pooled; "
            "extract with --feature-kind grid, or train --model merge"
        )
    if config.model == "attention" and config.hidden_size % config.heads:
        raise UserError(
            f"hidden_size {config.hidden_size} cannot be shared by {config.heads} heads of attention; choose a multiple"
        )
    model = MODELS[config.model](config, SeedGenerator(seed))
    memory = model.encode(tf.zeros([1, *feature_shape]), Silence())
    drawn_from, _ = model.step(memory, model.start(memory, 1), tf.zeros([1, 1], tf.int32))
    model.logits(drawn_from)
    model.built = True
    return model
