from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training.errors import UserError
from training.models.calibration import Calibration
from training.models.captioner import load_captioner, no_confidence
from training.models.confidence import (
    CONFIDENCE,
    CONFIDENCE_ARRAYS,
    SIGNALS,
    Confidence,
    fingerprints,
    half_of,
    load_confidence,
    repeats_phrase,
)
from training.models.familiarity import Familiarity

WORDS = ("a", "dog", "cat", "beach")
CHANNELS = 3


def calibration(bias=0.0, weights=(1.0, 1.0, 1.0, 1.0)):
    return Calibration((0.0,) * 4, (1.0,) * 4, weights, bias)


@pytest.fixture
def judge():
    familiarity = Familiarity(np.zeros(CHANNELS, np.float32), np.eye(1, CHANNELS, dtype=np.float32), 1.0, limit=2.0)
    return Confidence(
        words=WORDS,
        weights=np.array([0.0, 1.0, 2.0, 3.0], np.float32),
        copies=fingerprints(["A dog .", "a cat on the beach"]),
        fitted=np.array([0xAA], np.uint64),
        familiarity=familiarity,
        calibrations=(calibration(),),
        halves=((calibration(-1.0), calibration(1.0)),),
        report={"pictures": 7},
    )


def see(judge, presence=(1.0, 0.9, 0.1, 0.5), pooled=(0.0, 0.0, 0.0)):
    return judge.picture_signals(np.array([presence], np.float32), np.array([pooled], np.float32))[0]


def test_signals_are_what_they_are_said_to_be(judge):
    found = dict(zip(SIGNALS, judge.signals(see(judge, pooled=(3.0, 0.0, 0.0)), "a dog on a beach", -0.5), strict=True))
    weighted = np.array([0.0, 0.9, 0.2, 1.5])
    cosine = (1 * 0.9 + 3 * 1.5) / np.sqrt(1 + 9) / np.linalg.norm(weighted)
    assert found == pytest.approx(
        {"score": -0.5, "agreement": cosine, "coverage": (0.9 + 1.5) / 2.6, "familiarity": -np.sqrt(3)}, rel=1e-6
    )


def test_a_caption_of_what_is_seen_is_likelier_accepted_than_one_of_what_is_not(judge):
    right, wrong = (judge.probability(judge.signals(see(judge), text, -0.5)) for text in ("a dog", "a cat"))
    assert 0 < wrong < right < 1


@pytest.mark.parametrize("caption", ["", "a", "zebras"])
def test_captions_without_a_word_that_tells_anything_have_a_confidence(judge, caption):
    for presence in ((0.0,) * 4, (1.0,) * 4):
        signals = judge.signals(see(judge, presence), caption, -1.0)
        assert np.isfinite(signals).all() and 0 <= judge.probability(signals) <= 1


def test_a_picture_unlike_anything_in_training_is_discounted_by_how_unlike_it_is(judge):
    flat = replace(judge, calibrations=(calibration(weights=(0.0,) * 4),))
    found = [flat.probability((0.0, 0.0, 0.0, -distance)) for distance in (0.0, 2.0, 2.2, 4.0)]
    assert found == [0.5, 0.5, pytest.approx(0.5 / 1.1**4, abs=1e-4), pytest.approx(0.5 / 16, abs=1e-4)]


def test_a_fitted_picture_is_judged_by_the_half_that_it_is_not_in(judge):
    signals = (0.0,) * 4
    assert judge.probability(signals) == 0.5
    assert judge.probability(signals, held_out=0) > 0.5 > judge.probability(signals, held_out=1)
    assert judge.was_fitted_to("00000000000000aa" + "0" * 48) and not judge.was_fitted_to("ab" * 32)
    assert {half_of("0" * 63 + digit) for digit in "02468ace"} == {0}


def test_flags_tell_copies_strange_pictures_and_things_said_twice(judge):
    near, far = see(judge), see(judge, pooled=(4.0, 0.0, 0.0))
    assert judge.flags(near, "a dog") == ("copied",)
    assert judge.flags(near, "a dog on the beach") == ()
    assert judge.flags(far, "a cat on the beach") == ("copied", "unlike_training")
    assert judge.flags(near, "a cat and a cat") == ("repeats",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("WHITE and WHITE DOG", True),
        ("a WOMAN and a WOMAN", True),
        ("in a RED CAR in a RED CAR", True),
        ("a DOG DOG", True),
        ("a DOG and a CAT", False),
        ("a DOG in a a CAT", False),  # little words may do as they like
        ("a MAN looks at a MAN", False),
        ("", False),
        ("DOG", False),
    ],
)
def test_a_telling_phrase_again_after_at_most_one_word_is_a_repetition(text, expected):
    assert repeats_phrase([(word, word.isupper()) for word in text.split()]) is expected


