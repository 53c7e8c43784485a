"""Statistics of all words of a captioned collection: those of its shards, brought up to date and added up.

A shard's stored statistics are valid as long as no other shard's ledger concerns its pictures. Where a later run found
another file of a picture, or a file that now shows another picture, the shard is counted again from its captions. So a
new folder costs only the new shards, and a shard that is removed no longer counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput

from beam_pipeline.runtime import storage
from beam_pipeline.runtime.counts import COUNTS, Outputs, count
from beam_pipeline.runtime.grouping import CoGroupInBuckets
from beam_pipeline.runtime.text import uri_key
from beam_pipeline.shards.ledger import DONE, DUPLICATE, LedgerLine
from beam_pipeline.shards.planning import ShardKey, read_named_ledger
from beam_pipeline.shards.shard_id import ShardId
from beam_pipeline.words.shard_statistics import files_of_pictures, statistics_of_shard
from beam_pipeline.words.statistics import WordStatistics

OWN = "own"  # tag of what a shard's own ledger says of its pictures


class MergeStatistics(beam.CombineFn):
    """WordStatistics of disjoint sets of pictures -> those of their union, for `CombinePerKey`."""

    def create_accumulator(self) -> WordStatistics:
        return WordStatistics()

    def add_input(self, accumulator: WordStatistics, statistics: WordStatistics) -> WordStatistics:
        return accumulator.merge(statistics)

    def merge_accumulators(self, accumulators: Iterable[WordStatistics]) -> WordStatistics:
        merged = WordStatistics()
        for accumulator in accumulators:
            merged = merged.merge(accumulator)
        return merged

    def extract_output(self, accumulator: WordStatistics) -> WordStatistics:
        return accumulator


class _OfDirectory(beam.PTransform):
    """A transform of the shards of a captions directory.

    Args:
      output: the directory.
    """

    def __init__(self, output: str):
        super().__init__()
        self.output = output


class CountWords(_OfDirectory):
    """ShardKey of captioned shards -> (Term, WordStatistics) over all of them, and counts of captions and flags.

    Statistics of pictures count every picture once, those of files once for each file that shows it. A picture that no
    file shows any more does not count.
    """

    def expand(self, shards: PCollection) -> Outputs:
        counted = (
            {
                "shards": shards | "KeyShard" >> beam.Map(lambda key: (key, None)),
                "changes": shards | "FindChangedPictures" >> FindChangedPictures(self.output),
            }
            | "GroupByShard" >> beam.CoGroupByKey()
            | "ReadStatistics" >> beam.FlatMap(statistics_of_group, self.output).with_outputs(COUNTS, main="main")
        )
        terms = counted.main | "MergeStatistics" >> beam.CombinePerKey(MergeStatistics())
        return Outputs(terms, (counted[COUNTS],))


class FindChangedPictures(_OfDirectory):
    """ShardKey -> (ShardKey, (sha256, files)) of pictures whose files differ from those in their own shard's ledger."""

    def expand(self, shards: PCollection) -> PCollection:
        ledgers = shards | "ReadLedgers" >> beam.FlatMap(files_and_captioned, self.output).with_outputs(
            OWN, main="main"
        )
        now = (
            {"lines": ledgers.main}
            | "GroupByUri" >> CoGroupInBuckets()
            | "PictureOfFile" >> beam.FlatMap(picture_of_file)
        )
        groups = {"now": now, "own": ledgers[OWN]} | "GroupByPicture" >> CoGroupInBuckets()
        return groups | "KeepChanged" >> beam.FlatMap(keep_changed)


def ledger_of_shard(key: ShardKey, output: str) -> Iterator[tuple[bytes, tuple[str, LedgerLine]]]:
    """ShardKey -> (key of the uri, (name of the ledger, ledger line)) of every line of its ledger."""
    for name, line in read_named_ledger(storage.join(output, ShardId(*key).ledger())):
        yield uri_key(line.uri), (name, line)


def picture_of_file(group: tuple[bytes, dict[str, Iterable[tuple[str, LedgerLine]]]]) -> Iterator[tuple[str, int]]:
    """Ledger lines of one uri -> (sha256 of the picture that it shows now, 1); nothing where it was rejected."""
    _, grouped = group
    _, line = max(grouped["lines"], key=lambda named: named[0])
    if line.outcome in (DONE, DUPLICATE):
        yield line.sha256, 1


def files_and_captioned(key: ShardKey, output: str) -> Iterator[Any]:
    """ShardKey -> lines of its ledger as `ledger_of_shard` gives them, and its pictures with their number of files.

    The pictures go to the output OWN as (sha256, (ShardKey, files)): those that the shard captioned, with the files
    that its own ledger knows.
    """
    ledger = list(ledger_of_shard(key, output))
    yield from ledger
    lines = [line for _, (_, line) in ledger]
    files = files_of_pictures(lines)
    for line in lines:
        if line.outcome == DONE:
            yield TaggedOutput(OWN, (line.sha256, (key, files[line.sha256])))


def keep_changed(group: tuple[str, dict[str, Iterable[Any]]]) -> Iterator[tuple[ShardKey, tuple[str, int]]]:
    """Number of files of one picture, now and in its own shard -> (ShardKey, (sha256, files now)) where they differ."""
    sha256, grouped = group
    now = sum(grouped["now"])
    for key, own in grouped["own"]:
        if now != own:
            yield key, (sha256, now)


def statistics_of_group(group: tuple[ShardKey, dict[str, Iterable[Any]]], output: str) -> Iterator[Any]:
    """A shard and its changed pictures -> (Term, WordStatistics) of the shard; its counts go to the output COUNTS."""
    key, grouped = group
    statistics = statistics_of_shard(ShardId(*key), output, dict(grouped["changes"]))
    for name, number in statistics.counts.items():
        yield count(name, number)
    yield from statistics.terms.items()
