"""The installed command from an empty folder, with workers that are processes of their own: the same bytes."""

import os
import subprocess
import sys
from pathlib import Path


def test_workers_of_their_own_give_the_same_bytes(undisturbed, files_of, tmp_path):
    """They know nothing of the main program but what was sent to them."""
    (tmp_path / "empty").mkdir()
    chosen = undisturbed.options["caption of features"]
    command = [sys.executable, "-m", "beam_pipeline.cli", "caption", "--output", str(tmp_path / "out")]
    command += ["--features", chosen["features"], "--captioner", chosen["captioner"]]
    command += ["--direct_running_mode", "multi_processing", "--direct_num_workers", "2"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, cwd=tmp_path / "empty", env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    assert files_of(str(tmp_path / "out")) == undisturbed.files["caption of features"]
