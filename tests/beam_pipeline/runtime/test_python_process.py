"""No Python process that we start runs what lies in the working folder."""

import os
import subprocess
import sys

from beam_pipeline.runtime import python_process
from beam_pipeline.runtime.python_process import import_path

# Every kind of helper process but Beam's workers, which have a test of their own.
SCRIPT = """
import os, sys
sys.path += ["", os.getcwd()]  # as an empty entry of PYTHONPATH adds them
from importlib.util import find_spec
from beam_pipeline.images.decoder_pool import ImageDecoderPool
from beam_pipeline.options.limits import DecodeLimits
from beam_pipeline.reports.chart_library import _make
from beam_pipeline.runtime.isolated_process import IsolatedProcess, RequestLimits

with open(sys.argv[1], "rb") as file:
    data = file.read()
pool = ImageDecoderPool(DecodeLimits(), processes=1)
print(pool.decode(data).width)
pool.close()
print("vegaEmbed" in _make())
if find_spec("pyexiv2"):
    writer = IsolatedProcess("beam_pipeline.exports.picture_metadata:start_writer", [], RequestLimits(9, 99, 1 << 30))
    writer.close()
"""


def test_no_helper_process_runs_what_lies_in_the_working_folder(tmp_path, hostile_folder, noisy_jpeg):
    script, picture = tmp_path / "script.py", tmp_path / "a.jpg"
    script.write_text(SCRIPT)
    picture.write_bytes(noisy_jpeg(1))
    path = os.pathsep.join(place for place in sys.path if place)
    done = subprocess.run(
        [sys.executable, str(script), str(picture)],
        cwd=hostile_folder.path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr, hostile_folder.executed()) == ("64\nTrue\n", "", [])


def test_helpers_import_from_absolute_folders_and_from_the_working_folder_only_if_captionbeam_lies_there(
    tmp_path, monkeypatch
):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    here, there = str(tmp_path / "here"), str(tmp_path / "there")
    (tmp_path / "link").symlink_to(here)
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "path", ["", ".", "../there", here, str(tmp_path / "link"), there, "/missing"])
    assert import_path() == [there]
    monkeypatch.setattr(python_process, "_PACKAGES", here)
    assert import_path() == [here, str(tmp_path / "link"), there]


def test_a_working_folder_that_is_gone_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    monkeypatch.setattr(sys, "path", ["", str(tmp_path)])
    assert import_path() == [str(tmp_path)]
