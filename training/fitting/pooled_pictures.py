"""Training pictures as a word-presence head takes them in, and what their captions have in common.

Letters: N training pictures, Q cells of C channels, V words or phrases.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from training.data.dataset import records_of
from training.data.feature_set import FeatureSet
from training.data.splits import TRAIN, Split
from training.models.caption_models import CaptionModel
from training.models.presence import head_inputs, inputs_of

READ_AT_ONCE = 256  # pictures


@dataclass(frozen=True)
class PooledPictures:
    """Training pictures with captions as inputs of a head, which lie in a file on disk: 64 KiB for a view of grid
    features.

    Attributes:
      inputs: float16 [views, Q, C], each picture followed by its augmented views.
      first: where each picture's views begin, int64 [N + 1].
      sha256: of each picture's content, in hex, N of them.
      captions: of each picture, N of them.
    """

    inputs: np.ndarray
    first: np.ndarray
    sha256: Sequence[str]
    captions: Sequence[tuple[str, ...]]

    def folds(self, number: int) -> np.ndarray:
        """The part of `number` parts that each picture belongs to, by its content, int64 [N]."""
        return np.array([int(sha256[-8:], 16) % number for sha256 in self.sha256], np.int64)


@contextlib.contextmanager
def pooled_pictures(features: FeatureSet, split: Split, model: CaptionModel) -> Iterator[PooledPictures]:
    """Reads the training pictures once, with their augmented views; the file goes when the context ends.

    Args:
      features: feature set with captions.
      split: which of its pictures train.
      model: whose grid the head looks at.

    Raises:
      JobFailed: a shard is damaged.
    """
    pool = tf.function(
        lambda given: head_inputs(model.look(given)),
        input_signature=[tf.TensorSpec([None, *features.encoder.feature_shape], tf.float16)],
        autograph=False,
    )
    first, sha256, captions = [0], [], []
    waiting: list[np.ndarray] = []
    with tempfile.TemporaryFile(prefix="captionbeam-") as file:

        def write() -> None:
            file.write(pool(np.stack(waiting)).numpy().astype(np.float16).tobytes())
            waiting.clear()

        for record in records_of(features, split.selects(TRAIN)):
            if not record.captions:
                continue
            views = [record.feature, *(() if record.views is None else record.views)]
            for view in views:
                waiting.append(view)
                if len(waiting) == READ_AT_ONCE:
                    write()
            first.append(first[-1] + len(views))
            sha256.append(record.sha256)
            captions.append(record.captions)
        if waiting:
            write()
        file.flush()
        inputs = np.memmap(file, np.float16, "r", shape=(first[-1], *inputs_of(model.seen_shape)))
        yield PooledPictures(inputs, np.array(first), sha256, captions)


@dataclass(frozen=True)
class Targets:
    """Which share of a picture's captions uses a word or phrase, kept without the zeros.

    Attributes:
      size: V.
      places: of the words of all pictures, one picture after the other, int32.
      shares: share of the picture's captions that use each of them, float16.
      begins: where each picture's words begin, int64 [N + 1].
    """

    size: int
    places: np.ndarray
    shares: np.ndarray
    begins: np.ndarray

    def of(self, pictures: np.ndarray) -> np.ndarray:
        """Places of n pictures, int64 [n] -> share of the captions that use each word, float32 [n, V]."""
        targets = np.zeros([len(pictures), self.size], np.float32)
        for row, picture in enumerate(pictures):
            where = slice(self.begins[picture], self.begins[picture + 1])
            targets[row, self.places[where]] = self.shares[where]
        return targets


def targets_of(
    captions: Sequence[tuple[str, ...]], words: Sequence[str], used_in: Callable[[str], Iterable[str]]
) -> Targets:
    """Counts which captions use which words.

    Args:
      captions: of each picture, N of them.
      words: V words or phrases.
      used_in: caption -> the words or phrases in it; more than V of them may occur, and repetitions do not count.
    """
    place = {word: number for number, word in enumerate(words)}
    each = [_shares(its, place, used_in) for its in captions]
    begins = np.cumsum([0, *map(len, each)])
    places = np.concatenate([np.fromiter(shares, np.int32, len(shares)) for shares in each])
    shares = np.concatenate([np.fromiter(shares.values(), np.float16, len(shares)) for shares in each])
    return Targets(len(words), places, shares, begins)


def _shares(
    captions: tuple[str, ...], place: dict[str, int], used_in: Callable[[str], Iterable[str]]
) -> dict[int, float]:
    """Captions of a picture -> {place of a word: share of the captions that use it}, by place."""
    shares: dict[int, float] = {}
    for text in captions:
        for word in set(used_in(text)):
            if word in place:
                shares[place[word]] = shares.get(place[word], 0.0) + 1 / len(captions)
    return dict(sorted(shares.items()))
