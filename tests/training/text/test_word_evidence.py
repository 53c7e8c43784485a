import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.text.word_evidence import PictureEvidence, millionths


@pytest.mark.parametrize(
    ("kind", "value"),
    [("presence", 1.01), ("presence", -0.1), ("expected", -1.0), ("grounding", np.nan), ("expected", np.inf)],
)
def test_impossible_evidence_is_refused(kind, value):
    with pytest.raises(ValueError, match=f"'dog'.*{kind}"):
        PictureEvidence((kind,), ("cat", "dog"), np.array([[0.5], [value]]))


def test_a_row_keeps_values_in_millionths():
    values = np.array([[0.001, -0.12345678], [0.25, -1e-9]], np.float32)
    stored = PictureEvidence(("presence", "grounding"), ("dog", "sea"), values).to_json()
    assert json.dumps(stored) == json.dumps(
        {
            "kinds": ["presence", "grounding"],
            "words": {
                "dog": {"presence": 0.001, "grounding": -0.123457},
                "sea": {"presence": 0.25, "grounding": 0.0},
            },
        }
    )


def test_a_picture_without_words_has_none_in_its_row():
    assert PictureEvidence(("presence",), (), np.zeros([0, 1])).to_json() == {"kinds": ["presence"], "words": {}}


@given(st.floats(0, 1))
def test_reading_a_row_back_gives_the_same_millionths(value):
    stored = PictureEvidence(("presence",), ("w",), np.array([[value]])).to_json()
    assert millionths(stored["words"]["w"]["presence"]) == millionths(value)
