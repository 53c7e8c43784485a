import errno
import os
import stat

import pytest

from training.errors import JobFailed, UserError
from training.files import is_local, locked, new_file, remove_temporary_files, writing


@pytest.mark.parametrize(
    ("path", "local"), [("a/b", True), ("/a:b", True), ("a//b", True), ("s3://a/b", False), ("file:///a", False)]
)
def test_a_path_with_a_scheme_is_remote(path, local):
    assert is_local(path) is local


def test_a_new_file_appears_whole_with_the_usual_permissions(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    before = os.umask(0o027)
    try:
        with new_file(str(path)) as temporary:
            assert os.path.dirname(temporary) == str(tmp_path)
            with open(temporary, "w") as file:
                file.write("new")
            assert path.read_text() == "old"
    finally:
        os.umask(before)
    assert path.read_text() == "new" and stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["a.txt"]


def test_two_writers_of_one_file_do_not_disturb_each_other(tmp_path):
    path = tmp_path / "a.txt"
    with new_file(str(path)) as first, new_file(str(path)) as second:
        assert first != second
        for name, text in ((first, "first"), (second, "second")):
            with open(name, "w") as file:
                file.write(text)
    assert path.read_text() == "first"  # the last to finish
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_file_whose_writing_fails_stays_as_it_was(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ValueError), new_file(str(path)):
        raise ValueError
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_what_a_killed_run_left_is_removed_and_nothing_else(tmp_path):
    (tmp_path / ".tmp-a.txt-x").write_text("half")
    (tmp_path / ".tmp-folder").mkdir()
    (tmp_path / ".tmp-folder" / "b").write_text("half")
    (tmp_path / "a.txt").write_text("whole")
    remove_temporary_files(str(tmp_path))
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_directory_is_locked_for_one_run_at_a_time(tmp_path):
    refused = pytest.raises(JobFailed, match="another captionbeam is writing here")
    with locked(str(tmp_path)), refused, locked(str(tmp_path)):
        pass
    with locked(str(tmp_path)):
        pass


@pytest.mark.parametrize("kind", [OSError, RuntimeError])
def test_a_full_disk_is_one_line_whichever_library_says_so(kind):
    with pytest.raises(JobFailed) as failed, writing("out", "shards are kept"):
        raise kind(f"HDF5 says: {os.strerror(errno.ENOSPC)}")
    assert str(failed.value) == (
        "out: cannot be written (no space left on device); make room and run again: shards are kept"
    )


@pytest.mark.parametrize("error", [OSError("disk on fire"), UserError(os.strerror(errno.EROFS))])
def test_other_errors_pass(error):
    with pytest.raises(type(error)) as passed, writing("out", "shards are kept"):
        raise error
    assert passed.value is error
