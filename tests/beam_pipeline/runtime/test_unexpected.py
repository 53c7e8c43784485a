import os
import re

from beam_pipeline.runtime.unexpected import unexpected
from training.documents import parse_json


def raised(function):
    try:
        function()
    except Exception as error:
        return error


def test_a_file_that_the_system_refuses_is_named(tmp_path):
    missing = tmp_path / "none"
    said = unexpected(raised(lambda: os.listdir(missing)))
    assert said == f"{missing}: no such file or directory; check the path and its rights, and run again"


def test_any_other_error_names_the_file_at_hand_and_that_with_the_stack_trace():
    error = raised(lambda: parse_json(None, int, "/x/manifest.json", "mend"))  # a fault of the caller
    said = unexpected(error)
    trace = re.fullmatch(
        r"/x/manifest.json: damaged, or a fault of captionbeam: unexpected \w+ .*; details in (.*)", said
    )
    assert trace and "\n" not in said
    with open(trace[1]) as file:
        assert "Traceback" in file.read()
    os.remove(trace[1])


def test_an_error_without_a_file_is_one_line_too():
    said = unexpected(raised(lambda: [][1]))
    path = re.fullmatch("unexpected IndexError list index out of range; details in (.*)", said)
    assert path
    os.remove(path[1])
