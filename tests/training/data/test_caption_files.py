"""Caption files: both forms, spoilt lines, and names in two spellings."""

import csv
import io
import pickle
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.caption_files import (
    HEADING,
    MAX_PROBLEMS,
    UNREADABLE,
    CaptionRow,
    normalized_name,
    read_captions,
    read_image_list,
)
from training.errors import UserError
from training.text.human_captions import MARKED, MAX_CHARACTERS, OVER_LIMIT, WORDLESS

CSV = b"image,caption\na.jpg,A dog runs .\na.jpg,A brown dog .\nb.jpg,Two cats .\n"
TOKENS = b"a.jpg#0\tA dog runs .\na.jpg#1\tA brown dog .\nb.jpg#0\tTwo cats .\n"
PAIRS = [("a.jpg", "A dog runs ."), ("a.jpg", "A brown dog ."), ("b.jpg", "Two cats .")]


@pytest.fixture
def written(tmp_path):
    """Bytes -> path of a file that holds them."""

    def write(content: bytes, name: str = "captions.txt") -> str:
        path = tmp_path / name
        path.write_bytes(content)
        return str(path)

    return write


def pairs(path):
    return [(row.image, row.text) for row in read_captions(path)]


@pytest.mark.parametrize(("content", "form"), [(CSV, "csv"), (TOKENS, "token")])
def test_the_form_is_told_by_content_and_rows_know_their_lines(written, content, form):
    captions = read_captions(written(content))
    rows = list(captions)
    first = 2 if form == "csv" else 1
    assert captions.form == form
    assert rows == [CaptionRow(*pair, line) for line, pair in enumerate(PAIRS, first)]
    assert (captions.rows, captions.counts, captions.problems) == (3, {}, [])


@pytest.mark.parametrize("content", [CSV, TOKENS], ids=["csv", "token"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "mark"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["lf", "crlf"])
def test_byte_order_marks_and_windows_line_ends_change_nothing(written, content, mark, end):
    assert pairs(written(mark + content.replace(b"\n", end))) == PAIRS


def test_marks_inside_files_joined_with_cat_are_dropped(written):
    assert pairs(written(TOKENS + b"\xef\xbb\xbfc.jpg#0\tA bird .\n")) == [*PAIRS, ("c.jpg", "A bird .")]


def test_a_file_without_a_last_line_end_keeps_its_last_caption(written):
    assert pairs(written(TOKENS.rstrip(b"\n"))) == PAIRS


def test_blank_lines_are_skipped_and_a_line_without_a_tab_is_reported(written):
    path = written(TOKENS + b"\nx.jpg#0 A dog runs .\n\n\n")
    captions = read_captions(path)
    assert [(row.image, row.text) for row in captions] == PAIRS
    assert captions.counts == {UNREADABLE: 1}
    assert [str(problem) for problem in captions.problems] == [f"{path}:5: no tab; expected name.jpg#0<TAB>caption"]


def test_a_token_file_may_begin_with_a_bad_line(written):
    captions = read_captions(written(b"x.jpg#0 A dog runs .\n" + TOKENS))
    assert [(row.image, row.text) for row in captions] == PAIRS
    assert captions.problems[0].line == 1


BAD_TOKENS = {
    b"x.jpg\tA dog .": "no #number before the tab",
    b"x.jpg#0\t  ": "the caption is empty",
    b"#0\tA dog .": "no image name",
    b"x.jpg#0\tCaf\xe9 .": "not UTF-8 text",
}
BAD_ROWS = {
    b"x.jpg,A dog, a cat": "3 fields where the heading has 2",
    b"x.jpg": "1 field where the heading has 2",
    b"x.jpg,": "the caption is empty",
    b",A dog": "no image name",
    b'x.jpg,"A dog" runs': "misplaced quote",
    b'x.jpg,"A dog runs': "a quote is opened and never closed",
    b"x.jpg,Caf\xe9 .": "not UTF-8 text",
    b'x.jpg,"Caf\xe9,\nrouge"': "not UTF-8 text",
}


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [(TOKENS, *bad) for bad in BAD_TOKENS.items()] + [(CSV, *bad) for bad in BAD_ROWS.items()],
)
def test_a_bad_line_costs_only_itself_and_is_named_with_its_reason(written, content, line, reason):
    last = b"z.jpg,The end .\n" if content is CSV else b"z.jpg#0\tThe end .\n"
    captions = read_captions(written(content + line + b"\n" + last))
    assert [(row.image, row.text) for row in captions] == [*PAIRS, ("z.jpg", "The end .")]
    problem = captions.problems[0]
    assert problem.line == content.count(b"\n") + 1 and problem.reason.startswith(reason)


