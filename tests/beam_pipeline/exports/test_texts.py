import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.exports.texts import UnknownText, added_line, new_text, without_line

MARKS = {
    "utf-8": b"",
    "utf-8-sig": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
    "latin-1": b"",
}


def encoded(text, encoding):
    return MARKS[encoding] + text.encode(encoding.removesuffix("-sig"))


@pytest.mark.parametrize(
    ("text", "added"),
    [
        ("", "a dog\n"),
        ("x", "\na dog\n"),
        ("x\n", "a dog\n"),
        ("x\r\ny", "\r\na dog\r\n"),
        ("x\ry\r", "a dog\r"),
        ("x\r\ny\r\nz\n", "a dog\r\n"),
    ],
)
@pytest.mark.parametrize("encoding", MARKS)
def test_a_line_is_added_once_with_the_line_ends_that_are_there(text, added, encoding):
    text = text.replace("y", "Zürich")
    before = encoded(text, encoding)
    line = added_line(before, "a dog")
    assert before + line == encoded(text + added, encoding)
    assert added_line(before + line, "a dog") is None
    assert without_line(before + line, "a dog", line, b"") == before


def test_a_caption_may_have_any_letter_that_the_encoding_has():
    latin = "Zürich\n".encode("latin-1")
    assert added_line(latin, "a café") == "a café\n".encode("latin-1")
    with pytest.raises(UnknownText, match="not in UTF-8, and may lack 'Ł'"):
        added_line(latin, "Łódź złoty")
    windows = "“Zürich”".encode("cp1252")
    assert added_line(windows, "a dog") == b"\na dog\n"
    with pytest.raises(UnknownText, match="may lack 'é'"):
        added_line(windows, "a café")
    assert added_line("Łódź\n".encode("utf-16"), "Łódź złoty") == "Łódź złoty\n".encode("utf-16-le")


@pytest.mark.parametrize(
    "data", ["a text".encode("utf-16-le"), b"\x00\x01\x02", codecs.BOM_UTF16_LE + b"a", codecs.BOM_UTF8 + b"\xff"]
)
def test_a_text_that_cannot_be_read_gets_nothing(data):
    with pytest.raises(UnknownText, match="left alone"):
        added_line(data, "a dog")


def test_a_caption_is_one_line_of_utf_8_whatever_it_contains():
    assert new_text("a\ndog\r\u2028 \udcff") == b"a dog \\udcff\n"
    assert added_line(b"", "a\ndog") == b"a dog\n"


def test_only_the_line_of_the_caption_goes_where_somebody_wrote_since():
    assert without_line(b"mine\r\na dog\r\nmore\r\n", "a dog", b"a dog\n", b"") == b"mine\r\nmore\r\n"
    assert without_line(b"a dog", "a dog", b"a dog\n", b"") == b""
    assert without_line(b"a dog of mine\n", "a dog", b"a dog\n", b"") == b"a dog of mine\n"
    assert without_line("mine é\na dog\n".encode("latin-1"), "a dog", b"a dog\n", b"") == "mine é\n".encode("latin-1")


def test_what_the_caption_took_the_place_of_comes_back():
    old = "mine é\n".encode("latin-1")
    assert without_line(b"a dog\n", "a dog", b"a dog\n", old) == old
    assert without_line(b"new\na dog\n", "a dog", b"a dog\n", old) == "new\nmine é\n".encode()
    assert without_line(b"a dog\nmore", "a dog", b"a dog\n", b"a dog\nmore") == b"a dog\nmore"  # was never replaced


@given(
    st.lists(st.text(alphabet=st.characters(codec="latin-1", exclude_categories=["C"])), max_size=4),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(sorted(MARKS)),
    st.sampled_from(["a dog", "a café", "x"]),
)
def test_what_was_added_goes_without_a_trace(lines, end, encoding, caption):
    before = encoded(end.join(lines), encoding)
    line = added_line(before, caption)
    if line is not None:
        assert without_line(before + line, caption, line, b"") == before
