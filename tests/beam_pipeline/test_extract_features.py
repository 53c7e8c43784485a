"""The extract pipeline end to end on real files, with an encoder that needs no weights."""

import io
import json
import os

import numpy as np
import pytest
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions
from PIL import Image

from beam_pipeline.extract_features import ExtractOptions, extract
from beam_pipeline.ledger import read_ledger
from beam_pipeline.sharding import ledger_paths
from training.errors import JobFailed, UserError
from training.feature_records import deserialize
from training.feature_set import load_feature_set


class MeanColour:
    """A feature that tells which picture it came from: the mean colour in the first three channels."""

    calls = 0

    def encode(self, pixels):
        type(self).calls += len(pixels)
        features = np.zeros([len(pixels), 2048], np.float16)
        features[:, :3] = pixels.mean(axis=(1, 2))
        return features


def load_mean_colour(spec):
    return MeanColour()


COLOURS = [(12 * number, 255 - 12 * number, (40 * number) % 256) for number in range(20)]


def jpeg(colour) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(buffer, "JPEG")
    return buffer.getvalue()


def noisy_jpeg(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def good(tmp_path):
    """A folder of 20 one-coloured pictures, so that one bad file stays under the reject rate."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, colour in enumerate(COLOURS):
        (folder / f"{number:02d}.jpg").write_bytes(jpeg(colour))
    return folder


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights.h5"
    path.write_bytes(b"stand-in")
    return path


@pytest.fixture
def run(good, weights, tmp_path):
    def run(output="features", **options):
        MeanColour.calls = 0
        settings = {"images": str(good), "weights": str(weights), "feature_kind": "pooled", "precision": "float32", "shard_size": 5}
        return extract(
            ExtractOptions(**{**settings, "output": str(tmp_path / output), **options}), PipelineOptions([]), load_mean_colour
        )

    return run


def ledger_of(features) -> dict[str, object]:
    return {os.path.basename(line.uri): line for path in ledger_paths(features.path) for line in read_ledger(path)}


def records_of(features) -> dict[str, object]:
    found = {}
    for path in load_feature_set(features.path).shard_paths():
        for serialized in tf.data.TFRecordDataset(path):
            record = deserialize(serialized.numpy())
            found[os.path.basename(record.uris[0])] = record
    return found


def files_of(features) -> dict[str, bytes]:
    return {
        name: open(os.path.join(features.path, name), "rb").read()
        for name in sorted(os.listdir(features.path))
        if name != ".lock"
    }


def test_every_picture_gets_its_own_feature(run):
    features = run()
    records = records_of(features)
    assert len(records) == 20
    for number, colour in enumerate(COLOURS):
        record = records[f"{number:02d}.jpg"]
        assert np.abs(record.feature[:3].astype(float) - colour).max() < 4
        assert (record.width, record.height) == (64, 64)


def test_broken_files_are_named_and_the_rest_is_done(run, good):
    whole = noisy_jpeg(0)
    (good / "cut.jpg").write_bytes(whole[: len(whole) * 6 // 10])
    (good / "page.jpg").write_bytes(b"<html>404</html>")
    features = run()
    lines = ledger_of(features)
    assert features.totals["done"] == 20 and features.totals["rejected"] == 2
    assert features.totals["listed"] == 22 == len(lines)
    assert (lines["page.jpg"].outcome, lines["page.jpg"].stage) == ("rejected", "decode")
    assert "truncated" in lines["cut.jpg"].reason
    listed = (open(os.path.join(features.path, "rejected.txt"))).read().splitlines()
    assert listed == [str(good / "cut.jpg"), str(good / "page.jpg")]


def test_content_decides_not_the_name(run, good):
    for name, kind in (("p.jpg", "PNG"), ("j.png", "JPEG"), ("w.jpg", "WEBP")):
        Image.new("RGB", (64, 64), (len(name), 3, ord(kind[0]))).save(good / name, kind)
    assert run().totals["done"] == 23


def test_a_second_run_opens_no_image(run, good):
    first = files_of(run())
    for path in good.iterdir():
        path.chmod(0)  # for other users than root this also proves that nothing is read
    again = run()
    assert MeanColour.calls == 0
    assert {name: data for name, data in files_of(again).items() if name != "manifest.json"} == {
        name: data for name, data in first.items() if name != "manifest.json"
    }
    assert again.totals["new_done"] == 0 and again.totals["done"] == 20


def test_new_files_alone_are_encoded(run, good):
    before = files_of(run())
    for number in range(10):
        (good / f"new{number}.jpg").write_bytes(noisy_jpeg(number))
    features = run()
    assert MeanColour.calls == 10
    after = files_of(features)
    assert all(after[name] == data for name, data in before.items() if name != "manifest.json")
    assert (features.totals["listed"], features.totals["done"], features.totals["new_done"]) == (30, 30, 10)


def test_one_content_is_encoded_once(run, good):
    (good / "copy.jpg").write_bytes((good / "00.jpg").read_bytes())
    features = run()
    assert (features.totals["done"], features.totals["duplicate"], MeanColour.calls) == (20, 1, 20)
    assert [os.path.basename(uri) for uri in records_of(features)["00.jpg"].uris] == ["00.jpg", "copy.jpg"]
    (good / "later.jpg").write_bytes((good / "00.jpg").read_bytes())
    features = run()
    assert (features.totals["duplicate"], MeanColour.calls) == (2, 0)


@pytest.mark.parametrize("lost", [["ledger-0001-00001-of-00004.jsonl"], ["ledger-0001-00000-of-00004.jsonl", "ledger-0001-00003-of-00004.jsonl"]])
def test_a_killed_run_is_finished_with_the_same_bytes(run, lost):
    """A shard without its ledger is what a kill leaves behind, with or without its data."""
    undisturbed = run()
    whole = files_of(undisturbed)
    for name in lost:
        os.remove(os.path.join(undisturbed.path, name))
    os.remove(os.path.join(undisturbed.path, "manifest.json"))
    open(os.path.join(undisturbed.path, ".tmp-features-0001-half"), "wb").write(b"half")
    repaired = run()
    assert 0 < MeanColour.calls < 20
    assert files_of(repaired).keys() == whole.keys()
    for name, data in files_of(repaired).items():
        if name != "manifest.json":
            assert data == whole[name], name
    assert repaired.shards == undisturbed.shards


def test_new_files_do_not_disturb_an_unfinished_run(run, good):
    first = run()
    whole = files_of(first)
    os.remove(os.path.join(first.path, "ledger-0001-00002-of-00004.jsonl"))
    for number in range(8):
        (good / f"new{number}.jpg").write_bytes(noisy_jpeg(number))
    features = run()
    assert features.totals["done"] == 28
    for name in whole:
        if "-00002-of-" not in name and name != "manifest.json":
            assert files_of(features)[name] == whole[name], name


def test_a_cut_shard_alone_is_made_again(run):
    features = run()
    whole = files_of(features)
    cut = os.path.join(features.path, features.shards[1].name)
    os.truncate(cut, os.path.getsize(cut) - 10)
    with pytest.raises(JobFailed, match=rf"{features.shards[1].name}.*run the same `captionbeam extract` command again"):
        load_feature_set(features.path).shard_paths()
    run()
    assert MeanColour.calls == features.shards[1].records
    assert files_of(features)[features.shards[1].name] == whole[features.shards[1].name]


def test_another_encoder_is_refused(run, weights):
    run()
    weights.write_bytes(b"others")
    with pytest.raises(UserError, match=r"holds features of InceptionV3 \w+ .* would add those of InceptionV3 \w+"):
        run()


def test_too_many_rejects_fail_the_job_and_keep_what_worked(run, good):
    for number in range(5):
        (good / f"bad{number}.jpg").write_bytes(b"no image")
    with pytest.raises(JobFailed, match=r"5 of 25 inputs were rejected, over the limit of 10%") as raised:
        run()
    assert raised.value.exit_status == 1
    assert run(max_reject_rate=0.5).totals["done"] == 20
    assert MeanColour.calls == 0


def test_rejected_inputs_are_taken_up_again_on_request(run, good):
    (good / "bad.jpg").write_bytes(b"no image")
    features = run()
    status = (good / "bad.jpg").stat()
    (good / "bad.jpg").write_bytes(jpeg("red"))  # repaired, though its size and time will say that nothing happened
    with open(good / "bad.jpg", "r+b") as file:
        file.truncate(status.st_size)
    os.utime(good / "bad.jpg", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert run().totals["new_rejected"] == 0
    features = run(images=os.path.join(features.path, "rejected.txt"), retry_rejected=True, max_reject_rate=1)
    assert (features.totals["listed"], features.totals["new_rejected"]) == (1, 1)


def test_an_empty_folder_is_said_plainly(tmp_path, run):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no image in there$"):
        run(images=str(tmp_path / "empty"))
    (tmp_path / "empty" / "notes.txt").write_text("x")
    with pytest.raises(UserError, match="no image in there, only 1 other file"):
        run(images=str(tmp_path / "empty"))
    assert not (tmp_path / "features").exists()


def test_captions_travel_with_the_features(run, good, tmp_path):
    (tmp_path / "captions.csv").write_text("image,caption\n" + "".join(f"{n:02d}.jpg,picture {n}\n" for n in range(1, 20)) + "x.jpg,lost\n")
    features = run(captions=str(tmp_path / "captions.csv"))
    records = records_of(features)
    assert records["07.jpg"].captions == ("picture 7",)
    assert records["00.jpg"].captions == ()
    assert features.totals["captions_without_picture"] == 1 == features.totals["pictures_without_caption"]
    assert features.notes["captions_without_picture"] == ["x.jpg"]
    assert features.captions == 19


def test_the_manifest_is_json_with_all_that_the_contract_names(run):
    features = run()
    document = json.load(open(os.path.join(features.path, "manifest.json")))
    assert {"schema_version", "encoder", "shards", "totals"} <= document.keys()
    assert {"architecture", "weights_sha256", "input_size", "resize", "precision", "feature_kind"} <= document["encoder"].keys()
    assert sum(shard["records"] for shard in document["shards"]) == 20
    assert all(len(shard["sha256"]) == 64 for shard in document["shards"] if shard["records"])


def test_a_file_that_changes_while_the_job_runs_is_rejected(tmp_path):
    from beam_pipeline.collection import ask_file
    from beam_pipeline.planning import Picture
    from beam_pipeline.reading import read_picture

    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg("red"))
    read = read_picture(Picture("0" * 64, (ask_file(str(path)),)), 100)
    assert read.image is None
    assert [(line.outcome, line.stage) for line in read.lines] == [("rejected", "read")]
    assert "changed while the job ran" in read.lines[0].reason
