"""Exact, mergeable statistics of one term over pictures.

All sums are integers: counts as they are, evidence in millionths, products of two such values in millionths of
millionths. So totals depend neither on the order of the pictures nor on their division into shards, and a shard can be
subtracted again without a rounding error. Python's integers do not overflow.

Example pictures are bounded lists: the `EXAMPLES` smallest of all pictures by (rank, sha256, uri). Merging two lists
keeps that property, and ties have one outcome. A list cannot be subtracted from; it is rebuilt from the shards that
remain.
"""

from __future__ import annotations

import bisect
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from operator import add, attrgetter, mul, sub
from types import SimpleNamespace
from typing import NamedTuple

from beam_pipeline.captions.picture import CaptionedPicture
from beam_pipeline.words.terms import LEMMA, Term
from training.text.word_evidence import KINDS, MILLION, millionths

EXAMPLES = 5  # pictures in each list of a term
SAMPLE_SEED = "captionbeam"  # another word draws other samples
LIKELY = 0.5  # presence from which a picture may illustrate a word that its caption does not contain
LIKELY_FALSE = 0.2  # presence below which a word in a caption counts as a likely false mention


class WordSums(NamedTuple):
    """Sums of a term over pictures, or over files, each with the values of its picture.

    Attributes:
      mentions: occurrences of the term in the captions.
      captions: pictures whose caption contains it.
      with_presence: pictures whose presence of it is known.
      captions_with_presence: pictures that are in both of these.
      presence: sum of the presence p, in millionths.
      presence_squared: sum of p * p, in millionths of millionths. The number of pictures for which a person would use
        the word has the variance sum of p * (1 - p).
      with_expected: pictures whose expected count of it is known.
      expected: sum of the expected counts, in millionths.
      with_grounding: pictures whose caption contains it and whose grounding of it is known.
      grounding: sum of the grounding over those, in millionths of a nat.
      score: sum of the captions' mean log-probability per word over the pictures whose caption contains it, in
        millionths.
    """

    mentions: int = 0
    captions: int = 0
    with_presence: int = 0
    captions_with_presence: int = 0
    presence: int = 0
    presence_squared: int = 0
    with_expected: int = 0
    expected: int = 0
    with_grounding: int = 0
    grounding: int = 0
    score: int = 0

    def plus(self, other: WordSums) -> WordSums:
        """Sums over two disjoint sets of pictures -> sums over their union."""
        return WordSums(*map(add, self, other))

    def minus(self, other: WordSums) -> WordSums:
        """Sums over a set of pictures and a subset of it -> sums over the rest."""
        return WordSums(*map(sub, self, other))

    def times(self, files: int) -> WordSums:
        """Sums over pictures -> sums when each of them counts `files` times."""
        return WordSums(*map(mul, self, [files] * len(self)))


NO_SUMS = WordSums()


class ExamplePicture(NamedTuple):
    """A picture by which a person can check a term.

    Attributes:
      rank: sorts the pictures of a list, best first.
      sha256, uri, caption: of the picture.
      presence, grounding: of the term in the picture, in millionths, or None.
    """

    rank: int
    sha256: str
    uri: str
    caption: str
    presence: int | None
    grounding: int | None

    @property
    def order(self) -> tuple[int, str, str]:
        """What lists of examples are sorted by."""
        return self.rank, self.sha256, self.uri


_ORDER = attrgetter("order")


@dataclass(frozen=True)
class WordStatistics:
    """Statistics of one term.

    Attributes:
      pictures: sums over distinct pictures.
      files: sums over the files that show them now.
      top: pictures that show it best, by grounding where that is known, else by the caption's score.
      sample: random pictures, each drawn with a chance in proportion to its presence, or to 1 where presence is not
        known and the caption contains the term.
      likely_false: pictures whose caption contains it although its presence is low or, where that is not known, its
        grounding negative.
    """

    pictures: WordSums = NO_SUMS
    files: WordSums = NO_SUMS
    top: tuple[ExamplePicture, ...] = ()
    sample: tuple[ExamplePicture, ...] = ()
    likely_false: tuple[ExamplePicture, ...] = ()

    def merge(self, other: WordStatistics) -> WordStatistics:
        """Statistics of two disjoint sets of pictures -> those of their union; commutative and associative."""
        return WordStatistics(
            self.pictures.plus(other.pictures),
            self.files.plus(other.files),
            _best(self.top, other.top),
            _best(self.sample, other.sample),
            _best(self.likely_false, other.likely_false),
        )


