"""A captioner's evidence for every word in a picture: arrays from the graph -> `PictureEvidence`.

Letters: B pictures, A captions of a picture, V the decoder's vocabulary, U words of the decoder or the head.
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
    """Adds the next place of each caption to the expected counts of words, float32 [B, A, V].

    A place counts every word by its probability p(word | picture, words before), whichever word was chosen: the
    expected count of one more draw at each place. A word that comes second everywhere is then counted, and a choice
    between "man" and "person" is divided between them.

    Args:
      counts: of the places before, float32 [B, A, V].
      ids: the last words, int32 [B, A]; a caption that has ended has no more places.
      probabilities: of the next word by the decoder alone, float32 [B, A, V].
    """
    ended = tf.logical_or(ids == END, ids == PAD)
    return counts + tf.where(ended[..., None], 0.0, probabilities)


@dataclass(frozen=True)
class WordArrays:
    """Evidence for every word in B pictures, float32 [B, U] each; None if the captioner has no word-presence head.

    Attributes:
      words: U of them, all that the captions may use included.
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
        """Which of `word_evidence.KINDS` there are."""
        return ("expected",) if self.presence is None else ("expected", "presence", "grounding")


class WordKnowledge:
    """Joins the evidence of decoder and word-presence head over the words of both.

    Attributes:
      words: U of them: those of the head, then the vocabulary's others.

    Args:
      captioner: of `load_captioner`; without a head there are expected counts only.
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
        # A word that the head did not learn has its training rate in every picture.
        self._rates = np.array([head.rare.get(word, 0.0) if head else 0.0 for word in self.words[len(learnt) :]])

    def arrays(self, expected: np.ndarray, opinion: Sequence[np.ndarray]) -> WordArrays:
        """Joins the outputs of decoder and head.

        Args:
          expected: counts of the vocabulary, float32 [B, V].
          opinion: presence and grounding of the head's words, float32 each; empty without a head.
        """
        counts = np.zeros([len(expected), len(self.words)], np.float32)
        counts[:, self._places] = expected[:, self._ids]
        if self.head is None:
            return WordArrays(self.words, counts, None, None, None)
        by_head, grounding = opinion
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
        """Evidence for the words that matter in one picture, in alphabetical order.

        Args:
          arrays: of the batch.
          row: of the picture in it.
          caption: of the picture; its words always matter, others from `FLOOR` on.
        """
        matters = arrays.expected[row] >= FLOOR
        if arrays.presence is not None:
            matters |= arrays.presence[row] >= FLOOR
        matters[[self._place[word] for word in caption_words(caption) if word in self._place]] = True
        places = self._alphabetical[matters[self._alphabetical]]
        values = np.stack([getattr(arrays, kind)[row, places] for kind in arrays.kinds], axis=1)
        return PictureEvidence(arrays.kinds, tuple(self.words[place] for place in places), values)


def _counts(word: str) -> bool:
    """Whether a token of the vocabulary is a word to count, spelled as it is."""
    return caption_words(word) == [word]
