"""Fits the word-presence head to a feature set, calibrates it on pictures held aside, and saves it with the captioner.

The target of a word is the share of the picture's captions that use it. Each member of the ensemble holds another part
of the training pictures aside, chosen by content; what a member says of its own aside pictures calibrates the head
(cross-fitting, as in scikit-learn's CalibratedClassifierCV). Dev pictures have no part in it, but that the opinion pool
of head and decoder keeps the head's totals over them; their captions it never sees.

Letters: N training pictures, Q cells of C channels, M members, H hidden units, V words, A pictures held aside.
"""

from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import tensorflow as tf
from scipy.optimize import minimize_scalar
from scipy.special import expit

from training.data.dataset import records_of
from training.data.feature_set import FeatureSet
from training.data.splits import TRAIN, Split
from training.decoding.decoder import CaptionDecoder
from training.fitting.progress_bar import progress_bar
from training.models.captioner import Captioner
from training.models.layers import Noise
from training.models.opinion_pool import pooled_scores
from training.models.presence import PresenceHead, find, head_inputs, inputs_of
from training.options import PresenceOptions
from training.text.word_counts import WordCounts
from training.text.word_evidence import FLOOR
from training.text.words import caption_words

log = logging.getLogger("captionbeam")

OPINION_PICTURES = 1024  # whose totals the opinion pool keeps, at most
LEAST_OPINION_PICTURES = 100  # fewer say too little of a word's total
_READ_AT_ONCE = 256  # pictures pooled together
_ADAM = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-7}
NATS = 15.0  # logits of a member beyond this are the same to a calibration


@dataclass
class PooledPictures:
    """Training pictures as the head reads them. Inputs lie in a file on disk: 64 KiB a view of grid features.

    Attributes:
      inputs: float16 [views, Q, C], each picture as it is and then its further views.
      first: int64 [N + 1], where a picture's views begin.
      fold: int64 [N], from the picture's content.
      words: int32, the words of all pictures one after the other, and share: float16, of the captions that use each.
      begins: int64 [N + 1], where a picture's words begin.
    """

    inputs: np.ndarray
    first: np.ndarray
    fold: np.ndarray
    words: np.ndarray
    share: np.ndarray
    begins: np.ndarray

    def targets(self, pictures: np.ndarray, size: int) -> np.ndarray:
        """Places of pictures [n] -> float32 [n, size]: share of the captions that use each word."""
        found = np.zeros([len(pictures), size], np.float32)
        for row, picture in enumerate(pictures):
            where = slice(self.begins[picture], self.begins[picture + 1])
            found[row, self.words[where]] = self.share[where]
        return found


def fit_presence(
    features: FeatureSet, split: Split, counts: WordCounts, seed: int, options: PresenceOptions | None = None
) -> tuple[PresenceHead, dict[str, float]]:
    """Training pictures -> head and presence tail; the same seed gives the same head.

    Args:
      counts: of the training captions.

    Raises:
      JobFailed: a shard is damaged.
    """
    options = options or PresenceOptions()
    ranked = sorted(counts.in_captions, key=lambda word: (-counts.in_captions[word], word))
    learnt = [word for word in ranked if counts.in_captions[word] >= options.min_count][: options.max_words]
    # A collection so small that nothing is seen often enough: what it has is better than nothing.
    words = tuple(learnt or ranked[: options.max_words])
    total = counts.captions + 2 * options.prior_captions
    rate = {word: (counts.in_captions[word] + options.prior_captions) / total for word in ranked}
    with tempfile.TemporaryFile(prefix="captionbeam-") as file:
        pictures = pool_pictures(features, split, words, options.folds, file, counts.pictures)
        return fit_head(pictures, words, rate, seed, options)


