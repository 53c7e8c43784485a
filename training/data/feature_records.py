"""The TFRecord schema of a feature set: the one place that names its fields.

One `tf.train.Example` holds one distinct picture. Letters: P = grid positions, C = channels.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from training.data.feature_set import FEATURE_DTYPE, GRID_SHAPES

SHA256 = "image/sha256"
URI = "image/uri"
WIDTH = "image/width"
HEIGHT = "image/height"
SHAPE = "feature/shape"
DTYPE = "feature/dtype"
BYTES = "feature/bytes"
VIEWS = "feature/views"
CAPTIONS = "caption/text"

_SCHEMA = {
    SHA256: tf.io.FixedLenFeature([], tf.string),
    URI: tf.io.VarLenFeature(tf.string),
    WIDTH: tf.io.FixedLenFeature([], tf.int64),
    HEIGHT: tf.io.FixedLenFeature([], tf.int64),
    SHAPE: tf.io.VarLenFeature(tf.int64),
    DTYPE: tf.io.FixedLenFeature([], tf.string),
    BYTES: tf.io.FixedLenFeature([], tf.string),
    VIEWS: tf.io.FixedLenFeature([], tf.string, default_value=b""),
    CAPTIONS: tf.io.VarLenFeature(tf.string),
}


_SHAPES = {shape for grid in GRID_SHAPES.values() for shape in (grid, grid[1:])}


@dataclass(frozen=True)
class FeatureRecord:
    """One distinct picture with its feature and captions.

    Attributes:
      sha256: hex digest of the file's bytes.
      uris: every place where these bytes were found.
      width, height: pixels of the upright picture.
      feature: float16, grid [P, C] or pooled [C].
      captions: what people wrote about it, zero or more.
      views: features of V augmented views of it, float16 [V, ...]; None for none.
    """

    sha256: str
    uris: tuple[str, ...]
    width: int
    height: int
    feature: np.ndarray
    captions: tuple[str, ...]
    views: np.ndarray | None = None


def serialize(record: FeatureRecord) -> bytes:
    """FeatureRecord -> bytes of a `tf.train.Example`; equal records give equal bytes."""

    def strings(values: Iterable[bytes]) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))

    def integers(values: Iterable[int]) -> tf.train.Feature:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    fields = {
        SHA256: strings([record.sha256.encode()]),
        URI: strings([os.fsencode(uri) for uri in record.uris]),
        WIDTH: integers([record.width]),
        HEIGHT: integers([record.height]),
        SHAPE: integers(record.feature.shape),
        DTYPE: strings([record.feature.dtype.name.encode()]),
        BYTES: strings([record.feature.tobytes()]),
        CAPTIONS: strings([text.encode() for text in record.captions]),
    }
    if record.views is not None and len(record.views):
        fields[VIEWS] = strings([record.views.tobytes()])
    example = tf.train.Example(features=tf.train.Features(feature=fields))
    return example.SerializeToString(deterministic=True)


def parse(serialized: tf.Tensor, shape: tuple[int, ...]) -> dict[str, tf.Tensor]:
    """Bytes of a record as a scalar string tensor -> fields of the picture, for `tf.data.Dataset.map`.

    Args:
      serialized: what `serialize` returned.
      shape: of a picture's feature, (P, C) or (C,).

    Returns:
      SHA256 (scalar string), URI and CAPTIONS (string [n]), WIDTH and HEIGHT (scalar int64), "feature" (float16
      [P, C] or [C]) and "views" (float16 [V, ...]).
    """
    fields = tf.io.parse_single_example(serialized, _SCHEMA)
    dtype = tf.as_dtype(FEATURE_DTYPE)
    feature = tf.reshape(tf.io.decode_raw(fields[BYTES], dtype), shape)
    views = tf.reshape(tf.io.decode_raw(fields[VIEWS], dtype), [-1, *shape])
    feature, views = (tf.debugging.check_numerics(values, "not finite") for values in (feature, views))
    return {
        SHA256: fields[SHA256],
        URI: tf.sparse.to_dense(fields[URI]),
        WIDTH: fields[WIDTH],
        HEIGHT: fields[HEIGHT],
        CAPTIONS: tf.sparse.to_dense(fields[CAPTIONS]),
        "feature": feature,
        "views": views,
    }


def deserialize(serialized: bytes) -> FeatureRecord:
    """Bytes of a `tf.train.Example` -> FeatureRecord; the inverse of `serialize`, outside tf.data.

    Raises:
      ValueError: a field is missing, of another shape or type, or holds a number that is not finite.
    """
    try:
        record = _deserialize(serialized)
    except (DecodeError, IndexError, TypeError, OverflowError) as error:
        raise ValueError(f"not a record of features ({error})") from error
    if record.feature.shape not in _SHAPES or record.feature.dtype != FEATURE_DTYPE:
        raise ValueError(f"a feature {record.feature.dtype} {list(record.feature.shape)}")
    if not all(np.isfinite(array).all() for array in (record.feature, record.views) if array is not None):
        raise ValueError("a number in a feature is not finite")
    if not record.uris or min(record.width, record.height) < 1:
        raise ValueError("a picture without a place or a size")
    return record


def _deserialize(serialized: bytes) -> FeatureRecord:
    fields = tf.train.Example.FromString(serialized).features.feature
    shape, dtype = tuple(fields[SHAPE].int64_list.value), fields[DTYPE].bytes_list.value[0].decode()
    feature, views = (np.frombuffer(b"".join(fields[name].bytes_list.value), dtype=dtype) for name in (BYTES, VIEWS))
    return FeatureRecord(
        sha256=fields[SHA256].bytes_list.value[0].decode(),
        uris=tuple(os.fsdecode(uri) for uri in fields[URI].bytes_list.value),
        width=fields[WIDTH].int64_list.value[0],
        height=fields[HEIGHT].int64_list.value[0],
        feature=feature.reshape(shape),
        captions=tuple(text.decode() for text in fields[CAPTIONS].bytes_list.value),
        views=views.reshape(-1, *shape) if views.size else None,
    )
