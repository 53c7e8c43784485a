"""The encoder in 8-bit whole numbers: quantized on the collection, kept with features and captioner."""

import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from beam_pipeline import int8_encoder
from beam_pipeline.decoder import encoder_of_captioner
from beam_pipeline.encoder import load_encoder, resolve_encoder
from beam_pipeline.transforms import ExtractFeatures
from training.errors import UserError

PICTURES = 3


@pytest.fixture(scope="module", autouse=True)
def _vnni():
    """Elsewhere the command refuses, and says so in a test below."""
    try:
        int8_encoder.require_int8()
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def pixels():
    coarse = np.random.default_rng(0).integers(0, 256, (PICTURES, 13, 13, 3), np.uint8)
    return coarse.repeat(23, axis=1).repeat(23, axis=2)


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    return tmp_path_factory.mktemp("features")


@pytest.fixture(scope="module")
def spec(pixels, output):
    return resolve_encoder("random", "grid", "mixed9", "int8", str(output), lambda: pixels, "openvino")


def no_sample():
    raise AssertionError("the file is there already")


def test_features_are_near_those_of_float32_in_any_batch(spec, pixels, output):
    encoder = load_encoder(spec)
    features = encoder.encode(pixels)
    assert encoder.encode(pixels[[2, 0]]).tobytes() == features[[2, 0]].tobytes()
    whole = load_encoder(resolve_encoder("random", "grid", "mixed9", "float32", str(output), no_sample, "openvino"))
    one, two = (found.astype(np.float64).ravel() for found in (features, whole.encode(pixels)))
    assert 0.98 < one @ two / np.linalg.norm(one) / np.linalg.norm(two) < 0.99999


def test_the_file_is_made_once_and_for_one_encoder(spec, output):
    again = resolve_encoder("random", "grid", "mixed9", "int8", str(output), no_sample, "openvino")
    assert again == spec
    assert "openvino int8" in str(spec.identity)
    for kind, layer in (("pooled", "mixed9"), ("grid", "mixed10")):
        with pytest.raises(UserError, match="its encoder in int8 was made of other weights, or another layer or kind"):
            resolve_encoder("random", kind, layer, "int8", str(output), no_sample, "openvino")


def captioner_of(identity):
    def require_encoder(other):
        if other.id != identity.id:
            raise UserError("another encoder")

    return SimpleNamespace(encoder=identity, require_encoder=require_encoder)


def test_a_captioner_needs_nothing_but_the_file(spec, output, tmp_path):
    captioner = captioner_of(spec.identity)
    with pytest.raises(UserError, match=r"in int8, int8_encoder.npz, is missing; train the captioner again"):
        encoder_of_captioner(captioner, str(tmp_path), None)
    shutil.copy(output / "int8_encoder.npz", tmp_path)
    found = encoder_of_captioner(captioner, str(tmp_path), None)
    assert found.identity == spec.identity
    with pytest.raises(UserError, match=r"--weights x\.h5: the captioner's encoder in int8 has its own; leave"):
        encoder_of_captioner(captioner, str(tmp_path), "x.h5")
    (tmp_path / "int8_encoder.npz").write_bytes(b"another")
    with pytest.raises(UserError, match="another encoder"):
        encoder_of_captioner(captioner, str(tmp_path), None)


def test_int8_and_other_features_do_not_mix(run_extract, tmp_path):
    run_extract(engine="openvino")
    with pytest.raises(UserError, match=r"holds features of .*float32.*add those of --precision int8"):
        run_extract(engine="openvino", precision="int8")
    assert not (tmp_path / "features" / "int8_encoder.npz").exists()


def test_tensorflow_and_transforms_have_no_int8(run_extract, weights):
    with pytest.raises(UserError, match="--precision int8: goes with --engine openvino only"):
        run_extract(precision="int8")
    with pytest.raises(UserError, match="random weights and int8 are fitted to a collection"):
        ExtractFeatures(str(weights), precision="int8", engine="openvino")


def test_the_missing_extra_is_named(monkeypatch, run_extract):
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(UserError, match=r"the package nncf is missing; run pip install 'captionbeam\[int8\]'"):
        run_extract(engine="openvino", precision="int8")


@pytest.mark.parametrize(
    ("flags", "refused"),
    [("avx2 avx512f", True), ("avx2 avx_vnni", False), ("avx512_vnni avx2", False), ("asimd", False)],
)
def test_a_processor_that_would_overflow_is_refused(tmp_path, flags, refused):
    (tmp_path / "cpuinfo").write_text(f"flags : fpu {flags}\n")
    assert int8_encoder.overflows(str(tmp_path / "cpuinfo")) == refused
    assert not int8_encoder.overflows(str(tmp_path / "none"))