def pool_pictures(
    features: FeatureSet, split: Split, words: Sequence[str], folds: int, file, size: int
) -> PooledPictures:
    """Reads the training pictures once, with their views.

    Args:
      words: V that are learnt.
      folds: parts that the pictures are divided in.
      file: takes the inputs; binary, open for reading and writing.
      size: N.
    """
    place = {word: number for number, word in enumerate(words)}
    shape = features.encoder.feature_shape
    pool = tf.function(head_inputs, input_signature=[tf.TensorSpec([None, *shape], tf.float16)], autograph=False)
    fold, first, begins = np.zeros(size, np.int64), np.zeros(size + 1, np.int64), np.zeros(size + 1, np.int64)
    used: list[np.ndarray] = []
    shares: list[np.ndarray] = []
    waiting: list[np.ndarray] = []
    done = 0

    def write() -> None:
        file.write(pool(np.stack(waiting)).numpy().astype(np.float16).tobytes())
        waiting.clear()

    for record in records_of(features, lambda sha256, uris: split.of(sha256, uris) == TRAIN):
        if not record.captions:
            continue
        for view in (record.feature, *(() if record.views is None else record.views)):
            waiting.append(view)
            if len(waiting) == _READ_AT_ONCE:
                write()
        found = _shares(record.captions, place)
        fold[done] = int(record.sha256[-8:], 16) % folds
        first[done + 1] = first[done] + 1 + (0 if record.views is None else len(record.views))
        begins[done + 1] = begins[done] + len(found)
        used.append(np.fromiter(found, np.int32, len(found)))
        shares.append(np.fromiter(found.values(), np.float16, len(found)))
        done += 1
    if waiting:
        write()
    file.flush()
    inputs = np.memmap(file, np.float16, "r", shape=(int(first[-1]), *inputs_of(shape)))
    return PooledPictures(inputs, first, fold, np.concatenate(used), np.concatenate(shares), begins)


def fit_opinion_pool(
    captioner: Captioner, head: PresenceHead, features: Iterable[np.ndarray]
) -> tuple[PresenceHead, dict[str, float]] | None:
    """The head with its opinion pool beside this captioner, and its presence tail; None with too few pictures.

    Args:
      captioner: trained; its own head does not matter.
      features: float16 [P, C] or [C] each, of pictures that the captioner was not trained on: those it knows by heart.
    """
    chosen = list(islice(features, OPINION_PICTURES))
    if len(chosen) < LEAST_OPINION_PICTURES:
        return None
    decoder = CaptionDecoder(replace(captioner, presence=head), evidence=True)
    parts = [
        (arrays.head[:, : len(head.words)], arrays.expected[:, : len(head.words)])
        for _, arrays in decoder.decode_batches(np.stack(chosen))
        if arrays is not None and arrays.head is not None
    ]
    decoder.close()
    presence, expected = (np.concatenate(values) for values in zip(*parts, strict=True))
    scores, means = pooled_scores(presence, expected), presence.mean(axis=0, dtype=np.float64)
    shift = mean_shift(scores, means)
    return replace(head, pool_shift=shift.astype(np.float32)), presence_tail(head.words, expit(scores + shift), means)


def _shares(captions: Sequence[str], place: dict[str, int]) -> dict[int, float]:
    """Captions of a picture -> place of a word -> share of the captions that use it."""
    found: dict[int, float] = {}
    for text in captions:
        for word in set(caption_words(text)):
            if word in place:
                found[place[word]] = found.get(place[word], 0.0) + 1 / len(captions)
    return dict(sorted(found.items()))


def fit_head(
    pictures: PooledPictures, words: tuple[str, ...], rate: dict[str, float], seed: int, options: PresenceOptions
) -> tuple[PresenceHead, dict[str, float]]:
    """Pooled pictures, the head's words and the training rate of every word -> head and presence tail."""
    mean_inputs, scale = _moments(pictures.inputs)
    rates = np.array([rate[word] for word in words])
    fitter = _Fitter(mean_inputs.mean(axis=0), scale, rates, options)
    members, asides = [], []
    for member in range(options.members):
        aside = np.flatnonzero(pictures.fold == member % options.folds)
        kept = np.flatnonzero(pictures.fold != member % options.folds)
        if not len(kept):  # a handful of pictures, all of one part
            aside, kept = kept, aside
        members.append(fitter.fit(pictures, kept, [seed, member]))
        aside = aside[: options.held_out]
        asides.append((fitter.logits(pictures.inputs[pictures.first[aside]]), pictures.targets(aside, len(words))))
    logits, targets = (np.concatenate(parts) for parts in zip(*asides, strict=True))
    calibration = calibrate(logits, targets, rates)
    tail = presence_tail(words, calibration.apply(logits), rates)
    learnt = set(words)
    rare = {word: share for word, share in rate.items() if word not in learnt}
    return _folded(members, mean_inputs, scale, calibration, words, rare), {**tail, **rare}


