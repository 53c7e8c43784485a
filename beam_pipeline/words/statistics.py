"""Exact, mergeable statistics of a term over pictures; pure, without Beam.

All sums are whole numbers: counts as they are, evidence in millionths, products of two of them in millionths of
millionths. So totals depend neither on the order of the pictures nor on how they were cut into shards, and what was
added can be subtracted again, to the last digit. Python's integers do not overflow.

The example pictures of a term are bounded lists, each the smallest K of all by (rank, sha256): merging keeps that, and
a tie has one outcome. A list cannot be subtracted from; it is made anew from the shards that remain.
"""

from __future__ import annotations

import bisect
import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import add, attrgetter, mul, sub
from types import SimpleNamespace
from typing import Any, NamedTuple

from beam_pipeline.captions.picture import CaptionedPicture
from beam_pipeline.words.terms import LEMMA, WORD, Term, count_terms
from training.text.word_evidence import KINDS, MILLION, millionths
from training.text.words import caption_words

EXAMPLES = 5  # K: pictures that are remembered of each kind
SAMPLE_SEED = "captionbeam"  # another word draws other samples
LIKELY = 0.5  # presence from which on a picture may stand for a word that its caption does not say
WORDS_VERSION = 1  # of `words-*.jsonl`; a file of another version is made anew from the captions
DOUBTFUL = 0.2  # presence below which a word that is said counts as a likely false mention


class WordSums(NamedTuple):
    """Sums over some pictures (or files, each with the numbers of its picture), of a term.

    Attributes:
      mentions: times that the captions say it.
      said: pictures whose caption says it.
      known: pictures whose presence of it is known.
      said_known: pictures of both kinds.
      presence: sum of p, the presence, in millionths.
      presence_squared: sum of p * p, in millionths of millionths; the variance of the number of pictures of which a
        person would use the word is the sum of p * (1 - p).
      expecting: pictures whose expected count of it is known.
      expected: sum of expected counts, in millionths.
      grounded: pictures that say it and whose grounding of it is known.
      grounding: sum over those, in millionths of a nat.
      score: sum, over the pictures that say it, of the caption's mean log-probability per word, in millionths.
    """

    mentions: int = 0
    said: int = 0
    known: int = 0
    said_known: int = 0
    presence: int = 0
    presence_squared: int = 0
    expecting: int = 0
    expected: int = 0
    grounded: int = 0
    grounding: int = 0
    score: int = 0

    def plus(self, other: WordSums) -> WordSums:
        """Sums over both of two disjoint sets of pictures."""
        return WordSums(*map(add, self, other))

    def minus(self, other: WordSums) -> WordSums:
        """Sums over these pictures without those of `other`, which must be among them."""
        return WordSums(*map(sub, self, other))

    def times(self, files: int) -> WordSums:
        """The same when every picture counts `files` times."""
        return WordSums(*map(mul, self, [files] * len(self)))


NO_SUMS = WordSums()


class ExamplePicture(NamedTuple):
    """A picture that can be looked at, for a term.

    Attributes:
      rank: sorts the pictures of a list, best first.
      sha256, uri, caption: of the picture.
      presence, grounding: in millionths, or None.
    """

    rank: int
    sha256: str
    uri: str
    caption: str
    presence: int | None
    grounding: int | None

    @property
    def order(self) -> tuple[int, str, str]:
        return self.rank, self.sha256, self.uri


_ORDER = attrgetter("order")


