"""Names and content of a captions directory's results: `summary.json` and the tables beside it."""

from __future__ import annotations

import json
from typing import Any

from beam_pipeline.runtime import storage
from beam_pipeline.runtime.tables import read_parquet
from beam_pipeline.words.terms import BIGRAM, WORD
from training.errors import UserError

SUMMARY = "summary.json"
EVIDENCE = "word_evidence.jsonl"
TABLES = {WORD: "word_importance", BIGRAM: "bigram_importance"}  # kind of term -> name of its tables, without ending


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
    tables = [storage.join(directory, f"{name}.parquet") for name in TABLES.values()]
    if not finished or not all(map(storage.exists, tables)):
        raise UserError(f"{option} {directory}: captioning has not finished; run captionbeam caption again")
    return summary


def read_table(directory: str, kind: str) -> list[dict[str, Any]]:
    """Captions directory and kind of term, WORD or BIGRAM -> rows of its importance table, in their order.

    Raises:
      UserError: the table is damaged.
    """
    path = storage.join(directory, f"{TABLES[kind]}.parquet")
    try:
        return read_parquet(path)
    except ValueError as error:
        raise UserError(f"{path}: damaged ({error}); remove it and run captionbeam caption again") from error
