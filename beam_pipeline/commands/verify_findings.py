"""What `verify` finds, and what it checks of features and captions alike: totals, ledgers, and which sample to take."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from beam_pipeline.runtime import storage
from beam_pipeline.shards.ledger import DONE, OUTCOMES, read_ledger
from beam_pipeline.shards.shard_id import ShardId
from training.text.plurals import counted


@dataclass
class Findings:
    """What a verification has found so far.

    Attributes:
      problems: what is wrong, a line each.
      compared: number of pictures computed again.
      identical: number of those whose result is the same to the last bit.
      gone: number of pictures in the sample of which no file can be read as it was.
    """

    problems: list[str] = field(default_factory=list)
    compared: int = 0
    identical: int = 0
    gone: int = 0


def draw_sample(contents: Collection[str], sample: float | int) -> set[str]:
    """Hex sha256 of pictures -> those in the sample; a hash of each decides, so the sample is the same everywhere.

    Args:
      sample: how many, an int, or which share, a float; of a share above 0 at least one picture is taken.
    """

    def place(sha256: str) -> float:
        return int.from_bytes(hashlib.sha256(f"verify {sha256}".encode()).digest()[:8], "big") / 2.0**64

    if isinstance(sample, int):
        return set(heapq.nsmallest(sample, contents, key=place))
    return {sha256 for sha256 in contents if place(sha256) < sample} or draw_sample(contents, int(sample > 0))


def done_contents(directory: str, shards: Iterable[ShardId]) -> Iterator[str]:
    """Hex sha256 of the pictures that the ledgers of shards call done; one may come more than once."""
    for shard in shards:
        for line in read_ledger(storage.join(directory, shard.ledger())):
            if line.outcome == DONE:
                yield line.sha256


def check_totals(directory: str, totals: Mapping[str, int]) -> Iterator[str]:
    """Totals of a directory -> a problem if they do not add up."""
    listed, accounted = totals.get("listed", 0), sum(totals.get(outcome, 0) for outcome in OUTCOMES)
    if listed != accounted:
        yield f"{directory}: the totals do not add up: {counted(listed, 'input')} listed, {accounted:,} accounted for"


def check_ledger(path: str, stored: Sequence[str], done: Collection[str]) -> Iterator[str]:
    """Pictures that a shard's file at `path` stores, and those that its ledger calls done -> problems."""
    distinct = set(stored)
    if repeated := len(stored) - len(distinct):
        yield f"{path}: stores {counted(repeated, 'picture')} twice"
    for sha256 in sorted(distinct.difference(done)):
        yield f"{path}: stores {sha256}, which its ledger does not call done"
