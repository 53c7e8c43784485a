"""Pipeline 2 where it begins with features: shards of a feature set -> captions, ledgers, word statistics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import TaggedOutput

from beam_pipeline.captions.decoder import DecoderSpec
from beam_pipeline.captions.shard import caption_features
from beam_pipeline.runtime import storage
from beam_pipeline.runtime.counts import COUNTS, MadeShards, count, tagged_outputs
from beam_pipeline.runtime.grouping import CoGroupInBuckets
from beam_pipeline.runtime.once_per_process import OncePerProcess
from beam_pipeline.shards.feature_shard import read_feature_shard
from beam_pipeline.shards.ledger import DONE, read_ledger
from beam_pipeline.shards.live_counts import SHARDS, LiveCounts
from beam_pipeline.shards.overlap import MakesShards
from beam_pipeline.shards.planning import ShardKey, shard_key
from beam_pipeline.shards.run import Standing
from beam_pipeline.shards.shard_id import ShardId, parse_shard
from beam_pipeline.words.count_words import ledger_of_shard
from beam_pipeline.words.shard_statistics import write_words
from training.data.feature_set import FeatureSet, load_feature_set
from training.models.captioner import Captioner


def pictures_left(features: FeatureSet, state: Standing) -> int:
    """How many pictures of a feature set are in shards that are not captioned yet."""
    done = {shard.features() for shard in state.committed}
    return sum(entry.records for entry in features.shards if entry.name not in done)


def captions_from_features(path: str, captioner: Captioner, decoder: DecoderSpec):
    """How a pipeline captions the shards of a feature set: (pipeline, output, Standing, LiveCounts) -> MadeShards.

    Raises:
      UserError: the features are of another encoder, or damaged.
    """
    features = load_feature_set(path)
    captioner.require_encoder(features.encoder)
    features.shard_paths()  # a damaged shard is better found before the job than in it

    def made(pipeline: beam.Pipeline, output: str, state, live_counts: LiveCounts) -> MadeShards:
        present = [shard for entry in features.shards if (shard := parse_shard(entry.name, "features"))]
        committed = set(state.committed)
        missing = [shard_key(shard) for shard in present if shard not in committed]
        shards = (
            pipeline
            | "FeatureShards" >> beam.Create(missing)
            | "SpreadFeatures" >> beam.Reshuffle()
            | "CaptionFeatures" >> beam.ParDo(CaptionFeatures(decoder, features.path, output, live_counts))
        )
        old = pipeline | "OldShards" >> beam.Create([shard_key(shard) for shard in state.committed])
        lines = (
            (
                old | "OldOrNot" >> beam.Map(lambda key: (key, False)),
                shards | "NewOrNot" >> beam.Map(lambda key: (key, True)),
            )
            | "KnownShards" >> beam.Flatten()
            | "LinesOfShard" >> beam.FlatMap(lines_of_shard, output)
        )
        groups = {"lines": lines} | "GroupLinesByUri" >> CoGroupInBuckets()
        counted = tagged_outputs(groups, "CountLastLine", count_last_line)
        return MadeShards(shards, [counted[COUNTS]], [pipeline | "NoNotes" >> beam.Create([])])

    return made


class CaptionFeatures(MakesShards):
    """ShardKey of a feature shard -> the same, its captions written and its ledger copied."""

    def __init__(self, decoder: DecoderSpec, features: str, output: str, live_counts: LiveCounts):
        self.decoder = OncePerProcess(decoder.load, decoder)
        self.features = features
        self.output = output
        self.live_counts = live_counts

    def make(self, key: ShardKey) -> ShardKey:
        shard = ShardId(*key)
        features = read_features(storage.join(self.features, shard.features()))
        captioned = caption_features(shard, features, self.decoder, self.output, partial(self.live_counts.add, DONE))
        ledger = storage.join(self.features, shard.ledger())
        write_words(shard, captioned, read_ledger(ledger), self.output)
        storage.write_atomic(storage.join(self.output, shard.ledger()), storage.read_bytes(ledger))
        self.live_counts.add(SHARDS)
        return key

    def outputs(self, made: ShardKey) -> Iterator[ShardKey]:
        yield made


def read_features(path: str) -> Iterator[tuple[str, str, np.ndarray]]:
    """Feature shard -> (sha256, uri, feature) of its pictures; none if there is no file.

    Raises:
      JobFailed: the shard is damaged.
    """
    for record in read_feature_shard(path):
        yield record.sha256, record.uris[0], record.feature


def lines_of_shard(keyed: tuple[ShardKey, bool], output: str) -> Iterator[tuple[bytes, tuple[str, bool, str]]]:
    """(ShardKey, made in this run) -> (uri, (ledger name, made in this run, outcome)) of its ledger lines."""
    key, new = keyed
    for uri, (name, line) in ledger_of_shard(key, output):
        yield uri, (name, new, line.outcome)


def count_last_line(group: tuple[bytes, dict[str, Iterable[tuple[str, bool, str]]]]) -> Iterator[TaggedOutput]:
    """Ledger lines of one uri -> its counts; the newest run has the last word."""
    _, grouped = group
    _, new, outcome = max(grouped["lines"])
    yield count("listed")
    yield count(outcome if new else f"earlier_{outcome}")
