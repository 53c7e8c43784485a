import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.words.terms import BIGRAM, LEMMA, WORD, content_words, count_terms, lemma, stop_words


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A dog runs on the beach .", ["dog", "runs", "beach"]),
        ("the dog's ball", ["dog", "ball"]),
        ("the dog\u2019s ball", ["dog", "ball"]),
        ("'dog' in quotes", ["dog", "quotes"]),
        ("was the virus on the bus ?", ["virus", "bus"]),
        ("a black-and-white dog doesn't bark", ["black-and-white", "dog", "bark"]),
        ("", []),
        (". , ! -", []),
    ],
)
def test_content_words(caption, words):
    assert content_words(caption) == words


def test_stop_words_are_a_visible_file():
    assert {"a", "the", "on"} <= stop_words()
    assert "dog" not in stop_words() and not any(word.startswith("#") for word in stop_words())


def test_numbers_and_compounds_are_words_like_any_other():
    caption = "one of two dogs , 1 of 2 , 1,000 at 10:30 , 1/2 of a black-and-white t-shirt no. 7"
    assert content_words(caption) == (
        ["one", "two", "dogs", "1", "2", "1,000", "10:30", "1/2", "black-and-white", "t-shirt", "no.", "7"]
    )
    assert [lemma(number) for number in ("one", "two", "1", "007")] == ["one", "two", "1", "007"]


@pytest.mark.parametrize(
    "word", ["bus", "grass", "was", "tennis", "pants", "glasses", "virus", "bu", "dress", "1950s", "犬", "long-haired"]
)
def test_words_that_only_look_like_plurals_stay_whole(word):
    assert lemma(word) == word


@pytest.mark.parametrize(
    ("word", "base"),
    [
        ("dogs", "dog"),
        ("dog", "dog"),
        ("buses", "bus"),
        ("men", "man"),
        ("puppies", "puppy"),
        ("skies", "sky"),
        ("leaves", "leaf"),
        ("running", "run"),
        ("playing", "play"),
        ("christmas", "christmas"),
    ],
)
def test_lemmas(word, base):
    assert lemma(word) == base


def test_a_caption_s_terms_are_words_lemmas_and_neighbours():
    assert count_terms(["two", "black", "dogs", "and", "a", "black", "dog"]) == {
        **{(WORD, word): 1 for word in ("two", "dogs", "and", "a", "dog")},
        (WORD, "black"): 2,
        **{(LEMMA, word): 1 for word in ("two", "and", "a")},
        (LEMMA, "black"): 2,
        (LEMMA, "dog"): 2,
        (BIGRAM, "two black"): 1,
        (BIGRAM, "black dogs"): 1,
        (BIGRAM, "black dog"): 1,
    }


captions = st.lists(
    st.sampled_from(
        ["two", "dogs", "dog", "run", "runs", "a", "bus", "bu", "on", "grass", "was", "wet", "glasses", "glass"]
    ),
    max_size=8,
)


@given(captions, captions)
def test_a_caption_s_terms_never_depend_on_another_caption(first, second):
    alone = count_terms(first)
    count_terms(second)
    assert count_terms(first) == alone
