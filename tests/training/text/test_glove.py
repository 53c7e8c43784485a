from collections import Counter

import numpy as np
import pytest

from training.errors import UserError
from training.text.glove import load_glove, project
from training.text.vocabulary import SPECIALS, Vocabulary

WORDS = Vocabulary(("dog", "cat"))
COUNTS = Counter({"dog": 3, "cat": 1})


def load(tmp_path, text, vocabulary=WORDS, counts=COUNTS):
    path = tmp_path / "glove.txt"
    path.write_bytes(text.encode())
    table, coverage = load_glove(str(path), vocabulary, counts, seed=1)
    return dict(zip(vocabulary.words, table[SPECIALS:].tolist(), strict=True)), coverage, table


def test_tokens_with_spaces_stay_whole_and_give_no_word_a_vector(tmp_path):
    text = "dog 1 2 3 4\n. . . 5 6 7 8\nat user@example.com 9 1 2 3\ncat 4 5 6 7\n"
    vectors, coverage, _ = load(tmp_path, text, Vocabulary(("dog", "cat", "at", ".")))
    assert vectors["dog"] == [1, 2, 3, 4] and vectors["cat"] == [4, 5, 6, 7]
    assert coverage.found == 2 and coverage.spaced == 2
    assert vectors["at"] != [9, 1, 2, 3] and vectors["."] != [5, 6, 7, 8]


@pytest.mark.parametrize("header", ["", "2 4\n"])
def test_word2vec_header_and_trailing_space_do_no_harm(tmp_path, header):
    vectors, coverage, _ = load(tmp_path, header + "dog 1 2 3 4\ncat 5 6 7 8 \n", Vocabulary(("dog", "cat", "2")))
    assert vectors["dog"] == [1, 2, 3, 4] and vectors["cat"] == [5, 6, 7, 8]
    assert coverage.dimension == 4 and coverage.found == 2  # no word "2"


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_byte_order_mark(tmp_path, end, mark):
    vectors, _, _ = load(tmp_path, f"{mark}dog 1 2{end or chr(10)}cat 3 4{end}")
    assert vectors == {"dog": [1, 2], "cat": [3, 4]}


def test_unicode_spaces_and_line_ends_inside_a_token_are_part_of_it(tmp_path):
    vectors, coverage, _ = load(tmp_path, "dog 1 2\n3\u00a01/2 5 6\nx\u0085y 7 8\ncat 3 4\n")
    assert vectors == {"dog": [1, 2], "cat": [3, 4]} and coverage.spaced == 0


@pytest.mark.parametrize("line", ["cow 1 2", "cow 1 2 3 4", "cow"])
def test_a_vector_of_another_length_is_named_by_file_and_line(tmp_path, line):
    with pytest.raises(UserError, match=r"glove\.txt:3: \d numbers where its other lines have 3"):
        load(tmp_path, f"dog 1 2 3\ncat 4 5 6\n{line}\n")


@pytest.mark.parametrize("field", ["x", "nan", "inf"])
def test_a_field_that_is_no_number_is_named_by_file_and_line(tmp_path, field):
    with pytest.raises(UserError, match=r"glove\.txt:2"):
        load(tmp_path, f"dog 1 2 3\ncat 4 {field} 6\n")


def test_missing_words_are_drawn_with_the_statistics_of_the_found_ones(tmp_path):
    found = np.random.default_rng(0).normal([5.0, -3.0], [0.5, 2.0], size=(500, 2))
    names = [f"known{number}" for number in range(500)]
    text = "".join(f"{name} {x} {y}\n" for name, (x, y) in zip(names, found, strict=True))
    vocabulary = Vocabulary((*names, *(f"missing{number}" for number in range(2000))))
    _, coverage, table = load(tmp_path, text, vocabulary, Counter(dict.fromkeys(vocabulary.words, 1)))
    drawn = table[SPECIALS + 500 :]
    np.testing.assert_allclose(drawn.mean(axis=0), found.mean(axis=0), atol=0.15)
    np.testing.assert_allclose(drawn.std(axis=0), found.std(axis=0), rtol=0.05)
    assert coverage.token_share == pytest.approx(500 / 2500)
    assert not table[0].any() and table.dtype == np.float32


def test_the_draw_depends_on_the_seed_alone(tmp_path):
    vocabulary = Vocabulary(("dog", "cat", "zebra"))
    (one, _, _), (two, _, _) = (load(tmp_path, "dog 1 2\ncat 3 5\n", vocabulary) for _ in range(2))
    assert one == two


def test_coverage_of_types_and_tokens(tmp_path):
    _, coverage, _ = load(tmp_path, "dog 1 2\n")
    assert (coverage.found, coverage.words, coverage.token_share) == (1, 2, 0.75)
    assert str(coverage) == "GloVe 2d: 1 of 2 words (50.0%), 75.0% of the training tokens"


@pytest.mark.parametrize("text", ["", "\n\n", "just some words\nand more\n", "zebra 1 2\n"])
def test_a_file_that_is_no_help_is_told(tmp_path, text):
    with pytest.raises(UserError, match=r"glove\.txt"):
        load(tmp_path, text)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(UserError, match="--glove"):
        load_glove(str(tmp_path / "none.txt"), WORDS, COUNTS, seed=0)


def test_projecting_up_keeps_every_length_and_angle():
    table = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    wider = project(table, 8, seed=0)
    assert wider.shape == (7, 8) and wider.dtype == np.float32
    np.testing.assert_allclose(wider @ wider.T, table @ table.T, rtol=1e-4, atol=1e-4)


def test_projecting_down_keeps_lengths_on_average():
    table = np.random.default_rng(0).normal(size=(500, 64)).astype(np.float32)
    narrower = project(table, 16, seed=0)
    assert narrower.shape == (500, 16)
    assert np.mean((narrower**2).sum(axis=1)) == pytest.approx(np.mean((table**2).sum(axis=1)), rel=0.1)
