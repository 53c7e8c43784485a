"""Phrases: which runs of one to four words people likely use of a picture, and how well a caption's phrases fit those.

The end of a caption counts as a word, as in the CIDEr that captions are rewarded by.

Letters: B pictures, K hypotheses of a picture, T words, V the decoder's vocabulary, G phrases.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from training.array_files import pack_npz
from training.models.captioner_files import damage_reported, read_arrays
from training.models.presence import TINY, PresenceHead, head_of, joined_heads
from training.own_names import JUDGE_ARRAYS
from training.storage import write_bytes
from training.text.plurals import counted
from training.text.vocabulary import END, PAD, Vocabulary

ORDERS = 4  # a phrase has one to so many words
_END = "."  # how the end of a caption is written in a phrase; no word is spelled so
_RARITY = "rarity"


def phrases_of(tokens: Sequence[str], vocabulary: Vocabulary) -> Iterable[str]:
    """Words of a whole caption -> its phrases, except those with a word that the vocabulary lacks."""
    words = [*tokens, _END]
    for begin in range(len(words)):
        for end in range(begin + 1, min(begin + ORDERS, len(words)) + 1):
            if words[end - 1] != _END and words[end - 1] not in vocabulary:
                break
            yield " ".join(words[begin:end])


@dataclass(frozen=True)
class PhraseHead:
    """Which phrases people likely use of a picture.

    Attributes:
      head: like a word-presence head, with phrases in place of words.
      rarity: inverse document frequency in training of each phrase, float32 [G].
    """

    head: PresenceHead
    rarity: np.ndarray

    @property
    def phrases(self) -> tuple[str, ...]:
        """G phrases, words separated by spaces."""
        return self.head.words

    def fingerprint(self) -> bytes:
        """sha256 digest of everything that decides its output."""
        return hashlib.sha256(self.head.fingerprint() + self.rarity.tobytes()).digest()

    def joined(self, others: Sequence[PhraseHead]) -> PhraseHead:
        """That of an ensemble: all heads that have the same phrases, asked together."""
        head = joined_heads([self.head, *(other.head for other in others)])
        assert head is not None
        return replace(self, head=head)

    def save(self, directory: str) -> str:
        """Writes `judge.npz` into a captioner directory, and returns the hex sha256 of its bytes."""
        data = pack_npz({**self.head.stored(), _RARITY: self.rarity})
        write_bytes(posixpath.join(directory, JUDGE_ARRAYS), data)
        return hashlib.sha256(data).hexdigest()


def load_phrases(directory: str, phrases: tuple[str, ...], sha256: str, renew: str) -> PhraseHead:
    """Reads what `PhraseHead.save` wrote.

    Args:
      directory: of the captioner.
      phrases: G of them.
      sha256: hex digest of the file as it was written.
      renew: how to get it anew, as the end of the message.

    Raises:
      UserError: the file is missing, damaged, or another one.
    """
    path = posixpath.join(directory, JUDGE_ARRAYS)
    arrays = read_arrays(path, sha256, renew)
    with damage_reported(path, renew):
        rarity = arrays[_RARITY].astype(np.float32)
        if rarity.shape != (len(phrases),):
            raise ValueError(f"does not fit {counted(len(phrases), 'phrase')}")
        return PhraseHead(head_of(arrays, phrases, {}), rarity)


class PhraseAgreement:
    """Compares the phrases of hypotheses with those that people likely use.

    Args:
      head: whose phrases count.
      vocabulary: of the decoder.
    """

    def __init__(self, head: PhraseHead, vocabulary: Vocabulary):
        grams = [
            [END if word == _END else vocabulary.encode([word])[0] for word in phrase.split()]
            for phrase in head.phrases
        ]
        self._rarity = head.rarity.astype(np.float64)
        # Only words that occur in phrases have a number, so that the numbers of four words fit into 64 bits.
        used = sorted({id for gram in grams for id in gram})
        self._numbers = np.zeros(len(vocabulary), np.uint64)
        self._numbers[used] = np.arange(1, len(used) + 1)
        self._base = np.uint64(len(used) + 1)
        self._phrases = []  # of each order: keys, sorted, and the phrase of each
        for order in range(1, ORDERS + 1):
            of_order = np.array([place for place, gram in enumerate(grams) if len(gram) == order], np.int64)
            keys = self._keys(np.array([grams[place] for place in of_order], np.int64).reshape(-1, order))
            ranked = np.argsort(keys)
            self._phrases.append((keys[ranked], of_order[ranked]))

    def __call__(self, ids: np.ndarray, presence: np.ndarray) -> np.ndarray:
        """How well the phrases of hypotheses agree with those that people likely use.

        Args:
          ids: of the words, int32 [B, K, T], filled up with PAD after the end mark.
          presence: of the phrases, float32 [B, G].

        Returns:
          float64 [B, K]: cosine of the phrases of one word with the picture's, both weighted by rarity; the same for
          two, three and four words, and the mean of the four: an estimate of CIDEr. A phrase that is too rare to be
          known counts as one that people do not use, and so does one that the hypothesis has used before.
        """
        weighted = presence * self._rarity  # (B, G)
        rarity = np.append(self._rarity, self._rarity.max())
        agreement = np.zeros(ids.shape[:2])
        ids = np.pad(ids, [(0, 0), (0, 0), (0, ORDERS)], constant_values=PAD)
        for order, (_, its) in enumerate(self._phrases, 1):
            windows = np.lib.stride_tricks.sliding_window_view(ids, order, axis=2)  # (B, K, N, order)
            real = windows[..., -1] != PAD
            places = self._places(windows)
            of_picture = np.linalg.norm(np.take(weighted, its, axis=1), axis=1)  # in rows: no sum depends on the batch
            weight = np.where(real, rarity[places], 0.0)
            matched = np.where(is_repeated(places), 0.0, weight * at_places(weighted, places)).sum(axis=2)
            lengths = np.linalg.norm(weight, axis=2) * of_picture[:, None]
            agreement += matched / np.maximum(lengths, TINY)
        return agreement / ORDERS

    def _keys(self, grams: np.ndarray) -> np.ndarray:
        """Ids [..., N] -> one number for each run of N words, uint64 [...]."""
        keys = np.zeros(grams.shape[:-1], np.uint64)
        for word in np.moveaxis(self._numbers[grams], -1, 0):
            keys = keys * self._base + word
        return keys

    def _places(self, windows: np.ndarray) -> np.ndarray:
        """Ids [..., N] -> place of each run of N words among the phrases, int64 [...]; G if it is none of them."""
        keys, phrases = self._phrases[windows.shape[-1] - 1]
        if not len(keys):
            return np.full(windows.shape[:-1], len(self._rarity))
        wanted = self._keys(windows)
        found = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where(keys[found] == wanted, phrases[found], len(self._rarity))


def at_places(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Values of words or phrases, float [B, N], and places int64 [B, K, T] -> those at the places; 0 at place N."""
    padded = np.pad(values, [(0, 0), (0, 1)])
    return np.take_along_axis(padded[:, None], places.reshape(len(places), 1, -1), axis=2).reshape(places.shape)


def is_repeated(values: np.ndarray) -> np.ndarray:
    """Whether the same value stands earlier in its row: [B, K, T] -> bool [B, K, T]."""
    same = values[..., :, None] == values[..., None, :]
    return np.tril(same, -1).any(axis=3)
