"""Counts (name, n) and notes (kind, text) that steps emit beside their elements.

They travel as data and not as Beam metrics, because totals must be exact on every runner.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from beam_pipeline.runtime.text import utf8

COUNTS, NOTES = "counts", "notes"
NOTES_KEPT = 100  # examples of a kind that the manifest lists; the counts beside them are exact


class Outputs(NamedTuple):
    """Output of a transform that counts.

    Attributes:
      main: its elements.
      counts: PCollections of (name, n).
      notes: PCollections of (kind, text).
    """

    main: PCollection
    counts: tuple[PCollection, ...] = ()
    notes: tuple[PCollection, ...] = ()


def outputs_of(main: PCollection, *steps: Outputs) -> Outputs:
    """Main output of a composite and the Outputs of its steps -> Outputs with the counts and notes of all steps."""
    counts = (counts for step in steps for counts in step.counts)
    notes = (notes for step in steps for notes in step.notes)
    return Outputs(main, tuple(counts), tuple(notes))


def count(name: str, n: int = 1) -> TaggedOutput:
    """Name and number -> the output that adds the number to the count of that name."""
    return TaggedOutput(COUNTS, (name, n))


def note(kind: str, text: str) -> TaggedOutput:
    """Kind and text -> the output that keeps the text as an example of that kind."""
    return TaggedOutput(NOTES, (kind, utf8(text)))


class FlatMapAndCount(beam.PTransform):
    """Elements -> Outputs of a function that yields elements, `count` and `note`.

    Args:
      function: (element, *args) -> iterable.
      args: further arguments of the function.
    """

    def __init__(self, function: Callable[..., Iterable[Any]], *args: Any):
        super().__init__()
        self.function = function
        self.args = args

    def expand(self, elements: PCollection) -> Outputs:
        do_fn = SumCountsOfBundle(self.function, *self.args)
        outputs = elements | "FlatMap" >> beam.ParDo(do_fn).with_outputs(COUNTS, NOTES, main="main")
        return Outputs(outputs.main, (outputs[COUNTS],), (outputs[NOTES],))


class SumCountsOfBundle(beam.DoFn):
    """FlatMap that emits only the sums of a bundle's counts: there would be one for every input.

    The function gets a side input, where there is one, as its last argument.
    """

    def __init__(self, function: Callable[..., Iterable[Any]], *args: Any):
        self.function = function
        self.args = args

    def start_bundle(self) -> None:
        self.sums: Counter[str] = Counter()

    def process(self, element: Any, side: Any = None) -> Iterator[Any]:
        further = () if side is None else (side,)
        for output in self.function(element, *self.args, *further):
            if isinstance(output, TaggedOutput) and output.tag == COUNTS:
                name, number = output.value
                self.sums[name] += number
            else:
                yield output

    def finish_bundle(self) -> list[Any]:
        return [globally(TaggedOutput(COUNTS, total)) for total in self.sums.items()]


def globally(element: Any) -> WindowedValue | TaggedOutput:
    """Element, tagged or not -> the same in the global window, as `finish_bundle` has to return it."""
    if isinstance(element, TaggedOutput):
        return TaggedOutput(element.tag, globally(element.value))
    window = GlobalWindow()
    return WindowedValue(element, window.max_timestamp(), (window,))
