"""What kind of directory of captionbeam it is, what its ledgers say, and whether a job is writing there; only reads."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from beam_pipeline.runtime import storage
from beam_pipeline.runtime.text import uri_key
from beam_pipeline.shards.ledger import REJECTED, LedgerLine, read_ledger
from beam_pipeline.shards.shard_id import ShardId, UnfinishedRun, committed_shards, parse_shard, unfinished_runs
from training import files
from training.documents import Damaged
from training.errors import UserError
from training.own_names import (
    CAPTIONER,
    CAPTIONS,
    CONFIG,
    DEMO,
    FEATURES,
    MANIFEST,
    PROGRESS,
    SCORE_DOCUMENT,
    SUMMARY,
    WEIGHTS,
    belongs,
)
from training.text.plurals import counted


def kind_of(directory: str) -> str:
    """Directory -> FEATURES, CAPTIONS or CAPTIONER.

    Raises:
      UserError: the directory is none of them, or missing, or lacks the file that tells.
    """
    names = storage.list_directory(directory)
    for name, kind in ((SUMMARY, CAPTIONS), (MANIFEST, FEATURES), (CONFIG, CAPTIONER)):
        # Something else than a file may have that name: who reads it says what.
        if name in names or (storage.is_local(directory) and os.path.lexists(storage.join(directory, name))):
            return kind
    if any(parse_shard(name, "features") for name in names):
        return FEATURES
    if any(parse_shard(name, "captions") for name in names):
        raise Damaged(storage.join(directory, SUMMARY), "is missing", _MAKE_AGAIN.format(_MADE_BY[CAPTIONS]))
    if WEIGHTS in names or PROGRESS in names:
        raise Damaged(storage.join(directory, CONFIG), "is missing", _MAKE_AGAIN.format(_MADE_BY[CAPTIONER]))
    problem = "captionbeam made no file in it" if names else "no such directory, or it is empty"
    raise UserError(f"{directory}: {problem}; give a directory that extract, train or caption made")


_MAKE_AGAIN = "run the same `captionbeam {}` command again, which makes it again"
_MADE_BY = {FEATURES: "extract", CAPTIONS: "caption", CAPTIONER: "train"}


def require_kind(directory: str, kind: str, option: str) -> None:
    """Refuses an input directory that is of another kind; one that is of none is left to whoever reads it.

    Args:
      kind: FEATURES, CAPTIONS or CAPTIONER.
      option: how the user named the directory, for the message.

    Raises:
      UserError: names the kind that was found.
    """
    found = _kind_or_none(directory)
    if found not in (None, kind):
        raise UserError(
            f"{option} {directory}: holds {_WITH_ARTICLE[found]}, not {_WITH_ARTICLE[kind]}; give a directory that "
            f"`captionbeam {_MADE_BY[kind]}` made"
        )


def require_output(directory: str, kind: str) -> None:
    """Refuses an output directory that holds something else than what the command makes.

    Args:
      kind: FEATURES, CAPTIONS or CAPTIONER.

    Raises:
      UserError: names what was found.
    """
    found = _kind_or_none(directory)
    if found == kind:
        return
    what = _WITH_ARTICLE[found] if found else _foreign(directory, kind)
    if what:
        raise UserError(f"--output {directory}: holds {what}, not {_WITH_ARTICLE[kind]}; choose another --output")


_WITH_ARTICLE = {FEATURES: "a feature set", CAPTIONS: "captions", CAPTIONER: "a captioner"}


def _kind_or_none(directory: str) -> str | None:
    try:
        return kind_of(directory)
    except UserError:
        return None


def _foreign(directory: str, kind: str) -> str:
    """What somebody else, or evaluate or demo, put into a local directory, in words; "" for nothing."""
    if not storage.is_local(directory) or not os.path.isdir(directory):
        return ""
    with os.scandir(directory) as entries:
        names = sorted(entry.name for entry in entries)
    if DEMO in names:
        return "a demo"
    if SCORE_DOCUMENT in names:
        return "scores"
    for other in (FEATURES, CAPTIONS):  # of which somebody removed the manifest or the summary
        if other != kind and any(parse_shard(name, _SHARDS[other]) for name in names):
            return _WITH_ARTICLE[other]
    foreign = [name for name in names if not (name.startswith(".") or belongs(name, kind))]
    return f"files that captionbeam did not make, such as {foreign[0]}" if foreign else ""


_SHARDS = {FEATURES: "features", CAPTIONS: "captions"}


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
