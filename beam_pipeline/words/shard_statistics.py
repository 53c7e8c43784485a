"""The word statistics of one shard, in memory and on disk (`words-*.jsonl`)."""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from msgspec import Meta

from beam_pipeline.captions.picture import CaptionedPicture, read_captions
from beam_pipeline.runtime import storage
from beam_pipeline.shards.ledger import DONE, DUPLICATE, LedgerLine, read_ledger
from beam_pipeline.shards.shard_id import ShardId
from beam_pipeline.words.statistics import ExamplePicture, StatisticsBuilder, WordStatistics, WordSums
from beam_pipeline.words.terms import WORD, Term, count_terms
from training.documents import Count, Damaged, Sha256OrNone, parse_lines
from training.errors import UserError
from training.text.word_evidence import millionths
from training.text.words import caption_words

log = logging.getLogger("captionbeam")

WORDS_VERSION = 2  # of `words-*.jsonl`; a file of another version is rebuilt from the captions


@dataclass(frozen=True)
class ShardStatistics:
    """Statistics of a set of pictures.

    Attributes:
      counts: "captions", "pictures_counted", "files_counted", "flag_NAME", and for each kind of evidence the number of
        pictures that have it, "evidence_KIND".
      terms: statistics of each term.
    """

    counts: dict[str, int]
    terms: dict[Term, WordStatistics]


def shard_statistics(pictures: Iterable[CaptionedPicture], files: Mapping[str, int]) -> ShardStatistics:
    """Captioned pictures of a shard -> their statistics.

    A term counts once a picture, however often the caption repeats it. Lemmas and bigrams come from the captions alone,
    since evidence is about words. A picture that no file shows any more counts as a caption and as nothing else.

    Args:
      files: sha256 of a picture -> how many files show it now.
    """
    counts: Counter[str] = Counter()
    builders: defaultdict[Term, StatisticsBuilder] = defaultdict(StatisticsBuilder)
    nothing: Mapping[str, float] = {}
    for picture in pictures:
        counts["captions"] += 1
        counts.update(f"flag_{flag}" for flag in picture.flags)
        shown = files.get(picture.sha256, 0)
        if not shown:
            continue
        counts["pictures_counted"] += 1
        counts["files_counted"] += shown
        evidence = picture.evidence or {"kinds": (), "words": nothing}
        counts.update(f"evidence_{kind}" for kind in evidence["kinds"])
        score, mentions = millionths(picture.score), count_terms(caption_words(picture.caption))
        for word, values in evidence["words"].items():
            term = WORD, word
            builders[term].add(term, picture, shown, score, mentions.pop(term, 0), values)
        for term, times in mentions.items():
            builders[term].add(term, picture, shown, score, times, nothing)
    return ShardStatistics(dict(sorted(counts.items())), {term: one.build() for term, one in builders.items()})


def files_of_pictures(lines: Iterable[LedgerLine]) -> Counter[str]:
    """Ledger lines -> sha256 of each picture -> how many of the files show it."""
    return Counter(line.sha256 for line in lines if line.outcome in (DONE, DUPLICATE))


def statistics_to_json(statistics: ShardStatistics) -> Iterator[Any]:
    """Statistics -> lines of `words-*.jsonl`, as values for JSON.

    The first line holds the counts, and the pictures that are examples of any term. Each line after it is a term:
    [kind, text, pictures, files, top, sample, likely_false], where an example names its picture by its place in the
    first line.
    """
    lists = [(one.top, one.sample, one.likely_false) for one in statistics.terms.values()]
    shown = {(one.sha256, one.uri, one.caption) for three in lists for examples in three for one in examples}
    pictures = {picture: place for place, picture in enumerate(sorted(shown))}
    yield {"schema_version": WORDS_VERSION, "counts": statistics.counts, "pictures": list(pictures)}
    for term, of_term in sorted(statistics.terms.items()):
        examples = [
            [[one.rank, pictures[one.sha256, one.uri, one.caption], one.presence, one.grounding] for one in examples]
            for examples in (of_term.top, of_term.sample, of_term.likely_false)
        ]
        yield [*term, of_term.pictures, of_term.files, *examples]


