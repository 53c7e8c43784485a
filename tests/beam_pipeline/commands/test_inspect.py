import json
import shutil
from pathlib import Path

import pytest

from beam_pipeline.commands.inspect import ROWS_SHOWN, inspect, readable
from beam_pipeline.options.directories import InspectOptions
from training.errors import UserError


def test_a_feature_set(made, capsys):
    document = inspect(InspectOptions(str(made.root / "features"), json=True))
    assert json.loads(capsys.readouterr().out) == document
    assert (document["kind"], document["schema_version"], document["pictures"], document["captions"]) == (
        "feature set",
        1,
        20,
        20,
    )
    assert document["encoder"]["feature_kind"] == "pooled" and len(document["encoder"]["id"]) == 12
    assert document["size_bytes"] == sum(path.stat().st_size for path in (made.root / "features").glob("*.tfrecord"))
    assert document["totals"]["rejected"] == 1


def test_a_captioner_and_captions(made, capsys):
    captioner = inspect(InspectOptions(made.captioner))
    assert captioner["vocabulary"] == captioner["model"]["vocabulary_size"] and captioner["metrics"] is None
    assert captioner["size_bytes"] == sum(path.stat().st_size for path in Path(made.captioner).iterdir())
    assert captioner["encoder_blocks"] == {"names": [], "trained": False, "parameters": 0, "precision": None}
    captions = inspect(InspectOptions(str(made.root / "captions")))
    assert captions["made_with"]["model_id"] == captioner["model_id"]
    assert captions["captions"] == 20 and captions["top_words"]
    printed = capsys.readouterr().out
    assert "\nmodel_id" in printed and "\ntop_words\n  word" in printed


@pytest.mark.parametrize("output", ["features", "captions"])
def test_one_picture(made, output):
    directory = str(made.root / output)
    by_name = inspect(InspectOptions(directory, "03.jpg"))
    assert [Path(file["uri"]).name for file in by_name["files"]] == ["03.jpg"]
    assert inspect(InspectOptions(directory, by_name["sha256"])) == by_name
    assert inspect(InspectOptions(directory, by_name["sha256"][:12])) == by_name
    of_copy = inspect(InspectOptions(directory, "copy.jpg"))
    assert of_copy["sha256"] == inspect(InspectOptions(directory, "00.jpg"))["sha256"]
    if output == "features":
        assert by_name["captions"] == ["a dog runs"] and by_name["feature"]["shape"] == [2048]
    else:
        assert by_name["caption"] and by_name["score"] <= 0
    assert inspect(InspectOptions(directory, "broken.jpg"))["files"][0]["outcome"] == "rejected"


@pytest.mark.parametrize(
    ("output", "picture", "message"),
    [
        ("features", "none.jpg", "no ledger lists none.jpg; give a file name, a whole address or a sha256"),
        ("captioner", "03.jpg", "a captioner contains no pictures"),
        ("photos", None, "captionbeam made no file in it"),
    ],
)
def test_what_is_not_there_is_one_line(made, output, picture, message):
    with pytest.raises(UserError, match=message):
        inspect(InspectOptions(str(made.root / output), picture))


def test_a_lost_shard_is_named(made, tmp_path):
    features = Path(shutil.copytree(made.root / "features", tmp_path / "features"))
    shard = inspect(InspectOptions(str(features), "03.jpg"))["shard"]
    (features / shard).unlink()
    with pytest.raises(UserError, match=f"is in a ledger but not in {shard}; run captionbeam verify {features}"):
        inspect(InspectOptions(str(features), "03.jpg"))
    ledger = features / shard.replace("features", "ledger").replace("tfrecord", "jsonl")
    ledger.unlink()
    with pytest.raises(UserError, match=f"^{ledger}: is missing, and no other ledger lists 03.jpg; run the same "):
        inspect(InspectOptions(str(features), "03.jpg"))


def test_a_document_is_printed_as_names_and_values():
    rows = [{"name": f"shard {number}", "records": number} for number in range(ROWS_SHOWN + 1)]
    document = {"pictures": 1234, "empty": [], "whole": True, "encoder": {"layer": "mixed9"}, "share": 0.123456}
    assert list(readable(document | {"shards": rows})) == [
        "pictures  1,234",
        "empty     -",
        "whole     yes",
        "encoder",
        "  layer  mixed9",
        "share     0.1235",
        "shards",
        "  name      records",
        *(f"  shard {number:<2}  {number}" for number in range(ROWS_SHOWN)),
        "  ... and 1 more",
    ]
