"""GroupByKey for a great many small elements: by buckets of keys, the elements packed and compressed together.

A runner spends some hundred bytes and some ten microseconds on each element, and the local one holds what lies between
two stages in memory. A collection of a million inputs is a million elements in every stage; packed, it is some
thousand. With `--spill_directory` the blocks wait there, as files, and only where they lie goes through the runner.
"""

from __future__ import annotations

import itertools
import os
import pickle
import tempfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.runtime.counts import globally

_HELD = 8192  # elements that a worker collects before it packs them
_Key = str | bytes


class GroupingOptions(PipelineOptions):
    """Options of a pipeline that groups in buckets."""

    @classmethod
    def _add_argparse_args(cls, parser):
        parser.add_argument(
            "--spill_directory", help="local directory for what waits to be grouped (default: the runner holds it)"
        )
        # One bucket is unpacked at a time: of ten million inputs it holds 40,000, about 30 MB.
        parser.add_argument(
            "--buckets",
            type=int,
            default=256,
            help="parts that inputs are grouped in, and so many workers group at once; more for a hundred million",
        )


class Spilled(NamedTuple):
    """A block that waits in a file."""

    path: str
    offset: int
    size: int


Block = bytes | Spilled


class Packer:
    """Lists of elements -> blocks, which `unpack` undoes.

    Args:
      pipeline: its options say where blocks wait.
    """

    def __init__(self, pipeline: beam.Pipeline):
        self._directory = pipeline.options.view_as(GroupingOptions).spill_directory

    def pack(self, lists: Iterable[list[Any]]) -> list[Block]:
        """Pickled together, elements share what their classes and fields are called."""
        blocks = [zlib.compress(pickle.dumps(elements, pickle.HIGHEST_PROTOCOL), 1) for elements in lists]
        return self._spill(blocks) if self._directory and blocks else list(blocks)

    def _spill(self, blocks: list[bytes]) -> list[Block]:
        handle, path = tempfile.mkstemp(dir=self._directory)
        with os.fdopen(handle, "wb") as file:
            file.writelines(blocks)
        ends = itertools.accumulate(map(len, blocks))
        return [Spilled(path, end - len(block), len(block)) for end, block in zip(ends, blocks, strict=True)]


def unpack(block: Block) -> list[Any]:
    """Block -> its elements."""
    if isinstance(block, Spilled):
        with open(block.path, "rb") as file:
            file.seek(block.offset)
            block = file.read(block.size)
    return pickle.loads(zlib.decompress(block))


def any_bucket(key: _Key, buckets: int) -> int:
    """Key -> its bucket, one of so many."""
    return zlib.crc32(key.encode() if isinstance(key, str) else key) % buckets


class CoGroupInBuckets(beam.PTransform):
    """{tag: (key, value)} -> (key, {tag: values}), as `CoGroupByKey` gives it; keys of a bucket come together, sorted.

    Args:
      bucket: of a key, one of a number of them.
    """

    def __init__(self, bucket: Callable[[Any, int], int] = any_bucket):
        super().__init__()
        self.bucket = bucket

    def expand(self, tagged):
        pipeline = next(iter(tagged.values())).pipeline
        packer, buckets = Packer(pipeline), pipeline.options.view_as(GroupingOptions).buckets
        blocks = [
            keyed | f"Pack_{tag}" >> beam.ParDo(PackIntoBuckets(tag, self.bucket, buckets, packer))
            for tag, keyed in tagged.items()
        ]
        return (
            blocks
            | "EveryBlock" >> beam.Flatten()
            | "GroupByBucket" >> beam.GroupByKey()
            | "GroupByKey" >> beam.FlatMap(group_bucket, tuple(tagged))
        )


class PackIntoBuckets(beam.DoFn):
    """(key, value) -> (bucket, block of (key, tag, value)), once enough have come."""

    def __init__(self, tag: str, bucket: Callable[[Any, int], int], buckets: int, packer: Packer):
        self.tag = tag
        self.bucket = bucket
        self.buckets = buckets
        self.packer = packer

    def start_bundle(self):
        self.held: dict[int, list[Any]] = defaultdict(list)
        self.number = 0

    def process(self, element: tuple[_Key, Any]):
        key, value = element
        self.held[self.bucket(key, self.buckets)].append((key, self.tag, value))
        self.number += 1
        if self.number == _HELD:
            yield from self._packed()

    def finish_bundle(self):
        return [globally(packed) for packed in self._packed()]

    def _packed(self) -> Iterator[tuple[int, Block]]:
        held = self.held
        self.start_bundle()
        yield from zip(held, self.packer.pack(held.values()), strict=True)


def group_bucket(bucket: tuple[int, Iterable[Block]], tags: Iterable[str]) -> Iterator[tuple[Any, dict[str, list]]]:
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

    def __init__(self, packer: Packer):
        self.packer = packer

    def start_bundle(self):
        self.held: list[Any] = []

    def process(self, element: Any):
        self.held.append(element)
        if len(self.held) == _HELD:
            yield self._packed()

    def finish_bundle(self):
        return [globally(self._packed())] if self.held else []

    def _packed(self) -> Block:
        elements, self.held = self.held, []
        return self.packer.pack([elements])[0]
