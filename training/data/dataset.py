"""Pictures of a feature set: scanned, selected, and in training batches whose order only the seed and epoch decide.

A batch holds pictures, each with all its captions, so that a picture's 256 KiB of features are read and projected
once a step. Letters: B pictures, R captions of a picture at most, T words of a caption with its end mark.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import tensorflow as tf

from training.data import feature_records as records
from training.data.feature_set import REPAIR, FeatureSet
from training.data.splits import DEV, OUTSIDE, TRAIN, Selection, Split, decode_uris
from training.data.tfrecords import read_features, read_records
from training.errors import JobFailed, UserError
from training.text.human_captions import WORDLESS, usable_captions
from training.text.plurals import counted
from training.text.tokenizer import tokenize
from training.text.vocabulary import END, PAD, Vocabulary
from training.text.word_counts import WordCounts
from training.text.words import script_without_spaces

_SHARDS_AT_ONCE = 4
_SHUFFLED_PICTURES = 1024  # 256 MiB of grid features wait in memory; shards are small and drawn in random order besides


@dataclass(frozen=True)
class DescribedPicture:
    """A picture and what people wrote about it.

    Attributes:
      sha256: hex digest of the file's bytes.
      uris: every place where these bytes were counts.
      captions: those of use, zero or more.
      wordless: number of captions that were left out because they have no word.
    """

    sha256: str
    uris: tuple[str, ...]
    captions: tuple[str, ...]
    wordless: int = 0


@dataclass
class Scan:
    """Counts from one pass over a feature set's captions.

    Attributes:
      word_counts: tokens of the training captions.
      lengths: number of tokens -> training captions of that length.
      words: words of the training captions.
      train_pictures, train_captions: pictures with captions to train on, and their captions.
      dev_pictures: validation pictures with captions.
      outside: pictures in neither list.
      in_both: pictures that both lists name; they are used for validation.
      without_caption: pictures of either split without captions.
      faults: captions with marks, and captions that were left out, by the kinds of `text.human_captions`.
      unspaced: training captions in a script without spaces between words, by the name of the script.
    """

    word_counts: Counter[str] = field(default_factory=Counter)
    lengths: Counter[int] = field(default_factory=Counter)
    words: WordCounts = field(default_factory=WordCounts)
    train_pictures: int = 0
    train_captions: int = 0
    dev_pictures: int = 0
    outside: int = 0
    in_both: int = 0
    without_caption: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    unspaced: Counter[str] = field(default_factory=Counter)

    def least_words(self) -> int:
        """The largest number of words that four in five training captions have at least."""
        least, shorter = 1, self.lengths[0]
        total = self.lengths.total()
        while total and 5 * (shorter + self.lengths[least]) <= total:
            shorter += self.lengths[least]
            least += 1
        return least


def read_pictures(features: FeatureSet, paths: list[str], at_once: int = _SHARDS_AT_ONCE) -> tf.data.Dataset:
    """Dataset of parsed pictures, several shards interleaved in a fixed order.

    Args:
      features: feature set that the shards belong to.
      paths: of shards.
      at_once: shards read at the same time.

    Returns:
      dataset of what `feature_records.parse` gives.
    """
    shape = features.encoder.feature_shape
    shards = tf.data.Dataset.from_tensor_slices(paths)
    serialized = shards.interleave(
        tf.data.TFRecordDataset, cycle_length=at_once, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    return serialized.map(lambda record: records.parse(record, shape), num_parallel_calls=2, deterministic=True)


def scan(features: FeatureSet, split: Split) -> Scan:
    """Reads all captions once: words of the training captions, and how many pictures each split holds.

    Raises:
      JobFailed: a shard is damaged, or holds another number of records than the manifest says.
      UserError: there is no training picture or no validation picture with captions.
    """
    if not features.captions:
        raise UserError(f"{features.path}: its pictures have no captions; run `captionbeam extract` with --captions")
    counts = Scan()
    for path, shard in zip(features.shard_paths(), (shard for shard in features.shards if shard.records), strict=True):
        records_read = 0
        for sha256, uris, captions in described_pictures(path, counts.faults):
            records_read += 1
            part = split.of(sha256, uris)
            counts.in_both += split.in_both(uris)
            if part == OUTSIDE:
                counts.outside += 1
            elif not captions:
                counts.without_caption += 1
            elif part == DEV:
                counts.dev_pictures += 1
            else:
                counts.train_pictures += 1
                counts.train_captions += len(captions)
                for text in captions:
                    tokens = tokenize(text)
                    counts.word_counts.update(tokens)
                    counts.lengths[len(tokens)] += 1
                    if script := script_without_spaces(text):
                        counts.unspaced[script] += 1
                counts.words.add_picture(captions)
        if records_read != shard.records:
            raise JobFailed(
                f"{path}: {counted(records_read, 'record')} where the manifest says {shard.records:,}; {REPAIR}"
            )
    if not counts.train_pictures:
        raise UserError(
            f"{features.path}: no picture with captions is left to train on; check --train-list and --dev-list"
        )
    if not counts.dev_pictures:
        raise UserError(
            f"{features.path}: no picture with captions is left to choose the best epoch by; check --dev-list"
        )
    return counts


def described_pictures(
    path: str, faults: Counter[str] | None = None
) -> Iterator[tuple[str, list[str], tuple[str, ...]]]:
    """Shard -> (sha256, uris, captions of use) of its pictures; decodes no feature.

    Args:
      faults: takes what was wrong with captions, as `usable_captions` counts it.

    Raises:
      JobFailed: a record is damaged or cut short.
    """
    for record in read_records(path):
        fields = tf.train.Example.FromString(record).features.feature
        captions = usable_captions((text.decode() for text in fields[records.CAPTIONS].bytes_list.value), faults)
        uris = decode_uris(fields[records.URI].bytes_list.value)
        yield fields[records.SHA256].bytes_list.value[0].decode(), uris, captions


def training_batches(
    features: FeatureSet, split: Split, vocabulary: Vocabulary, batch_size: int, max_words: int, seed: int, epoch: int
) -> tf.data.Dataset:
    """Dataset of one epoch, in an order that seed and epoch decide; the last batch may be smaller.

    Args:
      features, split: feature set, and which of its pictures train.
      vocabulary: of the ids.
      batch_size: B.
      max_words: longer captions are cut.
      seed, epoch: decide the order, and which view of a picture is used: each of its views with the same probability.

    Returns:
      dataset of (features float16 [B, ...], ids int32 [B, R, T]). Ids end with END and are filled up with PAD; pictures
      with fewer captions than others in the batch have empty rows.
    """
    generator = np.random.default_rng([seed, epoch])
    paths = np.array(features.shard_paths())
    shuffled = [str(path) for path in generator.permutation(paths)]
    pictures = read_pictures(features, shuffled)
    encoded = _with_ids(pictures, split, vocabulary, max_words).filter(lambda part, picture, ids: part == TRAIN)
    chances = tf.data.Dataset.random(seed=int(generator.integers(2**31)), rerandomize_each_iteration=False)
    encoded = tf.data.Dataset.zip((encoded, chances)).map(
        lambda encoded, chance: (_one_view(encoded[1], chance), encoded[2]), num_parallel_calls=2, deterministic=True
    )
    encoded = encoded.shuffle(_SHUFFLED_PICTURES, seed=int(generator.integers(2**31)), reshuffle_each_iteration=False)
    return encoded.padded_batch(batch_size, padded_shapes=(features.encoder.feature_shape, [None, None]))


def _one_view(picture: dict[str, tf.Tensor], chance: tf.Tensor) -> tf.Tensor:
    """Parsed picture and a random int64 from 0 on -> its feature or that of one of its augmented views."""
    views = tf.concat([picture["feature"][None], picture["views"]], axis=0)
    return views[chance % tf.shape(views, tf.int64)[0]]


def encode_caption(text: str, vocabulary: Vocabulary, max_words: int) -> list[int]:
    """Caption -> ids of its first `max_words` words, and END."""
    return [*vocabulary.encode(tokenize(text))[:max_words], END]


def training_references(
    features: FeatureSet, split: Split, vocabulary: Vocabulary, max_words: int
) -> Iterator[list[list[int]]]:
    """The captions of each training picture as ids like those of `training_batches`; decodes no feature."""
    for path in features.shard_paths():
        for sha256, uris, captions in described_pictures(path):
            if captions and split.of(sha256, uris) == TRAIN:
                yield [encode_caption(text, vocabulary, max_words) for text in captions]


def _with_ids(pictures: tf.data.Dataset, split: Split, vocabulary: Vocabulary, max_words: int) -> tf.data.Dataset:
    """Parsed pictures -> (split, picture, ids int32 [R, T]); a picture without captions counts as OUTSIDE."""

    def encode(sha256: bytes, uris: Iterable[bytes], captions: Iterable[bytes]) -> tuple[np.int32, np.ndarray]:
        part = split.of(sha256.decode(), decode_uris(uris))
        texts = usable_captions(text.decode() for text in captions) if part == TRAIN else ()
        rows = [encode_caption(text, vocabulary, max_words) for text in texts]
        ids = np.full([len(rows), max(map(len, rows), default=0)], PAD, np.int32)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = row
        return np.int32(part if rows or part != TRAIN else OUTSIDE), ids

    def with_ids(picture: dict[str, tf.Tensor]) -> tuple[tf.Tensor, dict[str, tf.Tensor], tf.Tensor]:
        part, ids = tf.numpy_function(
            encode,
            [picture[records.SHA256], picture[records.URI], picture[records.CAPTIONS]],
            [tf.int32, tf.int32],
            stateful=False,
        )
        part.set_shape([])
        ids.set_shape([None, None])
        return part, picture, ids

    return pictures.map(with_ids, num_parallel_calls=2, deterministic=True)


def pictures_of(features: FeatureSet, selection: Selection) -> Iterator[tuple[DescribedPicture, np.ndarray]]:
    """Selected pictures with their features, float16 [P, C] or [C], in the order of the shards.

    Raises:
      JobFailed: a shard is damaged.
    """
    for record in _stored_records(features, selection):
        faults: Counter[str] = Counter()
        captions = usable_captions(record.captions, faults)
        yield DescribedPicture(record.sha256, record.uris, captions, faults[WORDLESS]), record.feature


def records_of(features: FeatureSet, selection: Selection) -> Iterator[records.FeatureRecord]:
    """Records of selected pictures, with their augmented views and captions of use, in the order of the shards.

    Raises:
      JobFailed: a shard is damaged.
    """
    for record in _stored_records(features, selection):
        yield replace(record, captions=usable_captions(record.captions))


def _stored_records(features: FeatureSet, selection: Selection) -> Iterator[records.FeatureRecord]:
    for path in features.shard_paths():
        for record in read_features(path):
            if selection(record.sha256, record.uris):
                yield record
