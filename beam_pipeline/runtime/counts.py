"""What steps emit beside their main output: counts (name, n) and notes (kind, text).

They travel as data and not as Beam metrics, because totals must be exact on every runner.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from beam_pipeline.runtime.text import utf8

COUNTS, NOTES = "counts", "notes"
NOTES_KEPT = 100  # examples of a kind that the manifest lists; the counts beside them are exact

Count = tuple[str, int]
Note = tuple[str, str]


def tagged_outputs(pcoll, label: str, function, *args):
    """Maps a function that yields main elements and TaggedOutputs for COUNTS and NOTES."""
    return pcoll | label >> beam.ParDo(_AddUpCounts(function, *args)).with_outputs(COUNTS, NOTES, main="main")


class _AddUpCounts(beam.DoFn):
    """Like FlatMap, but of the counts of a bundle only the sums go on: there would be one for every input."""

    def __init__(self, function, *args):
        self.function = function
        self.args = args

    def start_bundle(self):
        self.sums: Counter[str] = Counter()

    def process(self, element):
        for output in self.function(element, *self.args):
            if isinstance(output, TaggedOutput) and output.tag == COUNTS:
                name, number = output.value
                self.sums[name] += number
            else:
                yield output

    def finish_bundle(self):
        return [globally(TaggedOutput(COUNTS, total)) for total in self.sums.items()]


class Outputs:
    """Main output, counts and notes of a composite, read like Beam's own multiple outputs."""

    def __init__(self, main: PCollection, counts: PCollection, notes: PCollection | None = None):
        self.main = main
        self._tagged: dict[str, Any] = {COUNTS: counts, NOTES: notes}

    def __getitem__(self, tag: str) -> PCollection:
        return self._tagged[tag]


@dataclass(frozen=True)
class MadeShards:
    """Keys of the shards that this run captions, and its counts and notes."""

    shards: PCollection
    counts: list[PCollection]
    notes: list[PCollection]


def count(name: str, n: int = 1) -> TaggedOutput:
    return TaggedOutput(COUNTS, (name, n))


def note(kind: str, text: str) -> TaggedOutput:
    return TaggedOutput(NOTES, (kind, utf8(text)))


def globally(element: Any) -> WindowedValue | TaggedOutput:
    """An element, tagged or not, as `finish_bundle` has to give it, which knows no window of its own."""
    if isinstance(element, TaggedOutput):
        return TaggedOutput(element.tag, globally(element.value))
    window = GlobalWindow()
    return WindowedValue(element, window.max_timestamp(), (window,))
