"""Whole files, written so that a reader sees the old one or the new one, never half of it.

Paths go through `tf.io.gfile`: local, `s3://`, `gs://` and whatever else TensorFlow can reach.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import tensorflow as tf


def write_bytes(path: str, data: bytes) -> None:
    """Replaces the file at `path` in one step."""
    partial = f"{path}.partial"
    with tf.io.gfile.GFile(partial, "wb") as file:
        file.write(data)
    tf.io.gfile.rename(partial, path, overwrite=True)


def write_text(path: str, text: str) -> None:
    """Replaces the file at `path` by UTF-8 text."""
    write_bytes(path, text.encode())


def write_json(path: str, document: Any) -> None:
    """Replaces the file at `path` by indented JSON; NaN has no JSON form and is refused."""
    write_text(path, json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_bytes(path: str) -> bytes:
    """Raises `tf.errors.NotFoundError` if there is no such file."""
    with tf.io.gfile.GFile(path, "rb") as file:
        return file.read()


def read_json(path: str) -> Any:
    """Raises `tf.errors.NotFoundError` if there is no such file, ValueError if it is not JSON."""
    return json.loads(read_bytes(path).decode())


def content_hash(path: str) -> str:
    """Path -> sha256 of the file's bytes, in hex; empty if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except tf.errors.OpError:
        return ""
    return digest.hexdigest()
