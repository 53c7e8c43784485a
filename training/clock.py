"""Limits of time by the clock, for which the time that this process itself is stopped (Ctrl-Z) does not count."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator

_PAUSE_SECONDS = 0.25


class TimeLimit:
    """Seconds that are left, and what is done when they are over."""

    def __init__(self, seconds: float, when_over: Callable[[], None]):
        self._left, self._when_over = seconds, when_over

    @property
    def is_over(self) -> bool:
        """Whether the time has passed."""
        return self._left <= 0

    def pass_seconds(self, seconds: float) -> None:
        """Lets time pass; what is to be done at its end is done once."""
        if not self.is_over:
            self._left -= seconds
            if self.is_over:
                self._when_over()


class _Clock:
    """One thread that lets time pass for all limits."""

    def __init__(self) -> None:
        self._limits: set[TimeLimit] = set()
        self._lock = threading.Lock()
        self._runs = False

    def add(self, limit: TimeLimit) -> None:
        with self._lock:
            self._limits.add(limit)
            if not self._runs:
                self._runs = True
                threading.Thread(target=self._run, name="clock", daemon=True).start()

    def remove(self, limit: TimeLimit) -> None:
        with self._lock:
            self._limits.remove(limit)

    def _run(self) -> None:
        before = time.monotonic()
        while True:
            time.sleep(_PAUSE_SECONDS)
            now = time.monotonic()
            # Where much more has passed, this process was stopped, and what it waits for probably too.
            passed, before = min(now - before, 2 * _PAUSE_SECONDS), now
            with self._lock:
                for limit in self._limits:
                    limit.pass_seconds(passed)


_clock = _Clock()


def _new_clock() -> None:
    global _clock
    _clock = _Clock()


os.register_at_fork(after_in_child=_new_clock)  # a forked process has no thread of its parent


@contextlib.contextmanager
def time_limit(seconds: float, when_over: Callable[[], None]) -> Iterator[TimeLimit]:
    """While entered, has `when_over` called on another thread once the seconds have passed, within half a second."""
    limit = TimeLimit(seconds, when_over)
    clock = _clock
    clock.add(limit)
    try:
        yield limit
    finally:
        clock.remove(limit)
