import pytest

from beam_pipeline.words.reference import (
    Reference,
    captions_reference,
    load_presence_tail,
    require_same_captioner,
    training_reference,
)
from beam_pipeline.words.terms import BIGRAM, WORD
from training.errors import UserError
from training.text.word_counts import WordCounts

MADE_WITH = {"model_id": "m1", "encoder_id": "e1", "beam_width": 3, "min_words": 3, "guidance": 0.5}


def test_training_captions_are_a_reference_by_word(tmp_path):
    assert training_reference(str(tmp_path)) is None
    counts = WordCounts()
    counts.add_picture(["a dog", "a dog", "a car"])
    counts.save(str(tmp_path))
    expected = Reference("training captions", 3, {WORD: {"a": 3, "dog": 2, "car": 1}})
    assert training_reference(str(tmp_path)) == expected


def test_a_collection_is_a_reference_by_word_and_bigram(word_tables):
    directory = word_tables("city", ["a red car", "a car", "red"])
    assert captions_reference(directory, "--reference") == Reference(
        directory,
        3,
        {WORD: {"car": 2, "red": 2, "a": 2}, BIGRAM: {"red car": 1}},
        {},
        {"model_id": "m1", "encoder_id": "e1", "beam_width": 3, "source": "images"},
    )


def test_a_collection_with_presence_is_a_reference_by_estimate_too(word_tables):
    evidence = [{"kinds": ["presence"], "words": {"dog": {"presence": 0.5}, "sea": {"presence": 0.25}}}] * 4
    reference = captions_reference(word_tables("sea", ["dog"] * 4, evidence=evidence), "--reference")
    assert reference.document_frequency == {WORD: {"dog": 4}, BIGRAM: {}}
    assert reference.estimated_frequency == {WORD: {"dog": 2.0, "sea": 1.0}, BIGRAM: {}}


def test_captions_of_one_captioner_are_compared_whatever_else_differs():
    require_same_captioner(MADE_WITH | {"source": "images"}, MADE_WITH | {"source": "features"}, "a and b")


@pytest.mark.parametrize("name", MADE_WITH)
def test_captions_of_different_captioners_or_settings_are_refused(name):
    with pytest.raises(UserError, match=rf"a and b: made with {name} {MADE_WITH[name]} and other, .*same captioner"):
        require_same_captioner(MADE_WITH, MADE_WITH | {name: "other"}, "a and b")


def test_the_presence_tail_is_empty_where_the_captioner_has_none(tmp_path):
    assert load_presence_tail(str(tmp_path)) == {}
    (tmp_path / "presence_tail.json").write_text('{"schema_version": 2, "words": {"dog": 0.002}}')
    assert load_presence_tail(str(tmp_path)) == {"dog": 0.002}
