"""What is left to do, and how it is cut into shards: listing -> minus ledger -> fingerprint -> distinct -> shards.

Both pipelines begin with `PlanShards`. Beside its main output every step emits counts and notes (`outputs.py`).
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import AsSingleton, PCollection

from beam_pipeline.inputs.containers import fingerprint
from beam_pipeline.inputs.input_file import InputFile, locality_key
from beam_pipeline.inputs.sources import Listing, Source
from beam_pipeline.runtime.counts import COUNTS, NOTES, count, tagged_outputs
from beam_pipeline.runtime.grouping import Block, CoGroupInBuckets, Pack, Packer, unpack
from beam_pipeline.runtime.text import reason, uri_key, uri_of
from beam_pipeline.shards.caption_join import InputWithCaptions, JoinCaptions
from beam_pipeline.shards.ledger import DONE, REJECTED, LedgerLine, read_ledger
from beam_pipeline.shards.live_counts import HASHED, LISTED, NEW, LiveCounts
from beam_pipeline.shards.shard_id import ShardId, UnfinishedRun, assign_shard, content_part, shard_count
from training.data.caption_files import CaptionFile

_READERS = 8  # threads that hash files: enough to hide the latency of a network disk

ShardKey = tuple[int, int, int]  # (run, index, count) of a ShardId, in types that every runner can group by


@dataclass(frozen=True)
class Picture:
    """One distinct content, however many files hold it.

    Attributes:
      sha256: hex digest of the bytes; where they cannot be read, that of the file's address.
      files: the new files that hold it, sorted by uri.
      captions: what people wrote of it.
      known_as: files that an earlier run made it from; other files that hold it are duplicates. Empty if it is new.
      problem: why the bytes cannot be read, else "".
    """

    sha256: str
    files: tuple[InputFile, ...]
    captions: tuple[str, ...] = ()
    known_as: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Plan:
    """Output of PlanShards.

    Attributes:
      shards: (ShardKey, pictures) for every shard that has to be made, those without any picture included.
      counts, notes: see `outputs.py`.
    """

    shards: PCollection
    counts: list[PCollection]
    notes: list[PCollection]


class PlanShards(beam.PTransform):
    """Pipeline -> Plan: everything in `source` that the ledgers do not account for, cut into shards.

    Args:
      source: what to list.
      ledgers: paths of the committed ledgers.
      unfinished: runs that lack shards; they are finished with the shards they began with.
      next_run: number for what fits into none of them.
      shard_size: pictures a shard, on average at most.
      max_bytes: size of one input.
      captions: caption file to join by image name, or None.
      retry_rejected: take inputs up again that an earlier run rejected.
      live_counts: where to count for who watches.
    """

    def __init__(
        self,
        source: Source,
        ledgers: list[str],
        unfinished: list[UnfinishedRun],
        next_run: int,
        shard_size: int,
        max_bytes: int,
        captions: CaptionFile | None = None,
        retry_rejected: bool = False,
        live_counts: LiveCounts | None = None,
    ):
        super().__init__()
        self.source = source
        self.ledgers = ledgers
        self.unfinished = unfinished
        self.next_run = next_run
        self.shard_size = shard_size
        self.max_bytes = max_bytes
        self.captions = captions
        self.retry_rejected = retry_rejected
        self.live_counts = live_counts or LiveCounts()

    def expand(self, pipeline) -> Plan:
        listed = tagged_outputs(pipeline | "Source" >> beam.Create([self.source]), "ListInputs", list_inputs)
        counts, notes = [listed[COUNTS]], [listed[NOTES]]
        files = listed.main | "CountListedLive" >> beam.Map(self.live_counts.count_element, LISTED)
        if self.captions is not None:
            joined = files | JoinCaptions(self.captions)
            files = joined.main
            counts += [joined[COUNTS]]
            notes += [joined[NOTES]]
        else:
            files = files | "NoCaptions" >> beam.Map(lambda file: InputWithCaptions(file, file.captions))

        ledger = (
            pipeline
            | "Ledgers" >> beam.Create(self.ledgers, reshuffle=True)
            | "ReadLedger" >> beam.FlatMap(read_ledger_in_order)
        )
        work = files | SubtractLedger(ledger, self.retry_rejected)
        counts += [work[COUNTS]]
        new = work.main | "CountNewLive" >> beam.Map(self.live_counts.count_element, NEW)
        hashed = new | "FingerprintFiles" >> FingerprintFiles(self.max_bytes)
        distinct = (
            hashed | "CountHashedLive" >> beam.Map(self.live_counts.count_element, HASHED) | DistinctPictures(ledger)
        )
        shards = distinct | AssignShards(self.unfinished, self.next_run, self.shard_size)
        return Plan(shards, counts, notes)


def list_inputs(source: Source) -> Iterator[Any]:
    """Source -> InputFile each; counts what is no input as ignored_KIND, and the captions that came with inputs."""
    listing = Listing(source)
    captions = 0
    for file in listing:
        captions += len(file.captions)
        yield file
    if captions:
        yield count("captions_with_inputs", captions)
    for kind, ignored in sorted(listing.ignored.items()):
        yield count(f"ignored_{kind}", ignored)


def read_ledger_in_order(path: str) -> Iterator[tuple[str, LedgerLine]]:
    """Ledger path -> (its name, line); names sort in run order."""
    name = os.path.basename(path)
    for line in read_ledger(path):
        yield name, line


class SubtractLedger(beam.PTransform):
    """InputWithCaptions -> those that no ledger line accounts for: unknown, changed since, or rejected where retried.

    Counts `listed` once for every distinct input and `earlier_OUTCOME` for what is accounted for.
    """

    def __init__(self, ledger: PCollection, retry_rejected: bool):
        super().__init__()
        self.ledger = ledger
        self.retry_rejected = retry_rejected

    def expand(self, files):
        by_uri = files | "UriOfFile" >> beam.Map(lambda captioned: (uri_key(captioned.file.uri), captioned))
        lines = self.ledger | "UriOfLine" >> beam.Map(lambda named: (uri_key(named[1].uri), named))
        groups = {"files": by_uri, "lines": lines} | "GroupByUri" >> CoGroupInBuckets()
        return tagged_outputs(groups, "KeepUnaccounted", keep_unaccounted, self.retry_rejected)


def keep_unaccounted(group: tuple[str, dict[str, Iterable[Any]]], retry_rejected: bool) -> Iterator[Any]:
    """Listing and ledger lines of one uri -> the InputWithCaptions if it is work."""
    _, grouped = group
    # Of members of one name the last counts, as for tar and unzip.
    listed = sorted(grouped["files"], key=lambda captioned: (_place(captioned.file), captioned.captions), reverse=True)
    if listed:  # else it was there in an earlier run and is gone
        yield count("listed")
        if len(listed) > 1:
            yield count("listed_repeatedly", len(listed) - 1)
        outcome = last_outcome(listed[0].file, grouped["lines"])
        if outcome is None or (outcome == REJECTED and retry_rejected):
            yield listed[0]
        else:
            yield count(f"earlier_{outcome}")


def _place(file: InputFile) -> tuple[int, ...]:
    return file.member.place if file.member else ()


def last_outcome(file: InputFile, lines: Iterable[tuple[str, LedgerLine]]) -> str | None:
    """The newest run's word on a file; None if it speaks of other content, or there is none."""
    _, line = max(lines, key=lambda named: named[0], default=("", None))
    return line.outcome if line and (line.size, line.mtime) == (file.size, file.mtime) else None


