"""Which words matter in a captioned collection: the statistics of its shards, brought up to date and added up.

A shard's own file of statistics serves as it is, as long as no other shard's ledger speaks of its pictures. Where a
later run found a further file of a picture, or a file that now shows another one, the shard is counted anew from its
captions. So a new folder costs the new shards, and a shard that is removed is gone from the sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from beam_pipeline.runtime import storage
from beam_pipeline.runtime.counts import COUNTS, Outputs, count
from beam_pipeline.runtime.grouping import CoGroupInBuckets
from beam_pipeline.runtime.text import uri_key
from beam_pipeline.shards.ledger import DONE, DUPLICATE, LedgerLine
from beam_pipeline.shards.planning import ShardKey, read_ledger_in_order
from beam_pipeline.shards.shard_id import ShardId
from beam_pipeline.words.shard_statistics import files_of_pictures, statistics_of_shard
from beam_pipeline.words.statistics import WordStatistics

OWN = "own"


class MergeStatistics(beam.CombineFn):
    """WordStatistics of disjoint sets of pictures -> those of all, for `CombinePerKey`."""

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


class CountWords(beam.PTransform):
    """ShardKey of captioned shards -> (Term, WordStatistics) over all of them; counts captions, pictures and flags.

    A picture counts once, and once more for every file that shows it; one whose files have all changed counts no more.
    """

    def __init__(self, output: str):
        super().__init__()
        self.output = output

    def expand(self, shards):
        counted = (
            {
                "shards": shards | "KeyShard" >> beam.Map(lambda key: (key, None)),
                "changes": shards | "FindChangedPictures" >> FindChangedPictures(self.output),
            }
            | "GroupByShard" >> beam.CoGroupByKey()
            | "ReadStatistics" >> beam.FlatMap(statistics_of_group, self.output).with_outputs(COUNTS, main="main")
        )
        terms = counted.main | "MergeStatistics" >> beam.CombinePerKey(MergeStatistics())
        return Outputs(terms, counted[COUNTS])


class FindChangedPictures(beam.PTransform):
    """ShardKey -> (ShardKey, (sha256, files)) of pictures that other files show than their own shard's ledger says."""

    def __init__(self, output: str):
        super().__init__()
        self.output = output

    def expand(self, shards):
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
    """ShardKey -> (key of the uri, (ledger name, ledger line))."""
    for name, line in read_ledger_in_order(storage.join(output, ShardId(*key).ledger())):
        yield uri_key(line.uri), (name, line)


def picture_of_file(group: tuple[bytes, dict[str, Iterable[tuple[str, LedgerLine]]]]) -> Iterator[tuple[str, int]]:
    """Ledger lines of one uri -> (sha256 of the picture that it shows now, 1)."""
    _, grouped = group
    _, line = max(grouped["lines"], key=lambda named: named[0])
    if line.outcome in (DONE, DUPLICATE):
        yield line.sha256, 1


def files_and_captioned(key: ShardKey, output: str) -> Iterator[Any]:
    """ShardKey -> its ledger as `ledger_of_shard` gives it; OWN: (sha256, (the key, files)) of each picture that the
    shard captions, by that ledger alone.
    """
    ledger = list(ledger_of_shard(key, output))
    yield from ledger
    lines = [line for _, (_, line) in ledger]
    files = files_of_pictures(lines)
    for line in lines:
        if line.outcome == DONE:
            yield TaggedOutput(OWN, (line.sha256, (key, files[line.sha256])))


def keep_changed(group: tuple[str, dict[str, Iterable[Any]]]) -> Iterator[tuple[ShardKey, tuple[str, int]]]:
    """Files of one picture, now and by its own shard -> where they differ, (ShardKey, (sha256, files now))."""
    sha256, grouped = group
    now = sum(grouped["now"])
    for key, own in grouped["own"]:
        if now != own:
            yield key, (sha256, now)


def statistics_of_group(group: tuple[ShardKey, dict[str, Iterable[Any]]], output: str) -> Iterator[Any]:
    """A shard and its changed pictures -> (Term, WordStatistics) of the shard, and its counts."""
    key, grouped = group
    statistics = statistics_of_shard(ShardId(*key), output, dict(grouped["changes"]))
    for name, number in statistics.counts.items():
        yield count(name, number)
    yield from statistics.terms.items()
