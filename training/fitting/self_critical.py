"""Self-critical training, the second stage: sampled captions are rewarded by their CIDEr (Rennie et al. 2017,
"Self-critical sequence training for image captioning"), each against the mean reward of the picture's other samples
(Luo 2020, "A better variant of self-critical sequence training").

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
from training.models.caption_models import CaptionModel
from training.models.layers import Dropout, NoDropout
from training.text.vocabulary import END, PAD, START

SAMPLES = 5  # captions sampled of a picture: as many as people wrote in Flickr8k and COCO, so that steps cost the same
_SAMPLING = 1 << 16  # folded into the seed: sampling and dropout of a step use different random numbers
_ORDERS = 4  # n-grams of 1 to 4 words
_SIGMA = 6.0  # words; of the penalty for a length that differs from the reference's

Ids = Sequence[int]
_Vector = tuple[list[dict[tuple[int, ...], float]], list[float], int]


class CiderReward:
    """CIDEr-D (Vedantam et al. 2015, "CIDEr: Consensus-based image description evaluation") of captions given as ids.

    Document frequencies are counted once, in the training captions. The end mark counts as a word, so that a caption
    that stops too early is worth less.

    Args:
      documents: references of each training picture, as ids without padding.
    """

    def __init__(self, documents: Iterable[Sequence[Ids]]):
        self._frequency: Counter[tuple[int, ...]] = Counter()
        self._documents = 0
        for references in documents:
            self._documents += 1
            self._frequency.update({gram for reference in references for gram in _grams(reference)})
        self._log_documents = math.log(max(self._documents, 1))

    def of(self, hypotheses: Sequence[Ids], references: Sequence[Ids]) -> list[float]:
        """Hypotheses and references of one picture, as ids without padding -> reward of each hypothesis, 0 to 10."""
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
        own, own_norms, length = hypothesis
        for weights, reference_norms, reference_length in references:
            penalty = math.exp(-((length - reference_length) ** 2) / (2 * _SIGMA**2))
            for mine, norm, theirs, other_norm in zip(own, own_norms, weights, reference_norms, strict=True):
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
    """Training steps of the second stage.

    Args:
      trainer: whose model learns.
      reward: of sampled captions.
    """

    def __init__(self, trainer: Trainer, reward: CiderReward):
        self._reward = reward
        steps = trainer.options.max_words + 1
        grids = tf.TensorSpec([None, *trainer.model.seen_shape], tf.float32)
        captions = tf.TensorSpec([None, None, steps], tf.int32)

        @tf.function(input_signature=[trainer.feature_spec], autograph=False)
        def sample(features: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            seed = tf.random.experimental.stateless_fold_in(trainer.seed(), _SAMPLING)
            seen = trainer.model.look(features)
            return seen, sample_captions(trainer.model, seen, SAMPLES, steps, seed)

        @tf.function(input_signature=[grids, captions, tf.TensorSpec([None, None], tf.float32)], autograph=False)
        def learn(seen: tf.Tensor, sampled: tf.Tensor, advantage: tf.Tensor) -> tf.Tensor:
            # The tail stays as it is: rewards are too noisy for it.
            return trainer.update(
                lambda dropout: policy_loss(trainer.model, seen, sampled, advantage, dropout), trainer.groups[:1]
            )

        self._sample, self._learn = sample, learn

    def step(self, features: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """One self-critical step: features float16 [B, ...] and references int32 [B, R, T] -> mean reward, a scalar."""
        seen, sampled = self._sample(features)
        advantage, reward = advantages(self._reward, sampled.numpy(), ids.numpy())
        self._learn(seen, sampled, tf.constant(advantage))
        return tf.constant(reward)


def sample_captions(model: CaptionModel, seen: tf.Tensor, captions: int, steps: int, seed: tf.Tensor) -> tf.Tensor:
    """Samples captions from the model's distribution, without dropout.

    Args:
      model: which is sampled.
      seen: what it looks at in B pictures, float32 [B, ...].
      captions: R.
      steps: T, the end mark included.
      seed: int32 [2], unique to the training step.

    Returns:
      ids int32 [B, R, T], filled up with PAD after the end mark.
    """
    memory = model.encode(seen, NoDropout())
    state = model.start(memory, captions)
    ids = tf.fill([tf.shape(seen)[0], captions], START)
    ended = tf.zeros_like(ids, tf.bool)
    words = []
    for t in range(steps):
        pre_logits, state = model.step(memory, state, ids)
        logits = model.logits(pre_logits) + forbidden(model.config.vocabulary_size, too_short=t == 0)  # (B, R, V)
        sampled = tf.random.stateless_categorical(
            tf.reshape(logits, [-1, logits.shape[-1]]),
            1,
            tf.random.experimental.stateless_fold_in(seed, t),
            dtype=tf.int32,
        )
        ids = tf.where(ended, PAD, tf.reshape(sampled, tf.shape(ids)))
        words.append(ids)
        ended = tf.logical_or(ended, ids == END)
    return tf.stack(words, axis=2)


def advantages(reward: CiderReward, sampled: np.ndarray, references: np.ndarray) -> tuple[np.ndarray, float]:
    """How much better each sample is than the mean of the picture's other samples.

    Args:
      reward: of samples.
      sampled: int32 [B, R, T], filled up with PAD.
      references: int32 [B, *, *], filled up with PAD; a row of PAD is no reference.

    Returns:
      advantages float32 [B, R], and the mean reward.
    """
    rewards = np.zeros(sampled.shape[:2], np.float32)
    for picture, (mine, theirs) in enumerate(zip(sampled, references, strict=True)):
        wanted = [row[row != PAD].tolist() for row in theirs if row[0] != PAD]
        rewards[picture] = reward.of([row[row != PAD].tolist() for row in mine], wanted)
    others = (rewards.sum(axis=1, keepdims=True) - rewards) / max(rewards.shape[1] - 1, 1)
    return rewards - others, float(rewards.mean())


def policy_loss(
    model: CaptionModel, seen: tf.Tensor, sampled: tf.Tensor, advantage: tf.Tensor, dropout: Dropout
) -> tf.Tensor:
    """REINFORCE loss (Williams 1992, "Simple statistical gradient-following algorithms for connectionist reinforcement
    learning"): mean negative log-probability of the samples' words, weighted by advantage; a scalar.

    Args:
      model: whose loss it is.
      seen: what it looks at in B pictures, float32 [B, ...].
      sampled: ids int32 [B, R, T], filled up with PAD.
      advantage: of each sample, float32 [B, R].
      dropout: StatelessDropout in training.
    """
    real = sampled != PAD
    logits = next_word_logits(model, seen, sampled, dropout)
    logits += forbidden(model.config.vocabulary_size, too_short=False)
    chosen = tf.gather(tf.nn.log_softmax(logits), tf.boolean_mask(sampled, real), batch_dims=1)
    weights = tf.boolean_mask(tf.broadcast_to(advantage[..., None], tf.shape(sampled)), real)
    return -tf.reduce_mean(weights * chosen)
