"""The installed command from an empty folder, on workers of their own and on another runner: the same bytes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.faults

PRISM = os.environ.get("CAPTIONBEAM_PRISM") or shutil.which("prism")
IN_PROCESSES = ("--direct_running_mode", "multi_processing", "--direct_num_workers", "2")
ON_PRISM = ("--runner", "PrismRunner", "--prism_location", str(PRISM))
NO_PRISM = (
    "needs Prism: go install github.com/apache/beam/sdks/v2/go/cmd/prism@v2.77.0, on PATH or in CAPTIONBEAM_PRISM"
)


@pytest.mark.parametrize(
    "beam_options",
    [
        pytest.param(IN_PROCESSES, id="processes"),
        pytest.param(ON_PRISM, id="Prism", marks=pytest.mark.skipif(not PRISM, reason=NO_PRISM)),
    ],
)
def test_the_same_bytes_on_every_runner(undisturbed, files_of, tmp_path, beam_options):
    """Workers know nothing of the main program but what was sent to them."""
    (tmp_path / "empty").mkdir()
    chosen = undisturbed.options["caption of features"]
    command = [sys.executable, "-m", "beam_pipeline.cli", "caption", "--no-report", "--output", str(tmp_path / "out")]
    command += ["--features", chosen["features"], "--captioner", chosen["captioner"], *beam_options]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, cwd=tmp_path / "empty", env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    assert files_of(str(tmp_path / "out")) == undisturbed.files["caption of features"]
