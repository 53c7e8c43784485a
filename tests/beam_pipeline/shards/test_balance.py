"""Every listed input is done, a duplicate or rejected, and the user is told how many."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.shards.balance import add_up, balance_line, check_balance, notices, reasons_line
from beam_pipeline.shards.ledger import OUTCOMES, REJECTED, LedgerLine
from training.errors import JobFailed


def test_totals_join_earlier_and_new_outcomes():
    assert add_up({"listed": 6, "done": 2, "earlier_done": 3, "rejected": 1, "ignored_shadow": 4}) == {
        "listed": 6,
        "done": 5,
        "new_done": 2,
        "duplicate": 0,
        "new_duplicate": 0,
        "rejected": 1,
        "new_rejected": 1,
        "ignored_shadow": 4,
    }


@given(st.lists(st.tuples(st.sampled_from(OUTCOMES), st.booleans())))
def test_inputs_that_each_have_one_outcome_balance(inputs):
    counts = {"listed": len(inputs)}
    for outcome, is_new in inputs:
        name = outcome if is_new else f"earlier_{outcome}"
        counts[name] = counts.get(name, 0) + 1
    check_balance(add_up(counts), 1, "rejected.txt")


@pytest.mark.parametrize(
    ("counts", "line"),
    [
        ({}, "0 inputs = 0 done + 0 duplicates + 0 rejected (0 done in this run)"),
        ({"listed": 1, "done": 1}, "1 input = 1 done + 0 duplicates + 0 rejected (1 done in this run)"),
        (
            {"listed": 1202, "earlier_done": 1200, "duplicate": 1, "rejected": 1},
            "1,202 inputs = 1,200 done + 1 duplicate + 1 rejected (0 done in this run)",
        ),
    ],
)
def test_the_balance_in_a_line(counts, line):
    assert balance_line(add_up(counts)) == line


def test_notices_say_what_else_was_counted():
    assert notices({"listed": 3, "done": 3, "captions_repeated": 0}) == []
    assert notices({"pictures_without_caption": 1, "ignored_shadow": 1200, "ignored_other": 1}) == [
        "1,200 files and folders of thumbnails, trash or a system (such as @eaDir or ._NAME) were left out; to read "
        "one, give it alone as --images",
        "1 other file was ignored: its name is not that of an image",
        "1 picture has no caption",
    ]


def test_notices_name_the_first_examples():
    totals = {"captions_without_picture": 25, "caption_headings": 1, "captions_without_words": 2}
    gone = {"captions_without_picture": ["a.jpg", "b\n\x1b.jpg", "c.jpg", "d.jpg"], "caption_headings": ["c.txt:1: x"]}
    assert notices(totals, gone) == [
        "1 line of the caption file is a heading and was left out: c.txt:1: x",
        "2 captions without a word were left out",
        "25 captions name pictures that were not found: a.jpg, b\\n\\x1b.jpg, c.jpg, ...",
    ]


def test_totals_that_do_not_add_up_fail_the_job():
    with pytest.raises(JobFailed, match="the ledger does not balance: 3 inputs listed, 2 accounted for"):
        check_balance(add_up({"listed": 3, "done": 2}), 1, "rejected.txt")


@pytest.mark.parametrize(("rejected", "fails"), [(10, False), (11, True)])
def test_the_reject_rate_is_a_limit(rejected, fails):
    totals = add_up({"listed": 100, "done": 100 - rejected, "rejected": rejected})
    if fails:
        with pytest.raises(JobFailed, match=r"11 of 100 inputs were rejected, over the limit of 10%.*rejected.txt"):
            check_balance(totals, 0.1, "rejected.txt")
    else:
        check_balance(totals, 0.1, "rejected.txt")


def test_one_rejected_input_is_singular():
    with pytest.raises(JobFailed, match="1 of 2 inputs was rejected"):
        check_balance(add_up({"listed": 2, "done": 1, "rejected": 1}), 0.1, "rejected.txt")


def test_nothing_listed_is_no_division_by_zero():
    check_balance(add_up({}), 0.1, "rejected.txt")


def test_all_reasons_are_one_line_the_commonest_first():
    reasons = ["not an image"] * 3 + ["truncated"] * 2 + ["a", "b", "c", "c"]
    lines = [LedgerLine(f"{number}.jpg", 1, 1.0, "", REJECTED, "decode", text) for number, text in enumerate(reasons)]
    assert reasons_line(lines) == "3 decode: not an image, 2 decode: truncated, 2 decode: c, 2 for 2 other reasons"
    assert reasons_line(lines[:1]) == "1 decode: not an image"
    assert reasons_line([replace(lines[0], reason="a\x1b\nb")]) == "1 decode: a\\x1b\\nb"
