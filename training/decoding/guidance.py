"""Words that a picture is likely to show, preferred while it is captioned.

A decoder that learns from few pictures repeats what people often say; the word-presence head, which looks at one word
at a time, sees better what is there. Its opinion joins the decoder's by shallow fusion (Gulcehre et al. 2015, "On using
monolingual corpora in neural machine translation"): a weighted log-probability beside the decoder's own, here how much
likelier a word is in this picture than in the mean one, so that words of every picture gain nothing.

Letters: B pictures, R captions of a picture, H hidden units, V the decoder's vocabulary, U words of the head.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

from training.errors import UserError
from training.models.captioner import Captioner
from training.models.presence import TINY
from training.options import GUIDANCE
from training.text.vocabulary import SPECIALS

_FLOOR = 1e-3  # presence below this counts as this: two words that are both absent say nothing

State = tuple[Any, tf.Tensor]  # the model's own, and what was not said yet: bool [B, R, V]


class GuidedModel:
    """A captioner's model with what its word-presence head sees beside it: takes the steps of decoding in its place.

    Args:
      captioner: with a word-presence head.
      weight: 0 leaves every caption as it is.
    """

    def __init__(self, captioner: Captioner, weight: float):
        head = captioner.presence
        assert head is not None
        self.model = captioner.model
        self.weight = weight
        place = {word: number for number, word in enumerate(head.words)}
        # What the head does not know, marks among it, comes last and weighs nothing.
        self._places = np.full(len(captioner.vocabulary), len(head.words), np.int32)
        self._places[SPECIALS:] = [place.get(word, len(head.words)) for word in captioner.vocabulary.words]

    def guide(self, memory: Any, presence: tf.Tensor, grounding: tf.Tensor) -> tuple[Any, tf.Tensor]:
        """The model's memory, and presence and grounding by `presence.PresenceGraph`, [B, U] each -> the memory, and
        what each word gains in each picture [B, V].
        """
        here = tf.math.log(tf.maximum(presence, TINY))
        floor = math.log(_FLOOR)
        gain = self.weight * (tf.maximum(here, floor) - tf.maximum(here - grounding, floor))
        return memory, tf.gather(tf.pad(gain, [[0, 0], [0, 1]]), self._places, axis=1)

    def start(self, memory: tuple[Any, tf.Tensor], captions: int) -> State:
        """Memory -> state before the first word, of R = `captions` of each picture."""
        inner, gain = memory
        unsaid = tf.ones([tf.shape(gain)[0], captions, len(self._places)], tf.bool)
        return self.model.start(inner, captions), unsaid

    def step(self, memory: tuple[Any, tf.Tensor], state: State, ids: tf.Tensor) -> tuple[tuple[Any, tf.Tensor], State]:
        """Ids [B, R] of the words just said -> (what the model draws the next word from and what each word gains
        [B, R, V], state).
        """
        (inner, gain), (before, unsaid) = memory, state
        drawn_from, after = self.model.step(inner, before, ids)
        unsaid = tf.logical_and(
            unsaid, tf.one_hot(ids, len(self._places), on_value=False, off_value=True, dtype=tf.bool)
        )
        # A word gains once: that a dog is there is no reason to say it again.
        gain = tf.where(unsaid, gain[:, None], tf.minimum(gain, 0.0)[:, None])  # (B, R, V)
        return (drawn_from, gain), (after, unsaid)


def effective_guidance(captioner: Captioner, asked: float | None) -> float:
    """The weight to decode with: what was asked for, or by default `GUIDANCE`; 0 where there is no head.

    Raises:
      UserError: guidance was asked for and there is no head.
    """
    if captioner.presence is not None:
        return GUIDANCE if asked is None else asked
    if asked:
        raise UserError(f"--guidance {asked:g}: {captioner.path} has no word-presence head to guide it; train it again")
    return 0.0
