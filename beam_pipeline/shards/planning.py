"""What is left to do, and how it is cut into shards: listing -> minus ledger -> fingerprint -> distinct -> shards.

Both pipelines begin with `PlanShards`. Steps that count return `Outputs`: elements, counts and notes.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import AsDict, AsSingleton, PCollection, TaggedOutput

from beam_pipeline.inputs.input_file import InputFile
from beam_pipeline.inputs.left_out import OWN
from beam_pipeline.inputs.sources import Collection, Listing
from beam_pipeline.options.collection import CollectionOptions
from beam_pipeline.runtime.counts import COUNTS, FlatMapAndCount, Outputs, SumCountsOfBundle, count, note, outputs_of
from beam_pipeline.runtime.grouping import Block, CoGroupInBuckets, Pack, Packer, unpack
from beam_pipeline.runtime.text import uri_key, uri_of
from beam_pipeline.shards.caption_join import JoinCaptions
from beam_pipeline.shards.contents import FingerprintFiles, Picture, RecogniseWritten
from beam_pipeline.shards.gone import UnreadableInputs, is_gone
from beam_pipeline.shards.ledger import DONE, REJECTED, LedgerLine, read_ledger
from beam_pipeline.shards.live_counts import HASHED, LISTED, NEW, LiveCounts
from beam_pipeline.shards.output_directory import Standing
from beam_pipeline.shards.shard_id import ShardId, UnfinishedRun, assign_shard, content_part, shard_count
from training.data.caption_files import CaptionFile
from training.text.human_captions import MAX_CAPTIONS, OVER_LIMIT

PLACES = "places"  # tag of where the pictures of the ledgers are, or were

ShardKey = tuple[int, int, int]  # (run, index, count) of a ShardId, in types that every runner can group by


class PlanShards(beam.PTransform):
    """Pipeline -> Outputs of (ShardKey, pictures): everything in a collection that the ledgers do not account for.

    Unfinished runs get the shards that they began with; a shard without any picture is made too. What fits into none
    of them is cut into the shards of a new run.

    Args:
      collection: what to list.
      standing: what the output holds.
      options: shard size, limits, and whether to retry rejected inputs.
      captions: caption file to join by image name, or None.
      live_counts: counters for the progress display.
    """

    def __init__(
        self,
        collection: Collection,
        standing: Standing,
        options: CollectionOptions,
        captions: CaptionFile | None = None,
        live_counts: LiveCounts | None = None,
    ):
        super().__init__()
        self.collection = collection
        self.standing = standing
        self.options = options
        self.captions = captions
        self.live_counts = live_counts or LiveCounts()

    def expand(self, pipeline: beam.Pipeline) -> Outputs:
        ledger = pipeline | "ReadLedgers" >> ReadLedgers(self.standing.ledgers)
        listed = pipeline | "ListCollection" >> ListCollection(self.collection)
        files = listed.main | "CountListed" >> self._count_live(LISTED)
        captioned = files | "JoinCaptions" >> JoinCaptions(self.captions)
        unreadable = listed.main | "Unreadable" >> UnreadableInputs()
        work = captioned.main | "SubtractLedger" >> SubtractLedger(ledger, self.options.retry_rejected, unreadable)
        fingerprinted = (
            work.outputs.main
            | "CountNew" >> self._count_live(NEW)
            | "FingerprintFiles" >> FingerprintFiles(self.options.decode_limits.max_bytes)
        )
        hashed = fingerprinted.main | "CountHashed" >> self._count_live(HASHED)
        contents = hashed | "RecogniseWritten" >> RecogniseWritten(ledger)
        pictures = contents | "DistinctPictures" >> DistinctPictures(ledger, work.places)
        shards = pictures.main | "AssignShards" >> AssignShards(self.standing, self.options.shard_size)
        return outputs_of(shards, listed, captioned, work.outputs, fingerprinted, pictures)

    def _count_live(self, name: str) -> beam.PTransform:
        return beam.Map(self.live_counts.count_element, name)


class ListCollection(beam.PTransform):
    """Pipeline -> Outputs of InputFile: what `list_inputs` lists."""

    def __init__(self, collection: Collection):
        super().__init__()
        self.collection = collection

    def expand(self, pipeline: beam.Pipeline) -> Outputs:
        return pipeline | "Collection" >> beam.Create([self.collection]) | "ListInputs" >> FlatMapAndCount(list_inputs)


def list_inputs(collection: Collection) -> Iterator[Any]:
    """Collection -> InputFile each; counts captions that come with inputs, and what is left out as `ignored_KIND`."""
    listing = Listing(collection)
    captions = 0
    for file in listing:
        captions += len(file.captions)
        yield file
    if captions:
        yield count("captions_with_inputs", captions)
    for kind, ignored in sorted(listing.ignored.items()):
        if kind != OWN:  # there are more of them after a run whose output lies in the collection
            yield count(f"ignored_{kind}", ignored)


class ReadLedgers(beam.PTransform):
    """Pipeline -> (ledger name, LedgerLine) of every line of the ledgers at these paths."""

    def __init__(self, paths: Iterable[str]):
        super().__init__()
        self.paths = list(paths)

    def expand(self, pipeline: beam.Pipeline) -> PCollection:
        paths = pipeline | "Ledgers" >> beam.Create(self.paths, reshuffle=True)
        return paths | "ReadLedger" >> beam.FlatMap(read_named_ledger)


def read_named_ledger(path: str) -> Iterator[tuple[str, LedgerLine]]:
    """Ledger path -> (ledger name, line) of each line; the names sort in run order."""
    name = os.path.basename(path)
    for line in read_ledger(path):
        yield name, line


class Subtracted(NamedTuple):
    """What `SubtractLedger` gives.

    Attributes:
      outputs: Outputs of the InputWithCaptions that no ledger line accounts for.
      places: (sha256, whether the file is listed) of every file that the ledgers call done or a duplicate.
    """

    outputs: Outputs
    places: PCollection


class SubtractLedger(beam.PTransform):
    """InputWithCaptions -> Subtracted: those that no ledger line accounts for, since they are new, changed or retried.

    Inputs that could not be read are always tried again. Counts `listed` once for every distinct input and
    `earlier_OUTCOME` for each one that is accounted for.

    Args:
      ledger: (ledger name, LedgerLine) of all runs.
      retry_rejected: whether to try inputs again that were rejected for their content.
      unreadable: what `UnreadableInputs` gives.
    """

    def __init__(self, ledger: PCollection, retry_rejected: bool, unreadable: PCollection):
        super().__init__()
        self.ledger = ledger
        self.retry_rejected = retry_rejected
        self.unreadable = unreadable

    def expand(self, inputs: PCollection) -> Subtracted:
        by_uri = inputs | "UriOfInput" >> beam.Map(lambda captioned: (uri_key(captioned.file.uri), captioned))
        lines = self.ledger | "UriOfLine" >> beam.Map(lambda named: (uri_key(named[1].uri), named))
        groups = {"inputs": by_uri, "lines": lines} | "GroupByUri" >> CoGroupInBuckets()
        subtract = SumCountsOfBundle(keep_unaccounted, self.retry_rejected)
        kept = groups | "KeepUnaccounted" >> beam.ParDo(subtract, AsDict(self.unreadable)).with_outputs(
            COUNTS, PLACES, main="main"
        )
        return Subtracted(Outputs(kept.main, (kept[COUNTS],)), kept[PLACES])


def keep_unaccounted(
    group: tuple[bytes, dict[str, Iterable[Any]]], retry_rejected: bool, unreadable: Container[bytes] = ()
) -> Iterator[Any]:
    """Listed inputs and ledger lines of one uri -> the InputWithCaptions if it has to be done, counts and places.

    Args:
      retry_rejected: whether to try it again if it was rejected for its content.
      unreadable: see `is_gone`.
    """
    key, grouped = group
    line = newest_line(grouped["lines"])
    # A list may name an input several times.
    listed = sorted(grouped["inputs"], key=lambda captioned: (_place(captioned.file), captioned.captions), reverse=True)
    if not listed:  # an earlier run did it, and the file is gone
        if line and line.outcome != REJECTED:
            yield TaggedOutput(PLACES, (line.sha256, not is_gone(uri_of(key), unreadable)))
        elif line and is_gone(uri_of(key), unreadable):
            yield count("gone_rejected")
        return
    yield count("listed")
    if len(listed) > 1:
        yield count("listed_repeatedly", len(listed) - 1)
    if line is None or not is_of(line, listed[0].file):
        yield listed[0]
    elif line.was_unreadable:
        yield replace(listed[0], rejected=(line.stage, line.reason))
    elif line.outcome == REJECTED and retry_rejected:
        yield listed[0]
    else:
        yield count(f"earlier_{line.outcome}")
        if line.outcome != REJECTED:
            yield TaggedOutput(PLACES, (line.sha256, True))


def _place(file: InputFile) -> tuple[int, ...]:
    return file.member.place if file.member else ()


def newest_line(lines: Iterable[tuple[str, LedgerLine]]) -> LedgerLine | None:
    """(ledger name, line) pairs of one input -> the line of the newest run, which decides; None without lines."""
    _, line = max(lines, key=lambda named: named[0], default=("", None))
    return line


def is_of(line: LedgerLine, file: InputFile) -> bool:
    """Whether a ledger line is of the content that a file has now, by its size and time."""
    return (line.size, line.mtime) == (file.size, file.mtime)


class DistinctPictures(beam.PTransform):
    """(sha256, Picture of one file) -> Outputs of Picture of all files with these bytes, marked if it is done already.

    Counts the files that are no longer listed, `gone`; of them those whose picture is listed elsewhere, `gone_moved`;
    and pictures of which no file is listed, `gone_pictures`.

    Args:
      ledger: (ledger name, LedgerLine) of all runs.
      places: as of `Subtracted`.
    """

    def __init__(self, ledger: PCollection, places: PCollection):
        super().__init__()
        self.ledger = ledger
        self.places = places

    def expand(self, pictures: PCollection) -> Outputs:
        done = (
            self.ledger
            | "KeepDone" >> beam.Filter(lambda named: named[1].outcome == DONE)
            | "ShaOfLine" >> beam.Map(lambda named: (named[1].sha256, uri_key(named[1].uri)))
        )
        # Buckets by content: what is packed of one bucket then goes to one shard, or to a few.
        groups = {"pictures": pictures, "done": done, "places": self.places} | "GroupByContent" >> CoGroupInBuckets(
            content_part
        )
        return groups | "MergeFiles" >> FlatMapAndCount(merge_files)


def merge_files(group: tuple[str, dict[str, Iterable[Any]]]) -> Iterator[Any]:
    """Pictures of one file each and of one content -> one Picture, its files by uri but links last, counts and notes.

    The captions of the first file are kept as they stand, a repeated row included. Those of further files are added
    where they are new, so that five captions listed under two names of one picture stay five. A picture gets at most
    MAX_CAPTIONS.
    """
    _, grouped = group
    pictures = sorted(grouped["pictures"], key=_rank)
    places = list(grouped["places"])
    if gone := places.count(False):
        yield count("gone", gone)
        yield count("gone_moved", gone) if pictures or any(places) else count("gone_pictures")
    if not pictures:
        return
    captions: list[str] = []
    known: set[str] = set()
    for picture in pictures:
        captions += [text for text in picture.captions if text not in known]
        known.update(picture.captions)
    if len(captions) > MAX_CAPTIONS:
        yield count(OVER_LIMIT, len(captions) - MAX_CAPTIONS)
        yield note(OVER_LIMIT, pictures[0].files[0].uri)
    files = tuple(picture.files[0] for picture in pictures)
    known_as = tuple(sorted(map(uri_of, set(grouped["done"]))))
    yield replace(pictures[0], files=files, captions=tuple(captions[:MAX_CAPTIONS]), known_as=known_as, states=())


def _rank(picture: Picture) -> tuple[bool, bool, str]:
    """Picture of one file -> its place among those of its content."""
    (file,) = picture.files
    # A file that counts as another content only by its mark comes last: its bytes are never taken for that content.
    return bool(picture.states), file.is_link, file.uri


class AssignShards(beam.PTransform):
    """Picture -> (ShardKey, list of Pictures): unfinished runs first, the rest into a new run.

    Args:
      standing: which shards of which runs are missing, and the number of the new run.
      shard_size: pictures of a new shard, on average at most.
    """

    def __init__(self, standing: Standing, shard_size: int):
        super().__init__()
        self.standing = standing
        self.shard_size = shard_size

    def expand(self, pictures: PCollection) -> PCollection:
        packer = Packer(pictures.pipeline)
        unfinished, new_run = self.standing.unfinished, self.standing.next_run
        packed = pictures | "PackPictures" >> beam.ParDo(Pack(packer))
        new_shards = (
            packed
            | "CountUnplaced" >> beam.Map(count_unplaced, unfinished)
            | "SumUnplaced" >> beam.CombineGlobally(sum)
            | "CountNewShards" >> beam.Map(shard_count, self.shard_size)
        )
        keyed = packed | "PlaceInShards" >> beam.FlatMap(
            place_in_shards, packer, unfinished, new_run, AsSingleton(new_shards)
        )
        # A shard without any picture is made too: its ledger says that nothing of it is left to do.
        missing = [shard_key(shard) for run in unfinished for shard in run.shards()]
        old = pictures.pipeline | "UnfinishedShards" >> beam.Create(missing)
        new = new_shards | "NewShards" >> beam.FlatMap(
            lambda shards, run: [(run, index, shards) for index in range(shards)], new_run
        )
        keys = (old, new) | "AllShards" >> beam.Flatten() | "KeyShards" >> beam.Map(lambda key: (key, None))
        groups = {"pictures": keyed, "shards": keys} | "GroupByShard" >> beam.CoGroupByKey()
        return groups | "PicturesOfShard" >> beam.MapTuple(pictures_of_shard)


def shard_key(shard: ShardId) -> ShardKey:
    """ShardId -> ShardKey; `ShardId(*key)` is the inverse."""
    return shard.run, shard.index, shard.count


def count_unplaced(block: Block, unfinished: Iterable[UnfinishedRun]) -> int:
    """Block of Pictures -> how many of them belong to no shard of the unfinished runs."""
    return sum(assign_shard(picture.sha256, unfinished) is None for picture in unpack(block))


def place_in_shards(
    block: Block, packer: Packer, unfinished: Iterable[UnfinishedRun], run: int, shards: int
) -> Iterator[tuple[ShardKey, Block]]:
    """Block of Pictures -> (ShardKey, block of its Pictures).

    Args:
      packer: makes the blocks.
      unfinished: runs whose missing shards are filled first.
      run: number of the new run, for Pictures that belong to none of them.
      shards: number of its shards.
    """
    placed: dict[ShardKey, list[Picture]] = defaultdict(list)
    for picture in unpack(block):
        shard = assign_shard(picture.sha256, unfinished) or ShardId(run, content_part(picture.sha256, shards), shards)
        placed[shard_key(shard)].append(picture)
    yield from zip(placed, packer.pack(placed.values()), strict=True)


def pictures_of_shard(key: ShardKey, grouped: dict[str, Iterable[Any]]) -> tuple[ShardKey, list[Picture]]:
    """ShardKey and its blocks of Pictures -> (ShardKey, its Pictures)."""
    return key, [picture for block in grouped["pictures"] for picture in unpack(block)]
