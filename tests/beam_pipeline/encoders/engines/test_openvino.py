"""The engine OpenVINO: the features of TensorFlow, whatever is beside a picture, and without telemetry."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from beam_pipeline.encoders.engines.openvino import compiled, thread_count
from beam_pipeline.encoders.registry import load_encoder
from training.errors import JobFailed


@pytest.fixture(scope="module")
def openvino(spec_of):
    return load_encoder(spec_of("openvino"))


@pytest.fixture(scope="module")
def features(openvino, pixels):
    return openvino.encode(pixels)


def cosine(one, two) -> np.ndarray:
    one, two = (features.astype(np.float64).reshape(-1, 2048) for features in (one, two))
    return (one * two).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)


def test_openvino_gives_what_tensorflow_gives(spec_of, pixels, features):
    expected = load_encoder(spec_of("tensorflow")).encode(pixels)
    assert (features.shape, features.dtype) == (expected.shape, expected.dtype) == ((len(pixels), 64, 2048), np.float16)
    assert cosine(features, expected).min() > 0.99999


def test_a_picture_has_the_same_features_in_any_batch(openvino, pixels, features):
    for order in ([0], [4, 0], [3, 1, 2], [0] * 16, [4, 3, 2, 1, 0]):
        assert openvino.encode(pixels[order]).tobytes() == features[order].tobytes()
    assert openvino.encode(pixels[:0]).shape == (0, 64, 2048)


def test_a_picture_has_the_same_features_with_any_number_of_threads(monkeypatch, spec_of, pixels, features):
    monkeypatch.setenv("OMP_NUM_THREADS", "3" if thread_count() == 1 else "1")
    assert load_encoder(spec_of("openvino")).encode(pixels).tobytes() == features.tobytes()


def test_threads_may_share_an_encoder(openvino, pixels, features):
    positions = [*range(len(pixels))] * 3
    with ThreadPoolExecutor(4) as pool:
        encoded = list(pool.map(lambda at: openvino.encode(pixels[[at, 0]]), positions))
    for at, pair in zip(positions, encoded, strict=True):
        assert pair.tobytes() == features[[at, 0]].tobytes()


@pytest.mark.parametrize(
    ("asked", "cores", "threads"), [("", 4, 4), ("3", 4, 3), ("0", 4, 4), ("2,1", 4, 4), ("many", 4, 4)]
)
def test_the_number_of_threads(monkeypatch, asked, cores, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)), raising=False)
    assert thread_count() == threads


def test_arithmetic_other_than_named_is_refused():
    """On a processor without bfloat16 OpenVINO takes the hint and computes in float32."""
    model = SimpleNamespace(get_property=lambda name: SimpleNamespace(to_string=lambda: "f32"))
    library = SimpleNamespace(Core=lambda: SimpleNamespace(compile_model=lambda *arguments: model))
    assert compiled(library, "model", "float32") is model
    with pytest.raises(JobFailed, match="this processor has no bfloat16, OpenVINO would compute in f32; extract with"):
        compiled(library, "model", "bfloat16")


_IMPORT = """
import json, sys
import numpy as np
from beam_pipeline.encoders.engines.openvino import import_without_telemetry
openvino, nncf = import_without_telemetry("openvino"), import_without_telemetry("nncf")
pixels = openvino.opset13.parameter([1, 3, 4, 4], np.float32)
product = openvino.opset13.convolution(pixels, np.ones([1, 3, 1, 1], np.float32), [1, 1], [0, 0], [0, 0], [1, 1])
nncf.quantize(openvino.Model([product], [pixels]), nncf.Dataset([np.ones([1, 3, 4, 4], np.float32)]))
print(json.dumps([sorted(name for name in sys.modules if name.startswith("openvino_telemetry")),
    openvino.Core().available_devices, callable(openvino.convert_model)]))
import openvino_telemetry  # for anybody else it is there
"""


def test_openvino_and_nncf_work_without_their_telemetry(tmp_path):
    # Where it thinks itself in CI, telemetry keeps silent anyhow.
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | {"HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT], env=environment, cwd=os.getcwd(), capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [[], ["CPU"], True]
    assert not (tmp_path / "intel").exists()  # openvino_telemetry would keep an identifier in ~/intel
