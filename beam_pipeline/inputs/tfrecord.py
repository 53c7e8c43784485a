"""Pictures inside TFRecord files of tf.train.Example, as img2dataset and im2txt write them.

The format has no index, so listing reads the whole file; each picture is then read by its offset. The few fields that
matter are read from the bytes of an Example: protobuf would make objects of everything in it, which may be many times
as large, and TensorFlow would have to be loaded.
"""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

import google_crc32c

from beam_pipeline.inputs.input_file import LARGEST_CAPTION, InputFile, Member, UnreadableMember, clean_captions
from beam_pipeline.runtime import storage
from training.text.plurals import counted

# Fields of an Example: of the picture and its name the first that is there, of captions all.
_IMAGE_FIELDS = ("jpg", "png", "webp", "image/encoded", "image")
_NAME_FIELDS = ("key", "image/filename", "filename")
_CAPTION_FIELDS = ("caption", "image/caption", "captions", "text")
_FIELDS = frozenset(field.encode() for field in (*_IMAGE_FIELDS, *_NAME_FIELDS, *_CAPTION_FIELDS))
_LARGEST_RECORD = 1 << 29  # bytes; what claims more is no record
_MOST_FIELDS = 100_000  # of a record; what has more is no picture with captions
_HEADER = struct.Struct("<QI")  # before a record: its bytes and their checksum
_CHECKSUM = struct.Struct("<I")  # after a record
_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5  # how protobuf writes a value
_CHANGED = "damaged in the archive: its checksum differs"

_Features = dict[str, list[bytes]]


def list_tfrecord(container: InputFile, ignored: Counter[str]) -> Iterator[InputFile]:
    """TFRecord file -> its pictures as CONTAINER!/KEY.jpg, with their captions; a damaged place ends the list.

    A record whose own bytes are damaged is one input with that problem.

    Args:
      ignored: counts the records without a picture, and captions that are too long to be any; added to.
    """
    read = 0
    try:
        with storage.open_file(container.uri) as file:
            for number, (offset, record, is_sound) in enumerate(_records(file)):
                member = Member(container.uri, "tfrecord", (offset, len(record)))
                try:
                    features = _features(record) if is_sound else {}
                except UnreadableMember as error:
                    if not read:
                        raise
                    yield _damaged(container, number, member, str(error))
                    continue
                read += 1
                field = _first(_IMAGE_FIELDS, features)
                if not is_sound:
                    yield _damaged(container, number, member, _CHANGED)
                elif field is None:
                    ignored["other"] += 1
                else:
                    captions = [text for key in _CAPTION_FIELDS for text in _texts(features, key, ignored)]
                    yield InputFile(
                        container.member_uri(_name(features, field, number)),
                        len(features[field][0]),
                        container.mtime,
                        member=member,
                        captions=tuple(dict.fromkeys(captions)),
                    )
    except UnreadableMember as error:
        if read:
            what = f"damaged after {counted(read, 'record')}, the rest is not read"
        else:
            what = "no TFRecord file of tf.train.Example, or a compressed one"
        yield container.with_problem(f"{what} ({error})")


def _damaged(container: InputFile, number: int, member: Member, problem: str) -> InputFile:
    return InputFile(container.member_uri(str(number)), member.place[1], container.mtime, problem, member)


def tfrecord_blocks(file: BinaryIO, member: InputFile) -> Iterator[bytes]:
    """Open TFRecord file -> bytes of the picture in one record.

    Raises:
      UnreadableMember: the record is not there any more, or damaged.
    """
    offset, size = member.place
    file.seek(offset)
    record = file.read(size)
    if not _is_sound(record, file.read(_CHECKSUM.size)):
        raise UnreadableMember(_CHANGED)
    features = _features(record)
    field = _first(_IMAGE_FIELDS, features)
    if field is None:
        raise UnreadableMember("no picture in this record")
    yield features[field][0]


