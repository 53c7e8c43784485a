"""Counts and notes travel beside the elements, exact on every runner."""

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import GlobalWindow

from beam_pipeline.runtime.counts import COUNTS, NOTES, FlatMapAndCount, Outputs, count, globally, note, outputs_of


def halves(number: int, odd: str):
    """Even numbers -> their half; odd ones are counted and noted."""
    if number % 2:
        yield count(odd)
        yield note(odd, str(number))
    else:
        yield number // 2


def test_elements_counts_and_notes_are_told_apart(local_pipeline):
    with local_pipeline() as pipeline:
        outputs = pipeline | beam.Create([2, 3, 4, 5]) | FlatMapAndCount(halves, "odd")
        assert_that(outputs.main, equal_to([1, 2]), "Main")
        (counts,), (notes,) = outputs.counts, outputs.notes
        assert_that(counts | beam.CombinePerKey(sum), equal_to([("odd", 2)]), "Counts")
        assert_that(notes, equal_to([("odd", "3"), ("odd", "5")]), "Notes")


def test_counts_and_notes_of_all_steps_are_kept():
    steps = Outputs("a", ("counts a",)), Outputs("b", ("counts b",), ("notes b",))
    assert outputs_of("main", *steps) == Outputs("main", ("counts a", "counts b"), ("notes b",))


def test_a_note_is_valid_utf8():
    assert (note("odd", "caf\udce9").tag, note("odd", "caf\udce9").value) == (NOTES, ("odd", "caf\\udce9"))


def test_an_element_gets_the_global_window_inside_its_tag():
    tagged = globally(TaggedOutput(COUNTS, ("odd", 1)))
    assert tagged.tag == COUNTS
    assert (tagged.value.value, tagged.value.windows) == (("odd", 1), (GlobalWindow(),))
