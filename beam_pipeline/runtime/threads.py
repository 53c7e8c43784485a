"""Work on threads, ahead of its consumer."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(function: Callable[[Item], Result], items: Iterable[Item], threads: int, ahead: int) -> Iterator[Result]:
    """Like `map`, in order, with up to `ahead` results computed on threads before they are asked for.

    Raises:
      Exception: what the function raises, in the place of its result; what is not begun then is cancelled.
    """
    with ThreadPoolExecutor(threads) as pool:
        source = iter(items)
        pending = deque(pool.submit(function, item) for item in itertools.islice(source, ahead))
        try:
            while pending:
                result = pending.popleft().result()
                pending.extend(pool.submit(function, item) for item in itertools.islice(source, 1))
                yield result
        finally:
            for future in pending:
                future.cancel()


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Items -> lists of `size` items, the last one shorter where they do not divide evenly."""
    remaining = iter(items)
    while batch := list(itertools.islice(remaining, size)):
        yield batch
