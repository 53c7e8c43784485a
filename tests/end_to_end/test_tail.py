"""An encoder whose last blocks learn with the captioner, from pictures to captions, with a small network."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.caption_images import caption
from beam_pipeline.commands.inspect import inspect
from beam_pipeline.commands.verify import verify
from beam_pipeline.encoders import registry
from beam_pipeline.encoders.architectures.inception_v3 import InceptionV3
from beam_pipeline.encoders.registry import load_encoder
from beam_pipeline.extract_features import extract
from beam_pipeline.options.caption import CaptionOptions
from beam_pipeline.options.directories import InspectOptions, VerifyOptions
from beam_pipeline.options.extract import ExtractOptions
from training.errors import JobFailed
from training.models.captioner import load_captioner
from training.options import PresenceOptions, TrainOptions
from training.train import train

TAIL = "encoder_tail.npz"


class Small(InceptionV3):
    """Grids of InceptionV3's shapes after mixed8, mixed9 and mixed10, from few multiplications."""

    def build(self):
        import keras

        def block(values, channels, name):
            values = keras.layers.Conv2D(channels, 1, use_bias=False, kernel_initializer="he_normal")(values)
            values = keras.layers.Activation("relu")(keras.layers.BatchNormalization(scale=False)(values))
            return keras.layers.Concatenate(name=name)([values])

        keras.utils.set_random_seed(0)
        picture = keras.Input([299, 299, 3])
        values = keras.layers.AveragePooling2D(37, 37)(picture)
        for name, channels in (("mixed8", 1280), ("mixed9", 2048), ("mixed10", 2048)):
            values = block(values, channels, name)
        return keras.Model(picture, values)


@pytest.fixture
def extract_grids(tmp_path, draw_squares, monkeypatch):
    """Function (options) -> FeatureSet of 12 pictures of one colour each, with captions."""
    monkeypatch.setitem(registry.ARCHITECTURES, "InceptionV3", Small())
    folder, weights = tmp_path / "photos", tmp_path / "small.weights.h5"
    folder.mkdir()
    Small().build().save_weights(weights)
    lines = [
        f"{name},a {'dark' if red < 100 else 'light'} square" for name, (red, *_) in draw_squares(folder, 12).items()
    ]
    for name in ("copy.png", "broken.png"):
        (folder / name).unlink()
    (tmp_path / "captions.csv").write_text("\n".join(["image,caption", *lines]))

    def run(output="features", **changed):
        options = ExtractOptions(
            images=str(folder),
            output=str(tmp_path / output),
            captions=str(tmp_path / "captions.csv"),
            weights=str(weights),
        )
        return extract(replace(options, **changed), PipelineOptions([]), load_encoder)

    return run


def test_captions_are_the_same_from_pictures_and_from_features(extract_grids, tmp_path):
    features = extract_grids(precision="bfloat16")
    assert (features.encoder.layer, features.encoder.feature_shape) == ("mixed8", (64, 1280))
    output = str(tmp_path / "captioner")
    options = TrainOptions(features.path, output, hidden_size=16, embedding_size=8, epochs=1, self_critical_epochs=0)
    presence = PresenceOptions(members=1, hidden_size=8, epochs=1)
    train(replace(options, min_count=1, tail="mixed9", tail_warm_up=0.0, presence=presence))
    model = load_captioner(output).model
    assert model.seen_shape == (64, 2048) and model.config.tail[-1].name == "mixed9"
    shown = inspect(InspectOptions(output))
    parameters = 1280 * 2048 + 2048
    blocks = {"names": ["mixed9"], "trained": True, "parameters": parameters, "precision": "bfloat16"}
    assert shown["encoder_blocks"] == blocks and shown["size_bytes"] > 4 * parameters
    said = {}
    for source in (
        {"features": features.path},
        {"images": str(tmp_path / "photos"), "weights": features.encoder.weights},
    ):
        directory = tmp_path / f"captions-{next(iter(source))}"
        caption(CaptionOptions(captioner=output, output=str(directory), **source), PipelineOptions([]), load_encoder)
        lines = [line for path in directory.glob("captions-*.jsonl") for line in path.read_text().splitlines()]
        said[next(iter(source))] = {row.pop("sha256"): row for row in map(json.loads, lines)}
    assert len(said["images"]) == 12 and said["images"] == said["features"]


def test_the_tail_of_a_feature_set_is_made_again_where_it_is_not_what_was_written(extract_grids, tmp_path, capsys):
    features = extract_grids()
    path = Path(features.path, TAIL)
    assert inspect(InspectOptions(features.path))["encoder_tail_bytes"] == path.stat().st_size
    tail, written = path.read_bytes(), path.stat().st_mtime_ns
    assert hashlib.sha256(tail).hexdigest() == features.tail_sha256
    assert extract_grids().tail_sha256 == features.tail_sha256 and path.stat().st_mtime_ns == written
    for damage, told in ((path.unlink, "is missing"), (lambda: path.write_bytes(b"other"), "its checksum is not that")):
        damage()
        with pytest.raises(JobFailed):
            verify(VerifyOptions(features.path, sample=0), load_encoder)
        assert f"{path}: {told}" in capsys.readouterr().out
        assert extract_grids().tail_sha256 == features.tail_sha256 and path.read_bytes() == tail
    assert verify(VerifyOptions(features.path, sample=0), load_encoder).problems == []
    assert not extract_grids("pooled", feature_kind="pooled").tail_sha256
    assert not (tmp_path / "pooled" / TAIL).exists()


def test_a_directory_that_an_earlier_version_began_with_mixed9_goes_on(extract_grids, tmp_path, jpeg):
    first = extract_grids(layer="mixed9")
    Path(first.path, TAIL).unlink()
    (tmp_path / "photos" / "new.jpg").write_bytes(jpeg((1, 2, 3)))
    second = extract_grids()
    assert second.encoder == first.encoder and second.records == first.records + 1
    Path(first.path, "manifest.json").unlink()
    assert extract_grids().encoder == first.encoder
    assert np.load(Path(first.path, TAIL)).files == ["operations", "kernel_1", "bias_1"]