class FingerprintFiles(beam.PTransform):
    """InputWithCaptions -> (sha256 of its bytes, Picture of that one file)."""

    def __init__(self, max_bytes: int):
        super().__init__()
        self.max_bytes = max_bytes

    def expand(self, files):
        by_place = files | "NeighbourhoodOfFile" >> beam.Map(
            lambda captioned: (locality_key(captioned.file), captioned)
        )
        return (
            {"files": by_place}
            | "GroupByNeighbourhood" >> CoGroupInBuckets()
            | "FilesOfNeighbourhood" >> beam.FlatMapTuple(lambda _, grouped: grouped["files"])
            | "BatchFiles" >> beam.BatchElements(min_batch_size=_READERS * 4, max_batch_size=_READERS * 4)
            | "HashFiles" >> beam.FlatMap(fingerprint_files, self.max_bytes)
        )


def fingerprint_files(files: list[InputWithCaptions], max_bytes: int) -> Iterator[tuple[str, Picture]]:
    """Hashes a batch of files side by side."""
    with ThreadPoolExecutor(_READERS) as pool:
        yield from pool.map(fingerprint_file, files, itertools.repeat(max_bytes))


def fingerprint_file(captioned: InputWithCaptions, max_bytes: int) -> tuple[str, Picture]:
    """One file -> (key, Picture); a file that cannot be read gets a key of its own and the reason."""
    file, problem, digest = captioned.file, captioned.file.problem, ""
    if not problem:
        try:
            digest = fingerprint(file, max_bytes)
        except OSError as error:
            problem = reason(error)
    if problem:
        digest = hashlib.sha256(uri_key(file.uri)).hexdigest()
    return digest, Picture(digest, (file,), captioned.captions, problem=problem)


