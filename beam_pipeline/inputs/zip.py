"""Pictures inside .zip files, listed from their central directories and read by their places.

`zipfile` holds a directory as a whole, ten times its size, and knows only the last of several archives that were
joined. So the directory is read here entry by entry, twice: for what is a caption, and for what is a picture.
"""

from __future__ import annotations

import bisect
import itertools
import os
import stat
import struct
import zipfile
import zlib
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from beam_pipeline.inputs.archives import (
    CaptionsBeside,
    DamagedArchive,
    Named,
    is_member,
    is_text,
    member_of,
    problem_of,
    slice_of,
)
from beam_pipeline.inputs.input_file import InputFile, Member, UnreadableMember
from beam_pipeline.runtime import storage
from training.text.plurals import counted

_BLOCK = 1 << 20
_MOST_JOINED = 1000  # archives in one file
# Records of the format, all little-endian, by their signatures.
_LOCAL_HEADER = struct.Struct("<4s4xH16xHH")  # method, lengths of name and extra field
_ENTRY = struct.Struct("<4s4xHH4xIIIHHH4xII")  # of the directory
_END = struct.Struct("<4sHHHHIIH")  # disk, that of the directory, entries on it, entries, size, offset, comment
_LOCATOR_64 = struct.Struct("<4sIQI")  # disk and offset of _END_64, disks
_END_64 = struct.Struct("<4sQHHIIQQQQ")
_LARGEST_ENTRY = _ENTRY.size + 3 * 0xFFFF
_LARGEST_END = _END.size + 0xFFFF
_SIGNATURE = b"PK\x05\x05"  # of the directory, after its last entry
_ENCRYPTED, _UTF_8 = 1, 0x800  # bits of an entry's flags
_ZIP_64 = 1  # id of an extra field


def list_zip(container: InputFile, ignored: Counter[str]) -> Iterator[InputFile]:
    """Zip file -> its pictures with their captions, from its central directory; joined archives one after the other.

    Args:
      ignored: counts the members that are no pictures, by kind; added to.
    """
    with storage.open_file(container.uri) as file:
        for part in _parts(file):
            if isinstance(part, str):
                yield container.with_problem(part)
            else:
                yield from _pictures(container, file, part, ignored)


def zip_blocks(file: BinaryIO, member: InputFile) -> Iterator[bytes]:
    """Open zip file -> unpacked bytes of a member, block by block.

    Raises:
      UnreadableMember: it is not there any more, or damaged.
    """
    offset, size, crc = member.place
    file.seek(offset)
    header = file.read(_LOCAL_HEADER.size)
    if len(header) < _LOCAL_HEADER.size or not header.startswith(b"PK\x03\x04"):
        raise UnreadableMember("the archive has no such member any more")
    _, method, name_size, extra_size = _LOCAL_HEADER.unpack(header)
    stored = slice_of(file, offset + _LOCAL_HEADER.size + name_size + extra_size, size)
    found = 0
    for block in stored if method == zipfile.ZIP_STORED else _inflate(stored):
        found = zlib.crc32(block, found)
        yield block
    if found != crc:
        raise UnreadableMember("damaged in the archive: its checksum differs")