def _moments(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inputs float16 [N, Q, C] -> mean picture [Q, C], and 1 / (standard deviation + 0.1) of each channel [C]; float32
    both, a block at a time.
    """
    total, squares = np.zeros(inputs.shape[1:]), np.zeros(inputs.shape[2])
    for begin in range(0, len(inputs), _READ_AT_ONCE):
        block = inputs[begin : begin + _READ_AT_ONCE].astype(np.float32)
        total += block.sum(axis=0, dtype=np.float64)
        squares += np.square(block).sum(axis=(0, 1), dtype=np.float64)
    picture = total / len(inputs)
    mean = picture.mean(axis=0)
    deviation = np.sqrt(np.maximum(squares / len(inputs) / inputs.shape[1] - mean * mean, 0.0))
    return picture.astype(np.float32), (1.0 / (deviation + 0.1)).astype(np.float32)


@dataclass(frozen=True)
class Calibration:
    """logit of presence = slope * logit of a member + shift of the word: Platt scaling with a shift for each word.

    Attributes:
      slope: one for all words; below 1 where the members are too sure.
      shift: float64 [V].
    """

    slope: float
    shift: np.ndarray

    def apply(self, logits: np.ndarray) -> np.ndarray:
        """Logits of a member [n, V] -> presence [n, V]."""
        return expit(self.slope * logits + self.shift)


def calibrate(logits: np.ndarray, targets: np.ndarray, rates: np.ndarray) -> Calibration:
    """Fits the calibration by maximum likelihood of the slope, every word's mean presence kept at its training rate.

    Isotonic regression would need more pictures that show a word than rare words have; a shift alone needs none, since
    the rate is known from all training captions.

    Args:
      logits, targets: [A, V], of pictures that the member did not see.
      rates: [V], shares of the training captions.
    """
    if not len(logits):
        return Calibration(1.0, np.zeros(len(rates)))
    logits = logits.astype(np.float64).clip(-NATS, NATS)

    def loss(slope: float) -> float:
        scores = slope * logits + mean_shift(slope * logits, rates)
        return float(np.logaddexp(0.0, scores).sum() - (targets * scores).sum())

    slope = float(minimize_scalar(loss, bounds=(0.2, 2.0), method="bounded", options={"xatol": 0.01}).x)
    return Calibration(slope, mean_shift(slope * logits, rates))


def mean_shift(scores: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Scores [A, V] -> shift [V] with mean(sigmoid(scores + shift)) = rates, by Newton's method in log-odds."""
    wanted = np.log(rates) - np.log1p(-rates)
    shift = wanted - np.median(scores, axis=0)
    for _ in range(50):
        p = expit(scores + shift)
        mean = p.mean(axis=0)
        slope = (p * (1 - p)).mean(axis=0) / (mean * (1 - mean))  # of the mean's log-odds, in (0, 1]
        step = np.clip((wanted - np.log(mean) + np.log1p(-mean)) / np.maximum(slope, 0.05), -2.0, 2.0)
        shift = shift + step
        if np.abs(step).max() < 1e-6:
            break
    return shift


def presence_tail(words: Sequence[str], presence: np.ndarray, rates: np.ndarray) -> dict[str, float]:
    """Presence of pictures held aside [A, V] -> word -> its mean where it lies below `FLOOR`, to be counted there."""
    below = presence < FLOOR
    pictures = below.sum(axis=0)
    means = np.where(pictures, (presence * below).sum(axis=0) / np.maximum(pictures, 1), np.minimum(rates, FLOOR))
    return {word: round(float(mean), 9) for word, mean in zip(words, means, strict=True)}


def _folded(
    members: list[tuple[np.ndarray, ...]],
    mean_inputs: np.ndarray,
    scale: np.ndarray,
    calibration: Calibration,
    words: tuple[str, ...],
    rare: dict[str, float],
) -> PresenceHead:
    """Kernels of the members, with what stands before and behind them multiplied in."""
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

    The optimizer is TensorFlow's fused kernel: Keras' AdamW passes ten times over weights that are as many as a batch's
    products, and takes as long as they do.
    """

    def __init__(self, mean: np.ndarray, scale: np.ndarray, rates: np.ndarray, options: PresenceOptions):
        self.options, self.rates = options, rates
        channels, hidden, words = len(mean), options.hidden_size, len(rates)
        shapes = ([channels, hidden], [hidden], [2 * hidden, words], [words])
        self._weights = [tf.Variable(tf.zeros(shape)) for shape in shapes]
        self._slots = [(tf.Variable(tf.zeros(shape)), tf.Variable(tf.zeros(shape))) for shape in shapes]
        mean, scale = tf.constant(mean), tf.constant(scale)

        def standardized(batch):
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
        def step(batch, targets, seed, done, rate):
            noise = Noise(tf.random.experimental.stateless_fold_in(seed, done))
            with tf.GradientTape() as tape:
                # A channel is dropped from all cells, or it could be read from the next one.
                seen = noise.drop(standardized(batch), options.input_dropout, alike=1)
                kernel, bias, output_kernel, output_bias = self._weights
                found = noise.drop(tf.concat(find(seen, kernel, bias), axis=1), options.hidden_dropout)
                logits = tf.matmul(found, output_kernel) + output_bias
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
        def logits(batch):
            kernel, bias, output_kernel, output_bias = self._weights
            found = tf.concat(find(standardized(batch), kernel, bias), axis=1)
            return tf.matmul(found, output_kernel) + output_bias

        self._step, self._logits = step, logits

    def fit(self, pictures: PooledPictures, kept: np.ndarray, seed: list[int]) -> tuple[np.ndarray, ...]:
        """Trains a member on the pictures at these places from new weights -> its kernels and biases."""
        options, generator = self.options, np.random.default_rng(seed)
        for weight in self._weights:
            spread = math.sqrt(2.0 / weight.shape[0]) if weight is self._weights[0] else 0.01
            noise = generator.normal(size=weight.shape) * spread if weight.shape.rank == 2 else np.zeros(weight.shape)
            weight.assign(noise.astype(np.float32))
        # Every word begins at its rate, or the first epochs would learn nothing else.
        self._weights[3].assign((np.log(self.rates) - np.log1p(-self.rates)).astype(np.float32))
        for slots in self._slots:
            for slot in slots:
                slot.assign(tf.zeros_like(slot))
        steps = options.epochs * math.ceil(len(kept) / options.batch_size)
        done = 0
        with progress_bar(steps, f"word presence {seed[-1] + 1}/{options.members}", "step") as shown:
            for _ in range(options.epochs):
                order = generator.permutation(kept)
                for begin in range(0, len(order), options.batch_size):
                    batch = np.sort(order[begin : begin + options.batch_size])  # in the file's order
                    rate = options.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done / steps))
                    targets = pictures.targets(batch, len(self.rates))
                    views = pictures.first[batch + 1] - pictures.first[batch]
                    chosen = pictures.first[batch] + generator.integers(views)
                    self._step(pictures.inputs[chosen], targets, tf.constant(seed, tf.int32), done, rate)
                    done += 1
                    shown.update()
        return tuple(weight.numpy() for weight in self._weights)

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        """Inputs float16 [n, D] -> what the member trained last says of them, float32 [n, V]."""
        parts = [
            self._logits(inputs[begin : begin + _READ_AT_ONCE]).numpy()
            for begin in range(0, len(inputs), _READ_AT_ONCE)
        ]
        return np.concatenate(parts) if parts else np.zeros([0, len(self.rates)], np.float32)
