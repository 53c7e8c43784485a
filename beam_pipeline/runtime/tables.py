"""Tables as files: CSV in which no spreadsheet finds a formula, and Parquet with exact values."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from beam_pipeline.runtime import storage
from beam_pipeline.runtime.isolated_process import Handler, IsolatedProcess, ProcessDied, Refused, RequestLimits
from beam_pipeline.runtime.text import utf8, why

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


_LARGEST_TABLE = 256 << 20  # bytes of a file, and what it may be unpacked to
_MOST_ROWS = 4_000_000
_LIMITS = RequestLimits(processor_seconds=300, clock_seconds=600, memory_bytes=4 << 30, memory_per_byte=2)
_ROWS = 1024  # unpacked at once


def read_parquet(path: str) -> list[dict[str, Any]]:
    """Path of a Parquet file of plain columns -> its rows, as dictionaries.

    Somebody else may have written it, and a few bytes of such a file may unpack to gigabytes: so that happens in a
    process of its own.

    Raises:
      ValueError: it is damaged, or too large; the message is the reason, for a person.
      OSError: it cannot be read.
    """
    with storage.open_own(path) as file:
        data = file.read(_LARGEST_TABLE + 1)
    if len(data) > _LARGEST_TABLE:
        raise ValueError(f"more than {_LARGEST_TABLE:,} bytes")
    process = IsolatedProcess(f"{__name__}:{start_reader.__name__}", [], _LIMITS)
    try:
        names, *columns = map(json.loads, process.request(data))
    except (Refused, ProcessDied) as error:
        raise ValueError(str(error)) from error
    finally:
        process.close()
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def start_reader() -> Handler:
    """Returns the handler of the process: Parquet file -> names of its columns and the values of each, as JSON."""
    import pyarrow
    import pyarrow.parquet

    # What this allocator gives back is free for the next file, and it reserves nothing beforehand.
    pyarrow.set_memory_pool(pyarrow.system_memory_pool())

    def read(data: bytes) -> list[bytes]:
        try:
            # `pyarrow.parquet.read_table` would import pandas: 0.3 s and 45 MB.
            file = pyarrow.parquet.ParquetFile(io.BytesIO(data))
            columns: list[list[Any]] = [[] for _ in file.schema_arrow]
            size = rows = 0
            for batch in file.iter_batches(_ROWS, use_threads=False):
                size += batch.nbytes
                rows += len(batch)
                if size > _LARGEST_TABLE or rows > _MOST_ROWS:
                    raise Refused(f"it unpacks to more than {_LARGEST_TABLE:,} bytes or {_MOST_ROWS:,} rows")
                for values, column in zip(columns, batch.columns, strict=True):
                    values += column.to_pylist()
            return [json.dumps(part).encode() for part in (file.schema_arrow.names, *columns)]
        except (Refused, MemoryError):
            raise
        except Exception as error:  # whatever a damaged file makes Arrow raise
            raise Refused(why(error)) from error

    return read
