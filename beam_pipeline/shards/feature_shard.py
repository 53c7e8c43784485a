"""Feature shards on any Beam file system; importing this loads TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator

from beam_pipeline.runtime import storage
from training.data.feature_records import FeatureRecord, deserialize
from training.data.tfrecords import read_records


def read_feature_shard(path: str) -> Iterator[FeatureRecord]:
    """Feature shard -> its records; none if there is no file, since a shard without pictures has none.

    Raises:
      JobFailed: a record is damaged or cut short.
    """
    if not storage.exists(path):
        return
    with storage.local_copy(path) as local:
        yield from map(deserialize, read_records(local, path))
