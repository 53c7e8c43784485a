import json
from dataclasses import asdict

import pytest

from training.data.feature_set import EncoderIdentity
from training.errors import UserError
from training.models.captioner_files import CaptionerConfig, member_paths, read_config
from training.models.model_config import ModelConfig


def encoder():
    return EncoderIdentity("InceptionV3", "tensorflow", "aa" * 32, "imagenet", 299, "box", "float32", "pooled")


CONFIG = {
    "schema_version": 1,
    "model": {"model": "merge", "vocabulary_size": 6},
    "max_words": 8,
    "encoder": asdict(encoder()),
    "trained_with": {},
}


def test_settings_are_read(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    assert read_config(str(tmp_path)) == CaptionerConfig(ModelConfig("merge", 6), 8, encoder(), {}, 1)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "no config.json here; give the directory that `captionbeam train` made"),
        ("{", "not JSON"),
        ("[]", "expected an object, found []"),
        ("{}", "schema version null, not 1; restore it as training wrote it"),
        (json.dumps(CONFIG | {"schema_version": 2}), "schema version 2, which a newer captionbeam wrote"),
        (json.dumps(CONFIG | {"encoder": {}}), "encoder: architecture is missing; restore it"),
        (json.dumps(CONFIG | {"model": {"model": "lstm", "vocabulary_size": 6}}), "model.model: "),
        (
            json.dumps(CONFIG | {"model": {"model": "merge", "vocabulary_size": 6, "hidden_size": 10**9}}),
            "model.hidden_size: expected a whole number of at most 16777216, found 1000000000",
        ),
        (
            json.dumps(CONFIG | {"model": {**CONFIG["model"], "tail": [{"kind": "max_pool", "inputs": [0]}]}}),
            "model.tail: operations on a grid, and the features are pooled; restore it",
        ),
    ],
)
def test_what_is_no_config_is_told(tmp_path, text, told):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError) as refused:
        read_config(str(tmp_path))
    assert told in str(refused.value) and str(tmp_path) in str(refused.value)


def test_commas_separate_directories_but_not_where_one_has_that_name(tmp_path):
    (tmp_path / "a,b").mkdir()
    assert member_paths(f"{tmp_path}/a,b") == [f"{tmp_path}/a,b"]
    assert member_paths("a,b") == ["a", "b"] and member_paths("a") == ["a"]
