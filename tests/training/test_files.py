import errno
import fcntl
import os
import re
import stat
import threading

import pytest

from training import files
from training.errors import JobFailed, UserError
from training.files import (
    is_local,
    is_locked,
    locked,
    new_file,
    refuse_links,
    remove_temporary_files,
    replace_file,
    temporary_name,
    writing,
)


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


def test_a_file_is_flushed_to_disk_before_it_is_renamed(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(os, "fsync", lambda handle: done.append(("fsync", os.fstat(handle).st_ino)))
    replace = os.replace
    monkeypatch.setattr(
        os, "replace", lambda old, new: (done.append(("replace", os.stat(old).st_ino)), replace(old, new))
    )
    with new_file(str(tmp_path / "a.txt")) as temporary, open(temporary, "w") as file:
        file.write("new")
    inode = (tmp_path / "a.txt").stat().st_ino
    assert done == [("fsync", inode), ("replace", inode)]


@pytest.mark.parametrize("write", [lambda path: new_file(path).__enter__(), lambda path: replace_file(path, b"new")])
def test_a_temporary_name_is_random_and_no_link_in_its_place_is_opened(tmp_path, monkeypatch, write):
    name = temporary_name()
    assert re.fullmatch(r"\.captionbeam-[0-9a-f]{16}\.tmp", name) and name != temporary_name()
    monkeypatch.setattr(files, "temporary_name", lambda: name)
    (tmp_path / "precious").write_text("mine")
    (tmp_path / name).symlink_to(tmp_path / "precious")
    with pytest.raises(FileExistsError):
        write(str(tmp_path / "a.txt"))
    assert (tmp_path / "precious").read_text() == "mine" and (tmp_path / name).is_symlink()


def test_a_folder_in_the_place_of_a_new_file_is_named_and_stays(tmp_path):
    (tmp_path / "shard").mkdir()
    said = "shard: a folder where a file is to be written; move it away, and run again"
    with pytest.raises(JobFailed, match=said), writing("out", "kept"), new_file(str(tmp_path / "shard")):
        pass
    assert os.listdir(tmp_path) == ["shard"]


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
    theirs = [".tmp-a.txt", ".tmp-a.txt-x1y2z3w4", ".captionbeam-notes", f".captionbeam-{16 * 'a'}.tmp.bak", "a.txt"]
    for name in theirs:
        (tmp_path / name).write_text("somebody's")
    (tmp_path / ".tmp-folder").mkdir()
    (tmp_path / temporary_name()).write_text("half")
    ours = tmp_path / temporary_name()
    ours.mkdir()
    (ours / "b").write_text("half")
    (ours / "link").symlink_to(tmp_path / ".tmp-folder")
    (tmp_path / temporary_name()).symlink_to(tmp_path / "a.txt")
    remove_temporary_files(str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == sorted([*theirs, ".tmp-folder"])


def test_what_is_being_written_at_the_moment_stays(tmp_path):
    with new_file(str(tmp_path / "a.txt")) as temporary:
        with open(temporary, "w") as file:
            file.write("new")
        remove_temporary_files(str(tmp_path))
        assert os.path.exists(temporary)
    assert (tmp_path / "a.txt").read_text() == "new" and os.listdir(tmp_path) == ["a.txt"]


def test_folders_that_libraries_write_into_are_no_links(tmp_path):
    (tmp_path / "folder").mkdir()
    refuse_links(str(tmp_path), ("folder", "none"))
    (tmp_path / "log").symlink_to(tmp_path / "folder")
    with pytest.raises(UserError, match="log: a link, and links in a directory of captionbeam are not followed"):
        refuse_links(str(tmp_path), ("folder", "log"))


@pytest.mark.parametrize("name", ["ckpt-2.index", "ckpt-2_temp", "deeper/part"])
@pytest.mark.parametrize("target", ["file", "elsewhere", "nothing"])
def test_folders_that_libraries_write_into_hold_no_links(tmp_path, name, target):
    (tmp_path / "file").touch()
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "folder" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / target)
    with pytest.raises(UserError, match=f"{name}: a link, and links in a directory of captionbeam are not followed"):
        refuse_links(str(tmp_path), ("folder",))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_what_another_user_left_stays(tmp_path):
    name = temporary_name()
    (tmp_path / name).write_text("half")
    os.chown(tmp_path / name, 12345, 12345)
    remove_temporary_files(str(tmp_path))
    assert os.listdir(tmp_path) == [name]


def test_a_new_file_is_never_open_to_everybody(tmp_path, monkeypatch):
    """Not even for a moment: other threads make files meanwhile."""
    monkeypatch.setattr(os, "umask", None)
    with new_file(str(tmp_path / "a.txt")) as temporary:
        assert not os.stat(temporary).st_mode & stat.S_IWOTH


def test_a_directory_is_locked_for_one_run_at_a_time(tmp_path):
    refused = pytest.raises(JobFailed, match="another captionbeam is writing here")
    with locked(str(tmp_path)), refused, locked(str(tmp_path)):
        pass
    with locked(str(tmp_path)):
        pass


def test_a_lock_that_is_asked_for_a_moment_is_waited_for(tmp_path):
    """`captionbeam status` asks whether a directory is locked, and no run fails of that."""
    with locked(str(tmp_path)):
        pass
    handle = os.open(tmp_path / ".lock", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_SH)
    threading.Timer(0.3, os.close, [handle]).start()
    with locked(str(tmp_path)):
        assert is_locked(str(tmp_path))


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EACCES])
def test_a_file_system_without_locks_is_no_other_run(tmp_path, monkeypatch, caplog, code):
    def flock(handle, how):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(str(tmp_path)):
        assert is_locked(str(tmp_path)) is None
    assert caplog.messages == [
        f"{tmp_path}: this file system gives no lock ({os.strerror(code).lower()}); "
        "see to it that no other captionbeam writes there"
    ]


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink("target", path)])
def test_a_lock_file_that_is_none_is_neither_followed_nor_waited_for(tmp_path, make):
    make(tmp_path / ".lock")
    with pytest.raises(JobFailed, match=r"\.lock: a link, a folder or a device; remove it and run again"):
        locked(str(tmp_path)).__enter__()
    assert is_locked(str(tmp_path)) in (None, False)
    assert not (tmp_path / "target").exists()


def test_a_directory_that_cannot_be_written_is_no_other_run(tmp_path, monkeypatch):
    def refuse(path, flags, mode=0o777):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(JobFailed) as failed:
        locked(str(tmp_path)).__enter__()
    assert str(failed.value) == (
        f"--output {tmp_path}: cannot be written (read-only file system); choose another directory"
    )


def test_the_lock_file_of_a_colleague_will_do(tmp_path, monkeypatch):
    (tmp_path / ".lock").touch()
    opened, flags_of = os.open, []

    def open_unless_for_writing(path, flags, mode=0o777):
        flags_of.append(flags)
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return opened(path, flags, mode)

    monkeypatch.setattr(os, "open", open_unless_for_writing)
    refused = pytest.raises(JobFailed, match="another captionbeam is writing here")
    with locked(str(tmp_path)), refused, locked(str(tmp_path)):
        pass
    assert len(flags_of) == 4


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
