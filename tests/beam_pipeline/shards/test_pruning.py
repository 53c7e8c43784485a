"""Which ledger lines a prune keeps, and what becomes of the files of a picture."""

import dataclasses

import pytest

from beam_pipeline.inputs.input_file import InputFile
from beam_pipeline.shards.ledger import LedgerLine
from beam_pipeline.shards.pruning import KeptLine, KeptPicture, by_shard, keep_line, keep_picture
from beam_pipeline.shards.shard_id import ShardId


def line(uri: str, outcome: str = "done", sha256: str = "aa", mtime: float = 1.0) -> LedgerLine:
    return LedgerLine(uri, 1, mtime, sha256, outcome)


def file(uri: str, **settings) -> InputFile:
    return InputFile(uri, 1, 1.0, **settings)


@pytest.mark.parametrize(
    ("files", "lines", "unreadable", "kept"),
    [
        ([file("/p/a")], [("l1", line("/p/a"))], (), KeptLine(line("/p/a"), True, False)),
        ([file("/p/a", is_link=True)], [("l1", line("/p/a"))], (), KeptLine(line("/p/a"), True, True)),
        (
            [file("/p/a")],
            [("l2", line("/p/a")), ("l1", line("/p/a", "rejected"))],
            (),
            KeptLine(line("/p/a"), True, False),
        ),
        ([], [("l1", line("/p/a"))], (), None),  # gone
        ([], [("l1", line("/p/a"))], (b"/p",), KeptLine(line("/p/a"), False, False)),  # nobody knows
        ([file("/p/a")], [], (), None),  # came while the job ran
        ([file("/p/a")], [("l1", line("/p/a", mtime=2.0))], (), None),  # changed while the job ran
    ],
)
def test_what_is_listed_unchanged_is_kept_and_what_may_be_there(files, lines, unreadable, kept, split_outputs):
    main, counts, _ = split_outputs(keep_line((b"/p/a", {"inputs": files, "lines": lines}), unreadable))
    assert main == ([("aa", kept)] if kept else [])
    assert counts == ({"listed": 1} if kept and kept.is_listed else {})


def test_the_first_file_of_a_picture_is_done_and_the_others_are_duplicates(split_outputs):
    """The first by uri; links are never first, and a file that nobody knows of keeps its place but does not count."""
    lines = [
        KeptLine(line("/p/c"), True, False),
        KeptLine(line("/p/b", "duplicate"), False, False),
        KeptLine(line("/p/a", "duplicate"), True, True),
        KeptLine(line("/p/d", "rejected"), True, False),
    ]
    groups = {"lines": lines, "stored": ["ledger-0002-00000-of-00001.jsonl", "ledger-0001-00001-of-00002.jsonl"]}
    (picture,), counts, _ = split_outputs(keep_picture(("aa", groups)))
    assert [(one.uri, one.outcome) for one in picture.lines] == [
        ("/p/b", "done"),
        ("/p/c", "duplicate"),
        ("/p/d", "rejected"),
        ("/p/a", "duplicate"),
    ]
    assert picture.uris == ("/p/b", "/p/c", "/p/a")
    assert counts == {"earlier_duplicate": 2, "earlier_rejected": 1}
    assert by_shard([picture]) == {ShardId(1, 1, 2): {"aa": picture}}


def test_what_no_file_shows_any_more_is_let_go_of_and_what_is_rejected_has_nothing_stored(split_outputs):
    assert split_outputs(keep_picture(("aa", {"lines": [], "stored": ["ledger-0001-00000-of-00001.jsonl"]})))[0] == []
    rejected = KeptPicture("aa", (dataclasses.replace(line("/p/a"), outcome="rejected"),))
    assert rejected.shard is None and by_shard([rejected]) == {}
