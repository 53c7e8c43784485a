import json
from dataclasses import replace

import pytest

from training.data.feature_set import FeatureSet, Shard, encoder_from_json, from_json, load_feature_set
from training.errors import JobFailed, UserError


@pytest.fixture
def written(tmp_path, record, write_features):
    """A feature set of two shards, one of no record, to be damaged."""
    features = write_features(tmp_path, [[record("a"), record("b", captions=())]])
    with_empty = replace(features, shards=(*features.shards, Shard("features-0001-00001.tfrecord", 0, 0, 0, "")))
    (tmp_path / "manifest.json").write_text(json.dumps(with_empty.to_json()))
    return with_empty


def test_a_manifest_is_read_as_it_was_written(written):
    assert load_feature_set(written.path) == written
    assert (written.records, written.captions) == (2, 1)
    assert written.shard_paths() == [f"{written.path}/{written.shards[0].name}"]


def test_the_id_is_decided_by_everything_but_the_name_of_the_weights(encoder):
    one = encoder()
    assert replace(one, weights="mine.h5").id == one.id
    assert replace(one, layer="mixed10").id != one.id
    assert (one.feature_shape, encoder("grid").feature_shape) == ((2048,), (64, 2048))


def test_an_encoder_without_a_layer_is_of_the_time_when_there_was_one(encoder):
    fields = {name: value for name, value in encoder().__dict__.items() if name != "layer"}
    assert encoder_from_json({**fields, "id": "of no account"}) == replace(encoder(), layer="mixed10")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "not JSON"),
        ('{"schema_version": 9}', "schema version 9 where this captionbeam reads 1"),
        ('{"schema_version": 1}', "not a manifest of a feature set"),
    ],
)
def test_a_damaged_manifest_is_told(written, text, told):
    with open(f"{written.path}/manifest.json", "w") as file:
        file.write(text)
    with pytest.raises(UserError, match=told):
        load_feature_set(written.path)


def test_a_directory_without_manifest_or_pictures_is_told(written, tmp_path):
    with pytest.raises(UserError, match=r"no manifest.json here, so no finished shards"):
        load_feature_set(str(tmp_path / "none"))
    empty = FeatureSet(written.path, written.encoder, written.shards[1:])
    assert from_json(written.path, empty.to_json()) == empty
    (tmp_path / "manifest.json").write_text(json.dumps(empty.to_json()))
    with pytest.raises(UserError, match="its shards hold no pictures"):
        load_feature_set(written.path)


@pytest.mark.parametrize(("size", "told"), [(None, "it is missing"), (0, "is empty"), (5, "has 5 bytes")])
def test_a_shard_of_another_size_is_told(written, size, told):
    (path,) = written.shard_paths()
    features = replace(written, shards=(replace(written.shards[0], name="none"),)) if size is None else written
    if size is not None:
        with open(path, "wb") as file:
            file.write(b"?" * size)
    with pytest.raises(JobFailed, match=told):
        features.shard_paths()