def _best(first: tuple[ExamplePicture, ...], second: tuple[ExamplePicture, ...]) -> tuple[ExamplePicture, ...]:
    if not first or not second:
        return first or second
    if len(first) == EXAMPLES and first[-1].order < second[0].order:
        return first
    return tuple(sorted(first + second, key=_ORDER)[:EXAMPLES])


class StatisticsBuilder:
    """Adds up the statistics of one term, picture by picture."""

    __slots__ = ("likely_false", "more_files", "pictures", "sample", "top")

    def __init__(self) -> None:
        self.pictures = _RunningSums()
        self.more_files = NO_SUMS  # over the files beyond the first of each picture
        self.top: list[ExamplePicture] = []
        self.sample: list[ExamplePicture] = []
        self.likely_false: list[ExamplePicture] = []

    def add(
        self,
        term: Term,
        picture: CaptionedPicture,
        files: int,
        score: int,
        mentions: int,
        evidence: Mapping[str, float],
    ) -> None:
        """Adds a picture.

        Args:
          term: the one that these statistics are of.
          files: that show the picture.
          score: of its caption, in millionths.
          mentions: of the term in its caption.
          evidence: kind of evidence, one of `KINDS[1:]` -> its value for this term and picture.
        """
        expected, presence, grounding = (
            None if (value := evidence.get(kind)) is None else millionths(value) for kind in KINDS[1:]
        )
        self.pictures.add(mentions, expected, presence, grounding, score)
        if files > 1:
            once = _RunningSums()
            once.add(mentions, expected, presence, grounding, score)
            self.more_files = self.more_files.plus(once.sums().times(files - 1))
        if term[0] != LEMMA:
            self._add_examples(term, picture, score, mentions, presence, grounding)

    def _add_examples(
        self,
        term: Term,
        picture: CaptionedPicture,
        score: int,
        mentions: int,
        presence: int | None,
        grounding: int | None,
    ) -> None:
        example = picture, presence, grounding
        if mentions or (presence or 0) >= LIKELY * MILLION:
            _keep(self.top, -(score if mentions else 0) if grounding is None else -grounding, *example)
        if weight := float(mentions > 0) if presence is None else presence / MILLION:
            _keep(self.sample, sample_rank(*term, picture.sha256, weight), *example)
        if mentions and presence is not None and presence < LIKELY_FALSE * MILLION:
            _keep(self.likely_false, presence, *example)
        elif mentions and presence is None and grounding is not None and grounding < 0:
            _keep(self.likely_false, grounding, *example)

    def build(self) -> WordStatistics:
        """Returns the statistics of the pictures added so far."""
        pictures = self.pictures.sums()
        examples = tuple(self.top), tuple(self.sample), tuple(self.likely_false)
        return WordStatistics(pictures, pictures.plus(self.more_files), *examples)


class _RunningSums(SimpleNamespace):
    """`WordSums` that grow in place."""

    def __init__(self) -> None:
        super().__init__(**NO_SUMS._asdict())

    def add(self, mentions: int, expected: int | None, presence: int | None, grounding: int | None, score: int) -> None:
        if presence is not None:
            self.with_presence += 1
            self.presence += presence
            self.presence_squared += presence * presence
        if expected is not None:
            self.with_expected += 1
            self.expected += expected
        if mentions:
            self.mentions += mentions
            self.captions += 1
            self.score += score
            if presence is not None:
                self.captions_with_presence += 1
            if grounding is not None:
                self.with_grounding += 1
                self.grounding += grounding

    def sums(self) -> WordSums:
        return WordSums(**vars(self))


def _keep(
    examples: list[ExamplePicture], rank: int, picture: CaptionedPicture, presence: int | None, grounding: int | None
) -> None:
    """Inserts a picture into a sorted list if it is among the best."""
    if len(examples) == EXAMPLES and rank > examples[-1].rank:
        return
    example = ExamplePicture(rank, picture.sha256, picture.uri, picture.caption, presence, grounding)
    bisect.insort(examples, example, key=_ORDER)
    del examples[EXAMPLES:]


def sample_rank(kind: str, text: str, sha256: str, weight: float) -> int:
    """Term, picture and its weight -> the picture's rank in the random sample of the term, in millionths.

    The pictures with the smallest ranks are a weighted sample without replacement: the rank is -log(u) / weight, u
    uniform in (0, 1) (Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006). A hash of term and
    picture stands in for u, so the sample depends on the pictures alone.
    """
    digest = hashlib.sha256("\0".join((SAMPLE_SEED, kind, text, sha256)).encode()).digest()
    uniform = (int.from_bytes(digest[:6], "big") + 0.5) / 2**48  # in (0, 1), exact in a float
    return millionths(-math.log(uniform) / weight)
