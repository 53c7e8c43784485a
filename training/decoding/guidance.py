"""Guidance: the decoder prefers words that the word-presence head sees in the picture.

A decoder that learns from few pictures repeats common phrases; the word-presence head, which predicts each word on its
own, knows better what is in a picture. Its opinion joins the decoder's by shallow fusion (Gulcehre et al. 2015, "On
using monolingual corpora in neural machine translation"): a weighted log-probability is added to the decoder's own,
here how much likelier a word is in this picture than in the mean one, so that words of every picture gain nothing.

Letters: B pictures, R captions of a picture, H hidden units, V the decoder's vocabulary, U words of the head.
"""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from training.models.captioner import Captioner
from training.models.presence import ABSENT, TINY

State = tuple[Any, tf.Tensor]  # the model's own, and the words not used yet: bool [B, R, V]


class GuidedModel:
    """A captioner's model guided by its word-presence head; takes the model's place in decoding.

    Args:
      captioner: with a word-presence head.
      weight: of the head; 0 changes no caption.
    """

    def __init__(self, captioner: Captioner, weight: float):
        head = captioner.presence
        assert head is not None
        self.model = captioner.model
        self.weight = weight
        # Words that the head does not know, and marks, have the last place and gain nothing.
        self._places = captioner.head_places()

    def guide(self, memory: Any, presence: tf.Tensor, grounding: tf.Tensor) -> tuple[Any, tf.Tensor]:
        """Extends the model's memory by the gain of each word.

        Args:
          memory: of the model's `encode`.
          presence, grounding: of `PresenceGraph`, float32 [B, U].

        Returns:
          the memory, and what each word gains in each picture, float32 [B, V].
        """
        log_presence = tf.math.log(tf.maximum(presence, TINY))
        floor = math.log(ABSENT)
        gain = self.weight * (tf.maximum(log_presence, floor) - tf.maximum(log_presence - grounding, floor))
        return memory, tf.gather(tf.pad(gain, [[0, 0], [0, 1]]), self._places, axis=1)

    def start(self, memory: tuple[Any, tf.Tensor], captions: int) -> State:
        """Memory of `guide` -> state before the first word, for R = `captions` of each picture."""
        inner, gain = memory
        unused = tf.ones([tf.shape(gain)[0], captions, len(self._places)], tf.bool)
        return self.model.start(inner, captions), unused

    def step(self, memory: tuple[Any, tf.Tensor], state: State, ids: tf.Tensor) -> tuple[tuple[Any, tf.Tensor], State]:
        """State and ids int32 [B, R] of the last words -> ((pre-logits, gains float32 [B, R, V]), state)."""
        (inner, gain), (before, unused) = memory, state
        pre_logits, after = self.model.step(inner, before, ids)
        unused = tf.logical_and(
            unused, tf.one_hot(ids, len(self._places), on_value=False, off_value=True, dtype=tf.bool)
        )
        # A word gains once: that a dog is in the picture is no reason to mention it again.
        gain = tf.where(unused, gain[:, None], tf.minimum(gain, 0.0)[:, None])  # (B, R, V)
        return (pre_logits, gain), (after, unused)