def test_an_ensemble_is_judged_by_the_mean_of_its_captioners(judge):
    other = replace(judge, calibrations=(calibration(2.0),), copies=fingerprints(["a beach"]), id="other")
    both = judge.joined([other])
    signals = (0.1, 0.2, 0.3, -0.4)
    mean = np.mean([judge.probability(signals), other.probability(signals)])
    assert both.probability(signals) == pytest.approx(mean, abs=1e-4)
    assert len(both.copies) == 3 and both.id not in (judge.id, other.id)


def test_a_picture_is_judged_alike_however_many_are_beside_it(judge):
    generator = np.random.default_rng(0)
    presence, pooled = generator.random((9, 4)).astype(np.float32), generator.normal(size=(9, 3)).astype(np.float32)
    together = judge.picture_signals(presence, pooled)
    for number in range(9):
        (alone,) = judge.picture_signals(presence[number : number + 1], pooled[number : number + 1])
        assert judge.signals(alone, "a dog", -1.0) == judge.signals(together[number], "a dog", -1.0)


def test_it_is_read_as_it_was_saved(judge, tmp_path):
    judge.save(str(tmp_path), "model")
    again = load_confidence(str(tmp_path), WORDS, CHANNELS, "model")
    signals = judge.signals(see(judge), "a dog", -0.5)
    assert again.signals(see(again), "a dog", -0.5) == signals
    for held_out in (None, 0, 1):
        assert again.probability(signals, held_out) == judge.probability(signals, held_out)
    assert again.report == {"pictures": 7} and len(again.id) == 12
    assert load_confidence(str(tmp_path), WORDS, CHANNELS, "another model") is None
    assert load_confidence(str(tmp_path / "nowhere"), WORDS, CHANNELS, "model") is None


def test_what_could_not_be_calibrated_flags_all_the_same(judge, tmp_path):
    replace(judge, calibrations=(), halves=(), report={"why_not": "too few"}).save(str(tmp_path), "model")
    again = load_confidence(str(tmp_path), WORDS, CHANNELS, "model")
    assert again.probability(again.signals(see(again), "a dog", -0.5)) is None
    assert again.flags(see(again), "a dog") == ("copied",) and again.report == {"why_not": "too few"}


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ({"schema_version": 0}, "schema version 0, not 1"),
        ({"signals": ["score"]}, "damaged"),
        ({"calibration": {"bias": 1}}, "calibration: center is missing"),
        ({"familiarity": 1}, "familiarity: expected an object"),
        ("json", "not JSON"),
        ("npz", r"confidence.npz: damaged \(changed since it was written\)"),
        ("missing", "confidence.npz: damaged"),
        ("others", "does not fit 4 words"),
    ],
)
def test_damage_is_one_line_that_tells_how_to_get_it_anew(judge, tmp_path, edit_document, damage, told):
    judge.save(str(tmp_path), "model")
    path = tmp_path / CONFIDENCE
    if damage == "json":
        path.write_text("{")
    elif damage == "npz":
        (tmp_path / CONFIDENCE_ARRAYS).write_bytes(b"PK")
    elif damage == "missing":
        (tmp_path / CONFIDENCE_ARRAYS).unlink()
    elif damage == "others":
        replace(judge, weights=judge.weights[:2]).save(str(tmp_path), "model")
    else:
        edit_document(path, **damage)
    with pytest.raises(UserError, match=told) as caught:
        load_confidence(str(tmp_path), WORDS, CHANNELS, "model")
    assert "run the same train command again" in str(caught.value) and "\n" not in str(caught.value)


def test_a_captioner_knows_why_it_has_no_confidence(tiny_captioner, give_head, give_confidence):
    bare = tiny_captioner()
    assert "run the `captionbeam train` command that made it again, which adds it" in no_confidence(bare)
    judged = give_confidence(give_head(bare))
    assert no_confidence(judged) is None
    other = give_head(judged, words=("dog", "hat"))  # what was fitted to another head is not used
    assert other.confidence is None and Path(other.path, CONFIDENCE).exists()


def test_an_ensemble_has_confidence_where_every_captioner_has(tiny_captioner, give_head, give_confidence):
    one, two, bare = (give_head(tiny_captioner()) for _ in range(3))
    paths = [give_confidence(one).path, give_confidence(two).path]
    assert len(load_captioner(",".join(paths)).confidence.calibrations) == 2
    assert load_captioner(f"{paths[0]},{bare.path}").confidence is None
