"""Pipeline 2 where it begins with features: feature shards -> minus ledgers -> captions, ledgers, word statistics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput

from beam_pipeline.captions.decoder import DecoderSpec
from beam_pipeline.captions.picture import CaptionedPicture, read_captions
from beam_pipeline.captions.shard import write_captions
from beam_pipeline.runtime import storage
from beam_pipeline.runtime.counts import FlatMapAndCount, Outputs, count, outputs_of
from beam_pipeline.runtime.grouping import CoGroupInBuckets
from beam_pipeline.runtime.once_per_process import OncePerProcess
from beam_pipeline.shards.balance import check_prune
from beam_pipeline.shards.feature_shard import read_features
from beam_pipeline.shards.ledger import DONE, read_ledger
from beam_pipeline.shards.live_counts import SHARDS, LiveCounts
from beam_pipeline.shards.manifest import require_ledgers
from beam_pipeline.shards.output_directory import Standing
from beam_pipeline.shards.overlap import MakeShard, MakeShards
from beam_pipeline.shards.planning import ShardKey, shard_key
from beam_pipeline.shards.run import Run
from beam_pipeline.shards.shard_id import ShardId, content_key, content_part, parse_shard
from beam_pipeline.words.count_words import ledger_of_shard
from beam_pipeline.words.shard_statistics import write_words
from beam_pipeline.words.summary import shards_of_summary
from training.data.feature_set import FeatureSet, load_feature_set
from training.data.strangers import mention_strangers
from training.errors import UserError
from training.models.captioner import Captioner
from training.text.plurals import counted


def features_for(captioner: Captioner, path: str) -> FeatureSet:
    """Directory -> its FeatureSet, which the captioner can caption.

    Raises:
      UserError: there is no feature set, or it was made with another encoder than the captioner's.
      JobFailed: a shard is missing or damaged.
    """
    features = load_feature_set(path)
    mention_strangers(features)
    captioner.require_encoder(features.encoder)
    features.shard_paths()  # better found before the job than in it
    return features


def pictures_left(features: FeatureSet, standing: Standing) -> int:
    """Number of pictures of a feature set in shards that are not captioned yet."""
    done = {shard.features() for shard in standing.committed}
    return sum(entry.records for entry in features.shards if entry.name not in done)


def dropped_shards(features: FeatureSet, standing: Standing) -> tuple[ShardId, ...]:
    """Captioned shards that a feature set no longer has, since it was pruned or is another one."""
    names = {entry.name for entry in features.shards}
    return tuple(shard for shard in standing.committed if shard.features() not in names)


def check_dropped(
    features: FeatureSet, dropped: Iterable[ShardId], output: str, prune: bool, max_prune_rate: float
) -> None:
    """Refuses to let go of captions unasked, and of too many of them.

    Args:
      dropped: captioned shards that the feature set no longer has.
      output: captions directory.
      prune: whether it was asked for.
      max_prune_rate: share of the captioned pictures that may go, 0 to 1.

    Raises:
      UserError: it was not asked for.
      JobFailed: a larger share of the captioned pictures would go.
    """
    counted_before = set(shards_of_summary(output))
    counted_dropped = [shard for shard in dropped if shard in counted_before]
    if not counted_dropped:
        return
    if not prune:
        raise UserError(
            f"--output {output}: has captions of {counted(len(counted_dropped), 'shard')} that {features.path} does "
            "not have; if that feature set was pruned, add --prune, else choose another --output"
        )
    captioned = _contents(output, counted_before)
    kept = _contents(features.path, (shard for one in features.shards if (shard := parse_shard(one.name, "features"))))
    check_prune(len(captioned - kept), len(captioned), max_prune_rate, output)


def _contents(directory: str, shards: Iterable[ShardId]) -> set[int]:
    """Keys of the contents that the ledgers of shards call done."""
    return {
        content_key(line.sha256)
        for shard in shards
        for line in read_ledger(storage.join(directory, shard.ledger()))
        if line.outcome == DONE
    }


class CaptionFromFeatures(beam.PTransform):
    """Pipeline -> Outputs of ShardKey: every shard of a feature set that is not captioned yet, captioned.

    Counts the outcomes of all inputs in the ledgers of the feature set's shards.

    Args:
      features: what to caption.
      decoder: how to caption.
      run: gives the output directory, what it holds, and the live counts.
      dropped: captioned shards that the feature set no longer has; their captions are used where another shard has the
        picture now.
    """

    def __init__(self, features: FeatureSet, decoder: DecoderSpec, run: Run, dropped: tuple[ShardId, ...] = ()):
        super().__init__()
        self.features = features
        self.decoder = decoder
        self.run = run
        self.dropped = dropped

    def expand(self, pipeline: beam.Pipeline) -> Outputs:
        committed = [shard for shard in self.run.standing.committed if shard not in set(self.dropped)]
        shards = [shard for entry in self.features.shards if (shard := parse_shard(entry.name, "features"))]
        missing = [shard_key(shard) for shard in shards if shard not in set(committed)]
        caption_shard = CaptionFeatureShard(
            self.decoder, self.features, self.run.output, self.run.live_counts, self.dropped
        )
        captioned = (
            pipeline
            | "MissingShards" >> beam.Create(missing)
            | "SpreadMissing" >> beam.Reshuffle()
            | "CaptionShards" >> MakeShards(caption_shard)
        )
        committed_keys = pipeline | "CommittedShards" >> beam.Create([shard_key(shard) for shard in committed])
        inputs = (committed_keys, captioned.main) | "CountInputs" >> CountInputs(self.run.output)
        return outputs_of(captioned.main, captioned, inputs)


class CaptionFeatureShard(MakeShard):
    """ShardKey of a feature shard -> the same, its captions and word statistics written and its ledger copied.

    Args:
      decoder: how to caption; loaded once per process.
      features: the feature set.
      output: directory of the captions.
      live_counts: counters for the progress display.
      dropped: shards of the output that the feature set no longer has.
    """

    def __init__(
        self,
        decoder: DecoderSpec,
        features: FeatureSet,
        output: str,
        live_counts: LiveCounts,
        dropped: tuple[ShardId, ...] = (),
    ):
        self.decoder = OncePerProcess(decoder.load, decoder)
        self.features = features
        self.output = output
        self.live_counts = live_counts
        self.dropped = dropped

    def make(self, key: ShardKey) -> tuple[ShardKey, tuple[()]]:
        shard = ShardId(*key)
        require_ledgers(self.features, shard)  # else its damage would become part of the captions
        features = read_features(storage.join(self.features.path, shard.features()))
        ledger = storage.join(self.features.path, shard.ledger())
        known = known_captions(self.dropped, ledger, self.output) if self.dropped else {}
        count_done = partial(self.live_counts.add, DONE)
        captioned = write_captions(shard, features, self.decoder, self.output, count_done, known)
        write_words(shard, captioned, read_ledger(ledger), self.output)
        storage.write_atomic(storage.join(self.output, shard.ledger()), storage.read_bytes(ledger))
        self.live_counts.add(SHARDS)
        return key, ()  # a later shard may have the last word on an input: CountInputs counts


def known_captions(dropped: Iterable[ShardId], ledger: str, output: str) -> dict[str, CaptionedPicture]:
    """Dropped shards of captions, and the ledger of a new one -> sha256 -> caption of its pictures that are in them."""
    wanted = {line.sha256 for line in read_ledger(ledger) if line.outcome == DONE}
    known: dict[str, CaptionedPicture] = {}
    for shard in dropped:
        if any(content_part(sha256, shard.count) == shard.index for sha256 in wanted) and storage.exists(
            storage.join(output, shard.captions())
        ):
            known.update((row.sha256, row) for row in read_captions(shard, output) if row.sha256 in wanted)
    return known


class CountInputs(beam.PTransform):
    """ShardKeys (of earlier runs, of this run) -> Outputs that count each input by its outcome in the newest shard.

    Counts `listed`, and `OUTCOME` or `earlier_OUTCOME`.

    Args:
      output: directory of the ledgers.
    """

    def __init__(self, output: str):
        super().__init__()
        self.output = output

    def expand(self, shards: tuple[PCollection, PCollection]) -> Outputs:
        earlier, new = shards
        lines = (
            (
                earlier | "Earlier" >> beam.Map(lambda key: (key, False)),
                new | "New" >> beam.Map(lambda key: (key, True)),
            )
            | "AllShards" >> beam.Flatten()
            | "LinesOfShard" >> beam.FlatMap(lines_of_shard, self.output)
        )
        groups = {"lines": lines} | "GroupByUri" >> CoGroupInBuckets()
        return groups | "CountNewestLine" >> FlatMapAndCount(count_newest_line)


def lines_of_shard(keyed: tuple[ShardKey, bool], output: str) -> Iterator[tuple[bytes, tuple[str, bool, str]]]:
    """(ShardKey, whether of this run) -> (uri key, (ledger name, whether of this run, outcome)) of each ledger line."""
    key, new = keyed
    for uri, (name, line) in ledger_of_shard(key, output):
        yield uri, (name, new, line.outcome)


def count_newest_line(group: tuple[bytes, dict[str, Iterable[tuple[str, bool, str]]]]) -> Iterator[TaggedOutput]:
    """Ledger lines of one uri -> its counts; the newest run has the last word."""
    _, grouped = group
    _, new, outcome = max(grouped["lines"])
    yield count("listed")
    yield count(outcome if new else f"earlier_{outcome}")
