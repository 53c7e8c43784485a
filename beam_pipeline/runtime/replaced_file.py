"""Gives a person's file new content while all else that belongs to it stays, or leaves it alone.

The new content is a file of its own, which gets owner, group, mode, ACL, extended attributes and times of the one it
replaces before it takes that one's place in one step: whenever a run is killed, one of the two is there, whole.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import shutil
import stat
from collections.abc import Iterator

from training import files
from training.text.plurals import counted


class NotReplaceable(OSError):
    """A file cannot get new content without losing something else; the message is the reason, for a person."""


@contextlib.contextmanager
def replaced_file(path: str, keep_times: bool, before: bytes | None = None) -> Iterator[str]:
    """Gives a temporary name to write new content to; on leaving without an exception the local file at `path` has it.

    Links to the file stay, and so does everything that belongs to it.

    Args:
      keep_times: whether the file keeps its times, too.
      before: content that the new one was made from; None where it does not matter.

    Raises:
      NotReplaceable: something could not be kept, or the file has changed meanwhile; it is as it was.
      OSError: it cannot be read or written; it is as it was.
    """
    real = os.path.realpath(path)
    status = require_replaceable(real)
    if before is not None:
        with open(real, "rb") as file:
            if file.read(len(before) + 1) != before:
                raise NotReplaceable(_CHANGED)

    def dress(temporary: str) -> None:
        _copy_belongings(real, status, temporary, keep_times)
        if _version(os.stat(real)) != _version(status):
            raise NotReplaceable(_CHANGED)

    with files.new_file(real, dress) as temporary:
        yield temporary


_CHANGED = "was changed by another program at the same time; it is left alone, run the command again"


def require_replaceable(path: str) -> os.stat_result:
    """Local file -> its status, if `replaced_file` may replace it.

    Raises:
      NotReplaceable: it may not.
      OSError: there is none.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise NotReplaceable("is no regular file; it is left alone")
    # Another name of the file would keep the old content, and writing into the file itself could be cut short.
    if status.st_nlink > 1:
        raise NotReplaceable(
            f"has {counted(status.st_nlink, 'hard link')}, which would no longer be one file; it is left alone"
        )
    require_writable(path)
    return status


def require_writable(path: str) -> None:
    """Raises NotReplaceable for a local file that is read-only."""
    # It could be renamed over or removed, but who takes away the right to write means it. Root may write every file.
    if not (os.stat(path).st_mode & 0o222 and os.access(path, os.W_OK)):
        raise NotReplaceable("is read-only; it is left alone")


def _version(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _copy_belongings(path: str, status: os.stat_result, temporary: str, keep_times: bool) -> None:
    """Gives a new file all that belongs to another one but its content, or raises NotReplaceable."""
    new = os.stat(temporary)
    if (new.st_uid, new.st_gid) != (status.st_uid, status.st_gid):
        try:
            os.chown(temporary, status.st_uid, status.st_gid)
        except OSError as error:
            raise NotReplaceable(
                f"belongs to {_name(status)}, which only that user or root can keep; it is left alone"
            ) from error
    try:
        if hasattr(os, "listxattr"):  # Linux
            _copy_attributes(path, temporary)
        else:
            shutil.copystat(path, temporary)
        os.chmod(temporary, stat.S_IMODE(status.st_mode))  # after the owner, whose change takes bits away
        if keep_times:
            os.utime(temporary, ns=(status.st_atime_ns, status.st_mtime_ns))
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise NotReplaceable(f"its rights or attributes cannot be kept ({why}); it is left alone") from error


def _copy_attributes(path: str, temporary: str) -> None:
    """Makes the extended attributes of two files equal; ACLs and the label of SELinux are among them."""
    wanted, found = _attributes(path), _attributes(temporary)
    for name in found.keys() - wanted.keys():  # those that the folder gives to new files
        os.removexattr(temporary, name)
    for name, value in wanted.items():
        if found.get(name) != value:
            os.setxattr(temporary, name, value)


def _attributes(path: str) -> dict[str, bytes]:
    try:
        return {name: os.getxattr(path, name) for name in os.listxattr(path)}
    except OSError as error:
        if error.errno == errno.ENOTSUP:  # a file system without
            return {}
        raise


def _name(status: os.stat_result) -> str:
    try:
        return f"the user {pwd.getpwuid(status.st_uid).pw_name}"
    except KeyError:
        return f"the user {status.st_uid}"
