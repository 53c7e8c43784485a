"""`caption --prune`: the captions of what is still listed, written as a new run in place of all others."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import replace
from typing import Any

import apache_beam as beam

from beam_pipeline.captions.picture import CaptionedPicture, read_captions
from beam_pipeline.captions.shard import caption_line
from beam_pipeline.inputs.sources import Collection
from beam_pipeline.runtime import storage
from beam_pipeline.shards.balance import add_up, pruned_totals
from beam_pipeline.shards.ledger import LedgerLine
from beam_pipeline.shards.output_directory import commit_prune, commit_shard
from beam_pipeline.shards.overlap import MakeShard, MakeShards
from beam_pipeline.shards.planning import ShardKey
from beam_pipeline.shards.pruning import KeptPicture, PlanPrune, by_shard
from beam_pipeline.shards.results import Results
from beam_pipeline.shards.run import GatherResults, Run
from beam_pipeline.shards.shard_id import ShardId
from beam_pipeline.words.count_words import CountWords
from beam_pipeline.words.shard_statistics import write_words
from beam_pipeline.words.writer import ResultWriter, is_of_words
from training.errors import JobFailed


def prune_captions(
    run: Run, collection: Collection, writer: ResultWriter, summary: dict[str, Any], shard_size: int
) -> None:
    """Writes what is still listed of finished captions as a new run, and the results that count it alone.

    Args:
      summary: content of the `summary.json` of the captions.

    Raises:
      JobFailed: a caption is missing, or the pipeline failed; the captions are as they were.
    """
    with run.pruning() as number, run.pipeline() as pipeline:
        plan = pipeline | "PlanPrune" >> PlanPrune(collection, run.standing, number, shard_size)
        made = plan.main | "KeepCaptions" >> MakeShards(PruneCaptionShard(run.output))
        words = made.main | "CountWords" >> CountWords(run.output)
        results = words.main | "GatherResults" >> GatherResults(plan, made, words)
        _ = results | "CommitPrune" >> beam.Map(commit_captions, writer, summary, number)


def commit_captions(results: Results, writer: ResultWriter, summary: Mapping[str, Any], number: int) -> None:
    """Puts the new run in the place of all others, and writes the results.

    Args:
      results: word statistics, and counts of what is kept.
      summary: content of `summary.json` as it was.
      number: of the new run.
    """
    commit_prune(writer.output, number)
    totals = pruned_totals(summary["totals"], add_up(results.counts))
    words = {name: n for name, n in results.counts.items() if is_of_words(name)}
    writer.write(replace(results, counts=words, notes=summary["notes"]), totals)


class PruneCaptionShard(MakeShard):
    """(ShardKey, KeptPictures) -> ShardKey, its captions, word statistics and then its ledger written; counts nothing.

    Args:
      output: captions directory.
    """

    def __init__(self, output: str):
        self.output = output

    def make(self, element: tuple[ShardKey, Iterable[KeptPicture]]) -> tuple[ShardKey, tuple[()]]:
        key, pictures = element
        prune_caption_shard(ShardId(*key), list(pictures), self.output)
        return key, ()


def prune_caption_shard(shard: ShardId, pictures: list[KeptPicture], output: str) -> None:
    """Writes the captions, word statistics and ledger of a new shard from those of the old shards.

    Raises:
      JobFailed: an old shard lacks a caption.
    """
    rows: list[CaptionedPicture] = []
    for old, kept in by_shard(pictures).items():
        found = captions_of(old, kept, output)
        if missing := kept.keys() - found.keys():
            path = storage.join(output, old.captions())
            raise JobFailed(
                f"{path}: lacks the caption of {kept[min(missing)].uris[0]}; nothing is pruned; remove {old.ledger()} "
                "and run the same command again"
            )
        rows += (replace(row, uri=kept[sha256].uris[0]) for sha256, row in found.items())
    rows.sort(key=lambda row: row.sha256)
    lines: list[LedgerLine] = [line for picture in pictures for line in picture.lines]
    storage.write_atomic(storage.join(output, shard.captions()), "".join(map(caption_line, rows)).encode())
    write_words(shard, rows, lines, output)
    commit_shard(output, shard, lines)


def captions_of(shard: ShardId, wanted: Container[str], output: str) -> dict[str, CaptionedPicture]:
    """Shard and hex sha256 of pictures -> those of its captions that are of these pictures, by sha256."""
    return {row.sha256: row for row in read_captions(shard, output) if row.sha256 in wanted}