@dataclass(frozen=True)
class WordStatistics:
    """What is known of one term.

    Attributes:
      pictures: sums over distinct pictures.
      files: sums over the files that show them now.
      top: pictures that show it best, by grounding where that is known, else by the caption's score.
      sample: pictures drawn at random, each with a chance in proportion to its presence, or to 1 where its caption
        says the word and presence is not known.
      doubtful: pictures whose caption says it though presence is low or, where that is not known, grounding negative.
    """

    pictures: WordSums = NO_SUMS
    files: WordSums = NO_SUMS
    top: tuple[ExamplePicture, ...] = ()
    sample: tuple[ExamplePicture, ...] = ()
    doubtful: tuple[ExamplePicture, ...] = ()

    def merge(self, other: WordStatistics) -> WordStatistics:
        """Statistics of both of two disjoint sets of pictures; order and grouping change nothing."""
        return WordStatistics(
            self.pictures.plus(other.pictures),
            self.files.plus(other.files),
            _best(self.top, other.top),
            _best(self.sample, other.sample),
            _best(self.doubtful, other.doubtful),
        )


def _best(ours: tuple[ExamplePicture, ...], others: tuple[ExamplePicture, ...]) -> tuple[ExamplePicture, ...]:
    if not others or not ours:
        return ours or others
    if len(ours) == EXAMPLES and ours[-1].order < others[0].order:
        return ours
    return tuple(sorted(ours + others, key=_ORDER)[:EXAMPLES])


class _TermAccumulator:
    """Statistics of one term while pictures are added: sums in place, and the examples kept so far, best first."""

    __slots__ = ("doubtful", "more_files", "pictures", "sample", "top")

    def __init__(self) -> None:
        self.pictures = _RunningSums()
        self.more_files = NO_SUMS  # over the files beyond the first of each picture
        self.top: list[ExamplePicture] = []
        self.sample: list[ExamplePicture] = []
        self.doubtful: list[ExamplePicture] = []

    def add(
        self, term: Term, picture: CaptionedPicture, files: int, score: int, said: int, known: Mapping[str, float]
    ) -> None:
        """One picture that `files` files show: the times its caption says the term, and what else is known of it."""
        expected, presence, grounding = (
            None if (value := known.get(kind)) is None else millionths(value) for kind in KINDS[1:]
        )
        self.pictures.add(said, expected, presence, grounding, score)
        if files > 1:
            once = _RunningSums()
            once.add(said, expected, presence, grounding, score)
            self.more_files = self.more_files.plus(once.sums().times(files - 1))
        if term[0] != LEMMA:
            self._add_examples(term, picture, score, said, presence, grounding)

    def _add_examples(
        self, term: Term, picture: CaptionedPicture, score: int, said: int, presence: int | None, grounding: int | None
    ) -> None:
        known = picture, presence, grounding
        if said or (presence or 0) >= LIKELY * MILLION:
            _keep(self.top, -(score if said else 0) if grounding is None else -grounding, *known)
        if weight := float(said > 0) if presence is None else presence / MILLION:
            _keep(self.sample, sample_rank(*term, picture.sha256, weight), *known)
        if said and presence is not None and presence < DOUBTFUL * MILLION:
            _keep(self.doubtful, presence, *known)
        elif said and presence is None and grounding is not None and grounding < 0:
            _keep(self.doubtful, grounding, *known)

    def statistics(self) -> WordStatistics:
        pictures = self.pictures.sums()
        examples = tuple(self.top), tuple(self.sample), tuple(self.doubtful)
        return WordStatistics(pictures, pictures.plus(self.more_files), *examples)


class _RunningSums(SimpleNamespace):
    """`WordSums` that grow in place."""

    def __init__(self) -> None:
        super().__init__(**NO_SUMS._asdict())

    def add(self, said: int, expected: int | None, presence: int | None, grounding: int | None, score: int) -> None:
        """One picture more."""
        if presence is not None:
            self.known += 1
            self.presence += presence
            self.presence_squared += presence * presence
        if expected is not None:
            self.expecting += 1
            self.expected += expected
        if said:
            self.mentions += said
            self.said += 1
            self.score += score
            if presence is not None:
                self.said_known += 1
            if grounding is not None:
                self.grounded += 1
                self.grounding += grounding

    def sums(self) -> WordSums:
        return WordSums(**vars(self))


