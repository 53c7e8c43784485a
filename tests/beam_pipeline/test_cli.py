import subprocess
import sys
import types

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.cli import main
from beam_pipeline.commands.parser import STAGES, build_parser, stage_parser
from training import __version__


def fails(capsys, *argv) -> tuple[int, str]:
    """Runs the command; returns its exit status and its one line on standard error."""
    try:
        status = main(list(argv))
    except SystemExit as stopped:
        status = stopped.code
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.endswith("\n"), error
    assert "Traceback" not in error
    return status, error


EXTRACT = ("extract", "--images", "x", "--output", "y")
TRAIN = ("train", "--features", "x", "--output", "y")
SPLIT = ("--features", "x", "--list", "l", "--output", "o")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "required: STAGE"),
        (["extrct"], "unknown stage extrct, did you mean extract?"),
        (["qqq"], "unknown stage qqq, expected extract, train, "),
        (["--verison"], "unknown option --verison, did you mean --version?"),
        (["extract", "--image", "x", "--output", "y"], "unknown option --image, did you mean --images?"),
        (["extract", "--image=x", "--output", "y"], "unknown option --image=x, did you mean --images?"),
        ([*EXTRACT, "--layer", "mixed6"], "mixed6 is not mixed7, mixed8, mixed9 or mixed10, did you"),
        (
            [*TRAIN, "--model", "atention"],
            "argument --model: atention is not attention or merge, did you mean attention?",
        ),
        (
            [*EXTRACT, "--direct_running_mode", "multi_procesing"],
            "multi_procesing is not in_memory, multi_threading or multi_processing, did you mean multi_processing?",
        ),
        ([*TRAIN, "z"], "unexpected argument z"),
        ([*EXTRACT, "--runner", "FlinkRunner", "--bad"], "unknown option --bad"),
        ([*EXTRACT, "-1.jpg"], "unknown option -1.jpg"),
        (["extract", "--output", "y"], "the following argument is required: --images"),
        (["extract", "-", "--output", "y"], "--images -: standard input is not read; write the list to a file"),
        ([*EXTRACT, "--exclude", "!"], "--exclude !: matches nothing"),
        (
            ["caption", "x", "--features", "f", "--captioner", "y", "--output", "z"],
            "argument --features: not allowed with argument --images",
        ),
        (["extract", "--images", "x"], "required: --output"),
        ([*EXTRACT, "--max-reject-rate", "2"], "2 is not between 0 and 1"),
        ([*EXTRACT, "--shard-size", "0"], "0 is not a positive whole number"),
        ([*EXTRACT, "--shard-size", "many"], "--shard-size"),
        ([*EXTRACT, "--max-seconds", "0"], "0 is not a number above 0"),
        ([*EXTRACT, "--max-megapixels", "nan"], "nan is not a number above 0"),
        ([*EXTRACT, "--max-bytes", "-1"], "-1 is not a positive whole number"),
        ([*EXTRACT, "--shardsize", "9"], "unknown option --shardsize, did you mean --shard-size?"),
        ([*EXTRACT, "--direct_num_worker", "2"], "did you mean --direct_num_workers?"),
        ([*TRAIN, "--epoch", "2"], "unknown option --epoch, did you mean --epochs?"),
        (
            ["caption", "--images", "x", "--captioner", "y", "--output", "z", "--engine", "openvino"],
            "--engine: caption uses the encoder that its captioner was trained with; the option is one of extract",
        ),
        (["caption", "--captioner", "x", "--output", "y"], "one of the arguments --images --features is required"),
        (["evaluate", *SPLIT], "one of the arguments --captioner --ensemble --captions is required"),
        (
            ["evaluate", *SPLIT, "--captioner", "x", "--captions", "y"],
            "--captions: not allowed with argument --captioner",
        ),
        (
            ["evaluate", *SPLIT, "--captions", "y", "--beam-width", "2"],
            "--beam-width, --judge, --min-words and --guidance go with --captioner; the captions of --captions exist "
            "already",
        ),
        (["evaluate", *SPLIT, "--captions", "y"], "x: no manifest.json here"),
        (["extract", "--images", "no_such_folder", "--output", "y"], "--images no_such_folder: no such file or folder"),
        (["train", "--features", "no_such_features", "--output", "y"], "no_such_features: no manifest.json here"),
        (["caption", "--images", "x", "--captioner", "none", "--output", "y"], "--captioner none: no config.json here"),
        (["compare", "a"], "the following argument is required: B"),
        (["compare", "a", "b"], "A a: no summary.json here; give a directory that `captionbeam caption` made"),
    ],
)
def test_a_wrong_call_is_one_line_and_status_2(capsys, tmp_path, monkeypatch, argv, said):
    monkeypatch.chdir(tmp_path)
    status, error = fails(capsys, *argv)
    assert status == 2
    assert said in error
    assert list(tmp_path.iterdir()) == [], "nothing is written"


