"""`captionbeam compare A B`: which words two captioned collections use differently, and how sure that is."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from beam_pipeline.inputs.own_files import is_page
from beam_pipeline.options.results import CompareOptions
from beam_pipeline.reports.comparison_page import comparison_page
from beam_pipeline.runtime import storage
from beam_pipeline.runtime.named_output import named_output
from beam_pipeline.runtime.tables import Column, Row, to_csv
from beam_pipeline.runtime.text import reason, why
from beam_pipeline.words.log_odds import exact_p_values, log_odds, q_values
from beam_pipeline.words.reference import require_same_captioner
from beam_pipeline.words.summary import read_summary, read_table
from beam_pipeline.words.terms import WORD, is_stop
from training.errors import JobFailed, UserError
from training.text.plurals import counted

log = logging.getLogger("captionbeam")

SHOWN = 20  # words of each side that are printed
COLUMNS = (
    Column("word", "string"),
    Column("lemma", "string"),
    Column("log_odds", "float64", 4),
    Column("z", "float64", 3),
    *(Column(name, "float64", 8) for name in ("p", "q")),
    Column("counted_by", "string"),
    *(Column(f"pictures_{side}", "float64", 3) for side in "ab"),
    *(Column(f"share_{side}", "float64", 6) for side in "ab"),
    *(Column(f"example_{side}", "string") for side in "ab"),
)


@dataclass(frozen=True)
class WordTable:
    """The words of a captions directory.

    Attributes:
      pictures: number of distinct pictures.
      has_presence: whether its estimates come from the word-presence head.
      rows: word -> its row in `word_importance.parquet`.
    """

    pictures: int
    has_presence: bool
    rows: dict[str, dict[str, Any]]


def compare(options: CompareOptions) -> list[Row]:
    """Compares two captions directories: writes the table and a page, prints the words that differ most -> its rows.

    A stream takes the table alone.

    Raises:
      UserError: a directory contains no finished captions, or they are by different captioners.
      JobFailed: the output cannot be written.
    """
    summaries = read_summary(options.first, "A"), read_summary(options.second, "B")
    made_with = summaries[0]["made_with"]
    require_same_captioner(made_with, summaries[1]["made_with"], f"{options.first} and {options.second}")
    first, second = _read_words(options.first, summaries[0]), _read_words(options.second, summaries[1])
    rows = comparison(first, second)
    output = named_output(options.output)
    with output.alone():
        try:
            output.write(to_csv(COLUMNS, rows))
        except OSError as error:
            raise JobFailed(
                f"--output {options.output}: cannot be written ({reason(error)}); choose another"
            ) from error
        _print_summary(rows, options)
        if not output.is_stream:
            _write_page(rows, options, made_with, (first.pictures, second.pictures))
    return rows


def _read_words(directory: str, summary: dict[str, Any]) -> WordTable:
    rows = {row["word"]: row for row in read_table(directory, WORD)}
    return WordTable(summary["pictures"], "presence" in summary["evidence"], rows)


def comparison(first: WordTable, second: WordTable) -> list[Row]:
    """Two tables -> rows of `COLUMNS`, those that A uses more often first; none if a collection is empty.

    Pictures are counted by their estimate if both collections have presence, else by the words of their captions.
    """
    if not (first.pictures and second.pictures):
        return []
    counted_by = "estimate" if first.has_presence and second.has_presence else "images"
    words = sorted(word for word in {*first.rows, *second.rows} if not is_stop(word))
    counts = [
        np.array([float(table.rows[word][counted_by]) if word in table.rows else 0.0 for word in words])
        for table in (first, second)
    ]
    odds = log_odds(counts[0], counts[1])
    p = exact_p_values(counts[0], first.pictures, counts[1], second.pictures)
    q = q_values(p)
    rows = [
        {
            "word": word,
            "lemma": (first.rows.get(word) or second.rows[word])["lemma"],
            "log_odds": float(odds.delta[number]),
            "z": float(odds.z[number]),
            "p": float(p[number]),
            "q": float(q[number]),
            "counted_by": counted_by,
            "pictures_a": float(counts[0][number]),
            "pictures_b": float(counts[1][number]),
            "share_a": float(counts[0][number]) / first.pictures,
            "share_b": float(counts[1][number]) / second.pictures,
            "example_a": first.rows[word]["example"] if word in first.rows else None,
            "example_b": second.rows[word]["example"] if word in second.rows else None,
        }
        for number, word in enumerate(words)
    ]
    return sorted(rows, key=lambda row: (-row["z"], row["word"]))


def _write_page(rows: list[Row], options: CompareOptions, made_with: dict[str, Any], pictures: tuple[int, int]) -> None:
    """Writes the comparison as a page beside the table; a page that cannot be written costs a warning only."""
    page = page_beside(options.output)
    try:
        if storage.exists(page) and not is_page(page):
            raise UserError("another file of this name is there; give another --output, or move it")
        named_output(page).write(comparison_page(rows, (options.first, options.second), pictures, made_with))
        print(f"{page}: the same comparison as a page")
    except Exception as error:
        log.debug("no page", exc_info=True)
        log.warning("%s: not written (%s)", page, why(error))


def page_beside(table: str) -> str:
    """Path of the table -> path of its page: comparison.csv -> comparison.html; never the same path."""
    page = os.path.splitext(table)[0] + ".html"
    return page if page != table else f"{table}.html"


def _print_summary(rows: list[Row], options: CompareOptions) -> None:
    names = [os.path.basename(os.path.normpath(directory)) for directory in (options.first, options.second)]
    if not rows:
        print(f"{options.output}: no words to compare; {names[0]} or {names[1]} is empty")
        return
    more = [row for row in rows if row["z"] > 0][:SHOWN]
    less = [row for row in reversed(rows) if row["z"] < 0][:SHOWN]
    for name, side in zip(names, (more, less), strict=True):
        print(f"\n{'more in ' + name:<32}{'z':>8}{'q':>10}{'share A':>10}{'share B':>10}")
        for row in side:
            print(f"{row['word']:<32}{row['z']:>8.2f}{row['q']:>10.2g}{row['share_a']:>10.1%}{row['share_b']:>10.1%}")
    differing = sum(row["q"] <= 0.05 for row in rows)
    print(f"\n{options.output}: {counted(len(rows), 'word')}, {differing:,} differ at a false discovery rate of 5 %")
