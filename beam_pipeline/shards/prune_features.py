"""`extract --prune`: the records that are still listed, written as a new run in place of all others."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import apache_beam as beam
import tensorflow as tf

from beam_pipeline.inputs.sources import Collection
from beam_pipeline.runtime import storage
from beam_pipeline.shards.balance import add_up, pruned_totals
from beam_pipeline.shards.feature_shard import read_feature_shard
from beam_pipeline.shards.ledger import LedgerLine
from beam_pipeline.shards.manifest import write_manifest
from beam_pipeline.shards.output_directory import commit_prune, commit_shard
from beam_pipeline.shards.overlap import MakeShard, MakeShards
from beam_pipeline.shards.planning import ShardKey
from beam_pipeline.shards.pruning import KeptPicture, PlanPrune, by_shard
from beam_pipeline.shards.results import Results
from beam_pipeline.shards.run import GatherResults, Run
from beam_pipeline.shards.shard_id import ShardId
from training.data.feature_records import FeatureRecord, serialize
from training.data.feature_set import FeatureSet, Shard
from training.errors import JobFailed


def prune_features(run: Run, collection: Collection, features: FeatureSet, shard_size: int) -> None:
    """Writes what is still listed of a finished feature set as a new run, and the manifest that names it alone.

    Raises:
      JobFailed: a shard is damaged, or the pipeline failed; the feature set is as it was.
    """
    with run.pruning() as number, run.pipeline() as pipeline:
        plan = pipeline | "PlanPrune" >> PlanPrune(collection, run.standing, number, shard_size)
        made = plan.main | "KeepRecords" >> MakeShards(PruneFeatureShard(run.output))
        results = made.main | "GatherResults" >> GatherResults(plan, made)
        _ = results | "CommitPrune" >> beam.Map(commit_features, features, number)


def commit_features(results: Results, features: FeatureSet, number: int) -> None:
    """Puts the new run in the place of all others, and writes the manifest.

    Args:
      results: manifest entries of the shards of the new run, and counts of what is kept.
      features: the feature set as it was.
      number: of the new run.
    """
    commit_prune(features.path, number)
    shards = tuple(sorted(results.elements, key=lambda shard: shard.name))
    totals = pruned_totals(features.totals, add_up(results.counts))
    write_manifest(replace(features, shards=shards, totals=totals))


class PruneFeatureShard(MakeShard):
    """(ShardKey, KeptPictures) -> Shard, its records and then its ledger written; counts nothing.

    Args:
      output: directory of the feature set.
    """

    def __init__(self, output: str):
        self.output = output

    def make(self, element: tuple[ShardKey, Iterable[KeptPicture]]) -> tuple[Shard, tuple[()]]:
        key, pictures = element
        return prune_feature_shard(ShardId(*key), list(pictures), self.output), ()


def prune_feature_shard(shard: ShardId, pictures: list[KeptPicture], output: str) -> Shard:
    """Kept pictures of a new shard -> its manifest entry; its records, in the order of sha256, and ledger are written.

    Raises:
      JobFailed: an old shard is damaged, or lacks a picture.
    """
    path = storage.join(output, shard.features())
    wanted = by_shard(pictures)
    records = captions = 0
    with storage.new_file(path) as local:
        with tf.io.TFRecordWriter(local) as writer:
            old = (_kept_records(one, kept, output) for one, kept in sorted(wanted.items()))
            for record in heapq.merge(*old, key=lambda record: record.sha256):
                writer.write(serialize(record))
                records += 1
                captions += len(record.captions)
        size_bytes, digest = os.path.getsize(local), storage.sha256(local)
    if not records:
        storage.remove(path)
        size_bytes, digest = 0, ""
    lines: list[LedgerLine] = [line for picture in pictures for line in picture.lines]
    ledger_sha256 = commit_shard(output, shard, lines)
    return Shard(shard.features(), records, captions, size_bytes, digest, ledger_sha256)


def _kept_records(shard: ShardId, kept: Mapping[str, KeptPicture], output: str) -> Iterator[FeatureRecord]:
    """The records of an old shard that are kept, with the files that they have now."""
    path = storage.join(output, shard.features())
    missing = set(kept)
    for record in read_feature_shard(path):
        if record.sha256 in missing:
            missing.remove(record.sha256)
            yield replace(record, uris=kept[record.sha256].uris)
    if missing:
        raise JobFailed(f"{path}: lacks the picture {min(missing)}; nothing is pruned; run captionbeam verify {output}")
