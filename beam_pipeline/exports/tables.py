"""Captions as one file, row by row: CSV, Parquet, COCO's results form. Memory does not grow with the rows."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from beam_pipeline.results.caption_index import CaptionedFile
from beam_pipeline.runtime.tables import escape_cell
from beam_pipeline.runtime.text import utf8

if TYPE_CHECKING:
    import pyarrow

COLUMNS = ("uri", "sha256", "caption", "score", "confidence", "flags", "keywords", "duplicate")
_ROW_GROUP = 16_384  # rows that Parquet holds in memory: a few MB
_BETWEEN = ";"  # words of a list in one CSV cell; no word holds it, since the tokenizer cuts there


def write_csv(path: str, files: Iterable[CaptionedFile], _: Callable[[str], str]) -> None:
    """Rows -> CSV in UTF-8 that no spreadsheet runs (`tables.escape_cell`); a withheld caption is an empty cell."""
    # A file name that is not UTF-8 holds lone surrogates.
    with open(path, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in files:
            texts = (row.uri, row.sha256, _shown(row) or "", _BETWEEN.join(row.flags), _BETWEEN.join(row.keywords))
            uri, sha256, caption, flags, keywords = map(escape_cell, texts)
            confidence = "" if row.confidence is None else f"{row.confidence:.4f}"
            numbers = f"{row.score:.4f}", confidence
            writer.writerow([uri, sha256, caption, *numbers, flags, keywords, int(row.duplicate)])


def write_parquet(path: str, files: Iterable[CaptionedFile], _: Callable[[str], str]) -> None:
    """Rows -> Parquet; a withheld caption is null, a lone surrogate is spelt \\udcXX, since Parquet holds UTF-8."""
    import pyarrow  # 50 MB that the other formats do without
    import pyarrow.parquet

    schema, remaining = _parquet_schema(), iter(files)
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        while rows := [_parquet_row(file) for file in itertools.islice(remaining, _ROW_GROUP)]:
            writer.write_table(pyarrow.Table.from_pylist(rows, schema))


def _parquet_schema() -> pyarrow.Schema:
    import pyarrow

    return pyarrow.schema(
        {
            "uri": pyarrow.string(),
            "sha256": pyarrow.string(),
            "caption": pyarrow.string(),
            "score": pyarrow.float64(),
            "confidence": pyarrow.float64(),
            "flags": pyarrow.list_(pyarrow.string()),
            "keywords": pyarrow.list_(pyarrow.string()),
            "duplicate": pyarrow.bool_(),
        }
    )


def _parquet_row(file: CaptionedFile) -> Mapping[str, Any]:
    row = {name: getattr(file, name) for name in COLUMNS}
    return row | {"uri": utf8(file.uri), "caption": _shown(file)}


def _shown(file: CaptionedFile) -> str | None:
    return None if file.withheld else file.caption


def write_coco(path: str, files: Iterable[CaptionedFile], relative: Callable[[str], str]) -> None:
    """Rows -> `[{"image_id": name, "caption": ...}]`, a row a line, which `captionbeam evaluate --captions` takes.
    Withheld captions have none.

    Args:
      relative: address of a file -> its name below the folder that all have in common.
    """
    with open(path, "w", encoding="ascii") as file:
        file.write("[")
        for number, row in enumerate((row for row in files if not row.withheld), start=1):
            entry = json.dumps({"image_id": relative(row.uri), "caption": row.caption})
            file.write((",\n" if number > 1 else "\n") + entry)
        file.write("\n]\n")
