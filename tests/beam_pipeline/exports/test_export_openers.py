"""What `captionbeam export` writes, opened by the programs that it is written for; skipped where one is missing."""

import hashlib
import json
import shutil
import subprocess

import pytest

from beam_pipeline.captions.picture import CaptionedPicture
from beam_pipeline.exports.export import export
from beam_pipeline.options.results import ExportOptions
from beam_pipeline.shards.ledger import DONE, LedgerLine

TEXTS = ["a dog, running", "null", "007", "=now()", 'says "größe"\nhere']


@pytest.fixture
def exported(captions, tmp_path, jpeg, colours):
    """Exports five captioned pictures in one form; returns the path."""
    folder = tmp_path / "photos"
    folder.mkdir()
    pictures = []
    for number, text in enumerate(TEXTS):
        data = jpeg(colours[number])
        (folder / f"{number}.jpg").write_bytes(data)
        sha256 = hashlib.sha256(data).hexdigest()
        pictures.append(CaptionedPicture(sha256, str(folder / f"{number}.jpg"), text, -1.0))
    directory = captions((pictures, [LedgerLine(one.uri, 1, 1.0, one.sha256, DONE) for one in pictures]))

    def exported(form):
        output = str(tmp_path / form)
        export(ExportOptions(directory, form, output))
        return output

    return exported


def escaped(text):
    return "'" + text if text.startswith("=") else text


def test_pandas_reads_csv_and_parquet(exported):
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    table = pandas.read_csv(exported("csv"), dtype=str, keep_default_na=False)
    assert table["caption"].tolist() == [escaped(text) for text in TEXTS]
    table = pandas.read_parquet(exported("parquet"))
    assert table["caption"].tolist() == TEXTS
    assert list(table["keywords"][0]) == ["dog", "running"]


def test_duckdb_reads_csv_and_parquet(exported):
    duckdb = pytest.importorskip("duckdb", reason="needs duckdb")
    query = "SELECT caption FROM {} ORDER BY uri"
    found = duckdb.sql(query.format(f"read_csv('{exported('csv')}', all_varchar=true)")).fetchall()
    assert [text for (text,) in found] == [escaped(text) for text in TEXTS]
    found = duckdb.sql(query.format(f"read_parquet('{exported('parquet')}')")).fetchall()
    assert [text for (text,) in found] == TEXTS


def test_hugging_face_datasets_reads_parquet_and_webdataset(exported, tmp_path):
    datasets = pytest.importorskip("datasets", reason="needs datasets, which is not among the extras as it is large")
    cache = {"cache_dir": str(tmp_path / "cache"), "split": "train"}
    table = datasets.load_dataset("parquet", data_files=exported("parquet"), **cache)
    assert table["caption"][:] == TEXTS
    shards = datasets.load_dataset("webdataset", data_files=f"{exported('webdataset')}/*.tar", **cache)
    assert shards["txt"][:] == TEXTS and shards[0]["jpg"].size == (64, 64)


def test_webdataset_reads_shards(exported):
    webdataset = pytest.importorskip("webdataset", reason="needs webdataset")
    shard = f"{exported('webdataset')}/captions-000000.tar"
    samples = list(webdataset.WebDataset(shard, shardshuffle=False).decode("rgb8"))
    assert [sample["txt"] for sample in samples] == TEXTS
    assert samples[0]["jpg"].shape == (64, 64, 3)
    assert [sample["__key__"] for sample in samples] == [sample["json"]["sha256"] for sample in samples]


def test_pycocotools_reads_the_results_form(exported):
    coco = pytest.importorskip("pycocotools.coco", reason="needs pycocotools")
    truth = coco.COCO()
    truth.dataset = {"images": [{"id": f"{number}.jpg"} for number in range(5)], "annotations": []}
    truth.createIndex()
    results = truth.loadRes(exported("coco"))
    assert [one["caption"] for one in results.dataset["annotations"]] == TEXTS


@pytest.mark.parametrize("form", ["metadata", "xmp"])
def test_exiftool_reads_description_and_keywords(exported, form):
    if shutil.which("exiftool") is None:
        pytest.skip("needs exiftool (Debian: libimage-exiftool-perl)")
    if form == "metadata":
        pytest.importorskip("pyexiv2", reason="needs pyexiv2, the extra metadata")
    path = f"{exported(form)}/0.{'jpg' if form == 'metadata' else 'xmp'}"
    tags = ("-XMP-dc:all", "-IPTC:all", "-validate", "-warning")
    told = subprocess.run(["exiftool", "-json", "-G1", *tags, path], capture_output=True, check=True)
    (found,) = json.loads(told.stdout)
    assert found["XMP-dc:Description"] == TEXTS[0] and found["XMP-dc:Subject"] == ["dog", "running"]
    if form == "metadata":
        assert found["IPTC:Caption-Abstract"] == TEXTS[0] and found["IPTC:Keywords"] == ["dog", "running"]
    assert "ExifTool:Warning" not in found
