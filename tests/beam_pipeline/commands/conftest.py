"""Fixtures: `made` (all that the pipelines make of 20 pictures), `copy` (of one directory, to be damaged), `load`."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.caption_images import caption
from beam_pipeline.extract_features import extract
from beam_pipeline.options.caption import CaptionOptions
from beam_pipeline.options.extract import ExtractOptions
from training.models.caption_models import ModelConfig, build_model
from training.models.captioner import save_weights, write_config
from training.text.vocabulary import Vocabulary


class MeanColour:
    """An encoder whose features are the mean colour of the picture, in the first three channels."""

    def encode(self, pixels):
        features = np.zeros([len(pixels), 2048], np.float16)
        features[:, :3] = pixels.mean(axis=(1, 2))
        return features


@pytest.fixture
def load():
    """What `extract`, `caption` and `verify` load an encoder with: it gives a `MeanColour`."""
    return lambda spec: MeanColour()


@pytest.fixture(scope="session")
def made(tmp_path_factory, jpeg, colours):
    """Features, a captioner, and captions from images and from features, of 20 pictures, a copy and a broken one."""
    root = tmp_path_factory.mktemp("made")
    photos = root / "photos"
    photos.mkdir()
    for number, colour in enumerate(colours):
        (photos / f"{number:02d}.jpg").write_bytes(jpeg(colour))
    (photos / "copy.jpg").write_bytes(jpeg(colours[0]))
    (photos / "broken.jpg").write_bytes(b"no picture")
    weights = root / "weights.h5"
    weights.write_bytes(b"\x89HDF\r\n\x1a\nstand-in")
    captions = root / "captions.csv"
    captions.write_text("image,caption\n" + "".join(f"{number:02d}.jpg,a dog runs\n" for number in range(20)))
    features = extract(
        ExtractOptions(
            images=str(photos),
            output=str(root / "features"),
            captions=str(captions),
            weights=str(weights),
            feature_kind="pooled",
            precision="float32",
            shard_size=5,
        ),
        PipelineOptions([]),
        lambda spec: MeanColour(),
    )
    captioner = root / "captioner"
    captioner.mkdir()
    words = Vocabulary(("red", "green", "blue", "dog", "cat", "runs", "jumps", "sits"))
    config = ModelConfig("merge", len(words), embedding_size=8, hidden_size=16)
    save_weights(build_model(config, (2048,)), str(captioner))
    trained_with = {"model": "merge", "epochs": 7, "self_critical_epochs": 0, "seed": 3, "glove": None}
    write_config(str(captioner), config, features.encoder, 6, 1, trained_with)
    words.save(str(captioner / "vocabulary.txt"))
    for name, source in (("captions", {"images": str(photos)}), ("of_features", {"features": features.path})):
        options = CaptionOptions(captioner=str(captioner), output=str(root / name), weights=str(weights), **source)
        caption(options, PipelineOptions([]), lambda spec: MeanColour())
    return SimpleNamespace(root=root, photos=photos, weights=str(weights), captioner=str(captioner))


@pytest.fixture
def copy(made, tmp_path) -> Callable[[str], Path]:
    """Copies an output of `made` by its name, so that a test may damage it."""

    def copy(name: str) -> Path:
        shutil.copytree(made.root / name, tmp_path / name)
        return tmp_path / name

    return copy


@pytest.fixture
def times_of() -> Callable[[Path], dict[str, int]]:
    """Gives the times of a directory and of its files, to see that a command writes nothing."""

    def times_of(directory: Path) -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in [directory, *directory.iterdir()]}

    return times_of
