"""Tables as files: CSV in which no spreadsheet finds a formula, and Parquet with exact values."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from beam_pipeline.runtime.text import utf8

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'")


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
      name: its heading.
      type: "string", "bool", "int64" or "float64", by Arrow's names.
      digits: after the decimal point, in CSV; Parquet has every digit.
    """

    name: str
    type: str
    digits: int = 0


Row = Mapping[str, Any]  # column name -> value, None where there is none


def to_csv(columns: Iterable[Column], rows: Iterable[Row]) -> bytes:
    """Columns and rows -> CSV in UTF-8, in which a missing value is an empty cell and a truth value is 0 or 1."""
    columns = list(columns)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in columns])
    for row in rows:
        writer.writerow([_cell(column, row[column.name]) for column in columns])
    # A file name that is not UTF-8 holds lone surrogates.
    return text.getvalue().encode("utf-8", "backslashreplace")


def _cell(column: Column, value: Any) -> str:
    if value is None:
        return ""
    if column.type == "string":
        return escape_cell(value)
    if column.type == "float64":
        rounded = round(value, column.digits)
        return f"{rounded if rounded else 0.0:.{column.digits}f}"  # never -0.000
    return str(int(value))


def escape_cell(text: str) -> str:
    """Text -> CSV cell that no spreadsheet takes for a formula: an apostrophe goes before = + - @ tab, line ends and '.

    Their other forms, such as a full-width =, count too: some programs take them for formulas.

    `unescape_cell` undoes it.
    """
    return "'" + text if unicodedata.normalize("NFKC", text[:1]).startswith(_FORMULA) else text


def unescape_cell(cell: str) -> str:
    """CSV cell -> the text that `escape_cell` was given."""
    return cell.removeprefix("'")


def to_parquet(columns: Iterable[Column], rows: Iterable[Row]) -> bytes:
    """Columns and rows -> Parquet, values exact; a lone surrogate is spelt \\udcXX, since Parquet holds UTF-8."""
    import pyarrow
    import pyarrow.parquet

    rows = list(rows)
    types = {name: pyarrow.type_for_alias(name) for name in ("string", "bool", "int64", "float64")}
    arrays = {
        column.name: pyarrow.array([_exact(row[column.name]) for row in rows], types[column.type]) for column in columns
    }
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(arrays), buffer)
    return buffer.getvalue()


def _exact(value: Any) -> Any:
    return utf8(value) if isinstance(value, str) else value


def read_parquet(data: bytes) -> list[dict[str, Any]]:
    """Parquet file -> its rows, as dictionaries."""
    import pyarrow.parquet

    # `pyarrow.parquet.read_table` would import pandas: 0.3 s and 45 MB.
    return pyarrow.parquet.ParquetFile(io.BytesIO(data)).read(use_threads=False).to_pylist()
