"""The manifest of a feature set, as runs read and write it."""

from __future__ import annotations

import json
import logging
import os

from beam_pipeline.runtime import storage
from beam_pipeline.shards.run import Standing, standing
from beam_pipeline.shards.shard_id import ShardId
from training.data import feature_set
from training.data.feature_set import MANIFEST, FeatureSet, Shard
from training.errors import UserError

log = logging.getLogger("captionbeam")


def read_manifest(output: str) -> FeatureSet | None:
    """Directory -> its FeatureSet, empty or not; None where there is no manifest.

    Raises:
      UserError: the manifest cannot be read.
    """
    path = storage.join(output, MANIFEST)
    if not storage.exists(path):
        return None
    try:
        document = json.loads(storage.read_bytes(path))
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}); remove it, and `captionbeam extract` rebuilds it") from error
    return feature_set.from_json(output, document)


def write_manifest(output: str, features: FeatureSet) -> None:
    storage.write_atomic(storage.join(output, MANIFEST), (json.dumps(features.to_json(), indent=1) + "\n").encode())


def take_stock(output: str, earlier: FeatureSet | None, captions: bool) -> tuple[Standing, list[Shard], list[ShardId]]:
    """What can be kept: (standing, shards of the manifest, committed shards that it does not name yet)."""
    sizes = storage.list_directory(output)
    listed = {shard.name: shard for shard in earlier.shards} if earlier else {}

    def is_whole(shard: ShardId) -> bool:
        known = listed.get(shard.features())
        if known is None or sizes.get(known.name, 0) == known.size_bytes:
            return True
        if known.captions and not captions:
            raise UserError(f"{output}: {known.name} is damaged and held captions; give --captions again")
        log.info(
            "%s is damaged (%d bytes of %d) and is made again", known.name, sizes.get(known.name, 0), known.size_bytes
        )
        return False

    state = standing(output, is_whole)
    kept = [listed[shard.features()] for shard in state.committed if shard.features() in listed]
    return state, kept, [shard for shard in state.committed if shard.features() not in listed]


def summarize_shard(shard: ShardId, output: str) -> Shard:
    """A committed shard that no manifest names, because the run was killed before it wrote one -> its entry."""
    from beam_pipeline.shards.feature_shard import read_feature_shard  # TensorFlow, which manifests do not need

    path = storage.join(output, shard.features())
    if not storage.exists(path):
        return Shard(shard.features(), 0, 0, 0, "")
    captions = [len(record.captions) for record in read_feature_shard(path)]
    with storage.local_copy(path) as local:
        return Shard(shard.features(), len(captions), sum(captions), os.path.getsize(local), storage.sha256(local))
