import pytest

from training.storage import read_bytes, read_json, write_bytes, write_json


def test_a_file_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "a.json"
    write_bytes(str(path), b"old")
    write_json(str(path), {"name": "caf\u00e9"})
    assert read_json(str(path)) == {"name": "caf\u00e9"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_nan_is_refused_and_the_old_file_stays(tmp_path):
    path = str(tmp_path / "a.json")
    write_bytes(path, b"1")
    with pytest.raises(ValueError):
        write_json(path, float("nan"))
    assert read_bytes(path) == b"1"
