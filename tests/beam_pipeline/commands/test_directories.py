import pytest

from beam_pipeline.commands.directories import CAPTIONER, CAPTIONS, FEATURES, is_locked, kind_of, read_ledgers
from beam_pipeline.shards.ledger import LedgerLine, to_jsonl
from beam_pipeline.shards.shard_id import ShardId
from training.errors import UserError
from training.files import locked


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["summary.json", ShardId(1, 0, 1).captions()], CAPTIONS),
        (["manifest.json"], FEATURES),
        ([ShardId(1, 0, 1).features()], FEATURES),
        (["config.json"], CAPTIONER),
    ],
)
def test_files_tell_what_a_directory_is(tmp_path, names, kind):
    for name in names:
        (tmp_path / name).touch()
    assert kind_of(str(tmp_path)) == kind


def test_another_directory_is_refused(tmp_path):
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(UserError, match="captionbeam made no file in it"):
        kind_of(str(tmp_path))


def test_the_newest_run_has_the_last_word(tmp_path):
    def line(name, outcome, reason=""):
        return LedgerLine(name, 1, 1, "ab", outcome, "read" if reason else "", reason)

    runs = [
        [line("a", "rejected", "gone"), line("b", "done"), line("c", "rejected", "gone")],
        [line("a", "done")],
        [line("b", "rejected", "changed"), line("d", "done")],
    ]
    for number, lines in enumerate(runs, start=1):
        (tmp_path / ShardId(number, 0, 1).ledger()).write_bytes(to_jsonl(lines))
    found = read_ledgers(str(tmp_path))
    assert found.outcomes == {"done": 2, "rejected": 2}
    assert found.reasons == {("read", "gone"): 1, ("read", "changed"): 1}


def test_a_lock_is_seen(tmp_path):
    assert is_locked(str(tmp_path)) is False
    with locked(str(tmp_path)):
        assert is_locked(str(tmp_path)) is True
    assert is_locked(str(tmp_path)) is False
    assert is_locked("s3://bucket/captions") is None
