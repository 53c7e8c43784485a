"""TFRecord shards of a feature set; TensorFlow checks the length and the CRC-32C of every record."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from training.data.damage import damaged
from training.data.feature_records import FeatureRecord, deserialize
from training.errors import JobFailed

_DAMAGE = (tf.errors.DataLossError, tf.errors.InvalidArgumentError)


def read_records(path: str, name: str | None = None) -> Iterator[bytes]:
    """Shard -> its records, in order.

    Args:
      path: the file, on any TensorFlow file system.
      name: what to call it in messages, if it is a local copy; None for its path.

    Raises:
      JobFailed: a record is damaged or cut short.
    """
    try:
        for record in tf.data.TFRecordDataset(path):
            yield record.numpy()
    except _DAMAGE as error:
        raise damaged(name or path) from error


def read_features(path: str, name: str | None = None) -> Iterator[FeatureRecord]:
    """Shard -> its records, parsed and checked, in order; see `read_records`.

    Raises:
      JobFailed: a record is damaged or cut short, or holds something else.
    """
    for number, record in enumerate(read_records(path, name), start=1):
        try:
            yield deserialize(record)
        except ValueError as error:
            raise damaged(name or path, f"damaged shard (record {number:,}: {error})") from error


def checked(dataset: tf.data.Dataset, paths: Sequence[str]) -> Iterator[Any]:
    """Iterates a dataset that reads these shards; an error of one of them names it.

    Raises:
      JobFailed: a record is damaged or cut short.
    """
    try:
        yield from dataset
    except _DAMAGE as error:
        # TensorFlow does not say which file it was reading.
        failures = (_failure(path, read) for read in (read_records, read_features) for path in paths)
        directory = posixpath.dirname(paths[0])
        unknown = JobFailed(f"{directory}: a record cannot be read; captionbeam verify {directory} finds its shard")
        raise next(filter(None, failures), unknown) from error


def _failure(path: str, read: Callable[[str], Iterator[Any]]) -> JobFailed | None:
    """What reading a shard to its end raises; None for a sound one."""
    try:
        for _ in read(path):
            pass
    except JobFailed as error:
        return error
    return None
