"""Which networks and engines there are; what a user asks for -> an encoder, found, named and loaded.

`resolve_encoder` runs once, where the job starts: it finds the weights and names the encoder's identity. Workers call
`load_encoder` on what it returned, once per process. A new network or engine is a module and an entry here.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import replace

import numpy as np

from beam_pipeline.encoders.architectures.inception_v3 import InceptionV3
from beam_pipeline.encoders.base import (
    AUTO,
    BFLOAT16,
    COPY_AGAIN,
    FLOAT32,
    IMAGENET,
    INT8,
    POOLED,
    RANDOM,
    Architecture,
    Encoder,
    EncoderRequest,
    EncoderSpec,
    Engine,
    SamplePictures,
)
from beam_pipeline.encoders.engines.openvino import OpenVino
from beam_pipeline.encoders.engines.tensorflow import TensorFlow
from beam_pipeline.encoders.int8 import find_or_quantize, int8_spec, is_int8_encoder, read_tail
from beam_pipeline.encoders.random_weights import fit_random_statistics
from beam_pipeline.encoders.tail import operations_behind
from beam_pipeline.encoders.weights import find_weight_file, imagenet_weight_file, load_model
from beam_pipeline.images.decode import INPUT_SIZE, RESIZE
from beam_pipeline.runtime import storage
from training.data.feature_set import EncoderIdentity
from training.documents import Damaged
from training.errors import JobFailed, UserError
from training.models.tail_file import pack_tail, parse_tail
from training.own_names import INT8_ENCODER, RANDOM_STATISTICS

ARCHITECTURES: dict[str, Architecture] = {architecture.name: architecture for architecture in (InceptionV3(),)}
ENGINES: dict[str, Engine] = {engine.name: engine for engine in (TensorFlow(), OpenVino())}


def resolve_encoder(request: EncoderRequest, directory: str, sample: SamplePictures) -> EncoderSpec:
    """What the user asks for -> how workers load it, with every file found and hashed.

    Args:
      directory: keeps what is fitted to the collection, the statistics of random weights and the int8 encoder.
      sample: gives pictures of the collection; called only where something has to be fitted to them.

    Raises:
      UserError: the weights or the engine cannot be had; says how to get them.
    """
    engine, architecture = _engine(request.engine), _architecture(request.architecture)
    if request.precision == INT8 and INT8 not in engine.precisions:
        capable = " or ".join(name for name, other in ENGINES.items() if INT8 in other.precisions)
        raise UserError(f"--precision int8: goes with --engine {capable} only; give both, or another precision")
    engine.require()
    if request.precision != INT8:
        return _resolve_weights(request, architecture, directory, sample)
    if is_int8_encoder(request.weights):
        return _as_requested(int8_spec(storage.absolute(request.weights)), request)
    original = _resolve_weights(replace(request, precision=FLOAT32), architecture, directory, sample)
    return find_or_quantize(
        directory, original, lambda: engine.quantize(original, architecture, sample), lambda: tail_of(original)
    )


def _engine(name: str) -> Engine:
    if name not in ENGINES:
        raise UserError(f"engine {name}: this captionbeam does not know it; it has {' and '.join(ENGINES)}")
    return ENGINES[name]


def _architecture(name: str) -> Architecture:
    if name not in ARCHITECTURES:
        raise UserError(f"network {name}: this captionbeam does not know it; it has {' and '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]


def _resolve_weights(
    request: EncoderRequest, architecture: Architecture, directory: str, sample: SamplePictures
) -> EncoderSpec:
    if request.weights == RANDOM:
        path = storage.join(directory, RANDOM_STATISTICS)
        try:
            storage.own_size(path)
        except FileNotFoundError:
            storage.write_atomic(path, fit_random_statistics(architecture, sample()))
    elif request.weights == IMAGENET:
        path = imagenet_weight_file(architecture)
    else:
        path = find_weight_file(request.weights)
    identity = EncoderIdentity(
        architecture=architecture.name,
        engine=request.engine,
        weights_sha256=storage.sha256(path),
        weights=request.weights if request.weights in (IMAGENET, RANDOM) else path,
        input_size=INPUT_SIZE,
        resize=RESIZE,
        precision=resolve_precision(request.precision),
        feature_kind=request.feature_kind,
        layer=request.layer,
    )
    return EncoderSpec(path, identity)


def _as_requested(spec: EncoderSpec, request: EncoderRequest) -> EncoderSpec:
    identity = spec.identity
    if (identity.feature_kind, identity.layer) != (request.feature_kind, request.layer):
        raise UserError(
            f"--weights {request.weights}: an int8 encoder that gives {identity.layer} {identity.feature_kind}, not "
            f"{request.layer} {request.feature_kind}; give --layer {identity.layer} --feature-kind "
            f"{identity.feature_kind}, or other weights"
        )
    return spec


def resolve_identity(identity: EncoderIdentity, weights: str | None, directory: str) -> EncoderSpec:
    """The encoder that features or a captioner were made with; the caller compares its identity.

    Args:
      weights: path of the weights if they lie elsewhere than then, else None.
      directory: has the statistics of random weights, or the int8 encoder.

    Raises:
      UserError: its weights or its engine cannot be had, or what the directory has is damaged.
    """
    if identity.precision == INT8:
        if weights and not is_int8_encoder(weights):
            raise UserError(
                f"--weights {weights}: not an {INT8_ENCODER}, which holds the weights of an int8 encoder; leave the "
                "option out, or give the path of that file"
            )
        weights = weights or int8_spec(storage.join(directory, INT8_ENCODER)).weights_path
    elif weights == RANDOM != identity.weights:
        raise UserError(
            f"--weights {RANDOM}: {directory} was made with the encoder weights {identity.weights!r}; give their path, "
            "or leave the option out"
        )
    elif not weights and identity.weights not in (IMAGENET, RANDOM):
        weights = _weights_within(identity, directory)

    def no_sample() -> np.ndarray:
        raise missing_statistics(directory)

    request = EncoderRequest(
        weights or identity.weights,
        identity.feature_kind,
        identity.layer,
        identity.precision,
        identity.engine,
        identity.architecture,
    )
    spec = resolve_encoder(request, directory, no_sample)
    require_unchanged(spec, identity, directory)
    return spec


def missing_statistics(directory: str) -> UserError:
    """Directory that lacks what its random weights are made from -> the error to raise."""
    return Damaged(storage.join(directory, RANDOM_STATISTICS), "is missing", COPY_AGAIN)


def require_unchanged(spec: EncoderSpec, identity: EncoderIdentity, directory: str) -> None:
    """Raises UserError if a directory has a file that an encoder is made from, and it is not that of its identity."""
    own = [storage.join(directory, name) for name in (RANDOM_STATISTICS, INT8_ENCODER)]
    if spec.weights_path in own and spec.identity.weights_sha256 != identity.weights_sha256:
        raise Damaged(spec.weights_path, "changed since it was written", COPY_AGAIN)


def _weights_within(identity: EncoderIdentity, directory: str) -> str:
    """Name of a weight file in a directory -> its path. Whoever made the directory chooses no address and no path.

    Raises:
      UserError: the weights are somewhere else, or are a link.
    """
    name = identity.weights
    if not name or name in (".", "..") or set(name) & set("/\\:\0"):
        raise UserError(
            f"{directory}: made with the encoder weights {name!r}, which are not in it; give their path, here "
            "or where you have them now, as --weights"
        )
    path = storage.join(directory, name)
    with contextlib.suppress(FileNotFoundError):  # find_weight_file tells it better
        storage.own_size(path)
    return path


def resolve_precision(precision: str) -> str:
    """Resolves "auto": "bfloat16" on a processor that multiplies it in hardware, else "float32"."""
    if precision != AUTO:
        return precision
    try:
        with open("/proc/cpuinfo") as cpuinfo:
            fast = re.search(r"\b(avx512_bf16|amx_bf16)\b", cpuinfo.read())
    except OSError:
        fast = None
    return BFLOAT16 if fast else FLOAT32


def tail_of(spec: EncoderSpec) -> bytes | None:
    """Encoder -> content of `encoder_tail.npz`: what the network computes behind the encoder's layer.

    None if that is nothing, if the features are pooled, or if an earlier captionbeam quantized the encoder.

    Raises:
      UserError: the weights are another network's, or the file of an int8 encoder is damaged.
    """
    architecture = _architecture(spec.identity.architecture)
    last = architecture.layers[-1]
    if spec.identity.feature_kind == POOLED or spec.identity.layer == last:
        return None
    if spec.identity.precision == INT8:
        data = read_tail(spec.weights_path)
        if data is not None:
            parse_tail(data, spec.weights_path, COPY_AGAIN, spec.identity.feature_shape, last)
        return data
    model = load_model(replace(spec, identity=replace(spec.identity, layer=last)), architecture, FLOAT32)
    return pack_tail(*operations_behind(model, spec.identity.layer, architecture.layers))


def load_encoder(spec: EncoderSpec) -> Encoder:
    """Loads an encoder, ready to encode.

    Raises:
      UserError: its engine is not installed, or the weights are another network's.
      JobFailed: the weights are not those that the spec names, or this machine cannot run it.
    """
    sha256 = storage.sha256(spec.weights_path)
    if sha256 != spec.identity.weights_sha256:
        raise JobFailed(
            f"{spec.weights_path}: these weights ({sha256[:8]}) are not those that the job began with "
            f"({spec.identity.weights_sha256[:8]}); start the job again with one file"
        )
    return _engine(spec.identity.engine).load(spec, _architecture(spec.identity.architecture))
