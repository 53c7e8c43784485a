"""A file that a user names to be written: a path, a link to one, a pipe or a device, or `-` for standard output."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from beam_pipeline.runtime import storage
from beam_pipeline.runtime.replaced_file import replaced_file
from training.errors import UserError
from training.scratch import scratch_directory

STANDARD_OUTPUT = "-"
_LINKS = 40  # that may follow one another, as in the kernel


@dataclass(frozen=True)
class NamedOutput:
    """Where a user wants a file.

    Attributes:
      path: absolute path or URL; as the user wrote it where it stands for standard output.
      is_stream: whether what is there takes bytes one after the other, and cannot be replaced.
      descriptor: of this process, that the path stands for; else None.
      follows_links: whether a link at the path is followed, as one that the user names is; in a directory that may come
        from a stranger it is replaced.
    """

    path: str
    is_stream: bool = False
    descriptor: int | None = None
    follows_links: bool = True

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return "standard output" if self.path == STANDARD_OUTPUT else self.path

    @contextlib.contextmanager
    def new_file(self) -> Iterator[str]:
        """Gives a local name to write to; on leaving without an exception the content is where the user wants it.

        A file appears whole, with the rights of the one that it replaces. A stream gets the content at the end, so that
        nothing is in it if the content could not be made.

        Raises:
          OSError: it cannot be written; the message is the reason, for a person.
          JobFailed: there is no room for it.
        """
        if self.is_stream:
            with scratch_directory() as folder:
                local = os.path.join(folder, "output")
                yield local
                # Who reads may stop when it has enough, as `head` does.
                with open(local, "rb") as reader, contextlib.suppress(BrokenPipeError), self._open_stream() as writer:
                    shutil.copyfileobj(reader, writer)
        elif not (self.follows_links and storage.is_local(self.path)):
            with storage.new_file(self.path) as local:
                yield local
        elif os.path.exists(self.path):
            with storage.writing(self.path), replaced_file(self.path, keep_times=False) as local:
                yield local
        else:
            with storage.new_file(os.path.realpath(self.path)) as local:
                yield local

    def write(self, data: bytes) -> None:
        """Writes a whole file; raises as `new_file` does."""
        with self.new_file() as local, open(local, "wb") as file:
            file.write(data)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Within it, what is printed goes to standard error if this output is standard output."""
        if self.descriptor != 1:
            yield
            return
        sys.stdout.flush()
        with contextlib.redirect_stdout(sys.stderr):
            yield

    def _open_stream(self) -> BinaryIO:
        if self.descriptor is not None:
            # Not opened by its name: a file behind it would be cut off, and the bytes that are in it lost.
            return os.fdopen(os.dup(self.descriptor), "wb")
        return open(self.path, "wb")


def named_output(path: str, option: str = "--output") -> NamedOutput:
    """Path as the user wrote it -> where to write.

    Args:
      option: that it was given to, for messages.

    Raises:
      UserError: there is something that can neither be written to nor replaced.
    """
    if not storage.is_local(path):
        return NamedOutput(path)
    descriptor = 1 if path == STANDARD_OUTPUT else _descriptor(path)
    if descriptor is not None:
        if not _is_open_for_writing(descriptor):
            raise UserError(f"{option} {path}: is not open for writing; choose another")
        return NamedOutput(path, is_stream=True, descriptor=descriptor)
    path = storage.absolute(path)
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError, PermissionError):  # writing says why it fails, if it does
        return NamedOutput(path)
    except OSError as error:
        raise UserError(f"{option} {path}: {(error.strerror or str(error)).lower()}; choose another") from error
    if stat.S_ISREG(mode):
        return NamedOutput(path)
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        return NamedOutput(path, is_stream=True)
    what = "a folder" if stat.S_ISDIR(mode) else "a socket" if stat.S_ISSOCK(mode) else "a disk"
    raise UserError(f"{option} {path}: is {what}, and a file is to be written; choose another")


def _descriptor(path: str) -> int | None:
    """Path such as /dev/stdout or /dev/fd/3, or a link to one -> the descriptor of this process that it stands for."""
    ours = re.compile(rf"/dev/fd|/proc/{os.getpid()}(/task/\d+)?/fd")
    for _ in range(_LINKS):
        folder, name = os.path.split(path)
        if name.isdigit() and ours.fullmatch(os.path.realpath(folder)):
            return int(name)
        try:
            path = os.path.join(folder, os.readlink(path))
        except OSError:  # no link
            return None
    return None


def _is_open_for_writing(descriptor: int) -> bool:
    try:
        return fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
    except (OSError, OverflowError):
        return False
