"""Two jobs started over one output: the first goes on, the second refuses at once, nothing is harmed."""

import os
import signal

import pytest

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("name", ["extract", "train", "caption"])
def test_the_second_of_two_jobs_refuses(server, undisturbed, files_of, tmp_path, name):
    options = {**undisturbed.options[name], "output": str(tmp_path / "out")}
    first = server.start(name, options, {"stop_at": undisturbed.points[name] // 2})
    try:
        first.wait_for(lambda: first.state() == "T")  # in the middle of its work
        status, second = server.run(name, options)
    finally:
        os.kill(first.pid, signal.SIGCONT)
    assert (first.wait(), status) == (0, 1), second.said()
    last = second.said().strip().splitlines()[-1]
    assert last == f"--output {options['output']}: another captionbeam is writing here; wait for it or choose another"
    assert files_of(options["output"]) == undisturbed.files[name]
