"""What a prune keeps, and how it is cut into shards: ledgers and listing -> lines still listed -> pictures -> shards.

A prune makes a directory anew, as a run over a new one would, but takes what was made of pictures from old shards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import AsDict, PCollection

from beam_pipeline.inputs.sources import Collection
from beam_pipeline.runtime.counts import COUNTS, FlatMapAndCount, Outputs, SumCountsOfBundle, count, outputs_of
from beam_pipeline.runtime.grouping import CoGroupInBuckets
from beam_pipeline.runtime.text import uri_key, uri_of
from beam_pipeline.shards.gone import UnreadableInputs, is_gone
from beam_pipeline.shards.ledger import DONE, DUPLICATE, REJECTED, LedgerLine
from beam_pipeline.shards.output_directory import Standing
from beam_pipeline.shards.planning import AssignShards, ListCollection, ReadLedgers, is_of, newest_line
from beam_pipeline.shards.shard_id import ShardId, content_part, parse_shard


@dataclass(frozen=True)
class KeptPicture:
    """One distinct content that is kept, or one input that stays rejected.

    Attributes:
      sha256: hex digest of the content; where it could not be read, that of the file's uri.
      lines: ledger line of each of its files as they will stand, sorted by uri, but links last.
      stored: names of the ledgers that call it done, sorted; the first is that of the shard that holds it.
    """

    sha256: str
    lines: tuple[LedgerLine, ...]
    stored: tuple[str, ...] = ()

    @property
    def uris(self) -> tuple[str, ...]:
        """Its files, without rejected ones; the first stands for it."""
        return tuple(line.uri for line in self.lines if line.outcome != REJECTED)

    @property
    def shard(self) -> ShardId | None:
        """The old shard that holds what was made of it; None for a rejected input."""
        return parse_shard(self.stored[0], "ledger") if self.uris else None


class PlanPrune(beam.PTransform):
    """Pipeline -> Outputs of (ShardKey, KeptPictures) for each shard of a new run.

    Args:
      collection: what to list.
      standing: what the output holds.
      run: number of the new run.
      shard_size: pictures of a shard, on average at most.
    """

    def __init__(self, collection: Collection, standing: Standing, run: int, shard_size: int):
        super().__init__()
        self.collection = collection
        self.ledgers = standing.ledgers
        self.new = Standing(committed=(), unfinished=(), next_run=run, ledgers=())
        self.shard_size = shard_size

    def expand(self, pipeline: beam.Pipeline) -> Outputs:
        ledger = pipeline | "ReadLedgers" >> ReadLedgers(self.ledgers)
        listed = pipeline | "ListCollection" >> ListCollection(self.collection)
        lines = listed.main | "KeepListed" >> KeepListed(ledger)
        stored = (
            ledger
            | "KeepDone" >> beam.Filter(lambda named: named[1].outcome == DONE)
            | "LedgerOfContent" >> beam.Map(lambda named: (named[1].sha256, named[0]))
        )
        groups = {"lines": lines.main, "stored": stored} | "GroupByContent" >> CoGroupInBuckets(content_part)
        pictures = groups | "KeepPictures" >> FlatMapAndCount(keep_picture)
        shards = pictures.main | "AssignShards" >> AssignShards(self.new, self.shard_size)
        return outputs_of(shards, lines, pictures)


class KeptLine(NamedTuple):
    """The newest ledger line of a file that is kept.

    Attributes:
      line: as it stands.
      is_listed: whether the file is listed; else nobody knows whether it is still there.
      is_link: whether it was found as a link to a file.
    """

    line: LedgerLine
    is_listed: bool
    is_link: bool


class KeepListed(beam.PTransform):
    """InputFile -> Outputs of (content, KeptLine).

    A file is kept if it is listed and unchanged, or if nobody knows whether it is still there. Counts `listed`.

    Args:
      ledger: (ledger name, LedgerLine) of all runs.
    """

    def __init__(self, ledger: PCollection):
        super().__init__()
        self.ledger = ledger

    def expand(self, files: PCollection) -> Outputs:
        by_uri = files | "UriOfInput" >> beam.Map(lambda file: (uri_key(file.uri), file))
        lines = self.ledger | "UriOfLine" >> beam.Map(lambda named: (uri_key(named[1].uri), named))
        groups = {"inputs": by_uri, "lines": lines} | "GroupByUri" >> CoGroupInBuckets()
        unreadable = AsDict(files | "Unreadable" >> UnreadableInputs())
        kept = groups | "KeepLine" >> beam.ParDo(SumCountsOfBundle(keep_line), unreadable).with_outputs(
            COUNTS, main="main"
        )
        return Outputs(kept.main, (kept[COUNTS],))


def keep_line(group: tuple[bytes, dict[str, Iterable[Any]]], unreadable: Container[bytes]) -> Iterator[Any]:
    """Listed inputs and ledger lines of one uri -> (content, KeptLine), if it is kept; counts it if it is listed.

    Args:
      unreadable: see `is_gone`.
    """
    key, grouped = group
    line, files = newest_line(grouped["lines"]), list(grouped["inputs"])
    if line is None or (files and not any(is_of(line, file) for file in files)):
        return  # it came or changed since the run before this prune; the next run does it
    if not files and is_gone(uri_of(key), unreadable):
        return
    if files:
        yield count("listed")
    content = line.sha256 if line.outcome != REJECTED or line.sha256 else hashlib.sha256(key).hexdigest()
    yield content, KeptLine(line, bool(files), any(file.is_link for file in files))


def keep_picture(group: tuple[str, dict[str, Iterable[Any]]]) -> Iterator[Any]:
    """Kept lines of one content, and the ledgers that call it done -> KeptPicture; counts each listed file's outcome.

    The first of its files, by uri but links last, is done and the others are duplicates, whatever they were before.
    """
    sha256, grouped = group
    lines: list[LedgerLine] = []
    outcome = DONE
    for line, listed, _ in sorted(grouped["lines"], key=lambda kept: (kept.is_link, kept.line.uri)):
        if line.outcome != REJECTED:
            line, outcome = replace(line, outcome=outcome), DUPLICATE
        lines.append(line)
        if listed:
            yield count(f"earlier_{line.outcome}")
    if lines:
        yield KeptPicture(sha256, tuple(lines), tuple(sorted(set(grouped["stored"]))))


def by_shard(pictures: Iterable[KeptPicture]) -> dict[ShardId, dict[str, KeptPicture]]:
    """Kept pictures -> {old shard: {sha256: picture}} of those that have something in an old shard."""
    grouped: dict[ShardId, dict[str, KeptPicture]] = {}
    for picture in pictures:
        if picture.shard is not None:
            grouped.setdefault(picture.shard, {})[picture.sha256] = picture
    return grouped
