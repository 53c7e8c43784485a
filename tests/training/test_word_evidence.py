import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.word_evidence import PictureEvidence, WordEvidence, from_json, millionths, to_json


@pytest.mark.parametrize(
    "values",
    [{"presence": 1.01}, {"presence": -0.1}, {"expected": -1.0}, {"said": -1}, {"grounding": float("nan")}],
)
def test_impossible_evidence_is_refused(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        WordEvidence(**values)


def test_a_row_keeps_what_is_said_and_what_is_likely():
    evidence = PictureEvidence(
        ("presence", "grounding"),
        {
            "sea": WordEvidence(presence=np.float32(0.25)),
            "dog": WordEvidence(presence=0.001, grounding=-0.12345678),
            "cat": WordEvidence(presence=0.0099),
        },
    )
    stored = to_json(evidence, {"dog": 2, "runs": 1})
    assert stored == {
        "kinds": ["presence", "grounding"],
        "words": {"dog": {"presence": 0.001, "grounding": -0.123457}, "sea": {"presence": 0.25}},
    }
    assert from_json(stored, {"dog": 2, "runs": 1}) == PictureEvidence(
        ("presence", "grounding"),
        {
            "dog": WordEvidence(2, presence=0.001, grounding=-0.123457),
            "runs": WordEvidence(1),
            "sea": WordEvidence(presence=0.25),
        },
    )


def test_without_evidence_the_caption_alone_speaks():
    assert from_json(None, {"dog": 1}) == PictureEvidence((), {"dog": WordEvidence(1)})


@given(st.floats(0, 1))
def test_reading_a_row_back_gives_the_same_millionths(value):
    stored = to_json(PictureEvidence(("presence",), {"w": WordEvidence(presence=value)}), {"w": 1})
    assert millionths(stored["words"]["w"]["presence"]) == millionths(value)
