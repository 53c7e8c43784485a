"""Memory that is free, given back to the system before the next large thing is made."""

from __future__ import annotations

import contextlib
import ctypes
import gc


def give_back() -> None:
    """Collects garbage, and has the C library return what is free; glibc alone is known to keep it and can be asked."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
