"""OpenVINO as an engine, the extra `openvino`: TensorFlow's graph, compiled for this processor; or an int8 encoder.

Every picture is a request of its own, and as many requests run at a time as suit the processor. So a feature can depend
on no other picture of the batch, a short batch costs nothing for padding, and no thread waits for another in a layer.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import sys
import threading
from types import ModuleType
from typing import Any

import numpy as np

from beam_pipeline.encoders.base import (
    BFLOAT16,
    FLOAT32,
    INT8,
    Architecture,
    Encoder,
    EncoderSpec,
    Engine,
    SamplePictures,
)
from beam_pipeline.encoders.engines.tensorflow import frozen_function
from beam_pipeline.encoders.int8 import read_graph
from beam_pipeline.images.decode import INPUT_SIZE
from beam_pipeline.runtime.extras import require
from training.data.feature_set import FEATURE_DTYPE
from training.errors import JobFailed
from training.files import writing
from training.scratch import scratch_directory

log = logging.getLogger("captionbeam")

_TELEMETRY = "openvino_telemetry"
_PRECISION_HINTS = {
    BFLOAT16: "bf16",
    FLOAT32: "f32",
    INT8: "f32",  # of what is not quantized: the same on every processor, and as fast
}


class OpenVino(Engine):
    """Runs a network by OpenVINO on the processor."""

    name = "openvino"
    precisions = (BFLOAT16, FLOAT32, INT8)

    def require(self) -> None:
        """Checks that OpenVINO is installed.

        Raises:
          UserError: it is not; says how to install it.
        """
        require("openvino", "openvino", "engine openvino")

    def load(self, spec: EncoderSpec, architecture: Architecture) -> Encoder:
        """Loads an encoder whose weights are known to be those of the spec.

        Raises:
          UserError: OpenVINO is not installed, or the weights are another network's.
          JobFailed: this processor has no such precision, or the disk for temporary files is full.
        """
        openvino = self._import()
        if spec.identity.precision == INT8:
            graph, weights = read_graph(spec.weights_path)
            model = openvino.Core().read_model(graph.tobytes(), openvino.Tensor(weights))
        else:
            model = _converted(openvino, spec, architecture)
        return OpenVinoEncoder(openvino, compiled(openvino, model, spec.identity.precision))

    def quantize(
        self, spec: EncoderSpec, architecture: Architecture, sample: SamplePictures
    ) -> tuple[np.ndarray, np.ndarray]:
        """Encoder in float32 -> graph and weights of an int8 encoder, uint8 [size] each, by nncf, the extra `int8`.

        Args:
          sample: pictures of the collection to measure activations on.

        Raises:
          UserError: OpenVINO or nncf is not installed.
          JobFailed: the disk for temporary files is full.
        """
        require("nncf", "int8", "precision int8")
        openvino = self._import()
        nncf = import_without_telemetry("nncf")
        # Not nncf.set_log_level, which sets the level of handlers too, also of those that others gave to its logger.
        logging.getLogger("nncf").setLevel(logging.ERROR)
        pixels = sample()
        log.info("quantizing the encoder to int8, on %d pictures", len(pixels))
        with contextlib.redirect_stdout(io.StringIO()):  # progress bars
            quantized = nncf.quantize(
                _converted(openvino, spec, architecture),
                nncf.Dataset([picture[None] for picture in pixels]),
                preset=nncf.QuantizationPreset.MIXED,
                subset_size=len(pixels),
                # Weights of 7 bits: processors without VNNI add two products in 16 bits, which 8 would overflow.
                advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE),
            )
        with scratch_directory() as directory:
            path = os.path.join(directory, "encoder.xml")
            with writing(path, "TMPDIR can name another place"):
                openvino.save_model(quantized, path, compress_to_fp16=False)
            return np.fromfile(path, np.uint8), np.fromfile(path.replace(".xml", ".bin"), np.uint8)

    def _import(self) -> ModuleType:
        self.require()
        return import_without_telemetry("openvino")


def import_without_telemetry(package: str) -> ModuleType:
    """Imports OpenVINO or nncf so that they report to nobody.

    Both would tell Google Analytics of themselves, `import openvino` at once and nncf when it quantizes, and write an
    identifier into the home directory. Where the telemetry package cannot be imported, they put stubs in its place; so
    here it cannot.
    """
    if package not in sys.modules and _TELEMETRY not in sys.modules:
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # Python's own way to forbid an import
        try:
            return importlib.import_module(package)
        finally:
            del sys.modules[_TELEMETRY]
    return importlib.import_module(package)


def _converted(openvino: ModuleType, spec: EncoderSpec, architecture: Architecture) -> Any:
    """Encoder -> OpenVINO's model of TensorFlow's frozen graph, uint8 [1, 299, 299, 3] -> float16 features."""
    with scratch_directory() as directory:
        path = os.path.join(directory, "encoder.pb")  # OpenVINO takes a frozen graph from a file only
        with writing(path, "TMPDIR can name another place"), open(path, "wb") as file:
            function = frozen_function(spec, architecture, FLOAT32, batch=1)
            file.write(function.graph.as_graph_def().SerializeToString())
        return openvino.Core().read_model(path)


def compiled(openvino: Any, model: Any, precision: str) -> Any:
    """OpenVINO's model -> the same, compiled for this processor.

    Args:
      openvino: the library.
      precision: one of those of the engine.

    Raises:
      JobFailed: OpenVINO has chosen another arithmetic; the features would not be what they are named.
    """
    hint = _PRECISION_HINTS[precision]
    made = openvino.Core().compile_model(
        model,
        "CPU",
        {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_NUM_THREADS": thread_count(),
            "INFERENCE_PRECISION_HINT": hint,
            "ENABLE_CPU_PINNING": False,  # several workers on a machine would all pin themselves to the same cores
        },
    )
    given = made.get_property("INFERENCE_PRECISION_HINT").to_string()
    if given != hint:
        raise JobFailed(
            f"engine openvino: this processor has no {precision}, OpenVINO would compute in {given}; "
            "extract with --precision float32, or run on another machine"
        )
    return made


class OpenVinoEncoder:
    """A compiled model of one picture a request; safe to call from several threads.

    Args:
      openvino: the library.
      model: as `compiled` makes it.
    """

    def __init__(self, openvino: Any, model: Any):
        self._lock = threading.Lock()  # of the queue, whose callback belongs to one batch at a time
        self._shape = tuple(model.output(0).shape)[1:]
        self._queue = openvino.AsyncInferQueue(model, model.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self.encode(np.zeros([1, INPUT_SIZE, INPUT_SIZE, 3], np.uint8))

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        """RGB uint8 [n, 299, 299, 3] -> float16 [n, P, C] or [n, C]."""
        features = np.empty([len(pixels), *self._shape], FEATURE_DTYPE)

        def keep(request: Any, position: int) -> None:
            features[position] = request.get_output_tensor().data[0]

        with self._lock:
            self._queue.set_callback(keep)
            for position in range(len(pixels)):
                self._queue.start_async([pixels[position : position + 1]], position)
            self._queue.wait_all()
        return features


def thread_count() -> int:
    """OMP_NUM_THREADS where it is set, as other libraries have it; else the cores that this process may use."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked):
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
