"""Worker processes of the local runner: what they import, and that a job ends when one of them dies."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

JOB = """
import os, signal, socket, sys, threading, time

from beam_pipeline.runtime.logs import set_up_logging

set_up_logging(False)

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from beam_pipeline.runtime import local_runner
from beam_pipeline.runtime.runner import run_pipeline

local_runner.STOPPED_SECONDS = 1.0
sys.path += ["", os.getcwd()]  # as an empty entry of PYTHONPATH adds them


def work(number, what):
    with open(f"{number}.txt", "w") as file:
        file.write(str(os.getpid()))
    port = int(os.environ["CONTROL_API_SERVICE_DESCRIPTOR"].split(":")[-1].strip('" \\n'))
    if not socket.socket().connect_ex(("127.0.0.2", port)):
        raise ValueError("other addresses than localhost are listened to")
    if number == 1 and what in ("kill", "stop"):
        os.kill(os.getpid(), signal.SIGKILL if what == "kill" else signal.SIGSTOP)
    if number == 1 and what == "idle":  # dies while Beam asks nothing of it
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGKILL)).start()
    if number == 2 and what == "idle":
        time.sleep(2)
    return number, 1


for what in sys.argv[1:]:
    options = PipelineOptions(["--direct_running_mode=multi_processing", "--direct_num_workers=2"])
    try:
        with run_pipeline(options, ".") as pipeline:
            numbers = pipeline | beam.Create([1, 2]) | beam.Reshuffle()
            numbers | beam.Map(work, what) | beam.GroupByKey() | beam.Map(str)
    except Exception as error:
        print(error)
    else:
        print("ended well")
"""
PROXY = "http://127.0.0.1:9"
AGAIN = "run again to continue from the finished shards"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_worker_that_dies_ends_the_job_and_none_asks_a_proxy_or_looks_into_the_folder(tmp_path, hostile_folder):
    path = os.pathsep.join(place for place in sys.path if place)
    script = tmp_path / "script.py"
    script.write_text(JOB)
    done = subprocess.run(
        [sys.executable, str(script), "kill", "idle", "stop", "nothing"],
        cwd=hostile_folder.path,
        env={**os.environ, "PYTHONPATH": path, "http_proxy": PROXY, "https_proxy": PROXY, "no_proxy": "example.org"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert (done.returncode, done.stderr, hostile_folder.executed()) == (0, "", [])
    assert done.stdout.splitlines() == [
        f"a worker process ended (signal 9, killed); {AGAIN}",
        f"a worker process ended (signal 9, killed); {AGAIN}",
        f"a worker process was stopped for 1 s; {AGAIN}",
        "ended well",
    ]
    for number in (1, 2):
        with pytest.raises(ProcessLookupError):
            os.kill(int((hostile_folder.path / f"{number}.txt").read_text()), 0)
