"""Private folders for temporary files, and what killed processes left of theirs."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator

from training.errors import JobFailed

_NAME = re.compile(r"captionbeam-[0-9a-f]{16}\.tmp")
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def scratch_directory() -> Iterator[str]:
    """Gives a folder that no other user can enter, in the one that TMPDIR names; it is gone afterwards.

    The process holds a lock on it as long as it lives, so the next one knows what a killed one left, and removes it.

    Raises:
      JobFailed: there is no room for it.
    """
    try:
        parent = tempfile.gettempdir()
        _remove_leftovers(parent)
        path, handle = _make_directory(parent)
    except OSError as error:
        raise JobFailed(
            f"no folder for temporary files can be made ({error}); TMPDIR can name another place"
        ) from error
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(handle)


def _make_directory(parent: str) -> tuple[str, int]:
    """Folder -> path of a new private folder in it, and the file descriptor that holds its lock."""
    while True:
        path = os.path.join(parent, f"captionbeam-{secrets.token_hex(8)}.tmp")
        os.mkdir(path, 0o700)
        handle = os.open(path, _OPEN_FOLDER)
        try:
            with contextlib.suppress(OSError):  # where there are no locks, nothing is removed either
                fcntl.flock(handle, fcntl.LOCK_SH)
            made, found = os.fstat(handle), os.stat(path, follow_symlinks=False)
            if made.st_uid == os.geteuid() and not stat.S_IMODE(made.st_mode) & 0o077 and os.path.samestat(made, found):
                return path, handle
        except FileNotFoundError:  # removed as a leftover, before it was locked
            pass
        os.close(handle)


@functools.cache
def _remove_leftovers(parent: str) -> None:
    """Removes the folders of this user's processes that have ended."""
    with os.scandir(parent) as entries:
        named = [entry.path for entry in entries if _NAME.fullmatch(entry.name)]
    for path in named:
        with contextlib.suppress(OSError):  # locked, no folder, or gone
            handle = os.open(path, _OPEN_FOLDER)
            try:
                if os.fstat(handle).st_uid == os.geteuid():
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path)
            finally:
                os.close(handle)