def test_an_output_that_cannot_be_written_is_status_1(capsys, tmp_path, good, weights):
    (tmp_path / "file").write_text("in the way")
    argv = ["extract", "--images", str(good), "--weights", str(weights)]
    status, error = fails(capsys, *argv, "--output", str(tmp_path / "file" / "features"))
    assert status == 1
    assert "cannot be written (Not a directory)" in error


def test_weights_that_are_none_are_one_line(capsys, tmp_path, good):
    argv = ["extract", "--images", str(good), "--output", str(tmp_path / "features"), "--weights"]
    assert fails(capsys, *argv, str(tmp_path / "none.h5"))[0] == 2
    (tmp_path / "wrong.h5").write_bytes(b"not weights")
    status, error = fails(capsys, *argv, str(tmp_path / "wrong.h5"))
    assert status == 2
    assert "wrong.h5: not a Keras weight file" in error


def test_a_caption_file_with_the_wrong_columns_is_named(capsys, tmp_path, good, weights):
    captions = tmp_path / "captions.csv"
    captions.write_text("picture,text\na.jpg,a dog\n")
    argv = ["extract", "--images", str(good), "--weights", str(weights), "--output", str(tmp_path / "f")]
    status, error = fails(capsys, *argv, "--captions", str(captions))
    assert status == 2
    assert str(captions) in error and "image" in error and "caption" in error


def test_help_needs_neither_beam_nor_tensorflow():
    script = (
        "import sys; from beam_pipeline.cli import build_parser; build_parser().format_help(); "
        "sys.exit(any(name in sys.modules for name in ('apache_beam', 'tensorflow', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_a_failure_on_a_worker_is_one_line_too(tmp_path, good, weights):
    """The stand-in has the signature of a weight file and nothing behind it, which only the loading worker sees."""
    argv = ["extract", "--images", str(good), "--weights", str(weights), "--output", str(tmp_path / "features")]
    command = [sys.executable, "-m", "beam_pipeline.cli", *argv, "--feature-kind", "pooled"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert f"--weights {weights}: damaged, or no file of weights (" in last and last.endswith("save_weights")
    assert "Traceback" not in done.stderr


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"captionbeam {__version__}\n"


def test_help_lists_every_stage_once():
    listed = [line.split()[0] for line in build_parser().format_help().splitlines() if line.startswith("  ")]
    for stage in STAGES:
        assert listed.count(stage) == 1, stage
        assert stage_parser(stage).description


@pytest.mark.parametrize(
    ("argv", "images", "beam"),
    [
        ("--images a", "a", ""),
        ("a", "a", ""),
        ("--images a b", "a b", ""),
        ("--images a --images b c", "a b c", ""),
        ("a b --runner FlinkRunner", "a b", "--runner FlinkRunner"),
        ("--runner FlinkRunner a b", "a b", "--runner FlinkRunner"),
        ("a --runner=FlinkRunner b --direct_num_workers 2 c", "a b c", "--runner=FlinkRunner --direct_num_workers 2"),
        ("--runner a a", "a", "--runner a"),
        ("a --runner a", "a", "--runner a"),
        ("--save_main_session a", "a", "--save_main_session"),
        ("--experiments x --experiments y a", "a", "--experiments x --experiments y"),
        ("a --layer mixed10 b", "a b", ""),
        ("a -- -b --runner c", "a -b --runner c", ""),
        ("--runner FlinkRunner a -- -b", "a -b", "--runner FlinkRunner"),
    ],
)
def test_images_stand_anywhere_and_no_option_takes_them(monkeypatch, argv, images, beam):
    got = []
    module = types.SimpleNamespace(extract=lambda *given: got.extend(given))
    monkeypatch.setitem(sys.modules, "beam_pipeline.extract_features", module)
    monkeypatch.setattr("beam_pipeline.commands.check_inputs.check_inputs", lambda options: None)
    assert main(["extract", "--output", "o", *argv.split()]) == 0
    options, beam_options = got
    assert options.images == tuple(images.split())
    assert beam_options.get_all_options(drop_default=True) == PipelineOptions(beam.split()).get_all_options(
        drop_default=True
    )
