import pytest

from beam_pipeline.runtime.text import duration, escaped, size_in_words, uri_key, uri_of, utf8, why


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.6, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 0 min"),
        (7260, "2 h 1 min"),
        (172800, "2 days"),
        (1e6, "12 days"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (262770, "263 kB"), (1.863e9, "1.9 GB"), (5e13, "50.0 TB")],
)
def test_sizes_in_words(size, text):
    assert size_in_words(size) == text


def test_a_name_that_is_not_utf_8_can_be_shown_and_grouped():
    name = "caf\udce9.jpg"
    assert utf8(name) == "caf\\udce9.jpg"
    assert uri_of(uri_key(name)) == name


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (PermissionError(13, "Permission denied"), "permission denied"),
        (ValueError("two\n  lines"), "two lines"),
        (KeyError(), "KeyError"),
    ],
)
def test_an_error_says_why_in_a_line(error, text):
    assert why(error) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, K\u00e4se, \u732b", "plain, K\u00e4se, \u732b"),
        ("a\x1b[31m\x07\r\x9b", "a\\x1b[31m\\x07\\r\\x9b"),
        ("two\nlines\tand", "two\nlines\tand"),
        ("\u202egpj.exe\u2066\u2028", "\\u202egpj.exe\\u2066\\u2028"),
        ("caf\udce9", "caf\\udce9"),
    ],
)
def test_text_that_a_terminal_obeys_is_escaped(text, shown):
    assert escaped(text) == shown


def test_line_ends_are_escaped_where_none_are_kept():
    assert escaped("a\nb", kept="") == "a\\nb"
