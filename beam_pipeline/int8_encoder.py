"""InceptionV3 in 8-bit whole numbers for the engine openvino, quantized by nncf, the extra `int8`.

How large activations get is measured on pictures of the collection. So the file that holds the quantized graph is the
encoder: it lies beside the features and then beside the captioner, and its digest stands in the identity. Whoever has
it needs neither the weights nor nncf.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import tempfile

import numpy as np

from beam_pipeline import openvino_encoder, storage
from beam_pipeline.encoder import EncoderSpec
from training.errors import UserError

log = logging.getLogger("captionbeam")


def require_int8() -> None:
    """Raises UserError where what quantizes is not installed, or the processor would multiply in too few bits."""
    openvino_encoder.require_openvino()
    openvino_encoder.require("nncf", "int8", "precision int8")
    if overflows():
        raise UserError(
            "precision int8: this processor has no VNNI, without which sums of 8-bit products overflow; "
            "use --precision float32"
        )


def overflows(cpuinfo: str = "/proc/cpuinfo") -> bool:
    """Whether an x86 processor adds 8-bit products in 16 bits, as far as Linux tells; elsewhere False."""
    try:
        with open(cpuinfo) as file:
            flags = file.read()
    except OSError:
        return False
    vnni = re.search(r"\b(avx512_vnni|avx_vnni|amx_int8)\b", flags)
    return bool(re.search(r"\bavx2\b", flags)) and not vnni


def quantize(spec: EncoderSpec, pixels: np.ndarray) -> bytes:
    """An encoder in float32, and uint8 [n, 299, 299, 3] to measure activations on -> content of the encoder's file."""
    openvino = openvino_encoder.import_openvino()
    nncf = openvino_encoder.import_without_telemetry("nncf")
    nncf.set_log_level(logging.ERROR)
    log.info("quantizing the encoder to int8, on %d pictures", len(pixels))
    with contextlib.redirect_stdout(io.StringIO()):  # progress bars
        quantized = nncf.quantize(
            openvino_encoder.graph(openvino, spec),
            nncf.Dataset([picture[None] for picture in pixels]),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(pixels),
        )
    with tempfile.TemporaryDirectory(prefix="captionbeam-") as directory:
        path = os.path.join(directory, "encoder.xml")
        openvino.save_model(quantized, path, compress_to_fp16=False)
        graph, weights = (storage.read_bytes(path.replace(".xml", end)) for end in (".xml", ".bin"))
    buffer = io.BytesIO()
    np.savez(
        buffer,
        graph=np.frombuffer(graph, np.uint8),
        weights=np.frombuffer(weights, np.uint8),
        made_from=np.array(spec.identity.id),
    )
    return buffer.getvalue()


def made_from(path: str) -> str:
    """The encoder's file -> id of the float32 encoder that was quantized."""
    return str(_read(path, "made_from"))


def load(spec: EncoderSpec) -> openvino_encoder.OpenVinoEncoder:
    """EncoderSpec of the encoder's file -> a ready encoder.

    Raises:
      UserError: OpenVINO is not installed.
    """
    openvino = openvino_encoder.import_openvino()
    graph, weights = (_read(spec.weights_path, name) for name in ("graph", "weights"))
    model = openvino.Core().read_model(graph.tobytes(), openvino.Tensor(weights))
    # What is left to other numbers is the same on every processor in float32, and as fast.
    return openvino_encoder.OpenVinoEncoder(openvino, openvino_encoder.compiled(openvino, model, "float32"))


def _read(path: str, name: str) -> np.ndarray:
    with np.load(io.BytesIO(storage.read_bytes(path)), allow_pickle=False) as arrays:
        return arrays[name]
