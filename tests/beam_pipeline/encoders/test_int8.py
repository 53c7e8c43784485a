"""The encoder in 8-bit whole numbers: quantized once for a collection, kept with features and captioner."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest

from beam_pipeline.captions.decoder import encoder_of_captioner
from beam_pipeline.cli import main
from beam_pipeline.commands.status import status
from beam_pipeline.commands.verify import verify
from beam_pipeline.encoders.base import EncoderRequest
from beam_pipeline.encoders.int8 import int8_spec
from beam_pipeline.encoders.registry import load_encoder, resolve_encoder, tail_of
from beam_pipeline.options.directories import StatusOptions, VerifyOptions
from beam_pipeline.shards.feature_encoder import keep_tail
from beam_pipeline.transforms import ExtractFeatures
from training.data.feature_set import load_feature_set
from training.errors import UserError

FILE = "int8_encoder.npz"


# The real thing, quantized once for all tests.


@pytest.fixture(scope="module")
def pixels(pixels):
    return pixels[:3]


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    return tmp_path_factory.mktemp("features")


@pytest.fixture(scope="module")
def spec(pixels, output):
    return resolve_encoder(EncoderRequest("random", "grid", "mixed9", "int8", "openvino"), str(output), lambda: pixels)


@pytest.fixture(scope="module")
def features(spec, pixels):
    return load_encoder(spec).encode(pixels)


def test_features_are_near_those_of_float32_in_any_batch(spec, pixels, output, features, no_sample, caplog):
    assert caplog.handler.level == 0  # pytest's, which listens to nncf too
    assert load_encoder(spec).encode(pixels[[2, 0]]).tobytes() == features[[2, 0]].tobytes()
    whole = load_encoder(
        resolve_encoder(EncoderRequest("random", "grid", "mixed9", "float32", "openvino"), str(output), no_sample)
    )
    one, two = (found.astype(np.float64).ravel() for found in (features, whole.encode(pixels)))
    assert 0.95 < one @ two / np.linalg.norm(one) / np.linalg.norm(two) < 0.9999


def test_what_lies_behind_its_layer_is_in_its_file(spec, output, no_sample, tmp_path):
    whole = resolve_encoder(EncoderRequest("random", "grid", "mixed9", "float32", "openvino"), str(output), no_sample)
    tail = tail_of(spec)
    assert tail is not None and tail == tail_of(whole)
    assert keep_tail(spec, str(tmp_path), None) == hashlib.sha256(tail).hexdigest()
    assert (tmp_path / "encoder_tail.npz").read_bytes() == tail
    arrays = dict(np.load(spec.weights_path))
    path = str(tmp_path / FILE)
    np.savez(path, **arrays | {"tail": arrays["tail"][:-9]})
    with pytest.raises(UserError, match=rf"^{path}: damaged .*; copy it again from the features or from a captioner"):
        tail_of(int8_spec(path))
    del arrays["tail"]
    np.savez(path, **arrays)  # as an earlier captionbeam made it
    assert tail_of(int8_spec(path)) is None


_ENCODE = """
import sys
import numpy as np
from beam_pipeline.encoders.registry import load_encoder
from beam_pipeline.encoders.int8 import int8_spec
pixels, encoder, features = sys.argv[1:]
np.save(features, load_encoder(int8_spec(encoder)).encode(np.load(pixels)))
"""


def test_a_processor_without_vnni_gives_the_same_features(spec, pixels, features, tmp_path):
    """There two products are added in 16 bits; where they overflow, features are others altogether."""
    names = [str(tmp_path / "pixels.npy"), spec.weights_path, str(tmp_path / "features.npy")]
    np.save(names[0], pixels)
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    subprocess.run([sys.executable, "-c", _ENCODE, *names], env=environment, cwd=os.getcwd(), check=True)
    assert np.load(names[2]).tobytes() == features.tobytes()


def test_it_is_quantized_once_and_for_one_encoder(spec, output, no_sample):
    again = resolve_encoder(EncoderRequest("random", "grid", "mixed9", "int8", "openvino"), str(output), no_sample)
    assert again == spec
    assert "openvino int8" in str(spec.identity)
    for kind, layer in (("pooled", "mixed9"), ("grid", "mixed10")):
        with pytest.raises(UserError, match=r"its int8 encoder was made from .*mixed9 grid.* and this run would"):
            resolve_encoder(EncoderRequest("random", kind, layer, "int8", "openvino"), str(output), no_sample)


# What is done with the file; a stand-in, since the pipeline's encoder is one too.


@pytest.fixture
def quantized(weights, no_sample):
    """A directory -> writes a stand-in of the file into it, as if made from the stand-in weights."""

    def write(directory, graph=b"graph", layer="mixed9"):
        whole = resolve_encoder(EncoderRequest(str(weights), "pooled", layer, "float32", "openvino"), "", no_sample)
        directory.mkdir(exist_ok=True)
        made_from = json.dumps(asdict(whole.identity))
        np.savez(directory / FILE, graph=np.frombuffer(graph, np.uint8), made_from=np.array(made_from))
        return str(directory / FILE)

    return write


@pytest.fixture
def run_int8(run_extract):
    return lambda *output, **options: run_extract(*output, engine="openvino", precision="int8", **options)


def test_a_later_run_goes_on_with_the_same_file(run_int8, quantized, tmp_path, good, jpeg):
    path = quantized(tmp_path / "features")
    content = (tmp_path / "features" / FILE).read_bytes()
    first = run_int8()
    (good / "new.jpg").write_bytes(jpeg((1, 2, 3)))
    second = run_int8()
    assert (second.encoder, second.records) == (first.encoder, first.records + 1)
    assert (second.encoder.precision, second.encoder.engine) == ("int8", "openvino")
    go_on = dict(status(StatusOptions(second.path)))["finished"]
    assert f"--weights {path} --feature-kind pooled --layer mixed9 --precision int8 --engine openvino" in go_on
    assert content == (tmp_path / "features" / FILE).read_bytes()
    os.remove(path)
    with pytest.raises(UserError, match=r"int8_encoder.npz: the int8 encoder is missing; copy it from"):
        run_int8()
    assert not os.path.exists(path)


def test_another_collection_may_have_the_same_encoder(run_int8, quantized, tmp_path):
    path = quantized(tmp_path / "elsewhere")
    features = run_int8(weights=path)
    assert (tmp_path / "features" / FILE).read_bytes() == (tmp_path / "elsewhere" / FILE).read_bytes()
    assert run_int8("others", weights=str(tmp_path / "features" / FILE)).encoder == features.encoder
    other = quantized(tmp_path / "third", b"another graph")
    with pytest.raises(UserError, match=r"holds features of .*int8.* those of .*int8"):
        run_int8(weights=other)
    assert (tmp_path / "features" / FILE).read_bytes() == (tmp_path / "elsewhere" / FILE).read_bytes()
    with pytest.raises(UserError, match=r"gives mixed9 pooled, not mixed9 grid; give --layer mixed9 --feature-kind p"):
        run_int8("fourth", weights=path, feature_kind="grid")


def test_where_no_layer_is_named_it_is_that_of_the_file(run_int8, quantized, tmp_path):
    path = quantized(tmp_path / "features", layer="mixed10")
    assert run_int8(weights=path).encoder.layer == run_int8("others", weights=path).encoder.layer == "mixed10"
    with pytest.raises(UserError, match=r"gives mixed10 pooled, not mixed9 pooled; give --layer mixed10"):
        run_int8("third", weights=path, layer="mixed9")


def captioner_of(identity):
    def require_encoder(other):
        if other.id != identity.id:
            raise UserError("another encoder")

    return SimpleNamespace(encoder=identity, require_encoder=require_encoder)


def test_a_captioner_needs_nothing_but_the_file(run_int8, quantized, weights, tmp_path):
    path = quantized(tmp_path / "features")
    captioner = captioner_of(run_int8().encoder)
    weights.unlink()
    assert encoder_of_captioner(captioner, str(tmp_path / "features"), None).weights_path == path
    elsewhere = tmp_path / "captioner"
    elsewhere.mkdir()
    with pytest.raises(UserError, match=r"captioner/int8_encoder.npz: the int8 encoder is missing; copy it from"):
        encoder_of_captioner(captioner, str(elsewhere), None)
    assert encoder_of_captioner(captioner, str(elsewhere), path).identity.id == captioner.encoder.id
    shutil.copy(path, elsewhere)
    assert encoder_of_captioner(captioner, str(elsewhere), None).identity == captioner.encoder
    (elsewhere / "weights.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(
        UserError, match=r"weights.h5: not an int8_encoder.npz, which holds the weights of an int8 encoder"
    ):
        encoder_of_captioner(captioner, str(elsewhere), str(elsewhere / "weights.h5"))
    (elsewhere / FILE).write_bytes((elsewhere / FILE).read_bytes()[:200])
    with pytest.raises(UserError, match=r"copy it again"):
        encoder_of_captioner(captioner, str(elsewhere), None)


def test_a_captioner_refuses_another_graph(run_int8, quantized, tmp_path):
    quantized(tmp_path / "features")
    captioner = captioner_of(run_int8().encoder)
    quantized(tmp_path / "other", b"another graph")
    with pytest.raises(UserError, match=r"other/int8_encoder.npz: changed since it was written; copy it again"):
        encoder_of_captioner(captioner, str(tmp_path / "other"), None)
    with pytest.raises(UserError, match="another encoder"):
        encoder_of_captioner(captioner, str(tmp_path / "features"), str(tmp_path / "other" / FILE))
    shutil.copy(tmp_path / "features" / FILE, tmp_path / "other")
    assert encoder_of_captioner(captioner, str(tmp_path / "other"), None).identity == captioner.encoder


def test_verify_encodes_by_the_file(run_int8, quantized, weights, tmp_path, load_encoder):
    quantized(tmp_path / "features")
    run_int8()
    weights.unlink()
    assert verify(VerifyOptions(str(tmp_path / "features"), sample=3), load_encoder).problems == []
    (tmp_path / "features" / FILE).unlink()
    with pytest.raises(UserError, match="the int8 encoder is missing; copy it from the features or from a captioner"):
        verify(VerifyOptions(str(tmp_path / "features"), sample=3), load_encoder)


def test_int8_and_other_features_do_not_mix(run_extract, run_int8, quantized, tmp_path):
    run_extract(engine="openvino")
    with pytest.raises(UserError, match=r"holds features of .*float32.*add those of --precision int8"):
        run_int8()
    assert not (tmp_path / "features" / FILE).exists()
    quantized(tmp_path / "others")
    run_int8("others")
    with pytest.raises(UserError, match=r"holds features of .*int8.*add those of --precision float32"):
        run_extract("others", engine="openvino")


def test_tensorflow_and_transforms_have_no_int8(run_extract, quantized, weights, tmp_path):
    with pytest.raises(UserError, match="--precision int8: goes with --engine openvino only"):
        run_extract(precision="int8")
    with pytest.raises(
        UserError, match=r"int8 encoder is fitted to a collection; .*give the path of its int8_encoder.npz"
    ):
        ExtractFeatures(str(weights), precision="int8", engine="openvino")
    path = quantized(tmp_path / "features")
    assert ExtractFeatures(path, "pooled", precision="int8", engine="openvino")._encoder.weights_path == path


def test_the_missing_extra_is_named_in_one_line(monkeypatch, capsys, good, weights, quantized, run_int8, tmp_path):
    monkeypatch.setitem(sys.modules, "nncf", None)  # what Python makes of a package that is not there
    output = tmp_path / "features"
    argv = ["--images", str(good), "--weights", str(weights), "--output", str(output), "--precision", "int8"]
    assert main(["extract", *argv, "--engine", "openvino"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "precision int8: the package nncf is not installed; run pip install '.[int8]'" in error
    assert not (output / "manifest.json").exists()
    assert run_int8("others", weights=quantized(tmp_path / "elsewhere")).records == 20


def test_the_id_is_that_of_the_graph(run_int8, quantized, tmp_path):
    quantized(tmp_path / "features")
    found = run_int8().encoder
    assert found.id != replace(found, precision="float32").id
    assert load_feature_set(str(tmp_path / "features")).encoder == found
