"""What a directory holds that captionbeam wrote, and what its ledgers say; nothing in here writes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from beam_pipeline.runtime import storage
from beam_pipeline.runtime.text import uri_key
from beam_pipeline.shards.ledger import REJECTED, LedgerLine, read_ledger
from beam_pipeline.shards.shard_id import ShardId, UnfinishedRun, committed_shards, parse_shard, unfinished_runs
from beam_pipeline.words.summary import SUMMARY
from training.data.feature_set import MANIFEST
from training.errors import UserError

FEATURES, CAPTIONS, CAPTIONER = "feature set", "captions", "captioner"
CONFIG = "config.json"  # of a captioner; `training.models.captioner` would import Keras


def kind_of(directory: str) -> str:
    """Directory -> FEATURES, CAPTIONS or CAPTIONER.

    Raises:
      UserError: it is none of them.
    """
    names = storage.list_directory(directory)
    if SUMMARY in names:
        return CAPTIONS
    if MANIFEST in names or any(parse_shard(name, "features") for name in names):
        return FEATURES
    if CONFIG in names:
        return CAPTIONER
    there = "nothing of captionbeam's in there" if names else "no such directory, or nothing in it"
    raise UserError(f"{directory}: {there}; give a directory that extract, train or caption made")


@dataclass(frozen=True)
class Ledgers:
    """The ledgers of a directory; the newest run has the last word on an input.

    Attributes:
      outcomes: inputs by what became of them.
      reasons: rejected inputs by (stage, reason).
      committed: shards that have their ledger.
      unfinished: runs that lack shards.
    """

    outcomes: Counter[str]
    reasons: Counter[tuple[str, str]]
    committed: tuple[ShardId, ...]
    unfinished: tuple[UnfinishedRun, ...]


def read_ledgers(directory: str) -> Ledgers:
    """Directory -> Ledgers. Memory: 100 bytes or so for each input of every run but the first."""
    committed = committed_shards(storage.list_directory(directory))
    outcomes: Counter[str] = Counter()
    reasons: Counter[tuple[str, str]] = Counter()
    for line in last_words(directory, committed):
        outcomes[line.outcome] += 1
        if line.outcome == REJECTED:
            reasons[line.stage, line.reason] += 1
    return Ledgers(outcomes, reasons, tuple(committed), tuple(unfinished_runs(committed)))


def last_words(directory: str, committed: Iterable[ShardId]) -> Iterator[LedgerLine]:
    """The newest ledger line of each input, newest runs first."""
    shards = sorted(committed, reverse=True)
    newer: set[int] = set()  # hashes of the inputs that a newer run speaks of; a run names an input once
    this_run: list[int] = []
    for position, shard in enumerate(shards):
        if position and shard.run != shards[position - 1].run:
            newer.update(this_run)
            this_run.clear()
        older_to_come = shard.run != shards[-1].run
        for line in read_ledger(storage.join(directory, shard.ledger())):
            key = hash(uri_key(line.uri))
            if key not in newer:
                yield line
            if older_to_come:
                this_run.append(key)


def is_locked(directory: str) -> bool | None:
    """Whether a job is writing there now; None on remote file systems, where nothing is locked."""
    if not storage.is_local(directory):
        return None
    import fcntl

    from training.files import LOCK

    try:
        with open(os.path.join(directory, LOCK)) as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False
