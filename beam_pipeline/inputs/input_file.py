"""One input of a job: a file, or a member of a container, and how its address is written.

A container is a file that holds pictures: .tar, .zip, .parquet or .tfrecord. Its pictures are its members.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass, replace
from typing import Any

from beam_pipeline.runtime import storage
from beam_pipeline.runtime.text import uri_key
from training.text.plurals import counted

UNKNOWN = -1  # size or modification time of a file that could not be asked
_LOCALITIES = 4096
_LOCALITY_BYTES = 64 << 20
_LONGEST_NAME = 32 << 10  # characters of a member's name; paths have 4096 bytes, and zip ends at 65,535
_NUL = "\0"  # ends a name, as everywhere on these systems
# Between a container and the name of a member, as in Java's jar addresses: `//` occurs inside object names and in
# paths that were joined carelessly, `#` and `::` inside file names.
MEMBER_SEPARATOR = "!/"
CONTAINER_SUFFIXES = (".tar", ".zip", ".parquet", ".tfrecord", ".tfrecords")
# Compressed as a whole, so that no member can be read by itself; named to be refused with that reason.
COMPRESSED_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tfrecord.gz", ".7z", ".rar")
CAPTION_KEYS = ("caption", "captions", "text")  # fields and columns of a container that hold captions
LARGEST_CAPTION = 64 << 10  # bytes of a text in a container that is taken for a caption


@dataclass(frozen=True)
class Member:
    """Where a member lies, so that it can be read without listing its container again.

    Attributes:
      container: path or URL of the file that holds it.
      form: of the container: "tar", "zip", "parquet" or "tfrecord".
      place: (offset, size) in bytes inside the container; for zip also the CRC-32; for Parquet (row group, row of it).
    """

    container: str
    form: str
    place: tuple[int, ...]


@dataclass(frozen=True)
class InputFile:
    """One listed input.

    Attributes:
      uri: absolute path or URL; of a member CONTAINER!/NAME.
      size: bytes of the file or member; of a Parquet row those of its container, since its own are not known before
        it is read. UNKNOWN for an input with a problem.
      mtime: time of the last change, in seconds since 1970, of a member that of its container. UNKNOWN for an input
        with a problem.
      problem: why it cannot be read, for a person; "" if it can.
      member: place of a member in its container; None for a file.
      captions: those that its container or list gives.
      is_link: whether it was found as a link to a file, which may be listed too.
    """

    uri: str
    size: int
    mtime: float
    problem: str = ""
    member: Member | None = None
    captions: tuple[str, ...] = ()
    is_link: bool = False

    @property
    def file(self) -> str:
        """Path or URL of the file that its bytes lie in."""
        return self.member.container if self.member else self.uri

    @property
    def place(self) -> tuple[int, ...]:
        """Place of a member, see `Member`."""
        assert self.member is not None, f"{self.uri} is no member of a container"
        return self.member.place

    def member_uri(self, name: str) -> str:
        """Name of a member of this container -> the member's address; of a name without bounds its end."""
        return f"{self.uri}{MEMBER_SEPARATOR}{name.partition(_NUL)[0][-_LONGEST_NAME:]}"

    def with_problem(self, problem: str) -> InputFile:
        """The same input with a reason why it cannot be read, or not to its end."""
        return replace(self, problem=" ".join(problem.split()))


class UnreadableMember(OSError):
    """A member of a container is missing or damaged; the message is the reason, for a person."""


class TooLarge(OSError):
    """An input has more bytes than the limit.

    Args:
      size: its bytes; None if only known to be too many.
      max_bytes: the limit.
    """

    def __init__(self, size: int | None, max_bytes: int):
        have = counted(size, "byte") if size else f"more than {counted(max_bytes, 'byte')}"
        super().__init__(f"{have}, over the limit of {max_bytes:,}; --max-bytes raises it")


def is_container(path: str) -> bool:
    """Whether a path names a container, by the ending of its name; nothing is opened."""
    return path.lower().endswith(CONTAINER_SUFFIXES + COMPRESSED_SUFFIXES)


def split_member_uri(uri: str) -> tuple[str, str] | None:
    """Address of a member, CONTAINER!/NAME -> (container, name); None for the address of a file."""
    begin = uri.find(MEMBER_SEPARATOR)
    while begin >= 0:
        if is_container(uri[:begin]):
            # A path that exists is taken literally, even if a folder in it is called "x.tar!".
            literal = storage.is_local(uri) and os.path.lexists(uri)
            return None if literal else (uri[:begin], uri[begin + len(MEMBER_SEPARATOR) :])
        begin = uri.find(MEMBER_SEPARATOR, begin + 1)
    return None


def locality_key(file: InputFile) -> bytes:
    """Input -> key that it shares with the inputs that are best read after it.

    Rows of one Parquet row group share a key, and members that lie close together in their container.
    """
    if file.member is None:
        return b"%d" % (zlib.crc32(uri_key(file.uri)) % _LOCALITIES)
    begin = file.member.place[0]
    part = begin if file.member.form == "parquet" else begin // _LOCALITY_BYTES
    return uri_key(f"{file.member.container}{MEMBER_SEPARATOR}{part}")


def clean_captions(value: Any) -> list[str]:
    """Value of a field -> the captions in it, one for a text, several for a list of texts, none for anything else.

    White space in them is made single.
    """
    values = value if isinstance(value, list | tuple) else [value]
    texts = (" ".join(value.split()) for value in values if isinstance(value, str))
    return [text.encode(errors="replace").decode() for text in texts if text]  # halves of surrogate pairs become "?"
