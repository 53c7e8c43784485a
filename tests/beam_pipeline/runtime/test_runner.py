"""A pipeline runs to its end, or fails with one line for the user."""

import os

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

import beam_pipeline.runtime.remote_storage  # noqa: F401  its errors are ours too
from beam_pipeline.runtime.runner import one_line, run_pipeline
from training.documents import Damaged
from training.errors import JobFailed, UserError


def _raise(error):
    raise error


def test_a_pipeline_runs_when_its_block_ends(tmp_path):
    path = tmp_path / "ran"
    with run_pipeline(PipelineOptions([]), str(tmp_path)) as pipeline:
        _ = pipeline | beam.Create(["x"]) | beam.Map(path.write_text)
        assert not path.exists()
    assert path.read_text() == "x"
    assert os.listdir(tmp_path) == ["ran"], "nothing that was spilled is left"


@pytest.mark.parametrize(
    "error", [UserError("--glove x: broken"), JobFailed("x: damaged shard"), Damaged("x", "cut short", "make it again")]
)
def test_a_workers_own_error_arrives_as_it_was_raised(error, tmp_path):
    with pytest.raises(JobFailed) as raised, run_pipeline(PipelineOptions([]), str(tmp_path)) as pipeline:
        _ = pipeline | beam.Create([error]) | beam.Map(_raise)
    assert str(raised.value) == str(error)


def test_an_error_in_the_block_runs_nothing(tmp_path):
    path = tmp_path / "ran"

    def fail():
        with run_pipeline(PipelineOptions([]), str(tmp_path)) as pipeline:
            _ = pipeline | beam.Create(["x"]) | beam.Map(path.write_text)
            raise UserError("--images x: wrong")

    with pytest.raises(JobFailed, match=r"^--images x: wrong$"):
        fail()
    assert not path.exists()


def own_errors(base: type[UserError] = UserError) -> list[type[UserError]]:
    return [base, *(error for derived in base.__subclasses__() for error in own_errors(derived))]


@pytest.mark.parametrize("error", [one for one in own_errors() if one.__module__.startswith(("training", "beam"))])
def test_a_portable_runners_text_is_cut_down_to_its_error(error):
    name = f"{error.__module__}.{error.__qualname__}"
    text = f"Traceback (most recent call last):\n  File x\n{name}: a.tfrecord: damaged shard\n\nat java"
    assert one_line(RuntimeError(text)) == "a.tfrecord: damaged shard"


def test_a_full_disk_is_named():
    text = "OSError: [Errno 28] No space left on device: '/x'\n"
    assert one_line(RuntimeError(text)) == (
        "the disk is full ([Errno 28] No space left on device: '/x'); free some space and run again: finished shards "
        "are kept"
    )


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("Traceback\n  File x\nZeroDivisionError: division by zero\nwhile running Map", "ZeroDivisionError: division"),
        ("first line\nlast line\n", "last line"),
        ("", "RuntimeError"),
    ],
)
def test_an_unknown_error_keeps_its_trace_in_a_file(text, cause):
    line = one_line(RuntimeError(text))
    assert line.startswith(f"the pipeline failed: {cause}") and "\n" not in line
    path = line.split("details in ")[1].split(";")[0]
    with open(path) as file:
        assert "RuntimeError" in file.read()
    os.remove(path)
