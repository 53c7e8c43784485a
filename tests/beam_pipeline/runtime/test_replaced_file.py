import os
from pathlib import Path

import pytest

from beam_pipeline.runtime import replaced_file as module
from beam_pipeline.runtime.replaced_file import NotReplaceable, replaced_file

# An ACL: rw- for the owner, r-- for user 1234, --- for the group, mask r--, --- for others.
ACL = bytes.fromhex("02000000 01000600ffffffff 02000400d2040000 04000000ffffffff 10000400ffffffff 20000000ffffffff")


def replace(path, data=b"new", keep_times=True, **options):
    with replaced_file(str(path), keep_times, **options) as local:
        Path(local).write_bytes(data)


def belongings(path):
    status = os.stat(path)
    attributes = {name: os.getxattr(path, name) for name in os.listxattr(path)}
    return status.st_uid, status.st_gid, status.st_mode, status.st_mtime_ns, attributes


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"old")
    path.chmod(0o640)
    os.setxattr(path, "user.rating", b"5")
    os.setxattr(path, "system.posix_acl_access", ACL)
    os.utime(path, ns=(1_000_000_000_123_456_789, 1_100_000_000_987_654_321))
    if os.geteuid() == 0:
        os.chown(path, 1000, 1001)
    return path


def test_all_that_belongs_to_a_file_stays(photo, tmp_path):
    link = tmp_path / "link.jpg"
    link.symlink_to("a.jpg")
    # New files of the folder get an ACL and an attribute of their own, which the photo does not have.
    os.setxattr(tmp_path, "system.posix_acl_default", ACL)
    before = belongings(photo)
    replace(link, before=b"old")
    assert link.is_symlink() and photo.read_bytes() == b"new"
    assert belongings(photo) == before
    assert sorted(os.listdir(tmp_path)) == ["a.jpg", "link.jpg"]


def test_a_file_without_an_acl_gets_none_from_its_folder(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"old")
    os.setxattr(tmp_path, "system.posix_acl_default", ACL)
    replace(path)
    assert os.listxattr(path) == []


def test_times_change_where_that_is_asked_for(photo):
    *before, mtime, attributes = belongings(photo)
    replace(photo, keep_times=False)
    *after, changed, attributes_after = belongings(photo)
    assert changed > mtime and (before, attributes) == (after, attributes_after)


def refused(path, said, **options):
    before, content = belongings(path), path.read_bytes()
    listed = sorted(os.listdir(path.parent))
    with pytest.raises(NotReplaceable, match=said):
        replace(path, **options)
    assert path.read_bytes() == content and belongings(path) == before
    assert sorted(os.listdir(path.parent)) == listed


def test_what_would_lose_something_is_left_alone(photo, tmp_path):
    os.link(photo, tmp_path / "b.jpg")
    refused(photo, "has 2 hard links, .* left alone")
    (tmp_path / "b.jpg").unlink()
    refused(photo, "was changed by another program", before=b"ol")
    photo.chmod(0o440)
    refused(photo, "is read-only")


def test_a_file_that_changes_meanwhile_is_left_alone(photo):
    def replace_late():
        with replaced_file(str(photo), True, b"old") as local:
            Path(local).write_bytes(b"new")
            photo.write_bytes(b"theirs")

    with pytest.raises(NotReplaceable, match="was changed by another program"):
        replace_late()
    assert photo.read_bytes() == b"theirs" and os.listdir(photo.parent) == ["a.jpg"]


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(NotReplaceable, match="no regular file"):
        replace(tmp_path / "fifo")


def test_who_may_not_keep_the_owner_leaves_the_file_alone(photo, monkeypatch):
    def refuse(path, uid, gid):
        raise PermissionError(1, "Operation not permitted")

    mine, real = os.stat(photo), os.stat

    def somebody_elses(path, **options):
        status = list(real(path, **options))
        status[4] += str(path) == str(photo)  # st_uid
        return os.stat_result(status)

    monkeypatch.setattr(module.os, "chown", refuse)
    monkeypatch.setattr(module.os, "stat", somebody_elses)
    with pytest.raises(NotReplaceable, match=r"belongs to the user .*, which only that user or root can keep"):
        replace(photo)
    monkeypatch.undo()
    assert os.stat(photo).st_ino == mine.st_ino and os.listdir(photo.parent) == ["a.jpg"]


def test_an_attribute_that_cannot_be_kept_leaves_the_file_alone(photo, monkeypatch):
    def refuse(path, name, value):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(module.os, "setxattr", refuse)
    with pytest.raises(NotReplaceable, match=r"rights or attributes cannot be kept .operation not permitted."):
        replace(photo)
    assert photo.read_bytes() == b"old"
