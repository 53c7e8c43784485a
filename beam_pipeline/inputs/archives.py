"""Pictures inside .tar and .zip files: listed with their places, read by them, never unpacked.

The name of a member is a label and nothing else: no file is ever opened or written by it. A text beside a picture is
its caption: `a.txt` or `a.json` for `a.jpg`, or in WebDataset's way for every picture whose name begins with `a.`.
"""

from __future__ import annotations

import itertools
import json
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, BinaryIO

from beam_pipeline.inputs.input_file import (
    CAPTION_KEYS,
    InputFile,
    Member,
    UnreadableMember,
    clean_captions,
    ignored_kind,
)
from beam_pipeline.runtime import storage

_BLOCK = 1 << 20
_LARGEST_CAPTION = 64 << 10  # bytes of a text that is read as a caption
_LARGEST_HEADER = 1 << 20  # bytes that the tar reader may ask for at once: long names take a few thousand
_SAMPLE = 1000  # members of one WebDataset sample that are kept at hand
_LOCAL_HEADER = struct.Struct("<4s4xH16xHH")  # of a zip member: signature, method, lengths of name and extra field
_ENCRYPTED = 1  # bit of a zip member's flags

_Named = tuple[str, InputFile]  # a member's name, and where it lies


def list_tar(container: InputFile, ignored: Counter[str]) -> Iterator[InputFile]:
    """Tar file -> its pictures with their captions, one header at a time; a damaged place ends the list with a problem.

    Captions are found right beside their pictures only, as WebDataset writes them: so one sample is all that is kept.

    Args:
      ignored: counts the members that are no pictures, by kind; added to.
    """
    with storage.open_file(container.uri) as file:
        for _, sample in itertools.groupby(_tar_members(container, file, ignored), key=lambda named: _key(named[0])):
            while some := list(itertools.islice(sample, _SAMPLE)):
                yield from _captioned(some, file, ignored)


