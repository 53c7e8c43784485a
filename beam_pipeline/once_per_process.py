"""What a worker loads once and keeps: an encoder, a caption decoder."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

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

    def __call__(self) -> Loaded:
        return self._shared.acquire(self._load, tag=self._tag)
