"""Names and content of a captions directory's results: `summary.json` and the tables beside it."""

from __future__ import annotations

import json
from typing import Any, TypedDict

from beam_pipeline.runtime import storage
from beam_pipeline.runtime.tables import read_parquet
from beam_pipeline.shards.shard_id import ShardId, committed_shards, parse_shard
from beam_pipeline.words.terms import BIGRAM, WORD
from training.documents import Count, Damaged, Finite, as_kind
from training.errors import JobFailed, UserError

SUMMARY = "summary.json"
EVIDENCE = "word_evidence.jsonl"
RENEW = "run the same captionbeam caption command again, which makes it again"
TABLES = {WORD: "word_importance", BIGRAM: "bigram_importance"}  # kind of term -> name of its tables, without ending


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
      UserError: there is no summary, it is damaged, or the run that writes it has not finished.
    """
    path = storage.join(directory, SUMMARY)
    if not storage.exists(path):
        raise UserError(f"{option} {directory}: no {SUMMARY} here; give a directory that `captionbeam caption` made")
    try:
        summary = json.loads(storage.read_bytes(path))
        finished = "pictures" in summary
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: damaged ({error}); run captionbeam caption again") from error
    tables = [result_path(directory, f"{name}.parquet") for name in TABLES.values()]
    if not finished or not all(map(storage.exists, tables)):
        raise UserError(f"{option} {directory}: captioning has not finished; run captionbeam caption again")
    return summary


def read_table(directory: str, kind: str) -> list[dict[str, Any]]:
    """Captions directory and kind of term, WORD or BIGRAM -> rows of its importance table, in their order.

    Raises:
      UserError: the table is damaged.
    """
    path = result_path(directory, f"{TABLES[kind]}.parquet")
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
    shards, names = shards_of_summary(directory), storage.list_directory(directory)
    for shard in shards:
        if shard.ledger() not in names:
            path = storage.join(directory, shard.ledger())
            raise JobFailed(
                f"{path}: is missing; run the same captionbeam caption command again: it makes the shard again"
            )
    return shards


def counted_ledgers(directory: str) -> list[str]:
    """Captions directory -> paths of the ledgers of its `counted_shards`, in run order."""
    return [storage.join(directory, shard.ledger()) for shard in counted_shards(directory)]


def next_name(name: str) -> str:
    """Name of a result -> the name under which it waits until the summary that goes with it is written."""
    return f"next-{name}"


def result_path(directory: str, name: str) -> str:
    """Captions directory and the name of a result -> path of the one that goes with the summary.

    Results are written beside the old ones; the summary, which holds their digests, puts all of them in force at once.
    """
    waiting = storage.join(directory, next_name(name))
    if storage.exists(waiting) and storage.sha256(waiting) == read_earlier(directory).get("results", {}).get(name):
        return waiting
    return storage.join(directory, name)


def read_earlier(directory: str) -> dict[str, Any]:
    """Captions directory -> content of its `summary.json`, finished or not; empty where there is none."""
    path = storage.join(directory, SUMMARY)
    return json.loads(storage.read_bytes(path)) if storage.exists(path) else {}
