"""What an isolated process does to read untrusted Parquet files; loaded there by `runtime.isolated_process`.

A few bytes of such a file may unpack to gigabytes, and neither its footer nor its pages need to tell: so the process is
bounded, not the numbers. A local file it opens itself; of another it asks for the pieces that it needs.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from beam_pipeline.inputs.input_file import CAPTION_KEYS, LARGEST_CAPTION, clean_captions
from beam_pipeline.runtime.isolated_process import Handler, Refused
from beam_pipeline.runtime.text import why
from training.files import open_regular
from training.text.plurals import counted

NO_PICTURES = "no column with pictures"
DONE, NEEDS, NOTHING = b"done", b"needs", b"nothing"  # first part of an answer
ROWS = 1024  # listed at once
_ROWS_READ = 16  # pictures read at once from a large row group
_KEPT_GROUPS = 4  # unpacked row groups that are kept
_LARGEST_GROUP = 64 << 20  # bytes of pictures in a row group up to which it is unpacked as a whole
# What the columns of a row group may be unpacked to: a row costs all those before it. Pictures are packed already.
_LARGEST_UNPACKED = 256 << 20  # bytes
_LARGEST_RATIO = 100  # of these bytes to those in the file, where that is more
_LARGEST_ANSWER = 64 << 20  # bytes of labels
_KEPT_PIECES = 256 << 20  # bytes
_BUFFER = 1 << 20  # bytes of a local file that are read at once
_IMAGE_COLUMNS = ("image", "img", "jpg", "png", "webp", "image_bytes")


def start_reader() -> Handler:
    """Returns the handler: a request as JSON, and pieces of the file -> DONE and the answer, or NEEDS and a place."""
    # What this allocator gives back is free for the next file, and it reserves nothing beforehand.
    pa.set_memory_pool(pa.system_memory_pool())
    return _Reader().answer


@dataclass(frozen=True)
class _Columns:
    """Which leaves of a schema hold what, by their numbers.

    Attributes:
      image: bytes of the pictures.
      path: their names; None without them.
      captions: texts, or lists of texts.
    """

    image: int
    path: int | None
    captions: tuple[int, ...]


def _columns(schema: pa.Schema) -> _Columns | None:
    """Schema -> its columns, or None if it holds no pictures. Of columns of one name the first that fits counts."""
    pictures: list[tuple[str, int, int | None]] = []
    captions = []
    leaf = 0
    for column in schema:
        kind = column.type
        if pa.types.is_struct(kind):
            begins = [leaf + sum(map(_leaves, list(kind)[:place])) for place in range(kind.num_fields)]
            parts = list(zip(kind, begins, strict=True))
            image = next((begin for part, begin in parts if part.name == "bytes" and _is_bytes(part.type)), None)
            path = next((begin for part, begin in parts if part.name == "path" and _is_text(part.type)), None)
            if image is not None:
                pictures.append((column.name, image, path))
        elif column.name in _IMAGE_COLUMNS and _is_bytes(kind):
            pictures.append((column.name, leaf, None))
        elif column.name in CAPTION_KEYS and (_is_text(kind) or (_is_list(kind) and _is_text(kind.value_type))):
            captions.append((CAPTION_KEYS.index(column.name), leaf))
        leaf += _leaves(column)
    names = [name for name, _, _ in pictures]
    for name in (*_IMAGE_COLUMNS, *names):
        if name in names:
            _, image, path = pictures[names.index(name)]
            return _Columns(image, path, tuple(caption for _, caption in sorted(captions)))
    return None


def _leaves(field: pa.Field) -> int:
    """Field of a schema -> how many columns Parquet has for it."""
    kind = field.type
    if pa.types.is_map(kind):
        return _leaves(kind.key_field) + _leaves(kind.item_field)
    if pa.types.is_struct(kind):
        return sum(map(_leaves, kind))
    if _is_list(kind):
        return _leaves(kind.value_field)
    return 1


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_bytes(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)


def _values(array: pa.Array) -> pa.Array:
    """Array of one column, of which only one leaf was read -> that leaf, as bytes or lists of bytes."""
    while pa.types.is_struct(array.type):
        array = array.field(0)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if _is_text(array.type):  # as bytes, since it need not be UTF-8
        return array.cast(pa.large_binary())
    return array.cast(pa.large_list(pa.large_binary())) if _is_list(array.type) else array


class _Missing(Exception):
    """A piece of the file is not here; its arguments are the place."""


class _Pieces(io.RawIOBase):
    """A file of which only some pieces are here; reading any other tells which is missing."""

    def __init__(self, size: int):
        self._size = size
        self._position = 0
        self._pieces: dict[int, bytes] = {}
        self.missing: tuple[int, int] | None = None

    def add(self, offset: int, piece: bytes) -> None:
        """Takes in a piece; those before are let go if they are many."""
        if sum(map(len, self._pieces.values())) > _KEPT_PIECES:
            self._pieces.clear()
        self._pieces[offset] = piece

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        return self._position

    def read(self, size: int = -1) -> bytes:
        begin = self._position
        end = self._size if size < 0 else min(begin + size, self._size)
        for offset, piece in self._pieces.items():
            if offset <= begin and end <= offset + len(piece):
                self._position = end
                return piece[begin - offset : end - offset]
        self.missing = begin, end - begin
        raise _Missing


class _File:
    """An open Parquet file, and what of it is kept.

    Args:
      source: the file.
      size: its bytes.
    """

    def __init__(self, source: Any, size: int):
        self.size = size
        # Pieces of another file are asked for one by one: so a column is then read at once.
        buffer = 0 if isinstance(source, _Pieces) else _BUFFER
        self.parquet = pq.ParquetFile(source, pre_buffer=False, buffer_size=buffer)
        columns = _columns(self.parquet.schema_arrow)
        if columns is None:
            names = ", ".join(self.parquet.schema_arrow.names)
            raise Refused(f"{NO_PICTURES} among {names[:200]}")
        self.columns = columns
        self.labels = _Stream(self, sorted([*columns.captions, *([] if columns.path is None else [columns.path])]))
        self.pictures = _Stream(self, [columns.image])
        self._groups: dict[int, pa.ChunkedArray | None] = {}  # None where it is too large to be kept
        self._rows_read: dict[int, int] = {}  # by row group, where as many as usual do not fit in memory

    def picture(self, group: int, row: int) -> bytes | None:
        """Number of a row group and of a row in it -> the picture there, or None.

        Raises:
          IndexError: there is no such row.
        """
        if group not in self._groups:
            if len(self._groups) >= _KEPT_GROUPS:
                del self._groups[next(iter(self._groups))]
            self._groups[group] = self._unpacked(group)
        whole = self._groups[group]
        if whole is not None:
            return whole[row].as_py()
        try:
            return self.pictures.rows(group, row, self._rows_read.get(group, _ROWS_READ))[0][0].as_py()
        except MemoryError:
            if group in self._rows_read:
                raise
            self._rows_read[group] = 1
            return self.pictures.rows(group, row, 1)[0][0].as_py()

    def _unpacked(self, group: int) -> pa.ChunkedArray | None:
        if self.parquet.metadata.row_group(group).column(self.columns.image).total_uncompressed_size > _LARGEST_GROUP:
            return None
        parts, size = [], 0
        try:
            for batch in self.batches(group, [self.columns.image], _ROWS_READ):
                size += batch.nbytes
                if size > 2 * _LARGEST_GROUP:  # it took less for the footer's word
                    return None
                parts.append(_values(batch.column(0)))
        except (MemoryError, pa.ArrowException, OSError):  # row by row it may still do, up to the damaged place
            return None
        return pa.chunked_array(parts)

    def batches(self, group: int, leaves: list[int], number: int) -> Iterator[pa.RecordBatch]:
        """Number of a row group, columns and rows in a batch -> its batches."""
        return self.parquet.reader.iter_batches(number, row_groups=[group], column_indices=leaves, use_threads=False)

    def largest(self, group: int, leaves: list[int]) -> int:
        """Number of a row group, and columns -> bytes that these may be unpacked to."""
        row_group = self.parquet.metadata.row_group(group)
        stored = sum(row_group.column(leaf).total_compressed_size for leaf in leaves)
        return max(_LARGEST_UNPACKED, _LARGEST_RATIO * min(stored, self.size))


class _Stream:
    """Columns of a file, read batch by batch; it is fastest to ask for one row after the other.

    Args:
      file: the file.
      leaves: numbers of the columns, in order.
    """

    def __init__(self, file: _File, leaves: list[int]):
        self._file = file
        self._leaves = leaves
        self._at = (-1, 0, 0)  # group, rows in a batch, and the first row of the next batch
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._batch: pa.RecordBatch | None = None
        self._unpacked = 0  # bytes

    def rows(self, group: int, row: int, number: int) -> list[pa.Array]:
        """Number of a row group and of a row in it -> that row and those after it in its batch, column by column.

        Args:
          number: of rows in a batch.

        Raises:
          IndexError: there is no such row.
        """
        at_group, at_number, following = self._at
        begin = following - (len(self._batch) if self._batch else 0)
        if (at_group, at_number) != (group, number) or row < begin:
            self._batch, begin, following = None, 0, 0
            self._batches, self._unpacked = self._file.batches(group, self._leaves, number), 0
        self._at = (-1, 0, 0)  # unless all goes well
        while row >= following:
            self._batch = None
            self._batch = next(self._batches, None)
            if self._batch is None or not len(self._batch):
                raise IndexError("no such row")
            begin, following = following, following + len(self._batch)
            self._unpacked += self._batch.nbytes
            if self._unpacked > self._file.largest(group, self._leaves):
                raise Refused("the rows before it unpack to too much for the size of the file")
        self._at = (group, number, following)
        assert self._batch is not None
        return [_values(column)[row - begin :] for column in self._batch.columns]


class _Reader:
    """Answers requests; the latest file is kept open."""

    def __init__(self) -> None:
        self._key: tuple[Any, ...] = ()
        self._source: Any = None
        self._file: _File | None = None

    def answer(self, request: bytes, *pieces: bytes) -> Sequence[bytes]:
        """One request, see `start_reader`."""
        asked = json.loads(request)
        try:
            self._open(asked, pieces)
            if self._file is None:
                self._file = _File(self._source, asked["size"])
            answers: dict[str, Callable[..., bytes | None]] = {
                "groups": _groups,
                "labels": _labels,
                "picture": _File.picture,
            }
            answer = answers[asked["what"]](self._file, *asked["arguments"])
        except (Refused, MemoryError):
            raise
        except Exception as error:  # whatever a damaged file makes Arrow raise
            if isinstance(self._source, _Pieces) and self._source.missing:
                return NEEDS, json.dumps(self._source.missing).encode()
            raise Refused(why(error)) from error
        return (NOTHING,) if answer is None else (DONE, answer)

    def _open(self, asked: dict[str, Any], pieces: Sequence[bytes]) -> None:
        key = (asked["address"], asked["size"], asked["mtime"])
        if key != self._key:
            self._key, self._file, self._source = (), None, None
            is_local, address = asked["address"]
            self._source = open_regular(address) if is_local else _Pieces(asked["size"])
            self._key = key
        if isinstance(self._source, _Pieces):
            self._source.missing = None
            for offset, piece in zip(asked["pieces"], pieces, strict=True):
                self._source.add(offset, piece)


def _groups(file: _File) -> bytes:
    """Rows of every row group, and those of the file by its footer."""
    metadata = file.parquet.metadata
    rows = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    return json.dumps([metadata.num_rows, rows]).encode()


def _labels(file: _File, group: int, row: int) -> bytes:
    """Row group and the first row -> [name, captions] of some rows, and how many captions were left out."""
    columns = file.columns
    rows = file.parquet.metadata.row_group(group).num_rows - row
    leaves = sorted([*columns.captions, *([] if columns.path is None else [columns.path])])
    if not leaves:
        return json.dumps([[["", []]] * min(rows, ROWS), 0]).encode()
    read = dict(zip(leaves, file.labels.rows(group, row, ROWS), strict=True))
    size = sum(array.nbytes for array in read.values())
    if size > _LARGEST_ANSWER:
        raise Refused(f"the names and captions of {ROWS:,} rows take {counted(size, 'byte')}")
    left_out = 0
    labels = []
    for place in range(len(read[leaves[0]])):
        name = "" if columns.path is None else _text(read[columns.path][place].as_py())
        captions: dict[str, None] = {}
        for leaf in columns.captions:
            value = read[leaf][place].as_py()
            for text in value if isinstance(value, list) else [value]:
                if text is not None and len(text) > LARGEST_CAPTION:
                    left_out += 1
                else:
                    captions.update(dict.fromkeys(clean_captions(_text(text))))
        labels.append([name, list(captions)])
    return json.dumps([labels, left_out]).encode()


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="replace")