def test_a_forgotten_quote_before_a_properly_quoted_row_does_not_swallow_it(written):
    content = CSV + b'x.jpg,"A dog runs\ny.jpg,A bird .\nz.jpg,"A cat, asleep"\n'
    captions = read_captions(written(content))
    assert [(row.image, row.text) for row in captions] == [*PAIRS, ("y.jpg", "A bird ."), ("z.jpg", "A cat, asleep")]
    assert [problem.line for problem in captions.problems] == [5]


def test_quoted_commas_quotes_and_newlines_are_kept(written):
    content = b'image,caption\r\na.jpg,"A ""big"" dog,\r\nrunning"\r\nb.jpg,A 6" nail\r\n'
    rows = list(read_captions(written(content)))
    assert rows == [CaptionRow("a.jpg", 'A "big" dog,\nrunning', 2), CaptionRow("b.jpg", 'A 6" nail', 4)]


def test_words_that_look_like_missing_values_or_numbers_stay_text(written):
    words = ["null", "NA", "None", "nan", "true", "007"]
    content = "image,caption\n" + "".join(f"{i}.jpg,{word}\n" for i, word in enumerate(words))
    assert [row.text for row in read_captions(written(content.encode()))] == words


@pytest.mark.parametrize(
    "heading",
    [
        "image,caption",
        "image_name| comment_number| comment",
        "image\tcaption",
        "filename caption",
        "Image Name\tCaption",
        "Bild\tBeschreibung",
        "画像;キャプション",
        "#image,text",
    ],
)
@pytest.mark.parametrize("times", [1, 2])
def test_a_heading_of_a_token_file_is_a_heading(written, heading, times):
    path = written((f"{heading}\n".encode() + TOKENS) * times)
    captions = read_captions(path)
    assert [(row.image, row.text) for row in captions] == PAIRS * times
    assert captions.counts == {HEADING: times}
    shown = " ".join(heading.split("\t"))
    assert [str(problem) for problem in captions.problems] == [
        f"{path}:{line}: a heading: {shown}" for line in (1, 5)[:times]
    ]


@pytest.mark.parametrize("line", ["a.jpg, a dog", "7\ta dog", "a dog", "x.jpg", "2258277193_586949ec62"])
def test_a_bad_first_line_with_a_name_or_number_or_of_words_alone_is_no_heading(written, line):
    captions = read_captions(written(f"{line}\n".encode() + TOKENS))
    assert len(list(captions)) == 3 and captions.counts == {UNREADABLE: 1}


@pytest.mark.parametrize(
    ("heading", "delimiter"),
    [
        ("image,caption", ","),
        ("image\tcaption", "\t"),
        ("image;caption", ";"),
        ("IMAGE , Caption", ","),
        ("image_name| comment_number| comment", "|"),
        ("file_name,id,caption", ","),
    ],
)
def test_tables_of_any_delimiter_whose_heading_may_stand_twice(written, heading, delimiter):
    width = len(heading.split(delimiter))
    table = "".join(delimiter.join([image, *["0"] * (width - 2), text]) + "\n" for image, text in PAIRS)
    captions = read_captions(written(f"{heading}\n{table}{heading.upper()}\n{table}".encode()))
    assert [(row.image, row.text) for row in captions] == PAIRS * 2
    assert captions.form == "csv" and captions.counts == {HEADING: 1}


