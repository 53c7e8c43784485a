"""Statistics of a collection's terms -> tables of how much each matters; formulas in docs/word-importance.md."""

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
    """What was counted.

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
    """How many pictures a term fits: the number, a 95 % interval, how that was made, and the same for files."""

    pictures: float
    low: float
    high: float
    interval: str
    files: float


def estimate(statistics: WordStatistics, collection: Collection, tail: float = 0.0) -> Estimate:
    """Statistics of a term -> Estimate: from presence where that is known throughout, else from what captions say.

    Args:
      tail: mean presence in the pictures that do not mention it.
    """
    sums, files = statistics.pictures, statistics.files
    if not ("presence" in collection.evidence and sums.known and sums.said_known == sums.said):
        low, high = wilson(sums.said, collection.pictures)
        return Estimate(float(sums.said), low, high, WILSON, float(files.said))
    silent = collection.pictures - sums.known
    total = sums.presence / MILLION + silent * tail
    low, high = poisson_binomial(total, sums.presence_squared / MILLION**2 + silent * tail * tail)
    silent_files = collection.files - files.known
    return Estimate(total, low, high, POISSON_BINOMIAL, files.presence / MILLION + silent_files * tail)


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
      lemmas: statistics of the lemmas of words.
      reference: what to compare with; without one, or where it has no such kind, log_odds and z are empty.
      tails: see `estimate`.
    """
    estimates = {text: estimate(found, collection, (tails or {}).get(text, 0.0)) for text, found in terms.items()}
    if reference is not None and kind not in reference.said:
        reference = None
    compared: dict[str, tuple[float, float]] = {}
    # How many documents there are, and how many hold a term: of the reference, or without one of the collection.
    documents, holding = collection.pictures, {text: float(found.pictures.said) for text, found in terms.items()}
    if reference:
        pairs = {text: (estimates[text].pictures, holding[text]) for text in terms}
        ours, theirs = comparable(pairs, "presence" in collection.evidence, reference, kind)
        compared = compare_counts(ours, theirs)
        documents, holding = reference.documents, dict(theirs)
    rows: list[dict[str, Any]] = []
    for text, found in terms.items():
        guess, sums = estimates[text], found.pictures
        surprise = math.log((1 + documents) / (1 + holding.get(text, 0.0)))  # smoothed inverse document frequency
        base = lemma(text) if kind == WORD else " ".join(map(lemma, text.split(" ")))
        delta, z = compared.get(text, (None, None))
        share = guess.pictures / collection.pictures
        rows.append(
            {
                "word": text,
                "lemma": base,
                "stop_word": is_stop(text),
                "importance": share * surprise if reference else share,
                "estimate": guess.pictures,
                "estimate_low": guess.low,
                "estimate_high": guess.high,
                "interval": guess.interval,
                "estimate_files": guess.files,
                "count": sums.mentions,
                "images": sums.said,
                "files": found.files.said,
                "share_of_images": sums.said / collection.pictures,
                "lemma_images": lemmas[base].pictures.said if base in lemmas else sums.said,
                "expected_count": sums.expected / MILLION if "expected" in collection.evidence else None,
                "tf_idf": sums.mentions * surprise,
                "log_odds": delta,
                "z": z,
                "mean_probability": math.exp(sums.score / MILLION / sums.said) if sums.said else None,
                "mean_grounding": sums.grounding / MILLION / sums.grounded if sums.grounded else None,
                "example": next((example.uri for example in found.top + found.sample), None),
            }
        )
    rows.sort(key=lambda row: (row["stop_word"], -row["importance"], -row["estimate"], row["word"]))
    return rows


def comparable(
    ours: Mapping[str, tuple[float, float]], estimates_known: bool, reference: Reference, kind: str
) -> tuple[dict[str, float], Mapping[str, float]]:
    """Documents a term in a collection and in its reference, both by the same method.

    Estimates are compared with estimates, or with what people said; what a captioner says, with what it says.

    Args:
      ours: term -> (estimate, pictures that say it).
      estimates_known: whether the estimates are from presence.
    """
    by_people = reference.made_with is None
    by_estimate = estimates_known and (by_people or kind in reference.estimated)
    theirs = reference.estimated[kind] if by_estimate and not by_people else reference.said[kind]
    return {text: pair[0 if by_estimate else 1] for text, pair in ours.items()}, theirs


def compare_counts(ours: Mapping[str, float], theirs: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """Documents a term on either side -> content term -> (log-odds, z); terms of both sides share in the totals."""
    union = sorted(text for text in {*ours, *theirs} if not is_stop(text))
    first, second = (np.array([side.get(text, 0.0) for text in union]) for side in (ours, theirs))
    found = log_odds(first, second)
    return dict(zip(union, zip(found.delta.tolist(), found.z.tolist(), strict=True), strict=True))


def evidence_lines(rows: list[dict[str, Any]], kind: str, terms: Mapping[str, WordStatistics]) -> Iterator[str]:
    """Rows of a table -> lines of `word_evidence.jsonl` in their order: pictures to look at for each content term."""
    for row in rows:
        if not row["stop_word"]:
            found = terms[row["word"]]
            lists = {
                "top": [_shown(example) for example in found.top],
                "sample": [_shown(example) for example in found.sample],
                "likely_false": [_shown(example) for example in found.doubtful],
            }
            yield json.dumps({"kind": kind, "word": row["word"], **lists}) + "\n"


def _shown(example: ExamplePicture) -> dict[str, Any]:
    shown: dict[str, Any] = {"uri": example.uri, "sha256": example.sha256, "caption": example.caption}
    for name in ("presence", "grounding"):
        value = getattr(example, name)
        if value is not None:
            shown[name] = value / MILLION
    return shown
