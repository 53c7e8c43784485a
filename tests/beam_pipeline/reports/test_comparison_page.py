import pytest

from beam_pipeline.reports.comparison_page import distinct_names, shown_row


@pytest.mark.parametrize(
    ("first", "second", "names"),
    [
        ("water", "snow", ("water", "snow")),
        ("/a/water/captions/", "/a/snow/captions", ("water", "snow")),
        ("captions", "/b/captions", ("captions", "captions")),
        ("same", "same", ("same", "same")),
    ],
)
def test_compared_collections_are_told_apart_by_name(first, second, names):
    assert distinct_names(first, second) == names


def test_the_interval_of_log_odds_follows_from_z():
    row = {
        "word": "dog", "lemma": "dog", "log_odds": 1.0, "z": 2.0, "q": 0.01234567,
        "pictures_a": 3.0, "pictures_b": 1.0, "share_a": 0.3, "share_b": 0.1,
    }  # fmt: skip
    shown = shown_row(row)
    assert (shown["low"], shown["high"], shown["q"]) == (0.02, 1.98, 0.0123)
    level = shown_row({**row, "log_odds": 0.0, "z": 0.0})
    assert (level["low"], level["high"]) == (None, None)
