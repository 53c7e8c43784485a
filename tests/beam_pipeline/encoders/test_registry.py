"""What a user asks for -> an encoder: who can do what, what is refused, and that engines never mix."""

import sys
from dataclasses import fields, replace

import pytest

from beam_pipeline.captions.decoder import encoder_of_captioner
from beam_pipeline.cli import main
from beam_pipeline.commands.status import status
from beam_pipeline.encoders.base import EncoderRequest
from beam_pipeline.encoders.registry import (
    ARCHITECTURES,
    ENGINES,
    load_encoder,
    resolve_encoder,
    resolve_identity,
    resolve_precision,
)
from beam_pipeline.options.directories import StatusOptions
from beam_pipeline.options.extract import ExtractOptions
from training.errors import JobFailed, UserError
from training.option_fields import option_of


def request_of(weights, **options) -> EncoderRequest:
    return replace(EncoderRequest(str(weights), "pooled", "mixed9", "float32"), **options)


def test_every_engine_and_precision_has_an_identity_of_its_own(weights, no_sample):
    identities = [
        resolve_encoder(request_of(weights, engine=engine, precision=precision), "", no_sample).identity
        for engine in ENGINES
        for precision in ("float32", "bfloat16")
    ]
    assert len({identity.id for identity in identities}) == 4
    assert "openvino bfloat16" in str(identities[-1])


def test_an_identity_names_all_that_decides_features(weights, no_sample):
    identity = resolve_encoder(request_of(weights), "", no_sample).identity
    assert identity.id == "f948da57c04b"
    assert str(identity) == (
        f"InceptionV3 f948da57c04b (mixed9 pooled, tensorflow float32, weights {weights} {identity.weights_sha256[:8]})"
    )


def test_the_encoder_of_features_is_found_again(weights, no_sample, tmp_path):
    spec = resolve_encoder(request_of(weights, engine="openvino"), "", no_sample)
    elsewhere = tmp_path / "elsewhere.h5"
    weights.rename(elsewhere)
    again = resolve_identity(spec.identity, str(elsewhere), "")
    assert again.identity.id == spec.identity.id and again.weights_path == str(elsewhere)
    with pytest.raises(UserError, match=r"random_encoder.npz: is missing; copy it again from"):
        resolve_identity(replace(spec.identity, weights="random"), None, str(tmp_path))
    with pytest.raises(UserError, match=f"--weights random: {tmp_path} was made with the encoder weights '{weights}'"):
        resolve_identity(spec.identity, "random", str(tmp_path))


@pytest.mark.parametrize(
    "place", ["s3://somewhere/beacon", "/etc/passwd", "../weights.h5", "..", "", "c:\\w.h5", "a\0b"]
)
def test_a_directory_chooses_no_weights_outside_itself(weights, no_sample, tmp_path, place):
    identity = resolve_encoder(request_of(weights), "", no_sample).identity
    with pytest.raises(UserError, match=r"made with the encoder weights .*, which are not in it; give their path"):
        resolve_identity(replace(identity, weights=place), None, str(tmp_path))
    assert resolve_identity(replace(identity, weights=place), str(weights), "").identity.id == identity.id


def test_a_directory_may_hold_the_weights_but_no_link_to_them(weights, no_sample, tmp_path):
    identity = replace(resolve_encoder(request_of(weights), "", no_sample).identity, weights="own.h5")
    with pytest.raises(UserError, match=r"own.h5: no such file"):
        resolve_identity(identity, None, str(tmp_path))
    (tmp_path / "own.h5").symlink_to(weights)
    with pytest.raises(UserError, match=r"own.h5: a link"):
        resolve_identity(identity, None, str(tmp_path))
    (tmp_path / "own.h5").unlink()
    (tmp_path / "own.h5").write_bytes(weights.read_bytes())
    assert resolve_identity(identity, None, str(tmp_path)).weights_path == str(tmp_path / "own.h5")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "abacus"}, "engine abacus: this captionbeam does not know it; it has tensorflow and openvino"),
        ({"architecture": "LeNet"}, "network LeNet: this captionbeam does not know it; it has InceptionV3"),
        ({"precision": "int8"}, "--precision int8: goes with --engine openvino only"),
    ],
)
def test_what_is_not_there_is_named(weights, no_sample, options, message):
    with pytest.raises(UserError, match=message):
        resolve_encoder(request_of(weights, **options), "", no_sample)


