"""The garbage collector and large things: it rests while they are imported, and what they leave is given back."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
from collections.abc import Iterator


def release_memory() -> None:
    """Collects garbage, and has the C library return what is free; glibc alone is known to keep it and can be asked."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


@contextlib.contextmanager
def first_import(package: str) -> Iterator[None]:
    """Where the package is not imported yet, no garbage is collected in between, nor looked for later in what is there
    then: modules are a million objects that stay, and looking at them again and again takes a tenth of a short job.
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
