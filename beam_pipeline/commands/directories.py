"""What kind of directory of captionbeam it is, what its ledgers say, and whether a job is writing there; only reads."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from beam_pipeline.runtime import storage
from beam_pipeline.runtime.text import uri_key
from beam_pipeline.shards.ledger import REJECTED, LedgerLine, read_ledger
from beam_pipeline.shards.shard_id import ShardId, UnfinishedRun, committed_shards, read_prune, unfinished_runs
from training import files
from training.documents import Damaged
from training.errors import UserError
from training.own_directories import WITH_ARTICLE, kind_by_names
from training.own_names import CAPTIONER, CAPTIONS, CONFIG, FEATURES, SUMMARY
from training.text.plurals import counted

_MADE_BY = {FEATURES: "extract", CAPTIONS: "caption", CAPTIONER: "train"}


def kind_of(directory: str) -> str:
    """Directory -> FEATURES, CAPTIONS or CAPTIONER.

    Raises:
      UserError: the directory is none of them, or missing, or lacks the file that describes it.
    """
    names = _names(directory)
    kind = kind_by_names(names)
    if kind not in _MADE_BY:
        problem = "captionbeam made no file in it" if names else "no such directory, or it is empty"
        if kind:
            problem = f"holds {WITH_ARTICLE[kind]}"
        raise UserError(f"{directory}: {problem}; give a directory that extract, train or caption made")
    for described, name in ((CAPTIONS, SUMMARY), (CAPTIONER, CONFIG)):
        if kind == described and name not in names:
            again = f"run the same `captionbeam {_MADE_BY[kind]}` command again, which makes it again"
            raise Damaged(storage.join(directory, name), "is missing", again)
    return kind


def require_kind(directory: str, kind: str, option: str) -> None:
    """Refuses an input directory that is of another kind; one that is of none is left to whoever reads it.

    Args:
      kind: FEATURES, CAPTIONS or CAPTIONER.
      option: how the user named the directory, for the message.

    Raises:
      UserError: names the kind that was found.
    """
    found = kind_by_names(_names(directory))
    if found not in (None, kind):
        raise UserError(
            f"{option} {directory}: holds {WITH_ARTICLE[found]}, not {WITH_ARTICLE[kind]}; give a directory that "
            f"`captionbeam {_MADE_BY[kind]}` made"
        )


def _names(directory: str) -> set[str]:
    names = set(storage.list_directory(directory))
    if storage.is_local(directory) and os.path.isdir(directory):
        names.update(os.listdir(directory))  # something else than a file may have a name: who reads it says what
    return names


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


def lost_shards(directory: str, counted_before: Iterable[ShardId]) -> list[ShardId]:
    """Directory and the shards that its manifest or summary counts -> those whose ledger is gone, sorted."""
    names = storage.list_directory(directory)
    replaced_by = read_prune(names).replaced_by
    return sorted(shard for shard in counted_before if shard.ledger() not in names and shard.run >= replaced_by)


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