def test_two_columns_of_one_name_are_refused(written):
    with pytest.raises(UserError, match="two columns named caption; rename the one that is not meant"):
        read_captions(written(b"image,caption,caption\na.jpg,A dog .,A cat .\n"))


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("<start> ", " <end>"),
        ("startseq ", " endseq"),
        ("<s> ", " </s>"),
        ("[BOS] ", " [EOS]"),
        ("[CLS] ", " [SEP]"),
        ("<|startoftext|>", "<|endoftext|>"),
        ("", " <eos> <pad> <pad>"),
        ("<SOS>", ""),
        ("sos ", " eos"),
        ("_START_ ", " _END_"),
        ("##start## ", "##end##"),
        ("<start_of_sequence> ", " <end_of_sequence>."),
    ],
)
@pytest.mark.parametrize("form", ["image,caption\na.jpg,{}\n", "a.jpg#0\t{}\n", "image\tcaption\na.jpg\t{}\n"])
def test_marks_of_decoders_are_left_out_and_counted(written, form, begin, end):
    captions = read_captions(written(form.format(f"{begin}A dog and a cat{end}").encode()))
    assert [row.text.rstrip(" .") for row in captions] == ["A dog and a cat"]
    assert captions.counts == {MARKED: 1}


LEFT_OUT = [".", "!", '""', "\U0001f415", "<start> <end>", "startseq . endseq", "\u200b", " , "]


@pytest.mark.parametrize("text", LEFT_OUT)
def test_captions_without_a_word_are_left_out_counted_and_named(written, text):
    path = written(TOKENS + f"z.jpg#0\t{text}\n".encode() + b"z.jpg#1\tThe end .\n")
    captions = read_captions(path)
    assert [(row.image, row.text) for row in captions] == [*PAIRS, ("z.jpg", "The end .")]
    assert captions.counts == {WORDLESS: 1}
    assert str(captions.problems[0]).startswith(f"{path}:4: ")


@pytest.mark.parametrize("quoted", ['""', '" "', '"."'])
def test_empty_quotes_are_a_caption_without_a_word(written, quoted):
    captions = read_captions(written(CSV + f"z.jpg,{quoted}\n".encode()))
    assert len(list(captions)) == 3 and captions.counts == {WORDLESS: 1}


def test_a_caption_of_ten_megabytes_costs_only_itself(written):
    huge = b"word " * (2 << 20)
    captions = read_captions(written(TOKENS + b"z.jpg#0\t" + huge + b"\nz.jpg#1\t" + huge[:70_000] + b"\n" + TOKENS))
    assert [(row.image, row.text) for row in captions] == PAIRS * 2
    assert captions.counts == {UNREADABLE: 1, OVER_LIMIT: 1}
    assert [problem.line for problem in captions.problems] == [4, 5]
    assert f"at most {MAX_CHARACTERS:,} are taken" in captions.problems[1].reason


def test_nul_bytes_are_named(written):
    captions = read_captions(written(CSV + b"z.jpg,a \0dog\n"))
    assert len(list(captions)) == 3 and captions.counts == {UNREADABLE: 1}
    captions = read_captions(written(TOKENS + b"z\0.jpg#0\ta dog\n"))
    assert len(list(captions)) == 3 and captions.problems[0].reason == "a NUL character in it"


@pytest.mark.parametrize("content", [CSV, TOKENS], ids=["csv", "token"])
def test_a_lone_carriage_return_may_end_all_lines(written, content):
    assert pairs(written(content.replace(b"\n", b"\r"))) == PAIRS
    assert pairs(written(content.replace(b"\n", b"\r").rstrip(b"\r"))) == PAIRS


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize("content", [CSV, TOKENS], ids=["csv", "token"])
def test_a_byte_order_mark_names_the_encoding(written, content, encoding):
    assert pairs(written(content.decode().encode(encoding))) == PAIRS


