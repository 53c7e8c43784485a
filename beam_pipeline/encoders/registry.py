"""What a user asks for -> an encoder, found, named and loaded: one entry an engine."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from beam_pipeline.encoders.base import Encoder, EncoderSpec
from beam_pipeline.encoders.weights import fit_random_statistics, keras_imagenet_weights, weight_file
from beam_pipeline.images.decode import INPUT_SIZE, RESIZE
from beam_pipeline.runtime import storage
from training.data.feature_set import INT8_ENCODER, RANDOM_STATISTICS, EncoderIdentity
from training.errors import JobFailed, UserError

# Both give [8, 8, 2048]. The last block is the most particular to ImageNet's classes; the one before it tells more of
# what people write (docs/caption-quality.md) and is cheaper.
LAYERS = ("mixed9", "mixed10")


ENGINES = ("tensorflow", "openvino")  # what runs the graph; openvino is an extra


def resolve_encoder(
    weights: str,
    feature_kind: str,
    layer: str,
    precision: str,
    output: str,
    sample: Callable[[], np.ndarray],
    engine: str = "tensorflow",
) -> EncoderSpec:
    """What the user asked for -> EncoderSpec, with every file found and hashed.

    Args:
      weights: "imagenet", "random" or the path of a weight file; with "int8" also of a graph that was quantized before.
      feature_kind: "grid" or "pooled".
      layer: see `LAYERS`.
      precision: "auto", "bfloat16", "float32" or, by OpenVINO, "int8".
      output: directory that keeps the statistics of random weights, and the graph quantized for it.
      sample: gives uint8 [n, 299, 299, 3] pictures of the collection; called only to fit new random weights to, or to
        quantize.
      engine: see `ENGINES`.

    Raises:
      UserError: the weights or the engine cannot be had; says the offline ways.
    """
    if engine not in ENGINES:
        raise UserError(f"engine {engine}: this captionbeam does not know it; it has {' and '.join(ENGINES)}")
    if precision == "int8" and engine != "openvino":
        raise UserError("--precision int8: goes with --engine openvino only; give both, or another precision")
    if engine == "openvino":
        from beam_pipeline.encoders.engines.openvino import require_openvino

        require_openvino()
    if precision == "int8":
        from beam_pipeline.encoders import int8 as int8_encoder

        if int8_encoder.is_quantized(weights):
            return _as_asked(int8_encoder.kept(storage.absolute(weights)), weights, feature_kind, layer)
        whole = resolve_encoder(weights, feature_kind, layer, "float32", output, sample, engine)
        return int8_encoder.quantized(output, whole, sample)
    if weights == "random":
        weights_path = storage.join(output, RANDOM_STATISTICS)
        if not storage.exists(weights_path):
            storage.write_atomic(weights_path, fit_random_statistics(sample()))
    elif weights == "imagenet":
        weights_path = keras_imagenet_weights()
    else:
        weights_path = weight_file(weights)
    identity = EncoderIdentity(
        architecture="InceptionV3",
        engine=engine,
        weights_sha256=storage.sha256(weights_path),
        weights=weights if weights in ("imagenet", "random") else weights_path,
        input_size=INPUT_SIZE,
        resize=RESIZE,
        precision=resolve_precision(precision),
        feature_kind=feature_kind,
        layer=layer,
    )
    return EncoderSpec(weights_path, identity)


def _as_asked(spec: EncoderSpec, weights: str, feature_kind: str, layer: str) -> EncoderSpec:
    there = spec.identity
    if (there.feature_kind, there.layer) != (feature_kind, layer):
        raise UserError(
            f"--weights {weights}: an encoder in int8 that gives {there.layer} {there.feature_kind}, not {layer} "
            f"{feature_kind}; give --layer {there.layer} --feature-kind {there.feature_kind}, or other weights"
        )
    return spec


def resolve_again(wanted: EncoderIdentity, weights: str | None, directory: str, missing: str) -> EncoderSpec:
    """The encoder that features or a captioner were made with; the caller compares its identity.

    Args:
      weights: where they lie elsewhere than then, else None.
      directory: has the statistics of random weights, or the quantized graph.
      missing: what to say where it has no statistics.

    Raises:
      UserError: its weights or its engine cannot be had.
    """
    if wanted.precision == "int8":
        from beam_pipeline.encoders import int8 as int8_encoder

        if weights and not int8_encoder.is_quantized(weights):
            raise UserError(
                f"--weights {weights}: no {INT8_ENCODER}, which an encoder in int8 has its weights in; leave the "
                "option out, or give the path of that file"
            )
        weights = weights or int8_encoder.kept(storage.join(directory, INT8_ENCODER)).weights_path

    def no_sample() -> np.ndarray:
        raise UserError(missing)

    return resolve_encoder(
        weights or wanted.weights,
        wanted.feature_kind,
        wanted.layer,
        wanted.precision,
        directory,
        no_sample,
        wanted.engine,
    )


def resolve_precision(precision: str) -> str:
    """ "auto" -> "bfloat16" where the processor multiplies it in hardware, else "float32"."""
    if precision != "auto":
        return precision
    try:
        with open("/proc/cpuinfo") as cpuinfo:
            fast = re.search(r"\b(avx512_bf16|amx_bf16)\b", cpuinfo.read())
    except OSError:
        fast = None
    return "bfloat16" if fast else "float32"


def load_encoder(spec: EncoderSpec) -> Encoder:
    """EncoderSpec -> a ready encoder, its graph traced.

    Raises:
      JobFailed: the weights are not those that the spec names, or not InceptionV3's.
    """
    found = storage.sha256(spec.weights_path)
    if found != spec.identity.weights_sha256:
        raise JobFailed(
            f"{spec.weights_path}: these weights ({found[:8]}) are not those that the job began with "
            f"({spec.identity.weights_sha256[:8]}); start the job again with one file"
        )
    if spec.identity.precision == "int8":
        from beam_pipeline.encoders import int8 as int8_encoder

        return int8_encoder.load(spec)
    if spec.identity.engine == "openvino":
        from beam_pipeline.encoders.engines import openvino as openvino_encoder

        return openvino_encoder.load(spec)
    from beam_pipeline.encoders.engines.tensorflow import TensorFlowEncoder

    return TensorFlowEncoder(spec)
