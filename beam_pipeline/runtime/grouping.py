"""GroupByKey for millions of small elements: by buckets of keys, with the elements packed and compressed together.

A runner spends hundreds of bytes and tens of microseconds on each element, and the local runner keeps all that lies
between two stages in memory. A collection of a million inputs is a million elements in every stage; packed, it is a
few thousand blocks. With `--spill_directory` the blocks wait in files there, and the runner passes on their addresses.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import pickle
import tempfile
import zlib
from argparse import ArgumentParser
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.utils.windowed_value import WindowedValue

from beam_pipeline.runtime import storage
from beam_pipeline.runtime.counts import globally
from training.errors import JobFailed

_HELD = 8192  # elements that a worker collects before it packs them

Key = str | bytes


class GroupingOptions(PipelineOptions):
    """Beam options of a pipeline that groups in buckets."""

    @classmethod
    def _add_argparse_args(cls, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--spill_directory", help="local directory for data that waits to be grouped (default: the runner keeps it)"
        )
        # One bucket is unpacked at a time: of ten million inputs it holds 40,000, about 30 MB.
        parser.add_argument(
            "--buckets",
            type=int,
            default=256,
            help="parts to group inputs in, and most workers that group at once; more for a hundred million inputs",
        )


class Spilled(NamedTuple):
    """Where a block lies in a file: path, and offset and size in bytes; and its SHA-256."""

    path: str
    offset: int
    size: int
    digest: bytes


Block = bytes | Spilled  # a compressed list of elements, or the place of one in a file


class Packer:
    """Packs lists of elements into blocks; picklable, for a DoFn to hold.

    Args:
      pipeline: its options name the directory for blocks that wait, if there is one.
    """

    def __init__(self, pipeline: beam.Pipeline):
        self._directory = pipeline.options.view_as(GroupingOptions).spill_directory

    def pack(self, lists: Iterable[list[Any]]) -> list[Block]:
        """Lists -> one block each, in order, which `unpack` turns back into the list.

        Raises:
          JobFailed: there is no room for blocks that wait.
        """
        # Pickled together, elements share the names of their classes and fields.
        blocks = [zlib.compress(pickle.dumps(elements, pickle.HIGHEST_PROTOCOL), 1) for elements in lists]
        return self._spill(blocks) if self._directory and blocks else list(blocks)

    def _spill(self, blocks: list[bytes]) -> list[Block]:
        with storage.writing(self._directory):
            handle, path = tempfile.mkstemp(dir=self._directory)
            with os.fdopen(handle, "wb") as file:
                file.writelines(blocks)
        ends = itertools.accumulate(map(len, blocks))
        return [
            Spilled(path, end - len(block), len(block), hashlib.sha256(block).digest())
            for end, block in zip(ends, blocks, strict=True)
        ]


def unpack(block: Block) -> list[Any]:
    """Block -> list of its elements.

    Raises:
      JobFailed: the file that it waits in is gone, or has changed.
    """
    return pickle.loads(zlib.decompress(_read(block) if isinstance(block, Spilled) else block))


def _read(spilled: Spilled) -> bytes:
    """Block that waits in a file -> its bytes; whoever may write in the output must not have others unpickled."""
    try:
        with open(spilled.path, "rb") as file:
            file.seek(spilled.offset)
            block = file.read(spilled.size)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise JobFailed(f"{spilled.path}: {why}; something else removes files there: run again") from error
    if hashlib.sha256(block).digest() != spilled.digest:
        raise JobFailed(f"{spilled.path}: changed while the job ran; something else writes there: run again")
    return block


def any_bucket(key: Key, buckets: int) -> int:
    """Key -> number of its bucket, below `buckets`; the same in every process."""
    return zlib.crc32(key.encode() if isinstance(key, str) else key) % buckets


class CoGroupInBuckets(beam.PTransform):
    """{tag: PCollection of (key, value)} -> (key, {tag: list of values}), like `CoGroupByKey`.

    The keys of a bucket come one after the other, sorted.

    Args:
      bucket: (key, number of buckets) -> number of the key's bucket.
    """

    def __init__(self, bucket: Callable[[Any, int], int] = any_bucket):
        super().__init__()
        self.bucket = bucket

    def expand(self, tagged: dict[str, PCollection]) -> PCollection:
        pipeline = next(iter(tagged.values())).pipeline
        packer, buckets = Packer(pipeline), pipeline.options.view_as(GroupingOptions).buckets
        blocks = [
            keyed | f"Pack{tag.title()}" >> beam.ParDo(PackIntoBuckets(tag, self.bucket, buckets, packer))
            for tag, keyed in tagged.items()
        ]
        return (
            blocks
            | "AllBlocks" >> beam.Flatten()
            | "GroupByBucket" >> beam.GroupByKey()
            | "GroupBucketByKey" >> beam.FlatMap(group_bucket, tuple(tagged))
        )


class PackIntoBuckets(beam.DoFn):
    """(key, value) -> (bucket, block of (key, tag, value)), a block for each bucket once _HELD elements have come."""

    def __init__(self, tag: str, bucket: Callable[[Any, int], int], buckets: int, packer: Packer):
        self.tag = tag
        self.bucket = bucket
        self.buckets = buckets
        self.packer = packer

    def start_bundle(self) -> None:
        self.held: dict[int, list[Any]] = defaultdict(list)
        self.number = 0

    def process(self, element: tuple[Key, Any]) -> Iterator[tuple[int, Block]]:
        key, value = element
        self.held[self.bucket(key, self.buckets)].append((key, self.tag, value))
        self.number += 1
        if self.number == _HELD:
            yield from self._packed()

    def finish_bundle(self) -> list[WindowedValue | TaggedOutput]:
        return [globally(packed) for packed in self._packed()]

    def _packed(self) -> Iterator[tuple[int, Block]]:
        held = self.held
        self.start_bundle()
        yield from zip(held, self.packer.pack(held.values()), strict=True)


def group_bucket(bucket: tuple[int, Iterable[Block]], tags: Iterable[str]) -> Iterator[tuple[Any, dict[str, list]]]:
    """Bucket and its blocks -> (key, {tag: list of values}) of each key, sorted by key; every tag is there."""
    _, blocks = bucket
    groups: dict[Any, dict[str, list]] = {}
    for key, tag, value in itertools.chain.from_iterable(map(unpack, blocks)):
        if key not in groups:
            groups[key] = {name: [] for name in tags}
        groups[key][tag].append(value)
    for key in sorted(groups):
        yield key, groups.pop(key)


class Pack(beam.DoFn):
    """Elements -> blocks of _HELD elements, the last block of a bundle shorter; the order is kept."""

    def __init__(self, packer: Packer):
        self.packer = packer

    def start_bundle(self) -> None:
        self.held: list[Any] = []

    def process(self, element: Any) -> Iterator[Block]:
        self.held.append(element)
        if len(self.held) == _HELD:
            yield self._packed()

    def finish_bundle(self) -> list[WindowedValue | TaggedOutput]:
        return [globally(self._packed())] if self.held else []

    def _packed(self) -> Block:
        elements, self.held = self.held, []
        return self.packer.pack([elements])[0]
