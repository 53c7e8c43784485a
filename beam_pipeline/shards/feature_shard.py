"""Feature shards on any Beam file system, read again; importing this loads TensorFlow."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from beam_pipeline.runtime import storage
from beam_pipeline.shards.shard_id import ShardId
from training.data.feature_records import FeatureRecord
from training.data.feature_set import Shard
from training.data.tfrecords import read_features as read_records
from training.errors import JobFailed


class PictureFeature(NamedTuple):
    """The feature of a distinct picture.

    Attributes:
      sha256: hex digest of its content.
      uri: address of the file that stands for it.
      feature: float16, a grid [P, C] or pooled [C].
    """

    sha256: str
    uri: str
    feature: np.ndarray


def read_feature_shard(path: str) -> Iterator[FeatureRecord]:
    """Feature shard -> its records; none if there is no file, since a shard without pictures has none.

    Raises:
      UserError: it is a link, a folder or a device.
      JobFailed: a record is damaged or cut short.
    """
    if storage.is_local(path) and os.path.lexists(path):
        storage.own_size(path)  # TensorFlow would wait for a pipe
    if not storage.exists(path):
        return
    with storage.local_copy(path) as local:
        yield from read_records(local, path)


def read_features(path: str) -> Iterator[PictureFeature]:
    """Feature shard -> the feature of each of its pictures; none if there is no file.

    Raises:
      UserError, JobFailed: as `read_feature_shard` does.
    """
    for record in read_feature_shard(path):
        yield PictureFeature(record.sha256, record.uris[0], record.feature)


def stored_features(shard: ShardId, directory: str) -> Iterator[str]:
    """Committed shard in a directory -> hex sha256 of the pictures whose features it holds, up to a damaged record."""
    with contextlib.suppress(JobFailed):
        for record in read_feature_shard(storage.join(directory, shard.features())):
            yield record.sha256


def summarize_shard(shard: ShardId, output: str) -> Shard:
    """Committed shard -> its manifest entry, read from its file: a killed run leaves shards that no manifest names.

    Raises:
      JobFailed: a record is damaged or cut short.
    """
    path = storage.join(output, shard.features())
    ledger_sha256 = storage.sha256(storage.join(output, shard.ledger()))
    if not storage.exists(path):
        return Shard(shard.features(), 0, 0, 0, "", ledger_sha256)
    captions = [len(record.captions) for record in read_feature_shard(path)]
    with storage.local_copy(path) as local:
        size_bytes, digest = os.path.getsize(local), storage.sha256(local)
    return Shard(shard.features(), len(captions), sum(captions), size_bytes, digest, ledger_sha256)
