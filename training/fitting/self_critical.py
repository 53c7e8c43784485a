"""The second stage of training: sampled captions are rewarded by their CIDEr (Rennie et al. 2017, "Self-critical
sequence training for image captioning"), each against the mean reward of the picture's other samples (Luo 2020, "A
better variant of self-critical sequence training").

Letters: B pictures, R captions of a picture, T words, V vocabulary.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import tensorflow as tf

from training.decoding.beam_search import forbidden
from training.fitting.trainer import Trainer, next_word_logits
from training.models.layers import Noise, Silence
from training.text.vocabulary import END, PAD, START

SAMPLES = 5  # captions that are drawn of a picture: as many as people wrote, so a step costs what one of theirs costs
_SAMPLING = 1 << 16  # keeps what is sampled apart from what dropout drops in the same step
_ORDERS = 4  # n-grams of 1 to 4 words
_SIGMA = 6.0  # of the penalty for another length than the reference's

Ids = Sequence[int]
_Vector = tuple[list[dict[tuple[int, ...], float]], list[float], int]


class CiderReward:
    """CIDEr-D (Vedantam et al. 2015) of ids, with document frequencies that are counted once: those of training.

    The end mark counts as a word, so that a caption that stops too early is worth less.

    Args:
      documents: for each picture, its references as ids without padding.
    """

    def __init__(self, documents: Iterable[Sequence[Ids]]):
        self._frequency: Counter[tuple[int, ...]] = Counter()
        self._documents = 0
        for references in documents:
            self._documents += 1
            self._frequency.update({gram for reference in references for gram in _grams(reference)})
        self._log_documents = math.log(max(self._documents, 1))

    def of(self, hypotheses: Sequence[Ids], references: Sequence[Ids]) -> list[float]:
        """Hypotheses and references of one picture -> a reward for each hypothesis, 0 to 10."""
        vectors = [self._vector(reference) for reference in references]
        return [self._similarity(self._vector(hypothesis), vectors) for hypothesis in hypotheses]

    def _vector(self, ids: Ids) -> _Vector:
        weights: list[dict[tuple[int, ...], float]] = [{} for _ in range(_ORDERS)]
        for gram, count in _grams(ids).items():
            frequency = math.log(max(1, self._frequency[gram]))
            weights[len(gram) - 1][gram] = count * (self._log_documents - frequency)
        return weights, [math.sqrt(sum(value * value for value in one.values())) for one in weights], len(ids)

    @staticmethod
    def _similarity(hypothesis: _Vector, references: list[_Vector]) -> float:
        total = 0.0
        said, norms, length = hypothesis
        for weights, reference_norms, reference_length in references:
            penalty = math.exp(-((length - reference_length) ** 2) / (2 * _SIGMA**2))
            for mine, norm, theirs, other_norm in zip(said, norms, weights, reference_norms, strict=True):
                if norm and other_norm:
                    shared = sum(
                        min(value, theirs[gram]) * theirs[gram] for gram, value in mine.items() if gram in theirs
                    )
                    total += penalty * shared / (norm * other_norm)
        return 10.0 * total / _ORDERS / len(references)


def _grams(ids: Ids) -> Counter[tuple[int, ...]]:
    ids = tuple(ids)
    return Counter(ids[i : i + n] for n in range(1, _ORDERS + 1) for i in range(len(ids) - n + 1))


class SelfCritical:
    """Steps of the second stage.

    Args:
      trainer: whose model goes on learning.
      reward: of a caption.
    """

    def __init__(self, trainer: Trainer, reward: CiderReward):
        self._reward = reward
        steps = trainer.options.max_words + 1
        captions = tf.TensorSpec([None, None, steps], tf.int32)

        @tf.function(input_signature=[trainer.feature_spec], autograph=False)
        def sample(features):
            seed = tf.random.experimental.stateless_fold_in(trainer.seed(), _SAMPLING)
            return sample_captions(trainer.model, features, SAMPLES, steps, seed)

        @tf.function(
            input_signature=[trainer.feature_spec, captions, tf.TensorSpec([None, None], tf.float32)], autograph=False
        )
        def learn(features, sampled, advantage):
            return trainer.update(lambda noise: policy_loss(trainer.model, features, sampled, advantage, noise))

        self._sample, self._learn = sample, learn

    def step(self, features: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """Features float16 [B, ...] and ids int32 [B, R, T] of the references -> mean reward, a scalar."""
        sampled = self._sample(features)
        advantage, reward = advantages(self._reward, sampled.numpy(), ids.numpy())
        self._learn(features, sampled, tf.constant(advantage))
        return tf.constant(reward)


def sample_captions(model, features: tf.Tensor, captions: int, steps: int, seed: tf.Tensor) -> tf.Tensor:
    """Draws captions from the model's own distribution, nothing dropped.

    Args:
      features: float16 [B, ...].
      captions: R.
      steps: T, the end mark included.
      seed: int32 [2], unique to the training step.

    Returns:
      ids int32 [B, R, T], filled up with PAD after the end mark.
    """
    memory = model.encode(tf.cast(features, tf.float32), Silence())
    state = model.start(memory, captions)
    ids = tf.fill([tf.shape(features)[0], captions], START)
    ended = tf.zeros_like(ids, tf.bool)
    said = []
    for t in range(steps):
        drawn_from, state = model.step(memory, state, ids)
        logits = model.logits(drawn_from) + forbidden(model.config.vocabulary_size, too_short=t == 0)  # (B, R, V)
        drawn = tf.random.stateless_categorical(
            tf.reshape(logits, [-1, logits.shape[-1]]),
            1,
            tf.random.experimental.stateless_fold_in(seed, t),
            dtype=tf.int32,
        )
        ids = tf.where(ended, PAD, tf.reshape(drawn, tf.shape(ids)))
        said.append(ids)
        ended = tf.logical_or(ended, ids == END)
    return tf.stack(said, axis=2)


def advantages(reward: CiderReward, sampled: np.ndarray, references: np.ndarray) -> tuple[np.ndarray, float]:
    """How much better each sample is than the picture's others.

    Args:
      sampled: int32 [B, R, T], references: int32 [B, *, *], both filled up with PAD; a row of PAD is no reference.

    Returns:
      float32 [B, R], and the mean reward.
    """
    rewards = np.zeros(sampled.shape[:2], np.float32)
    for picture, (mine, theirs) in enumerate(zip(sampled, references, strict=True)):
        truths = [row[row != PAD].tolist() for row in theirs if row[0] != PAD]
        rewards[picture] = reward.of([row[row != PAD].tolist() for row in mine], truths)
    others = (rewards.sum(axis=1, keepdims=True) - rewards) / max(rewards.shape[1] - 1, 1)
    return rewards - others, float(rewards.mean())


def policy_loss(model, features: tf.Tensor, sampled: tf.Tensor, advantage: tf.Tensor, noise: Noise) -> tf.Tensor:
    """REINFORCE (Williams 1992): the negative log-probability of the samples' words, weighed by advantage; their mean.

    Args:
      features: float16 [B, ...], sampled: int32 [B, R, T], advantage: float32 [B, R].
    """
    real = sampled != PAD
    logits = next_word_logits(model, features, sampled, noise)
    logits += forbidden(model.config.vocabulary_size, too_short=False)
    right = tf.gather(tf.nn.log_softmax(logits), tf.boolean_mask(sampled, real), batch_dims=1)
    weights = tf.boolean_mask(tf.broadcast_to(advantage[..., None], tf.shape(sampled)), real)
    return -tf.reduce_mean(weights * right)
