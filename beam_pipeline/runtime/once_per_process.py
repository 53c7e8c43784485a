"""What a worker loads once and keeps: an encoder, a caption decoder."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from apache_beam.utils.shared import Shared

Loaded = TypeVar("Loaded")


class OncePerProcess(Generic[Loaded]):
    """Gives what `load` gives, called once in each process; picklable, for a DoFn to hold.

    Args:
      load: makes it on the worker.
      tag: tells what is loaded from another one under the same load.
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
