"""Temporary folders are private, and what a killed process left of them goes with the next one."""

import os
import signal
import subprocess
import sys
import tempfile

import pytest

from training import scratch
from training.errors import JobFailed
from training.scratch import scratch_directory

NAME = "captionbeam-0123456789abcdef.tmp"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The folder for temporary files, as a new process finds it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    scratch._remove_leftovers.cache_clear()
    return tmp_path


def test_it_is_private_and_gone_afterwards(folder):
    with scratch_directory() as path:
        status = os.stat(path)
        assert (os.path.dirname(path), status.st_uid, status.st_mode & 0o777) == (str(folder), os.geteuid(), 0o700)
        with open(os.path.join(path, "a"), "w") as file:
            file.write("a")
    assert os.listdir(folder) == []


SCRIPT = """
import signal, sys, tempfile
tempfile.tempdir = sys.argv[1]
from training.scratch import scratch_directory
with scratch_directory() as path:
    print(path, flush=True)
    signal.pause()
"""


def test_what_a_killed_process_left_is_removed_and_what_a_running_one_has_stays(folder):
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        theirs = process.stdout.readline().strip()
        with scratch_directory():
            pass
        assert [os.path.join(folder, name) for name in os.listdir(folder)] == [theirs]
        process.send_signal(signal.SIGKILL)
    scratch._remove_leftovers.cache_clear()
    with scratch_directory() as path:
        assert [os.path.join(folder, name) for name in os.listdir(folder)] == [path]


def test_what_is_not_ours_stays(folder):
    (folder / "captionbeam-notes").mkdir()
    (folder / "captionbeam-0123456789.log").write_text("a stack trace that a message named")
    (folder / "private").mkdir()
    (folder / NAME).symlink_to(folder / "private")
    (folder / NAME.replace("0", "1")).write_text("no folder")
    before = sorted(os.listdir(folder))
    with scratch_directory():
        pass
    assert sorted(os.listdir(folder)) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give folders away")
def test_what_another_user_has_stays(folder):
    (folder / NAME).mkdir()
    os.chown(folder / NAME, 12345, 12345)
    with scratch_directory():
        pass
    assert os.listdir(folder) == [NAME]


def test_no_room_is_one_line(folder, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "none"))
    with pytest.raises(JobFailed, match=r"no folder for temporary files can be made .*; TMPDIR can name another place"):
        scratch_directory().__enter__()
