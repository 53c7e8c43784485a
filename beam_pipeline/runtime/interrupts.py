"""Ctrl-C and SIGTERM: one line that says how to go on, no noise after it, and an end within seconds."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

GRACE_SECONDS = 5.0  # to leave what has been begun; what does not end by itself is ended then

_on_stop: list[Callable[[], None]] = []
_stopping = threading.Event()


@dataclass
class Stop:
    """Whether the process has been told to stop: `status` is 128 and the signal's number then, else None."""

    status: int | None = None


@contextlib.contextmanager
def stoppable(message: str, silent: bool = True) -> Iterator[Stop]:
    """While entered in the main thread, SIGINT and SIGTERM print a line and raise KeyboardInterrupt there.

    A second signal ends the process at once. A signal that the process was started to ignore stays ignored.

    Args:
      message: the line.
      silent: whether nothing may be said after it: libraries complain of being interrupted.
    """
    stop = Stop()

    def on_signal(number: int, _) -> None:
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
        for leave in _on_stop:
            leave()
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
    """Whether the process has been told to stop: what fails now fails because of that."""
    return _stopping.is_set()


def leave_if_stopping() -> None:
    """For threads that no signal interrupts, wherever they can leave what they are doing.

    Raises:
      KeyboardInterrupt: the process has been told to stop.
    """
    if is_stopping():
        raise KeyboardInterrupt


@contextlib.contextmanager
def leaving(leave: Callable[[], None]) -> Iterator[None]:
    """While entered, `leave` is called when the process is told to stop."""
    _on_stop.append(leave)
    try:
        yield
    finally:
        _on_stop.remove(leave)
