"""One input of a job: a file, or a member of a container, and how its address is written."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass, replace
from typing import Any

from beam_pipeline.runtime import storage
from beam_pipeline.runtime.image_suffixes import IMAGE_SUFFIXES
from beam_pipeline.runtime.text import uri_key

UNKNOWN = -1  # size or modification time of a file that could not be asked
# Between a container and the name of a member, as in Java's jar addresses: `//` occurs inside object names and in
# paths that were joined carelessly, `#` and `::` inside file names.
SEPARATOR = "!/"
CONTAINER_SUFFIXES = (".tar", ".zip", ".parquet", ".tfrecord", ".tfrecords")
# Compressed as a whole, so that no member can be read by itself; named to be refused with that reason.
COMPRESSED_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tfrecord.gz", ".7z", ".rar")
CAPTION_KEYS = ("caption", "captions", "text")  # fields and columns of a container that hold captions

_NEIGHBOURHOODS = 4096
_NEIGHBOURHOOD_BYTES = 64 << 20


@dataclass(frozen=True)
class Member:
    """Where a member lies, so that it is read without scanning its container again.

    Attributes:
      container: path or URL of the file that holds it.
      form: which reader knows it: "tar", "zip", "parquet" or "tfrecord".
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
      size: bytes of the file or member; of a Parquet row those of its container, which alone are known without
        reading pictures. UNKNOWN where the file could not be asked.
      mtime: seconds since 1970, of a member those of its container; UNKNOWN likewise.
      problem: why it could not be asked, else "".
      member: where to find a member, None for a file.
      captions: what its container or list says of it.
    """

    uri: str
    size: int
    mtime: float
    problem: str = ""
    member: Member | None = None
    captions: tuple[str, ...] = ()

    def broken(self, problem: str) -> InputFile:
        """A container that cannot be read, or not to its end, is an input of its own, with the reason."""
        return replace(self, problem=" ".join(problem.split()))


class UnreadableMember(OSError):
    """A member is not there any more, or broken; the message is the reason, for a person."""


class TooLarge(OSError):
    """An input has more bytes than it may have."""

    def __init__(self, size: int | None, max_bytes: int):
        have = f"{size} bytes" if size else f"more than {max_bytes} bytes"
        super().__init__(f"{have}, over the limit of {max_bytes}; --max-bytes raises it")


def is_container(path: str) -> bool:
    """Whether a path names a file whose members are the inputs; its name decides, as nothing is opened for this."""
    return path.lower().endswith(CONTAINER_SUFFIXES + COMPRESSED_SUFFIXES)


def split_member_uri(uri: str) -> tuple[str, str] | None:
    """CONTAINER!/NAME -> (container, name); None for the address of a file."""
    begin = uri.find(SEPARATOR)
    while begin >= 0:
        if is_container(uri[:begin]):
            # A folder that is called so, however odd, wins: a path that exists is taken literally.
            literal = storage.is_local(uri) and os.path.lexists(uri)
            return None if literal else (uri[:begin], uri[begin + len(SEPARATOR) :])
        begin = uri.find(SEPARATOR, begin + 1)
    return None


def neighbourhood(file: InputFile) -> bytes:
    """Inputs that are best read together have one: rows of a Parquet row group, members that lie close by."""
    if file.member is None:
        return b"%d" % (zlib.crc32(uri_key(file.uri)) % _NEIGHBOURHOODS)
    begin = file.member.place[0]
    part = begin if file.member.form == "parquet" else begin // _NEIGHBOURHOOD_BYTES
    return uri_key(f"{file.member.container}{SEPARATOR}{part}")


def not_an_input(path: str, guess: bool) -> str:
    """Why a file met on the way is no input: "shadow", "container" or "other" (no image by its name); "" for an input.

    Args:
      path: the file.
      guess: whether a name that is not an image's rules it out: in a folder yes, where the user chose the files no.
    """
    name = os.path.basename(path)
    # macOS leaves ._NAME beside NAME on foreign disks; they hold no picture whatever they end in.
    if name.startswith("._") or "__MACOSX" in path.split("/") or name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        return "shadow"
    if name.startswith(storage.TEMPORARY_PREFIX):
        return "shadow"
    if guess and is_container(name):
        return "container"
    suffix = os.path.splitext(name)[1].lower()
    # A name without a suffix may well be a picture (content-addressed stores); its bytes will tell.
    return "other" if guess and suffix and suffix not in IMAGE_SUFFIXES else ""


def clean_captions(value: Any) -> list[str]:
    """A text, a list of texts or anything else -> the texts, their white space made single."""
    values = value if isinstance(value, list | tuple) else [value]
    texts = (" ".join(value.split()) for value in values if isinstance(value, str))
    return [text.encode(errors="replace").decode() for text in texts if text]  # halves of surrogate pairs become "?"
