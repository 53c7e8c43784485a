"""What kind of directory of captionbeam it is, what its ledgers say, and whether a job is writing there; only reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from beam_pipeline.runtime import storage
from beam_pipeline.runtime.text import uri_key
from beam_pipeline.shards.ledger import REJECTED, LedgerLine, read_ledger
from beam_pipeline.shards.shard_id import ShardId, UnfinishedRun, committed_shards, parse_shard, unfinished_runs
from beam_pipeline.words.summary import SUMMARY
from training import files
from training.data.feature_set import MANIFEST
from training.errors import UserError
from training.models.captioner_files import CONFIG
from training.text.plurals import counted

FEATURES, CAPTIONS, CAPTIONER = "feature set", "captions", "captioner"


def kind_of(directory: str) -> str:
    """Directory -> FEATURES, CAPTIONS or CAPTIONER.

    Raises:
      UserError: the directory is none of them, or missing.
    """
    names = storage.list_directory(directory)
    if SUMMARY in names:
        return CAPTIONS
    if MANIFEST in names or any(parse_shard(name, "features") for name in names):
        return FEATURES
    if CONFIG in names:
        return CAPTIONER
    problem = "captionbeam made no file in it" if names else "no such directory, or it is empty"
    raise UserError(f"{directory}: {problem}; give a directory that extract, train or caption made")


@dataclass(frozen=True)
class Ledgers:
    """What the ledgers of a directory add up to; for each input, its newest line counts.

    Attributes:
      outcomes: number of inputs for each outcome.
      reasons: number of rejected inputs for each (stage, reason).
      committed: shards that have their ledger.
      unfinished: runs that lack shards.
    """

    outcomes: Counter[str]
    reasons: Counter[tuple[str, str]]
    committed: tuple[ShardId, ...]
    unfinished: tuple[UnfinishedRun, ...]


def read_ledgers(directory: str) -> Ledgers:
    """Directory -> Ledgers. Takes about 100 bytes of memory for each input of every run but the first."""
    committed = committed_shards(storage.list_directory(directory))
    outcomes: Counter[str] = Counter()
    reasons: Counter[tuple[str, str]] = Counter()
    for line in newest_lines(directory, committed):
        outcomes[line.outcome] += 1
        if line.outcome == REJECTED:
            reasons[line.stage, line.reason] += 1
    return Ledgers(outcomes, reasons, tuple(committed), tuple(unfinished_runs(committed)))


def newest_lines(directory: str, committed: Iterable[ShardId]) -> Iterator[LedgerLine]:
    """Directory and its committed shards -> the newest ledger line of each input, from the newest run to the oldest."""
    shards = sorted(committed, reverse=True)
    newer: set[int] = set()  # hashes of the inputs that newer runs list; a run lists an input once
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


def missing_shards(run: UnfinishedRun) -> str:
    """Unfinished run -> how many of its shards are missing, in words."""
    missing = len(run.missing)
    return f"{missing:,} of {counted(run.count, 'shard')} {'is' if missing == 1 else 'are'} missing"


def is_locked(directory: str) -> bool | None:
    """Whether a job is writing to a directory now; None where there are no locks, as on every remote file system."""
    return files.is_locked(directory) if storage.is_local(directory) else None
