"""Which shard a picture belongs to, and the names of a shard's files.

A run cuts its work into N shards by content: each holds one N-th of the range of sha256. Run and N are part of every
file name, so the directory itself tells which shards of which run are missing, and a run that was killed is finished
with the same shards that it began with.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from beam_pipeline.runtime import storage
from training.own_names import PRUNE_MARK, SHARD_FILE


@dataclass(frozen=True, order=True)
class ShardId:
    """Shard `index` of the `count` that run `run` (1, 2, ...) was cut into."""

    run: int
    index: int
    count: int

    def file_name(self, kind: str, ending: str) -> str:
        """Name of the shard's file of a kind, without the directory."""
        return f"{kind}-{self.run:04d}-{self.index:05d}-of-{self.count:05d}.{ending}"

    def features(self) -> str:
        """Name of the TFRecord file of its features."""
        return self.file_name("features", "tfrecord")

    def captions(self) -> str:
        """Name of the file of its captions."""
        return self.file_name("captions", "jsonl")

    def words(self) -> str:
        """Name of the file of its word statistics."""
        return self.file_name("words", "jsonl")

    def ledger(self) -> str:
        """Name of its ledger, the file that commits the shard."""
        return self.file_name("ledger", "jsonl")


def parse_shard(file_name: str, kind: str) -> ShardId | None:
    """Name of a file -> ShardId; None for a file of another kind."""
    match = SHARD_FILE.fullmatch(file_name)
    if match is None or match["kind"] != kind:
        return None
    return ShardId(int(match["run"]), int(match["index"]), int(match["count"]))


# A prune writes what it keeps as a new run, and two marks say of it: it is being written; it replaces all before it.


def pruning_mark(run: int) -> str:
    """Name of the file that says that a run is being written by a prune, and does not count yet."""
    return f"pruning-{run:04d}"


def pruned_mark(run: int) -> str:
    """Name of the file that says that a run replaces all runs before it, whether or not `pruning_mark` is there."""
    return f"pruned-{run:04d}"


class Prune(NamedTuple):
    """What the marks of a directory say of its runs.

    Attributes:
      replaced_by: the run that replaces all runs before it; 0 for none.
      unfinished: the run that a prune did not finish, and that does not count; 0 for none.
    """

    replaced_by: int
    unfinished: int


def read_prune(file_names: Iterable[str]) -> Prune:
    """Names of all files in a directory -> what the marks of a prune among them say."""
    marks = [(match["state"], int(match["run"])) for name in file_names if (match := PRUNE_MARK.fullmatch(name))]
    pruned = max((run for state, run in marks if state == "pruned"), default=0)
    pruning = max((run for state, run in marks if state == "pruning"), default=0)
    return Prune(pruned, pruning if pruning > pruned else 0)


def committed_shards(file_names: Iterable[str]) -> list[ShardId]:
    """Names of all files in a directory -> the shards that have their ledger and count, sorted."""
    names = list(file_names)
    prune = read_prune(names)
    shards = (shard for name in names if (shard := parse_shard(name, "ledger")))
    return sorted(shard for shard in shards if shard.run >= prune.replaced_by and shard.run != prune.unfinished)


def unfinished_prune_files(file_names: Iterable[str]) -> list[str]:
    """Names of all files in a directory -> those that a prune which did not finish has left, its mark last."""
    names = list(file_names)
    run = read_prune(names).unfinished
    return [name for name in names if run and _run_of(name) == run] + ([pruning_mark(run)] if run else [])


def replaced_files(file_names: Iterable[str]) -> list[str]:
    """Names of all files in a directory -> those that a finished prune has replaced, its marks last."""
    names = list(file_names)
    run = read_prune(names).replaced_by
    marks = [name for name in (pruning_mark(run), pruned_mark(run)) if name in names]
    return [name for name in names if 0 < _run_of(name) < run] + marks


def _run_of(name: str) -> int:
    match = SHARD_FILE.fullmatch(name)
    return int(match["run"]) if match else 0


_CONTENT_BITS = 60


def content_key(sha256: str) -> int:
    """Hex digest of the content -> its first 60 bits, the number that decides the shard."""
    return int(sha256[: _CONTENT_BITS // 4], 16)


def content_part(sha256: str, parts: int) -> int:
    """Hex digest of the content -> which of `parts` equal parts of the range it lies in, from 0."""
    return content_key(sha256) * parts >> _CONTENT_BITS


@dataclass(frozen=True)
class UnfinishedRun:
    """A run some of whose shards have no ledger yet.

    Attributes:
      run: its number.
      count: number of its shards.
      missing: indexes of the shards without a ledger.
    """

    run: int
    count: int
    missing: frozenset[int]

    def shards(self) -> list[ShardId]:
        """The missing shards, by index."""
        return [ShardId(self.run, index, self.count) for index in sorted(self.missing)]

    def shard_of(self, sha256: str) -> ShardId | None:
        """Hex digest of a picture -> the missing shard that it belongs to; None where that shard is committed."""
        index = content_part(sha256, self.count)
        return ShardId(self.run, index, self.count) if index in self.missing else None


def unfinished_runs(committed: Iterable[ShardId]) -> list[UnfinishedRun]:
    """Committed shards -> the runs that lack others, oldest first."""
    committed_indexes: dict[tuple[int, int], set[int]] = {}
    for shard in committed:
        committed_indexes.setdefault((shard.run, shard.count), set()).add(shard.index)
    return [
        UnfinishedRun(run, count, frozenset(range(count)) - indexes)
        for (run, count), indexes in sorted(committed_indexes.items())
        if len(indexes) < count
    ]


def assign_shard(sha256: str, unfinished: Iterable[UnfinishedRun]) -> ShardId | None:
    """Hex digest of a picture -> its shard in the oldest unfinished run that lacks it; None where none does."""
    for run in unfinished:
        if shard := run.shard_of(sha256):
            return shard
    return None


def new_run(committed: Iterable[ShardId]) -> int:
    """Committed shards -> number of the next run, from 1."""
    return max((shard.run for shard in committed), default=0) + 1


def shard_count(pictures: int, shard_size: int) -> int:
    """Number of pictures -> number of shards, so that one holds `shard_size` of them on average at most."""
    return -(-pictures // shard_size)


def ledger_paths(directory: str) -> list[str]:
    """Directory -> paths of its ledgers, in run order."""
    return [storage.join(directory, shard.ledger()) for shard in committed_shards(storage.list_directory(directory))]
