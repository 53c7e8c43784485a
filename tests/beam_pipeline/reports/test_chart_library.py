import logging
import os

import pytest

from beam_pipeline.reports import chart_library


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Keeps scripts below `tmp_path`, makes them without the real package, and lists how often they were made."""
    made = []

    def make() -> str:
        made.append(1)
        return "charts();\n// ä"

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(chart_library, "_make", make)
    return made


def kept(tmp_path):
    (file,) = (tmp_path / "cache" / "captionbeam").glob("charts-*.js")
    return file


def test_a_script_is_made_once_and_kept(made, tmp_path):
    assert chart_library._cached_library() == chart_library._cached_library() == "charts();\n// ä"
    assert made == [1]
    assert [file.name for file in (tmp_path / "cache" / "captionbeam").iterdir()] == [kept(tmp_path).name]


@pytest.mark.parametrize("damage", [b"", b"charts();", b"0" * 64 + b"\nevil();"])
def test_a_damaged_script_is_made_again(made, tmp_path, damage):
    script = chart_library._cached_library()
    kept(tmp_path).write_bytes(damage)
    assert chart_library._cached_library() == script
    assert chart_library._cached_library() == script
    assert made == [1, 1]


def test_a_script_where_others_can_write_is_not_taken(made, tmp_path, caplog):
    script = chart_library._cached_library()
    directory = tmp_path / "cache" / "captionbeam"
    directory.chmod(0o770)
    with caplog.at_level(logging.DEBUG, "captionbeam"):
        assert chart_library._cached_library() == script
    assert made == [1, 1] and "the chart library is not kept" in caplog.text
    directory.rename(tmp_path / "elsewhere")
    directory.symlink_to(tmp_path / "elsewhere")
    assert chart_library._cached_library() == script
    assert made == [1, 1, 1]


def test_a_cache_that_cannot_be_written_costs_only_time(made, tmp_path):
    (tmp_path / "cache").write_text("in the way")
    assert chart_library._cached_library() == chart_library._cached_library()
    assert made == [1, 1]


@pytest.mark.parametrize("value", [None, "", "relative"])
def test_the_cache_lies_in_the_home_directory_by_default(monkeypatch, value):
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if value is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", value)
    assert chart_library.cache_directory() == os.path.join("/home/somebody", ".cache", "captionbeam")


def test_the_real_package_gives_the_script():
    assert "vegaEmbed" in chart_library._make()
