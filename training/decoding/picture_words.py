"""What a captioner knows of every word in a picture: arrays from the graph -> `PictureEvidence`.

Letters: B pictures, A captions of a picture, V the decoder's vocabulary, U words that are known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from training.models.captioner import Captioner
from training.models.opinion_pool import pooled
from training.models.presence import PresenceHead
from training.text.vocabulary import END, PAD, SPECIALS
from training.text.word_evidence import FLOOR, PictureEvidence
from training.text.words import caption_words


def count_expected(counts: tf.Tensor, ids: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
    """How often each word was expected in a caption so far, float32 [B, A, V], and the place after that.

    At every place of a caption the next word is not counted as it was chosen but as it was likely: the sum over the
    places of p(word | picture, words before), which is the expected count of one more draw at each of them. A word that
    came second everywhere is then seen, and a choice between "man" and "person" is halved between them.

    Args:
      counts: of the places before.
      ids: int32 [B, A], the words just said; a caption that has ended has no more places.
      probabilities: float32 [B, A, V], of the next word, by the decoder's own distribution.
    """
    over = tf.logical_or(ids == END, ids == PAD)
    return counts + tf.where(over[..., None], 0.0, probabilities)


@dataclass(frozen=True)
class WordArrays:
    """What is known of every word in B pictures; float32 [B, U] each, or None where the captioner does not know.

    Attributes:
      words: U of them; those that the captions may say are among them.
      expected, presence, grounding: as in `training.text.word_evidence`.
      head: presence by the word-presence head alone.
    """

    words: tuple[str, ...]
    expected: np.ndarray
    presence: np.ndarray | None
    grounding: np.ndarray | None
    head: np.ndarray | None

    @property
    def kinds(self) -> tuple[str, ...]:
        return ("expected",) if self.presence is None else ("expected", "presence", "grounding")


class WordKnowledge:
    """Joins what the decoder expects with what the word-presence head sees, over the words of both.

    Args:
      captioner: what `load_captioner` gave; without a head only expected counts are known.
    """

    def __init__(self, captioner: Captioner):
        head = captioner.presence
        self.head: PresenceHead | None = head
        spelled = [(id, word) for id, word in enumerate(captioner.vocabulary.words, SPECIALS) if _counts(word)]
        learnt = head.words if head else ()
        self.words = tuple(dict.fromkeys([*learnt, *(word for _, word in spelled)]))
        self._place = {word: number for number, word in enumerate(self.words)}
        self._alphabetical = np.array(sorted(range(len(self.words)), key=self.words.__getitem__), np.int64)
        self._ids = np.array([id for id, _ in spelled], np.int64)
        self._places = np.array([self._place[word] for _, word in spelled], np.int64)
        # Of a word that the head did not learn it knows the training rate: the same for every picture.
        self._rates = np.array([head.rare.get(word, 0.0) if head else 0.0 for word in self.words[len(learnt) :]])

    def arrays(self, expected: np.ndarray, seen: Sequence[np.ndarray]) -> WordArrays:
        """Expected counts [B, V], and presence and grounding of the head's words where there is one -> WordArrays."""
        counts = np.zeros([len(expected), len(self.words)], np.float32)
        counts[:, self._places] = expected[:, self._ids]
        if self.head is None:
            return WordArrays(self.words, counts, None, None, None)
        by_head, grounding = seen
        shape = len(expected), len(self._rates)
        rates = np.broadcast_to(self._rates.astype(np.float32), shape)
        presence = by_head
        if self.head.pool_shift is not None:
            presence = pooled(by_head, counts[:, : len(self.head.words)], self.head.pool_shift)
        return WordArrays(
            self.words,
            counts,
            np.concatenate([presence, rates], axis=1),
            np.concatenate([grounding, np.zeros(shape, np.float32)], axis=1),
            np.concatenate([by_head, rates], axis=1),
        )

    def evidence(self, arrays: WordArrays, row: int, caption: str) -> PictureEvidence:
        """One picture's row and its caption -> evidence of the words that matter there, in alphabetical order."""
        matters = arrays.expected[row] >= FLOOR
        if arrays.presence is not None:
            matters |= arrays.presence[row] >= FLOOR
        matters[[self._place[word] for word in caption_words(caption) if word in self._place]] = True
        places = self._alphabetical[matters[self._alphabetical]]
        values = np.stack([getattr(arrays, kind)[row, places] for kind in arrays.kinds], axis=1)
        return PictureEvidence(arrays.kinds, tuple(self.words[place] for place in places), values)


def _counts(word: str) -> bool:
    """Whether a token of the vocabulary is a word to count, as it stands."""
    return caption_words(word) == [word]
