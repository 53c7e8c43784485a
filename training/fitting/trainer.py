"""One training step: the loss of captions, the optimizer, and the running average of the weights."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import keras
import tensorflow as tf

from training.models.caption_models import CaptionModel
from training.models.layers import Dropout, StatelessDropout
from training.models.presence import head_inputs
from training.options import TrainOptions
from training.text.vocabulary import PAD, SPECIALS, START


class LearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """Warm-up and cosine decay to zero (Loshchilov and Hutter 2017, "SGDR") over the first stage, then linear decay
    from another rate to zero over the second.

    Args:
      peak: rate after the warm-up of the first stage.
      steps: of the first stage.
      second: rate at the start of the second stage.
      second_steps: of the second stage.
    """

    def __init__(self, peak: float, steps: int, second: float, second_steps: int):
        warm_up = min(200, steps // 10)
        self._first = keras.optimizers.schedules.CosineDecay(
            peak / 100, steps - warm_up, warmup_target=peak, warmup_steps=warm_up
        )
        self._second = keras.optimizers.schedules.PolynomialDecay(second, max(second_steps, 1), 0.0)
        self._steps = steps

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Finished steps of both stages, a scalar -> rate of the next one, float32."""
        step = tf.cast(step, tf.float32)
        return tf.where(step < self._steps, self._first(step), self._second(tf.maximum(step - self._steps, 0.0)))


class TailRate(keras.optimizers.schedules.LearningRateSchedule):
    """Zero while the decoder warms up, then cosine decay to zero at the end of the first stage.

    Args:
      peak: rate after the warm-up.
      warm_up: steps of the warm-up.
      steps: of the first stage.
    """

    def __init__(self, peak: float, warm_up: int, steps: int):
        self._peak, self._warm_up, self._steps = peak, warm_up, steps

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Finished steps, a scalar -> rate of the next one, float32."""
        done = (tf.cast(step, tf.float32) - self._warm_up) / max(self._steps - self._warm_up, 1)
        rate = self._peak * 0.5 * (1.0 + tf.cos(math.pi * tf.clip_by_value(done, 0.0, 1.0)))
        return tf.where(done < 0, 0.0, rate)


class Trainer:
    """Steps of AdamW (Loshchilov and Hutter 2019, "Decoupled weight decay regularization") and a running average of the
    weights (Polyak and Juditsky 1992, "Acceleration of stochastic approximation by averaging").

    Args:
      model: which learns.
      feature_shape: of a picture, (P, C) or (C,).
      options: with its defaults filled in.
      steps: of the first stage, by cross-entropy.
      second_steps: of the second stage, see `training.fitting.self_critical`.
    """

    def __init__(
        self,
        model: CaptionModel,
        feature_shape: tuple[int, ...],
        options: TrainOptions,
        steps: int,
        second_steps: int = 0,
    ):
        assert options.learning_rate is not None
        self.model = model
        self.options = options
        self.first_steps = steps
        tail = model.tail.trainable_variables if model.tail else []
        self.word_loss = WordLoss(model) if options.word_loss and tail else None
        learnt = {id(variable) for variable in tail}
        decoder = [variable for variable in model.trainable_variables if id(variable) not in learnt]
        decoder += self.word_loss.trainable_variables if self.word_loss else []
        schedule = LearningRate(options.learning_rate, steps, options.self_critical_rate, second_steps)
        self.optimizer = _adamw(schedule, options.weight_decay, decoder)
        self.groups = [(self.optimizer, decoder)]
        if tail:
            rate = TailRate(options.tail_rate, int(options.tail_warm_up * steps), steps)
            self.groups.append((_adamw(rate, options.weight_decay, tail), tail))
        self.variables = [*decoder, *tail]
        self.averages = [tf.Variable(variable.value, trainable=False) for variable in self.variables]
        self.feature_spec = tf.TensorSpec([None, *feature_shape], tf.float16)
        self._step = tf.function(
            lambda features, ids: self.update(lambda dropout: self._first_loss(features, ids, dropout), self.groups),
            input_signature=[self.feature_spec, tf.TensorSpec([None, None, None], tf.int32)],
            autograph=False,
        )

    def step(self, features: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """One step by cross-entropy: features float16 [B, ...] and ids int32 [B, R, T] -> loss, a scalar."""
        return self._step(features, ids)

    def steps_done(self) -> int:
        """Steps since the training began, over both stages."""
        return int(self.optimizer.iterations)

    def begin_second_stage(self) -> None:
        """Begins the second stage with the weights that the model has now."""
        self.optimizer.iterations.assign(self.first_steps)
        for average, variable in zip(self.averages, self.variables, strict=True):
            average.assign(variable.value)

    @contextlib.contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Gives the model the averaged weights for as long as the context lasts."""
        self._swap_averages()
        try:
            yield
        finally:
            self._swap_averages()

    def _swap_averages(self) -> None:
        for variable, average in zip(self.variables, self.averages, strict=True):
            value = tf.identity(variable.value)
            variable.assign(average.value())
            average.assign(value)

    def seed(self) -> tf.Tensor:
        """Random seed of the next step, int32 [2], unique to it."""
        done = tf.cast(self.optimizer.iterations.value, tf.int32)
        return tf.stack([tf.constant(self.options.seed, tf.int32), done])

    def update(
        self,
        loss_of: Callable[[StatelessDropout], tf.Tensor],
        groups: Sequence[tuple[keras.Optimizer, list[keras.Variable]]],
    ) -> tf.Tensor:
        """One step of optimizer and average, to be called inside a graph.

        Args:
          loss_of: dropout -> loss, a scalar.
          groups: optimizers with the variables that they change.

        Returns:
          the loss before the step.
        """
        done = tf.cast(self.optimizer.iterations.value, tf.float32)
        with tf.GradientTape() as tape:
            loss = loss_of(StatelessDropout(self.seed()))
        changed = [variable for _, variables in groups for variable in variables]
        gradients = iter(tape.gradient(loss, [variable.value for variable in changed]))
        for optimizer, variables in groups:
            pairs = zip(islice(gradients, len(variables)), variables, strict=True)
            # The second stage asks for no words without order: what only predicts these has no gradient there.
            optimizer.apply(*zip(*((gradient, one) for gradient, one in pairs if gradient is not None), strict=True))
        # In the first steps the average must forget the untrained weights faster.
        keep = tf.minimum(self.options.averaging, (1.0 + done) / (10.0 + done))
        for average, variable in zip(self.averages, self.variables, strict=True):
            average.assign(keep * average + (1.0 - keep) * variable.value)
        return loss

    def _first_loss(self, features: tf.Tensor, ids: tf.Tensor, dropout: StatelessDropout) -> tf.Tensor:
        seen, steps = self.model.look(features), self.options.max_words + 1
        loss = caption_loss(self.model, seen, ids, steps, self.options.label_smoothing, dropout)
        if self.word_loss is not None:
            loss += self.options.word_loss * self.word_loss.of(seen, ids, dropout)
        return loss


