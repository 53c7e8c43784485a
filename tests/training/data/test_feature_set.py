import json
import os
from dataclasses import replace

import pytest

from training.data.feature_set import EncoderIdentity, FeatureSet, Shard, load_feature_set, parse_manifest
from training.documents import parse_json, to_document
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
    found = parse_json(json.dumps({**fields, "id": "of no account"}).encode(), EncoderIdentity, "manifest.json", "")
    assert found == replace(encoder(), layer="mixed10")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "not JSON"),
        ('{"schema_version": 9}', "schema version 9, which a newer captionbeam wrote; this one reads 1"),
        ('{"schema_version": 0}', "schema version 0, not 1"),
        ('{"schema_version": 1}', "encoder is missing; remove it and run the same"),
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
    assert parse_manifest(written.path, to_document(empty.to_json())) == empty
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


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"records": 10**18}, r"shards\[0\].records: expected a whole number of at most"),
        ({"records": 10**9}, "1,000,000,000 records in "),
        ({"records": -1}, r"shards\[0\].records: expected a whole number of 0 or more, found -1"),
        ({"name": "../features"}, r"shards\[0\].name: "),
        ({"name": "features-0001-00001.tfrecord"}, "features-0001-00001.tfrecord is there twice"),
        ({"sha256": "x"}, r"shards\[0\].sha256: "),
    ],
)
def test_a_manifest_with_wrong_numbers_and_names_is_told(written, edit_document, fields, told):
    shards = written.to_json()["shards"]
    edit_document(f"{written.path}/manifest.json", shards=[{**shards[0], **fields}, shards[1]])
    with pytest.raises(UserError, match=told):
        load_feature_set(written.path)


def test_a_link_in_place_of_a_shard_is_not_followed(written, tmp_path):
    (path,) = written.shard_paths()
    os.rename(path, tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", path)
    with pytest.raises(UserError, match="a link, and links in a directory of captionbeam are not followed"):
        written.shard_paths()
