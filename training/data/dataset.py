"""tf.data over feature shards: read in parallel, in an order that depends on the seed and the epoch alone.

A batch holds pictures, each with all its captions, so that a picture's 256 KiB of features are read and projected
once a step. Letters: B pictures, R captions of a picture at most, T words of a caption with its end mark.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from training.data import feature_records as records
from training.data.feature_set import REPAIR, FeatureSet
from training.data.splits import DEV, OUTSIDE, TRAIN, Split, decode_uris
from training.errors import JobFailed, UserError
from training.text.tokenizer import tokenize
from training.text.vocabulary import END, PAD, Vocabulary
from training.text.word_counts import WordCounts

_SHARDS_AT_ONCE = 4
_SHUFFLED_PICTURES = 1024  # 256 MiB of grid features wait in memory; shards are small and drawn in random order besides
_DAMAGE = (tf.errors.DataLossError, tf.errors.InvalidArgumentError)


@dataclass(frozen=True)
class DescribedPicture:
    """A picture and what people wrote of it: sha256 of its file, uris where it was found, captions."""

    sha256: str
    uris: tuple[str, ...]
    captions: tuple[str, ...]


@dataclass
class Scan:
    """What one pass over a feature set's captions finds.

    Attributes:
      word_counts: of the training captions' tokens.
      lengths: tokens of a training caption -> captions of that length.
      words: how often the training captions use each word.
      train_pictures, train_captions, dev_pictures, outside: pictures with captions, by split.
      in_both: pictures that both lists name; they judge and do not train.
      without_caption: pictures that cannot train.
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

    def least_words(self) -> int:
        """Words that four in five training captions have at least."""
        least, shorter = 1, self.lengths[0]
        total = self.lengths.total()
        while total and 5 * (shorter + self.lengths[least]) <= total:
            shorter += self.lengths[least]
            least += 1
        return least


