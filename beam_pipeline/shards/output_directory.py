"""The output directory of a run: its lock, what stands in it when a run begins, and how a shard is committed."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from beam_pipeline.runtime import storage
from beam_pipeline.shards.ledger import DONE, REJECTED, LedgerLine, read_ledger, to_jsonl
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


def without_lost(
    directory: str, standing: Standing, contents: Callable[[ShardId, str], Iterable[str]]
) -> dict[ShardId, list[LedgerLine]]:
    """Committed shards whose ledgers name files of pictures that were lost with an older shard -> the other lines.

    The lost shard is made again. Those files have to be looked at again for it, so no ledger may name them.

    Args:
      standing: what the directory holds.
      contents: (shard, directory) -> hex sha256 of the pictures that a committed shard really holds.
    """
    newest = max((shard.run for shard in standing.committed), default=0)
    lost_runs = [run for run in standing.unfinished if run.run < newest]  # a run begins once all before it are whole
    if not lost_runs:
        return {}
    concerned: dict[ShardId, set[str]] = {}
    done: dict[ShardId, set[str]] = {}
    for shard, path in zip(standing.committed, standing.ledgers, strict=True):
        for line in read_ledger(path):
            if line.outcome != REJECTED and any(run.shard_of(line.sha256) for run in lost_runs):
                concerned.setdefault(shard, set()).add(line.sha256)
                if line.outcome == DONE:
                    done.setdefault(shard, set()).add(line.sha256)
    stored = {sha256 for shard, found in done.items() for sha256 in contents(shard, directory) if sha256 in found}
    return {
        shard: [line for line in read_ledger(path) if line.outcome == REJECTED or line.sha256 not in lost]
        for shard, path in zip(standing.committed, standing.ledgers, strict=True)
        if (lost := concerned.get(shard, set()) - stored)
    }


def commit_shard(directory: str, shard: ShardId, lines: Iterable[LedgerLine]) -> str:
    """Writes the ledger of a shard, sorted by uri, and returns its hex SHA-256; all else of the shard must be there."""
    data = to_jsonl(sorted(lines, key=lambda line: line.uri))
    storage.write_atomic(storage.join(directory, shard.ledger()), data)
    return hashlib.sha256(data).hexdigest()


def begin_prune(directory: str, run: int) -> None:
    """Marks a run as one that a prune writes: none of its shards counts before `commit_prune`."""
    storage.write_atomic(storage.join(directory, pruning_mark(run)), b"")


def commit_prune(directory: str, run: int) -> None:
    """Puts the run that a prune has written in the place of all runs before it, in one step."""
    storage.write_atomic(storage.join(directory, pruned_mark(run)), b"")