class DistinctPictures(beam.PTransform):
    """(sha256, Picture of one file) -> Picture of all files with these bytes; known ones are marked."""

    def __init__(self, ledger: PCollection):
        super().__init__()
        self.ledger = ledger

    def expand(self, pictures):
        done = (
            self.ledger
            | "KeepDone" >> beam.Filter(lambda named: named[1].outcome == DONE)
            | "ShaOfLine" >> beam.Map(lambda named: (named[1].sha256, uri_key(named[1].uri)))
        )
        # What is packed of a bucket then goes to one shard, or to a few.
        groups = {"pictures": pictures, "done": done} | "GroupByContent" >> CoGroupInBuckets(content_part)
        return groups | "MergeFiles" >> beam.FlatMap(merge_files)


def merge_files(group: tuple[str, dict[str, Iterable[Any]]]) -> Iterator[Picture]:
    """Pictures of one content -> one Picture, its files sorted.

    Captions of the first file are kept as they stand, a repeated row included; those of further files are added
    where they say something new, so that five captions listed under two names of one picture stay five.
    """
    _, grouped = group
    pictures = sorted(grouped["pictures"], key=lambda picture: picture.files[0].uri)
    captions: list[str] = []
    for picture in pictures:
        known = set(captions)
        captions += [text for text in picture.captions if text not in known]
    if pictures:
        files = tuple(picture.files[0] for picture in pictures)
        known_as = tuple(sorted(map(uri_of, set(grouped["done"]))))
        yield replace(pictures[0], files=files, captions=tuple(captions), known_as=known_as)


class AssignShards(beam.PTransform):
    """Picture -> (ShardKey, pictures): unfinished runs first, the rest into a new run of as many shards as it needs."""

    def __init__(self, unfinished: list[UnfinishedRun], next_run: int, shard_size: int):
        super().__init__()
        self.unfinished = unfinished
        self.next_run = next_run
        self.shard_size = shard_size

    def expand(self, pictures):
        packer = Packer(pictures.pipeline)
        packed = pictures | "PackPictures" >> beam.ParDo(Pack(packer))
        shards = (
            packed
            | "CountFresh" >> beam.Map(count_fresh, self.unfinished)
            | "AddUpFresh" >> beam.CombineGlobally(sum)
            | "CountShards" >> beam.Map(shard_count, self.shard_size)
        )
        keyed = packed | "PlaceInShards" >> beam.FlatMap(
            place_in_shards, packer, self.unfinished, self.next_run, AsSingleton(shards)
        )
        # A shard without any picture is made too: its ledger says that it was looked at.
        old = pictures.pipeline | "UnfinishedShards" >> beam.Create(
            [shard_key(shard) for run in self.unfinished for shard in run.shards()]
        )
        new = shards | "NewShards" >> beam.FlatMap(
            lambda total, run: [(run, index, total) for index in range(total)], self.next_run
        )
        seeds = (old, new) | "AllShards" >> beam.Flatten() | "KeyShards" >> beam.Map(lambda key: (key, None))
        groups = {"pictures": keyed, "seeds": seeds} | "GroupByShard" >> beam.CoGroupByKey()
        return groups | "PicturesOfShard" >> beam.MapTuple(pictures_of_shard)


def shard_key(shard: ShardId) -> ShardKey:
    return shard.run, shard.index, shard.count


def count_fresh(block: Block, unfinished: list[UnfinishedRun]) -> int:
    """Packed pictures -> how many of them no unfinished run has a place for."""
    return sum(assign_shard(picture.sha256, unfinished) is None for picture in unpack(block))


def place_in_shards(
    block: Block, packer: Packer, unfinished: list[UnfinishedRun], run: int, shards: int
) -> Iterator[tuple[ShardKey, Block]]:
    """Packed pictures -> (ShardKey, those of the shard, packed).

    Args:
      run, shards: the new run for what no unfinished one has a place for, and how many shards it has.
    """
    placed: dict[ShardKey, list[Picture]] = defaultdict(list)
    for picture in unpack(block):
        shard = assign_shard(picture.sha256, unfinished) or ShardId(run, content_part(picture.sha256, shards), shards)
        placed[shard_key(shard)].append(picture)
    yield from zip(placed, packer.pack(placed.values()), strict=True)


def pictures_of_shard(key: ShardKey, grouped: dict[str, Iterable[Any]]) -> tuple[ShardKey, list[Picture]]:
    """What was grouped for a shard -> (ShardKey, its pictures)."""
    return key, [picture for block in grouped["pictures"] for picture in unpack(block)]
