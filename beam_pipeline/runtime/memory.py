"""Garbage collection around large libraries and models: off while they are imported, forced when they are gone."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
from collections.abc import Iterator


def release_memory() -> None:
    """Collects garbage, and has the C library return free memory to the system, where it is glibc."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


@contextlib.contextmanager
def first_import(package: str) -> Iterator[None]:
    """While entered, collects no garbage if a package is not imported yet; what is there at the end is never scanned.

    Modules are a million objects that stay, and to scan them again and again takes a tenth of a short job.
    """
    if package in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
