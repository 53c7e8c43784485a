"""The page of `captionbeam compare`: the words that one collection uses more than the other, as chart and table."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

from beam_pipeline.reports.charts import EACH_SIDE, comparison_chart
from beam_pipeline.reports.page import render
from beam_pipeline.reports.wording import captioner_in_words
from beam_pipeline.runtime.tables import Row
from beam_pipeline.runtime.text import utf8
from beam_pipeline.words.intervals import Z

WORDS_SHOWN = 2000  # those with the largest absolute z
SURE = 0.05  # false discovery rate


def comparison_page(
    rows: Sequence[Row], directories: tuple[str, str], pictures: tuple[int, int], made_with: dict[str, Any]
) -> bytes:
    """Rows of `compare.COLUMNS` -> HTML page in UTF-8.

    Args:
      directories: of A and B.
      pictures: number of distinct pictures in A and in B.
      made_with: settings of their captioner, from `summary.json`.
    """
    surest = sorted(range(len(rows)), key=lambda number: -abs(rows[number]["z"]))[:WORDS_SHOWN]
    shown = [shown_row(rows[number]) for number in sorted(surest)]
    return render(
        "comparison.html",
        ("common.js", "comparison.js"),
        names=distinct_names(*directories),
        pictures=pictures,
        words=len(rows),
        sure=sum(row["q"] <= SURE for row in rows),
        by_estimate=bool(rows) and rows[0]["counted_by"] == "estimate",
        settings=captioner_in_words(made_with),
        data={"words": shown, "each_side": EACH_SIDE, "sure": SURE, "chart": comparison_chart()},
    )


def shown_row(row: Row) -> dict[str, Any]:
    """Row of `compare.COLUMNS` -> row of the page, rounded, with the 95 % interval of its log-odds."""
    # z is the log-odds divided by their standard deviation; at 0 the deviation is unknown.
    half = Z * row["log_odds"] / row["z"] if row["z"] and math.isfinite(row["log_odds"]) else None
    return {
        "word": utf8(row["word"]),
        "lemma": utf8(row["lemma"]),
        "log_odds": round(row["log_odds"], 3),
        "low": None if half is None else round(row["log_odds"] - half, 3),
        "high": None if half is None else round(row["log_odds"] + half, 3),
        "z": round(row["z"], 3),
        "q": float(f"{row['q']:.3g}"),
        "pictures_a": round(row["pictures_a"], 2),
        "pictures_b": round(row["pictures_b"], 2),
        "share_a": round(row["share_a"], 5),
        "share_b": round(row["share_b"], 5),
    }


def distinct_names(first: str, second: str) -> tuple[str, str]:
    """Paths of two directories -> a name for each: the innermost folders in which the paths differ."""
    parts = [utf8(os.path.normpath(path)).split(os.sep) for path in (first, second)]
    pairs = list(zip(reversed(parts[0]), reversed(parts[1]), strict=False))
    return next((pair for pair in pairs if pair[0] != pair[1] and all(pair)), pairs[0])
