"""Fits the word-presence head to a feature set and calibrates it on held-out pictures.

The target of a word is the share of the picture's captions that use it. Each member of the ensemble holds out another
part of the training pictures, chosen by content; its predictions for these calibrate the head (cross-fitting, as in
scikit-learn's CalibratedClassifierCV). Validation pictures are used only without their captions: the opinion pool of
head and decoder keeps the head's totals over them.

Letters: N training pictures, Q cells of C channels, M members, H hidden units, V words, A held-out pictures.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice

import numpy as np
import tensorflow as tf
from scipy.special import expit

from training.data.dataset import DescribedPicture
from training.decoding.decoder import CaptionDecoder
from training.fitting.pooled_pictures import READ_AT_ONCE, PooledPictures, Targets, targets_of
from training.fitting.presence_calibration import PresenceCalibration, calibrate, mean_shift, presence_tail
from training.fitting.progress_bar import progress_bar
from training.models.captioner import Captioner
from training.models.layers import StatelessDropout
from training.models.opinion_pool import pooled_scores
from training.models.presence import PresenceHead, first_layer
from training.options import PresenceOptions
from training.text.word_counts import WordCounts
from training.text.words import caption_words

log = logging.getLogger("captionbeam")

OPINION_PICTURES = 1024  # whose totals the opinion pool keeps, at most
LEAST_OPINION_PICTURES = 100  # with fewer, the totals of words are too uncertain
_ADAM = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-7}


def fit_presence(
    pictures: PooledPictures, counts: WordCounts, seed: int, options: PresenceOptions
) -> tuple[PresenceHead, dict[str, float]]:
    """Fits and calibrates a head; the same seed gives the same head.

    Args:
      pictures: training pictures.
      counts: words of the training captions.
      seed: of initial weights, order, views and dropout.
      options: settings of the head.

    Returns:
      the head and its tail; see `presence_tail`.
    """
    ranked = sorted(counts.in_captions, key=lambda word: (-counts.in_captions[word], word))
    learnt = [word for word in ranked if counts.in_captions[word] >= options.min_count][: options.max_words]
    # In a collection so small that no word is frequent enough, all words are learnt.
    words = tuple(learnt or ranked[: options.max_words])
    total = counts.captions + 2 * options.prior_captions
    rate = {word: (counts.in_captions[word] + options.prior_captions) / total for word in ranked}
    return fit_head(pictures, targets_of(pictures.captions, words, caption_words), words, rate, seed, options)


def fit_opinion_pool(
    captioner: Captioner, pictures: Iterable[tuple[DescribedPicture, np.ndarray]]
) -> tuple[PresenceHead, dict[str, float]] | None:
    """Fits the opinion pool of a captioner's head and decoder.

    Args:
      captioner: trained, with a head that is fitted and calibrated, and its judge.
      pictures: with their features, float16 [P, C] or [C] each. The captioner was not trained on them, since it knows
        those by heart.

    Returns:
      the head with its pool, and its tail; None if there are too few pictures.
    """
    chosen = list(islice(pictures, OPINION_PICTURES))
    if len(chosen) < LEAST_OPINION_PICTURES:
        return None
    head = captioner.presence
    assert head is not None
    decoder = CaptionDecoder(captioner, evidence=True)
    parts = [
        (arrays.head[row, : len(head.words)], arrays.expected[row, : len(head.words)])
        for _, _, arrays, row in decoder.decode_pictures(chosen)
        if arrays is not None and arrays.head is not None
    ]
    decoder.close()
    presence, expected = (np.stack(values) for values in zip(*parts, strict=True))
    scores, means = pooled_scores(presence, expected), presence.mean(axis=0, dtype=np.float64)
    shift = mean_shift(scores, means)
    return replace(head, pool_shift=shift.astype(np.float32)), presence_tail(head.words, expit(scores + shift), means)


def fit_head(
    pictures: PooledPictures,
    targets: Targets,
    words: tuple[str, ...],
    rate: dict[str, float],
    seed: int,
    options: PresenceOptions,
    title: str = "word presence",
) -> tuple[PresenceHead, dict[str, float]]:
    """Fits the members of a head, and calibrates them on the pictures that each of them held out.

    Args:
      pictures: training pictures.
      targets: of these pictures and words.
      words: V that the head learns.
      rate: word -> share of the training captions that use it; also of rarer words.
      seed: of initial weights, order, views and dropout.
      options: settings of the head.
      title: of the progress bar.

    Returns:
      the head and its tail; see `presence_tail`.
    """
    mean_inputs, scale = _moments(pictures.inputs)
    rates = np.array([rate[word] for word in words])
    fitter = _Fitter(mean_inputs.mean(axis=0), scale, rates, options, title)
    fold = pictures.folds(options.folds)
    members, predictions = [], []
    for member in range(options.members):
        held_out = np.flatnonzero(fold == member % options.folds)
        kept = np.flatnonzero(fold != member % options.folds)
        if not len(kept):  # a handful of pictures, all of one part
            held_out, kept = kept, held_out
        members.append(fitter.fit(pictures, targets, kept, [seed, member]))
        held_out = held_out[: options.held_out]
        logits = fitter.logits(pictures.inputs[pictures.first[held_out]])
        predictions.append((logits, targets.of(held_out)))
    logits, shares = (np.concatenate(parts) for parts in zip(*predictions, strict=True))
    calibration = calibrate(logits, shares, rates)
    tail = presence_tail(words, calibration.apply(logits), rates)
    learnt = set(words)
    rare = {word: share for word, share in rate.items() if word not in learnt}
    return _folded(members, mean_inputs, scale, calibration, words, rare), {**tail, **rare}


def _moments(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean picture and scale of the channels, computed a block at a time.

    Args:
      inputs: float16 [N, Q, C].

    Returns:
      mean float32 [Q, C], and 1 / (standard deviation + 0.1) of each channel, float32 [C].
    """
    total, squares = np.zeros(inputs.shape[1:]), np.zeros(inputs.shape[2])
    for begin in range(0, len(inputs), READ_AT_ONCE):
        block = inputs[begin : begin + READ_AT_ONCE].astype(np.float32)
        total += block.sum(axis=0, dtype=np.float64)
        squares += np.square(block).sum(axis=(0, 1), dtype=np.float64)
    picture = total / len(inputs)
    mean = picture.mean(axis=0)
    deviation = np.sqrt(np.maximum(squares / len(inputs) / inputs.shape[1] - mean * mean, 0.0))
    return picture.astype(np.float32), (1.0 / (deviation + 0.1)).astype(np.float32)


