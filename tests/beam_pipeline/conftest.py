"""A folder of small pictures, an encoder that needs no weights, and an untrained captioner: all that pipelines need."""

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from PIL import Image

from beam_pipeline.captioned_shard import write_words
from beam_pipeline.extract_features import ExtractOptions, extract
from beam_pipeline.ledger import DONE, REJECTED, LedgerLine, to_jsonl
from beam_pipeline.runs import Results, commit_shard
from beam_pipeline.sharding import ShardId
from beam_pipeline.word_outputs import ResultWriter
from beam_pipeline.word_statistics import CaptionedPicture

COLOURS = [(12 * number, 255 - 12 * number, (40 * number) % 256) for number in range(20)]


class MeanColour:
    """A feature that tells which picture it came from: the mean colour in the first three channels."""

    calls = 0

    def encode(self, pixels):
        type(self).calls += len(pixels)
        features = np.zeros([len(pixels), 2048], np.float16)
        features[:, :3] = pixels.mean(axis=(1, 2))
        return features


@pytest.fixture(scope="session")
def mean_colour():
    """The class of the stand-in encoder."""
    return MeanColour


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


@pytest.fixture
def results(tmp_path):
    """Writes a finished captions directory with its word tables, as `caption` does; returns it.

    Takes {path: caption} of pictures that are there, {path: reason} of rejected files, and settings of each picture:
    the score of its caption, its flags, and the presence of words.
    """

    def write(pictures, rejected=None, name="captions", scores=None, flags=None, presence=None):
        directory = tmp_path / name
        captioner = tmp_path / "captioner"
        for folder in (directory, captioner):
            folder.mkdir(exist_ok=True)
        found, lines = [], []
        for path, caption in pictures.items():
            sha256 = hashlib.sha256(Path(path).read_bytes()).hexdigest()
            evidence = None if presence is None else {"kinds": ["presence"], "words": presence.get(path, {})}
            score = (scores or {}).get(path, -0.5)
            found.append(CaptionedPicture(sha256, str(path), caption, score, (flags or {}).get(path, ()), evidence))
            lines.append(LedgerLine(str(path), 1, 1.0, sha256, DONE))
        lines += [LedgerLine(str(path), 1, 1.0, "", REJECTED, "decode", why) for path, why in (rejected or {}).items()]
        found.sort(key=lambda picture: picture.sha256)
        shard = ShardId(1, 0, 1)
        (directory / shard.captions()).write_text("".join(json.dumps(one.to_json()) + "\n" for one in found))
        statistics = write_words(shard, found, lines, str(directory))
        commit_shard(str(directory), shard, lines)
        made_with = {"model_id": "m1", "encoder_id": "e1", "beam_width": 3, "source": "images"}
        writer = ResultWriter(str(directory), str(captioner), None, made_with)
        outcomes = {"listed": len(lines), "done": len(found), "rejected": len(rejected or {})}
        writer.begin()
        writer.write(Results(list(statistics.terms.items()), statistics.counts | outcomes, {}))
        return directory

    return write
