import os
import re
from pathlib import Path

import pytest

from beam_pipeline.inputs.own_files import OwnFiles
from beam_pipeline.reports.page import render
from beam_pipeline.shards.shard_id import ShardId
from training.own_names import (
    CHECKPOINTS,
    ESTIMATES,
    LOG,
    NEXT,
    OWN_NAMES,
    PICTURES_OF_REPORT,
    PROGRESS,
    RESULTS,
    SUMMARY,
    THUMBNAILS,
)

THUMBNAIL = "0" * 64 + ".jpg"
SHARD = ShardId(1, 0, 2)


def own(folder, *names) -> list[str]:
    """Puts files into a folder -> those of them that are captionbeam's own."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_bytes(b"")
    files = OwnFiles()
    return [name for name in names if str(folder / name) in files]


@pytest.mark.parametrize("beside", [SUMMARY, SHARD.captions(), SHARD.ledger()])
def test_thumbnails_are_ours_beside_captions_finished_or_not(tmp_path, beside):
    assert own(tmp_path, THUMBNAILS, "a.jpg", beside) == [THUMBNAILS, beside]
    assert f"{tmp_path}/{THUMBNAILS}!/{THUMBNAIL}" in OwnFiles()


def test_every_file_that_the_reference_names_is_ours_beside_a_ledger_and_not_elsewhere(tmp_path):
    page = Path(__file__).parents[3].joinpath("docs/reference/output-files.md").read_text()
    page = re.sub(r"`(\w+)\.csv`, `\.parquet`", r"`\1.csv`, `\1.parquet`", page)
    cells = re.findall(r"^\| (`[^|]*`) \|", page, re.MULTILINE)
    names = {name for cell in cells for name in re.findall(r"`([\w./*]+\.\w+)`", cell)}
    names = {SHARD.features() if "-*" in name else name.replace("*", "") for name in names}
    unfinished = {PROGRESS, PICTURES_OF_REPORT, CHECKPOINTS, LOG, *(NEXT + name for name in RESULTS)}
    assert frozenset().union(*OWN_NAMES.values()) - unfinished - set(ESTIMATES.values()) <= names
    assert own(tmp_path / "out", *names, SHARD.ledger()) == [*names, SHARD.ledger()]
    marks = {SHARD.features(), SUMMARY, "captioner.weights.h5", "scores.json"}
    assert own(tmp_path / "in", *names - marks) == []


def test_tables_that_wait_for_their_summary_are_ours(tmp_path):
    assert own(tmp_path, "next-word_importance.parquet", "next-trip.parquet", SHARD.ledger()) == [
        "next-word_importance.parquet",
        SHARD.ledger(),
    ]


def test_an_archive_of_that_name_elsewhere_is_not(tmp_path):
    assert own(tmp_path, THUMBNAILS, "manifest.json", "a.jpg", "features.tfrecord", "captions-1.jsonl") == []


def test_features_are_ours_wherever_they_lie(tmp_path):
    assert own(tmp_path, SHARD.features(), ".lock") == [SHARD.features(), ".lock"]


def test_pictures_of_a_page_are_ours_whatever_its_name_and_those_beside_other_pages_are_not(tmp_path):
    (tmp_path / "mine.html").write_bytes(render("base.html", (), settings=(), data={}))
    (tmp_path / "theirs.html").write_text("<!doctype html>")
    os.mkfifo(tmp_path / "pipe.html")
    names = [f"{name}_files/{picture}" for name in ("mine", "theirs", "pipe") for picture in (THUMBNAIL, "a.jpg")]
    assert own(tmp_path, *names) == [f"mine_files/{THUMBNAIL}"]


def test_pictures_of_a_report_that_was_interrupted_are_ours(tmp_path):
    assert own(tmp_path, f"report_files/{THUMBNAIL}", f"trip_files/{THUMBNAIL}", SUMMARY) == [
        f"report_files/{THUMBNAIL}",
        SUMMARY,
    ]


def test_the_list_of_checkpoints_of_a_training_is_ours(tmp_path):
    of_training = ["checkpoint/checkpoint", "checkpoint/ckpt-1.index", "log/events.out.tfevents.1.host.2.0.v2"]
    assert own(tmp_path, *of_training, "other/checkpoint") == of_training
