"""Names and content of a captions directory's results: `summary.json` and the tables beside it."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict

from beam_pipeline.runtime import storage
from beam_pipeline.runtime.tables import read_parquet
from beam_pipeline.shards.shard_id import ShardId, committed_shards, parse_shard
from beam_pipeline.words.terms import BIGRAM, WORD
from training.data.strangers import strangers
from training.documents import Count, Damaged, FileName, Finite, Scalar, Sha256, Sha256OrNone, as_kind
from training.errors import JobFailed, UserError
from training.own_names import BIGRAM_TABLE, CAPTIONS, NEXT, SUMMARY, WORD_TABLE
from training.text.plurals import counted

log = logging.getLogger("captionbeam")

RENEW = "run the same captionbeam caption command again, which makes it again"
TABLES = {WORD: WORD_TABLE, BIGRAM: BIGRAM_TABLE}  # kind of term -> name of its tables, without ending


_MEND = "remove it and run the same captionbeam caption command again, which writes it anew"


@dataclass(frozen=True)
class _CountedShard:
    name: FileName
    size_bytes: Count
    sha256: Sha256OrNone
    ledger_sha256: Sha256OrNone = ""  # in summaries that name it


@dataclass(frozen=True)
class _Reference:
    name: str
    documents: Count


@dataclass(frozen=True)
class _Begun:
    """Schema of `summary.json` before the first run has finished."""

    made_with: dict[str, Scalar]
    weights: str = field(default="", kw_only=True)


@dataclass(frozen=True)
class _Finished(_Begun):
    """Schema of `summary.json`."""

    totals: dict[str, Count]
    captions: Count
    pictures: Count
    files: Count
    flags: dict[str, Count]
    words: Count
    bigrams: Count
    evidence: list[str]
    reference: _Reference | None
    evidence_missing: list[str] = field(default_factory=list)
    notes: dict[str, list[str]] = field(default_factory=dict)
    shards: list[_CountedShard] = field(default_factory=list)
    results: dict[FileName, Sha256] = field(default_factory=dict)

    def __post_init__(self) -> None:
        missing = [name for name in ("listed", "done", "duplicate", "rejected", "new_done") if name not in self.totals]
        if missing:
            raise ValueError(f"totals lack {', '.join(missing)}")


class TableRow(TypedDict):
    """Columns of an importance table as far as they are read again; the others are for people and other programs."""

    word: str
    lemma: str
    stop_word: bool
    importance: Finite
    estimate: Finite
    estimate_low: Finite | None
    estimate_high: Finite | None
    images: Count
    z: Finite | None
    example: str | None


def read_summary(directory: str, option: str) -> dict[str, Any]:
    """Captions directory -> content of its `summary.json`.

    Args:
      option: how the user named the directory, for messages.

    Raises:
      UserError: there is no summary, it is damaged, the run that writes it has not finished, or a table is missing.
    """
    summary = read_earlier(directory)
    if not summary:
        if any(parse_shard(name, "captions") for name in storage.list_directory(directory)):
            raise Damaged(storage.join(directory, SUMMARY), "is missing", RENEW)
        raise UserError(f"{option} {directory}: no {SUMMARY} here; give a directory that `captionbeam caption` made")
    if "pictures" not in summary:
        raise UserError(f"{option} {directory}: captioning has not finished; run captionbeam caption again")
    for table in TABLES.values():
        if not storage.exists(path := result_path(directory, f"{table}.parquet")):
            raise Damaged(path, "is missing", RENEW)
    return summary


def read_table(directory: str, kind: str) -> list[dict[str, Any]]:
    """Captions directory and kind of term, WORD or BIGRAM -> rows of its importance table, in their order.

    Raises:
      UserError: the table is damaged.
    """
    path = result_path(directory, f"{TABLES[kind]}.parquet")
    require_result(directory, path)
    try:
        rows = read_parquet(path)
    except ValueError as error:
        raise Damaged(path, f"damaged ({error})", RENEW) from error
    return [dict(row) for row in as_kind(rows, list[TableRow], path, RENEW)]


def shards_of_summary(directory: str) -> list[ShardId]:
    """Captions directory -> the shards that its results count, sorted, whether or not they are still there.

    A run that was stopped may have left others, which the next one counts. Where a summary of an earlier captionbeam
    does not name its shards, they are all that are there.
    """
    names = [shard["name"] for shard in read_earlier(directory).get("shards", ())]
    shards = sorted(shard for name in names if (shard := parse_shard(name, "captions")))
    return shards or committed_shards(storage.list_directory(directory))


def counted_shards(directory: str) -> list[ShardId]:
    """Captions directory -> the shards that its results count, sorted: those of the last run that finished.

    Raises:
      JobFailed: the ledger of one is missing, since it was removed, or a run that makes it again was stopped.
    """
    shards = shards_of_summary(directory)
    require_ledgers(directory, shards)
    require_sizes(directory)
    return shards


def require_ledgers(directory: str, shards: Iterable[ShardId]) -> None:
    """Raises JobFailed if the ledger of one of these shards is missing from a captions directory."""
    names = storage.list_directory(directory)
    for shard in shards:
        if shard.ledger() not in names:
            path = storage.join(directory, shard.ledger())
            raise JobFailed(
                f"{path}: is missing; run the same captionbeam caption command again: it makes the shard again"
            )


def require_sizes(directory: str) -> None:
    """Raises UserError if the captions of a shard that the results count are not as long as they were; opens none."""
    sizes = storage.list_directory(directory)
    for entry in read_earlier(directory).get("shards", ()):
        size = sizes.get(entry["name"], 0)
        if size != entry["size_bytes"]:
            raise _damaged_shard(
                directory, entry["name"], f"has {counted(size, 'byte')} in place of {entry['size_bytes']:,}"
            )


def sound_shards(directory: str, only: Collection[ShardId] | None = None) -> list[ShardId]:
    """Captions directory -> its `counted_shards`, read, with the checksums that they were counted with.

    Args:
      only: shards to read; None for all.

    Raises:
      UserError: a file has another one.
      JobFailed: a ledger is missing.
    """
    shards = counted_shards(directory) if only is None else sorted(only)
    for entry in read_earlier(directory).get("shards", ()):
        shard = parse_shard(entry["name"], "captions")
        if shard is None or (only is not None and shard not in only):
            continue
        _require_digest(directory, entry["name"], entry["sha256"])
        _require_digest(directory, shard.ledger(), entry.get("ledger_sha256", ""))
    return shards


def require_counted_ledgers(directory: str) -> None:
    """Raises UserError if a ledger of a captions directory has another checksum than when it was counted."""
    for entry in read_earlier(directory).get("shards", ()):
        if shard := parse_shard(entry["name"], "captions"):
            with contextlib.suppress(FileNotFoundError):
                _require_digest(directory, shard.ledger(), entry.get("ledger_sha256", ""))


def _require_digest(directory: str, name: str, digest: str) -> None:
    if digest and digest != digest_of(storage.join(directory, name)):
        raise _damaged_shard(directory, name, "changed since it was written: it has another checksum")


def digest_of(path: str) -> str:
    """Path of a file of a directory that captionbeam made -> its sha256 in hex; a link is not followed."""
    storage.own_size(path)
    return storage.sha256(path)


def require_result(directory: str, path: str) -> None:
    """Raises UserError if a result, such as a table, is missing or has another checksum than the summary says."""
    if not storage.exists(path):
        raise Damaged(path, "is missing", RENEW)
    digest = read_earlier(directory).get("results", {}).get(os.path.basename(path).removeprefix(NEXT))
    if digest and digest != digest_of(path):
        raise Damaged(path, "changed since it was written: it has another checksum", RENEW)


def _damaged_shard(directory: str, name: str, fault: str) -> UserError:
    mend = "run the same captionbeam caption command again, which makes its shard again"
    return Damaged(storage.join(directory, name), fault, mend)


def counted_ledgers(directory: str) -> list[str]:
    """Captions directory -> paths of the ledgers of its `counted_shards`, in run order."""
    return [storage.join(directory, shard.ledger()) for shard in counted_shards(directory)]


def put_ledger_digests(directory: str, digests: Mapping[ShardId, str]) -> None:
    """Renews {shard: hex sha256 of its ledger} in the summary of a directory, if it has one; "" for unknown."""
    if summary := read_earlier(directory):
        renewed = {shard.captions(): digest for shard, digest in digests.items()}
        for entry in summary.get("shards", ()):
            if entry["name"] in renewed:
                entry["ledger_sha256"] = renewed[entry["name"]]
        storage.write_document(storage.join(directory, SUMMARY), summary)


def mention_strangers_of_captions(directory: str, summary: dict[str, Any]) -> None:
    """Logs what lies in a captions directory and does not belong to it.

    Args:
      summary: content of its `summary.json`.
    """
    names = storage.list_directory(directory)
    if line := strangers(names, (shard["name"] for shard in summary["shards"]), CAPTIONS, SUMMARY):
        log.info("%s: %s", directory, line)


def next_name(name: str) -> str:
    """Name of a result -> the name under which it waits until the summary that goes with it is written."""
    return NEXT + name


def result_path(directory: str, name: str) -> str:
    """Captions directory and the name of a result -> path of the one that goes with the summary.

    Results are written beside the old ones; the summary, which holds their digests, puts all of them in force at once.
    """
    waiting = storage.join(directory, next_name(name))
    if storage.is_file(waiting) and storage.sha256(waiting) == read_earlier(directory).get("results", {}).get(name):
        return waiting
    return storage.join(directory, name)


def read_earlier(directory: str) -> dict[str, Any]:
    """Captions directory -> content of its `summary.json`, finished or not; empty where there is none."""
    path = storage.join(directory, SUMMARY)
    document = storage.read_document(path, dict[str, Any], _MEND)
    if document is None:
        return {}
    kind: Any = _Finished if "pictures" in document else _Begun
    as_kind(document, kind, path, _MEND)
    return document
