"""`extract` killed by SIGKILL in mid-run, and started again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CHILD = """
import json, sys, time
import numpy as np
from apache_beam.options.pipeline_options import PipelineOptions
from beam_pipeline.extract_features import extract
from beam_pipeline.options.extract import ExtractOptions

class MeanColour:
    calls = 0
    def encode(self, pixels):
        while MeanColour.calls >= int(sys.argv[2]):  # until it is killed
            time.sleep(1)
        MeanColour.calls += len(pixels)
        features = np.zeros([len(pixels), 2048], np.float16)
        features[:, :3] = pixels.mean(axis=(1, 2))
        return features

extract(ExtractOptions(**json.loads(sys.argv[1])), PipelineOptions([]), lambda spec: MeanColour())
print("encoded", MeanColour.calls)
"""


def start(options: dict, pictures: int = 100) -> subprocess.Popen:
    """Starts a run whose encoder goes on until it has encoded so many pictures."""
    command = [sys.executable, "-c", CHILD, json.dumps(options), str(pictures)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


def encoded(process: subprocess.Popen) -> int:
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0
    return int(said.split("encoded ")[1])


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_run_repeats_only_the_shard_in_flight(extract_settings, run_extract, encoder, tmp_path, contents_of):
    options = {**extract_settings, "shard_size": 4}
    run_extract("whole", shard_size=4)
    assert encoder.calls == 20
    killed = tmp_path / "killed"
    process = start({**options, "output": str(killed)}, 8)
    deadline = time.monotonic() + 600
    while not list(killed.glob("ledger-*")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    kept = sum(len(path.read_text().splitlines()) for path in killed.glob("ledger-*"))
    assert 0 < kept < 20
    assert encoded(start({**options, "output": str(killed)})) == 20 - kept
    whole, repaired = contents_of(tmp_path / "whole"), contents_of(killed)
    assert repaired.keys() == whole.keys()
    for name in whole:
        if name != "manifest.json":  # its totals tell what was done in the last run
            assert repaired[name] == whole[name], name
    shards = [json.loads(files["manifest.json"])["shards"] for files in (whole, repaired)]
    assert shards[0] == shards[1]