@dataclass(frozen=True)
class _Header:
    """Schema of the first line of `words-*.jsonl`; `checksum` is the sha256 of all lines without it."""

    schema_version: int
    counts: dict[str, Count]
    pictures: list[tuple[str, str, str]]
    checksum: Sha256OrNone = ""


class _Example(NamedTuple):
    rank: int
    place: Count
    presence: int | None
    grounding: int | None


_Examples = tuple[_Example, ...]


class _TermLine(NamedTuple):
    """Schema of every other line."""

    kind: Annotated[str, Meta(pattern="^(word|lemma|bigram)$")]
    text: str
    pictures: WordSums
    files: WordSums
    top: _Examples
    sample: _Examples
    likely_false: _Examples


def to_words(statistics: ShardStatistics) -> bytes:
    """Statistics -> content of `words-*.jsonl`."""
    header, *rows = (_line(row) for row in statistics_to_json(statistics))
    rest = "".join(rows)
    checksum = hashlib.sha256((header + rest).encode()).hexdigest()
    return f'{header[:-2]},"checksum":"{checksum}"}}\n{rest}'.encode()


def _line(row: Any) -> str:
    return json.dumps(row, separators=(",", ":")) + "\n"


def parse_words(data: bytes, path: str) -> ShardStatistics | None:
    """Content of `words-*.jsonl` -> statistics; None where another version wrote them.

    Raises:
      UserError: it is damaged.
    """
    first, _, rest = data.partition(b"\n")
    mend = "remove it and run captionbeam caption again, which counts the words again"
    (header,) = parse_lines(io.BytesIO(first + b"\n"), _Header, path, mend)
    if header.schema_version != WORDS_VERSION:
        return None
    if header.checksum:
        plain = {name: getattr(header, name) for name in ("schema_version", "counts", "pictures")}
        if hashlib.sha256(_line(plain).encode() + rest).hexdigest() != header.checksum:
            raise Damaged(path, "changed since it was written: its content does not have its checksum", mend)
    pictures = header.pictures
    terms: dict[Term, WordStatistics] = {}
    for number, line in enumerate(parse_lines(io.BytesIO(rest), _TermLine, path, mend), start=2):
        lists = (line.top, line.sample, line.likely_false)
        if any(example.place >= len(pictures) for listed in lists for example in listed):
            raise Damaged(f"{path}:{number}", "names a picture that is not in its first line", mend)
        examples = (
            tuple(ExamplePicture(one.rank, *pictures[one.place], one.presence, one.grounding) for one in listed)
            for listed in lists
        )
        terms[line.kind, line.text] = WordStatistics(line.pictures, line.files, *examples)
    return ShardStatistics(header.counts, terms)


def write_words(
    shard: ShardId, pictures: Iterable[CaptionedPicture], lines: Iterable[LedgerLine], output: str
) -> ShardStatistics:
    """Writes the statistics of a shard, `words-*.jsonl`, into the directory `output`; returns them.

    Args:
      pictures: of the shard.
      lines: of its ledger, which tell how many files show each picture.
    """
    statistics = shard_statistics(pictures, files_of_pictures(lines))
    storage.write_atomic(storage.join(output, shard.words()), to_words(statistics))
    return statistics


def read_words(shard: ShardId, output: str) -> ShardStatistics | None:
    """Shard in the directory `output` -> its stored statistics; None where there are none, or of another version.

    Raises:
      UserError: they are damaged.
    """
    path = storage.join(output, shard.words())
    data = storage.read_own_if_there(path)
    return None if data is None else parse_words(data, path)


def statistics_of_shard(shard: ShardId, output: str, files_now: Mapping[str, int]) -> ShardStatistics:
    """Committed shard -> its statistics: the stored ones, or new ones from its captions where they are out of date.

    Stored ones that are missing or damaged are made again.

    Args:
      files_now: sha256 -> number of files, for the pictures whose files other shards' ledgers have changed.
    """
    try:
        stored = read_words(shard, output)
    except UserError as error:
        log.info("%s", error)
        stored = None
    if stored and not files_now:
        return stored
    lines = list(read_ledger(storage.join(output, shard.ledger())))
    if stored is None:
        stored = write_words(shard, read_captions(shard, output), lines, output)
        if not files_now:
            return stored
    return shard_statistics(read_captions(shard, output), {**files_of_pictures(lines), **files_now})
