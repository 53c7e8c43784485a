"""Local files that appear whole or not at all, and the lock of a directory; plain Python.

`training.storage` and `beam_pipeline.runtime.storage` add what TensorFlow and Beam reach beyond local paths.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from typing import BinaryIO

from training.errors import JobFailed, UserError

LOCK = ".lock"
TEMPORARY_PREFIX = ".tmp-"
_REMOTE = re.compile(r"[a-zA-Z][-a-zA-Z0-9+.]*://")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def is_local(path: str) -> bool:
    """True for a plain path, False for `scheme://...`."""
    return _REMOTE.match(path) is None


_IS_LINK = "{}: a link, and links in a directory of captionbeam are not followed; put the file itself in its place"
_SPECIAL = "a pipe, socket or device, not a file"
_NO_FILE = "{}: a folder or a device where a file is expected; remove it, and put the file in its place"


class NotAFile(OSError):
    """A path names a pipe, a socket, a device or a folder, which might never end; the message says which."""


def open_regular(path: str, flags: int = 0) -> BinaryIO:
    """Opens a local file for reading bytes if it is a regular file, which is asked once it is open.

    Args:
      flags: of `os.open`, in addition.

    Raises:
      NotAFile: it is none.
      OSError: it cannot be opened.
    """
    # Without blocking, since to open a pipe would wait for somebody who writes into it.
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | flags)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket
            raise NotAFile(error.errno, _SPECIAL, path) from error
        raise
    try:
        kind = not_a_file(os.fstat(handle).st_mode)
        if kind:
            raise NotAFile(errno.EINVAL, kind, path)
        return open(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def not_a_file(mode: int) -> str:
    """Mode of a file -> "" of a regular one; of another what it is, for a person."""
    if stat.S_ISREG(mode):
        return ""
    return "a folder, not a file" if stat.S_ISDIR(mode) else _SPECIAL


def open_own(path: str) -> BinaryIO:
    """Opens a local file of a directory that captionbeam made, for reading bytes: a regular file, and no link.

    A stranger may have made the directory, and a link in it may lead anywhere.

    Raises:
      UserError: it is a link, a folder or a device.
      OSError: it cannot be opened.
    """
    try:
        return open_regular(path, os.O_NOFOLLOW)
    except NotAFile as error:
        raise UserError(_NO_FILE.format(path)) from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            require_own(path)
        raise


def require_own(path: str) -> int:
    """Local file of a directory that captionbeam made -> its size in bytes; raises as `open_own` does."""
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode):
        raise UserError((_IS_LINK if stat.S_ISLNK(status.st_mode) else _NO_FILE).format(path))
    return status.st_size


@contextlib.contextmanager
def locked(directory: str) -> Iterator[None]:
    """Reserves an existing directory for one run; on remote file systems nothing is locked.

    Raises:
      JobFailed: another run holds the lock.
    """
    if not is_local(directory):
        yield
        return
    import fcntl

    # Not "w": a run that finds nothing to do leaves no trace, not even a time.
    with open(os.path.join(directory, LOCK), "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise JobFailed(
                f"--output {directory}: another captionbeam is writing here; wait for it or choose another"
            ) from error
        yield


@contextlib.contextmanager
def writing(path: str, kept: str) -> Iterator[None]:
    """Turns an error that means "no room" (full disk, quota, size limit, read-only) into one line for the user.

    Args:
      path: what is being written, for the message.
      kept: what a second run finds, for the message.

    Raises:
      JobFailed: in place of the error of Python, TensorFlow or HDF5; other errors pass.
    """
    try:
        yield
    except UserError:
        raise
    # TensorFlow and HDF5 have errors of their own without an errno; the system's words are in their messages.
    except Exception as error:
        for code in _NO_ROOM:
            if os.strerror(code) in str(error):
                raise JobFailed(
                    f"{path}: cannot be written ({os.strerror(code).lower()}); make room and run again: {kept}"
                ) from error
        raise


@contextlib.contextmanager
def new_file(path: str, finish: Callable[[str], None] | None = None) -> Iterator[str]:
    """Gives a temporary name to write to; on leaving without an exception the file is synced and appears at `path`.

    The name is unique to the writer: of two attempts at one file both may finish, and the last rename wins.

    Args:
      finish: gives the temporary file its rights and what else belongs to it; without it, it has those of a new file.

    Raises:
      OSError: the file cannot be written.
    """
    directory, name = os.path.split(path)
    handle, temporary = tempfile.mkstemp(dir=directory or ".", prefix=f"{TEMPORARY_PREFIX}{name[:40]}-")
    os.close(handle)
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        if finish:
            finish(temporary)
        else:
            os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def remove_temporary_files(directory: str) -> None:
    """Removes what a killed run left half-written in a local directory, or spilled there."""
    with os.scandir(directory) as entries:
        left = [entry for entry in entries if entry.name.startswith(TEMPORARY_PREFIX)]
    for entry in left:
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)
