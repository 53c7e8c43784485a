"""An output that holds something else is refused, by the command line and by the functions."""

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.caption_images import caption
from beam_pipeline.demo.demo import demo
from beam_pipeline.extract_features import extract
from beam_pipeline.options.caption import CaptionOptions
from beam_pipeline.options.demo import DemoOptions
from beam_pipeline.options.extract import ExtractOptions
from beam_pipeline.shards.shard_id import ShardId
from training.errors import UserError
from training.evaluate import evaluate
from training.options import EvaluateOptions, TrainOptions
from training.own_directories import require_output
from training.own_names import CAPTIONER, CAPTIONS, DEMO, FEATURES, SCORES
from training.train import train

SHARD = ShardId(1, 0, 1)
KINDS = {
    FEATURES: ["manifest.json"],
    CAPTIONS: ["summary.json"],
    CAPTIONER: ["config.json"],
    SCORES: ["scores.json"],
    DEMO: ["demo.json"],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("names", "found"),
    [
        *((names, kind) for kind, names in KINDS.items()),
        ([SHARD.captions(), SHARD.ledger()], CAPTIONS),
        ([SHARD.features(), SHARD.ledger()], FEATURES),
        (["holiday.jpg"], "files that captionbeam did not make, such as holiday.jpg"),
        (["Documents/"], "files that captionbeam did not make, such as Documents"),
        (["captioner.weights.h5", "checkpoint/"], CAPTIONER),
        ([".DS_Store", ".lock"], ""),
        ([], ""),
    ],
)
def test_an_output_of_another_kind_is_refused_by_the_name_of_what_it_holds(tmp_path, kind, names, found):
    for name in names:
        (tmp_path / name).mkdir() if name.endswith("/") else (tmp_path / name).write_text("")
    before = sorted(path.name for path in tmp_path.iterdir())
    if found in (kind, "") or (found.startswith("files") and kind in (SCORES, DEMO)):
        require_output(str(tmp_path), kind)
        return
    with pytest.raises(UserError, match=rf"^--output {tmp_path}: holds .*; choose another --output$") as refused:
        require_output(str(tmp_path), kind)
    assert found in str(refused.value) and sorted(path.name for path in tmp_path.iterdir()) == before


def test_an_output_that_is_no_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "loose").symlink_to("nowhere")
    for name, what in (("file", "not a folder"), ("loose", "a link to nothing")):
        with pytest.raises(UserError, match=f"^--output {tmp_path}/{name}: is {what}; choose another"):
            require_output(str(tmp_path / name), CAPTIONS)
    (tmp_path / "link").symlink_to(".")
    require_output(str(tmp_path / "link" / "new" / "out"), CAPTIONS)


def test_an_output_that_is_new_or_lost_its_summary_is_taken(tmp_path):
    require_output(str(tmp_path / "new"), CAPTIONS)
    for name in (SHARD.captions(), SHARD.words(), SHARD.ledger(), "report.html", "thumbnails.zip", "rejected.txt"):
        (tmp_path / name).write_text("")
    require_output(str(tmp_path), CAPTIONS)


@pytest.mark.parametrize("kind", [FEATURES, CAPTIONS])
def test_a_directory_whose_prune_was_stopped_is_no_foreign_one(tmp_path, kind):
    shard = ShardId(2, 0, 1)
    files = {FEATURES: (shard.features(), f"{shard.features()}.damaged"), CAPTIONS: (shard.captions(), shard.words())}
    for name in (*files[kind], shard.ledger(), "pruned-0002", "pruning-0002"):
        (tmp_path / name).write_text("")
    require_output(str(tmp_path), kind)


BEAM = PipelineOptions([])
CALLS = {
    FEATURES: lambda output: extract(ExtractOptions(images="none", output=output), PipelineOptions([])),
    CAPTIONS: lambda output: caption(
        CaptionOptions(captioner="none", images="none", output=output), PipelineOptions([])
    ),
    CAPTIONER: lambda output: train(TrainOptions(features="none", output=output)),
    SCORES: lambda output: evaluate(EvaluateOptions(features="none", list="none", captions="none", output=output)),
    DEMO: lambda output: demo(DemoOptions(output=output), BEAM),
}


@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize("found", KINDS)
def test_functions_refuse_an_output_of_another_kind_before_all_else(tmp_path, kind, found):
    (tmp_path / KINDS[found][0]).write_text("{}")
    with pytest.raises(UserError) as refused:
        CALLS[kind](str(tmp_path))
    assert (f"--output {tmp_path}: holds " in str(refused.value)) == (found != kind or kind == DEMO)
    assert [path.name for path in tmp_path.iterdir()] == KINDS[found]
