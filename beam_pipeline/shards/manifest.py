"""The manifest of a feature set, as runs read and write it, and what it says of the shards in the directory."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace

from beam_pipeline.runtime import storage
from beam_pipeline.shards.balance import add_up
from beam_pipeline.shards.results import Results
from beam_pipeline.shards.shard_id import ShardId, parse_shard
from training.data import feature_set
from training.data.feature_set import REPAIR, FeatureSet, Shard
from training.documents import Damaged
from training.errors import UserError
from training.own_names import MANIFEST, NOTE_SUFFIX

log = logging.getLogger("captionbeam")


def read_manifest(directory: str) -> FeatureSet | None:
    """Directory -> its FeatureSet, with or without shards; None where there is no manifest.

    Raises:
      UserError: the manifest cannot be read.
    """
    data = storage.read_own_if_there(storage.join(directory, MANIFEST))
    return None if data is None else feature_set.parse_manifest(directory, data)


def write_manifest(features: FeatureSet) -> None:
    """Replaces the manifest in the directory of a FeatureSet."""
    storage.write_document(storage.join(features.path, MANIFEST), features.to_json())


def finish_manifest(results: Results, features: FeatureSet) -> None:
    """Writes the manifest that ends a run.

    Args:
      results: manifest entries of the shards that the run made or found, counts and notes.
      features: feature set with the shards that the run kept.
    """
    shards = sorted([*features.shards, *results.elements], key=lambda shard: shard.name)
    write_manifest(replace(features, shards=tuple(shards), totals=add_up(results.counts), notes=results.notes))


def put_ledger_digests(directory: str, digests: Mapping[ShardId, str]) -> None:
    """Renews {shard: hex sha256 of its ledger} in the manifest of a directory, if it has one; "" for unknown."""
    if manifest := read_manifest(directory):
        renewed = {shard.features(): digest for shard, digest in digests.items()}
        shards = (
            replace(entry, ledger_sha256=renewed.get(entry.name, entry.ledger_sha256)) for entry in manifest.shards
        )
        write_manifest(replace(manifest, shards=tuple(shards)))


def damaged_shards(committed: Iterable[ShardId], manifest: FeatureSet | None, has_captions: bool) -> list[ShardId]:
    """Committed shards whose feature file has not the size that the manifest names: they have to be made again.

    Args:
      has_captions: whether this run knows captions, which a damaged shard may have held.

    Raises:
      UserError: a damaged shard held captions, and the run knows none.
    """
    if manifest is None:
        return []
    sizes = storage.list_directory(manifest.path)
    entries = {entry.name: entry for entry in manifest.shards}
    damaged = []
    for shard in committed:
        entry = entries.get(shard.features())
        if entry is None:
            continue
        noted = entry.name + NOTE_SUFFIX in sizes and not _is_sound(manifest.path, entry)
        if sizes.get(entry.name, 0) == entry.size_bytes and not noted and _has_its_ledger(manifest.path, shard, entry):
            continue
        if entry.captions and not has_captions:
            raise UserError(f"{manifest.path}: {entry.name} is damaged, and it held captions; give --captions again")
        size = sizes.get(entry.name, 0)
        if size == entry.size_bytes:
            log.info("%s is damaged, and its shard is made again", entry.name if noted else shard.ledger())
        else:
            log.info("%s is damaged (%d bytes instead of %d) and is made again", entry.name, size, entry.size_bytes)
        damaged.append(shard)
    return damaged


def _is_sound(directory: str, entry: Shard) -> bool:
    """Whether a shard that a reader found damaged is as it was written; the note of the reader is removed then."""
    path = storage.join(directory, entry.name)
    if storage.exists(path) and storage.sha256(path) == entry.sha256:
        storage.remove(path + NOTE_SUFFIX)
        return True
    return False


def _has_its_ledger(directory: str, shard: ShardId, entry: Shard) -> bool:
    path = storage.join(directory, shard.ledger())
    return not entry.ledger_sha256 or not storage.exists(path) or storage.sha256(path) == entry.ledger_sha256


def require_ledgers(manifest: FeatureSet | None, only: ShardId | None = None) -> None:
    """Checks the ledgers of the shards that a manifest lists against their checksums, where they are known.

    Args:
      only: the one to check; None for all.

    Raises:
      UserError: a ledger has another checksum, or is a link.
    """
    if manifest is None:
        return
    name = only.features() if only else None
    for entry in manifest.shards:
        if name not in (None, entry.name) or (shard := parse_shard(entry.name, "features")) is None:
            continue
        path = storage.join(manifest.path, shard.ledger())
        with contextlib.suppress(FileNotFoundError):
            storage.own_size(path)
            if entry.ledger_sha256 and storage.sha256(path) != entry.ledger_sha256:
                raise Damaged(path, "changed since it was written: it has another checksum", REPAIR)


def split_by_manifest(
    committed: Iterable[ShardId], manifest: FeatureSet | None
) -> tuple[tuple[Shard, ...], list[ShardId]]:
    """Committed shards -> (manifest entries of those that it names, the shards that it does not name yet)."""
    entries = {entry.name: entry for entry in manifest.shards} if manifest else {}
    listed = tuple(entries[shard.features()] for shard in committed if shard.features() in entries)
    return listed, [shard for shard in committed if shard.features() not in entries]