def _records(file: BinaryIO) -> Iterator[tuple[int, bytes, bool]]:
    """Open TFRecord file -> (offset, content, whether its checksum is right) of its records.

    Raises:
      UnreadableMember: there is no record where one is due.
    """
    end = file.seek(0, os.SEEK_END)
    offset = 0
    while offset < end:
        file.seek(offset)
        header = file.read(_HEADER.size)
        if len(header) < _HEADER.size:
            raise UnreadableMember("it ends within a record")
        size, _ = _HEADER.unpack(header)
        if not _is_sound(header[:8], header[8:]):
            raise UnreadableMember("the size of a record has a wrong checksum")
        if size > _LARGEST_RECORD:
            raise UnreadableMember(f"a record of {counted(size, 'byte')}")
        offset += _HEADER.size
        if offset + size + _CHECKSUM.size > end:  # before anything of it is read
            raise UnreadableMember("it ends within a record")
        record = file.read(size)
        yield offset, record, _is_sound(record, file.read(_CHECKSUM.size))
        offset += size + _CHECKSUM.size


def _is_sound(data: bytes, checksum: bytes) -> bool:
    """Bytes and what a TFRecord says of them -> whether it is true."""
    crc = google_crc32c.value(data)
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF  # as TensorFlow stores it
    return checksum == _CHECKSUM.pack(masked)


def _features(record: bytes) -> _Features:
    """Serialized Example -> those of its fields that matter here, if they are bytes and not empty.

    Raises:
      UnreadableMember: it is none.
    """
    found: _Features = {}
    steps = iter(range(_MOST_FIELDS))
    try:
        for features in _parts(memoryview(record), 1, steps):  # Example.features
            for entry in _parts(features, 1, steps):  # Features.feature, a map
                key = b"".join(list(_parts(entry, 1, steps))[-1:])
                if key in _FIELDS:
                    lists = (part for feature in _parts(entry, 2, steps) for part in _parts(feature, 1, steps))
                    values = [bytes(value) for part in lists for value in _parts(part, 1, steps)]  # BytesList.value
                    if values:
                        found[key.decode()] = values
    except (IndexError, ValueError) as error:
        raise UnreadableMember("a record that is no tf.train.Example") from error
    return found


def _parts(message: memoryview, number: int, steps: Iterator[int]) -> list[memoryview]:
    """Message of protobuf -> contents of its fields of a number, as far as they are bytes or messages.

    Args:
      steps: gives out once for every field.

    Raises:
      IndexError, ValueError: it is no message.
      UnreadableMember: it has more fields than there are steps.
    """
    found = []
    at = 0
    while at < len(message):
        if next(steps, None) is None:
            raise UnreadableMember(f"a record of more than {_MOST_FIELDS:,} fields")
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == _VARINT:
            _, at = _varint(message, at)
            continue
        if kind == _BYTES:
            size, at = _varint(message, at)
        elif kind in (_FIXED_64, _FIXED_32):
            size = 8 if kind == _FIXED_64 else 4
        else:
            raise ValueError(f"a field of kind {kind}")
        if at + size > len(message) or not tag >> 3:
            raise ValueError("a field past the end")
        if kind == _BYTES and tag >> 3 == number:
            found.append(message[at : at + size])
        at += size
    return found


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Message and where a number begins in it -> the number, and where it ends."""
    value = 0
    for place in range(10):
        byte = message[at + place]
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, at + place + 1
    raise ValueError("a number of more than ten bytes")


def _first(names: tuple[str, ...], features: _Features) -> str | None:
    return next((name for name in names if name in features), None)


def _name(features: _Features, field: str, number: int) -> str:
    key = _first(_NAME_FIELDS, features)
    name = features[key][0].decode(errors="replace") if key else str(number)
    return name if os.path.splitext(name)[1] or field.startswith("image") else f"{name}.{field}"


def _texts(features: _Features, key: str, ignored: Counter[str]) -> list[str]:
    texts = features.get(key, [])
    sound = [text.decode(errors="replace") for text in texts if len(text) <= LARGEST_CAPTION]
    ignored["caption"] += len(texts) - len(sound)
    return clean_captions(sound)
