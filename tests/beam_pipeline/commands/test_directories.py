import pytest

from beam_pipeline.cli import main
from beam_pipeline.commands.directories import is_locked, kind_of, read_ledgers, require_kind
from beam_pipeline.shards.ledger import LedgerLine, to_jsonl
from beam_pipeline.shards.shard_id import ShardId
from training.errors import UserError
from training.files import locked
from training.own_names import CAPTIONER, CAPTIONS, FEATURES, JOURNAL, belongs


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


@pytest.mark.parametrize(
    ("name", "other"), [("summary.json", ShardId(1, 0, 1).captions()), ("config.json", "captioner.weights.h5")]
)
def test_a_directory_without_the_file_that_tells_its_kind_is_told_by_its_name(tmp_path, name, other):
    (tmp_path / other).touch()
    with pytest.raises(UserError, match=rf"{name}: is missing; run the same `captionbeam \w+` command again"):
        kind_of(str(tmp_path))
    kinds = {"summary.json": CAPTIONS, "config.json": CAPTIONER}
    (tmp_path / name).symlink_to(tmp_path / "nothing")
    assert kind_of(str(tmp_path)) == kinds[name]


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


KINDS = {FEATURES: ["manifest.json"], CAPTIONS: ["summary.json"], CAPTIONER: ["config.json"]}


def test_all_that_the_commands_write_belongs_to_the_kind_of_the_directory(made, copy):
    captions = copy("captions")
    in_place = ["export", str(captions), "--format", "txt", "--in-place"]
    assert main(in_place) == main([*in_place, "--remove"]) == 0
    assert (captions / JOURNAL).exists() and not list(made.photos.glob("*.txt"))
    for folder, kind in ((made.root / "features", FEATURES), (captions, CAPTIONS)):
        names = {path.name for path in folder.iterdir()} - {".lock"}
        assert len(names) > 10 and {name for name in names if not belongs(name, kind)} == set()


@pytest.mark.parametrize("wanted", KINDS)
@pytest.mark.parametrize("found", KINDS)
def test_an_input_of_another_kind_is_refused(tmp_path, wanted, found):
    (tmp_path / KINDS[found][0]).write_text("")
    if wanted == found:
        require_kind(str(tmp_path), wanted, "DIR")
        return
    with pytest.raises(UserError, match=rf"^DIR {tmp_path}: holds .*{found}, not .*{wanted}; give a directory that"):
        require_kind(str(tmp_path), wanted, "DIR")


def test_an_input_of_no_kind_is_left_to_its_reader(tmp_path):
    require_kind(str(tmp_path / "none"), CAPTIONS, "DIR")
