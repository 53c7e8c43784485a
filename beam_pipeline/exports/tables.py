"""Captions as one file: CSV, Parquet or COCO's results format. Memory does not grow with the rows."""

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
_ROW_GROUP = 16_384  # rows of Parquet that are in memory at once: a few MB
_BETWEEN = ";"  # words of a list in one CSV cell; the tokenizer leaves it in no word


def parquet_schema() -> pyarrow.Schema:
    """Returns the schema of the Parquet export."""
    import pyarrow

    text, number = pyarrow.string(), pyarrow.float64()
    types = (text, text, text, number, number, pyarrow.list_(text), pyarrow.list_(text), pyarrow.bool_())
    return pyarrow.schema(zip(COLUMNS, types, strict=True))


def write_csv(path: str, files: Iterable[CaptionedFile], _: Callable[[str], str]) -> None:
    """Writes files and their captions as CSV in UTF-8; a withheld caption is an empty cell.

    Cells are escaped, so no spreadsheet runs them as formulas (`runtime.tables.escape_cell`).
    """
    # A file name that is not UTF-8 contains lone surrogates.
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
    """Writes files and their captions as Parquet; a withheld caption is null.

    Parquet needs UTF-8, so a lone surrogate (of a file name that is not UTF-8) is spelt \\udcXX.
    """
    import pyarrow
    import pyarrow.parquet

    remaining, schema = iter(files), parquet_schema()
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        while rows := [_parquet_row(file) for file in itertools.islice(remaining, _ROW_GROUP)]:
            writer.write_table(pyarrow.Table.from_pylist(rows, schema))


def _parquet_row(file: CaptionedFile) -> Mapping[str, Any]:
    row = {name: getattr(file, name) for name in COLUMNS}
    return row | {"uri": utf8(file.uri), "caption": _shown(file)}


def _shown(file: CaptionedFile) -> str | None:
    return None if file.withheld else file.caption


def write_coco(path: str, files: Iterable[CaptionedFile], relative: Callable[[str], str]) -> None:
    """Writes captions in COCO's results format, `[{"image_id": name, "caption": caption}, ...]`.

    Withheld captions are left out. `captionbeam evaluate --captions` reads the file.

    Args:
      relative: address of a file -> its image_id, the path relative to the folder that all have in common.
    """
    with open(path, "w", encoding="ascii") as file:
        file.write("[")
        for number, row in enumerate((row for row in files if not row.withheld), start=1):
            entry = json.dumps({"image_id": relative(row.uri), "caption": row.caption})
            file.write((",\n" if number > 1 else "\n") + entry)
        file.write("\n]\n")
