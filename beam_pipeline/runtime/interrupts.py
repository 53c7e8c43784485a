"""Ctrl-C and SIGTERM: one line that says how to go on, nothing after it, and an end within seconds."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType

GRACE_SECONDS = 5.0  # for the process to end by itself, before it is ended

_callbacks: list[Callable[[], None]] = []
_stopping = threading.Event()


@dataclass
class Stop:
    """Whether the process has been told to stop.

    Attributes:
      status: exit status, 128 and the signal's number, if it has; else None.
    """

    status: int | None = None


@contextlib.contextmanager
def stoppable(message: str, silent: bool = True) -> Iterator[Stop]:
    """While entered in the main thread, SIGINT and SIGTERM print a line and raise KeyboardInterrupt there.

    A second signal ends the process at once. A signal that the process was started to ignore stays ignored.

    Args:
      message: the line.
      silent: whether standard error is closed after it, since libraries complain when they are interrupted.
    """
    stop = Stop()

    def on_signal(number: int, frame: FrameType | None) -> None:
        again, stop.status = stop.status is not None, 128 + number
        if again:
            os._exit(stop.status)
        _stopping.set()
        # Not through sys.stderr, which may be in the midst of writing. \r\x1b[K takes a live line away.
        os.write(2, (("\r\x1b[K" if sys.stderr.isatty() else "") + message + "\n").encode())
        if silent:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        limit = threading.Timer(GRACE_SECONDS, os._exit, [stop.status])
        limit.daemon = True
        limit.start()
        for callback in _callbacks:
            callback()
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    earlier = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            earlier[number] = signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        if stop.status is None:  # else a second signal must still find its way
            for number, handler in earlier.items():
                signal.signal(number, handler)


def is_stopping() -> bool:
    """Whether the process has been told to stop. What fails now fails because of that."""
    return _stopping.is_set()


def raise_if_stopping() -> None:
    """Ends what a thread is doing if the process has been told to stop; signals interrupt the main thread only.

    Raises:
      KeyboardInterrupt: the process has been told to stop.
    """
    if is_stopping():
        raise KeyboardInterrupt


@contextlib.contextmanager
def on_stop(callback: Callable[[], None]) -> Iterator[None]:
    """While entered, has `callback` called when the process is told to stop."""
    _callbacks.append(callback)
    try:
        yield
    finally:
        _callbacks.remove(callback)
