import os

import pytest

from beam_pipeline.exports.text_journal import EXTENDED, MADE, REPLACED, UNDONE, TextChange, TextJournal, text_change
from training.errors import UserError
from training.own_names import JOURNAL


def test_changes_come_back_newest_first_until_they_are_undone(tmp_path):
    name = os.fsdecode(b"/p/\xff.txt")
    changes = [
        text_change(name, "a", b"a\n", None, False),
        text_change(name, "b", b"b\n", b"a\n", False),
        text_change(name, "c", b"c\n", b"\xff", True),
    ]
    journal = TextJournal(str(tmp_path))
    for change in changes:
        journal.note(change)
    journal.note(text_change("/p/other.txt", "a", b"a\n", None, False))
    assert [change.change for change in changes] == [MADE, EXTENDED, REPLACED]
    assert [change.replaced for change in changes] == ["", "", "/w=="]
    assert TextJournal(str(tmp_path)).changes(name) == changes[::-1]
    TextJournal(str(tmp_path)).note(TextChange(name, UNDONE))
    assert TextJournal(str(tmp_path)).changes(name) == []
    assert len(TextJournal(str(tmp_path)).changes("/p/other.txt")) == 1


def test_a_line_that_was_cut_short_belongs_to_no_change(tmp_path):
    first, second = (text_change(f"/p/{name}", name, b"a\n", None, False) for name in "ab")
    TextJournal(str(tmp_path)).note(first)
    with open(tmp_path / JOURNAL, "ab") as file:
        file.write(b'{"path": "/p/a')
    assert TextJournal(str(tmp_path)).changes(first.path) == [first]
    TextJournal(str(tmp_path)).note(second)
    assert TextJournal(str(tmp_path)).changes(second.path) == [second]


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b'{"path": 1, "change": "made"}',
        b'{"path": "a", "change": "x"}',
        b'{"path": "a", "change": "made", "added": "a"}',
    ],
)
def test_a_damaged_journal_is_named_with_its_line(tmp_path, line):
    (tmp_path / JOURNAL).write_bytes(line + b"\n")
    with pytest.raises(UserError, match=rf"{JOURNAL}:1: .*remove the file"):
        TextJournal(str(tmp_path)).changes("a")


def test_no_journal_costs_a_warning_only(tmp_path, caplog):
    (tmp_path / "target").write_bytes(b"")
    (tmp_path / JOURNAL).symlink_to("target")
    journal = TextJournal(str(tmp_path))
    for _ in range(2):
        journal.note(text_change("/p/a.txt", "a", b"a\n", None, False))
    assert len(caplog.records) == 1 and "--remove will leave these texts" in caplog.text
    assert (tmp_path / "target").read_bytes() == b""