def read_pictures(features: FeatureSet, paths: list[str], at_once: int = _SHARDS_AT_ONCE) -> tf.data.Dataset:
    """Shard paths -> parsed pictures (see `feature_records.parse`), several shards interleaved in a fixed order."""
    kind = features.encoder.feature_kind
    shards = tf.data.Dataset.from_tensor_slices(paths)
    serialized = shards.interleave(
        tf.data.TFRecordDataset, cycle_length=at_once, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    return serialized.map(lambda record: records.parse(record, kind), num_parallel_calls=2, deterministic=True)


def scan(features: FeatureSet, split: Split) -> Scan:
    """One pass over all shards: words of the training captions, and how many pictures each split holds.

    Raises:
      JobFailed: a shard is damaged, or holds another number of records than the manifest says.
      UserError: no training picture has a caption, or none judges.
    """
    if not features.captions:
        raise UserError(f"{features.path}: its pictures have no captions; run `captionbeam extract` with --captions")
    found = Scan()
    for path, shard in zip(features.shard_paths(), (shard for shard in features.shards if shard.records), strict=True):
        records_read = 0
        for sha256, uris, captions in described_pictures(path):
            records_read += 1
            part = split.of(sha256, uris)
            found.in_both += split.in_both(uris)
            if part == OUTSIDE:
                found.outside += 1
            elif not captions:
                found.without_caption += 1
            elif part == DEV:
                found.dev_pictures += 1
            else:
                found.train_pictures += 1
                found.train_captions += len(captions)
                for text in captions:
                    tokens = tokenize(text)
                    found.word_counts.update(tokens)
                    found.lengths[len(tokens)] += 1
                found.words.add_picture(captions)
        if records_read != shard.records:
            raise JobFailed(f"{path}: {records_read} records where the manifest says {shard.records}; {REPAIR}")
    if not found.train_pictures:
        raise UserError(
            f"{features.path}: no picture with captions is left to train on; check --train-list and --dev-list"
        )
    if not found.dev_pictures:
        raise UserError(
            f"{features.path}: no picture with captions is left to choose the best epoch by; check --dev-list"
        )
    return found


def described_pictures(path: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Shard -> (sha256, uris, captions) of its pictures, no feature decoded.

    Raises:
      JobFailed: a record is damaged or cut.
    """
    for record in checked(tf.data.TFRecordDataset(path), path):
        fields = tf.train.Example.FromString(record.numpy()).features.feature
        captions = [text.decode() for text in fields[records.CAPTIONS].bytes_list.value]
        uris = decode_uris(fields[records.URI].bytes_list.value)
        yield fields[records.SHA256].bytes_list.value[0].decode(), uris, captions


def checked(dataset: tf.data.Dataset, *paths: str) -> Iterator:
    """Iterates a dataset that reads these shards; a damaged one ends in one line that names the file.

    Raises:
      JobFailed: a record is damaged or cut.
    """
    try:
        yield from dataset
    except _DAMAGE as error:
        # TensorFlow does not say which file it was reading.
        where = next(filter(_is_damaged, paths), posixpath.dirname(paths[0]))
        raise JobFailed(f"{where}: damaged shard; {REPAIR}") from error


def _is_damaged(path: str) -> bool:
    try:
        for _ in tf.data.TFRecordDataset(path):
            pass
    except _DAMAGE:
        return True
    return False


def training_batches(
    features: FeatureSet, split: Split, vocabulary: Vocabulary, batch_size: int, max_words: int, seed: int, epoch: int
) -> tf.data.Dataset:
    """One epoch of (feature float16 [B, ...], ids int32 [B, R, T]) in an order that (seed, epoch) decides, each picture
    as it is or in one of its further views, by the same chance.

    Ids end with END and are filled up with PAD; longer captions are cut, and pictures with fewer captions than
    others in the batch have empty rows. The last, smaller batch is kept.
    """
    generator = np.random.default_rng([seed, epoch])
    paths = np.array(features.shard_paths())
    shuffled = [str(path) for path in generator.permutation(paths)]
    pictures = read_pictures(features, shuffled)
    encoded = _with_ids(pictures, split, vocabulary, max_words).filter(lambda part, picture, ids: part == TRAIN)
    chances = tf.data.Dataset.random(seed=int(generator.integers(2**31)), rerandomize_each_iteration=False)
    encoded = tf.data.Dataset.zip((encoded, chances)).map(
        lambda trained, chance: (_one_view(trained[1], chance), trained[2]), num_parallel_calls=2, deterministic=True
    )
    encoded = encoded.shuffle(_SHUFFLED_PICTURES, seed=int(generator.integers(2**31)), reshuffle_each_iteration=False)
    return encoded.padded_batch(batch_size, padded_shapes=(features.encoder.feature_shape, [None, None]))


def _one_view(picture: dict[str, tf.Tensor], chance: tf.Tensor) -> tf.Tensor:
    """Parsed picture, random int64 from 0 on -> its feature or that of one of its further views."""
    views = tf.concat([picture["feature"][None], picture["views"]], axis=0)
    return views[chance % tf.shape(views, tf.int64)[0]]


def encode_caption(text: str, vocabulary: Vocabulary, max_words: int) -> list[int]:
    """Caption -> ids of its first `max_words` words, and END."""
    return [*vocabulary.encode(tokenize(text))[:max_words], END]


def training_references(
    features: FeatureSet, split: Split, vocabulary: Vocabulary, max_words: int
) -> Iterator[list[list[int]]]:
    """The captions of each training picture as `training_batches` gives them, without reading a feature."""
    for path in features.shard_paths():
        for sha256, uris, captions in described_pictures(path):
            if captions and split.of(sha256, uris) == TRAIN:
                yield [encode_caption(text, vocabulary, max_words) for text in captions]


def _with_ids(pictures: tf.data.Dataset, split: Split, vocabulary: Vocabulary, max_words: int) -> tf.data.Dataset:
    """Parsed pictures -> (split, picture, ids int32 [R, T]); a picture without captions counts as OUTSIDE."""

    def encode(sha256, uris, captions):
        part = split.of(sha256.decode(), decode_uris(uris))
        rows = [encode_caption(text.decode(), vocabulary, max_words) for text in captions] if part == TRAIN else []
        ids = np.full([len(rows), max(map(len, rows), default=0)], PAD, np.int32)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = row
        return np.int32(part if rows or part != TRAIN else OUTSIDE), ids

    def with_ids(picture):
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


def pictures_of(features: FeatureSet, wanted) -> Iterator[tuple[DescribedPicture, np.ndarray]]:
    """Pictures for which `wanted(sha256, uris)` holds, with their features, in the order of the shards.

    Raises:
      JobFailed: a shard is damaged.
    """
    for record in records_of(features, wanted):
        yield DescribedPicture(record.sha256, record.uris, record.captions), record.feature


def records_of(features: FeatureSet, wanted) -> Iterator[records.FeatureRecord]:
    """The like as whole records, with their views."""
    for path in features.shard_paths():
        for serialized in checked(tf.data.TFRecordDataset(path), path):
            record = records.deserialize(serialized.numpy())
            if wanted(record.sha256, record.uris):
                yield record
