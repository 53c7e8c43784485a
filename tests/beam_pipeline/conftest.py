"""A folder of small pictures, an encoder that needs no weights, and an untrained captioner: all that pipelines need."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from PIL import Image

from beam_pipeline.extract_features import ExtractOptions, extract
from beam_pipeline.ledger import to_jsonl
from beam_pipeline.sharding import ShardId

COLOURS = [(12 * number, 255 - 12 * number, (40 * number) % 256) for number in range(20)]


class MeanColour:
    """A feature that tells which picture it came from: the mean colour in the first three channels."""

    calls = 0

    def encode(self, pixels):
        type(self).calls += len(pixels)
        features = np.zeros([len(pixels), 2048], np.float16)
        features[:, :3] = pixels.mean(axis=(1, 2))
        return features


@pytest.fixture
def encoder():
    """The class of the stand-in encoder; `calls` counts the pictures that it has seen in this test."""
    MeanColour.calls = 0
    return MeanColour


@pytest.fixture
def load_encoder(encoder):
    return lambda spec: encoder()


@pytest.fixture(scope="session")
def colours():
    return COLOURS


@pytest.fixture(scope="session")
def jpeg():
    """colour -> JPEG of one colour, 64x64."""

    def jpeg(colour) -> bytes:
        buffer = io.BytesIO()
        Image.new("RGB", (64, 64), colour).save(buffer, "JPEG")
        return buffer.getvalue()

    return jpeg


@pytest.fixture(scope="session")
def noisy_jpeg():
    """seed -> JPEG of noise, 64x48; no two alike."""

    def noisy_jpeg(seed: int) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(buffer, "JPEG")
        return buffer.getvalue()

    return noisy_jpeg


@pytest.fixture
def good(tmp_path, jpeg) -> Path:
    """A folder of 20 one-coloured pictures, so that one bad file stays under the reject rate."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, colour in enumerate(COLOURS):
        (folder / f"{number:02d}.jpg").write_bytes(jpeg(colour))
    return folder


@pytest.fixture
def weights(tmp_path) -> Path:
    path = tmp_path / "weights.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + b"stand-in")
    return path


@pytest.fixture
def run_extract(good, weights, tmp_path, encoder, load_encoder):
    """Runs `extract` on the good folder into tmp_path/OUTPUT with the stand-in encoder; options can be overridden."""

    def run(output="features", **options):
        encoder.calls = 0
        settings = {
            "images": str(good),
            "weights": str(weights),
            "feature_kind": "pooled",
            "precision": "float32",
            "shard_size": 5,
            "output": str(tmp_path / output),
        }
        return extract(ExtractOptions(**{**settings, **options}), PipelineOptions([]), load_encoder)

    return run


@pytest.fixture
def files_of():
    """directory -> {name: content} of its files, the lock left out."""

    def files_of(directory) -> dict[str, bytes]:
        paths = sorted(path for path in Path(directory).iterdir() if path.is_file() and path.name != ".lock")
        return {path.name: path.read_bytes() for path in paths}

    return files_of


@pytest.fixture
def captions(tmp_path):
    """Writes the shards of a finished captions directory, a run each; returns the directory."""
    directory = tmp_path / "captions"

    def write(*runs):
        directory.mkdir(exist_ok=True)
        for number, (pictures, lines) in enumerate(runs, start=1):
            shard = ShardId(number, 0, 1)
            rows = "".join(json.dumps(picture.to_json()) + "\n" for picture in pictures)
            (directory / shard.captions()).write_text(rows)
            (directory / shard.ledger()).write_bytes(to_jsonl(lines))
        (directory / "summary.json").write_text(json.dumps({"pictures": 1, "made_with": {}, "evidence": []}))
        for name in ("word_importance.parquet", "bigram_importance.parquet"):
            (directory / name).write_bytes(b"")
        return str(directory)

    return write
