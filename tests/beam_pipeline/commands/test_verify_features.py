import numpy as np
import pytest

from beam_pipeline.commands.verify_features import cosine


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [([1, 2], [2, 4], 1.0), ([1, 0], [0, 1], 0.0), ([0, 0], [0, 0], 1.0), ([0, 0], [0, 1], 0.0), ([1], [1, 1], 0.0)],
)
def test_cosine(one, two, expected):
    assert cosine(np.array(one), np.array(two)) == pytest.approx(expected)
