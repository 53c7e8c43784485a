import json

import pytest

from training.errors import UserError
from training.models.captioner_files import member_paths, read_config

CONFIG = {"schema_version": 1, "model": {}, "max_words": 8, "encoder": {}, "trained_with": {}}


def test_settings_are_read(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    assert read_config(str(tmp_path)) == CONFIG


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "no config.json here; give the directory that `captionbeam train` made"),
        ("{", "not JSON"),
        ("[]", "not the settings of a captioner"),
        ("{}", "schema version None, not 1; train again"),
        (json.dumps(CONFIG | {"schema_version": 2}), "schema version 2, not 1; train again"),
        (
            '{"schema_version": 1, "model": {}, "max_words": 8}',
            "lacks encoder, trained_with; train the",
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
