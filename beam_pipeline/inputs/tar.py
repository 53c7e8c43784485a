"""Pictures inside .tar files, listed header by header to the true end of the file, and read by their places.

`tarfile` reads the fields of a header. It does not read the file: it stops at the first mark of an end, though tars are
joined and padded, and takes a header's word for how much it may read and how deep headers may be nested.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from beam_pipeline.inputs.archives import (
    CaptionsBeside,
    DamagedArchive,
    Named,
    is_member,
    is_text,
    key_of,
    member_of,
    problem_of,
    slice_of,
)
from beam_pipeline.inputs.input_file import InputFile, Member
from beam_pipeline.runtime import storage
from training.text.plurals import counted

_BLOCK = tarfile.BLOCKSIZE
_PIECE = 1 << 20  # bytes that are read at once in search of the next header
_LARGEST_EXTENSION = 1 << 20  # bytes of a header that extends the next one: long names take a few thousand
_SAMPLE = 1000  # members of one WebDataset sample that are kept at hand
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")  # gzip, bzip2, xz, zstd
_PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_EXTENSIONS = (*_PAX, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)


def list_tar(container: InputFile, ignored: Counter[str]) -> Iterator[InputFile]:
    """Tar file -> its pictures with their captions, one header at a time; a damaged place ends the list with a problem.

    Captions are found right beside their pictures only, as WebDataset writes them: so one sample is all that is kept.

    Args:
      ignored: counts the members that are no pictures, by kind; added to.
    """
    with storage.open_file(container.uri) as file:
        for _, sample in itertools.groupby(_members(container, file, ignored), key=lambda named: key_of(named[0])):
            while some := list(itertools.islice(sample, _SAMPLE)):
                texts = (named for named in some if is_text(named[0]))
                beside = CaptionsBeside(texts, lambda text: tar_blocks(file, text), ignored)
                yield from (beside.give(name, member) for name, member in some if not is_text(name))


def tar_blocks(file: BinaryIO, member: InputFile) -> Iterator[bytes]:
    """Open tar file -> bytes of a member, block by block.

    Raises:
      UnreadableMember: the archive ends within it.
    """
    yield from slice_of(file, *member.place)


def _members(container: InputFile, file: BinaryIO, ignored: Counter[str]) -> Iterator[Named]:
    """Tar file -> its pictures and texts."""
    found = 0
    try:
        for header in tar_headers(file, ignored):
            found += 1
            if header.is_file:
                if is_member(header.name, ignored):
                    yield header.name, _member(container, header)
            elif not header.is_folder:
                ignored["link"] += 1
    except (DamagedArchive, ValueError) as error:
        yield "", container.with_problem(problem_of(found, error, "not a tar archive"))


@dataclass(frozen=True)
class Header:
    """What a tar says of one member.

    Attributes:
      name: as it stands there.
      place: (offset, size) of its bytes.
      is_sparse: whether these are only some of its bytes.
    """

    name: str
    place: tuple[int, int]
    is_file: bool
    is_folder: bool
    is_sparse: bool


def _member(container: InputFile, header: Header) -> InputFile:
    problem = ""
    if header.is_sparse:
        problem = "a sparse file, whose bytes do not lie together in the archive"
    elif sum(header.place) > container.size >= 0:
        problem = "truncated: the archive ends within it"
    member = Member(container.uri, "tar", header.place)
    return member_of(container, header.name, header.place[1], member, problem)


@dataclass
class _Extension:
    """What headers before a member say of it. Those of pax for all members say nothing that matters here."""

    name: str | None = None
    pax: dict[str, bytes] = field(default_factory=dict)

    def read(self, file: BinaryIO, info: tarfile.TarInfo, offset: int) -> None:
        """Takes in the header `info`, whose content begins at `offset`."""
        if info.size > _LARGEST_EXTENSION:
            raise DamagedArchive(f"a header of {counted(info.size, 'byte')}")
        file.seek(offset)
        content = file.read(info.size)
        if len(content) < info.size:
            raise DamagedArchive("it ends within a header")
        if info.type == tarfile.GNUTYPE_LONGNAME:
            self.name = _text(content)
        elif info.type in _PAX:
            self.pax = _pax_fields(content)

    def applied_to(self, info: tarfile.TarInfo, offset: int) -> Header:
        """The header of a member, whose bytes begin at `offset` -> what is true of it; forgets what was said of it."""
        pax, name = self.pax, self.name
        for key in ("GNU.sparse.name", "path"):
            if name is None and key in pax:
                name = _text(pax[key])
        self.name, self.pax = None, {}
        return Header(
            info.name if name is None else name.rstrip("/"),
            (offset, int(pax["size"]) if "size" in pax else info.size),
            info.isfile(),
            info.isdir(),
            info.type == tarfile.GNUTYPE_SPARSE or any(key.startswith("GNU.sparse.") for key in pax),
        )


def _pax_fields(content: bytes) -> dict[str, bytes]:
    """Content of a pax header, of records `LENGTH KEY=VALUE` -> those fields that matter here."""
    fields: dict[str, bytes] = {}
    begin = 0
    while begin < len(content) and content[begin]:  # zeros may fill it up
        space = content.find(b" ", begin, begin + 20)
        digits = content[begin:space]
        if space < 0 or not digits.isdigit():
            raise DamagedArchive("a pax header with a record that has no length")
        end = begin + int(digits)
        if not space < end <= len(content):
            raise DamagedArchive("a pax header with a record that has a wrong length")
        key, _, value = content[space + 1 : end - 1].partition(b"=")
        if key in (b"path", b"size") or key.startswith(b"GNU.sparse."):
            fields[key.decode(errors="replace")] = value
        begin = end
    return fields


def tar_headers(file: BinaryIO, ignored: Counter[str]) -> Iterator[Header]:
    """Open tar file -> the headers of its members to the true end of the file, however many tars were joined in it.

    Args:
      ignored: counts a missing mark of the end; added to.

    Raises:
      DamagedArchive, ValueError: there is no header where one is due, or it cannot be true.
    """
    end = file.seek(0, os.SEEK_END)
    position, extension, is_padding = 0, _Extension(), False
    while position < end:
        file.seek(position)
        block = file.read(_BLOCK)
        if not any(block):
            position, extension, is_padding = _next_header(file, position, end), _Extension(), True
            continue
        is_padding = False
        info = _parse(block, position)
        position += _BLOCK
        if info.type in _EXTENSIONS:
            extension.read(file, info, position)
            position += _padded(info.size)
            continue
        if info.type == tarfile.GNUTYPE_SPARSE:
            position = _end_of_sparse_map(file, block, position)
        header = extension.applied_to(info, position)
        if header.place[1] < 0:
            raise DamagedArchive("a header that points backwards")
        yield header
        if header.is_file or info.type not in tarfile.SUPPORTED_TYPES:
            position += _padded(header.place[1])
    if position > end or not end:
        raise DamagedArchive("it ends within a member" if end else "an empty file")
    if not is_padding:
        ignored["unended"] += 1


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _parse(block: bytes, position: int) -> tarfile.TarInfo:
    """Block of a tar file, and where it lies -> the fields of the header that it is."""
    if not position and block.startswith(_COMPRESSED):
        raise DamagedArchive("it is compressed as a whole; unpack it, or repack it as .tar")
    if len(block) < _BLOCK:
        raise DamagedArchive("it ends within a header")
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.TarError as error:
        raise DamagedArchive("no header where one is due") from error


def _end_of_sparse_map(file: BinaryIO, block: bytes, position: int) -> int:
    """Header of an old sparse member, and where it ends -> where the map ends that goes on behind it."""
    goes_on = block[482]
    while goes_on:
        file.seek(position)
        more = file.read(_BLOCK)
        if len(more) < _BLOCK:
            raise DamagedArchive("it ends within a header")
        goes_on, position = more[504], position + _BLOCK
    return position


def _next_header(file: BinaryIO, position: int, end: int) -> int:
    """Where padding begins -> where the header after it begins, or the end of the file."""
    begin = position
    while True:
        position = _next_data(file, position, end)
        file.seek(position)
        piece = file.read(_PIECE)
        if not piece:
            return end
        if any(piece):
            break
        position += len(piece)
    position += len(piece) - len(piece.lstrip(b"\0"))
    # A tar may have been joined to one that does not end at a multiple of a block.
    for candidate in (begin + (position - begin) // _BLOCK * _BLOCK, position):
        file.seek(candidate)
        block = file.read(_BLOCK)
        with contextlib.suppress(tarfile.TarError):
            tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            return candidate
    raise DamagedArchive(f"what follows its end ({counted(end - position, 'byte')}) is no tar")


def _next_data(file: BinaryIO, position: int, end: int) -> int:
    """A place in a file -> the next one that is stored: what was never written is not read, however long it is."""
    try:
        handle = file.fileno()
        stands = os.lseek(handle, 0, os.SEEK_CUR)
        try:
            return os.lseek(handle, position, os.SEEK_DATA)
        finally:
            os.lseek(handle, stands, os.SEEK_SET)  # where the file object believes that it is
    except AttributeError:  # no such thing on this system
        return position
    except OSError as error:
        return end if error.errno == errno.ENXIO else position


def _text(content: bytes) -> str:
    return content.partition(b"\0")[0].decode("utf-8", "surrogateescape")
