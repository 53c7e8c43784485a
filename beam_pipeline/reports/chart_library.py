"""Vega, Vega-Lite and Vega-Embed as one script for pages, made from the Python package that carries them, and kept.

To make the script takes seconds and 100 MB, so it is kept in the user's cache directory. A script from there runs in
pages, so it is taken only from a directory that nobody else can read or write, and only undamaged.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import stat
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.metadata import version

from training.files import new_file

log = logging.getLogger("captionbeam")

_MAKE = "import sys, vl_convert; sys.stdout.write(vl_convert.javascript_bundle('window.vegaEmbed = vegaEmbed;'))"


def chart_library() -> str:
    """The script, JavaScript; waits for it if it is still being made."""
    return begin_chart_library().result()


@functools.lru_cache
def begin_chart_library() -> Future[str]:
    """Has the script made, or read from the cache, beside other work -> the Future that `chart_library` waits for."""
    return ThreadPoolExecutor(1).submit(_cached_library)


def cache_directory() -> str:
    """The user's cache directory for captionbeam: `$XDG_CACHE_HOME/captionbeam`, by default `~/.cache/captionbeam`."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # the XDG specification has relative paths ignored
        base = os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "captionbeam")


def _cached_library() -> str:
    path = os.path.join(cache_directory(), f"charts-{version('vl-convert-python')}.js")
    if (kept := _read(path)) is not None:
        return kept
    script = _make()
    try:
        _write(path, script)
    except OSError as error:  # costs the next page the time to make it again, no more
        log.debug("%s: the chart library is not kept (%s)", path, error)
    return script


def _make() -> str:
    """Makes the script in a process of its own: the package starts a JavaScript engine, whose memory would stay."""
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-c", _MAKE]
    return subprocess.run(command, env=environment, check=True, capture_output=True).stdout.decode()


def _read(path: str) -> str | None:
    """Path of a kept script -> the script; None if there is none, it is damaged or somebody else can write there."""
    try:
        if not _is_private(os.path.dirname(path)):
            return None
        with open(path, "rb") as file:
            digest, _, data = file.read().partition(b"\n")
    except OSError:
        return None
    return data.decode() if digest == _digest(data) else None


def _write(path: str, script: str) -> None:
    """Keeps a script: the digest of its bytes in the first line, then the bytes."""
    directory = os.path.dirname(path)
    os.makedirs(os.path.dirname(directory), exist_ok=True)
    os.makedirs(directory, mode=0o700, exist_ok=True)
    if not _is_private(directory):
        raise PermissionError("others can read or write there")
    data = script.encode()
    with new_file(path) as temporary, open(temporary, "wb") as file:
        file.write(_digest(data) + b"\n" + data)


def _is_private(directory: str) -> bool:
    status = os.lstat(directory)
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest().encode()
