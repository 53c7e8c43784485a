"""Pictures inside Parquet files, in the layout of Hugging Face datasets: a column of structs {bytes, path}.

Listing reads no picture. A picture cannot be cut out of a file alone, so a row group is unpacked for each: the last
ones are kept, and inputs of one row group are fingerprinted together. All this happens in a process of its own.
"""

from __future__ import annotations

import atexit
import json
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

from beam_pipeline.inputs.input_file import InputFile, Member, UnreadableMember
from beam_pipeline.inputs.parquet_process import DONE, NEEDS, NO_PICTURES, start_reader
from beam_pipeline.runtime import storage
from beam_pipeline.runtime.isolated_process import IsolatedProcess, ProcessDied, Refused, RequestLimits
from training.text.plurals import counted

_LIMITS = RequestLimits(processor_seconds=60, clock_seconds=600, memory_bytes=2 << 30, memory_per_byte=3)


def list_parquet(container: InputFile, ignored: Counter[str]) -> Iterator[InputFile]:
    """Parquet file -> its rows as CONTAINER!/ROW/NAME, with their captions; one that is damaged comes as a problem.

    Args:
      ignored: counts the captions that are too long to be any, and the rows that could not be listed; added to.
    """
    number = said = 0
    try:
        said, groups = json.loads(_ask(container, "groups") or b"")
        if said != sum(groups) or min(groups, default=0) < 0 or said > container.size:  # a picture has some bytes
            raise UnreadableMember(f"its footer claims {counted(said, 'row')} in {counted(len(groups), 'row group')}")
        for group, rows in enumerate(groups):
            row = 0
            while row < rows:
                labels, left_out = json.loads(_ask(container, "labels", group, row) or b"")
                ignored["caption"] += left_out
                for name, captions in labels[: rows - row]:
                    label = f"{number}/{name}" if name else str(number)
                    member = Member(container.uri, "parquet", (group, row))
                    uri = container.member_uri(label)
                    yield InputFile(uri, container.size, container.mtime, "", member, tuple(captions))
                    number, row = number + 1, row + 1
    except OSError as error:
        ignored["member"] += max(0, said - number)
        if str(error).startswith(NO_PICTURES):
            yield container.with_problem(str(error))
        elif number:
            yield container.with_problem(f"damaged after {counted(number, 'row')}, the rest is not read ({error})")
        else:
            yield container.with_problem(f"not a Parquet file, or damaged ({error})")


def parquet_blocks(file: BinaryIO, member: InputFile) -> Iterator[bytes]:
    """Open Parquet file -> bytes of the picture in a row.

    Raises:
      UnreadableMember: the row is not there any more, has no picture or is damaged.
    """
    del file  # the process that reads it opens it
    container = InputFile(member.file, member.size, member.mtime)
    group, row = member.place
    key = (member.file, member.size, member.mtime, group)
    failed, problem = _failed.get(key, (sys.maxsize, ""))
    if row >= failed:
        raise UnreadableMember(problem)
    try:
        picture = _ask(container, "picture", group, row)
    except UnreadableMember as error:
        problem = f"the row cannot be read ({error})"
        _failed[key] = row, problem
        raise UnreadableMember(problem) from error
    if picture is None:
        raise UnreadableMember("no picture in this row")
    yield picture


# Where a row group cannot be read any further, and why: each row after it would take as long to fail.
_failed: dict[tuple[str, int, float, int], tuple[int, str]] = {}
_asking = threading.Lock()  # or every thread would unpack the same row group
_process: IsolatedProcess | None = None


def _ask(container: InputFile, what: str, *arguments: int) -> bytes | None:
    """Asks the process that reads Parquet files -> its answer, None for nothing.

    Args:
      what, arguments: of one of the answers in `parquet_process`.

    Raises:
      UnreadableMember: it cannot say, or has ended; the message is the reason.
    """
    with _asking:
        try:
            return _answer(container, what, arguments)
        except Refused as refusal:
            raise UnreadableMember(" ".join(str(refusal).split())) from refusal  # Arrow speaks in paragraphs
        except ProcessDied as death:
            close()
            raise UnreadableMember("takes too long" if death.too_slow else f"crashes its reader ({death})") from death


def _answer(container: InputFile, what: str, arguments: tuple[int, ...]) -> bytes | None:
    global _process
    if _process is None:
        _process = IsolatedProcess(f"{start_reader.__module__}:{start_reader.__name__}", [], _LIMITS)
    address = (storage.is_local(container.uri), storage.absolute(container.uri))
    request = {"address": address, "size": container.size, "mtime": container.mtime, "what": what}
    pieces: dict[int, bytes] = {}
    while True:
        asked = json.dumps({**request, "arguments": arguments, "pieces": list(pieces)}).encode()
        kind, *answer = _process.request(asked, *pieces.values())
        if kind != NEEDS:
            return answer[0] if kind == DONE else None
        offset, size = json.loads(answer[0])
        with storage.open_file(container.uri) as file:
            file.seek(offset)
            pieces = {offset: file.read(min(size, container.size))}
        if len(pieces[offset]) < size:
            raise Refused("it ends before its footer says")


def close() -> None:
    """Ends the process that reads Parquet files; the next one to read starts another."""
    global _process
    if _process is not None:
        _process.close()
        _process = None


atexit.register(close)
