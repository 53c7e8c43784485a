import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit, logit

from training.data.dataset import DescribedPicture
from training.fitting.presence import LEAST_OPINION_PICTURES, fit_opinion_pool
from training.fitting.presence_calibration import mean_shift
from training.models.captioner import load_captioner
from training.models.opinion_pool import WEIGHT, pooled, pooled_scores

CHANCES = st.floats(1e-5, 0.99)


@given(arrays(np.float64, (12, 3), elements=CHANCES), arrays(np.float64, (12, 3), elements=st.floats(0, 1.5)))
@settings(deadline=None, max_examples=50)
def test_the_pool_keeps_the_heads_totals(presence, expected):
    shift = mean_shift(pooled_scores(presence, expected), presence.mean(axis=0))
    np.testing.assert_allclose(pooled(presence, expected, shift).mean(axis=0), presence.mean(axis=0), rtol=1e-3)


def test_log_odds_are_added():
    found = pooled(np.array([[0.2]]), np.array([[0.5]]), np.array([0.0]))
    assert found.dtype == np.float32 and found[0, 0] == pytest.approx(0.2)  # log-odds 0 add nothing
    found = pooled(np.array([[0.2]]), np.array([[0.9]]), np.array([1.0]))
    assert found[0, 0] == pytest.approx(expit(logit(0.2) + WEIGHT * logit(0.9) + 1.0))


def test_what_a_decoder_cannot_say_it_has_no_part_in():
    """A word outside its vocabulary is expected nowhere, and the head's opinion stays."""
    presence, expected = np.array([[0.3], [0.001], [0.9]]), np.zeros([3, 1])
    shift = mean_shift(pooled_scores(presence, expected), presence.mean(axis=0))
    np.testing.assert_allclose(pooled(presence, expected, shift), presence, rtol=1e-3)


WORDS = ("a", "dog", "cat", "runs")


def described(features):
    """Features, each with a picture that it is of."""
    return ((DescribedPicture(f"{number:064x}", (), (), 0), feature) for number, feature in enumerate(features))


def test_a_trained_captioner_gets_its_pool_from_pictures_it_does_not_know(
    tiny_captioner, give_head, random_features, decoder
):
    captioner = give_head(tiny_captioner(words=WORDS, end_bias=2.0))
    features = np.abs(random_features(LEAST_OPINION_PICTURES))
    head, tail = fit_opinion_pool(captioner, described(features))
    assert set(tail) == set(head.words)
    head.save(captioner.path, tail)
    (_, first), *_ = decoder(load_captioner(captioner.path), batch_size=len(features), evidence=True).decode_batches(
        features
    )
    said = len(head.words)
    np.testing.assert_allclose(first.presence[:, :said].mean(0), first.head[:, :said].mean(0), rtol=0.01)
    places = [head.words.index(word) for word in ("dog", "cat")]
    assert np.abs(first.presence[:, places] / first.head[:, places] - 1).max() > 0.05
    beach = head.words.index("beach")  # no word of the decoder's
    np.testing.assert_allclose(first.presence[:, beach], first.head[:, beach], rtol=0.02)


def test_too_few_pictures_make_no_pool(tiny_captioner, give_head, random_features):
    captioner = give_head(tiny_captioner(words=WORDS))
    assert fit_opinion_pool(captioner, described(random_features(LEAST_OPINION_PICTURES - 1))) is None
