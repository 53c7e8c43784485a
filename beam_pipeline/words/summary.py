"""summary.json of a captions directory, and the tables beside it."""

from __future__ import annotations

import json
from typing import Any

from beam_pipeline.runtime import storage
from beam_pipeline.words.terms import BIGRAM, WORD
from training.errors import UserError

SUMMARY = "summary.json"


TABLES = {WORD: "word_importance", BIGRAM: "bigram_importance"}  # kind of term -> name of its tables, without ending


def read_summary(directory: str, option: str) -> dict[str, Any]:
    """Captions directory -> its `summary.json`.

    Raises:
      UserError: there is none, or the run that makes it has not ended.
    """
    path = storage.join(directory, SUMMARY)
    if not storage.exists(path):
        raise UserError(f"{option} {directory}: no {SUMMARY} here; give a directory that `captionbeam caption` made")
    try:
        summary = json.loads(storage.read_bytes(path))
        ended = "pictures" in summary
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: damaged ({error}); run captionbeam caption again") from error
    tables = [storage.join(directory, f"{name}.parquet") for name in TABLES.values()]
    if not ended or not all(map(storage.exists, tables)):
        raise UserError(f"{option} {directory}: its captioning has not ended; run captionbeam caption again")
    return summary


EVIDENCE = "word_evidence.jsonl"
