import os
import socket
import stat
import subprocess
import sys
import threading

import pytest

from beam_pipeline.runtime.named_output import named_output
from training.errors import UserError


def test_a_link_is_followed_and_the_file_behind_it_keeps_its_rights(tmp_path):
    target, link, loose = tmp_path / "target", tmp_path / "link", tmp_path / "loose"
    target.write_bytes(b"old")
    target.chmod(0o640)
    link.symlink_to("target")
    loose.symlink_to(tmp_path / "new")
    named_output(str(link)).write(b"data")
    named_output(str(loose)).write(b"more")
    assert link.is_symlink() and target.read_bytes() == b"data" and stat.S_IMODE(target.stat().st_mode) == 0o640
    assert loose.is_symlink() and (tmp_path / "new").read_bytes() == b"more"
    assert sorted(os.listdir(tmp_path)) == ["link", "loose", "new", "target"]


@pytest.mark.parametrize("linked", [False, True])
def test_a_pipe_is_written_through_and_stays(tmp_path, linked):
    fifo, read = tmp_path / "fifo", []
    os.mkfifo(fifo)
    (tmp_path / "link").symlink_to("fifo")
    reader = threading.Thread(target=lambda: read.append(fifo.read_bytes()))
    reader.start()
    named_output(str(tmp_path / "link" if linked else fifo)).write(b"data" * 100_000)
    reader.join()
    assert read == [b"data" * 100_000] and stat.S_ISFIFO(fifo.stat().st_mode)


def test_a_device_is_written_through_and_stays():
    named_output("/dev/null").write(b"data")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_descriptor_is_added_to_whatever_is_behind_it(tmp_path):
    link = tmp_path / "link"
    with open(tmp_path / "out", "wb") as file:
        file.write(b"first ")
        file.flush()
        for path in (f"/dev/fd/{file.fileno()}", f"/proc/self/fd/{file.fileno()}"):
            link.unlink(missing_ok=True)
            link.symlink_to(path)
            output = named_output(str(link))
            assert output.is_stream and output.descriptor == file.fileno()
            output.write(b"data ")
    assert (tmp_path / "out").read_bytes() == b"first data data "


@pytest.mark.parametrize("path", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_nothing_else_goes_to_standard_output(path, capfd):
    output = named_output(path)
    with output.alone():
        print("a message")
        output.write(b"data\xff")
        print("another")
    print("afterwards")
    assert capfd.readouterr().err == "a message\nanother\n"


def test_standard_output_has_the_data_alone(tmp_path):
    script = (
        "import sys\n"
        "from beam_pipeline.runtime.named_output import named_output\n"
        "output = named_output(sys.argv[1])\n"
        "with output.alone():\n"
        "    print('a message')\n"
        "    output.write(b'data')\n"
    )
    for path in ("-", "/dev/stdout"):
        with open(tmp_path / "out", "wb") as file:
            done = subprocess.run([sys.executable, "-c", script, path], stdout=file, stderr=subprocess.PIPE, check=True)
        assert (tmp_path / "out").read_bytes() == b"data" and done.stderr == b"a message\n"


def test_a_reader_that_has_enough_is_no_failure():
    reading, writing = os.pipe()
    os.close(reading)
    named_output(f"/dev/fd/{writing}").write(b"data" * 100_000)
    os.close(writing)


def test_a_stream_gets_nothing_of_what_could_not_be_made(tmp_path):
    with open(tmp_path / "out", "wb") as file:

        def fail_half_way():
            with named_output(f"/dev/fd/{file.fileno()}").new_file() as local:
                with open(local, "wb") as half:
                    half.write(b"half")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail_half_way()
    assert (tmp_path / "out").read_bytes() == b""


def test_what_is_no_file_is_refused(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "in").touch()
    with socket.socket(socket.AF_UNIX) as server, open(tmp_path / "in", "rb") as given:
        server.bind(str(tmp_path / "socket"))
        for path, said in (
            (tmp_path, "is a folder"),
            (tmp_path / "socket", "is a socket"),
            (tmp_path / "loop", "too many levels of symbolic links"),
            (f"/dev/fd/{given.fileno()}", "is not open for writing"),
            ("/dev/fd/987", "is not open for writing"),
        ):
            with pytest.raises(UserError, match=rf"--output .*: {said}.*; choose another"):
                named_output(str(path))
