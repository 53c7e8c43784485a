import os
import subprocess
import sys

import pytest

from beam_pipeline.runtime import storage
from training.errors import JobFailed, UserError


def test_a_file_is_whole_or_not_there(tmp_path):
    path = str(tmp_path / "file")

    def fail_half_way():
        with storage.new_file(path) as local, open(local, "wb") as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert os.listdir(tmp_path) == []
    storage.write_atomic(path, b"first")
    storage.write_atomic(path, b"second")
    assert storage.read_bytes(path) == b"second" and os.listdir(tmp_path) == ["file"]


def test_a_directory_is_listed_without_its_folders(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "a").write_bytes(b"123")
    assert storage.list_directory(str(tmp_path)) == {"a": 3}
    assert storage.list_directory(str(tmp_path / "none")) == {}


def test_empty_files_do_not_count_as_written(tmp_path):
    (tmp_path / ".lock").touch()
    assert storage.last_written(str(tmp_path)) is None
    for name, time in (("a", 1000), ("b", 2000)):
        (tmp_path / name).write_bytes(b"1")
        os.utime(tmp_path / name, (time, time))
    assert storage.last_written(str(tmp_path)) == 2000


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(JobFailed, match=r"--output .*file/x: cannot be written .*; choose another directory"):
        storage.make_directory(str(tmp_path / "file" / "x"))


def test_what_exists_and_what_is_a_file(tmp_path):
    path = str(tmp_path / "a")
    assert not storage.exists(path)
    storage.write_atomic(path, b"")
    assert storage.exists(path) and storage.is_file(path)
    assert storage.exists(str(tmp_path)) and not storage.is_file(str(tmp_path))
    storage.remove(path)
    storage.remove(path)
    assert not storage.exists(path)


def test_a_local_file_needs_no_copy_and_no_beam(tmp_path):
    path = str(tmp_path / "a")
    script = (
        "import sys\n"
        "from beam_pipeline.runtime import storage\n"
        "path = storage.absolute(sys.argv[1])\n"
        "storage.write_atomic(path, b'x')\n"
        "with storage.local_copy(path) as local:\n"
        "    assert local == path\n"
        "assert storage.sha256(path) == '2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881'\n"
        "assert 'apache_beam' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script, path], check=True)


def test_a_scheme_that_nobody_knows_is_an_error():
    for ask in (storage.find_remote, storage.exists, storage.read_bytes, storage.list_directory):
        for kind in (ValueError, UserError):
            with pytest.raises(kind, match=r"nobody://bucket/a.*: there is no file system for nobody:// here"):
                ask("nobody://bucket/a")
    with pytest.raises(UserError, match="no file system for nobody://"):
        storage.write_atomic("nobody://bucket/a", b"x")
