import codecs
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.text.lines import MAX_LINE_BYTES, NOT_UTF8, TOO_LONG, csv_rows, numbered_lines

UNCLOSED = "a quote is opened and never closed"


def rows(content: bytes, **settings) -> list:
    return list(csv_rows(numbered_lines(io.BytesIO(content)), **settings))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize(("end", "chunk"), [("\n", 8), ("\r\n", 8), ("\r\n", 1 << 20), ("\r", 1 << 20)])
def test_lines_are_read_in_the_encoding_of_their_mark(monkeypatch, encoding, end, chunk):
    monkeypatch.setattr("training.text.lines._CHUNK_BYTES", chunk)
    content = end.join(["Grün.jpg", "", "🐕.jpg"]).encode(encoding)
    assert list(numbered_lines(io.BytesIO(content))) == [(1, "Grün.jpg".encode()), (2, b""), (3, "🐕.jpg".encode())]


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE])
def test_utf_16_that_ends_within_a_character_loses_only_that(mark):
    encoding = "utf-16-le" if mark == codecs.BOM_UTF16_LE else "utf-16-be"
    lines = list(numbered_lines(io.BytesIO(mark + "a\nb".encode(encoding) + b"\0")))
    assert lines == [(1, b"a"), (2, "b\ufffd".encode())]


@given(st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line and b"\r" not in line)))
def test_bytes_that_are_no_text_come_as_they_are(lines):
    content = b"x\n" + b"".join(line + b"\n" for line in lines)
    expected = [b"x"] + [line.removeprefix(codecs.BOM_UTF8) for line in lines]
    assert [line for _, line in numbered_lines(io.BytesIO(content))] == expected


def test_a_line_without_an_end_takes_bounded_memory_and_the_lines_behind_it_are_read():
    content = b"x" * (20 * MAX_LINE_BYTES) + b"\na,b\n"
    (_, long), (number, line) = numbered_lines(io.BytesIO(content))
    assert MAX_LINE_BYTES < len(long) < 3 * MAX_LINE_BYTES
    assert (number, line) == (2, b"a,b")
    assert rows(content) == [(1, TOO_LONG), (2, ["a", "b"])]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'a,"b\nb",c\nd\n', [(1, ["a", "b\nb", "c"]), (3, ["d"])]),
        (b'a,"b\nc,d\n\ne,f\n', [(1, UNCLOSED), (2, ["c", "d"]), (4, ["e", "f"])]),
        (b'"a""b",5" wide\n', [(1, ['a"b', '5" wide'])]),
        (b'"a"b,c\nd,e\n', [(1, "misplaced quote (',' expected after '\"')"), (2, ["d", "e"])]),
        (b"\xff,b\nc,d\n", [(1, NOT_UTF8), (2, ["c", "d"])]),
    ],
)
def test_a_bad_row_is_named_and_the_rest_is_read(content, expected):
    assert rows(content) == expected


def test_bytes_that_are_no_text_can_be_kept():
    assert rows(b"\xff,b\n", errors="surrogateescape") == [(1, ["\udcff", "b"])]


def test_fields_may_stand_between_tabs():
    assert rows(b'a,b\t"c\td"\n', delimiter="\t") == [(1, ["a,b", "c\td"])]
