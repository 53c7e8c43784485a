"""Errors that nobody foresaw -> one line, which names the file that was read or written, where it is known."""

from __future__ import annotations

import contextlib
import os
import tempfile
import traceback

from beam_pipeline.runtime.text import why


def unexpected(error: Exception) -> str:
    """Error -> one line for the user, which names the file that has the stack trace."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        path = os.fsdecode(error.filename2 or error.filename)
        return f"{path}: {error.strerror.lower()}; check the path and its rights, and run again"
    path = path_in_use(error)
    about = f"{path}: damaged, or a fault of captionbeam: " if path else ""
    kind = type(error).__name__
    said = " ".join(dict.fromkeys((kind, why(error)[:300])))
    return f"{about}unexpected {said}{written_trace(error)}"


def path_in_use(error: BaseException) -> str:
    """Error -> the variable `path` of the innermost of our functions that has one, or ""."""
    path = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        found = frame.f_locals.get("path")
        if frame.f_globals.get("__name__", "").startswith(("beam_pipeline.", "training.")) and isinstance(found, str):
            path = found
    return path


def written_trace(error: Exception) -> str:
    """Writes the stack trace into a file -> "; details in FILE", or "" where there is no room for it."""
    with contextlib.suppress(OSError):
        handle, path = tempfile.mkstemp(prefix="captionbeam-", suffix=".log")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            traceback.print_exception(error, file=file)
        return f"; details in {path}"
    return ""
