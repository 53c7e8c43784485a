"""Standard streams as Unix users expect them, for the installed command."""

from __future__ import annotations

import io
import os
import select
import sys
from typing import Any, TextIO

from beam_pipeline.runtime.text import escaped, reason
from training.errors import JobFailed


def set_up_streams() -> None:
    """Makes the process's standard streams safe to write to; has to be called before files are opened.

    A stream that is closed becomes the null device, else the next file that is opened would take its number and get its
    text. A pipe that nobody reads any more is no failure: the job goes on in silence, and so it does where standard
    error cannot be written, as nobody could be told. Names and captions come from strangers, so standard output shows
    control characters escaped.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115  # open for as long as the process
    sys.stdout = _Shown(_writer(1), **_settings(sys.stdout))
    sys.stderr = io.TextIOWrapper(_writer(2), **_settings(sys.stderr) | {"line_buffering": True})


def _settings(stream: TextIO | None) -> dict[str, Any]:
    """Settings of a text stream, like those of Python's own, but that no character is an error."""
    encoding = stream.encoding if stream else "utf-8"
    return {"encoding": encoding, "errors": "backslashreplace", "line_buffering": bool(stream and stream.isatty())}


def _writer(number: int) -> io.BufferedWriter:
    return io.BufferedWriter(_Descriptor(number))


class _Descriptor(io.FileIO):
    """A file descriptor to write to that outlives whoever reads it.

    Raises:
      JobFailed: standard output cannot be written for another reason, such as a full disk.
    """

    def __init__(self, number: int):
        super().__init__(number, "w", closefd=False)

    def write(self, data: Any) -> int:
        """Bytes -> how many of them were written."""
        try:
            while (written := super().write(data)) is None:  # somebody set it to not blocking, and it is full
                select.select([], [self.fileno()], [])
            return written
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            if isinstance(error, BrokenPipeError) or self.fileno() == 2:
                return len(data)
            raise JobFailed(f"standard output: {reason(error)}") from error


class _Shown(io.TextIOWrapper):
    """Text for a terminal, which obeys no control character of it but line ends and tabs."""

    def write(self, text: str) -> int:
        """Text -> its number of characters."""
        super().write(escaped(text))
        return len(text)