def test_separators_of_unicode_end_no_line(written):
    text = "a dog\u2028runs\x85on\u2029sand"
    assert pairs(written(f"a.jpg#0\t{text}\n".encode())) == [("a.jpg", text)]


def test_latin_1_is_named_with_file_and_line(written):
    path = written(TOKENS + "z.jpg#0\tCafé .\n".encode("latin-1"))
    captions = read_captions(path)
    assert len(list(captions)) == 3
    assert str(captions.problems[0]) == (
        f"{path}:4: not UTF-8 text, perhaps Latin-1 or Windows-1252; save the file as UTF-8"
    )


def test_columns_are_found_by_name(written):
    assert pairs(written(b"id, Caption ,IMAGE\n7,A dog .,a.jpg\n")) == [("a.jpg", "A dog .")]


def test_the_name_without_a_picture_in_flickr8k_is_just_a_name(written):
    assert pairs(written(b"2258277193_586949ec62.jpg.1#0\tPeople .\n")) == [("2258277193_586949ec62.jpg.1", "People .")]


def test_a_name_may_hold_number_signs_and_spaces(written):
    assert pairs(written(b"my #1 dog.jpg#3\tA dog .\n")) == [("my #1 dog.jpg", "A dog .")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"file,text\na.jpg,A dog .\n", "found the columns file,text; expected"),
        (b"\n \n", "the file is empty"),
        (b"", "the file is empty"),
        (b"image,caption\na.jpg,\n", "not one usable caption in it; line 2: the caption is empty"),
        ("image,caption\na.jpg,A dog .\n".encode("utf-16-le"), "found NUL characters, as in UTF-16 without"),
        (b'{"images": [], "annotations": []}', 'found JSON, {"images": [], "annotations": []}; expected'),
        (b"\xff\xd8\xff\xe0 a photo", "bytes that are not UTF-8 text"),
    ],
)
def test_a_useless_file_is_refused_in_one_line_that_names_it(written, content, message):
    path = written(content)
    with pytest.raises(UserError) as caught:
        list(read_captions(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("reader", [read_captions, read_image_list])
def test_a_missing_file_and_a_directory_are_refused(tmp_path, reader):
    with pytest.raises(UserError, match="no such file"):
        reader(str(tmp_path / "missing.txt"))
    with pytest.raises(UserError, match="cannot be read"):
        reader(str(tmp_path))


def test_wrong_columns_are_refused_before_any_row_is_read(written):
    with pytest.raises(UserError, match="found the columns a,b"):
        read_captions(written(b"a,b\n1,2\n"))


def test_problems_are_all_counted_but_not_all_kept(written):
    captions = read_captions(written(TOKENS + b"bad\n" * (MAX_PROBLEMS + 7)))
    assert len(list(captions)) == 3
    assert captions.counts == {UNREADABLE: MAX_PROBLEMS + 7}
    assert len(captions.problems) == MAX_PROBLEMS


def test_every_reading_starts_afresh_also_on_another_worker(written):
    captions = read_captions(written(TOKENS + b"bad\n"))
    first = list(captions)
    copy = pickle.loads(pickle.dumps(captions))
    assert list(captions) == list(copy) == first
    assert captions.counts == copy.counts == {UNREADABLE: 1}


def test_rows_come_before_the_file_has_been_read_to_its_end(written):
    line = b"a.jpg#0\t" + b"x" * 1000 + b"\n"
    captions = read_captions(written(line * 3000))  # three chunks
    rows = iter(captions)
    next(rows)
    assert captions.rows == 1


def test_lines_are_whole_where_chunks_meet(written, monkeypatch):
    monkeypatch.setattr("training.text.lines._CHUNK_BYTES", 7)
    assert pairs(written(CSV.replace(b"\n", b"\r\n"))) == PAIRS


def test_image_lists_keep_order_and_drop_blanks_marks_and_repeats(written):
    assert read_image_list(written(b"\xef\xbb\xbfb.jpg\r\n\r\n a.jpg \nb.jpg\n")) == ["b.jpg", "a.jpg"]


@pytest.mark.parametrize(("content", "message"), [(b"\n \n", "names no picture"), (b"a.jpg\n\xff\n", ":2: not UTF-8")])
def test_useless_image_lists_are_refused(written, content, message):
    with pytest.raises(UserError, match=message):
        read_image_list(written(content))


def test_composed_and_decomposed_names_meet_in_one_form():
    composed, decomposed = "M\u00fcnchen.jpg", "Mu\u0308nchen.jpg"
    assert composed != decomposed
    assert normalized_name(composed) == normalized_name(decomposed) == composed


def test_readers_keep_the_spelling_of_names(written):
    decomposed = "Mu\u0308nchen.jpg"
    assert pairs(written(f"{decomposed}#0\tA town .\n".encode())) == [(decomposed, "A town .")]
    assert read_image_list(written(decomposed.encode())) == [decomposed]


# No control characters: a line end inside a name has no form in a token file.
plain_text = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufeff"), min_size=1)
words = plain_text.map(str.strip).filter(bool)
names = words.filter(lambda name: "," not in name)
texts = words.map(lambda text: f"a {text}")  # one without a letter is left out


@given(st.lists(st.tuples(names, texts), min_size=1, max_size=8))
def test_token_lines_round_trip(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("token") / "captions.txt"
    path.write_text("".join(f"{name}#0\t{text}\n" for name, text in rows), encoding="utf-8", newline="")
    assert pairs(str(path)) == rows


@given(st.lists(st.tuples(words, texts | st.sampled_from(['"a', '""a', "a,", 'a "b"', "a\nb", '"\n"a'])), min_size=1))
def test_csv_rows_round_trip_as_the_csv_module_writes_them(tmp_path_factory, rows):
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\r\n").writerows([("image", "caption"), *rows])
    path = tmp_path_factory.mktemp("csv") / "captions.txt"
    path.write_text(buffer.getvalue(), encoding="utf-8", newline="")
    captions = read_captions(str(path))
    assert [(row.image, row.text) for row in captions] == rows
    assert captions.counts.keys() <= {MARKED}


@given(st.binary(max_size=300))
def test_any_bytes_after_a_header_give_rows_or_problems_never_another_error(tmp_path_factory, noise):
    path = tmp_path_factory.mktemp("noise") / "captions.txt"
    path.write_bytes(CSV + noise + b"\nlast.jpg,The end .\n")
    captions = read_captions(str(path))
    assert [(row.image, row.text) for row in captions][:2] == PAIRS[:2]
    assert captions.rows >= 3 or captions.counts


@given(words)
def test_normalizing_names_twice_is_normalizing_once(name):
    assert normalized_name(normalized_name(name)) == normalized_name(name) == unicodedata.normalize("NFC", name)


def test_flickr8k_in_both_forms(shared_data):
    kaggle = read_captions(str(shared_data / "flickr8k/captions.txt"))
    tokens = read_captions(str(shared_data / "flickr8k/Flickr8k.token.txt"))
    kaggle_pairs = {(row.image, row.text) for row in kaggle}
    token_pairs = {(row.image, row.text) for row in tokens}
    assert (kaggle.counts, tokens.counts) == ({}, {})
    assert tokens.rows - kaggle.rows == 5
    assert kaggle_pairs < token_pairs
    assert {image for image, _ in token_pairs - kaggle_pairs} == {"2258277193_586949ec62.jpg.1"}
    assert len(read_image_list(str(shared_data / "flickr8k/Flickr_8k.devImages.txt"))) == 1000
