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
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.metadata import version

from beam_pipeline.runtime.isolated_process import Handler, IsolatedProcess, ProcessDied, Refused, RequestLimits
from training.errors import JobFailed
from training.files import new_file

log = logging.getLogger("captionbeam")

_LIMITS = RequestLimits(processor_seconds=300, clock_seconds=600, memory_bytes=1 << 45)  # V8 reserves terabytes


def chart_library() -> str:
    """The script, JavaScript; waits for it if it is still being made.

    Raises:
      JobFailed: it cannot be made.
    """
    return begin_chart_library().result()


@functools.lru_cache
def begin_chart_library() -> Future[str]:
    """Has the script made, or read from the cache, beside other work -> the Future that `chart_library` waits for."""
    return ThreadPoolExecutor(1).submit(_cached_library)


def cache_directory() -> str:
    """The user's cache directory for captionbeam: `$XDG_CACHE_HOME/captionbeam`, by default `~/.cache/captionbeam`.

    Raises:
      FileNotFoundError: the user has no home directory.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # the XDG specification has relative paths ignored
        base = os.path.join(os.path.expanduser("~"), ".cache")
    if not os.path.isabs(base):
        raise FileNotFoundError("no home directory")
    return os.path.join(base, "captionbeam")


def _cached_library() -> str:
    name = f"charts-{version('vl-convert-python')}.js"
    if (kept := _read(name)) is not None:
        return kept
    script = _make()
    try:
        _write(name, script)
    except OSError as error:  # costs the next page the time to make it again, no more
        log.debug("%s: the chart library is not kept (%s)", name, error)
    return script


def _make() -> str:
    """Makes the script in a process of its own: the package starts a JavaScript engine, whose memory would stay."""
    process = IsolatedProcess(f"{__name__}:{start_maker.__name__}", [], _LIMITS)
    try:
        (script,) = process.request()
    except (ProcessDied, Refused) as error:
        raise JobFailed(f"the charts of the page cannot be made: vl-convert ended ({error})") from error
    finally:
        process.close()
    return script.decode()


def start_maker() -> Handler:
    """Handler of the isolated process: nothing -> the script, in UTF-8."""
    import vl_convert

    return lambda: [vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").encode()]


def _read(name: str) -> str | None:
    """Name of a kept script -> the script; None if there is none, it is damaged or somebody else can write there."""
    try:
        directory = cache_directory()
        if not _is_private(directory):
            return None
        with open(os.path.join(directory, name), "rb") as file:
            digest, _, data = file.read().partition(b"\n")
    except OSError:
        return None
    return data.decode() if digest == _digest(data) else None


def _write(name: str, script: str) -> None:
    """Keeps a script: the digest of its bytes in the first line, then the bytes."""
    directory = cache_directory()
    os.makedirs(os.path.dirname(directory), exist_ok=True)
    os.makedirs(directory, mode=0o700, exist_ok=True)
    if not _is_private(directory):
        raise PermissionError("others can read or write there")
    data = script.encode()
    with new_file(os.path.join(directory, name)) as temporary, open(temporary, "wb") as file:
        file.write(_digest(data) + b"\n" + data)


def _is_private(directory: str) -> bool:
    status = os.lstat(directory)
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest().encode()
