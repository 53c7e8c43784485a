"""Lists containers and reads inputs, whichever form of container they lie in."""

from __future__ import annotations

import hashlib
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import BinaryIO

from beam_pipeline.inputs.input_file import COMPRESSED_SUFFIXES, InputFile, TooLarge, UnreadableMember
from beam_pipeline.inputs.tar import list_tar, tar_blocks
from beam_pipeline.inputs.written_mark import MarkSearch, states_before
from beam_pipeline.inputs.zip import list_zip, zip_blocks
from beam_pipeline.runtime import storage
from beam_pipeline.runtime.text import reason
from training.text.plurals import counted

_BLOCK = 1 << 20


def list_container(container: InputFile, ignored: Counter[str]) -> Iterator[InputFile]:
    """Container -> its members that are pictures; a container that is damaged comes as one InputFile with the problem.

    Args:
      ignored: counts the members that are no pictures, by kind; added to.
    """
    name = container.uri.lower()
    if container.problem:
        yield container
    elif name.endswith(COMPRESSED_SUFFIXES):
        yield container.with_problem(
            "compressed as a whole, so its pictures cannot be read one by one; repack it as .tar"
        )
    else:
        list_members, _ = _functions_of_form(name.rpartition(".")[2])
        try:
            yield from _with_distinct_addresses(list_members(container, ignored))
        except OSError as error:
            yield container.with_problem(reason(error))


def _with_distinct_addresses(members: Iterable[InputFile]) -> Iterator[InputFile]:
    """Members -> the same; one whose address an earlier one has gets a number, as in "a (2).jpg": none is lost."""
    seen: set[int] = set()  # hashes take a tenth of the memory of addresses
    again: Counter[str] = Counter()
    for member in members:
        uri = member.uri
        while member.member and hash(uri) in seen:
            again[member.uri] += 1
            stem, suffix = os.path.splitext(member.uri)
            uri = f"{stem} ({again[member.uri] + 1}){suffix}"
        seen.add(hash(uri))
        yield member if uri == member.uri else replace(member, uri=uri)


def read_blocks(input_file: InputFile, max_bytes: int) -> Iterator[bytes]:
    """Input -> its bytes, in blocks of bounded size.

    Args:
      max_bytes: limit; no more bytes than that are read.

    Raises:
      OSError: it cannot be read.
      UnreadableMember: it is a member, and is not what was listed.
      TooLarge: it has more than `max_bytes` bytes.
    """
    size_is_known = input_file.member is None or input_file.member.form != "parquet"
    if size_is_known and input_file.size > max_bytes:
        raise TooLarge(input_file.size, max_bytes)
    size = 0
    for block in _blocks(input_file):
        size += len(block)
        if size > max_bytes:
            raise TooLarge(None, max_bytes)
        if input_file.member and size_is_known and size > input_file.size:
            raise UnreadableMember(f"has more than the {counted(input_file.size, 'byte')} that its archive says")
        yield block
    if input_file.member and size_is_known and size < input_file.size:
        raise UnreadableMember(f"has {size:,} of the {counted(input_file.size, 'byte')} that its archive says")


def _blocks(input_file: InputFile) -> Iterator[bytes]:
    with storage.open_file(input_file.file) as opened:
        if input_file.member is None:
            yield from _file_blocks(opened, storage.is_local(input_file.uri))
        else:
            _, member_blocks = _functions_of_form(input_file.member.form)
            yield from member_blocks(opened, input_file)


def _file_blocks(opened: BinaryIO, is_local: bool) -> Iterator[bytes]:
    # A file of the system, as those of /proc, may give more than its size says, and may never end.
    left = os.fstat(opened.fileno()).st_size if is_local else sys.maxsize
    while left > 0 and (block := opened.read(min(_BLOCK, left))):
        left -= len(block)
        yield block


ListMembers = Callable[[InputFile, Counter[str]], Iterator[InputFile]]
MemberBlocks = Callable[[BinaryIO, InputFile], Iterator[bytes]]  # open container, member -> its bytes


def _functions_of_form(form: str) -> tuple[ListMembers, MemberBlocks]:
    """Form of a container -> the functions that list its members and read one of them.

    Parquet files need a large library, which is imported when such a file comes.
    """
    if form == "tar":
        return list_tar, tar_blocks
    if form == "zip":
        return list_zip, zip_blocks
    if form == "parquet":
        from beam_pipeline.inputs.parquet import list_parquet, parquet_blocks

        return list_parquet, parquet_blocks
    from beam_pipeline.inputs.tfrecord import list_tfrecord, tfrecord_blocks

    return list_tfrecord, tfrecord_blocks


def read_input(input_file: InputFile, max_bytes: int) -> bytes:
    """Input -> all its bytes, `max_bytes` at most.

    Raises:
      OSError: it cannot be read.
      TooLarge: it has more bytes.
    """
    return b"".join(read_blocks(input_file, max_bytes))


def fingerprint(input_file: InputFile, max_bytes: int) -> str:
    """Input of `max_bytes` at most -> hex SHA-256 of its bytes; no more than a block of them is held at a time.

    Raises:
      OSError: it cannot be read.
      TooLarge: it has more bytes.
    """
    digest = hashlib.sha256()
    for block in read_blocks(input_file, max_bytes):
        digest.update(block)
    return digest.hexdigest()


def fingerprint_and_states(input_file: InputFile, max_bytes: int) -> tuple[str, tuple[str, ...]]:
    """Input of `max_bytes` at most -> its `fingerprint`, and what `written_mark.states_before` finds in it.

    A file that may carry a mark, which few do, is read a second time, whole.

    Raises:
      OSError: it cannot be read.
      TooLarge: it has more bytes.
    """
    search, digest = MarkSearch(), hashlib.sha256()
    for block in search.watch(read_blocks(input_file, max_bytes)):
        digest.update(block)
    return digest.hexdigest(), states_before(read_input(input_file, max_bytes)) if search.found else ()
