"""Inputs that lie in a container, and the bytes of any input: the one place that knows every form of container."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator

from beam_pipeline.inputs.archives import list_tar, list_zip, tar_blocks, zip_blocks
from beam_pipeline.inputs.input_file import COMPRESSED_SUFFIXES, InputFile, TooLarge, UnreadableMember
from beam_pipeline.runtime import storage

_BLOCK = 1 << 20


def list_container(container: InputFile, ignored: Counter[str]) -> Iterator[InputFile]:
    """Container -> the pictures in it; what cannot be read of it comes as one InputFile with the problem.

    Args:
      ignored: counts the members that are no inputs, by kind.
    """
    name = container.uri.lower()
    if container.problem:
        yield container
    elif name.endswith(COMPRESSED_SUFFIXES):
        yield container.broken("compressed as a whole, so no picture in it can be read by itself; repack it as .tar")
    else:
        list_members, _ = _functions_of(name.rpartition(".")[2])
        try:
            yield from list_members(container, ignored)
        except OSError as error:
            yield container.broken(error.strerror or str(error))


def read_blocks(file: InputFile, max_bytes: int) -> Iterator[bytes]:
    """Input -> its bytes, in blocks of bounded size.

    Raises:
      OSError: it cannot be read, or a member is not what was listed.
      TooLarge: it has more than `max_bytes` bytes; no more than that are read.
    """
    whole = file.member is None or file.member.form != "parquet"  # the size is that of the picture
    if whole and file.size > max_bytes:
        raise TooLarge(file.size, max_bytes)
    size = 0
    for block in _blocks(file):
        size += len(block)
        if size > max_bytes:
            raise TooLarge(None, max_bytes)
        if file.member and whole and size > file.size:
            raise UnreadableMember(f"has more than the {file.size} bytes that its archive says")
        yield block
    if file.member and whole and size < file.size:
        raise UnreadableMember(f"has {size} of the {file.size} bytes that its archive says")


def _blocks(file: InputFile) -> Iterator[bytes]:
    with storage.open_file(file.member.container if file.member else file.uri) as opened:
        if file.member is None:
            while block := opened.read(_BLOCK):
                yield block
        else:
            _, member_blocks = _functions_of(file.member.form)
            kept_by = (file.size, file.mtime) if file.member.form == "parquet" else ()
            yield from member_blocks(opened, file.member, *kept_by)


def _functions_of(form: str) -> tuple[Callable[..., Iterator[InputFile]], Callable[..., Iterator[bytes]]]:
    """Form of a container -> what lists its members, and what reads one of them.

    Parquet and TFRecord files need large libraries, which are imported when such a file comes.
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


def read_input(file: InputFile, max_bytes: int) -> bytes:
    """Input -> all its bytes; raises as `read_blocks`."""
    return b"".join(read_blocks(file, max_bytes))


def fingerprint(file: InputFile, max_bytes: int) -> str:
    """Input -> hex sha256 of its bytes, of which one block is held; raises as `read_blocks`."""
    digest = hashlib.sha256()
    for block in read_blocks(file, max_bytes):
        digest.update(block)
    return digest.hexdigest()
