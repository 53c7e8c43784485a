"""The encoder of a feature set: the one that the options name, which has to be the one that the set was made with."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import replace

import numpy as np

from beam_pipeline.encoders.base import EncoderRequest, EncoderSpec
from beam_pipeline.encoders.int8 import int8_spec, is_int8_encoder
from beam_pipeline.encoders.registry import missing_statistics, require_unchanged, resolve_encoder, tail_of
from beam_pipeline.inputs.sources import Collection
from beam_pipeline.options.extract import DEFAULT_LAYERS, ExtractOptions
from beam_pipeline.runtime import storage
from beam_pipeline.runtime.memory import release_memory
from beam_pipeline.shards.encoding import sample_pixels
from beam_pipeline.shards.feature_shard import read_feature_shard
from beam_pipeline.shards.manifest import read_manifest
from beam_pipeline.shards.shard_id import committed_shards
from training.data.feature_set import GRID_SHAPES, EncoderIdentity, FeatureSet
from training.errors import JobFailed, UserError
from training.own_names import INT8_ENCODER, TAIL


def earlier_features(options: ExtractOptions, output: str) -> FeatureSet | None:
    """Options and output directory -> the FeatureSet that it holds already; None where there is none.

    Raises:
      UserError: it was made with other options, as far as they tell before the encoder is resolved.
    """
    earlier = read_manifest(output)
    if earlier is None:
        return None
    encoder = earlier.encoder
    # Else a second encoder would first be fitted to the collection and written to the directory.
    if (options.precision == "int8") != (encoder.precision == "int8"):
        raise _another_encoder(output, encoder, f"--precision {options.precision}")
    if encoder.precision != "int8" and (options.weights == "random") != (encoder.weights == "random"):
        raise _another_encoder(output, encoder, f"--weights {options.weights}")
    if earlier.augment != options.augment:
        raise UserError(
            f"--output {output}: holds features with --augment {earlier.augment}, and this run has --augment "
            f"{options.augment}; choose another --output, or --augment {earlier.augment}"
        )
    return earlier


def encoder_of_options(
    options: ExtractOptions, collection: Collection, earlier: FeatureSet | None, directory: str
) -> EncoderSpec:
    """Options -> the encoder that they name.

    Args:
      collection: its pictures are what random weights and int8 are fitted to.
      earlier: feature set that the output holds, or None.
      directory: has the statistics of random weights and the int8 encoder, or gets them.

    Raises:
      UserError: the encoder is not available, or not the one that `earlier` was made with.
    """

    def sample() -> np.ndarray:
        if earlier and earlier.encoder.precision == "int8":
            int8_spec(storage.join(earlier.path, INT8_ENCODER))  # a new one would be another encoder
        elif earlier and earlier.encoder.weights == "random":
            raise missing_statistics(earlier.path)  # likewise
        return sample_pixels(collection, options.decode_limits)

    layer = options.layer or (earlier.encoder.layer if earlier else _layer_of_files(options, directory))
    request = EncoderRequest(options.weights, options.feature_kind, layer, options.precision, options.engine)
    spec = resolve_encoder(request, directory, sample)
    if earlier and earlier.encoder.id != spec.identity.id:
        require_unchanged(spec, earlier.encoder, earlier.path)
        raise _another_encoder(earlier.path, earlier.encoder, str(spec.identity))
    return spec


def keep_int8_encoder(spec: EncoderSpec, output: str) -> EncoderSpec:
    """EncoderSpec -> the same, with an int8 encoder copied into the output, where `train` takes it from."""
    path = storage.join(output, INT8_ENCODER)
    if spec.identity.precision != "int8" or spec.weights_path == path:
        return spec
    storage.write_atomic(path, storage.read_bytes(spec.weights_path))
    return replace(spec, weights_path=path)


def keep_tail(spec: EncoderSpec, output: str, earlier: FeatureSet | None) -> str:
    """Writes what the encoder computes behind its layer into the output, where `train` takes it from.

    Args:
      spec: the encoder.
      output: directory of the feature set.
      earlier: feature set that the output holds, or None.

    Returns:
      hex sha256 of the file; "" if there is nothing to write.
    """
    path = storage.join(output, TAIL)
    data = storage.read_own_if_there(path)
    if data is None or earlier is None or hashlib.sha256(data).hexdigest() != earlier.tail_sha256:
        data = tail_of(spec)
        release_memory()  # of the network that it was taken from
        if data is None:
            return ""
        storage.write_atomic(path, data)
    return hashlib.sha256(data).hexdigest()


def _layer_of_files(options: ExtractOptions, directory: str) -> str:
    """The layer of a run that names none, in a directory without manifest: that of the files which are there."""
    if options.precision == "int8":
        for path in (options.weights, storage.join(directory, INT8_ENCODER)):
            if is_int8_encoder(path):
                return int8_spec(storage.absolute(path)).identity.layer
    for shard in committed_shards(storage.list_directory(directory)):  # of which the manifest was removed
        with contextlib.suppress(JobFailed, StopIteration):
            shape = next(read_feature_shard(storage.join(directory, shard.features()))).feature.shape
            # The first that fits: mixed9 and mixed10 have one shape, and mixed9 was the default of earlier versions.
            return next(layer for layer, grid in GRID_SHAPES.items() if shape in (grid, grid[1:]))
    return DEFAULT_LAYERS[options.feature_kind]


def _another_encoder(output: str, encoder: EncoderIdentity, requested: str) -> UserError:
    return UserError(
        f"--output {output}: holds features of {encoder}, and this run would add those of {requested}; "
        "choose another --output, or the weights, layer, kind, engine and precision that it was made with"
    )
