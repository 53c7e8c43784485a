"""The demo end to end at a small size: every stage for real, random encoder weights included."""

import json
import os
from dataclasses import replace

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.demo import demo as demo_module
from beam_pipeline.demo.demo import choose_weights, demo, plural_of, training_options
from beam_pipeline.options.demo import DemoOptions
from training.errors import UserError
from training.own_names import (
    CAPTIONER,
    CAPTIONS,
    CONFIDENCE,
    FEATURES,
    METRICS,
    REPORT,
    SCORE_DOCUMENT,
    SCORES,
    belongs,
)


def test_the_demo_runs_every_stage_and_a_second_time_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demo_module, "training_options", lambda *given: replace(training_options(*given), epochs=2))
    options = DemoOptions(output=str(tmp_path / "demo"), pictures=40, weights="random", seed=1)
    scores = demo(options, PipelineOptions([]))
    said = capsys.readouterr().out
    assert "random weights" in said
    lines = said.splitlines()
    table = lines.index("  named correctly   by the captions   by always the commonest word")
    assert [line.split()[0] for line in lines[table + 1 : table + 3]] == ["colour", "shape"]
    assert f"{tmp_path / 'demo' / 'captions' / 'report.html'}: report of all captions and words" in lines
    assert (tmp_path / "demo" / "captions" / "report.html").exists()
    assert scores.pictures == len((tmp_path / "demo" / "collection" / "test.txt").read_text().split())
    assert 0 <= scores.colour <= 1
    manifest = json.loads((tmp_path / "demo" / "features" / "manifest.json").read_text())
    assert (manifest["totals"]["listed"], manifest["totals"]["done"]) == (40, 40)
    assert (tmp_path / "demo" / "captions" / "word_importance.csv").exists()

    kinds = {"features": FEATURES, "captioner": CAPTIONER, "captions": CAPTIONS, "scores": SCORES}
    written = {(kind, name) for folder, kind in kinds.items() for name in os.listdir(tmp_path / "demo" / folder)}
    assert {name for kind, name in written if not belongs(name, kind)} == {".lock"}
    assert {(CAPTIONER, METRICS), (CAPTIONER, CONFIDENCE), (CAPTIONS, REPORT), (SCORES, SCORE_DOCUMENT)} <= written

    monkeypatch.setenv("PATH", "")  # without Java: METEOR, which takes ten seconds, has been counted once
    again = demo(options, PipelineOptions([]))
    said = capsys.readouterr().out
    assert again == scores
    assert "(0 done in this run)" in said
    assert "training is finished already" in said

    with pytest.raises(
        UserError, match="holds a demo with --pictures 40, --seed 1, --weights random, not --pictures 50, --seed 0"
    ):
        demo(DemoOptions(output=options.output, pictures=50, weights="random"), PipelineOptions([]))


def test_plurals_are_spelt_as_the_captions_spell_them():
    assert [plural_of(word) for word in ("circle", "cross", "star")] == ["circles", "crosses", "stars"]


def test_weights_are_described_to_the_user():
    assert choose_weights("imagenet") == ("imagenet", "InceptionV3 with Keras' ImageNet weights")
    assert choose_weights("/w.h5") == ("/w.h5", "InceptionV3 with the weights in /w.h5")
    assert choose_weights("random")[1] == "InceptionV3 with random weights, batch normalization fitted to the scenes"
