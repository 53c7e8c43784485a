from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.captions.picture import CaptionedPicture
from beam_pipeline.results.keywords import MOST_KEYWORDS, keywords_of
from beam_pipeline.words.terms import is_stop


def with_presence(presence: dict[str, float], caption: str = "") -> CaptionedPicture:
    words = {word: {"presence": value} for word, value in presence.items()}
    return CaptionedPicture("s", "u", caption, -1.0, (), {"kinds": ["presence"], "words": words})


def test_keywords_are_the_content_words_with_enough_presence_the_likeliest_first():
    picture = with_presence({"grass": 0.4, "dog": 0.9, "a": 0.99, "cat": 0.05}, "the cat on a mat with a cat")
    assert keywords_of(picture, 0.3) == ("dog", "grass")
    assert keywords_of(picture, 0.05) == ("dog", "grass", "cat")


def test_without_presence_they_are_the_content_words_of_the_caption():
    assert keywords_of(CaptionedPicture("s", "u", "the cat on a mat with a cat", -1.0), 0.3) == ("cat", "mat")
    other = {"kinds": ["expected"], "words": {"dog": {"expected": 1.0}}}
    assert keywords_of(CaptionedPicture("s", "u", "a cat", -1.0, (), other), 0.3) == ("cat",)


words = st.sampled_from([f"word{number}" for number in range(60)] + ["a", "the", "with"])


@given(st.dictionaries(words, st.floats(0, 1)), st.floats(0, 1))
def test_keywords_are_sorted_and_bounded_and_none_below_the_limit(presence, least):
    found = keywords_of(with_presence(presence), least)
    eligible = {word: value for word, value in presence.items() if value >= least and not is_stop(word)}
    assert len(set(found)) == min(MOST_KEYWORDS, len(eligible))
    assert [eligible[word] for word in found] == sorted(eligible.values(), reverse=True)[: len(found)]
