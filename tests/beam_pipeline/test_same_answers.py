"""What makes a job fast changes none of its answers: same captions and counts, however the work is cut and spread."""

import json
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline import captioned_shard, decoder, packed_grouping, reading
from beam_pipeline.caption_images import CaptionOptions, caption
from training.captioner import save_weights, write_config
from training.models import ModelConfig, build_model
from training.vocabulary import Vocabulary

TABLES = ("word_importance.csv", "bigram_importance.csv", "word_evidence.jsonl")


@pytest.fixture
def captioner(tmp_path, run_extract):
    path = tmp_path / "captioner"
    path.mkdir()
    vocabulary = Vocabulary(("red", "green", "blue", "dog", "cat", "runs", "jumps", "sits"))
    config = ModelConfig("merge", len(vocabulary), embedding_size=8, hidden_size=16)
    save_weights(build_model(config, (2048,)), str(path))
    write_config(str(path), config, run_extract().encoder, 6, 1, {})
    vocabulary.save(str(path / "vocabulary.txt"))
    return str(path)


@pytest.fixture
def answers(tmp_path, captioner, good, weights, load_encoder):
    """Captions the good folder -> what is said of each picture, and the tables."""

    def run(output, beam_options=(), shard_size=6):
        options = CaptionOptions(
            captioner=captioner,
            output=str(tmp_path / output),
            images=str(good),
            weights=str(weights),
            shard_size=shard_size,
            report=False,
        )
        caption(options, PipelineOptions(list(beam_options)), load_encoder)
        lines = [line for path in Path(options.output).glob("captions-*") for line in path.read_text().splitlines()]
        rows = sorted((json.loads(line) for line in lines), key=lambda row: row["sha256"])
        return rows, {name: (Path(options.output) / name).read_bytes() for name in TABLES}

    return run


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param([(captioned_shard, "DECODER_BATCH", 3), (decoder, "DECODER_BATCH", 3)], id="decoder batch"),
        pytest.param([(reading, "ENCODER_BATCH", 3)], id="encoder batch"),
        pytest.param([(reading, "READING_THREADS", 7)], id="threads"),
        pytest.param([(reading, "_BATCHES_AHEAD", 1)], id="read ahead"),
        pytest.param([(packed_grouping, "_HELD", 2)], id="blocks"),
    ],
)
def test_batches_and_threads(answers, monkeypatch, changed):
    expected = answers("plain")
    for module, name, value in changed:
        monkeypatch.setattr(module, name, value)
    assert answers("changed") == expected


@pytest.mark.parametrize("shard_size", [1, 20])
def test_shards(answers, shard_size):
    assert answers("changed", shard_size=shard_size) == answers("plain")


@pytest.mark.parametrize(
    "beam_options",
    [
        ("--direct_num_workers=3", "--direct_running_mode=multi_threading"),
        ("--direct_num_workers=2", "--direct_running_mode=multi_processing"),
    ],
    ids=["threads", "processes"],
)
def test_workers(answers, beam_options):
    assert answers("changed", beam_options) == answers("plain")
