from collections import Counter

import pytest

from training.errors import UserError
from training.own_names import WORD_COUNTS
from training.text.word_counts import WordCounts, load_word_counts


def counted():
    counts = WordCounts()
    counts.add_picture(["a dog and a dog", "a cat"])
    counts.add_picture(["the dog\u2019s ball"])
    return counts


def test_words_are_counted_by_mention_caption_and_picture():
    counts = counted()
    assert (counts.pictures, counts.captions) == (2, 3)
    assert counts.times == Counter({"a": 3, "dog": 3, "and": 1, "cat": 1, "the": 1, "ball": 1})
    assert (counts.in_captions["a"], counts.in_captions["dog"]) == (2, 2)
    assert (counts.in_pictures["a"], counts.in_pictures["dog"]) == (1, 2)


def test_they_are_read_back_as_written(tmp_path):
    counted().save(str(tmp_path))
    assert load_word_counts(str(tmp_path)) == counted()


def test_a_captioner_may_have_none(tmp_path):
    assert load_word_counts(str(tmp_path)) is None


@pytest.mark.parametrize("content", ["no JSON", "[]", '{"schema_version": 1, "pictures": 1}', '{"schema_version": 9}'])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / WORD_COUNTS).write_text(content)
    with pytest.raises(UserError, match=WORD_COUNTS):
        load_word_counts(str(tmp_path))
