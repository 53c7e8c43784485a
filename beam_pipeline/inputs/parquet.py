"""Pictures inside Parquet files, in the layout of Hugging Face datasets: a column of structs {bytes, path}.

Listing reads no picture. A picture cannot be cut out of one alone, so a row group is unpacked for
each: the last ones are kept, and inputs of one row group are fingerprinted together.
"""

from __future__ import annotations

import functools
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from beam_pipeline.inputs.input_file import (
    CAPTION_KEYS,
    InputFile,
    Member,
    UnreadableMember,
    clean_captions,
)
from beam_pipeline.runtime import storage

_IMAGE_COLUMNS = ("image", "img", "jpg", "png", "webp", "image_bytes")
_ROWS = 1024  # listed at once
_KEPT_GROUPS = 4  # unpacked row groups kept by a process
_LARGEST_GROUP = 64 << 20  # bytes of pictures in a row group up to which it is unpacked as a whole


@dataclass(frozen=True)
class _Columns:
    """Which columns of a Parquet file hold what; "" for none."""

    image: str
    name: str
    captions: tuple[str, ...]


def _columns(schema: pa.Schema) -> _Columns | None:
    """Schema -> its columns, or None if it holds no pictures."""
    names = [name for name in _IMAGE_COLUMNS if name in schema.names]
    names += [name for name in schema.names if name not in names]
    captions = tuple(name for name in CAPTION_KEYS if name in schema.names)
    for name in names:
        kind = schema.field(name).type
        if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            return _Columns(f"{name}.bytes", f"{name}.path" if kind.get_field_index("path") >= 0 else "", captions)
        if name in _IMAGE_COLUMNS and (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
            return _Columns(name, "", captions)
    return None


def list_parquet(container: InputFile, ignored: Counter[str]) -> Iterator[InputFile]:
    """Parquet file -> its rows as CONTAINER!/ROW/NAME, with their captions; one that is damaged comes as a problem.

    Args:
      ignored: left as it is, since every row is an input.
    """
    del ignored
    try:
        with storage.open_file(container.uri) as file:
            parquet = pq.ParquetFile(file)
            columns = _columns(parquet.schema_arrow)
            if columns is None:
                yield container.with_problem(
                    f"no column with pictures among {', '.join(parquet.schema_arrow.names)[:200]}"
                )
                return
            number = 0
            for group in range(parquet.num_row_groups):
                for row, (name, captions) in enumerate(_labels(parquet, group, columns)):
                    label = f"{number}/{name}" if name else str(number)
                    member = Member(container.uri, "parquet", (group, row))
                    uri = container.member_uri(label)
                    yield InputFile(uri, container.size, container.mtime, "", member, tuple(captions))
                    number += 1
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: text that is not UTF-8
        yield container.with_problem(f"not a Parquet file, or damaged ({error})")


def _labels(parquet: pq.ParquetFile, group: int, columns: _Columns) -> Iterator[tuple[str, list[str]]]:
    """Row group -> (name, captions) of its rows."""
    wanted = [*([columns.name] if columns.name else []), *columns.captions]
    if not wanted:
        yield from (("", []) for _ in range(parquet.metadata.row_group(group).num_rows))
        return
    for batch in parquet.iter_batches(_ROWS, row_groups=[group], columns=wanted):
        for row in batch.to_pylist():
            name = (row[columns.name.partition(".")[0]] or {}).get("path") if columns.name else ""
            texts = [text for column in columns.captions for text in clean_captions(row[column])]
            yield name or "", list(dict.fromkeys(texts))


_unpacking = threading.Lock()  # or every thread would unpack the same row group


def parquet_blocks(file: BinaryIO, member: InputFile) -> Iterator[bytes]:
    """Open Parquet file -> bytes of the picture in a row.

    Raises:
      UnreadableMember: the row is not there any more, has no picture or is damaged.
    """
    group, row = member.place
    try:
        with _unpacking:
            pictures = _row_group(member.file, member.size, member.mtime, group)
        picture = pictures[row].as_py() if pictures is not None else _picture_in(file, group, row)
    except (pa.ArrowException, IndexError, KeyError) as error:
        raise UnreadableMember(f"the row cannot be read ({error})") from error
    if picture is None:
        raise UnreadableMember("no picture in this row")
    yield picture


@functools.lru_cache(maxsize=_KEPT_GROUPS)
def _row_group(container: str, size: int, mtime: float, group: int) -> pa.ChunkedArray | None:
    """Pictures of a row group; None if they are too large to be held at once.

    Args:
      size, mtime: of the container when it was listed, so that a file that was replaced is read anew.
    """
    del size, mtime
    with storage.open_file(container) as file:
        parquet = pq.ParquetFile(file)
        column = _image_column(parquet)
        metadata = parquet.metadata.row_group(group)
        sizes = {
            chunk.path_in_schema: chunk.total_uncompressed_size
            for chunk in map(metadata.column, range(metadata.num_columns))
        }
        if sizes[column] > _LARGEST_GROUP:
            return None
        return _pictures(parquet.read_row_group(group, columns=[column]), column)


def _picture_in(file: BinaryIO, group: int, row: int) -> bytes | None:
    """One picture of a large row group, in which the rows before it are read and dropped."""
    parquet = pq.ParquetFile(file)
    column = _image_column(parquet)
    for batch in parquet.iter_batches(16, row_groups=[group], columns=[column]):
        if row < len(batch):
            return _pictures(pa.Table.from_batches([batch]), column)[row].as_py()
        row -= len(batch)
    raise IndexError("no such row")


def _image_column(parquet: pq.ParquetFile) -> str:
    columns = _columns(parquet.schema_arrow)
    if columns is None:
        raise KeyError("no column with pictures")
    return columns.image


def _pictures(table: pa.Table, column: str) -> pa.ChunkedArray:
    name, _, child = column.partition(".")
    if not child:
        return table[name]
    return table.flatten()[column]
