import hashlib
import json
import os
import sys
from unittest.mock import Mock

import pytest
import tensorflow as tf

from training.errors import RemoteError, UserError
from training.storage import (
    content_hash,
    copy_file,
    exists,
    file_size,
    load_file_system,
    make_directory,
    own_size,
    read_bytes,
    reading,
    remove,
    write_bytes,
    write_json,
)


def test_a_file_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "a.json"
    write_bytes(str(path), b"old")
    write_json(str(path), {"name": "caf\u00e9"})
    assert json.loads(read_bytes(str(path))) == {"name": "caf\u00e9"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_nan_is_refused_and_the_old_file_stays(tmp_path):
    path = str(tmp_path / "a.json")
    write_bytes(path, b"1")
    with pytest.raises(ValueError):
        write_json(path, float("nan"))
    assert read_bytes(path) == b"1"


def test_copying_replaces_the_target_whole(tmp_path):
    (tmp_path / "a").write_bytes(b"new")
    (tmp_path / "b").write_bytes(b"old, and longer")
    copy_file(str(tmp_path / "a"), str(tmp_path / "b"))
    assert (tmp_path / "b").read_bytes() == b"new" and len(list(tmp_path.iterdir())) == 2
    with pytest.raises(FileNotFoundError):
        copy_file(str(tmp_path / "none"), str(tmp_path / "b"))
    assert (tmp_path / "b").read_bytes() == b"new"


def test_a_content_hash_is_empty_for_what_cannot_be_read(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert content_hash(str(tmp_path / "a")) == hashlib.sha256(b"abc").hexdigest()
    assert content_hash(str(tmp_path / "none")) == content_hash(str(tmp_path)) == ""


@pytest.mark.parametrize("place", ["pipe", "/dev/zero", "folder"])
def test_what_is_no_regular_file_is_neither_waited_for_nor_read(tmp_path, place):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=r"a (pipe, socket or device|folder), not a file"):
        read_bytes(str(tmp_path / place))


def test_removing_what_is_not_there_is_no_error(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    for _ in range(2):
        remove(str(tmp_path / "a"))
        assert not exists(str(tmp_path / "a"))


def test_a_remote_path_goes_through_tensorflow():
    path = "ram://folder/a.json"  # TensorFlow's file system in memory
    make_directory("ram://folder")
    write_json(path, [1])
    write_json(path, [1, 2])
    assert json.loads(read_bytes(path)) == [1, 2] and file_size(path) == len(read_bytes(path)) and exists(path)
    with reading(path) as file:
        assert file.read(3) == b"[\n "
    remove(path)
    remove(path)
    assert not exists(path)
    with pytest.raises(FileNotFoundError):
        read_bytes(path)


def test_s3_without_tensorflow_io_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_io", None)
    with pytest.raises(UserError, match="s3://bucket/a: TensorFlow opens s3:// with tensorflow-io alone"):
        load_file_system("s3://bucket/a")
    load_file_system("gs://bucket/a")
    load_file_system("/local/a")


@pytest.mark.parametrize("ask", [exists, file_size, own_size, read_bytes])
def test_a_file_that_a_store_does_not_tell_of_is_not_taken_for_absent(ask, monkeypatch):
    """tensorflow-io says "not found" to whoever asks for a file's state, and tells the truth to whoever reads it."""
    nothing_told = tf.errors.NotFoundError(None, None, "Object does not exist")
    no_answer = tf.errors.UnknownError(None, None, ": curlCode: 28, Timeout was reached")
    monkeypatch.setattr(tf.io.gfile, "stat", Mock(side_effect=nothing_told))
    monkeypatch.setattr(tf.io.gfile.GFile, "read", Mock(side_effect=no_answer))
    with pytest.raises(RemoteError, match=r"^ram://d/a: curlCode: 28, Timeout was reached; check the address"):
        ask("ram://d/a")


def test_a_store_that_does_not_answer_is_given_seconds_not_minutes(monkeypatch):
    names = "S3_CONNECT_TIMEOUT_MSEC", "S3_REQUEST_TIMEOUT_MSEC", "AWS_RETRY_MODE", "AWS_MAX_ATTEMPTS"
    for name in names:
        monkeypatch.setenv(name, "")  # so that the fixture restores it
        monkeypatch.delenv(name)
    monkeypatch.setitem(sys.modules, "tensorflow_io", object())
    load_file_system("s3://bucket/features")
    assert [os.environ[name] for name in names] == ["3000", "10000", "standard", "5"]
