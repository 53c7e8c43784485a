"""Which shard a picture belongs to, and the names of a shard's files.

A run cuts its work into N shards by content: each holds the N-th part of the range of sha256. Run and N stand in
every file name, so the directory itself tells which shards of which run are still missing, and a run that was killed
is finished with the same shards that it began with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from beam_pipeline.runtime import storage

_NAME = re.compile(r"^(?P<kind>[a-z]+)-(?P<run>\d{4,})-(?P<index>\d{5,})-of-(?P<count>\d{5,})\.(?P<ending>[a-z]+)$")


@dataclass(frozen=True, order=True)
class ShardId:
    """Shard `index` of the `count` that run `run` (1, 2, ...) was cut into."""

    run: int
    index: int
    count: int

    def file_name(self, kind: str, ending: str) -> str:
        return f"{kind}-{self.run:04d}-{self.index:05d}-of-{self.count:05d}.{ending}"

    def features(self) -> str:
        return self.file_name("features", "tfrecord")

    def captions(self) -> str:
        return self.file_name("captions", "jsonl")

    def words(self) -> str:
        return self.file_name("words", "jsonl")

    def ledger(self) -> str:
        return self.file_name("ledger", "jsonl")


def parse_shard(file_name: str, kind: str) -> ShardId | None:
    """File name -> ShardId, or None for a file of another kind."""
    match = _NAME.match(file_name)
    if match is None or match["kind"] != kind:
        return None
    return ShardId(int(match["run"]), int(match["index"]), int(match["count"]))


def committed_shards(file_names: Iterable[str]) -> list[ShardId]:
    """Names of a directory's files -> the shards that have their ledger, sorted."""
    return sorted(shard for name in file_names if (shard := parse_shard(name, "ledger")))


_CONTENT_BITS = 60


def content_key(sha256: str) -> int:
    """Hex digest -> the number, below 2**60, that decides the shard."""
    return int(sha256[: _CONTENT_BITS // 4], 16)


def content_part(sha256: str, parts: int) -> int:
    """Hex digest -> which of so many equal parts of the range it lies in. Parts of parts lie together."""
    return content_key(sha256) * parts >> _CONTENT_BITS


@dataclass(frozen=True)
class UnfinishedRun:
    """A run some of whose shards have no ledger yet."""

    run: int
    count: int
    missing: frozenset[int]

    def shards(self) -> list[ShardId]:
        return [ShardId(self.run, index, self.count) for index in sorted(self.missing)]

    def shard_of(self, sha256: str) -> ShardId | None:
        """The missing shard that a picture belongs to, or None if that one is committed already."""
        index = content_part(sha256, self.count)
        return ShardId(self.run, index, self.count) if index in self.missing else None


def unfinished_runs(committed: Iterable[ShardId]) -> list[UnfinishedRun]:
    """Committed shards -> the runs that still lack some, oldest first."""
    found: dict[tuple[int, int], set[int]] = {}
    for shard in committed:
        found.setdefault((shard.run, shard.count), set()).add(shard.index)
    return [
        UnfinishedRun(run, count, frozenset(range(count)) - indexes)
        for (run, count), indexes in sorted(found.items())
        if len(indexes) < count
    ]


def assign_shard(sha256: str, unfinished: Iterable[UnfinishedRun]) -> ShardId | None:
    """A picture's place in an unfinished run; None where it needs a new run."""
    for run in unfinished:
        if shard := run.shard_of(sha256):
            return shard
    return None


def new_run(committed: Iterable[ShardId]) -> int:
    """Number of the next run."""
    return max((shard.run for shard in committed), default=0) + 1


def shard_count(pictures: int, shard_size: int) -> int:
    """Number of shards so that one holds `shard_size` pictures on average at most."""
    return -(-pictures // shard_size)


def ledger_paths(directory: str) -> list[str]:
    """Paths of the committed ledgers, in run order."""
    return [storage.join(directory, shard.ledger()) for shard in committed_shards(storage.list_directory(directory))]
