"""The encoder's engines: that each gives a picture's features whatever is beside it, and that they never mix."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from beam_pipeline.captions.decoder import encoder_of_captioner
from beam_pipeline.cli import main
from beam_pipeline.commands.status import status
from beam_pipeline.encoders.engines.openvino import _threads, compiled
from beam_pipeline.encoders.registry import ENGINES, load_encoder, resolve_encoder
from beam_pipeline.options.directories import StatusOptions
from training.errors import JobFailed, UserError

PICTURES = 5


@pytest.fixture(scope="module")
def pixels():
    """Smooth pictures, as photos are; noise alone says nothing about the arithmetic."""
    coarse = np.random.default_rng(0).integers(0, 256, (PICTURES, 13, 13, 3), np.uint8)
    return coarse.repeat(23, axis=1).repeat(23, axis=2)


@pytest.fixture(scope="module")
def spec_of(pixels, tmp_path_factory):
    """engine, precision -> EncoderSpec of random weights, the same for all."""
    output = str(tmp_path_factory.mktemp("random"))
    return lambda engine, precision="float32": resolve_encoder(
        "random", "grid", "mixed9", precision, output, lambda: pixels, engine
    )


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
    assert (features.shape, features.dtype) == (expected.shape, expected.dtype) == ((PICTURES, 64, 2048), np.float16)
    assert cosine(features, expected).min() > 0.99999


def test_a_picture_has_the_same_features_in_any_batch(openvino, pixels, features):
    for order in ([0], [4, 0], [3, 1, 2], [0] * 16, [4, 3, 2, 1, 0]):
        assert openvino.encode(pixels[order]).tobytes() == features[order].tobytes()
    assert openvino.encode(pixels[:0]).shape == (0, 64, 2048)


def test_a_picture_has_the_same_features_with_any_number_of_threads(monkeypatch, spec_of, pixels, features):
    monkeypatch.setenv("OMP_NUM_THREADS", "3" if _threads() == 1 else "1")
    assert load_encoder(spec_of("openvino")).encode(pixels).tobytes() == features.tobytes()


def test_threads_may_share_an_encoder(openvino, pixels, features):
    with ThreadPoolExecutor(4) as pool:
        encoded = list(pool.map(lambda at: openvino.encode(pixels[[at, 0]]), [*range(PICTURES)] * 3))
    for at, pair in zip([*range(PICTURES)] * 3, encoded, strict=True):
        assert pair.tobytes() == features[[at, 0]].tobytes()


@pytest.mark.parametrize(
    ("asked", "cores", "threads"), [("", 4, 4), ("3", 4, 3), ("0", 4, 4), ("2,1", 4, 4), ("many", 4, 4)]
)
def test_the_number_of_threads(monkeypatch, asked, cores, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)), raising=False)
    assert _threads() == threads


def test_arithmetic_other_than_named_is_refused():
    """On a processor without bfloat16 OpenVINO takes the hint and computes in float32."""
    model = SimpleNamespace(get_property=lambda name: SimpleNamespace(to_string=lambda: "f32"))
    library = SimpleNamespace(Core=lambda: SimpleNamespace(compile_model=lambda *arguments: model))
    assert compiled(library, "model", "float32") is model
    with pytest.raises(JobFailed, match="this processor has no bfloat16, OpenVINO would compute in f32; extract with"):
        compiled(library, "model", "bfloat16")


# Identity.


def test_engines_and_precisions_have_identities_of_their_own(spec_of):
    identities = [spec_of(engine, precision).identity for engine in ENGINES for precision in ("float32", "bfloat16")]
    assert len({identity.id for identity in identities}) == 4
    assert "openvino bfloat16" in str(identities[-1])


def test_features_of_two_engines_do_not_mix(run_extract):
    run_extract()
    with pytest.raises(
        UserError, match=r"holds features of .*tensorflow float32.* those of .*openvino float32.*engine"
    ):
        run_extract(engine="openvino")
    features = run_extract("other", engine="openvino")
    assert " --precision float32 --engine openvino" in dict(status(StatusOptions(features.path)))["finished"]


def test_a_captioner_takes_the_engine_of_its_features(run_extract, encoder, weights):
    class Captioner:
        encoder = run_extract(engine="openvino").encoder

        def require_encoder(self, identity):
            assert identity.id == self.encoder.id

    assert encoder_of_captioner(Captioner(), "captioner", str(weights)).identity.engine == "openvino"


def test_an_unknown_engine_is_named(run_extract, weights):
    class Captioner:
        encoder = replace(run_extract().encoder, engine="abacus")

    with pytest.raises(UserError, match="engine abacus: this captionbeam does not know it; it has tensorflow and"):
        encoder_of_captioner(Captioner(), "captioner", str(weights))


def test_the_missing_extra_is_named_in_one_line(monkeypatch, capsys, good, weights, tmp_path):
    monkeypatch.setitem(sys.modules, "openvino", None)  # what Python makes of a package that is not there
    output = tmp_path / "features"
    argv = ["--images", str(good), "--weights", str(weights), "--output", str(output), "--engine", "openvino"]
    assert main(["extract", *argv]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "pip install 'captionbeam[openvino]'" in error
    assert not (output / "manifest.json").exists()


_IMPORT = """
import json, sys
import numpy as np
from beam_pipeline.encoders.engines.openvino import import_openvino, import_without_telemetry
openvino, nncf = import_openvino(), import_without_telemetry("nncf")
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
