import os
from dataclasses import replace

import pytest

from beam_pipeline.commands.check_inputs import check_inputs, check_output
from beam_pipeline.inputs.sources import Listing, resolve_collection
from beam_pipeline.options.caption import CaptionOptions
from beam_pipeline.options.extract import ExtractOptions
from beam_pipeline.options.results import CompareOptions, ExportOptions, ReportOptions
from training.errors import UserError
from training.options import EvaluateOptions, TrainOptions


def test_images_and_weights_that_are_there_pass(good, weights, tmp_path):
    output = str(tmp_path / "features")
    check_inputs(ExtractOptions(images=str(good), output=output, weights=str(weights)))
    check_inputs(ExtractOptions(images=str(good), output=output))  # imagenet is no path


def test_remote_addresses_are_left_to_the_command(good):
    check_inputs(ExtractOptions(images="s3://nowhere/photos", output="features"))
    check_inputs(TrainOptions(features="s3://nowhere/features", output="captioner"))
    check_inputs(CaptionOptions(captioner="s3://nowhere/captioner", images=str(good), output="captions"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (lambda good: ExtractOptions(images=f"{good}/none", output="out"), "--images .*/none: no such file or folder"),
        (lambda good: ExtractOptions(images=good, output="out", weights="w.h5"), "--weights w.h5: no such file"),
        (lambda good: TrainOptions(features=good, output="out"), "no manifest.json here"),
        (lambda good: EvaluateOptions(captioner=good, features=good, list="l", output="out"), "no manifest.json here"),
        (lambda good: CaptionOptions(captioner=good, images=good, output="out"), "no config.json here"),
    ],
)
def test_what_is_missing_is_named(good, options, message):
    with pytest.raises(UserError, match=message):
        check_inputs(options(str(good)))


def test_no_file_of_captionbeam_is_replaced_by_what_another_command_makes(made, tmp_path):
    captions = str(made.root / "captions")
    (tmp_path / "link.csv").symlink_to(f"{captions}/summary.json")
    shard = next(name for name in os.listdir(captions) if name.startswith("captions-"))
    outputs = [f"{captions}/{name}" for name in ("summary.json", shard, "word_importance.csv", "thumbnails.zip")]
    for output in [*outputs, str(tmp_path / "link.csv"), str(made.root / "features" / "manifest.json")]:
        for options in (
            ExportOptions(captions, "csv", output),
            ReportOptions(captions, output),
            CompareOptions(captions, captions, output),
        ):
            with pytest.raises(UserError, match=f"--output {output}: is one of captionbeam's own files; choose"):
                check_output(options)
    for form in ("txt", "xmp", "metadata", "webdataset"):
        with pytest.raises(UserError, match=f"--output {captions}: holds captionbeam's own files; choose a folder"):
            check_output(ExportOptions(captions, form, captions))
        check_output(ExportOptions(captions, form, f"{captions}/{form}"))
    check_output(ExportOptions(captions, "csv", f"{captions}/captions.csv"))
    check_output(ExportOptions(captions, "csv", "-"))
    with pytest.raises(UserError, match=f"--output {tmp_path}/link.csv: is not a folder; choose another"):
        check_output(ExportOptions(captions, "txt", f"{tmp_path}/link.csv/sub/texts"))
    check_output(ReportOptions(captions, f"{captions}/report.html"))


def test_no_picture_is_replaced_by_a_page_or_a_table(tmp_path):
    (tmp_path / "photo.JPG").write_bytes(b"a picture")
    output = str(tmp_path / "photo.JPG")
    for options in (ReportOptions("c", output), CompareOptions("a", "b", output), ExportOptions("c", "csv", output)):
        with pytest.raises(UserError, match=rf"--output {output}: is a picture; choose another --output"):
            check_output(options)
        check_output(replace(options, output=str(tmp_path / "new.jpg")))


def test_what_commands_wrote_among_the_pictures_is_no_input(made):
    listed = Listing(resolve_collection(f"{made.root}/**/*"))
    found = {os.path.relpath(file.uri, made.root) for file in listed}
    assert {name for name in found if not name.startswith("photos/")} == {"captions.csv", "weights.h5"}
    assert len(found) == 24
    assert len(list(Listing(resolve_collection(str(made.root))))) == 22
