import csv
import json

import numpy as np
import pytest

from training.decoding.decoder import Hypothesis
from training.scoring.confidence_curve import COLUMNS, Confidences, curve, measure, render, write
from training.scoring.scores import caption_set, cider_of_pictures

REFERENCES = {
    "a.jpg": ["a dog runs on the beach", "the dog is running over sand"],
    "b.jpg": ["two children play football", "children play with a ball in a park"],
    "c.jpg": ["a man rides a red bicycle", "a man on a bicycle"],
    "d.jpg": ["a horse jumps over a fence"],
}
CAPTIONED = {  # caption and confidence
    "a.jpg": ("a dog runs over sand", 0.7),
    "b.jpg": ("a sailing boat", 0.2),
    "c.jpg": ("a man rides a bicycle", 0.9),
    "d.jpg": ("a horse", 0.5),
}
SAID = {name: caption for name, (caption, _) in CAPTIONED.items()}


class Judge:
    """Gives what the signals say; 0.1 more for a picture that it was fitted to, judged by the other half."""

    def probability(self, signals, held_out=None):
        return signals[0] + (0.0 if held_out is None else 0.1) if signals else None

    def was_fitted_to(self, sha256):
        return sha256.startswith("f")


@pytest.fixture
def confidences():
    found = Confidences(Judge())
    for name, (_, value) in CAPTIONED.items():
        flags = ("copied",) if name in ("b.jpg", "c.jpg", "d.jpg") else ()
        found.add([name], "0" * 64, Hypothesis("", 0.0, flags, signals=(value,)))
    return found


def test_a_row_is_the_captions_that_reach_the_threshold():
    rows = curve(np.array([0.2, 0.7, 0.72]), np.array([False, True, False]), np.array([0.0, 1.0, 2.0]))
    assert [row["min_confidence"] for row in rows] == [round(0.05 * step, 2) for step in range(15)]
    values = {row["min_confidence"]: tuple(row.values())[1:] for row in rows}
    assert values[0.2] == (3, 1.0, 0.3333, 1.0) and values[0.25] == values[0.7] == (2, 0.6667, 0.5, 1.5)


def test_confidence_is_measured_on_pictures_that_several_people_described(confidences, tmp_path):
    document = measure(confidences, SAID, REFERENCES)
    assert (document["pictures"], document["held_out_by_halves"]) == (3, 0)
    assert document["accepted"] == pytest.approx(2 / 3, abs=1e-4) and document["ranking"] == 1.0
    kept = {name: SAID[name] for name in ("a.jpg", "b.jpg", "c.jpg")}
    scores = cider_of_pictures(caption_set(kept, REFERENCES))
    last = document["curve"][-1]
    assert last == dict(zip(COLUMNS, (0.9, 1, 0.3333, 1.0, pytest.approx(scores[2], abs=1e-4)), strict=True))
    assert document["curve"][0]["CIDEr"] == pytest.approx(scores.mean(), abs=1e-4)
    write(document, str(tmp_path))
    assert json.loads((tmp_path / "confidence.json").read_text()) == document
    rows = list(csv.DictReader((tmp_path / "confidence_curve.csv").open(newline="")))
    assert [float(row["kept"]) for row in rows] == [row["kept"] for row in document["curve"]]
    printed = render(document)
    assert "people accept 66.7%" in printed and "the captioner's own validation pictures" not in printed
    assert document["flags"] == {"copied": {"captions": 2, "accepted": 0.5}}  # d.jpg has one caption by people
    assert printed.splitlines()[-1] == "copied: 2 captions, of which people accept 50.0%"
    assert len(printed.splitlines()) == 3 + len(document["curve"])


def test_fitted_pictures_are_judged_by_the_half_that_they_are_not_in(confidences):
    confidences.add(["a.jpg", "copy.jpg"], "f" * 64, Hypothesis("", 0.0, signals=(0.3,)))
    assert confidences.each["a.jpg"] == confidences.each["copy.jpg"] == pytest.approx(0.4)
    document = measure(confidences, SAID | {"copy.jpg": "a dog"}, REFERENCES | {"copy.jpg": ("a dog", "dogs")})
    assert document["held_out_by_halves"] == 2 and "the captioner's own validation pictures" in render(document)


def test_without_calibration_or_without_people_nothing_is_measured(confidences):
    nothing = Confidences(Judge())
    nothing.add(["a.jpg"], "0" * 64, Hypothesis("", 0.0))
    assert nothing.each == {} and measure(nothing, SAID, REFERENCES) is None
    assert measure(confidences, SAID, {name: texts[:1] for name, texts in REFERENCES.items()}) is None
