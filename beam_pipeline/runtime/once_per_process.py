"""Loads what is large once in each worker process: an encoder, a caption decoder."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from apache_beam.utils.shared import Shared

Loaded = TypeVar("Loaded")


class OncePerProcess(Generic[Loaded]):
    """Calls a function once in each process and keeps the result; picklable, for a DoFn to hold.

    Args:
      load: loads it, on the worker.
      tag: key of the result; two instances with one tag share it.
    """

    def __init__(self, load: Callable[[], Loaded], tag: Hashable):
        self._load, self._tag, self._shared = load, tag, Shared()
        self._kept: Loaded | None = None

    def __call__(self) -> Loaded:
        # Beam's Shared keeps alive only what was asked for last, of all that a process shares: of an encoder and a
        # decoder that take turns, each would be loaded anew at every turn.
        if self._kept is None:
            self._kept = self._shared.acquire(self._load, tag=self._tag)
        return self._kept

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}
