from collections import Counter

import pytest

from training.errors import UserError
from training.text.tokenizer import tokenize
from training.text.vocabulary import END, PAD, SPECIALS, START, UNKNOWN, Vocabulary, build_vocabulary, load_vocabulary


def test_frequent_words_come_first_and_ties_in_alphabetical_order():
    counts = Counter({"dog": 3, "cat": 3, "a": 9, "rare": 1})
    assert build_vocabulary(counts, min_count=3).words == ("a", "cat", "dog")


def test_marks_and_bracket_names_are_never_words():
    assert build_vocabulary(Counter({"-lrb-": 9, "&": 9, "#": 9, "'s": 9}), min_count=1).words == ("'s",)


def test_encode_and_decode():
    vocabulary = Vocabulary(("a", "dog"))
    assert len(vocabulary) == SPECIALS + 2
    assert vocabulary.encode(["a", "zebra", "dog"]) == [4, UNKNOWN, 5]
    assert vocabulary.decode([START, 4, UNKNOWN, 5, END, 4, PAD]) == ["a", "dog"]


def test_no_text_can_produce_a_special_id_but_unknown():
    tokens = tokenize("<pad> <start> <end> <unk> [PAD] </s> start end pad")
    vocabulary = build_vocabulary(Counter(tokens), min_count=1)
    assert all(number >= SPECIALS or number == UNKNOWN for number in vocabulary.encode(tokens))


def test_share_of_unknown_tokens():
    assert Vocabulary(("dog",)).unknown_share(Counter({"dog": 3, "cat": 1})) == 0.25
    assert Vocabulary(("dog",)).unknown_share(Counter()) == 0.0


def test_saved_one_word_a_line_and_loaded_again(tmp_path):
    vocabulary = Vocabulary(("caf\u00e9", "'s", "t-shirt"))
    vocabulary.save(str(tmp_path / "vocabulary.txt"))
    assert (tmp_path / "vocabulary.txt").read_text(encoding="utf-8") == "caf\u00e9\n's\nt-shirt\n"
    assert load_vocabulary(str(tmp_path)) == vocabulary


def test_no_word_is_frequent_enough():
    with pytest.raises(UserError, match="the most frequent one 2 times"):
        build_vocabulary(Counter({"dog": 2}), min_count=3)


@pytest.mark.parametrize(
    ("text", "fault"), [("dog\n\ncat\n", ":2: is empty"), ("dog\ncat\ndog\n", ":3: repeats line 1")]
)
def test_a_damaged_file_is_named_with_its_line(tmp_path, text, fault):
    (tmp_path / "vocabulary.txt").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=fault):
        load_vocabulary(str(tmp_path))


def test_a_directory_without_vocabulary_is_told(tmp_path):
    with pytest.raises(UserError, match="captionbeam train"):
        load_vocabulary(str(tmp_path))
