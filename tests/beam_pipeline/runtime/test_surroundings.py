"""The command runs the same wherever and however it is called."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from beam_pipeline.runtime.surroundings import forget_working_folder

SCRIPT = """
import sys
from beam_pipeline import cli

def main():
    print(sys.getfilesystemencoding(), sys.argv[1:], sys.flags.optimize)
    return 0

cli.main = main
cli.command()
"""


def run(tmp_path: Path, folder: Path, **environment: str) -> subprocess.CompletedProcess:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    path = os.pathsep.join(place for place in sys.path if place)
    return subprocess.run(
        [sys.executable, str(script), "ä"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
    )


@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "xx_XX.UTF-8"},
        {"LC_ALL": "tr_TR.UTF-8", "PYTHONOPTIMIZE": "2"},
    ],
)
def test_names_of_files_are_read_as_utf8_in_any_locale_and_docstrings_are_there(tmp_path, environment):
    done = run(tmp_path, tmp_path, **environment)
    assert done.stdout.decode("utf-8", "backslashreplace") == "utf-8 ['ä'] 0\n", done.stderr


def test_a_working_folder_that_is_gone_is_one_line(tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(place for place in sys.path if place)}
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = f'rmdir "$PWD"; exec "{sys.executable}" "{script}"'
    done = subprocess.run(["sh", "-c", command], cwd=folder, env=environment, capture_output=True, text=True)
    line = "captionbeam: the working folder has been deleted; change to another folder and call again\n"
    assert (done.returncode, done.stderr) == (2, line)


def test_programs_and_modules_are_not_looked_for_in_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), "/usr"])
    for name, value in {"PATH": ":/bin:.:/usr/bin:", "LD_LIBRARY_PATH": ":", "PYTHONPATH": "a:/b"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONSAFEPATH", "")
    forget_working_folder()
    names = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONSAFEPATH")
    assert [os.environ.get(name) for name in names] == ["/bin:/usr/bin", None, "/b", "1"]
    assert sys.path == ["/usr"]
