"""The manifest of a feature set: the identity of its encoder, and its committed shards.

Local manifests are read without TensorFlow; `s3://` and `gs://` work wherever TensorFlow has the file system.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from msgspec import Meta

from training.documents import Count, Damaged, FileName, Sha256, Sha256OrNone, parse_document
from training.errors import JobFailed, UserError
from training.own_names import MANIFEST
from training.storage import own_size, read_own
from training.text.plurals import counted

# Layer of InceptionV3 -> (P, C) of its grid, row by row.
GRID_SHAPES = {"mixed7": (289, 768), "mixed8": (64, 1280), "mixed9": (64, 2048), "mixed10": (64, 2048)}
FEATURE_DTYPE = "float16"

SCHEMA_VERSION = 1
_MEND = "remove it and run the same `captionbeam extract` command again, which rebuilds it"
_RECORD_BYTES = 16  # of a TFRecord's frame: no record takes less
_WORD = Annotated[str, Meta(min_length=1, max_length=200)]
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
      layer: name in Keras of the layer whose output the features are, a key of `GRID_SHAPES`.
    """

    architecture: _WORD
    engine: _WORD
    weights_sha256: Sha256
    weights: str
    input_size: Annotated[int, Meta(ge=1, le=4096)]
    resize: str
    precision: _WORD
    feature_kind: Annotated[str, Meta(pattern="^(grid|pooled)$")]
    layer: _WORD = "mixed10"  # of manifests that do not name it

    @property
    def id(self) -> str:
        """12 hex digits, equal for two encoders only if their features are."""
        decisive = {name: value for name, value in asdict(self).items() if name != "weights"}
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """Shape of a picture's feature: (P, C) of the grid kind; (C,) of the pooled kind, the mean over the grid.

        Raises:
          UserError: nobody knows the layer.
        """
        if self.layer not in GRID_SHAPES:
            known = ", ".join(GRID_SHAPES)
            raise UserError(f"features of layer {self.layer!r}: this captionbeam knows {known}; install a newer one")
        grid = GRID_SHAPES[self.layer]
        return grid if self.feature_kind == "grid" else grid[1:]

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
      ledger_sha256: of its ledger; "" in manifests that do not name it.
    """

    name: FileName
    records: Count
    captions: Count
    size_bytes: Count
    sha256: Sha256OrNone
    ledger_sha256: Sha256OrNone = ""


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
      tail_sha256: hex digest of `encoder_tail.npz`; "" where it is not known, or there is none.
    """

    path: str
    encoder: EncoderIdentity
    shards: tuple[Shard, ...]
    augment: int = 0
    totals: dict[str, int] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    tail_sha256: str = ""

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
                size = own_size(path)
            except FileNotFoundError:
                raise JobFailed(f"{path}: the manifest names this shard but it is missing; {REPAIR}") from None
            if size != shard.size_bytes:
                state = "is empty" if size == 0 else f"has {counted(size, 'byte')}"
                raise JobFailed(f"{path}: shard {state} where the manifest says {shard.size_bytes}; {REPAIR}")
            paths.append(path)
        return paths

    def to_json(self) -> dict[str, Any]:
        """Content of `manifest.json`; `from_json` is the inverse."""
        return {
            "schema_version": SCHEMA_VERSION,
            "encoder": {**asdict(self.encoder), "id": self.encoder.id},
            "tail_sha256": self.tail_sha256,
            "augment": self.augment,
            "totals": self.totals,
            "notes": self.notes,
            "shards": [asdict(shard) for shard in self.shards],
        }


@dataclass(frozen=True)
class _Manifest:
    """Schema of `manifest.json`."""

    encoder: EncoderIdentity
    shards: tuple[Shard, ...]
    totals: dict[str, Count]
    notes: dict[str, list[str]]
    augment: Annotated[int, Meta(ge=0, le=1000)] = 0
    tail_sha256: Sha256OrNone = ""


def parse_manifest(directory: str, data: bytes) -> FeatureSet:
    """Directory and content of its `manifest.json` -> FeatureSet.

    Raises:
      UserError: the manifest is damaged, or of another schema version.
    """
    where = posixpath.join(directory, MANIFEST)
    manifest = parse_document(data, _Manifest, where, _MEND, SCHEMA_VERSION)
    for shard in manifest.shards:
        if shard.records * _RECORD_BYTES > shard.size_bytes:
            raise Damaged(
                where, f"{shard.name}: {counted(shard.records, 'record')} in {counted(shard.size_bytes, 'byte')}", _MEND
            )
    names = Counter(shard.name for shard in manifest.shards)
    if twice := next((name for name, times in names.items() if times > 1), None):
        raise Damaged(where, f"{twice} is there twice", _MEND)
    return FeatureSet(
        directory,
        manifest.encoder,
        manifest.shards,
        manifest.augment,
        manifest.totals,
        manifest.notes,
        manifest.tail_sha256,
    )


def load_feature_set(path: str) -> FeatureSet:
    """Directory of a feature set -> FeatureSet.

    Raises:
      UserError: there is no readable manifest, or it has no picture.
    """
    where = posixpath.join(path, MANIFEST)
    try:
        data = read_own(where)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"{path}: no {MANIFEST} here, so no finished shards; run `captionbeam extract --output {path}` first"
        ) from None
    feature_set = parse_manifest(path, data)
    if not feature_set.records:
        raise UserError(f"{path}: its shards hold no pictures; extract some first")
    return feature_set