def _adamw(schedule: Any, weight_decay: float, variables: list[keras.Variable]) -> keras.Optimizer:
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=weight_decay, global_clipnorm=5.0)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    optimizer.build(variables)
    return optimizer


_RARE = keras.initializers.Constant(-4.0)  # most words are in few pictures


class WordLoss(keras.layers.Layer):
    """A second task of the tail: which words the captions of a picture use, without order.

    Args:
      model: whose grid it looks at.
    """

    def __init__(self, model: CaptionModel):
        super().__init__(name="word_loss")
        self.hidden = keras.layers.Dense(512, activation="relu", name="hidden")
        self.hidden.build([None, None, model.seen_shape[-1]])
        self.words = keras.layers.Dense(model.config.vocabulary_size, name="words", bias_initializer=_RARE)
        self.words.build([None, 1024])
        self.built = True

    def of(self, seen: tf.Tensor, ids: tf.Tensor, dropout: Dropout) -> tf.Tensor:
        """What the model looks at, float32 [B, P, C], and ids int32 [B, R, T] -> summed loss of a picture's words."""
        cells = self.hidden(dropout.drop(head_inputs(seen), 0.2, shared_axis=1))
        pooled = tf.concat([tf.reduce_mean(cells, axis=1), tf.reduce_max(cells, axis=1)], axis=-1)
        logits = self.words(dropout.drop(pooled, 0.5))  # (B, V)
        size = logits.shape[-1]
        used = tf.reduce_max(tf.one_hot(ids, size), axis=2)  # (B, R, V)
        real = tf.cast(tf.reduce_any(ids != PAD, axis=2), tf.float32)[..., None]
        share = tf.reduce_sum(used * real, axis=1) / tf.maximum(tf.reduce_sum(real, axis=1), 1.0)
        counts = tf.concat([tf.zeros([SPECIALS]), tf.ones([size - SPECIALS])], axis=0)
        losses = tf.nn.sigmoid_cross_entropy_with_logits(share, logits) * counts
        return tf.reduce_mean(tf.reduce_sum(losses, axis=-1))


def caption_loss(
    model: CaptionModel, seen: tf.Tensor, ids: tf.Tensor, steps: int, label_smoothing: float, dropout: Dropout
) -> tf.Tensor:
    """Mean cross-entropy of the next word over all words of all captions of a batch, a scalar.

    Args:
      model: whose loss it is.
      seen: what it looks at in B pictures, float32 [B, ...].
      ids: int32 [B, R, T <= steps], each caption's words and end mark, filled up with PAD; an empty row is no caption.
      steps: words that the model is unrolled to.
      label_smoothing: share of the target spread over the vocabulary (Szegedy et al. 2016, "Rethinking the Inception
        architecture for computer vision").
      dropout: StatelessDropout in training.
    """
    missing = steps - tf.shape(ids)[2]
    ids = tf.ensure_shape(tf.pad(ids, [[0, 0], [0, 0], [0, missing]]), [None, None, steps])
    log_probabilities = tf.nn.log_softmax(next_word_logits(model, seen, ids, dropout))  # (words, V)
    target = tf.gather(log_probabilities, tf.boolean_mask(ids, ids != PAD), batch_dims=1)
    loss = (1.0 - label_smoothing) * target + label_smoothing * tf.reduce_mean(log_probabilities, axis=1)
    return -tf.reduce_mean(loss)


def next_word_logits(model: CaptionModel, seen: tf.Tensor, ids: tf.Tensor, dropout: Dropout) -> tf.Tensor:
    """Logits at every word of known captions, PAD left out, in the order of the words: float32 [words, V].

    Args:
      model: which predicts the words.
      seen: what it looks at in B pictures, float32 [B, ...].
      ids: int32 [B, R, T], filled up with PAD; T is known when the graph is built.
      dropout: StatelessDropout in training.
    """
    before = tf.concat([tf.fill(tf.shape(ids[..., :1]), START), ids[..., :-1]], axis=2)
    real = ids != PAD  # (B, R, T)
    memory = model.encode(seen, dropout)
    pre_logits = model.teacher_forcing(
        memory, before, tf.reduce_sum(tf.cast(real, tf.int32), axis=2), dropout
    )  # (B, R*T, H)
    # The product with the vocabulary is the largest of all: only for real words.
    return model.logits(tf.boolean_mask(pre_logits, tf.reshape(real, [tf.shape(real)[0], -1])))
