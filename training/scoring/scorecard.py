"""The scorecard for people: a table, then a few lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from training.text.plurals import counted

# Keys of the rows in scores.json, and their labels in the table.
NEAREST = "nearest_training_picture"
COMMONEST = "most_frequent_training_caption"
LESS_ONE = "against_the_other_references"
HUMAN = "human_against_the_other_references"
_LABELS = {
    NEAREST: "nearest training picture's caption",
    COMMONEST: "most frequent training caption",
    LESS_ONE: "  these captions",
    HUMAN: "  one human caption of each picture",
}
_CELL = 8


def render(document: Mapping[str, Any]) -> str:
    """Content of `scores.json` -> the text that `captionbeam evaluate` prints; scores are shown times 100."""
    rows, metrics = document["rows"], list(document["scores"])
    lines = [_heading(document), "", *_table(document, metrics), ""]
    if COMMONEST in rows:
        row = rows[COMMONEST]
        lines.append(
            f'Most frequent training caption: "{row["caption"]}" ({row["times"]} of {row["training_captions"]:,})'
        )
    lines.append(f"Diversity: {_diversity(document['diversity'])}")
    if HUMAN in rows:
        lines.append(f"   people: {_diversity(rows[HUMAN]['diversity'])}")
    if "protocols" in document:
        lines += ["", *_protocols(document["protocols"])]
    lines += ["", document["signature"]]
    lines += [f"{name} is not given: {why}" for name, why in document["not_scored"].items()]
    lines += [f"{_LABELS[name].strip()}: left out, {why}" for name, why in document["rows_left_out"].items()]
    lines += _without_words(document)
    return "\n".join(lines)


def _without_words(document: Mapping[str, Any]) -> list[str]:
    captions, references = document["captions_without_words"], document["references_without_words"]
    lines = []
    if captions:
        pictures = "the picture is" if len(captions) == 1 else "their pictures are"
        without = f"{counted(len(captions), 'caption')} without a word left out"
        lines.append(f"{without}, {pictures} not scored: {_first(captions)}")
    if references:
        count = sum(references.values())
        lines.append(f"{counted(count, 'reference')} without a word left out: {_first(list(references))}")
    return lines


def _first(names: Sequence[str], shown: int = 3) -> str:
    return ", ".join(names[:shown]) + (", ..." if len(names) > shown else "")


def _heading(document: Mapping[str, Any]) -> str:
    count = document["pictures"]
    pictures = counted(count, "picture")
    if document["captioner"]:
        return f"{pictures}, captioner {document['captioner']}, beam width {document['beam_width']}"
    return f"{pictures}, captions of {document['captions']}"


def _table(document: Mapping[str, Any], metrics: Sequence[str]) -> list[str]:
    rows = document["rows"]
    body: list[tuple[str, Mapping[str, float | None]]] = [("these captions", document["scores"])]
    for number, label in enumerate(("  95 % interval: from", "                 to")):
        bounds = {name: interval[number] for name, interval in document["intervals"].items()}
        if bounds:
            body.append((label, bounds))
    body += [(_LABELS[name], rows[name]["scores"]) for name in (NEAREST, COMMONEST) if name in rows]
    if HUMAN in rows:
        count = rows[HUMAN]["pictures"]
        note = "" if count == document["pictures"] else f", {counted(count, 'picture')}"
        body.append((f"one reference of each picture held out{note}:", {}))
        body += [(_LABELS[name], rows[name]["scores"]) for name in (LESS_ONE, HUMAN)]
    return _columns(metrics, body)


def _protocols(protocols: Mapping[str, Mapping[str, float]]) -> list[str]:
    metrics = list(dict.fromkeys(name for scores in protocols.values() for name in scores))
    return ["The same captions by other protocols:", *_columns(metrics, list(protocols.items()))]


def _columns(metrics: Sequence[str], rows: Sequence[tuple[str, Mapping[str, float | None]]]) -> list[str]:
    """Metrics, and rows of label and scores -> lines of a table; a row without scores is a heading."""
    width = max(len(label) for label, scores in rows if scores)
    lines = [" " * width + "".join(f"{name:>{_CELL}}" for name in metrics)]
    for label, scores in rows:
        cells = "".join(f"{_shown(scores.get(name)):>{_CELL}}" for name in metrics) if scores else ""
        lines.append(f"{label:<{width}}{cells}" if cells else label)
    return lines


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _diversity(figures: Mapping[str, Any]) -> str:
    line = (
        f"{counted(figures['distinct_captions'], 'distinct caption')}, "
        f"{counted(figures['distinct_words'], 'distinct word')}, {figures['mean_words']:.1f} words per caption"
    )
    copied = figures["copied_from_training"]
    return line if copied is None else f"{line}, {100 * copied:.1f}% are training captions word for word"
