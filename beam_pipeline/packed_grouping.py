"""GroupByKey for a great many small elements: by buckets of keys, the elements packed and compressed together.

A runner holds what lies between two stages, in memory where it is the local one, and spends some hundred bytes and
some ten microseconds on each element. A collection of a million inputs is a million elements in every stage; packed,
it is some thousand.
"""

from __future__ import annotations

import itertools
import pickle
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import apache_beam as beam

from beam_pipeline.outputs import globally

# One bucket is unpacked at a time: of ten million inputs it holds 40,000. A cluster works on so many at once.
BUCKETS = 256
_HELD = 8192  # elements that a worker collects before it packs them
_Key = str | bytes


def pack(elements: list[Any]) -> bytes:
    """Elements -> one block; pickled together they share what their classes and fields are called."""
    return zlib.compress(pickle.dumps(elements, pickle.HIGHEST_PROTOCOL), 1)


def unpack(block: bytes) -> list[Any]:
    """The inverse of `pack`."""
    return pickle.loads(zlib.decompress(block))


def any_bucket(key: _Key) -> int:
    """Key -> its bucket."""
    return zlib.crc32(key.encode() if isinstance(key, str) else key) % BUCKETS


class CoGroupInBuckets(beam.PTransform):
    """{tag: (key, value)} -> (key, {tag: values}), as `CoGroupByKey` gives it; keys of a bucket come together, sorted.

    Args:
      bucket: key -> 0 <= n < BUCKETS.
    """

    def __init__(self, bucket: Callable[[Any], int] = any_bucket):
        super().__init__()
        self.bucket = bucket

    def expand(self, tagged):
        blocks = [
            keyed | f"Pack_{tag}" >> beam.ParDo(PackIntoBuckets(tag, self.bucket)) for tag, keyed in tagged.items()
        ]
        return (
            blocks
            | "EveryBlock" >> beam.Flatten()
            | "GroupByBucket" >> beam.GroupByKey()
            | "GroupByKey" >> beam.FlatMap(group_bucket, tuple(tagged))
        )


class PackIntoBuckets(beam.DoFn):
    """(key, value) -> (bucket, block of (key, tag, value)), once enough have come."""

    def __init__(self, tag: str, bucket: Callable[[Any], int]):
        self.tag = tag
        self.bucket = bucket

    def start_bundle(self):
        self.held: dict[int, list[Any]] = defaultdict(list)
        self.number = 0

    def process(self, element: tuple[_Key, Any]):
        key, value = element
        self.held[self.bucket(key)].append((key, self.tag, value))
        self.number += 1
        if self.number == _HELD:
            yield from self._packed()

    def finish_bundle(self):
        return [globally(packed) for packed in self._packed()]

    def _packed(self) -> Iterator[tuple[int, bytes]]:
        for bucket, elements in self.held.items():
            yield bucket, pack(elements)
        self.start_bundle()


def group_bucket(bucket: tuple[int, Iterable[bytes]], tags: Iterable[str]) -> Iterator[tuple[Any, dict[str, list]]]:
    """Blocks of a bucket -> (key, {tag: values}), sorted by key."""
    _, blocks = bucket
    groups: dict[Any, dict[str, list]] = {}
    for key, tag, value in itertools.chain.from_iterable(map(unpack, blocks)):
        if key not in groups:
            groups[key] = {name: [] for name in tags}
        groups[key][tag].append(value)
    for key in sorted(groups):
        yield key, groups.pop(key)


class Pack(beam.DoFn):
    """Elements -> blocks of them, in the order in which they come."""

    def start_bundle(self):
        self.held: list[Any] = []

    def process(self, element: Any):
        self.held.append(element)
        if len(self.held) == _HELD:
            yield self._packed()

    def finish_bundle(self):
        return [globally(self._packed())] if self.held else []

    def _packed(self) -> bytes:
        elements, self.held = self.held, []
        return pack(elements)
