"""Estimates of the words in each picture, written and compared with people's words: `captionbeam evaluate --words`."""

from __future__ import annotations

import contextlib
import json
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, TextIO

import numpy as np

from training.data.dataset import described_pictures
from training.data.feature_set import FeatureSet
from training.data.splits import TRAIN, Split
from training.decoding.picture_words import WordArrays
from training.models.captioner import Captioner
from training.own_names import ESTIMATES, WORD_FIDELITY
from training.scoring.word_fidelity import (
    People,
    Spelling,
    Themes,
    fidelity,
    fidelity_words,
    theme_words,
    training_rates,
)
from training.storage import make_directory, new_file, reading, write_json
from training.text.plurals import counted
from training.text.word_counts import WordCounts

COMBINED, SAID, EXPECTED, PRESENCE, GROUNDING = ESTIMATES
TRAINING = "training_frequencies"
NO_HEAD = "the captioner has no word-presence head; train it again"


class WordEstimates:
    """Writes the estimated words of each picture, one file per kind of evidence; a context manager.

    The files appear when the context ends, and only if a picture was added.

    Attributes:
      kinds: of evidence that are written.
      left_out: kind -> why it is not written.
      paths: kind -> file.

    Args:
      captioner: with or without a word-presence head.
      counts: words of its training captions; without them grounding has no rate to start from.
      words: of the arrays to be added.
      directory: for the files.
    """

    def __init__(self, captioner: Captioner, counts: WordCounts | None, words: Sequence[str], directory: str):
        head = captioner.presence
        # Words too rare to be learnt have their training rate in every picture.
        rest = [word for word in head.rare if word not in set(words)] if head else []
        self._rest = np.array([head.rare[word] for word in rest] if head else [], np.float64)
        self._spelling, self._spelling_with_rest = Spelling(words), Spelling([*words, *rest])
        self._rates = None
        if counts is not None:
            self._rates = np.array([counts.in_captions[word] for word in words]) / max(counts.captions, 1)
        self.kinds = [SAID, EXPECTED]
        self.left_out: dict[str, str] = {}
        if head is None:
            self.left_out |= dict.fromkeys((COMBINED, PRESENCE, GROUNDING), NO_HEAD)
        else:
            self.kinds += [PRESENCE, GROUNDING, COMBINED]
        self.paths = {kind: posixpath.join(directory, ESTIMATES[kind]) for kind in self.kinds}
        self._directory = directory
        self._open = contextlib.ExitStack()
        self._files: dict[str, TextIO] = {}

    def add(self, names: Sequence[str], caption: str, arrays: WordArrays, row: int) -> None:
        """Adds a picture.

        Args:
          names: of the picture in the list.
          caption: of the picture.
          arrays: evidence of its batch.
          row: of the picture in the batch.
        """
        if not self._files:  # without a listed picture, nothing is written
            make_directory(self._directory)
            for kind, path in self.paths.items():
                self._files[kind] = self._open.enter_context(_new_text_file(path))
        estimates = {
            SAID: dict.fromkeys(sorted(set(fidelity_words(caption))), 1.0),
            EXPECTED: self._spelling.estimate(arrays.expected[row]),
        }
        if arrays.presence is not None and arrays.grounding is not None and arrays.head is not None:
            estimates[COMBINED], estimates[PRESENCE] = (
                self._spelling_with_rest.estimate(np.concatenate([values[row], self._rest]))
                for values in (arrays.presence, arrays.head)
            )
            rates = arrays.head[row] / np.exp(arrays.grounding[row]) if self._rates is None else self._rates
            grounded = np.minimum(rates * np.exp(arrays.grounding[row]), 1.0)
            estimates[GROUNDING] = self._spelling.estimate(grounded)
        for kind, estimate in estimates.items():
            line = "".join(json.dumps({"image": name, "words": estimate}) + "\n" for name in names)
            self._files[kind].write(line)

    def __enter__(self) -> WordEstimates:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Lets the files appear; after an exception there are none."""
        self._open.__exit__(kind, error, traceback)


@contextlib.contextmanager
def _new_text_file(path: str) -> Iterator[TextIO]:
    with new_file(path) as local, open(local, "w", encoding="utf-8") as file:
        yield file


def read_estimates(path: str) -> Iterator[tuple[str, dict[str, float]]]:
    """File of estimates -> for each picture, its name and {word: probability}."""
    with reading(path) as file:
        for line in file:
            record = json.loads(line)
            yield record["image"], record["words"]


def measure(
    references: Mapping[str, Sequence[str]],
    estimates: WordEstimates,
    features: FeatureSet,
    split: Split | None,
    why_no_training: str,
    output: str,
    themes: Themes | None = None,
) -> dict[str, Any]:
    """Measures estimates by people's captions, writes `word_fidelity.json` and returns its content.

    Args:
      references: listed name -> captions by people.
      estimates: whose files are written.
      features: feature set with captions.
      split: which of its pictures train; None if that is not known.
      why_no_training: why there is no row of training frequencies, where none of its pictures trains.
      output: directory for the file.
      themes: which sub-collections are compared; None for the defaults.
    """
    people = People(references)
    left_out = dict(estimates.left_out)
    rows: dict[str, dict[str, Any]] = {}
    document = {
        "pictures": len(people.names),
        "words": len(people.words),
        "themes": theme_words(people, themes),
        "rows": rows,
        "rows_left_out": left_out,
    }
    if people.words:
        place = {name: number for number, name in enumerate(people.names)}
        for kind in (COMBINED, SAID, EXPECTED, PRESENCE, GROUNDING):
            if kind in estimates.paths:
                matrix = np.zeros([len(people.names), len(people.words)])
                for name, estimate in read_estimates(estimates.paths[kind]):
                    matrix[place[name]] = people.row(estimate)
                rows[kind] = fidelity(people, matrix, themes=themes)
        rates = training_rates(
            captions
            for path in features.shard_paths()
            for sha256, uris, captions in described_pictures(path)
            if captions and split is not None and split.of(sha256, uris) == TRAIN
        )
        if not rates:
            left_out[TRAINING] = why_no_training
        else:
            rows[TRAINING] = fidelity(people, np.tile(people.row(rates), (len(people.names), 1)), themes=themes)
        captions = min(map(len, people.captions))
        for number in range(captions if captions > 1 else 0):
            rows[f"human_caption_{number}"] = fidelity(people, people.one_caption(number), number, themes)
    write_json(posixpath.join(output, WORD_FIDELITY), document)
    return document


_COLUMNS = {
    "contrast": "contrast",
    "picture_average_precision": "AP",
    "count_spearman": "Spearman",
    "never_named": "never",
    "median_count_ratio_error": "ratio",
    "shirt_ratio": "shirt",
    "calibration_error": "ECE",
    "brier": "Brier",
}


def render(document: Mapping[str, Any]) -> str:
    """Content of `word_fidelity.json` -> the text that `captionbeam evaluate --words` prints."""
    rows = document["rows"]
    if not rows:
        return "Words: no content word is frequent enough to be measured"
    width = max(map(len, rows))
    lines = [f"Words: {document['words']:,} used by people, {counted(len(document['themes']), 'theme')}"]
    lines.append(" " * width + "".join(f"{label:>10}" for label in _COLUMNS.values()))
    for name, figures in rows.items():
        cells = (figures[key] for key in _COLUMNS)
        lines.append(f"{name:<{width}}" + "".join("         -" if one is None else f"{one:>10.4g}" for one in cells))
    first = next(iter(rows.values()))
    for label, key in (("most overstated", "most_overstated"), ("most understated", "most_understated")):
        words = ", ".join(f"{one['word']} ({one['estimate']:.0f} for {one['people']:.0f})" for one in first[key][:8])
        lines.append(f"{label}: {words or 'none'}")
    lines += [f"{name}: left out, {why}" for name, why in document["rows_left_out"].items()]
    return "\n".join(lines)
