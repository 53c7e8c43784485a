import argparse

import pytest

from beam_pipeline.commands.parser import STAGES, build_parser, fill, stage_parser
from beam_pipeline.options.caption import CaptionOptions
from beam_pipeline.options.directories import VerifyOptions
from beam_pipeline.options.extract import ExtractOptions
from beam_pipeline.options.limits import DEFAULT_DECODE_LIMITS, DecodeLimits

LIMITS = {
    "--max-bytes": 268435456,
    "--max-megapixels": 100,
    "--max-seconds": 30,
    "--max-reject-rate": 0.1,
}
RUN = {
    "--shard-size": 512,
    "--retry-rejected": False,
    "--prune": False,
    "--max-prune-rate": 0.25,
    "--exclude": None,
    "--remote-lists": False,
    "--dry-run": False,
}
DECODING = {"--min-words": None, "--guidance": None}
DROPOUTS = {"--feature-dropout": None, "--word-dropout": None, "--output-dropout": None, "--position-dropout": None}

# Every option of every stage: its default, or ... where it has to be given. Scripts of users depend on them.
COMMAND_LINE = {
    "extract": {
        "--images": None,
        "--output": ...,
        "--captions": None,
        "--weights": "imagenet",
        "--feature-kind": "grid",
        "--layer": None,
        "--precision": "auto",
        "--engine": "tensorflow",
        "--augment": 0,
        **LIMITS,
        **RUN,
    },
    "train": {
        "--features": ...,
        "--output": ...,
        "--model": "attention",
        "--glove": None,
        "--train-list": None,
        "--dev-list": None,
        "--epochs": None,
        "--self-critical-epochs": None,
        "--seed": 0,
        "--batch-size": None,
        "--learning-rate": None,
        **DROPOUTS,
        "--label-smoothing": 0.1,
        "--tail": None,
        "--averaging": 0.998,
    },
    "evaluate": {
        "--captioner": None,
        "--ensemble": None,
        "--captions": None,
        "--features": ...,
        "--list": ...,
        "--output": ...,
        "--beam-width": None,
        "--judge": None,
        **DECODING,
        "--train-list": None,
        "--all-protocols": False,
        "--words": False,
    },
    "caption": {
        "--images": None,
        "--features": None,
        "--captioner": None,
        "--ensemble": None,
        "--output": ...,
        "--beam-width": None,
        "--judge": None,
        **DECODING,
        "--weights": None,
        "--alternatives": 0,
        "--min-confidence": None,
        "--reference": None,
        "--no-report": True,
        **LIMITS,
        **RUN,
    },
    "report": {"DIR": ..., "--output": None},
    "compare": {"A": ..., "B": ..., "--output": "comparison.csv"},
    "export": {
        "DIR": ...,
        "--format": None,
        "--output": None,
        "--in-place": False,
        "--mode": None,
        "--remove": False,
        "--dry-run": False,
        "--no-keep-times": True,
        "--sidecar-names": "short",
        "--root": None,
        "--keyword-presence": 0.3,
        "--min-confidence": None,
        "--samples": 1000,
    },
    "status": {"DIR": ...},
    "inspect": {"DIR": ..., "PICTURE": None, "--json": False},
    "verify": {"DIR": ..., "--sample": 0.01, "--captioner": None, "--features": None, "--weights": None},
    "demo": {"--output": "output/demo", "--pictures": 600, "--weights": "auto", "--seed": 0},
    "completion": {"shell": ...},
}
CHOICES = {
    ("extract", "--feature-kind"): ("grid", "pooled"),
    ("extract", "--layer"): ("mixed7", "mixed8", "mixed9", "mixed10"),
    ("extract", "--precision"): ("auto", "bfloat16", "float32", "int8"),
    ("extract", "--engine"): ("tensorflow", "openvino"),
    ("train", "--model"): ("attention", "merge"),
    ("train", "--tail"): ("mixed8", "mixed9", "mixed10", "none"),
    ("evaluate", "--judge"): ("none",),
    ("caption", "--judge"): ("none",),
    ("export", "--format"): ("csv", "parquet", "coco", "txt", "xmp", "metadata", "webdataset"),
    ("export", "--mode"): ("skip", "append", "overwrite"),
    ("export", "--sidecar-names"): ("short", "full"),
    ("completion", "shell"): ("bash", "zsh", "fish"),
}


