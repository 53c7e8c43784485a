"""Tables of how much each term of a collection matters; `docs/reference/word-tables.md` has the formulas."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from beam_pipeline.runtime.tables import Column
from beam_pipeline.words.intervals import poisson_binomial, wilson
from beam_pipeline.words.log_odds import log_odds
from beam_pipeline.words.reference import Reference
from beam_pipeline.words.statistics import ExamplePicture, WordStatistics
from beam_pipeline.words.terms import WORD, is_stop, lemma
from training.text.word_evidence import KINDS, MILLION

COLUMNS = (
    Column("word", "string"),
    Column("lemma", "string"),
    Column("stop_word", "bool"),
    Column("importance", "float64", 6),
    Column("estimate", "float64", 3),
    Column("estimate_low", "float64", 3),
    Column("estimate_high", "float64", 3),
    Column("interval", "string"),
    Column("estimate_files", "float64", 3),
    Column("count", "int64"),
    Column("images", "int64"),
    Column("files", "int64"),
    Column("share_of_images", "float64", 6),
    Column("lemma_images", "int64"),
    Column("expected_count", "float64", 3),
    Column("tf_idf", "float64", 4),
    Column("log_odds", "float64", 4),
    Column("z", "float64", 3),
    Column("mean_probability", "float64", 4),
    Column("mean_grounding", "float64", 4),
    Column("example", "string"),
)
WILSON, POISSON_BINOMIAL = "wilson", "poisson_binomial"


@dataclass(frozen=True)
class Collection:
    """What the statistics of a collection were counted over.

    Attributes:
      pictures: distinct pictures that a file shows now.
      files: those files.
      evidence: those of `KINDS` that are known of every picture.
    """

    pictures: int
    files: int
    evidence: tuple[str, ...] = ("said",)

    @staticmethod
    def from_counts(counts: Mapping[str, int]) -> Collection:
        """Sums of `ShardStatistics.counts` -> Collection."""
        pictures = counts.get("pictures_counted", 0)
        known = [kind for kind in KINDS[1:] if pictures and counts.get(f"evidence_{kind}", 0) == pictures]
        return Collection(pictures, counts.get("files_counted", 0), ("said", *known))


@dataclass(frozen=True)
class Estimate:
    """How many pictures a term fits.

    Attributes:
      pictures: the number of distinct pictures.
      low, high: its 95 % confidence interval.
      interval: WILSON or POISSON_BINOMIAL.
      files: the number of files.
    """

    pictures: float
    low: float
    high: float
    interval: str
    files: float


def estimate(statistics: WordStatistics, collection: Collection, tail: float = 0.0) -> Estimate:
    """Statistics of a term -> Estimate, from its presence if all pictures have that, else from the captions.

    Args:
      tail: mean presence in the pictures whose evidence does not mention the term.
    """
    pictures, files = statistics.pictures, statistics.files
    all_known = pictures.with_presence and pictures.captions_with_presence == pictures.captions
    if not ("presence" in collection.evidence and all_known):
        low, high = wilson(pictures.captions, collection.pictures)
        return Estimate(float(pictures.captions), low, high, WILSON, float(files.captions))
    others = collection.pictures - pictures.with_presence
    total = pictures.presence / MILLION + others * tail
    low, high = poisson_binomial(total, pictures.presence_squared / MILLION**2 + others * tail * tail)
    other_files = collection.files - files.with_presence
    return Estimate(total, low, high, POISSON_BINOMIAL, files.presence / MILLION + other_files * tail)


def importance_table(
    kind: str,
    terms: Mapping[str, WordStatistics],
    lemmas: Mapping[str, WordStatistics],
    collection: Collection,
    reference: Reference | None = None,
    tails: Mapping[str, float] | None = None,
) -> list[dict[str, Any]]:
    """Statistics of all terms of a kind -> rows of `COLUMNS`, the most important first, stop words last.

    Args:
      kind: WORD or BIGRAM.
      terms: text of each term -> its statistics.
      lemmas: lemma -> statistics of its words.
      reference: what to compare with. Without one, or where it did not count this kind, `log_odds` and `z` are None and
        the importance of a term is its share of the pictures.
      tails: text of a term -> mean presence in the pictures that do not mention it, see `estimate`.
    """
    tails = tails or {}
    estimates = {text: estimate(statistics, collection, tails.get(text, 0.0)) for text, statistics in terms.items()}
    if reference is not None and kind not in reference.document_frequency:
        reference = None
    compared: dict[str, tuple[float, float]] = {}
    # Of the reference, or without one of the collection itself.
    documents = collection.pictures
    frequency = {text: float(statistics.pictures.captions) for text, statistics in terms.items()}
    if reference:
        pairs = {text: (estimates[text].pictures, frequency[text]) for text in terms}
        ours, theirs = comparable(pairs, "presence" in collection.evidence, reference, kind)
        compared = compare_counts(ours, theirs)
        documents, frequency = reference.documents, dict(theirs)
    rows: list[dict[str, Any]] = []
    for text, statistics in terms.items():
        fits, sums = estimates[text], statistics.pictures
        surprise = math.log((1 + documents) / (1 + frequency.get(text, 0.0)))  # smoothed inverse document frequency
        base = lemma(text) if kind == WORD else " ".join(map(lemma, text.split(" ")))
        delta, z = compared.get(text, (None, None))
        share = fits.pictures / collection.pictures
        rows.append(
            {
                "word": text,
                "lemma": base,
                "stop_word": is_stop(text),
                "importance": share * surprise if reference else share,
                "estimate": fits.pictures,
                "estimate_low": fits.low,
                "estimate_high": fits.high,
                "interval": fits.interval,
                "estimate_files": fits.files,
                "count": sums.mentions,
                "images": sums.captions,
                "files": statistics.files.captions,
                "share_of_images": sums.captions / collection.pictures,
                "lemma_images": lemmas[base].pictures.captions if base in lemmas else sums.captions,
                "expected_count": sums.expected / MILLION if "expected" in collection.evidence else None,
                "tf_idf": sums.mentions * surprise,
                "log_odds": delta,
                "z": z,
                "mean_probability": math.exp(sums.score / MILLION / sums.captions) if sums.captions else None,
                "mean_grounding": sums.grounding / MILLION / sums.with_grounding if sums.with_grounding else None,
                "example": next((example.uri for example in statistics.top + statistics.sample), None),
            }
        )
    rows.sort(key=lambda row: (row["stop_word"], -row["importance"], -row["estimate"], row["word"]))
    return rows


def comparable(
    ours: Mapping[str, tuple[float, float]], estimates_known: bool, reference: Reference, kind: str
) -> tuple[dict[str, float], Mapping[str, float]]:
    """Document frequencies of a collection and its reference, both by the same method -> (text -> documents) of each.

    Estimates are compared with estimates, or with what people wrote; captions of a captioner with its other captions.

    Args:
      ours: text of each term -> (estimated pictures, pictures whose caption contains it).
      estimates_known: whether the estimates come from presence.
      kind: of the terms.
    """
    by_people = reference.made_with is None
    by_estimate = estimates_known and (by_people or kind in reference.estimated_frequency)
    frequency = reference.estimated_frequency if by_estimate and not by_people else reference.document_frequency
    return {text: pair[0 if by_estimate else 1] for text, pair in ours.items()}, frequency[kind]


def compare_counts(ours: Mapping[str, float], theirs: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """Documents that contain each term, in two collections -> content term -> (log-odds, z).

    Terms that only one collection has count in its total too; stop words do not.
    """
    union = sorted(text for text in {*ours, *theirs} if not is_stop(text))
    first, second = (np.array([side.get(text, 0.0) for text in union]) for side in (ours, theirs))
    odds = log_odds(first, second)
    return dict(zip(union, zip(odds.delta.tolist(), odds.z.tolist(), strict=True), strict=True))


def evidence_lines(rows: list[dict[str, Any]], kind: str, terms: Mapping[str, WordStatistics]) -> Iterator[str]:
    """Rows of a table -> lines of `word_evidence.jsonl` in their order: example pictures of each content term.

    Args:
      kind: of the terms.
      terms: text of each term -> its statistics.
    """
    for row in rows:
        if not row["stop_word"]:
            statistics = terms[row["word"]]
            lists = {
                "top": [_example_to_json(example) for example in statistics.top],
                "sample": [_example_to_json(example) for example in statistics.sample],
                "likely_false": [_example_to_json(example) for example in statistics.likely_false],
            }
            yield json.dumps({"kind": kind, "word": row["word"], **lists}) + "\n"


def _example_to_json(example: ExamplePicture) -> dict[str, Any]:
    row: dict[str, Any] = {"uri": example.uri, "sha256": example.sha256, "caption": example.caption}
    for name in ("presence", "grounding"):
        value = getattr(example, name)
        if value is not None:
            row[name] = value / MILLION
    return row
