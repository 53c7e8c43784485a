import json
import os
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.commands.dry_run import dry_run_caption, dry_run_extract
from beam_pipeline.options.caption import CaptionOptions
from beam_pipeline.options.extract import ExtractOptions
from beam_pipeline.runtime.text import size_in_words
from beam_pipeline.shards.shard_id import ShardId
from training.errors import UserError
from training.models.caption_models import ModelConfig, build_model
from training.models.captioner import save_weights, write_config
from training.text.vocabulary import Vocabulary


def everything_below(folder: Path) -> dict[str, tuple[int, int]]:
    """Path -> (size, modification time) of all there is."""
    paths = [folder, *folder.rglob("*")]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in paths}


@pytest.fixture
def look(extract_settings, tmp_path, load_encoder):
    """Runs `extract --dry-run` on the good folder; returns its entries, and makes sure that nothing was written."""

    def look(**options):
        settings = {**extract_settings, "output": str(tmp_path / "features"), **options}
        before = everything_below(tmp_path)
        entries = dry_run_extract(ExtractOptions(**settings), PipelineOptions([]), load_encoder)
        assert everything_below(tmp_path) == before
        return dict(entries)

    return look


def test_of_a_new_collection(look, encoder, tmp_path, good, capsys):
    (good / "broken.jpg").write_bytes(b"no picture")
    entries = look()
    assert entries["listed"] == "21 inputs"
    assert entries["done already"] == "0: 0 done, 0 duplicate, 0 rejected"
    assert entries["new"].startswith("21;")
    assert entries["  run 1"] == "takes what is left, in at most 5 shards"
    assert "img/s, measured on 21 pictures, and " in entries["time"]
    assert entries["size"].startswith("about ") and entries["rejected"].startswith("1 of the 21 pictures, ")
    assert encoder.calls >= 20
    assert not (tmp_path / "features").exists()
    assert capsys.readouterr().out.startswith(
        f"dry run       extract into {tmp_path / 'features'}; nothing is written\n"
    )


def test_the_size_is_that_of_a_run(look, run_extract, tmp_path):
    size = look()["size"]
    run_extract()
    files = [*(tmp_path / "features").glob("*.tfrecord"), *(tmp_path / "features").glob("ledger-*")]
    assert size.startswith(f"about {size_in_words(sum(path.stat().st_size for path in files))}: ")


def test_of_a_finished_collection(look, run_extract, encoder):
    run_extract()
    encoder.calls = 0
    entries = look()
    assert entries["done already"] == "20: 20 done, 0 duplicate, 0 rejected"
    assert entries["  run 1"] == "20 inputs in its ledgers"
    assert entries["new"].startswith("0;")
    assert (entries["time"], entries["size"]) == ("nothing new to do", "nothing new to write")
    assert encoder.calls == 0


def test_of_a_killed_run_and_new_files(look, run_extract, good, noisy_jpeg, tmp_path):
    run_extract()
    lost = ShardId(1, 2, 4).ledger()
    in_lost = len((tmp_path / "features" / lost).read_text().splitlines())
    (tmp_path / "features" / lost).unlink()
    (good / "new.jpg").write_bytes(noisy_jpeg(1))
    kept = json.loads((tmp_path / "features" / ShardId(1, 1, 4).ledger()).read_text().splitlines()[0])
    os.remove(kept["uri"])
    entries = look()
    assert entries["done already"].startswith(f"{19 - in_lost}: ")
    assert entries["gone"].startswith("1 file no longer listed; ")
    assert entries["new"].startswith(f"{in_lost + 1};")
    assert entries["  run 2"].startswith("takes what is left")
    assert "measured on" in entries["time"]


def test_what_a_run_would_refuse_is_refused(look, run_extract, tmp_path):
    run_extract()
    other = tmp_path / "other.h5"
    other.write_bytes(b"\x89HDF\r\n\x1a\nother")
    with pytest.raises(UserError, match="holds features of InceptionV3"):
        look(weights=str(other))
    with pytest.raises(UserError, match="holds features with --augment 0"):
        look(augment=2)
    with pytest.raises(UserError, match="no such file or folder"):
        look(images=str(tmp_path / "none"))


def test_random_weights_are_fitted_and_forgotten(look, tmp_path, monkeypatch):
    fitted = []

    def fit(architecture, pixels):
        fitted.append(len(pixels))
        return b"statistics"

    monkeypatch.setattr("beam_pipeline.encoders.registry.fit_random_statistics", fit)
    assert "measured on 20" in look(weights="random")["time"]
    assert fitted == [20]


@pytest.mark.parametrize("source", ["images", "features"])
def test_of_captions(source, run_extract, good, weights, tmp_path, load_encoder):
    features = run_extract()
    captioner = tmp_path / "captioner"
    captioner.mkdir()
    words = Vocabulary(("red", "green", "blue", "dog", "cat", "runs"))
    config = ModelConfig("merge", len(words), embedding_size=8, hidden_size=16)
    save_weights(build_model(config, (2048,)), str(captioner))
    write_config(str(captioner), config, features.encoder, 6, 1, {})
    words.save(str(captioner / "vocabulary.txt"))
    given = {"images": str(good)} if source == "images" else {"features": features.path}
    options = CaptionOptions(captioner=str(captioner), output=str(tmp_path / "captions"), weights=str(weights), **given)
    before = everything_below(tmp_path)
    entries = dict(dry_run_caption(options, PipelineOptions([]), load_encoder))
    assert everything_below(tmp_path) == before
    assert entries["new"].startswith("20")
    # Of features, one shard gives the sample.
    assert "measured on 20 pictures" in entries["time"] if source == "images" else "measured on" in entries["time"]
    assert entries["size"].startswith("about ")
