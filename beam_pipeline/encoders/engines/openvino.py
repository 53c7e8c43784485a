"""InceptionV3 run by OpenVINO, the extra `openvino`: the same graph as TensorFlow's, compiled for this processor.

Every picture is a request of its own, and as many requests run at a time as suit the processor. So a feature can depend
on no other picture of the batch, a short batch costs nothing for padding, and no thread waits for another in a layer.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import tempfile
import threading

import numpy as np

from beam_pipeline.encoders.base import EncoderSpec
from beam_pipeline.encoders.engines.tensorflow import frozen
from beam_pipeline.images.decode import INPUT_SIZE
from training.data.feature_set import FEATURE_DTYPE
from training.errors import JobFailed, UserError
from training.files import writing

_TELEMETRY = "openvino_telemetry"
_PRECISIONS = {"bfloat16": "bf16", "float32": "f32"}


def require_openvino() -> None:
    """Raises UserError where OpenVINO is not installed."""
    require("openvino", "openvino", "engine openvino")


def require(package: str, extra: str, what: str) -> None:
    """Raises UserError where a package of an extra is not installed."""
    if importlib.util.find_spec(package) is None:
        raise UserError(f"{what}: the package {package} is not installed; run pip install 'captionbeam[{extra}]'")


def import_openvino():
    """Imports OpenVINO.

    Raises:
      UserError: it is not installed.
    """
    require_openvino()
    return import_without_telemetry("openvino")


def import_without_telemetry(package: str):
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


def load(spec: EncoderSpec) -> OpenVinoEncoder:
    """EncoderSpec -> a ready encoder.

    Raises:
      UserError: OpenVINO is not installed, or the weights are not InceptionV3's.
      JobFailed: this processor has no such precision, or the disk for temporary files is full.
    """
    openvino = import_openvino()
    return OpenVinoEncoder(openvino, compiled(openvino, graph(openvino, spec), spec.identity.precision))


def graph(openvino, spec: EncoderSpec):
    """EncoderSpec -> OpenVINO's model of TensorFlow's frozen graph, uint8 [1, 299, 299, 3] -> float16 features."""
    with tempfile.TemporaryDirectory(prefix="captionbeam-") as directory:
        path = os.path.join(directory, "encoder.pb")  # OpenVINO takes a frozen graph from a file only
        with writing(path, "TMPDIR can name another place"), open(path, "wb") as file:
            file.write(frozen(spec, "float32", batch=1).graph.as_graph_def().SerializeToString())
        return openvino.Core().read_model(path)


def compiled(openvino, model, precision: str):
    """Model -> the same, compiled for this processor.

    Raises:
      JobFailed: OpenVINO has chosen another arithmetic; the features would not be what they are named.
    """
    made = openvino.Core().compile_model(
        model,
        "CPU",
        {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_NUM_THREADS": _threads(),
            "INFERENCE_PRECISION_HINT": _PRECISIONS[precision],
            "ENABLE_CPU_PINNING": False,  # several workers on a machine would all pin themselves to the same cores
        },
    )
    given = made.get_property("INFERENCE_PRECISION_HINT").to_string()
    if given != _PRECISIONS[precision]:
        raise JobFailed(
            f"engine openvino: this processor has no {precision}, OpenVINO would compute in {given}; "
            "extract with --precision float32, or run on another machine"
        )
    return made


class OpenVinoEncoder:
    """InceptionV3 without its classifier, compiled for one picture a request; safe to call from several threads."""

    def __init__(self, openvino, model):
        self._lock = threading.Lock()  # of the queue, whose callback belongs to one batch at a time
        self._shape = tuple(model.output(0).shape)[1:]
        self._queue = openvino.AsyncInferQueue(model, model.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self.encode(np.zeros([1, INPUT_SIZE, INPUT_SIZE, 3], np.uint8))

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        """RGB uint8 [n, 299, 299, 3] -> float16 [n, 64, 2048] or [n, 2048]."""
        features = np.empty([len(pixels), *self._shape], FEATURE_DTYPE)

        def keep(request, position: int) -> None:
            features[position] = request.get_output_tensor().data[0]

        with self._lock:
            self._queue.set_callback(keep)
            for position in range(len(pixels)):
                self._queue.start_async([pixels[position : position + 1]], position)
            self._queue.wait_all()
        return features


def _threads() -> int:
    """OMP_NUM_THREADS where it is set, as other libraries have it; else the cores that this process may use."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked):
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