def test_weights_that_changed_since_the_job_began_are_refused(weights, no_sample):
    spec = resolve_encoder(request_of(weights), "", no_sample)
    weights.write_bytes(b"other weights")
    with pytest.raises(JobFailed, match="are not those that the job began with"):
        load_encoder(spec)


def test_a_new_network_is_an_entry_in_the_registry(monkeypatch, tiny, pixels, tmp_path):
    monkeypatch.setitem(ARCHITECTURES, tiny.name, tiny)
    request = EncoderRequest("random", "grid", "grid", "float32", architecture=tiny.name)
    spec = resolve_encoder(request, str(tmp_path), lambda: pixels)
    assert spec.identity.architecture == "Tiny"
    assert load_encoder(spec).encode(pixels[:2]).shape == (2, 4, 4)


@pytest.mark.parametrize("damage", ["missing", "changed", "cut"])
def test_damaged_statistics_of_random_weights_are_copied_again_as_the_message_says(
    monkeypatch, tiny, pixels, tmp_path, damage
):
    monkeypatch.setitem(ARCHITECTURES, tiny.name, tiny)
    request = EncoderRequest("random", "grid", "grid", "float32", architecture=tiny.name)
    spec = resolve_encoder(request, str(tmp_path), lambda: pixels)
    path = tmp_path / "random_encoder.npz"
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(data[:-9] if damage == "cut" else data + b"x")
    with pytest.raises(UserError, match=r"random_encoder.npz: (is missing|changed since .*); copy it again"):
        resolve_identity(spec.identity, None, str(tmp_path))
    path.write_bytes(data)
    assert resolve_identity(spec.identity, None, str(tmp_path)) == spec


def test_auto_is_the_fastest_precision_of_the_processor():
    assert resolve_precision("auto") in ("bfloat16", "float32")
    assert resolve_precision("bfloat16") == "bfloat16"


def test_features_of_two_engines_do_not_mix(run_extract):
    run_extract()
    with pytest.raises(
        UserError, match=r"holds features of .*tensorflow float32.* those of .*openvino float32.*engine"
    ):
        run_extract(engine="openvino")
    features = run_extract("other", engine="openvino")
    assert " --precision float32 --engine openvino" in dict(status(StatusOptions(features.path)))["finished"]


class Captioner:
    def __init__(self, encoder):
        self.encoder = encoder

    def require_encoder(self, identity):
        assert identity.id == self.encoder.id


def test_a_captioner_takes_the_engine_of_its_features(run_extract, weights):
    captioner = Captioner(run_extract(engine="openvino").encoder)
    assert encoder_of_captioner(captioner, "captioner", str(weights)).identity.engine == "openvino"


def test_a_captioner_of_an_unknown_engine_is_refused(run_extract, weights):
    captioner = Captioner(replace(run_extract().encoder, engine="abacus"))
    with pytest.raises(UserError, match="engine abacus: this captionbeam does not know it; it has tensorflow and"):
        encoder_of_captioner(captioner, "captioner", str(weights))


def test_the_missing_extra_is_named_in_one_line(monkeypatch, capsys, good, weights, tmp_path):
    monkeypatch.setitem(sys.modules, "openvino", None)  # what Python makes of a package that is not there
    output = tmp_path / "features"
    argv = ["--images", str(good), "--weights", str(weights), "--output", str(output), "--engine", "openvino"]
    assert main(["extract", *argv]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "pip install '.[openvino]'" in error
    assert not (output / "manifest.json").exists()


def test_the_command_offers_what_there_is():
    """Its help must not load encoders, so it names them itself."""
    engines, networks = ENGINES.values(), ARCHITECTURES.values()
    offered = {field.name: set(option_of(field).choices or ()) for field in fields(ExtractOptions) if option_of(field)}
    assert offered["engine"] == set(ENGINES)
    assert offered["layer"] == {layer for network in networks for layer in network.layers}
    assert offered["precision"] == {"auto"} | {precision for engine in engines for precision in engine.precisions}
    assert offered["feature_kind"] == {"grid", "pooled"}
