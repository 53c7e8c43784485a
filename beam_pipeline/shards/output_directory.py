"""The output directory of a run: its lock, what stands in it when a run begins, and how a shard is committed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from beam_pipeline.runtime import storage
from beam_pipeline.shards.ledger import LedgerLine, to_jsonl
from beam_pipeline.shards.shard_id import (
    ShardId,
    UnfinishedRun,
    committed_shards,
    new_run,
    pruned_mark,
    pruning_mark,
    unfinished_runs,
)
from training.files import locked, remove_temporary_files


@dataclass(frozen=True)
class Standing:
    """What an output directory holds when a run begins.

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
    """Makes a directory and holds it for one run; removes half-written files. Remote directories are not locked.

    Raises:
      JobFailed: another run holds it, or it cannot be written.
    """
    storage.make_directory(directory)
    with storage.writing(directory), locked(directory):
        if storage.is_local(directory):
            remove_temporary_files(directory)
        yield


def read_standing(directory: str) -> Standing:
    """Directory -> Standing."""
    committed = committed_shards(storage.list_directory(directory))
    # A run that has lost every ledger is numbered and cut anew: from the same inputs come the same shards.
    return Standing(
        committed=tuple(committed),
        unfinished=tuple(unfinished_runs(committed)),
        next_run=new_run(committed),
        ledgers=tuple(storage.join(directory, shard.ledger()) for shard in committed),
    )


def commit_shard(directory: str, shard: ShardId, lines: Iterable[LedgerLine]) -> None:
    """Writes the ledger of a shard, sorted by uri; everything else of the shard must be written before."""
    ordered = sorted(lines, key=lambda line: line.uri)
    storage.write_atomic(storage.join(directory, shard.ledger()), to_jsonl(ordered))


def begin_prune(directory: str, run: int) -> None:
    """Marks a run as one that a prune writes: none of its shards counts before `commit_prune`."""
    storage.write_atomic(storage.join(directory, pruning_mark(run)), b"")


def commit_prune(directory: str, run: int) -> None:
    """Puts the run that a prune has written in the place of all runs before it, in one step."""
    storage.write_atomic(storage.join(directory, pruned_mark(run)), b"")
