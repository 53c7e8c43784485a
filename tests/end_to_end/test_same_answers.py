"""What makes a job fast changes none of its answers: same captions and counts, however the work is cut and spread."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.caption_images import caption
from beam_pipeline.captions import decoder
from beam_pipeline.captions import shard as captioned_shard
from beam_pipeline.encoders.base import EncoderRequest
from beam_pipeline.encoders.registry import resolve_encoder
from beam_pipeline.options.caption import CaptionOptions
from beam_pipeline.runtime import grouping as packed_grouping
from beam_pipeline.shards import encoding as reading
from training.models.caption_models import ModelConfig, build_model
from training.models.captioner import save_weights, write_config
from training.text.vocabulary import Vocabulary

TABLES = ("word_importance.csv", "bigram_importance.csv", "word_evidence.jsonl")


@pytest.fixture(scope="module")
def settings(tmp_path_factory, jpeg, colours):
    """Of a captioning: a folder, weights that no encoder reads, and an untrained captioner for them."""
    folder = tmp_path_factory.mktemp("same_answers")
    (folder / "photos").mkdir()
    for number, colour in enumerate(colours):
        (folder / "photos" / f"{number:02d}.jpg").write_bytes(jpeg(colour))
    weights = folder / "weights.h5"
    weights.write_bytes(b"\x89HDF\r\n\x1a\nstand-in")
    path = folder / "captioner"
    path.mkdir()
    vocabulary = Vocabulary(("red", "green", "blue", "dog", "cat", "runs", "jumps", "sits"))
    config = ModelConfig("merge", len(vocabulary), embedding_size=8, hidden_size=16)
    save_weights(build_model(config, (2048,)), str(path))
    spec = resolve_encoder(
        EncoderRequest(str(weights), "pooled", "mixed9", "float32"), str(folder), lambda: np.zeros(0)
    )
    write_config(str(path), config, spec.identity, 6, 1, {})
    vocabulary.save(str(path / "vocabulary.txt"))
    return {"captioner": str(path), "images": str(folder / "photos"), "weights": str(weights)}


def answers(settings, output, load_encoder, beam_options=(), shard_size=6):
    """Captions the folder -> what is said of each picture, and the tables."""
    options = CaptionOptions(**settings, output=str(output), shard_size=shard_size, report=False)
    caption(options, PipelineOptions(list(beam_options)), load_encoder)
    lines = [line for path in Path(options.output).glob("captions-*") for line in path.read_text().splitlines()]
    rows = sorted((json.loads(line) for line in lines), key=lambda row: row["sha256"])
    return rows, {name: (Path(options.output) / name).read_bytes() for name in TABLES}


@pytest.fixture(scope="module")
def expected(settings, tmp_path_factory, mean_colour):
    """The answers of a job as it comes."""
    return answers(settings, tmp_path_factory.mktemp("plain"), lambda spec: mean_colour())


@pytest.fixture
def changed_answers(settings, tmp_path, load_encoder):
    return partial(answers, settings, tmp_path / "changed", load_encoder)


def test_batches_and_threads(expected, changed_answers, monkeypatch):
    for module in (captioned_shard, decoder):
        monkeypatch.setattr(module, "DECODER_BATCH", 3)
    monkeypatch.setattr(reading, "ENCODER_BATCH", 3)
    monkeypatch.setattr(reading, "READING_THREADS", 7)
    monkeypatch.setattr(reading, "_BATCHES_AHEAD", 1)
    monkeypatch.setattr(packed_grouping, "_HELD", 2)  # pictures in a block
    assert changed_answers() == expected


@pytest.mark.parametrize("shard_size", [1, 20])
def test_shards(expected, changed_answers, shard_size):
    assert changed_answers(shard_size=shard_size) == expected


@pytest.mark.parametrize(
    "beam_options",
    [
        ("--direct_num_workers=3", "--direct_running_mode=multi_threading"),
        ("--direct_num_workers=2", "--direct_running_mode=multi_processing"),
    ],
    ids=["threads", "processes"],
)
def test_workers(expected, changed_answers, beam_options):
    assert changed_answers(beam_options) == expected
