"""Listing and reading, whichever form of container an input lies in."""

import hashlib
import os
import socket
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from beam_pipeline.inputs.containers import fingerprint, list_container, read_blocks, read_input
from beam_pipeline.inputs.input_file import TooLarge
from beam_pipeline.inputs.sources import stat_file


def test_a_file_is_read_in_blocks_up_to_the_limit(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(bytes(3 << 20))
    file = stat_file(str(path))
    assert [len(block) for block in read_blocks(file, 3 << 20)] == [1 << 20] * 3
    with pytest.raises(TooLarge, match="3,145,728 bytes, over the limit of 3,145,727"):
        read_input(file, (3 << 20) - 1)


def test_a_file_that_grew_after_it_was_listed_is_cut_off(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"1234")
    file = stat_file(str(path))
    path.write_bytes(b"12345678")
    assert read_input(file, 8) == b"12345678"
    with pytest.raises(TooLarge, match="more than 7 bytes"):
        read_input(file, 7)


def _fifo(path):
    os.mkfifo(path)


def _socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.parametrize("name", ["a.jpg", "a.tar", "a.zip", "a.parquet", "a.tfrecord"])
@pytest.mark.parametrize("put", [_fifo, _socket, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_took_the_place_of_a_file_is_not_read(tmp_path, monkeypatch, name, put):
    """It may never end, and whether it is a file can only be asked once it is open."""
    monkeypatch.chdir(tmp_path)  # a socket's address is short
    path = Path(name)
    path.write_bytes(b"picture")
    file = stat_file(name)
    path.unlink()
    put(path)
    with pytest.raises(OSError, match="not a file"):
        read_input(file, 1 << 20)
    if name != "a.jpg":
        ((listed,), ignored) = (list(list_container(file, Counter())), Counter())
        assert "not a file" in listed.problem and not ignored


@pytest.mark.skipif(not os.path.exists("/proc/uptime"), reason="needs Linux's /proc")
def test_no_more_is_read_than_a_file_of_the_system_says_it_has(tmp_path):
    """Those of /proc say that they are empty; /proc/kmsg then never ends."""
    (tmp_path / "a.jpg").symlink_to("/proc/uptime")
    file = stat_file(str(tmp_path / "a.jpg"))
    assert (file.size, read_input(file, 1 << 20)) == (0, b"")


def test_a_fingerprint_is_the_digest_of_the_bytes(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x.jpg", b"picture")
    (member,) = list_container(stat_file(str(tmp_path / "a.zip")), Counter())
    assert fingerprint(member, 7) == hashlib.sha256(b"picture").hexdigest()


@pytest.mark.parametrize("name", ["a.tar", "a.zip", "a.parquet", "a.tfrecord"])
def test_a_container_that_is_not_there_is_one_input_with_the_problem(tmp_path, name):
    ((file,), ignored) = (list(list_container(stat_file(str(tmp_path / name)), Counter())), Counter())
    assert (file.uri, file.problem, file.member) == (str(tmp_path / name), "no such file or directory", None)
    assert not ignored


def test_local_files_and_archives_need_neither_beam_nor_tensorflow(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x.jpg", b"picture")
    script = (
        "import sys\n"
        "from beam_pipeline.inputs.reader import PictureReader\n"
        "from beam_pipeline.inputs.sources import Listing, resolve_collection\n"
        "print([PictureReader().read(file.uri) for file in Listing(resolve_collection(sys.argv[1]))])\n"
        "print([name for name in ('apache_beam', 'tensorflow', 'pyarrow') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "*.zip")], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[b'picture']\n[]\n"
