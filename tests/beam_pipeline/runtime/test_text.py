import pytest

from beam_pipeline.runtime.text import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.6, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 0 min"),
        (7260, "2 h 1 min"),
        (172800, "2 days"),
        (1e6, "12 days"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text
