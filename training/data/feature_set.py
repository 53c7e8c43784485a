"""The manifest of a feature set: the identity of its encoder, and its committed shards.

Local manifests are read without TensorFlow; `s3://` and `gs://` work wherever TensorFlow has the file system.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from dataclasses import asdict, dataclass, field
from typing import Any

from training.errors import JobFailed, UserError
from training.storage import exists, file_size, read_json

MANIFEST = "manifest.json"
GRID_SHAPE = (64, 2048)  # (P, C): InceptionV3's 8x8 grid after mixed9 or mixed10, row by row
POOLED_SHAPE = (2048,)  # (C,): mean over the grid
FEATURE_SHAPES = {"grid": GRID_SHAPE, "pooled": POOLED_SHAPE}
FEATURE_DTYPE = "float16"

RANDOM_STATISTICS = "random_encoder.npz"  # with random encoder weights only: what they are made from
INT8_ENCODER = "int8_encoder.npz"  # with precision int8 only: the quantized graph
SCHEMA_VERSION = 1
REPAIR = "run the same `captionbeam extract` command again: it redoes only that shard"


@dataclass(frozen=True)
class EncoderIdentity:
    """Everything that decides a feature's values; features of different identities never mix.

    Attributes:
      architecture: "InceptionV3".
      engine: the library that runs it, "tensorflow" or "openvino".
      weights_sha256: hex digest of the weight file, of the statistics of random weights, or of the quantized graph.
      weights: as the user named them ("imagenet", "random" or a file name); for messages, not part of the id.
      input_size: pixels of a side.
      resize: filter and reduction that bring a picture to that size.
      precision: "float32", "bfloat16" or "int8".
      feature_kind: "grid" or "pooled".
      layer: name in Keras of the layer whose output the features are, "mixed9" or "mixed10".
    """

    architecture: str
    engine: str
    weights_sha256: str
    weights: str
    input_size: int
    resize: str
    precision: str
    feature_kind: str
    layer: str

    @property
    def id(self) -> str:
        """12 hex digits, equal for two encoders only if their features are."""
        decisive = {name: value for name, value in asdict(self).items() if name != "weights"}
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """Shape of a picture's feature: (P, C) of the grid kind, (C,) of the pooled kind."""
        return FEATURE_SHAPES[self.feature_kind]

    def __str__(self) -> str:
        return (
            f"{self.architecture} {self.id} ({self.layer} {self.feature_kind}, {self.engine} {self.precision}, "
            f"weights {self.weights} {self.weights_sha256[:8]})"
        )


@dataclass(frozen=True)
class Shard:
    """One committed shard.

    Attributes:
      name: of its file in the feature set; a shard without records has no file.
      records, captions: how many it holds.
      size_bytes, sha256: of its file.
    """

    name: str
    records: int
    captions: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class FeatureSet:
    """Content of `manifest.json`.

    Attributes:
      path: the directory.
      encoder: identity of the encoder that every record was made with.
      shards: committed shards, sorted by name.
      augment: augmented views in the records beside each picture's feature.
      totals: pictures listed, done, duplicate, rejected, and other counts of the last run.
      notes: examples of anything odd, by kind, for people.
    """

    path: str
    encoder: EncoderIdentity
    shards: tuple[Shard, ...]
    augment: int = 0
    totals: dict[str, int] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)

    @property
    def records(self) -> int:
        """Pictures in all shards."""
        return sum(shard.records for shard in self.shards)

    @property
    def captions(self) -> int:
        """Captions in all shards."""
        return sum(shard.captions for shard in self.shards)

    def shard_paths(self) -> list[str]:
        """Paths of the shards that hold records, each checked for the size in the manifest.

        Raises:
          JobFailed: a shard is missing, empty or cut short; names the file and how to repair it.
        """
        paths = []
        for shard in self.shards:
            if not shard.records:
                continue
            path = posixpath.join(self.path, shard.name)
            try:
                size = file_size(path)
            except FileNotFoundError:
                raise JobFailed(f"{path}: the manifest names this shard but it is missing; {REPAIR}") from None
            if size != shard.size_bytes:
                state = "is empty" if size == 0 else f"has {size} bytes"
                raise JobFailed(f"{path}: shard {state} where the manifest says {shard.size_bytes}; {REPAIR}")
            paths.append(path)
        return paths

    def to_json(self) -> dict[str, Any]:
        """Content of `manifest.json`; `from_json` is the inverse."""
        return {
            "schema_version": SCHEMA_VERSION,
            "encoder": {**asdict(self.encoder), "id": self.encoder.id},
            "augment": self.augment,
            "totals": self.totals,
            "notes": self.notes,
            "shards": [asdict(shard) for shard in self.shards],
        }


def encoder_from_json(fields: dict[str, Any]) -> EncoderIdentity:
    """Entry "encoder" of a manifest or of `config.json` -> EncoderIdentity; its derived "id" is ignored."""
    before_layers = {"layer": "mixed10"}  # in manifests that do not name it
    return EncoderIdentity(**before_layers | {name: value for name, value in fields.items() if name != "id"})


def from_json(path: str, document: dict[str, Any]) -> FeatureSet:
    """Directory and its parsed `manifest.json` -> FeatureSet.

    Raises:
      UserError: the document is of another schema version or lacks a field.
    """
    where = posixpath.join(path, MANIFEST)
    if document.get("schema_version") != SCHEMA_VERSION:
        raise UserError(
            f"{where}: schema version {document.get('schema_version')} where this captionbeam reads {SCHEMA_VERSION}; "
            "extract the features again"
        )
    try:
        return FeatureSet(
            path=path,
            encoder=encoder_from_json(document["encoder"]),
            shards=tuple(Shard(**shard) for shard in document["shards"]),
            augment=document.get("augment", 0),
            totals=document["totals"],
            notes=document["notes"],
        )
    except (KeyError, TypeError) as error:
        raise UserError(f"{where}: not a manifest of a feature set ({error}); extract the features again") from error


def load_feature_set(path: str) -> FeatureSet:
    """Directory of a feature set -> FeatureSet.

    Raises:
      UserError: there is no readable manifest, or it has no picture.
    """
    where = posixpath.join(path, MANIFEST)
    if not exists(where):
        raise UserError(
            f"{path}: no {MANIFEST} here, so no finished shards; run `captionbeam extract --output {path}` first"
        )
    try:
        document = read_json(where)
    except ValueError as error:
        raise UserError(
            f"{where}: not JSON ({error}); run `captionbeam extract` again, it rebuilds the file"
        ) from error
    feature_set = from_json(path, document)
    if not feature_set.records:
        raise UserError(f"{path}: its shards hold no pictures; extract some first")
    return feature_set
