"""One run over an output directory: what stands there already, the lock, the runner, and the balance at the end."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import AsDict, AsList, PCollection

from beam_pipeline.runtime import storage
from beam_pipeline.runtime.counts import NOTES_KEPT
from beam_pipeline.shards.ledger import LedgerLine, to_jsonl
from beam_pipeline.shards.shard_id import (
    ShardId,
    UnfinishedRun,
    committed_shards,
    new_run,
    unfinished_runs,
)
from training.files import locked, remove_temporary_files

log = logging.getLogger("captionbeam")


@dataclass(frozen=True)
class Standing:
    """What a directory holds when a run begins.

    Attributes:
      committed: shards that have their ledger.
      unfinished: runs that still lack shards.
      next_run: number of the run that new work goes into.
      ledgers: paths of the committed ledgers, in run order.
    """

    committed: tuple[ShardId, ...]
    unfinished: tuple[UnfinishedRun, ...]
    next_run: int
    ledgers: tuple[str, ...]


@contextlib.contextmanager
def exclusive(directory: str) -> Iterator[None]:
    """Makes the directory and holds it for one run; on remote file systems nothing is locked.

    Raises:
      JobFailed: another run holds it, or it cannot be written.
    """
    storage.make_directory(directory)
    with storage.writing(directory), locked(directory):
        if storage.is_local(directory):
            remove_temporary_files(directory)
        yield


def standing(directory: str, is_whole: Callable[[ShardId], bool] = lambda shard: True) -> Standing:
    """Directory -> Standing. The ledger of a shard that is not whole is removed, so that the shard is made again."""
    committed = []
    for shard in committed_shards(storage.list_directory(directory)):
        if is_whole(shard):
            committed.append(shard)
        else:
            storage.remove(storage.join(directory, shard.ledger()))
    # A run that has lost every ledger is numbered and cut anew, from the same inputs to the same shards.
    return Standing(
        committed=tuple(committed),
        unfinished=tuple(unfinished_runs(committed)),
        next_run=new_run(committed),
        ledgers=tuple(storage.join(directory, shard.ledger()) for shard in committed),
    )


def commit_shard(output: str, shard: ShardId, lines: Iterable[LedgerLine]) -> None:
    """Writes a shard's ledger; all that the shard holds must be written before."""
    ordered = sorted(lines, key=lambda line: line.uri)
    storage.write_atomic(storage.join(output, shard.ledger()), to_jsonl(ordered))


@dataclass(frozen=True)
class Results:
    """All that a run's workers report: what they made, how often, and examples of oddities."""

    shards: list[Any]
    counts: dict[str, int]
    notes: dict[str, list[str]]


class GatherResults(beam.PTransform):
    """Pipeline -> one Results element, from shards, counts (name, n) and notes (kind, text)."""

    def __init__(self, shards: PCollection, counts: list[PCollection], notes: list[PCollection]):
        super().__init__()
        self.shards = shards
        self.counts = counts
        self.notes = notes

    def expand(self, pipeline):
        counts = self.counts | "AllCounts" >> beam.Flatten() | "SumCounts" >> beam.CombinePerKey(sum)
        notes = (
            self.notes | "AllNotes" >> beam.Flatten() | "FirstNotes" >> beam.combiners.Top.SmallestPerKey(NOTES_KEPT)
        )
        return (
            pipeline
            | "Once" >> beam.Create([None])
            | "Gather" >> beam.Map(_gather, AsList(self.shards), AsDict(counts), AsDict(notes))
        )


def _gather(_, shards: list[Any], counts: dict[str, int], notes: dict[str, list[str]]) -> Results:
    return Results(shards, counts, {kind: sorted(texts) for kind, texts in sorted(notes.items())})
