"""Progress of long loops by tqdm: a live bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import os
import sys

from tqdm import tqdm

_LOG_SECONDS = 30
_LOG_FORMAT = "{desc}: {n_fmt} of {total_fmt} {unit}s, {rate_fmt}, {remaining} to go{postfix}"


class _Lines:
    """Standard error as a log: text that tqdm would draw over the last line becomes another line."""

    def write(self, text: str) -> None:
        """Writes the text as a line, unless it is blank."""
        if line := text.strip("\r\n "):
            sys.stderr.write(f"{line}\n")

    def flush(self) -> None:
        """Flushes standard error."""
        sys.stderr.flush()


def can_redraw() -> bool:
    """Whether a line on standard error can be redrawn; not on a terminal without a size, as some CI systems have it."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        return False
    try:
        return os.get_terminal_size(sys.stderr.fileno()).lines > 0
    except (OSError, ValueError):
        return True


def progress_bar(total: int, title: str, unit: str, initial: int = 0) -> tqdm:
    """Makes a progress bar on standard error.

    Args:
      total: units to do.
      title: shown before the bar.
      unit: noun in the singular.
      initial: units that were done before.
    """
    if can_redraw():
        return tqdm(total=total, initial=initial, desc=title, unit=unit, mininterval=0.5, dynamic_ncols=True)
    return tqdm(
        total=total,
        initial=initial,
        desc=title,
        unit=unit,
        file=_Lines(),
        mininterval=_LOG_SECONDS,
        bar_format=_LOG_FORMAT,
        delay=_LOG_SECONDS / 2,
    )
