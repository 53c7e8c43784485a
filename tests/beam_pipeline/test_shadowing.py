"""A module of the user's that has the name of one of our packages."""

import os
import subprocess
import sys

import pytest


def run(folder, *arguments: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("name", ["training.py", "training/__init__.py"])
def test_a_training_beside_the_script_is_named_in_one_line(tmp_path, name):
    theirs = tmp_path / name
    theirs.parent.mkdir(exist_ok=True)
    theirs.write_text("")
    (tmp_path / "script.py").write_text("from beam_pipeline import CaptionImages\n")
    error = run(tmp_path, "script.py").stderr.splitlines()[-1]
    shown = tmp_path / name.split("/")[0]
    advice = "hides captionbeam's package training; rename it, or run from another folder"
    assert error == f"ImportError: {shown} {advice}"


def test_the_command_says_so_without_a_stack_trace(tmp_path):
    (tmp_path / "training.py").write_text("")
    ended = run(tmp_path, "-m", "beam_pipeline.cli", "--help")
    assert ended.returncode == 1
    assert f"{tmp_path / 'training.py'} hides captionbeam's package training" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_check_loads_neither_tensorflow_nor_beam(tmp_path):
    ended = run(tmp_path, "-c", "import beam_pipeline, sys; print({'tensorflow', 'apache_beam'} & set(sys.modules))")
    assert (ended.stdout, ended.stderr) == ("set()\n", "")
