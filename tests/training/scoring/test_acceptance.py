import numpy as np
import pytest

from training.scoring.acceptance import acceptance
from training.scoring.scores import caption_set, cider_of_pictures

REFERENCES = {
    "a.jpg": ["a dog runs on the beach", "the dog is running over sand", "a brown dog on the beach"],
    "b.jpg": ["two children play football", "children play with a ball in a park"],
    "c.jpg": ["a man rides a red bicycle", "a man on a bicycle", "a cyclist rides down the street"],
    "d.jpg": ["a horse jumps over a fence"],
}
GOOD = {"a.jpg": "a dog runs on the beach", "b.jpg": "children play football", "c.jpg": "a man rides a bicycle"}


def test_agreement_is_taken_with_as_many_references_as_peoples():
    found = acceptance(GOOD, REFERENCES)
    assert found.pictures == ("a.jpg", "b.jpg", "c.jpg") and found.people.shape == (3, 3)
    ours = []
    for turn in range(3):
        others = {n: [t for i, t in enumerate(REFERENCES[n]) if i != turn % len(REFERENCES[n])] for n in GOOD}
        aside = {n: REFERENCES[n][turn % len(REFERENCES[n])] for n in GOOD}
        ours.append(cider_of_pictures(caption_set(GOOD, others)))
        np.testing.assert_array_equal(found.people[:, turn], cider_of_pictures(caption_set(aside, others)))
    np.testing.assert_allclose(found.agreement, np.mean(ours, axis=0))
    assert found.threshold == pytest.approx(np.quantile(found.people, 0.25))


def test_three_in_four_of_peoples_captions_reach_the_threshold_and_nonsense_does_not():
    found = acceptance(GOOD | {"b.jpg": "a sailing boat"}, REFERENCES)
    assert (found.people >= found.threshold).mean() >= 0.75
    assert found.accepted.tolist() == [True, False, True]
    assert found.strangers == 0.0, "people's captions of another picture"
    assert found.event()["threshold"] == round(found.threshold, 6)


def test_captions_of_pictures_alike_are_accepted_of_each_other():
    alike = {"a.jpg": ["a dog runs", "a dog runs fast"], "b.jpg": ["a dog runs", "a dog runs fast"]}
    both = alike | {"c.jpg": ["two boats at sea", "boats on the sea"]}
    found = acceptance(dict.fromkeys(both, "a dog runs"), both)
    assert found.strangers == pytest.approx(1 / 3)


def test_pictures_with_one_reference_are_left_out_and_without_others_nothing_is_known():
    found = acceptance(GOOD | {"d.jpg": "a horse"}, REFERENCES)
    assert found.pictures == ("a.jpg", "b.jpg", "c.jpg")
    assert acceptance({"a.jpg": "a dog", "d.jpg": "a horse"}, REFERENCES) is None
