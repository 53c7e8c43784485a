"""Local files that appear whole or not at all, and the lock of a directory; plain Python.

`training.storage` and `beam_pipeline.runtime.storage` add what TensorFlow and Beam reach beyond local paths.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

from training.errors import JobFailed, UserError

log = logging.getLogger("captionbeam")

LOCK = ".lock"
TEMPORARY_PREFIX = ".captionbeam-"
_TEMPORARY = re.compile(r"\.captionbeam-[0-9a-f]{16}\.tmp")
_NO_SURPRISE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # no link, no waiting for the other side of a pipe
_ATTEMPTS, _PAUSE_SECONDS = 5, 0.2  # to lock a directory
_REMOTE = re.compile(r"[a-zA-Z][-a-zA-Z0-9+.]*://")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def is_local(path: str) -> bool:
    """True for a plain path, False for `scheme://...`."""
    return _REMOTE.match(path) is None


_IS_LINK = "{}: a link, and links in a directory of captionbeam are not followed; put what it leads to in its place"
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


def refuse_links(directory: str, names: Iterable[str]) -> None:
    """Checks that folders in a local output, into which libraries write, are no links and hold none, if they are there.

    Raises:
      UserError: one is, or holds one.
    """
    for folder in (os.path.join(directory, name) for name in names):
        inside = (os.path.join(at, name) for at, folders, files in os.walk(folder) for name in (*folders, *files))
        for path in (folder, *inside):
            if os.path.islink(path):
                raise UserError(_IS_LINK.format(path))


@contextlib.contextmanager
def locked(directory: str) -> Iterator[None]:
    """Reserves an existing directory for one run; where its file system has no locks, a warning says so.

    Raises:
      JobFailed: another run holds the lock, or there can be none.
    """
    if not is_local(directory):
        yield
        return
    handle = _open_lock(directory)
    try:
        try:
            free = _is_free(handle)
        except OSError as error:
            free = True
            log.warning(
                "%s: this file system gives no lock (%s); see to it that no other captionbeam writes there",
                directory,
                (error.strerror or str(error)).lower(),
            )
        if not free:
            raise JobFailed(f"--output {directory}: another captionbeam is writing here; wait for it or choose another")
        yield
    finally:
        os.close(handle)


def is_locked(directory: str) -> bool | None:
    """Whether a run holds a local directory; None where nobody can tell."""
    try:
        handle = os.open(os.path.join(directory, LOCK), os.O_RDONLY | _NO_SURPRISE)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(handle)
    return False


def _open_lock(directory: str) -> int:
    path = os.path.join(directory, LOCK)
    try:
        try:
            # Not truncated: a run that finds nothing to do leaves no trace, not even a time.
            handle = os.open(path, os.O_RDWR | os.O_CREAT | _NO_SURPRISE, 0o666)
        except PermissionError:
            if not os.path.lexists(path):
                raise
            handle = os.open(path, os.O_RDONLY | _NO_SURPRISE)  # that of a colleague can be locked, too
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise JobFailed(f"{path}: a link, a folder or a device; remove it and run again") from error
        why = (error.strerror or str(error)).lower()
        raise JobFailed(f"--output {directory}: cannot be written ({why}); choose another directory") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise JobFailed(f"{path}: a link, a folder or a device; remove it and run again")
    return handle


def _is_free(handle: int) -> bool:
    """Locks a file -> whether nobody else has; raises OSError where the file system has no locks."""
    for _ in range(_ATTEMPTS):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:  # perhaps only `captionbeam status`, which asks for a moment
            time.sleep(_PAUSE_SECONDS)
    return False


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
        if isinstance(error, IsADirectoryError) and error.filename2 is not None:  # of a rename
            place = os.fsdecode(error.filename2)
            raise JobFailed(f"{place}: a folder where a file is to be written; move it away, and run again") from error
        for code in _NO_ROOM:
            if os.strerror(code) in str(error):
                mend = "choose another place" if code == errno.EROFS else f"make room and run again: {kept}"
                raise JobFailed(f"{path}: cannot be written ({os.strerror(code).lower()}); {mend}") from error
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
    temporary = os.path.join(os.path.dirname(path), temporary_name())
    # A name that nobody can foresee, no link, and from the first moment open to nobody who may not read it in the end.
    mode = 0o600 if finish else 0o666
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_SURPRISE, mode)
    try:
        _hold(handle)
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        if finish:
            finish(temporary)
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)
        os.close(handle)


def replace_file(path: str, data: bytes) -> None:
    """Replaces a file that can be made again, so without syncing it; a link in its place is replaced, not followed.

    Raises:
      OSError: the file cannot be written.
    """
    temporary = os.path.join(os.path.dirname(path), temporary_name())
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_SURPRISE, 0o666), "wb") as file:
        file.write(data)
    os.replace(temporary, path)


def _hold(handle: int) -> bool:
    """Marks an open temporary file as in use, by a lock; False if another process has done so."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        pass
    return True


def _is_in_use(path: str) -> bool:
    try:
        handle = os.open(path, os.O_RDONLY | _NO_SURPRISE)
    except OSError:
        return False
    try:
        return not _hold(handle)
    finally:
        os.close(handle)


def temporary_name() -> str:
    """A name for a temporary file or folder in an output, which nobody else gives to a file."""
    return f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}.tmp"


def remove_temporary_files(directory: str) -> None:
    """Removes what a killed run of this user left half-written in a local directory, or spilled there.

    What `new_file` is writing at the moment, here or in another process, stays.
    """
    with os.scandir(directory) as entries:
        left = [
            entry
            for entry in entries
            if _TEMPORARY.fullmatch(entry.name) and entry.stat(follow_symlinks=False).st_uid == os.geteuid()
        ]
    for entry in left:
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        elif not _is_in_use(entry.path):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(entry.path)
