"""One training step: the loss of captions, the optimizer, and the running average of the weights."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import keras
import tensorflow as tf

from training.models.caption_models import CaptionModel
from training.models.layers import Dropout, StatelessDropout
from training.options import TrainOptions
from training.text.vocabulary import PAD, START


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
        self.variables = model.trainable_variables
        schedule = LearningRate(options.learning_rate, steps, options.self_critical_rate, second_steps)
        self.optimizer = keras.optimizers.AdamW(schedule, weight_decay=options.weight_decay, global_clipnorm=5.0)
        self.optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        self.optimizer.build(self.variables)
        self.averages = [tf.Variable(variable.value, trainable=False) for variable in self.variables]
        self.feature_spec = tf.TensorSpec([None, *feature_shape], tf.float16)
        self._step = tf.function(
            lambda features, ids: self.update(lambda dropout: self._caption_loss(features, ids, dropout)),
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

    def update(self, loss_of: Callable[[StatelessDropout], tf.Tensor]) -> tf.Tensor:
        """One step of optimizer and average, to be called inside a graph.

        Args:
          loss_of: dropout -> loss, a scalar.

        Returns:
          the loss before the step.
        """
        done = tf.cast(self.optimizer.iterations.value, tf.float32)
        with tf.GradientTape() as tape:
            loss = loss_of(StatelessDropout(self.seed()))
        gradients = tape.gradient(loss, [variable.value for variable in self.variables])
        self.optimizer.apply(gradients, self.variables)
        # In the first steps the average must forget the untrained weights faster.
        keep = tf.minimum(self.options.averaging, (1.0 + done) / (10.0 + done))
        for average, variable in zip(self.averages, self.variables, strict=True):
            average.assign(keep * average + (1.0 - keep) * variable.value)
        return loss

    def _caption_loss(self, features: tf.Tensor, ids: tf.Tensor, dropout: StatelessDropout) -> tf.Tensor:
        return caption_loss(
            self.model, features, ids, self.options.max_words + 1, self.options.label_smoothing, dropout
        )


def caption_loss(
    model: CaptionModel, features: tf.Tensor, ids: tf.Tensor, steps: int, label_smoothing: float, dropout: Dropout
) -> tf.Tensor:
    """Mean cross-entropy of the next word over all words of all captions of a batch, a scalar.

    Args:
      model: whose loss it is.
      features: float16 [B, ...].
      ids: int32 [B, R, T <= steps], each caption's words and end mark, filled up with PAD; an empty row is no caption.
      steps: words that the model is unrolled to.
      label_smoothing: share of the target spread over the vocabulary (Szegedy et al. 2016, "Rethinking the Inception
        architecture for computer vision").
      dropout: StatelessDropout in training.
    """
    missing = steps - tf.shape(ids)[2]
    ids = tf.ensure_shape(tf.pad(ids, [[0, 0], [0, 0], [0, missing]]), [None, None, steps])
    log_probabilities = tf.nn.log_softmax(next_word_logits(model, features, ids, dropout))  # (words, V)
    target = tf.gather(log_probabilities, tf.boolean_mask(ids, ids != PAD), batch_dims=1)
    loss = (1.0 - label_smoothing) * target + label_smoothing * tf.reduce_mean(log_probabilities, axis=1)
    return -tf.reduce_mean(loss)


def next_word_logits(model: CaptionModel, features: tf.Tensor, ids: tf.Tensor, dropout: Dropout) -> tf.Tensor:
    """Logits at every word of known captions, PAD left out, in the order of the words: float32 [words, V].

    Args:
      model: which predicts the words.
      features: float16 [B, ...].
      ids: int32 [B, R, T], filled up with PAD; T is known when the graph is built.
      dropout: StatelessDropout in training.
    """
    before = tf.concat([tf.fill(tf.shape(ids[..., :1]), START), ids[..., :-1]], axis=2)
    real = ids != PAD  # (B, R, T)
    memory = model.encode(tf.cast(features, tf.float32), dropout)
    pre_logits = model.teacher_forcing(
        memory, before, tf.reduce_sum(tf.cast(real, tf.int32), axis=2), dropout
    )  # (B, R*T, H)
    # The product with the vocabulary is the largest of all: only for real words.
    return model.logits(tf.boolean_mask(pre_logits, tf.reshape(real, [tf.shape(real)[0], -1])))
