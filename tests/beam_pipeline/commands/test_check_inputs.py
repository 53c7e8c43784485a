import os

import pytest

from beam_pipeline.commands.check_inputs import check_inputs
from beam_pipeline.inputs.sources import Listing, resolve_collection
from beam_pipeline.options.caption import CaptionOptions
from beam_pipeline.options.extract import ExtractOptions
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


def test_what_commands_wrote_among_the_pictures_is_no_input(made):
    listed = Listing(resolve_collection(f"{made.root}/**/*"))
    found = {os.path.relpath(file.uri, made.root) for file in listed}
    assert {name for name in found if not name.startswith("photos/")} == {"captions.csv", "weights.h5"}
    assert len(found) == 24
    assert len(list(Listing(resolve_collection(str(made.root))))) == 22
