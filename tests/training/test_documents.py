import io
import json
import pickle
from dataclasses import dataclass
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.documents import (
    CHECKSUM,
    Count,
    Damaged,
    Number,
    parse_document,
    parse_json,
    parse_lines,
    to_document,
)
from training.errors import UserError

MEND = "make it again"


class Pair(NamedTuple):
    word: str
    times: Count


@dataclass
class Content:
    pictures: Count
    pairs: list[Pair]
    share: Number = 0.5


def read(data: bytes) -> Content:
    return parse_document(data, Content, "x.json", MEND)


def test_a_document_comes_back_as_it_was_written_and_other_keys_are_left_out():
    written = to_document({"pictures": 2, "pairs": [("dog", 1), ("\udc80", 3)], "newer": {"a": [1]}})
    assert read(written) == Content(2, [Pair("dog", 1), Pair("\udc80", 3)])


def test_a_document_without_a_checksum_is_read_as_an_earlier_captionbeam_wrote_it():
    assert read(b'{"pictures": 2, "pairs": []}') == Content(2, [])


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "empty"),
        ("{", "not JSON (Expecting property name"),
        ("[]", "expected an object, found []"),
        ('{"pairs": []}', "pictures is missing"),
        ('{"pictures": "12", "pairs": []}', 'pictures: expected a whole number, found "12"'),
        ('{"pictures": -1, "pairs": []}', "pictures: expected a whole number of 0 or more, found -1"),
        (
            '{"pictures": 1000000000000000000, "pairs": []}',
            "pictures: expected a whole number of at most 1125899906842624, found 1000",
        ),
        ('{"pictures": true, "pairs": []}', "pictures: expected a whole number, found true"),
        ('{"pictures": 1, "pairs": [], "share": "\\ud800"}', 'expected a number, found "\\ud800"'),
        (
            '{"pictures": 1, "pairs": [["a", 1], ["b", 1], ["c", -2]]}',
            "pairs[2][1]: expected a whole number of 0 or mo",
        ),
        ('{"pictures": 1, "pairs": [["a"]]}', 'pairs[0]: expected a list of length 2, found ["a"]'),
        ('{"pictures": 1, "pairs": [], "share": NaN}', "not JSON (NaN is no number)"),
        ('{"pictures": 1, "pairs": [], "share": 1e999}', "not JSON (1e999 is too large)"),
        ('{"pictures": 1, "pictures": 2, "pairs": []}', "not JSON ('pictures' is there twice)"),
        ('{"pictures": ' + "[" * 100_000, "not JSON that captionbeam writes (too many brackets"),
        ('{"pictures": ' + "1" * 5000, "not JSON ("),
    ],
)
def test_a_fault_is_one_line_that_names_file_place_and_mend(text, fault):
    with pytest.raises(Damaged) as raised:
        read(text.encode())
    message = str(raised.value)
    assert message.startswith("x.json: ") and message.endswith(f"; {MEND}") and "\n" not in message
    assert fault in message


def test_bytes_that_are_not_utf8_are_named_by_their_place():
    with pytest.raises(Damaged, match=r"x\.json: not UTF-8 \(byte 15\)"):
        read(b'{"pictures": "\xff"}')


def test_a_line_is_named_and_one_that_is_cut_short_too():
    assert list(parse_lines(io.BytesIO(b'["a", 1]\n'), Pair, "x.jsonl", MEND)) == [Pair("a", 1)]
    for last in (b'["a", 1', b'["a", 1]', b'["a", "1"]\n', b"\n"):
        with pytest.raises(Damaged, match=r"x\.jsonl:2: .*; make it again"):
            list(parse_lines(io.BytesIO(b'["a", 1]\n' + last), Pair, "x.jsonl", MEND))


@pytest.mark.parametrize(("version", "fault"), [(1, "schema version 1, not 2"), (3, "which a newer captionbeam wrote")])
def test_another_schema_version_is_refused(version, fault):
    with pytest.raises(UserError, match=fault):
        parse_document(to_document({"schema_version": version}), dict[str, int], "x.json", MEND, version=2)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), JSON, max_size=4), st.data())
def test_no_flipped_bit_changes_what_is_read(content, data):
    content.pop(CHECKSUM, None)
    written = to_document(content)
    assert parse_document(written, dict, "x.json", MEND) == content
    place = data.draw(st.integers(0, 8 * len(written) - 1))
    flipped = bytearray(written)
    flipped[place // 8] ^= 1 << place % 8
    try:
        found = parse_document(bytes(flipped), dict, "x.json", MEND)
    except UserError:
        return
    assert found == content or _renamed(found)


def _renamed(found: dict) -> bool:
    """A flip in the name of the checksum itself leaves an unknown key."""
    return any(len(name) == len(CHECKSUM) and name not in ("", CHECKSUM) for name in found)


def test_json_of_others_needs_no_checksum():
    assert parse_json(b"[1, 2]", list[int], "x.json", MEND) == [1, 2]


def test_the_error_comes_whole_from_a_worker():
    error = pickle.loads(pickle.dumps(Damaged("x.json", "cut short", MEND)))
    assert (str(error), error.path, error.exit_status) == ("x.json: cut short; make it again", "x.json", 2)


def test_the_checksum_is_the_last_entry():
    assert list(json.loads(to_document({CHECKSUM: "x", "b": 1, "a": 2}))) == ["b", "a", CHECKSUM]