def _keep(
    examples: list[ExamplePicture], rank: int, picture: CaptionedPicture, presence: int | None, grounding: int | None
) -> None:
    """Adds a picture to the best ones if it is among them."""
    if len(examples) == EXAMPLES and rank > examples[-1].rank:
        return
    example = ExamplePicture(rank, picture.sha256, picture.uri, picture.caption, presence, grounding)
    bisect.insort(examples, example, key=_ORDER)
    del examples[EXAMPLES:]


def sample_rank(kind: str, text: str, sha256: str, weight: float) -> int:
    """Rank of a picture in the random sample of a term; the K smallest are the sample.

    The logarithm of a uniform number over the weight, the number drawn by hash: a weighted sample without replacement
    (Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006) that the pictures alone decide.
    """
    digest = hashlib.sha256("\0".join((SAMPLE_SEED, kind, text, sha256)).encode()).digest()
    uniform = (int.from_bytes(digest[:6], "big") + 0.5) / 2**48  # in (0, 1), exact in a float
    return millionths(-math.log(uniform) / weight)


@dataclass(frozen=True)
class ShardStatistics:
    """Statistics of some pictures.

    Attributes:
      counts: "captions", "pictures_counted", "files_counted", "flag_NAME", and for each kind of evidence the pictures
        that have it, "evidence_KIND".
      terms: what is known of each term.
    """

    counts: dict[str, int]
    terms: dict[Term, WordStatistics]


def shard_statistics(pictures: Iterable[CaptionedPicture], files: Mapping[str, int]) -> ShardStatistics:
    """Pictures of a shard, and sha256 -> how many files show them now -> their statistics.

    A word counts once as a picture's, however often the caption repeats it. Lemmas and bigrams are known from the
    caption alone: evidence speaks of words. A picture that no file shows any more is counted as a caption, and nothing
    else of it is.
    """
    counts: Counter[str] = Counter()
    tallies: defaultdict[Term, _TermAccumulator] = defaultdict(_TermAccumulator)
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
        score, said = millionths(picture.score), count_terms(caption_words(picture.caption))
        for word, known in evidence["words"].items():
            term = WORD, word
            tallies[term].add(term, picture, shown, score, said.pop(term, 0), known)
        for term, times in said.items():
            tallies[term].add(term, picture, shown, score, times, nothing)
    return ShardStatistics(dict(sorted(counts.items())), {term: tally.statistics() for term, tally in tallies.items()})


def statistics_to_json(statistics: ShardStatistics) -> Iterator[Any]:
    """Statistics -> lines of `words-*.jsonl`.

    First the counts, and the pictures that are examples of anything; then for each term [kind, text, pictures, files,
    top, sample, doubtful], where an example names its picture by its place in the first line.
    """
    lists = [(found.top, found.sample, found.doubtful) for found in statistics.terms.values()]
    shown = {(one.sha256, one.uri, one.caption) for three in lists for examples in three for one in examples}
    pictures = {picture: place for place, picture in enumerate(sorted(shown))}
    yield {"schema_version": WORDS_VERSION, "counts": statistics.counts, "pictures": list(pictures)}
    for term, found in sorted(statistics.terms.items()):
        examples = [
            [[one.rank, pictures[one.sha256, one.uri, one.caption], one.presence, one.grounding] for one in examples]
            for examples in (found.top, found.sample, found.doubtful)
        ]
        yield [*term, found.pictures, found.files, *examples]


def statistics_from_json(lines: Iterator[Any]) -> ShardStatistics | None:
    """Undoes `statistics_to_json`; None where another version wrote it."""
    header = next(lines)
    if header.get("schema_version") != WORDS_VERSION:
        return None
    pictures = header["pictures"]
    terms = {}
    for kind, text, sums, files, *lists in lines:
        examples = (
            tuple(ExamplePicture(rank, *pictures[place], *known) for rank, place, *known in found) for found in lists
        )
        terms[kind, text] = WordStatistics(WordSums(*sums), WordSums(*files), *examples)
    return ShardStatistics(header["counts"], terms)
