"""What reaches standard error, seen in a process of its own since logging is global."""

import subprocess
import sys

import pytest

SCRIPT = """
import logging, os, sys, warnings
from beam_pipeline.runtime.logs import is_verbose, set_up_logging
set_up_logging(sys.argv[1] == "verbose")
set_up_logging(sys.argv[1] == "verbose")  # a second call changes nothing
ours, others = logging.getLogger("captionbeam"), logging.getLogger("apache_beam")
ours.info("ours")
ours.debug("our details")
logging.getLogger().setLevel(logging.INFO)  # as Beam's workers do
others.info("theirs")
others.error("their error")
warnings.warn("a warning")
print(is_verbose(), os.environ.get("TF_CPP_MIN_LOG_LEVEL"))
"""


@pytest.mark.parametrize(
    ("mode", "state", "lines"),
    [
        ("quiet", "False 3", ["ours"]),
        ("verbose", "True None", ["ours", "our details", "apache_beam: theirs", "apache_beam: their error"]),
    ],
)
def test_other_libraries_are_silent_unless_asked_for(mode, state, lines, monkeypatch):
    for variable in ("TF_CPP_MIN_LOG_LEVEL", "GRPC_VERBOSITY", "PYTHONWARNINGS"):
        monkeypatch.delenv(variable, raising=False)
    done = subprocess.run([sys.executable, "-c", SCRIPT, mode], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == state
    shown = [line for line in done.stderr.splitlines() if "arning" not in line and "warn(" not in line]
    assert shown == lines
    assert ("a warning" in done.stderr) == (mode == "verbose")
