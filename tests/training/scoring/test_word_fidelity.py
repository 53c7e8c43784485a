import numpy as np
import pytest

from training.scoring.word_fidelity import (
    People,
    Spelling,
    Themes,
    fidelity,
    fidelity_words,
    theme_words,
    training_rates,
)

CAPTIONS = {
    "1.jpg": ["dog sand", "a sand dog"],
    "2.jpg": ["a dog", "the dog"],
    "3.jpg": ["sand", "sand"],
    "4.jpg": ["A dog in sand.", "on the sand"],
}
#                     dog  sand
ESTIMATE = np.array([[0.8, 0.4], [0.2, 0.6], [0.3, 0.9], [0.1, 0.7]])


def test_words_are_cut_at_hyphens_and_marks():
    assert fidelity_words("The T-shirt: a man's, isn't café 2!") == ["t", "shirt", "man's", "isn't", "caf", "2"]


def spelled_for_fidelity(estimate):
    return Spelling(tuple(estimate)).estimate(np.array(list(estimate.values())))


def test_a_compound_counts_for_its_parts():
    assert spelled_for_fidelity({"t-shirt": 0.5, "shirt": 0.25, "the": 1.0}) == {"t": 0.5, "shirt": 0.75}
    assert spelled_for_fidelity({"dog": 0.5, "dog-like": 0.75}) == {"dog": 1.0, "like": 0.75}


def test_shares_are_of_the_captions_that_judge():
    people = People(CAPTIONS)
    assert people.words == ["dog", "sand"]
    np.testing.assert_array_equal(people.shares(), [[1, 1], [1, 0], [0, 1], [0.5, 1]])
    np.testing.assert_array_equal(people.shares(without=1), [[1, 1], [1, 0], [0, 1], [1, 1]])
    np.testing.assert_array_equal(people.one_caption(1), [[1, 1], [1, 0], [0, 1], [0, 1]])


def test_every_figure_of_a_tiny_collection():
    # People's totals are dog 2.5 and sand 3; the estimate's 1.4 and 2.6.
    assert fidelity(People(CAPTIONS), ESTIMATE) == {
        "count_spearman": 1.0,
        "never_named": 0.0,
        "median_count_ratio_error": 1.335,  # exp of the median of ln(3.0 / 1.9) and ln(3.5 / 3.1)
        "shirt_ratio": None,
        "calibration_error": 0.4125,  # every estimate has a bin of its own: the mean of |estimate - share|
        "picture_average_precision": 0.875,  # the second picture's only word comes second
        "contrast": None,
        "brier": 0.25,  # (1.75 of squares + 0.25 of the fourth picture's two captions that differ) / 8
        "most_overstated": [],
        "most_understated": [
            {"word": "dog", "estimate": 1.4, "people": 2.5},
            {"word": "sand", "estimate": 2.6, "people": 3.0},
        ],
    }


def test_what_is_said_too_often_and_never():
    captions = {f"{n}.jpg": ["shirt"] for n in range(5)} | {f"{n}.jpg": ["dog"] for n in range(5, 10)}
    people = People(captions)
    estimate = np.tile(people.row({"shirt": 0.75, "dog": 0.04, "cat": 1.0}), (10, 1))
    figures = fidelity(people, estimate)
    assert (figures["shirt_ratio"], figures["never_named"]) == (1.5, 0.5)
    assert figures["count_spearman"] is None  # people use both words equally often
    assert figures["most_overstated"] == [{"word": "shirt", "estimate": 7.5, "people": 5.0}]
    assert figures["most_understated"] == [{"word": "dog", "estimate": 0.4, "people": 5.0}]
    # 0.04 is in the first bin and 0.75 in the twelfth, each with a mean share of a half.
    assert figures["calibration_error"] == round((0.46 + 0.25) / 2, 5)


@pytest.fixture
def themed():
    """Twelve pictures, six of snow: there ball is far more frequent than elsewhere, dog a little, man less."""
    snow = ["snow ball dog man"] * 5 + ["snow ball dog"]
    return People({f"{n}.jpg": [text] for n, text in enumerate([*snow, "ball dog", *["dog man"] * 2, *["man"] * 3])})


SNOW = Themes(count=1, fewest=6, most=6)


def test_contrast_is_the_rank_correlation_of_lifts(themed):
    truth = themed.shares()
    assert themed.words == ["ball", "dog", "man", "snow"]
    assert theme_words(themed, SNOW) == ["snow"]
    assert fidelity(themed, truth, themes=SNOW)["contrast"] == 1.0
    turned = truth[:, [2, 1, 0, 3]]
    assert fidelity(themed, turned, themes=SNOW)["contrast"] == -1.0
    assert fidelity(themed, truth[:, [1, 0, 2, 3]], themes=SNOW)["contrast"] == 0.5


def test_an_estimate_that_knows_no_picture_has_no_contrast(themed):
    flat = np.tile(themed.shares().mean(axis=0), (12, 1))
    assert fidelity(themed, flat, themes=SNOW)["contrast"] == 0.0


def test_themes_are_the_most_used_words_within_bounds(themed):
    assert theme_words(themed, Themes(count=2, fewest=6, most=9)) == ["dog", "ball"]
    assert theme_words(themed) == []


def test_training_rates_are_shares_of_captions():
    assert training_rates([["a dog", "dog dog"], ["sand dog"], ["a cat"]]) == {"dog": 0.75, "sand": 0.25, "cat": 0.25}
