import json

import pyarrow.parquet
import pytest

from beam_pipeline.exports.tables import write_coco, write_csv, write_parquet
from beam_pipeline.results.caption_index import CaptionedFile

DOG = CaptionedFile("/p/dog.jpg", "aa", "=a dog, running", -0.5, ("repeats", "copied"), ("dog", "running"), False, 0.75)
COPY = CaptionedFile("/p/\udcff.jpg", "aa", "a dog", -0.5, (), (), True)
LOW = CaptionedFile("/p/low.jpg", "bb", "a cow", -1.25, ("low_confidence",), ("cow",), False, 0.25, withheld=True)


def relative(uri: str) -> str:
    return uri.removeprefix("/p/")


def test_csv_is_escaped_and_leaves_withheld_captions_empty(tmp_path):
    write_csv(str(tmp_path / "a.csv"), [DOG, COPY, LOW], relative)
    assert (tmp_path / "a.csv").read_text("utf-8").splitlines() == [
        "uri,sha256,caption,score,confidence,flags,keywords,duplicate",
        '/p/dog.jpg,aa,"\'=a dog, running",-0.5000,0.7500,repeats;copied,dog;running,0',
        "/p/\\udcff.jpg,aa,a dog,-0.5000,,,,1",
        "/p/low.jpg,bb,,-1.2500,0.2500,low_confidence,cow,0",
    ]


def test_parquet_has_exact_values_and_null_for_withheld_captions(tmp_path):
    write_parquet(str(tmp_path / "a.parquet"), [DOG, COPY, LOW], relative)
    assert pyarrow.parquet.read_table(tmp_path / "a.parquet").to_pylist() == [
        {
            "uri": "/p/dog.jpg",
            "sha256": "aa",
            "caption": "=a dog, running",
            "score": -0.5,
            "confidence": 0.75,
            "flags": ["repeats", "copied"],
            "keywords": ["dog", "running"],
            "duplicate": False,
        },
        {
            "uri": "/p/\\udcff.jpg",
            "sha256": "aa",
            "caption": "a dog",
            "score": -0.5,
            "confidence": None,
            "flags": [],
            "keywords": [],
            "duplicate": True,
        },
        {
            "uri": "/p/low.jpg",
            "sha256": "bb",
            "caption": None,
            "score": -1.25,
            "confidence": 0.25,
            "flags": ["low_confidence"],
            "keywords": ["cow"],
            "duplicate": False,
        },
    ]


def test_coco_results_leave_withheld_captions_out(tmp_path):
    write_coco(str(tmp_path / "a.json"), [DOG, LOW], relative)
    assert json.loads((tmp_path / "a.json").read_text()) == [{"image_id": "dog.jpg", "caption": "=a dog, running"}]


@pytest.mark.parametrize(("write", "content"), [(write_coco, "[\n]\n"), (write_csv, "uri,sha256,caption,score,")])
def test_no_files_give_an_empty_table(tmp_path, write, content):
    write(str(tmp_path / "a"), [], relative)
    assert (tmp_path / "a").read_text().startswith(content)
