"""The extract pipeline end to end on real files, with an encoder that needs no weights."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from beam_pipeline.commands.verify import verify
from beam_pipeline.options.directories import VerifyOptions
from beam_pipeline.shards.feature_shard import read_feature_shard
from beam_pipeline.shards.ledger import read_ledger
from beam_pipeline.shards.manifest import require_ledgers
from beam_pipeline.shards.shard_id import ledger_paths
from training.data.feature_records import deserialize
from training.data.feature_set import load_feature_set
from training.errors import JobFailed, UserError


def ledger_of(features) -> dict[str, object]:
    return {os.path.basename(line.uri): line for path in ledger_paths(features.path) for line in read_ledger(path)}


def records_of(features) -> dict[str, object]:
    found = {}
    for path in load_feature_set(features.path).shard_paths():
        for serialized in tf.data.TFRecordDataset(path):
            record = deserialize(serialized.numpy())
            found[os.path.basename(record.uris[0])] = record
    return found


def test_every_picture_gets_its_own_feature(run_extract, colours):
    features = run_extract()
    records = records_of(features)
    assert len(records) == 20
    for number, colour in enumerate(colours):
        record = records[f"{number:02d}.jpg"]
        assert np.abs(record.feature[:3].astype(float) - colour).max() < 4
        assert (record.width, record.height) == (64, 64)


def test_broken_files_are_named_and_the_rest_is_done(run_extract, good, noisy_jpeg):
    whole = noisy_jpeg(0)
    (good / "cut.jpg").write_bytes(whole[: len(whole) * 6 // 10])
    (good / "page.jpg").write_bytes(b"<html>404</html>")
    features = run_extract()
    lines = ledger_of(features)
    assert features.totals["done"] == 20 and features.totals["rejected"] == 2
    assert features.totals["listed"] == 22 == len(lines)
    assert (lines["page.jpg"].outcome, lines["page.jpg"].stage) == ("rejected", "decode")
    assert "truncated" in lines["cut.jpg"].reason
    listed = Path(features.path, "rejected.txt").read_text().splitlines()
    assert listed == [str(good / "cut.jpg"), str(good / "page.jpg")]


def test_content_decides_not_the_name(run_extract, good):
    for name, kind in (("p.jpg", "PNG"), ("j.png", "JPEG"), ("w.jpg", "WEBP")):
        Image.new("RGB", (64, 64), (len(name), 3, ord(kind[0]))).save(good / name, kind)
    assert run_extract().totals["done"] == 23


def test_a_second_run_opens_no_image(run_extract, good, encoder, contents_of):
    first = contents_of(run_extract().path)
    for path in good.iterdir():
        path.chmod(0)  # for other users than root this also proves that nothing is read
    again = run_extract()
    assert encoder.calls == 0
    assert {name: data for name, data in contents_of(again.path).items() if name != "manifest.json"} == {
        name: data for name, data in first.items() if name != "manifest.json"
    }
    assert again.totals["new_done"] == 0 and again.totals["done"] == 20


def test_new_files_alone_are_encoded(run_extract, good, encoder, contents_of, noisy_jpeg):
    before = contents_of(run_extract().path)
    for number in range(10):
        (good / f"new{number}.jpg").write_bytes(noisy_jpeg(number))
    features = run_extract()
    assert encoder.calls == 10
    after = contents_of(features.path)
    assert all(after[name] == data for name, data in before.items() if name != "manifest.json")
    assert (features.totals["listed"], features.totals["done"], features.totals["new_done"]) == (30, 30, 10)


def test_one_content_is_encoded_once(run_extract, good, encoder):
    (good / "copy.jpg").write_bytes((good / "00.jpg").read_bytes())
    features = run_extract()
    assert (features.totals["done"], features.totals["duplicate"], encoder.calls) == (20, 1, 20)
    assert [os.path.basename(uri) for uri in records_of(features)["00.jpg"].uris] == ["00.jpg", "copy.jpg"]
    (good / "later.jpg").write_bytes((good / "00.jpg").read_bytes())
    features = run_extract()
    assert (features.totals["duplicate"], encoder.calls) == (2, 0)


def test_a_killed_run_is_finished_with_the_same_bytes(run_extract, encoder, contents_of):
    """A shard without its ledger is what a kill leaves behind, with or without its data."""
    undisturbed = run_extract()
    whole = contents_of(undisturbed.path)
    for lost in (["0001-00001-of-00004"], ["0001-00000-of-00004", "0001-00003-of-00004"]):
        for shard in lost:
            os.remove(os.path.join(undisturbed.path, f"ledger-{shard}.jsonl"))
        os.remove(os.path.join(undisturbed.path, "manifest.json"))
        Path(undisturbed.path, ".captionbeam-0123456789abcdef.tmp").write_bytes(b"half")
        repaired = run_extract()
        assert 0 < encoder.calls < 20
        assert contents_of(repaired.path).keys() == whole.keys()
        for name, data in contents_of(repaired.path).items():
            if name != "manifest.json":
                assert data == whole[name], name
        assert repaired.shards == undisturbed.shards


def test_new_files_do_not_disturb_an_unfinished_run(run_extract, good, contents_of, noisy_jpeg):
    first = run_extract()
    whole = contents_of(first.path)
    os.remove(os.path.join(first.path, "ledger-0001-00002-of-00004.jsonl"))
    for number in range(8):
        (good / f"new{number}.jpg").write_bytes(noisy_jpeg(number))
    features = run_extract()
    assert features.totals["done"] == 28
    for name in whole:
        if "-00002-of-" not in name and name != "manifest.json":
            assert contents_of(features.path)[name] == whole[name], name


def test_a_cut_shard_alone_is_made_again(run_extract, encoder, contents_of):
    features = run_extract()
    whole = contents_of(features.path)
    cut = os.path.join(features.path, features.shards[1].name)
    os.truncate(cut, os.path.getsize(cut) - 10)
    with pytest.raises(
        JobFailed, match=rf"{features.shards[1].name}.*run the same `captionbeam extract` command again"
    ):
        load_feature_set(features.path).shard_paths()
    run_extract()
    assert encoder.calls == features.shards[1].records
    assert contents_of(features.path)[features.shards[1].name] == whole[features.shards[1].name]


def test_a_shard_damaged_inside_is_made_again_by_the_command_that_its_reader_names(run_extract, encoder, contents_of):
    features = run_extract()
    whole = contents_of(features.path)
    damaged = features.shards[1].name
    path = Path(features.path, damaged)
    data = bytearray(path.read_bytes())
    data[100:110] = b"\xff" * 10
    path.write_bytes(data)
    with pytest.raises(JobFailed, match=rf"{damaged}: damaged shard; run the same `captionbeam extract` command again"):
        list(read_feature_shard(str(path)))
    with pytest.raises(JobFailed, match="1 problem"):
        verify(VerifyOptions(features.path, sample=0))
    run_extract()
    assert encoder.calls == features.shards[1].records
    assert contents_of(features.path).keys() == whole.keys(), "the note is gone"
    assert path.read_bytes() == whole[damaged]
    run_extract()
    assert encoder.calls == 0


def test_pictures_of_a_lost_shard_are_made_again_from_where_their_files_are_now(run_extract, good, encoder):
    features = run_extract()
    os.utime(good / "00.jpg", (1, 1))  # touched: a later run lists it anew
    for number in range(1, 20):
        (good / f"{number:02d}.jpg").rename(good / f"moved{number:02d}.jpg")
    run_extract()
    lost = features.shards[1]
    Path(features.path, lost.name.replace("features", "ledger").replace("tfrecord", "jsonl")).unlink()
    again = run_extract()
    assert encoder.calls == lost.records
    assert again.records == 20
    verify(VerifyOptions(features.path, sample=0))
    require_ledgers(again)
    run_extract()
    assert encoder.calls == 0


def test_a_touched_file_stays_done_and_is_not_encoded_again(run_extract, good, encoder):
    run_extract()
    os.utime(good / "00.jpg", (1, 1))
    features = run_extract()
    assert (features.totals["done"], features.totals["duplicate"], encoder.calls) == (20, 0, 0)
    assert run_extract().totals["new_done"] == 0


def test_another_encoder_is_refused(run_extract, weights):
    run_extract()
    weights.write_bytes(weights.read_bytes() + b"others")
    with pytest.raises(UserError, match=r"holds features of InceptionV3 \w+ .* would add those of InceptionV3 \w+"):
        run_extract()


def test_too_many_rejects_fail_the_job_and_keep_what_worked(run_extract, good, encoder):
    for number in range(5):
        (good / f"bad{number}.jpg").write_bytes(b"no image")
    with pytest.raises(JobFailed, match=r"5 of 25 inputs were rejected, over the limit of 10%") as raised:
        run_extract()
    assert raised.value.exit_status == 1
    assert run_extract(max_reject_rate=0.5).totals["done"] == 20
    assert encoder.calls == 0


def test_rejected_inputs_are_taken_up_again_on_request(run_extract, good, jpeg):
    (good / "bad.jpg").write_bytes(b"no image")
    features = run_extract()
    status = (good / "bad.jpg").stat()
    (good / "bad.jpg").write_bytes(jpeg("red"))  # repaired, though its size and time will say that nothing happened
    with open(good / "bad.jpg", "r+b") as file:
        file.truncate(status.st_size)
    os.utime(good / "bad.jpg", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert run_extract().totals["new_rejected"] == 0
    features = run_extract(images=os.path.join(features.path, "rejected.txt"), retry_rejected=True, max_reject_rate=1)
    assert (features.totals["listed"], features.totals["new_rejected"]) == (1, 1)


def test_an_empty_folder_is_said_plainly(tmp_path, run_extract):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no image in there$"):
        run_extract(images=str(tmp_path / "empty"))
    (tmp_path / "empty" / "notes.txt").write_text("x")
    with pytest.raises(UserError, match="no image in there, only 1 other file"):
        run_extract(images=str(tmp_path / "empty"))
    assert not (tmp_path / "features").exists()


def test_captions_travel_with_the_features(run_extract, good, tmp_path):
    (tmp_path / "captions.csv").write_text(
        "image,caption\n" + "".join(f"{n:02d}.jpg,picture {n}\n" for n in range(1, 20)) + "x.jpg,lost\n"
    )
    features = run_extract(captions=str(tmp_path / "captions.csv"))
    records = records_of(features)
    assert records["07.jpg"].captions == ("picture 7",)
    assert records["00.jpg"].captions == ()
    assert features.totals["captions_without_picture"] == 1 == features.totals["pictures_without_caption"]
    assert features.notes["captions_without_picture"] == ["x.jpg"]
    assert features.captions == 19


def test_the_manifest_is_json_with_all_that_the_contract_names(run_extract, encoder):
    features = run_extract()
    document = json.loads(Path(features.path, "manifest.json").read_text())
    assert {"schema_version", "encoder", "shards", "totals"} <= document.keys()
    assert {"architecture", "weights_sha256", "input_size", "resize", "precision", "feature_kind"} <= document[
        "encoder"
    ].keys()
    assert sum(shard["records"] for shard in document["shards"]) == 20
    assert all(len(shard["sha256"]) == 64 for shard in document["shards"] if shard["records"])


def test_augmented_features_hold_the_augmented_views(run_extract, encoder):
    features = run_extract(augment=2)
    assert encoder.calls == 60
    assert features.augment == 2 and load_feature_set(features.path) == features
    records = records_of(features).values()
    assert {record.views.shape for record in records} == {(2, 2048)}
    assert all(np.abs(record.views[:, :3] - record.feature[:3]).max() < 1 for record in records)  # of one colour
    with pytest.raises(
        UserError,
        match="holds features with --augment 2, and this run has --augment 0; choose another",
    ):
        run_extract(augment=0)


def test_features_of_two_layers_do_not_mix(run_extract):
    run_extract(layer="mixed9")
    with pytest.raises(UserError, match=r"mixed9 pooled.*mixed10 pooled"):
        run_extract(layer="mixed10")


def test_a_manifest_from_before_layers_means_the_last_one(run_extract, edit_document):
    features = run_extract(layer="mixed10")
    path = Path(features.path) / "manifest.json"
    document = json.loads(path.read_text())
    del document["encoder"]["layer"]
    edit_document(path, encoder=document["encoder"], augment=None)
    assert load_feature_set(features.path) == features
