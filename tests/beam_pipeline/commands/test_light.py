"""Commands that look at results, and wrong calls, answer without TensorFlow, Keras and Beam: each in a process."""

import subprocess
import sys

import pytest

SCRIPT = """
import sys
from beam_pipeline.cli import main
try:
    status = main(sys.argv[1:])
except SystemExit as stopped:
    status = stopped.code
print("loaded:", *sorted({"apache_beam", "keras", "tensorflow"} & set(sys.modules)), file=sys.stderr)
sys.exit(status)
"""
EXTRACT = "extract --images photos --output new"
TRAIN = "train --features features --output new"
EVALUATE = "evaluate --features features --list list.txt --output new"
CAPTION = "caption --images photos --captioner captioner --output new"


def run(made, arguments: str) -> subprocess.CompletedProcess:
    """Runs a command where `made` lies, and sees to it that it loads nothing large."""
    command = [sys.executable, "-c", SCRIPT, *arguments.split()]
    done = subprocess.run(command, cwd=made.root, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "loaded:", done.stderr
    return done


@pytest.mark.parametrize(
    "arguments",
    [
        "--help",
        "--version",
        "extract --help",
        "completion zsh",
        "status features",
        "status captions",
        "status captioner",
        "inspect features",
        "inspect captions",
        "inspect captions 03.jpg --json",
        "export captions --format csv --output {tmp}/captions.csv",
        "export captions --format parquet --output {tmp}/captions.parquet",
        "export captions --format coco --output {tmp}/captions.json",
        "export captions --format txt --output {tmp}/texts",
        "export captions --format webdataset --output {tmp}/shards",
        "report captions --output {tmp}/report.html",
        "compare captions of_features --output {tmp}/comparison.csv",
    ],
)
def test_looking_at_results_loads_no_model_and_no_pipeline(made, tmp_path, arguments):
    done = run(made, arguments.format(tmp=tmp_path))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "required: STAGE"),
        ("extrct", "unknown stage extrct"),
        ("extract --output new", "required: --images"),
        (f"{TRAIN} photos", "unexpected argument photos"),
        (f"{EXTRACT} --max-bytes 0", "0 is not a positive whole number"),
        (f"{EXTRACT} --captions none.csv", "none.csv: no such file"),
        (f"{EXTRACT} --weights none.h5", "--weights none.h5: no such file"),
        ("extract --images none --output new", "--images none: no such file or folder"),
        ("extract --images none/*.jpg --output new", "--images none/*.jpg: no file matches this pattern"),
        (f"{TRAIN} --epoch 2", "unknown option --epoch, did you mean --epochs?"),
        (f"{TRAIN} --train-list none.txt", "none.txt: no such file"),
        (f"{TRAIN} --glove none.txt", "--glove none.txt: no such file"),
        ("train --features none --output new", "none: no manifest.json here"),
        (f"{EVALUATE} --captioner none", "--captioner none: no config.json here"),
        (f"{EVALUATE} --ensemble captioner,none", "--captioner none: no config.json here"),
        (f"{EVALUATE} --captions none.json", "--captions none.json: no such file"),
        (f"{EVALUATE} --captioner captioner", "list.txt: no such file"),
        (
            f"{EVALUATE} --captions x.json --beam-width 2",
            "--beam-width, --judge, --min-words and --guidance go with --captioner",
        ),
        (f"{CAPTION} --engine openvino", "--engine: caption uses the encoder that its captioner was trained with"),
        (f"{CAPTION} --alternatives 10", "--alternatives 10: "),
        (f"{CAPTION} --reference none", "--reference none: no summary.json here"),
        ("caption --images none --captioner captioner --output new", "--images none: no such file or folder"),
        ("caption --images photos --captioner none --output new", "--captioner none: no config.json here"),
        ("caption --images photos --captioner none --output new --dry-run", "--captioner none: no config.json here"),
        ("caption --features none --captioner captioner --output new", "none: no manifest.json here"),
        ("verify none", "none: no such directory"),
        ("verify captioner", "a captioner cannot be verified"),
        ("verify captions", "give --captioner to caption a sample again"),
        ("verify captions --captioner none", "--captioner none: no config.json here"),
        ("status none", "none: no such directory"),
        ("inspect photos", "photos: captionbeam made no file in it"),
        ("report none", "no summary.json here"),
        ("compare captions none", "no summary.json here"),
        (
            "export captions --format csv --output new.csv --mode append",
            "--mode: only for --format txt, xmp and metadata",
        ),
    ],
)
def test_a_wrong_call_loads_nothing(made, arguments, message):
    done = run(made, arguments)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-2], done.stderr
    assert not (made.root / "new").exists()
