"""The transforms in your own pipeline: one record an element, the same captions as the command's."""

import hashlib
import runpy
import subprocess
import sys
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow.parquet
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

from beam_pipeline import CaptionImages, ExtractFeatures
from beam_pipeline.inputs.reader import PictureReader
from beam_pipeline.options.limits import DecodeLimits
from beam_pipeline.transforms import EncodedElement, decode_element, encode_elements
from training.errors import UserError
from training.models.caption_models import ModelConfig, build_model
from training.models.captioner import save_weights, write_config
from training.text.vocabulary import Vocabulary

REPOSITORY = Path(__file__).resolve().parents[2]


def test_importing_the_package_imports_neither_beam_nor_tensorflow():
    code = "import sys, beam_pipeline; sys.exit(bool({'tensorflow', 'apache_beam'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_every_element_has_a_feature_or_a_reason(good, weights, load_encoder, jpeg, colours):
    paths = [str(good / "00.jpg"), str(good / "missing.jpg")]
    given = [("bytes", jpeg(colours[0])), ("cut", b"no")]
    extract = ExtractFeatures(str(weights), "pooled", precision="float32", load=load_encoder)

    def check(records):
        by_uri = {record.uri: record for record in records}
        assert by_uri.keys() == {*paths, "bytes", "cut"} and len(records) == 4
        first = by_uri[paths[0]]
        feature = np.frombuffer(first.values, "float16").reshape(first.shape)
        assert feature.shape == (2048,) and np.abs(feature[:3] - colours[0]).max() < 4
        assert by_uri["bytes"].values == first.values and by_uri["bytes"].sha256 == first.sha256
        assert by_uri[paths[1]].rejected == "no such file or directory" and by_uri["cut"].rejected
        assert by_uri["cut"].values == b""

    with TestPipeline() as pipeline:
        assert_that(pipeline | beam.Create([*paths, *given]) | extract, check)


@pytest.fixture
def captioner(run_extract, tmp_path):
    features = run_extract()
    path, vocabulary = tmp_path / "captioner", Vocabulary(("red", "green", "dog", "runs"))
    path.mkdir()
    config = ModelConfig("merge", len(vocabulary), embedding_size=8, hidden_size=16)
    save_weights(build_model(config, (2048,)), str(path))
    write_config(str(path), config, features.encoder, 6, 1, {})
    vocabulary.save(str(path / "vocabulary.txt"))
    return str(path)


def test_captions_are_typed_and_every_element_has_one_or_a_reason(captioner, good, weights, load_encoder):
    caption = CaptionImages(captioner, str(weights), load=load_encoder)

    def check(records):
        assert [bool(record.caption) for record in sorted(records)] == [True, False]
        assert all(record.score < 0 for record in records if not record.rejected)

    with TestPipeline() as pipeline:
        records = pipeline | beam.Create([str(good / "00.jpg"), ("cut", b"")]) | caption
        assert_that(records, check)
        rows = records | beam.Select("uri", "caption")  # a schema is known
        assert_that(rows | beam.Map(lambda row: row.uri), equal_to([str(good / "00.jpg"), "cut"]), "Rows")


def test_random_weights_are_refused():
    with pytest.raises(UserError, match="fitted to a collection"):
        ExtractFeatures("random")


def test_the_example_in_the_documentation_runs(captioner, good, weights, load_encoder, tmp_path):
    example = runpy.run_path(str(REPOSITORY / "docs/examples/captions_to_parquet.py"))
    output = str(tmp_path / "captions")
    example["main"](f"{good}/0*.jpg", captioner, output, weights=str(weights), load=load_encoder)
    rows = pyarrow.parquet.read_table(f"{output}.parquet").to_pylist()
    assert sorted(row["uri"] for row in rows) == sorted(map(str, good.glob("0*.jpg")))
    assert all(row["caption"] for row in rows)


def test_an_element_is_decoded_or_says_why_not(good, jpeg):
    limits = DecodeLimits(max_bytes=10_000)
    content = jpeg("red")
    digest = hashlib.sha256(content).hexdigest()
    element, pixels = decode_element(("anything", content), PictureReader(), limits)
    assert element == EncodedElement("anything", digest, "", None) and pixels.shape == (299, 299, 3)
    element, pixels = decode_element(str(good / "missing.jpg"), PictureReader(), limits)
    assert (element.sha256, element.rejected, pixels) == ("", "no such file or directory", None)
    element, pixels = decode_element(("cut", b"no"), PictureReader(), limits)
    assert element.sha256 and element.rejected and pixels is None
    element, pixels = decode_element(("large", bytes(10_001)), PictureReader(), limits)
    assert element.sha256 == "" and "10" in element.rejected and pixels is None


def test_encoded_elements_come_in_order_and_nothing_to_encode_loads_no_encoder(jpeg, colours, encoder):
    elements = [("a", jpeg(colours[0])), ("cut", b"no"), ("b", jpeg(colours[1]))]
    first, cut, second = encode_elements(elements, encoder, DecodeLimits())
    assert np.abs(first.feature[:3] - colours[0]).max() < 4 and np.abs(second.feature[:3] - colours[1]).max() < 4
    assert (first.uri, cut.uri, second.uri, cut.feature) == ("a", "cut", "b", None)
    assert encode_elements([("cut", b"no")], None, DecodeLimits()) == [cut]
