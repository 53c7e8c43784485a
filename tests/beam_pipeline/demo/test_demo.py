"""The demo end to end at a small size: every stage for real, random encoder weights included."""

import json

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.demo.demo import demo, plural
from beam_pipeline.options.demo import DemoOptions
from training.errors import UserError


def test_the_demo_runs_every_stage_and_a_second_time_nothing(tmp_path, capsys, monkeypatch):
    options = DemoOptions(output=str(tmp_path / "demo"), pictures=40, weights="random", seed=1)
    scores = demo(options, PipelineOptions([]))
    said = capsys.readouterr().out
    assert "random weights" in said
    assert "colour named right" in said
    assert "shape named right" in said
    assert f"as a page: {tmp_path / 'demo' / 'captions' / 'report.html'}" in said
    assert (tmp_path / "demo" / "captions" / "report.html").exists()
    assert scores.pictures == len((tmp_path / "demo" / "collection" / "test.txt").read_text().split())
    assert 0 <= scores.colour <= 1
    manifest = json.loads((tmp_path / "demo" / "features" / "manifest.json").read_text())
    assert (manifest["totals"]["listed"], manifest["totals"]["done"]) == (40, 40)
    assert (tmp_path / "demo" / "captions" / "word_importance.csv").exists()

    monkeypatch.setenv("PATH", "")  # without Java: METEOR, which takes ten seconds, has been counted once
    again = demo(options, PipelineOptions([]))
    said = capsys.readouterr().out
    assert again == scores
    assert "(0 done in this run)" in said
    assert "training is finished already" in said

    with pytest.raises(UserError, match="holds a demo with"):
        demo(DemoOptions(output=options.output, pictures=50, weights="random"), PipelineOptions([]))


def test_plurals_are_spelt_as_the_captions_spell_them():
    assert [plural(word) for word in ("circle", "cross", "star")] == ["circles", "crosses", "stars"]
