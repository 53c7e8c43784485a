"""Pictures inside TFRecord files of tf.train.Example, as img2dataset and im2txt write them.

The format has no index, so listing reads the whole file; each picture is then read by its offset.
"""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

import tensorflow as tf
from google.protobuf.message import DecodeError

from beam_pipeline.inputs.input_file import InputFile, Member, UnreadableMember, clean_captions
from beam_pipeline.runtime import storage

# Fields of an Example: of the picture and its name the first that is there, of captions all.
_IMAGE_FIELDS = ("jpg", "png", "webp", "image/encoded", "image")
_NAME_FIELDS = ("key", "image/filename", "filename")
_CAPTION_FIELDS = ("caption", "image/caption", "captions", "text")
_LARGEST_RECORD = 1 << 30  # bytes; what claims more is no record
_HEADER = struct.Struct("<QI")  # before a record: its bytes and a checksum; another checksum of 4 bytes follows it

_Features = dict[str, list[bytes]]


def list_tfrecord(container: InputFile, ignored: Counter[str]) -> Iterator[InputFile]:
    """TFRecord file -> its pictures as CONTAINER!/KEY.jpg, with their captions; a damaged place ends the list.

    Args:
      ignored: counts the records without a picture; added to.
    """
    read = 0
    try:
        with storage.open_file(container.uri) as file:
            for number, (offset, record) in enumerate(_records(file)):
                features = _features(record)
                read += 1
                field = _first(_IMAGE_FIELDS, features)
                if field is None:
                    ignored["other"] += 1
                    continue
                captions = [text for key in _CAPTION_FIELDS for text in _texts(features, key)]
                yield InputFile(
                    container.member_uri(_name(features, field, number)),
                    len(features[field][0]),
                    container.mtime,
                    member=Member(container.uri, "tfrecord", (offset, len(record))),
                    captions=tuple(dict.fromkeys(captions)),
                )
    except UnreadableMember as error:
        if read:
            yield container.with_problem(f"damaged after {read} records, the rest is not read ({error})")
        else:
            yield container.with_problem(f"no TFRecord file of tf.train.Example, or a compressed one ({error})")


def tfrecord_blocks(file: BinaryIO, member: InputFile) -> Iterator[bytes]:
    """Open TFRecord file -> bytes of the picture in one record.

    Raises:
      UnreadableMember: the record is not there any more.
    """
    offset, size = member.place
    file.seek(offset)
    features = _features(file.read(size))
    field = _first(_IMAGE_FIELDS, features)
    if field is None:
        raise UnreadableMember("no picture in this record")
    yield features[field][0]


def _records(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Open TFRecord file -> (offset, content) of its records."""
    offset = 0
    while header := file.read(_HEADER.size):
        if len(header) < _HEADER.size:
            raise UnreadableMember("it ends within a record")
        size, _ = _HEADER.unpack(header)
        if size > _LARGEST_RECORD:
            raise UnreadableMember(f"a record of {size} bytes")
        offset += _HEADER.size
        record = file.read(size)
        if len(record) < size or len(file.read(4)) < 4:
            raise UnreadableMember("it ends within a record")
        yield offset, record
        offset += size + 4


def _features(record: bytes) -> _Features:
    """Serialized Example -> its fields of bytes that are not empty."""
    try:
        example = tf.train.Example.FromString(record)
    except DecodeError as error:
        raise UnreadableMember("a record that is no tf.train.Example") from error
    fields = example.features.feature.items()
    return {name: list(feature.bytes_list.value) for name, feature in fields if feature.bytes_list.value}


def _first(names: tuple[str, ...], features: _Features) -> str | None:
    return next((name for name in names if name in features), None)


def _name(features: _Features, field: str, number: int) -> str:
    key = _first(_NAME_FIELDS, features)
    name = features[key][0].decode(errors="replace") if key else str(number)
    return name if os.path.splitext(name)[1] or field.startswith("image") else f"{name}.{field}"


def _texts(features: _Features, key: str) -> list[str]:
    return clean_captions([value.decode(errors="replace") for value in features.get(key, ())])