def _folded(
    members: list[tuple[np.ndarray, ...]],
    mean_inputs: np.ndarray,
    scale: np.ndarray,
    calibration: PresenceCalibration,
    words: tuple[str, ...],
    rare: dict[str, float],
) -> PresenceHead:
    """Head of these members, with standardisation and calibration folded into their kernels."""
    hidden_kernels, hidden_biases, output_kernels, output_biases = zip(*members, strict=True)
    kernel = np.concatenate(hidden_kernels, axis=1) * scale[:, None]
    return PresenceHead(
        words=words,
        rare=rare,
        hidden_kernel=kernel,
        hidden_bias=np.concatenate(hidden_biases) - mean_inputs.mean(axis=0) @ kernel,
        output_kernel=np.float32(calibration.slope) * np.stack(output_kernels),
        output_bias=np.float32(calibration.slope) * np.stack(output_biases)[:, None]
        + calibration.shift.astype(np.float32),
        mean_inputs=mean_inputs,
    )


class _Fitter:
    """Trains one member after another in one graph.

    The optimizer is TensorFlow's fused kernel: Keras' AdamW passes over the weights ten times, which takes as long as
    the matrix products of a batch.

    Args:
      mean: of each channel, float32 [C].
      scale: of each channel, float32 [C].
      rates: of each word in the training captions, float64 [V].
      options: settings of the head.
      title: of the progress bar.
    """

    def __init__(self, mean: np.ndarray, scale: np.ndarray, rates: np.ndarray, options: PresenceOptions, title: str):
        self.options, self.rates, self.title = options, rates, title
        channels, hidden, words = len(mean), options.hidden_size, len(rates)
        shapes = ([channels, hidden], [hidden], [2 * hidden, words], [words])
        self._weights = [tf.Variable(tf.zeros(shape)) for shape in shapes]
        self._slots = [(tf.Variable(tf.zeros(shape)), tf.Variable(tf.zeros(shape))) for shape in shapes]
        mean, scale = tf.constant(mean), tf.constant(scale)

        def standardized(batch: tf.Tensor) -> tf.Tensor:
            return (tf.cast(batch, tf.float32) - mean) * scale

        @tf.function(
            input_signature=[
                tf.TensorSpec([None, None, channels], tf.float16),
                tf.TensorSpec([None, words], tf.float32),
                tf.TensorSpec([2], tf.int32),
                tf.TensorSpec([], tf.int32),
                tf.TensorSpec([], tf.float32),
            ],
            autograph=False,
        )
        def step(batch: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor, done: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
            dropout = StatelessDropout(tf.random.experimental.stateless_fold_in(seed, done))
            with tf.GradientTape() as tape:
                # A channel is dropped from all cells, or it could be read from the next one.
                inputs = dropout.drop(standardized(batch), options.input_dropout, shared_axis=1)
                kernel, bias, output_kernel, output_bias = self._weights
                hidden = dropout.drop(tf.concat(first_layer(inputs, kernel, bias), axis=1), options.hidden_dropout)
                logits = tf.matmul(hidden, output_kernel) + output_bias
                entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits)
                loss = tf.reduce_mean(tf.reduce_sum(entropy, axis=1))
            gradients = tape.gradient(loss, self._weights)
            power = tf.cast(done + 1, tf.float32)
            for weight, (first, second), gradient in zip(self._weights, self._slots, gradients, strict=True):
                if weight.shape.rank == 2:  # biases do not decay
                    weight.assign_sub(rate * options.weight_decay * weight)
                tf.raw_ops.ResourceApplyAdam(
                    var=weight.handle,
                    m=first.handle,
                    v=second.handle,
                    beta1_power=_ADAM["beta1"] ** power,
                    beta2_power=_ADAM["beta2"] ** power,
                    lr=rate,
                    grad=gradient,
                    **_ADAM,
                )
            return loss

        @tf.function(input_signature=[tf.TensorSpec([None, None, channels], tf.float16)], autograph=False)
        def logits(batch: tf.Tensor) -> tf.Tensor:
            kernel, bias, output_kernel, output_bias = self._weights
            hidden = tf.concat(first_layer(standardized(batch), kernel, bias), axis=1)
            return tf.matmul(hidden, output_kernel) + output_bias

        self._step, self._logits = step, logits

    def fit(
        self, pictures: PooledPictures, targets: Targets, kept: np.ndarray, seed: list[int]
    ) -> tuple[np.ndarray, ...]:
        """Trains a member from new weights.

        Args:
          pictures: training pictures.
          targets: of these pictures.
          kept: places of those that it learns from, int64.
          seed: two numbers, unique to the member.

        Returns:
          its kernels and biases: float32 [C, H], [H], [2*H, V], [V].
        """
        options, generator = self.options, np.random.default_rng(seed)
        for weight in self._weights:
            spread = math.sqrt(2.0 / weight.shape[0]) if weight is self._weights[0] else 0.01
            initial = generator.normal(size=weight.shape) * spread if weight.shape.rank == 2 else np.zeros(weight.shape)
            weight.assign(initial.astype(np.float32))
        # Every word begins at its training rate, or the first epochs would learn nothing else.
        self._weights[3].assign((np.log(self.rates) - np.log1p(-self.rates)).astype(np.float32))
        for slots in self._slots:
            for slot in slots:
                slot.assign(tf.zeros_like(slot))
        steps = options.epochs * math.ceil(len(kept) / options.batch_size)
        done = 0
        with progress_bar(steps, f"{self.title} {seed[-1] + 1}/{options.members}", "step") as shown:
            for _ in range(options.epochs):
                order = generator.permutation(kept)
                for begin in range(0, len(order), options.batch_size):
                    batch = np.sort(order[begin : begin + options.batch_size])  # in the file's order
                    rate = options.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done / steps))
                    views = pictures.first[batch + 1] - pictures.first[batch]
                    chosen = pictures.first[batch] + generator.integers(views)
                    self._step(pictures.inputs[chosen], targets.of(batch), tf.constant(seed, tf.int32), done, rate)
                    done += 1
                    shown.update()
        return tuple(weight.numpy() for weight in self._weights)

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        """Inputs float16 [n, Q, C] -> logits of the member that was trained last, float32 [n, V]."""
        parts = [
            self._logits(inputs[begin : begin + READ_AT_ONCE]).numpy() for begin in range(0, len(inputs), READ_AT_ONCE)
        ]
        return np.concatenate(parts) if parts else np.zeros([0, len(self.rates)], np.float32)
