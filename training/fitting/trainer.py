"""What a training repeats: the loss, one step of the optimizer, and the checkpoints that it goes on from."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from training.models.layers import Noise
from training.text.vocabulary import PAD, START


class LearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """Warm-up and cosine decay (Loshchilov and Hutter 2017) to nothing over the first stage, then a straight line from
    another rate to nothing over the second.

    Args:
      peak: of the first stage, and second: at the start of the second.
      steps, second_steps: of each stage.
    """

    def __init__(self, peak: float, steps: int, second: float, second_steps: int):
        warm_up = min(200, steps // 10)
        self._first = keras.optimizers.schedules.CosineDecay(
            peak / 100, steps - warm_up, warmup_target=peak, warmup_steps=warm_up
        )
        self._second = keras.optimizers.schedules.PolynomialDecay(second, max(second_steps, 1), 0.0)
        self._steps = steps

    def __call__(self, step):
        step = tf.cast(step, tf.float32)
        return tf.where(step < self._steps, self._first(step), self._second(tf.maximum(step - self._steps, 0.0)))


class Trainer:
    """Steps of AdamW (Loshchilov and Hutter 2019) and a running average of the weights.

    Args:
      model: see `training.models.caption_models`.
      feature_shape: of a picture.
      options: a TrainOptions.
      steps: of the first stage, which learns from captions that people wrote.
      second_steps: of the second one, see `training.fitting.self_critical`.
    """

    def __init__(self, model, feature_shape: tuple[int, ...], options, steps: int, second_steps: int = 0):
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
            lambda features, ids: self.update(lambda noise: self._caption_loss(features, ids, noise)),
            input_signature=[self.feature_spec, tf.TensorSpec([None, None, None], tf.int32)],
            autograph=False,
        )

    def step(self, features: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """Features float16 [B, ...] and ids int32 [B, R, T] of one batch -> loss, a scalar."""
        return self._step(features, ids)

    def steps_done(self) -> int:
        return int(self.optimizer.iterations)

    def begin_second_stage(self) -> None:
        """Goes on from the weights that the model has now, wherever the first stage ended."""
        self.optimizer.iterations.assign(self.first_steps)
        for average, variable in zip(self.averages, self.variables, strict=True):
            average.assign(variable.value)

    def averaged_weights(self):
        """Context in which the model has the averaged weights."""
        return _Swapped(self.variables, self.averages)

    def seed(self) -> tf.Tensor:
        """int32 [2], unique to the step that comes next."""
        done = tf.cast(self.optimizer.iterations.value, tf.int32)
        return tf.stack([tf.constant(self.options.seed, tf.int32), done])

    def update(self, loss_of: Callable[[Noise], tf.Tensor]) -> tf.Tensor:
        """One step, to be called in a graph: makes what `loss_of` gives for some noise smaller; returns it."""
        done = tf.cast(self.optimizer.iterations.value, tf.float32)
        with tf.GradientTape() as tape:
            loss = loss_of(Noise(self.seed()))
        gradients = tape.gradient(loss, [variable.value for variable in self.variables])
        self.optimizer.apply(gradients, self.variables)
        # Few steps in, the average must not remember the untrained weights.
        keep = tf.minimum(self.options.averaging, (1.0 + done) / (10.0 + done))
        for average, variable in zip(self.averages, self.variables, strict=True):
            average.assign(keep * average + (1.0 - keep) * variable.value)
        return loss

    def _caption_loss(self, features: tf.Tensor, ids: tf.Tensor, noise: Noise) -> tf.Tensor:
        return caption_loss(self.model, features, ids, self.options.max_words + 1, self.options.label_smoothing, noise)


def caption_loss(
    model, features: tf.Tensor, ids: tf.Tensor, steps: int, label_smoothing: float, noise: Noise
) -> tf.Tensor:
    """Mean cross-entropy of the next word, over all words of all captions of the batch.

    Args:
      features: float16 [B, ...].
      ids: int32 [B, R, T <= steps], each caption's words and end mark, filled up with PAD; an empty row is no caption.
      steps: T that the model is unrolled to.
      label_smoothing: Szegedy et al. 2016.
    """
    missing = steps - tf.shape(ids)[2]
    ids = tf.ensure_shape(tf.pad(ids, [[0, 0], [0, 0], [0, missing]]), [None, None, steps])
    log_probabilities = tf.nn.log_softmax(next_word_logits(model, features, ids, noise))  # (words, V)
    right = tf.gather(log_probabilities, tf.boolean_mask(ids, ids != PAD), batch_dims=1)
    loss = (1.0 - label_smoothing) * right + label_smoothing * tf.reduce_mean(log_probabilities, axis=1)
    return -tf.reduce_mean(loss)


def next_word_logits(model, features: tf.Tensor, ids: tf.Tensor, noise: Noise) -> tf.Tensor:
    """Features float16 [B, ...] and ids int32 [B, R, T], filled up with PAD, T known -> what the model gives the
    vocabulary where each id that is not PAD stands, in their order: logits [words, V].
    """
    said = tf.concat([tf.fill(tf.shape(ids[..., :1]), START), ids[..., :-1]], axis=2)
    real = ids != PAD  # (B, R, T)
    memory = model.encode(tf.cast(features, tf.float32), noise)
    drawn_from = model.teach(memory, said, tf.reduce_sum(tf.cast(real, tf.int32), axis=2), noise)  # (B, R*T, H)
    # Only real words meet the vocabulary, which is the largest product of all.
    return model.logits(tf.boolean_mask(drawn_from, tf.reshape(real, [tf.shape(real)[0], -1])))


class _Swapped:
    """Exchanges the values of two lists of variables, and back on leaving."""

    def __init__(self, ours, others):
        self.ours, self.others = ours, others

    def _swap(self) -> None:
        for mine, other in zip(self.ours, self.others, strict=True):
            value = tf.identity(mine.value)
            mine.assign(other.value() if callable(other.value) else other)
            other.assign(value)

    def __enter__(self) -> None:
        self._swap()

    def __exit__(self, *_) -> None:
        self._swap()
