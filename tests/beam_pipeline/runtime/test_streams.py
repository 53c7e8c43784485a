"""The installed command on pipes, closed streams and full disks. Each runs in a process of its own."""

import os
import subprocess
import sys

import pytest

COMMAND = "from beam_pipeline.cli import command; command()"
# A stage that prints much in several writes, and then a line to standard error.
TALK = """
import sys
from beam_pipeline.runtime.streams import set_up_streams
set_up_streams()
for _ in range(100):
    print("a line of some length " * 20)
    sys.stdout.flush()
print("done", file=sys.stderr)
opened = open(sys.argv[1], "w")
opened.write("data")
opened.close()
"""


def shell(script: str, *arguments: object) -> subprocess.CompletedProcess:
    """Runs a shell script, whose $0 is Python and whose $1, ... are the arguments."""
    return subprocess.run(
        ["bash", "-c", script, sys.executable, *map(str, arguments)], capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("reader", ["true", "head -n 1 >/dev/null"])
def test_a_reader_that_leaves_early_does_not_stop_a_job(tmp_path, reader):
    done = shell(f'"$0" -c "$1" "$2" | {reader}; echo "${{PIPESTATUS[0]}}"', TALK, tmp_path / "data")
    assert (done.stdout, done.stderr) == ("0\n", "done\n")
    assert (tmp_path / "data").read_text() == "data"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_the_null_device_and_never_a_file(tmp_path, closed):
    done = shell(f'"$0" -c "$1" "$2" {closed}', TALK, tmp_path / "data")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "data").read_text() == "data"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_standard_output_that_is_full_is_one_line_and_status_1():
    for arguments, name in (("completion bash", "captionbeam completion"), ("--help", "captionbeam")):
        done = shell(f'"$0" -c "$1" {arguments} >/dev/full', COMMAND)
        assert (done.returncode, done.stderr) == (1, f"{name}: standard output: no space left on device\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_standard_error_that_is_full_changes_no_status():
    for arguments, status in (("completion bash", 0), ("--help", 0), ("--nothing", 2), ("inspect nowhere", 2)):
        assert shell(f'"$0" -c "$1" {arguments} 2>/dev/full', COMMAND).returncode == status


def test_what_a_terminal_would_obey_is_shown_escaped(tmp_path):
    name = "\x1b]0;title\x07\udce9\u202e.jpg"
    script = (
        "import sys; from beam_pipeline.runtime.streams import set_up_streams; set_up_streams(); print(sys.argv[1])"
    )
    done = shell('"$0" -c "$1" "$2"', script, name)
    assert done.stdout == "\\x1b]0;title\\x07\\udce9\\u202e.jpg\n"


def test_a_locale_without_the_characters_of_a_caption_is_no_error():
    script = "from beam_pipeline.runtime.streams import set_up_streams; set_up_streams(); print('K\\u00e4se \\u732b')"
    done = shell('PYTHONIOENCODING=ascii "$0" -c "$1"', script)
    assert (done.returncode, done.stdout) == (0, "K\\xe4se \\u732b\n")


def test_a_name_in_a_message_cannot_command_a_terminal():
    done = shell('"$0" -c "$1" inspect "$2"', COMMAND, "no\x1b[2J\x07\nfile")
    assert done.returncode == 2
    assert "\x1b" not in done.stderr and done.stderr.count("\n") == 1
