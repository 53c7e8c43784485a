"""InceptionV3 in 8-bit whole numbers for the engine openvino, quantized by nncf, the extra `int8`.

How large activations get is measured on pictures of the collection. So the file that holds the quantized graph is the
encoder: it lies with the features and then with the captioner, and its digest stands in the identity. Whoever has it
needs neither the weights nor nncf.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np

from beam_pipeline.encoders.base import EncoderSpec
from beam_pipeline.encoders.engines import openvino as openvino_encoder
from beam_pipeline.runtime import storage
from training.data.feature_set import INT8_ENCODER, EncoderIdentity, encoder_from_json
from training.errors import UserError
from training.files import writing

log = logging.getLogger("captionbeam")

_NPZ = b"PK\x03\x04"


def is_quantized(weights: str) -> bool:
    """Whether what the user named as weights is a file that holds a quantized graph."""
    path = storage.absolute(weights)
    if weights in ("imagenet", "random") or not storage.is_file(path):
        return False
    with storage.open_file(path) as file:
        return file.read(len(_NPZ)) == _NPZ


def quantized(directory: str, whole: EncoderSpec, sample: Callable[[], np.ndarray]) -> EncoderSpec:
    """The quantized graph that the directory keeps; made now where it has none.

    Args:
      whole: the encoder in float32 that is quantized.
      sample: gives uint8 [n, 299, 299, 3] pictures of the collection, to measure activations on.

    Raises:
      UserError: nncf is not installed, or the directory has the graph of another encoder.
    """
    path = storage.join(directory, INT8_ENCODER)
    if not storage.exists(path):
        _require_nncf()
        storage.write_atomic(path, quantize(whole, sample()))
    elif _made_from(path).id != whole.identity.id:
        raise UserError(
            f"--output {directory}: its encoder in int8 was made from {_made_from(path)}, and this run would make it "
            f"from {whole.identity}; choose another --output, or the weights, layer and kind that it was made from"
        )
    return kept(path)


def kept(path: str) -> EncoderSpec:
    """File of a quantized graph -> the encoder that it is.

    Raises:
      UserError: it is none, or is not there.
    """
    if not storage.is_file(path):
        raise UserError(
            f"{path}: the encoder in int8 is missing; copy it from the features or a captioner that has it, or give "
            "its path as --weights"
        )
    return EncoderSpec(path, replace(_made_from(path), precision="int8", weights_sha256=storage.sha256(path)))


def _require_nncf() -> None:
    openvino_encoder.require("nncf", "int8", "precision int8")


def quantize(whole: EncoderSpec, pixels: np.ndarray) -> bytes:
    """An encoder in float32, and uint8 [n, 299, 299, 3] to measure activations on -> content of the graph's file."""
    openvino = openvino_encoder.import_openvino()
    nncf = openvino_encoder.import_without_telemetry("nncf")
    nncf.set_log_level(logging.ERROR)
    log.info("quantizing the encoder to int8, on %d pictures", len(pixels))
    with contextlib.redirect_stdout(io.StringIO()):  # progress bars
        graph = nncf.quantize(
            openvino_encoder.graph(openvino, whole),
            nncf.Dataset([picture[None] for picture in pixels]),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(pixels),
            # Weights of 7 bits: processors without VNNI add two products in 16 bits, which 8 would overflow.
            advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE),
        )
    buffer = io.BytesIO()
    with tempfile.TemporaryDirectory(prefix="captionbeam-") as directory:
        path = os.path.join(directory, "encoder.xml")
        with writing(path, "TMPDIR can name another place"):
            openvino.save_model(graph, path, compress_to_fp16=False)
        np.savez(
            buffer,
            graph=np.fromfile(path, np.uint8),
            weights=np.fromfile(path.replace(".xml", ".bin"), np.uint8),
            made_from=np.array(json.dumps(asdict(whole.identity), sort_keys=True)),
        )
    return buffer.getvalue()


def load(spec: EncoderSpec) -> openvino_encoder.OpenVinoEncoder:
    """EncoderSpec of the graph's file -> a ready encoder.

    Raises:
      UserError: OpenVINO is not installed, or the file is none of a quantized graph.
    """
    openvino = openvino_encoder.import_openvino()
    arrays = _read(spec.weights_path, "graph", "weights")
    model = openvino.Core().read_model(arrays["graph"].tobytes(), openvino.Tensor(arrays["weights"]))
    # What is left to other numbers is the same on every processor in float32, and as fast.
    return openvino_encoder.OpenVinoEncoder(openvino, openvino_encoder.compiled(openvino, model, "float32"))


def _made_from(path: str) -> EncoderIdentity:
    return encoder_from_json(json.loads(str(_read(path, "made_from")["made_from"])))


def _read(path: str, *names: str) -> dict[str, np.ndarray]:
    try:
        with np.load(io.BytesIO(storage.read_bytes(path)), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names}
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path}: not an encoder in int8 that captionbeam made, or damaged; copy it anew from the features or a "
            "captioner that has it"
        ) from error