def actions(stage: str) -> dict[str, argparse.Action]:
    """Name of an option, or placeholder of a positional argument -> what argparse knows of it."""
    return {
        "/".join(action.option_strings) or str(action.metavar or action.dest): action
        for action in stage_parser(stage)._actions
        if action.dest != "help"
    }


def test_the_command_line_has_these_stages():
    assert list(STAGES) == list(COMMAND_LINE)


@pytest.mark.parametrize("stage", COMMAND_LINE)
def test_a_stage_takes_these_options(stage):
    found = {name: ... if action.required else action.default for name, action in actions(stage).items()}
    assert found == {"--verbose": False, **COMMAND_LINE[stage]}


def test_these_options_have_choices():
    found = {
        (stage, name): tuple(action.choices)
        for stage in STAGES
        for name, action in actions(stage).items()
        if action.choices
    }
    assert found == CHOICES


@pytest.mark.parametrize("stage", COMMAND_LINE)
def test_help_says_each_default_once_and_ends_no_sentence(stage):
    for name, action in actions(stage).items():
        assert action.help and not action.help.endswith("."), name
        assert action.help.count("(default:") <= 1, name
        if action.default not in (None, False, True):
            assert "(default: " in action.help, name


@pytest.mark.parametrize("stage", STAGES.values(), ids=lambda stage: stage.name)
def test_defaults_are_those_of_the_options_class(stage):
    """What is parsed from the required options alone fills the class as Python code would with no more than those."""
    required = {
        "extract": "--images i --output o",
        "train": "--features f --output o",
        "evaluate": "--captioner c --features f --list l --output o",
        "caption": "--images i --captioner c --output o --no-report",
        "report": "d",
        "compare": "a b",
        "export": "d --format csv --output o",
        "status": "d",
        "inspect": "d",
        "verify": "d",
        "demo": "",
        "completion": "bash",
    }[stage.name]
    settings = vars(build_parser().parse_args([stage.name, *required.split()]))
    options = fill(stage.options, settings)
    given = {name: getattr(options, name) for name in stage.options.__dataclass_fields__ if settings.get(name)}
    needed = {name: value for name, value in given.items() if value != stage.options.__dataclass_fields__[name].default}
    assert options == stage.options(**needed)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("export d --format csv --output=", "--output: the value is empty"),
        ("extract --images= --output o", "--images: the value is empty"),
        ("report d --output=", "--output: the value is empty"),
        ("extract --images i --output -", "--output: - is standard output, and a folder is to be written"),
        ("caption --images i --captioner c --output -", "--output: - is standard output"),
        ("train --features f --output -", "--output: - is standard output"),
        ("evaluate --features f --list l --output -", "--output: - is standard output"),
        ("demo --output -", "--output: - is standard output"),
    ],
)
def test_a_path_that_can_be_none_is_refused(call, said, capsys):
    with pytest.raises(SystemExit, match="2"):
        build_parser().parse_args(call.split())
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("stage", ["extract --weights x", "caption --captioner c"])
@pytest.mark.parametrize(
    ("flags", "limits"),
    [
        ("", DEFAULT_DECODE_LIMITS),
        ("--max-bytes 5 --max-megapixels 0.5 --max-seconds 2.5", DecodeLimits(5, max_megapixels=0.5, max_seconds=2.5)),
    ],
)
def test_limits_reach_the_decoder(stage, flags, limits):
    settings = build_parser().parse_args(f"{stage} --images x --output y {flags}".split())
    options = CaptionOptions if stage.startswith("caption") else ExtractOptions
    assert fill(options, vars(settings)).decode_limits == limits


@pytest.mark.parametrize(("flags", "report"), [([], True), (["--no-report"], False)])
def test_a_page_comes_with_captions_unless_it_is_switched_off(flags, report):
    arguments = ["caption", "--images", "x", "--captioner", "y", "--output", "z", *flags]
    assert fill(CaptionOptions, vars(build_parser().parse_args(arguments))).report == report


@pytest.mark.parametrize(("text", "sample"), [("50", 50), ("2.5%", 0.025), ("0", 0), ("100%", 1.0)])
def test_a_sample_is_a_number_or_a_percentage(text, sample):
    settings = vars(build_parser().parse_args(["verify", "d", "--sample", text]))
    assert fill(VerifyOptions, settings).sample == sample