def _tar_members(container: InputFile, file: BinaryIO, ignored: Counter[str]) -> Iterator[_Named]:
    """Tar file -> its pictures and texts."""
    found, end = 0, -1
    try:
        headers: Any = _Headers(file)
        with tarfile.open(fileobj=headers, mode="r:") as archive:
            while (info := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # it would keep every header that it has seen
                if info.size < 0 or archive.offset <= end:
                    raise tarfile.ReadError("a header that points backwards")
                end, found = archive.offset, found + 1
                if info.isfile():
                    if _is_member(info.name, ignored):
                        yield info.name, _tar_member(container, info)
                elif not info.isdir():
                    ignored["link"] += 1
            file.seek(archive.offset)
            # The reader takes what is no header for the end.
            if any(file.read(tarfile.BLOCKSIZE)):
                raise tarfile.ReadError("no header where one is due")
    except (tarfile.TarError, EOFError, ValueError) as error:
        what = f"damaged after {found} members, the rest is not read" if found else "not a tar archive"
        yield "", container.with_problem(f"{what} ({error})")


def _tar_member(container: InputFile, info: tarfile.TarInfo) -> InputFile:
    place = (info.offset_data, info.size)
    problem = ""
    if info.issparse():
        problem = "a sparse file, whose bytes do not lie together in the archive"
    elif sum(place) > container.size >= 0:
        problem = "truncated: the archive ends within it"
    return _member(container, info.name, info.size, Member(container.uri, "tar", place), problem)


class _Headers:
    """A file that refuses to be read in pieces larger than any header: one that claims gigabytes is broken."""

    def __init__(self, file: BinaryIO):
        self.seek, self.tell, self._file = file.seek, file.tell, file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _LARGEST_HEADER:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._file.read(size)


def tar_blocks(file: BinaryIO, member: InputFile) -> Iterator[bytes]:
    """Open tar file -> bytes of a member, block by block.

    Raises:
      UnreadableMember: the archive ends within it.
    """
    yield from _slice(file, *member.place)


def list_zip(container: InputFile, ignored: Counter[str]) -> Iterator[InputFile]:
    """Zip file -> its pictures with their captions, from the central directory, which is held meanwhile.

    Args:
      ignored: counts the members that are no pictures, by kind; added to.
    """
    with storage.open_file(container.uri) as file:
        try:
            infos = [info for info in zipfile.ZipFile(file).infolist() if not info.is_dir()]
        except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as error:
            yield container.with_problem(f"not a zip archive, or cut ({error})")
            return
        files = [info for info in infos if not stat.S_ISLNK(info.external_attr >> 16)]
        ignored["link"] += len(infos) - len(files)
        members = [
            (info.filename, _zip_member(container, info)) for info in files if _is_member(info.filename, ignored)
        ]
        yield from _captioned(members, file, ignored)


def _zip_member(container: InputFile, info: zipfile.ZipInfo) -> InputFile:
    problem = ""
    if info.flag_bits & _ENCRYPTED:
        problem = "encrypted"
    elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        problem = f"compressed by method {info.compress_type} of zip; only deflate can be read"
    member = Member(container.uri, "zip", (info.header_offset, info.compress_size, info.CRC))
    return _member(container, info.filename, info.file_size, member, problem)


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
    stored = _slice(file, offset + _LOCAL_HEADER.size + name_size + extra_size, size)
    found = 0
    for block in stored if method == zipfile.ZIP_STORED else _inflate(stored):
        found = zlib.crc32(block, found)
        yield block
    if found != crc:
        raise UnreadableMember("damaged in the archive: its checksum differs")


def _slice(file: BinaryIO, offset: int, size: int) -> Iterator[bytes]:
    file.seek(offset)
    while size > 0:
        block = file.read(min(size, _BLOCK))
        if not block:
            raise UnreadableMember("truncated: the archive ends within it")
        size -= len(block)
        yield block


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


# Of both forms.


def _is_text(name: str) -> bool:
    return name.lower().endswith((".txt", ".json"))


def _is_member(name: str, ignored: Counter[str]) -> bool:
    """Whether a file in an archive is a picture or a caption; counts it if not."""
    kind = "" if _is_text(name) else ignored_kind(name, by_suffix=True)
    if kind:
        ignored[kind] += 1
    return not kind


def _member(container: InputFile, name: str, size: int, member: Member, problem: str) -> InputFile:
    return InputFile(container.member_uri(name), size, container.mtime, problem, member)


def _captioned(members: list[_Named], file: BinaryIO, ignored: Counter[str]) -> Iterator[InputFile]:
    """Members of an archive -> its pictures, each with the captions that belong to it."""
    texts: dict[str, list[InputFile]] = {}
    for name, member in members:
        if _is_text(name):
            texts.setdefault(os.path.splitext(name)[0], []).append(member)
    for name, member in members:
        if not _is_text(name):
            stems = dict.fromkeys((os.path.splitext(name)[0], _key(name)))
            beside = [text for stem in stems for text in texts.get(stem, ())]
            yield replace(member, captions=_read_captions(beside, file, ignored)) if beside else member


def _key(name: str) -> str:
    """WebDataset's rule: files of one sample agree up to the first dot of the base name."""
    folder, base = os.path.split(name)
    return os.path.join(folder, base.partition(".")[0])


def _read_captions(texts: list[InputFile], file: BinaryIO, ignored: Counter[str]) -> tuple[str, ...]:
    """Text members -> the captions in them, each once; those that cannot be read are counted."""
    captions: dict[str, None] = {}
    for text in texts:
        try:
            if text.problem or text.size > _LARGEST_CAPTION or text.member is None:
                raise ValueError(text.problem or "too long for a caption")
            read = tar_blocks if text.member.form == "tar" else zip_blocks
            content = b"".join(itertools.islice(read(file, text), 2))  # more is more than it says of itself
            captions.update(dict.fromkeys(captions_in(content.decode(), is_json=text.uri.lower().endswith(".json"))))
        except (OSError, ValueError, RecursionError):
            ignored["caption"] += 1
    return tuple(captions)


def captions_in(text: str, is_json: bool) -> list[str]:
    """Content of a caption file -> its captions: of a .txt the whole, of a .json those of CAPTION_KEYS.

    Args:
      text: the content.
      is_json: whether it is that of a .json.

    Raises:
      ValueError: not JSON.
    """
    if not is_json:
        return clean_captions([text])
    document = json.loads(text)
    fields: Mapping[str, Any] = document if isinstance(document, dict) else {}
    return [caption for key in CAPTION_KEYS for caption in clean_captions(fields.get(key))]
