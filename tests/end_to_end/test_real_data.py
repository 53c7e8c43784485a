"""The stages on real photos, real weights and files that break image tools; skipped where the data is absent."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.caption_images import caption
from beam_pipeline.extract_features import extract
from beam_pipeline.options.caption import CaptionOptions
from beam_pipeline.options.extract import ExtractOptions
from beam_pipeline.shards.ledger import read_ledger
from beam_pipeline.shards.shard_id import ledger_paths
from training.data.caption_files import read_captions
from training.evaluate import evaluate
from training.options import EvaluateOptions, TrainOptions
from training.train import train

PHOTOS = 40


class Blank:
    """An encoder for tests that are about reading."""

    def encode(self, pixels):
        assert pixels.shape[1:] == (299, 299, 3)
        return np.zeros([len(pixels), 2048], np.float16)


def load_blank(spec):
    return Blank()


def test_every_awkward_file_is_done_or_rejected_with_a_reason(shared_data, tmp_path):
    folder = shared_data / "awkward"
    weights = tmp_path / "weights.h5"
    weights.write_bytes(b"\x89HDF\r\n\x1a\n")
    options = ExtractOptions(
        images=str(folder),
        output=str(tmp_path / "features"),
        weights=str(weights),
        feature_kind="pooled",
        max_reject_rate=1,
    )
    features = extract(options, PipelineOptions([]), load_blank)
    lines = {Path(line.uri).name: line for path in ledger_paths(features.path) for line in read_ledger(path)}
    assert lines.keys() == {path.name for path in folder.iterdir()} - {"INDEX.tsv"}
    with open(folder / "INDEX.tsv", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            line = lines[row["file"]]
            if row["pillow_status"] == "ok":
                assert line.outcome in ("done", "duplicate"), line
            elif line.outcome == "rejected":
                assert line.stage == "decode"
                assert 5 < len(line.reason) < 200
                assert "\n" not in line.reason


def test_both_caption_files_say_the_same(shared_data):
    flickr = shared_data / "flickr8k"
    kaggle = [(row.image, row.text) for row in read_captions(str(flickr / "captions.txt"))]
    present = {image for image, _ in kaggle}
    token = [(row.image, row.text) for row in read_captions(str(flickr / "Flickr8k.token.txt")) if row.image in present]
    assert len(kaggle) == 35_455
    assert sorted(kaggle) == sorted(token)


@pytest.fixture(scope="module")
def photos(shared_data, tmp_path_factory) -> tuple[Path, Path]:
    """A list of a few Flickr8k photos by path, and one by name."""
    folder = tmp_path_factory.mktemp("photos")
    chosen = sorted((shared_data / "flickr8k" / "Images").iterdir())[:PHOTOS]
    (folder / "paths.txt").write_text("".join(f"{path}\n" for path in chosen))
    (folder / "names.txt").write_text("".join(f"{path.name}\n" for path in chosen))
    return folder / "paths.txt", folder / "names.txt"


def test_photos_go_through_every_stage(shared_data, photos, tmp_path):
    paths, names = photos
    weights = str(shared_data / "inception_v3" / "inception_v3_2015_notop.weights.h5")
    features = extract(
        ExtractOptions(
            images=str(paths),
            output=str(tmp_path / "features"),
            captions=str(shared_data / "flickr8k" / "captions.txt"),
            weights=weights,
        ),
        PipelineOptions([]),
    )
    assert (features.totals["done"], features.captions) == (PHOTOS, 5 * PHOTOS)
    captioner = str(tmp_path / "captioner")
    train(
        TrainOptions(
            features=features.path,
            output=captioner,
            glove=str(shared_data / "glove" / "glove.6B.50d.subset.txt"),
            epochs=2,
            hidden_size=64,
            min_count=2,
        )
    )
    scores = evaluate(
        EvaluateOptions(captioner=captioner, features=features.path, list=str(names), output=str(tmp_path / "scores"))
    )
    assert scores["pictures"] == PHOTOS
    assert 0 <= scores["scores"]["CIDEr"] < 10
    results = json.loads((tmp_path / "scores" / "captions.json").read_text())
    assert len(results) == PHOTOS
    assert results[0].keys() == {"image_id", "caption"}

    from_images = caption(
        CaptionOptions(captioner=captioner, output=str(tmp_path / "a"), images=str(paths), weights=weights),
        PipelineOptions([]),
    )
    from_features = caption(
        CaptionOptions(captioner=captioner, output=str(tmp_path / "b"), features=features.path), PipelineOptions([])
    )
    assert from_images["captions"] == from_features["captions"] == PHOTOS
    assert (tmp_path / "a" / "word_importance.csv").read_bytes() == (
        tmp_path / "b" / "word_importance.csv"
    ).read_bytes()