def _inflate(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Deflated blocks -> unpacked blocks of bounded size, however well they were packed."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for block in blocks:
            while block and not inflater.eof:
                yield inflater.decompress(block, _BLOCK)
                block = inflater.unconsumed_tail
        while rest := inflater.decompress(b"", _BLOCK):
            yield rest
    except zlib.error as error:
        raise UnreadableMember(f"damaged in the archive: {error}") from error


@dataclass(frozen=True)
class _Directory:
    """A central directory.

    Attributes:
      start, end: where it lies in the file.
      entries: how many it says it has.
      shift: where its archive begins, which the places of its members count from.
    """

    start: int
    end: int
    entries: int
    shift: int


@dataclass(frozen=True)
class _Entry:
    """What a directory says of one member; offsets count from the beginning of the file."""

    name: str
    flags: int
    method: int
    crc: int
    stored_size: int
    size: int
    mode: int
    offset: int
    stored_end: int

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return stat.S_ISLNK(self.mode)


def _pictures(
    container: InputFile, file: BinaryIO, directory: _Directory, ignored: Counter[str]
) -> Iterator[InputFile]:
    """Directory of a zip file -> its pictures with their captions."""
    texts, begins, found, problem = [], array("Q"), 0, ""
    try:
        for entry in _entries(file, directory):
            found += 1
            begins.append(min(entry.offset, directory.start))
            if is_text(entry.name) and not entry.is_link:
                texts.append(entry)
    except DamagedArchive as error:
        problem = problem_of(found, error, "not a zip archive, or cut")
    lost = directory.entries - found
    if lost % (1 << 16):  # those of more than 65,535 members may count only up to there
        problem = problem or f"its directory has {counted(found, 'member')} and says {directory.entries:,}"
        ignored["member"] += max(0, lost)
    places = _Places(array("Q", sorted(begins)), directory.start)

    def named(entry: _Entry) -> Named:
        member = Member(container.uri, "zip", (entry.offset, entry.stored_size, entry.crc))
        return entry.name, member_of(container, entry.name, entry.size, member, _problem(entry, places))

    beside = CaptionsBeside(map(named, texts), lambda text: zip_blocks(file, text), ignored)
    for entry in itertools.islice(_entries(file, directory), found):
        if entry.is_link:
            ignored["link"] += 1
        elif not entry.name.endswith("/") and is_member(entry.name, ignored) and not is_text(entry.name):
            yield beside.give(*named(entry))
    if problem:
        yield container.with_problem(problem)


class _Places:
    """Where the members of an archive begin, by which those that lie in one another are told.

    A small file could otherwise hold any number of large members.

    Args:
      begins: of all members, in order.
      end: of the last one.
    """

    def __init__(self, begins: Sequence[int], end: int):
        self._begins = begins
        self._end = end
        self._taken: set[int] = set()

    def problem(self, begin: int, end: int) -> str:
        """Place of a member -> why it cannot be read, or ""; of several at one place the first can."""
        if end > self._end:
            return "its place is outside the archive"
        after = bisect.bisect_right(self._begins, begin)
        if (after < len(self._begins) and self._begins[after] < end) or begin in self._taken:
            return "it overlaps another member"
        self._taken.add(begin)
        return ""


def _problem(entry: _Entry, places: _Places) -> str:
    if entry.flags & _ENCRYPTED:
        return "encrypted"
    if entry.method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"compressed by method {entry.method} of zip; only deflate can be read"
    return places.problem(entry.offset, entry.stored_end)


def _entries(file: BinaryIO, directory: _Directory) -> Iterator[_Entry]:
    """Open zip file and a directory in it -> its entries; no more than a block of it is held at a time."""
    position, block, at = directory.start, b"", 0
    while position < directory.end:
        if len(block) - at < min(_LARGEST_ENTRY, directory.end - position):
            file.seek(position)
            block, at = file.read(min(_BLOCK, directory.end - position)), 0
        if block.startswith(_SIGNATURE, at):
            return
        try:
            entry, size = _parse(block, at, directory.shift)
        except struct.error as error:
            raise DamagedArchive("its directory ends within an entry") from error
        yield entry
        position, at = position + size, at + size


def _parse(block: bytes, at: int, shift: int) -> tuple[_Entry, int]:
    """Bytes of a directory and where an entry begins -> the entry, and its length.

    Args:
      shift: where the archive begins.
    """
    fields = _ENTRY.unpack_from(block, at)
    signature, flags, method, crc, stored, size, name_size, extra_size, comment_size, attributes, offset = fields
    if signature != b"PK\x01\x02":
        raise DamagedArchive("no entry of its directory where one is due")
    length = _ENTRY.size + name_size + extra_size + comment_size
    if at + length > len(block):
        raise DamagedArchive("its directory ends within an entry")
    name_end = at + _ENTRY.size + name_size
    name = block[name_end - name_size : name_end]
    extra = block[name_end : name_end + extra_size]
    # Sizes that do not fit stand in an extra field, in this order.
    large = iter(_zip_64_numbers(extra))
    size, stored, offset = (
        next(large, number) if number == 0xFFFFFFFF else number for number in (size, stored, offset)
    )
    text = name.decode("utf-8", "surrogateescape") if flags & _UTF_8 else name.decode("cp437")
    begin = offset + shift
    end = begin + _LOCAL_HEADER.size + name_size + stored
    entry = _Entry(text.partition("\0")[0], flags, method, crc, stored, size, attributes >> 16, begin, end)
    return entry, length


def _zip_64_numbers(extra: bytes) -> tuple[int, ...]:
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, at)
        if kind == _ZIP_64:
            content = extra[at + 4 : at + 4 + size]
            return struct.unpack(f"<{len(content) // 8}Q", content[: len(content) // 8 * 8])
        at += 4 + size
    return ()


def _parts(file: BinaryIO) -> Iterator[_Directory | str]:
    """Open zip file -> the directories of the archives that were joined in it, in their order, and what is wrong."""
    found: list[_Directory | str] = []
    end = file.seek(0, os.SEEK_END)
    directories = 0
    try:
        while end and directories < _MOST_JOINED and (last := _last_directory(file, end)):
            directory, after = last
            directories += 1
            if after:
                found.append(f"what follows its end ({counted(after, 'byte')}) is not read")
            found.append(directory)
            end = directory.shift
        file.seek(0)
        if not directories:
            found.append("not a zip archive, or cut (no directory of members)")
        elif end and file.read(4) == b"PK\x03\x04":
            found.append(f"its beginning ({counted(end, 'byte')}) holds members without a directory and is not read")
    except DamagedArchive as error:
        found.append(f"its beginning ({counted(end, 'byte')}) is not read ({error})" if directories else str(error))
    return reversed(found)


def _last_directory(file: BinaryIO, end: int) -> tuple[_Directory, int] | None:
    """Open zip file and where an archive in it ends -> its directory, and how many bytes follow; None without one."""
    begin = max(0, end - _LARGEST_END)
    file.seek(max(begin, end - _END.size))
    tail = file.read(min(end, _END.size))
    if not (tail.startswith(b"PK\x05\x06") and tail.endswith(b"\0\0")):  # the usual one, without a comment
        file.seek(begin)
        tail = file.read(end - begin)
    at = _find_end(tail)
    if at is None:
        return None
    place = end - len(tail) + at
    _, disk, own_disk, entries_here, entries, size, offset, comment_size = _END.unpack_from(tail, at)
    after = tail[at + _END.size + comment_size :]
    directory_end = place
    file.seek(max(0, place - _LOCATOR_64.size))
    locator = file.read(_LOCATOR_64.size)
    if locator.startswith(b"PK\x06\x07") and len(locator) == _LOCATOR_64.size:
        directory_end, disk, own_disk, entries_here, entries, size, offset = _zip_64_end(file, place, locator)
    if disk or own_disk or entries_here != entries:
        raise DamagedArchive("one part of an archive that was split; join the parts, as zip -s 0 does")
    start = directory_end - size
    if start - offset < 0:
        raise DamagedArchive("not a zip archive, or cut (its directory is not where its end says)")
    return _Directory(start, directory_end, entries, start - offset), len(after) if any(after) else 0


def _find_end(tail: bytes) -> int | None:
    """Last bytes of an archive -> where the record of its end begins: one that ends with them, else the last one."""
    last, at = None, len(tail)
    while (at := tail.rfind(b"PK\x05\x06", 0, at + 3)) >= 0:
        if at + _END.size <= len(tail):
            last = at if last is None else last
            if at + _END.size + _END.unpack_from(tail, at)[-1] == len(tail):
                return at
    return last


def _zip_64_end(file: BinaryIO, place: int, locator: bytes) -> tuple[int, ...]:
    """Where the record of an end lies, and the locator before it -> place of the long record, and what it says."""
    _, _, offset, _ = _LOCATOR_64.unpack(locator)
    # Right before the locator, even where something was put before the archive and the offset is wrong.
    for candidate in (place - _LOCATOR_64.size - _END_64.size, offset):
        if 0 <= candidate <= place - _LOCATOR_64.size - _END_64.size:
            file.seek(candidate)
            record = _END_64.unpack(file.read(_END_64.size))
            if record[0] == b"PK\x06\x06":
                _, _, _, _, disk, own_disk, entries_here, entries, size, start = record
                return candidate, disk, own_disk, entries_here, entries, size, start
    raise DamagedArchive("not a zip archive, or cut (no directory of members)")
