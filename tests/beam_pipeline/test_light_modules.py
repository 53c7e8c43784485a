"""What only looks at results loads neither Beam nor TensorFlow, which take seconds and hundreds of megabytes."""

import subprocess
import sys

import pytest

SCRIPT = """
import importlib, sys
importlib.import_module(sys.argv[1])
print(*{"apache_beam", "keras", "scipy.stats", "tensorflow"} & sys.modules.keys())
"""


@pytest.mark.parametrize(
    "module",
    [
        "commands.compare",
        "exports.export",
        "reports.comparison_page",
        "reports.report",
        "results.caption_index",
        "words.reference",
        "words.statistics",
        "words.summary",
        "words.table",
        "words.terms",
    ],
)
def test_looking_at_results_loads_neither_beam_nor_tensorflow(module):
    command = [sys.executable, "-c", SCRIPT, f"beam_pipeline.{module}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("", "")
