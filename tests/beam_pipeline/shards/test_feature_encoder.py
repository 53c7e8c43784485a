"""The encoder of a feature set is the one that the options name and that the set was made with."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from beam_pipeline.inputs.sources import resolve_collection
from beam_pipeline.options.extract import ExtractOptions
from beam_pipeline.shards.feature_encoder import earlier_features, encoder_of_options, keep_int8_encoder
from beam_pipeline.shards.manifest import write_manifest
from training.data.feature_records import FeatureRecord, serialize
from training.data.feature_set import FeatureSet
from training.errors import UserError


@pytest.fixture
def options(good, weights, tmp_path):
    return ExtractOptions(
        images=str(good),
        output=str(tmp_path),
        weights=str(weights),
        feature_kind="pooled",
        precision="float32",
    )


@pytest.fixture
def spec(options, good, tmp_path):
    """The encoder that the options name, in a directory without features."""
    return encoder_of_options(options, resolve_collection(str(good)), None, str(tmp_path))


def test_the_options_name_the_encoder(spec, weights):
    assert spec.weights_path == str(weights)
    assert (spec.identity.feature_kind, spec.identity.layer, spec.identity.precision) == ("pooled", "mixed9", "float32")


def layer_of(options, earlier, directory):
    return encoder_of_options(options, resolve_collection(options.images), earlier, str(directory)).identity.layer


def test_the_layer_is_that_of_the_features_that_are_there(options, spec, tmp_path):
    assert layer_of(options, None, tmp_path) == "mixed9"
    options = replace(options, feature_kind="grid")
    assert layer_of(options, None, tmp_path) == "mixed8"
    assert layer_of(replace(options, layer="mixed7"), None, tmp_path) == "mixed7"
    for layer in ("mixed7", "mixed9", "mixed10"):
        earlier = FeatureSet(str(tmp_path), replace(spec.identity, feature_kind="grid", layer=layer), ())
        assert layer_of(options, earlier, tmp_path) == layer


@pytest.mark.parametrize(("shape", "layer"), [((64, 2048), "mixed9"), ((64, 1280), "mixed8"), ((289, 768), "mixed7")])
def test_without_a_manifest_the_stored_features_tell_the_layer(options, tmp_path, shape, layer):
    with tf.io.TFRecordWriter(str(tmp_path / "features-0001-00000-of-00001.tfrecord")) as writer:
        writer.write(serialize(FeatureRecord("aa" * 32, ("a.jpg",), 4, 3, np.zeros(shape, np.float16), ())))
    (tmp_path / "ledger-0001-00000-of-00001.jsonl").touch()
    assert layer_of(replace(options, feature_kind="grid"), None, tmp_path) == layer


def test_an_empty_directory_holds_no_features(options, tmp_path):
    assert earlier_features(options, str(tmp_path)) is None


def test_features_of_the_same_encoder_are_added_to(options, spec, good, tmp_path):
    features = FeatureSet(str(tmp_path), spec.identity, ())
    write_manifest(features)
    assert earlier_features(options, str(tmp_path)) == features
    assert encoder_of_options(options, resolve_collection(str(good)), features, str(tmp_path)) == spec


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": "int8"}, r"would add those of --precision int8; choose another --output"),
        ({"weights": "random"}, r"would add those of --weights random; choose another --output"),
        ({"augment": 2}, r"holds features with --augment 0, and this run has --augment 2; choose another --output"),
    ],
)
def test_other_options_are_refused_before_an_encoder_is_made(options, spec, tmp_path, changes, message):
    write_manifest(FeatureSet(str(tmp_path), spec.identity, ()))
    with pytest.raises(UserError, match=message):
        earlier_features(replace(options, **changes), str(tmp_path))


def test_another_encoder_is_refused(options, spec, good, tmp_path):
    features = FeatureSet(str(tmp_path), spec.identity, ())
    with pytest.raises(UserError, match=r"holds features of .*mixed9.*, and this run would add those of .*mixed10"):
        encoder_of_options(replace(options, layer="mixed10"), resolve_collection(str(good)), features, str(tmp_path))


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_what_random_weights_are_made_from_is_never_made_again(options, good, tmp_path, damage):
    """Else pictures that are new since then would change the encoder."""
    path = tmp_path / "random_encoder.npz"
    path.write_bytes(b"statistics")
    random = replace(options, weights="random")
    collection = resolve_collection(str(good))
    features = FeatureSet(str(tmp_path), encoder_of_options(random, collection, None, str(tmp_path)).identity, ())
    assert encoder_of_options(random, collection, features, str(tmp_path)).identity == features.encoder
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(b"others")
    with pytest.raises(UserError, match=r"random_encoder.npz: (is missing|changed since .*); copy it again"):
        encoder_of_options(random, collection, features, str(tmp_path))
    assert path.exists() == (damage == "changed")


def test_an_int8_encoder_is_copied_beside_its_features(spec, weights, tmp_path):
    assert keep_int8_encoder(spec, str(tmp_path)) == spec, "float32 weights stay where they are"
    int8 = replace(spec, identity=replace(spec.identity, precision="int8"))
    kept = keep_int8_encoder(int8, str(tmp_path))
    assert kept == replace(int8, weights_path=str(tmp_path / "int8_encoder.npz"))
    assert (tmp_path / "int8_encoder.npz").read_bytes() == weights.read_bytes()
    assert keep_int8_encoder(kept, str(tmp_path)) == kept
