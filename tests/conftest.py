"""Fixtures for all tests. The tests run on data that they make; real data is used where `CAPTIONBEAM_DATA` has it.

shared_data     directory of Flickr8k, GloVe and weights; the test is skipped without it
files_of        directory -> {relative path: content}, what tells how a job went left out
contents_of     directory -> {name: content}
jpeg, noisy_jpeg, colours, good
                bytes of drawn pictures; a folder of twenty of them
draw_squares    fills a folder with pictures for whole commands, a copy and a broken one among them
stand_in_weights, weights
                a stand-in weight file, of all tests or of one alone
encoder, mean_colour, load_encoder
                an encoder that gives a picture's mean colour
extract_settings
                options of `extract` on the folder, all but the output
run_extract     runs `extract` on the folder with that encoder
pyexiv2         the metadata library; the test is skipped without it
edit_document, edit_captions
                change what captionbeam wrote, as a person would who knows its checksums
captions, results, word_tables
                write finished captions directories: without and with word tables, and word tables alone
"""

from __future__ import annotations

import functools
import gc
import hashlib
import io
import json
import logging
import os
import shutil
from pathlib import Path

# Before TensorFlow is imported anywhere: only errors in the log, no GPU (results must not depend on one), and with
# several pytest processes one thread each, or they would fight for the cores.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
if "PYTEST_XDIST_WORKER" in os.environ:
    for variable in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(variable, "1")

import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms import core as beam_core
from hypothesis import HealthCheck, settings
from PIL import Image

from beam_pipeline.captions.picture import CaptionedPicture
from beam_pipeline.extract_features import extract
from beam_pipeline.options.extract import ExtractOptions
from beam_pipeline.shards.ledger import DONE, REJECTED, LedgerLine, to_jsonl
from beam_pipeline.shards.output_directory import commit_shard
from beam_pipeline.shards.results import Results
from beam_pipeline.shards.shard_id import ShardId
from beam_pipeline.words.shard_statistics import shard_statistics, write_words
from beam_pipeline.words.writer import ResultWriter
from training.documents import to_document

REPOSITORY = Path(__file__).resolve().parent.parent

# A loaded machine is slow, not wrong; examples come in the same order everywhere, so a failure in CI is one here too.
settings.register_profile("captionbeam", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("captionbeam")

# Beam asks for the same signatures and views of options thousands of times while it builds a pipeline, which takes most
# of the time of a small one.
beam_core.get_signature = functools.lru_cache(1024)(beam_core.get_signature)
PipelineOptions.view_as = functools.lru_cache(256)(PipelineOptions.view_as)

# Of the files that take longest, the longest first: at the end of a run on two cores they would have one to themselves.
LONG = (
    "test_flink.py",
    "test_train.py",
    "test_object_store.py",
    "test_caption_images.py",
    "test_demo.py",
    "test_same_answers.py",
    "test_extract_features.py",
    "test_int8.py",
    "test_interrupts.py",
    "test_prune.py",
    "test_openvino.py",
    "test_damage.py",
    "test_inputs_end_to_end.py",
    "test_progress.py",
)


def pytest_collection_modifyitems(items):
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONG)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol():
    """The command sets up logging when it starts; the next test finds logging as it was."""
    loggers = [logging.getLogger(name) for name in (None, "captionbeam")]
    before = [(one, one.level, one.propagate, one.handlers[:]) for one in loggers]
    try:
        return (yield)
    finally:
        for one, level, propagate, handlers in before:
            one.setLevel(level)
            one.propagate, one.handlers = propagate, handlers


def pytest_collection_finish():
    """Beam and TensorFlow are imported and stay: a million objects that no garbage collection need look at again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Directory with Flickr8k, GloVe, weights and awkward files; the test is skipped where there is none."""
    path = Path(os.environ.get("CAPTIONBEAM_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (path / "flickr8k").is_dir():
        pytest.skip(f"needs Flickr8k and the other real data, not in {path}; CAPTIONBEAM_DATA names another directory")
    return path


def files_of(directory: str, whole: bool = False) -> dict[str, bytes]:
    """Directory -> {relative path: content}, without the lock.

    Args:
      whole: as they are; else without what tells how the job went and not what it made: how many inputs the last
        run did, TensorBoard's log, and the checkpoints, whose numbers go on.
    """
    found = {}
    for path in sorted(Path(directory).rglob("*")):
        name = path.relative_to(directory).as_posix()
        if not path.is_file() or name == ".lock":
            continue
        if not whole and name.split("/")[0] in ("log", "checkpoint"):
            continue
        content = path.read_bytes()
        if not whole and name in ("manifest.json", "summary.json"):
            document = json.loads(content)
            totals = {key: n for key, n in document["totals"].items() if not key.startswith("new_")}
            document.pop("checksum", None)  # it covers what is left out
            content = json.dumps({**document, "totals": totals}).encode()
        found[name] = content
    return found


@pytest.fixture(scope="session", name="files_of")
def files_of_fixture():
    return files_of


COLOURS = [(12 * number, 255 - 12 * number, (40 * number) % 256) for number in range(20)]


class MeanColour:
    """A feature that tells which picture it came from: the mean colour in the first three channels."""

    calls = 0

    def encode(self, pixels):
        type(self).calls += len(pixels)
        features = np.zeros([len(pixels), 2048], np.float16)
        features[:, :3] = pixels.mean(axis=(1, 2))
        return features


@pytest.fixture(scope="session")
def mean_colour():
    """The class of the stand-in encoder."""
    return MeanColour


@pytest.fixture
def encoder():
    """The class of the stand-in encoder; `calls` counts the pictures that it has seen in this test."""
    MeanColour.calls = 0
    return MeanColour


@pytest.fixture
def load_encoder(encoder):
    return lambda spec: encoder()


@pytest.fixture(scope="session")
def edit_document():
    """Changes entries of a JSON document that captionbeam wrote, its checksum too; a value None removes its entry."""

    def edit_document(path, **entries) -> None:
        document = {**json.loads(Path(path).read_text()), **entries}
        content = {name: value for name, value in document.items() if name not in entries or value is not None}
        Path(path).write_bytes(to_document(content))

    return edit_document


@pytest.fixture
def edit_captions(edit_document):
    """Gives a captions directory of one shard other rows; its summary then knows no digest, as earlier ones."""

    def edit_captions(directory, edit) -> Path:
        (path,) = Path(directory).glob("captions-*.jsonl")
        rows = edit([json.loads(line) for line in path.read_text().splitlines()])
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        edit_document(Path(directory, "summary.json"), shards=None)
        return path

    return edit_captions


@pytest.fixture(scope="session")
def colours():
    return COLOURS


@pytest.fixture(scope="session")
def jpeg():
    """colour -> JPEG of one colour, 64x64."""

    def jpeg(colour) -> bytes:
        buffer = io.BytesIO()
        Image.new("RGB", (64, 64), colour).save(buffer, "JPEG")
        return buffer.getvalue()

    return jpeg


@pytest.fixture(scope="session")
def noisy_jpeg():
    """seed -> JPEG of noise, 64x48; no two alike."""

    def noisy_jpeg(seed: int) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(buffer, "JPEG")
        return buffer.getvalue()

    return noisy_jpeg


def draw_squares(folder: Path, pictures: int) -> dict[str, tuple[int, int, int]]:
    """Draws `NN.png`, 32x32 of one colour each, a copy of the first and a broken one -> {NN.png: RGB}."""
    colours = {}
    for number in range(pictures):
        shade = 240 // pictures * number
        name, colour = f"{number:02d}.png", (shade, 255 - shade, (97 * number) % 256)
        Image.new("RGB", (32, 32), colour).save(folder / name)
        colours[name] = colour
    (folder / "copy.png").write_bytes((folder / "00.png").read_bytes())
    (folder / "broken.png").write_bytes((folder / "01.png").read_bytes()[:50])
    return colours


@pytest.fixture(scope="session", name="draw_squares")
def draw_squares_fixture():
    return draw_squares


@pytest.fixture
def good(tmp_path, jpeg) -> Path:
    """A folder of 20 one-coloured pictures, so that one bad file stays under the reject rate."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, colour in enumerate(COLOURS):
        (folder / f"{number:02d}.jpg").write_bytes(jpeg(colour))
    return folder


@pytest.fixture(scope="session")
def stand_in_weights(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "weights.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + b"stand-in")
    return path


@pytest.fixture
def weights(tmp_path, stand_in_weights) -> Path:
    return shutil.copy(stand_in_weights, tmp_path / "weights.h5")


@pytest.fixture
def extract_settings(good, weights):
    """Options of `extract` on the good folder, all but the output: five pooled float32 features a shard."""
    return {
        "images": str(good),
        "weights": str(weights),
        "feature_kind": "pooled",
        "precision": "float32",
        "shard_size": 5,
    }


@pytest.fixture
def run_extract(extract_settings, tmp_path, encoder, load_encoder):
    """Runs `extract` on the good folder into tmp_path/OUTPUT with the stand-in encoder; options can be overridden."""

    def run(output="features", **options):
        encoder.calls = 0
        settings = {**extract_settings, "output": str(tmp_path / output), **options}
        return extract(ExtractOptions(**settings), PipelineOptions([]), load_encoder)

    return run


@pytest.fixture
def contents_of():
    """directory -> {name: content} of its files, the lock left out."""

    def contents_of(directory) -> dict[str, bytes]:
        paths = sorted(path for path in Path(directory).iterdir() if path.is_file() and path.name != ".lock")
        return {path.name: path.read_bytes() for path in paths}

    return contents_of


@pytest.fixture
def captions(tmp_path):
    """Writes the shards of a finished captions directory, a run each; returns the directory."""
    directory = tmp_path / "captions"

    def write(*runs):
        directory.mkdir(exist_ok=True)
        for number, (pictures, lines) in enumerate(runs, start=1):
            shard = ShardId(number, 0, 1)
            rows = "".join(json.dumps(picture.to_json()) + "\n" for picture in pictures)
            (directory / shard.captions()).write_text(rows)
            (directory / shard.ledger()).write_bytes(to_jsonl(lines))
        totals = {"listed": 1, "done": 1, "duplicate": 0, "rejected": 0, "new_done": 1}
        counts = dict.fromkeys(("captions", "pictures", "files", "words", "bigrams"), 1)
        summary = {"made_with": {}, "totals": totals, "flags": {}, "evidence": [], "reference": None, **counts}
        (directory / "summary.json").write_text(json.dumps(summary))
        for name in ("word_importance.parquet", "bigram_importance.parquet"):
            (directory / name).write_bytes(b"")
        return str(directory)

    return write


@pytest.fixture
def pyexiv2():
    """The library that reads and writes metadata in pictures; the test is skipped without it."""
    return pytest.importorskip("pyexiv2", reason="needs pyexiv2, the extra metadata")


@pytest.fixture
def word_tables(tmp_path):
    """Writes the word tables and the summary of captions, without shards, as `caption` does; returns the directory."""
    (tmp_path / "captioner").mkdir()
    usual = {"model_id": "m1", "encoder_id": "e1", "beam_width": 3, "source": "images"}

    def write(name, captions, reference=None, evidence=None, **made_with):
        (tmp_path / name).mkdir(exist_ok=True)
        pictures = [
            CaptionedPicture(f"sha{number}", f"=p{number}.jpg", text, -1.0, (), known)
            for number, (text, known) in enumerate(zip(captions, evidence or [None] * len(captions), strict=True))
        ]
        found = shard_statistics(pictures, {one.sha256: 1 for one in pictures})
        writer = ResultWriter(str(tmp_path / name), str(tmp_path / "captioner"), reference, {**usual, **made_with})
        writer.begin()
        counts = found.counts | {"listed": len(captions), "done": len(captions)}
        writer.write(Results(list(found.terms.items()), counts, {}))
        return str(tmp_path / name)

    return write


@pytest.fixture
def results(tmp_path):
    """Writes a finished captions directory with its word tables, as `caption` does; returns it.

    Takes {path: caption} of pictures that are there, {path: reason} of rejected files, and settings of each picture:
    the score of its caption, its flags, and the presence of words.
    """

    def write(pictures, rejected=None, name="captions", scores=None, flags=None, presence=None):
        directory = tmp_path / name
        captioner = tmp_path / "captioner"
        for folder in (directory, captioner):
            folder.mkdir(exist_ok=True)
        found, lines = [], []
        for path, caption in pictures.items():
            sha256 = hashlib.sha256(Path(path).read_bytes()).hexdigest()
            evidence = None if presence is None else {"kinds": ["presence"], "words": presence.get(path, {})}
            score = (scores or {}).get(path, -0.5)
            found.append(CaptionedPicture(sha256, str(path), caption, score, (flags or {}).get(path, ()), evidence))
            lines.append(LedgerLine(str(path), 1, 1.0, sha256, DONE))
        lines += [LedgerLine(str(path), 1, 1.0, "", REJECTED, "decode", why) for path, why in (rejected or {}).items()]
        found.sort(key=lambda picture: picture.sha256)
        shard = ShardId(1, 0, 1)
        (directory / shard.captions()).write_text("".join(json.dumps(one.to_json()) + "\n" for one in found))
        statistics = write_words(shard, found, lines, str(directory))
        commit_shard(str(directory), shard, lines)
        made_with = {"model_id": "m1", "encoder_id": "e1", "beam_width": 3, "source": "images"}
        writer = ResultWriter(str(directory), str(captioner), None, made_with)
        outcomes = {"listed": len(lines), "done": len(found), "rejected": len(rejected or {})}
        writer.begin()
        writer.write(Results(list(statistics.terms.items()), statistics.counts | outcomes, {}))
        return directory

    return write


# A skip in a run that must skip nothing is a failure: .ci/run sets the variable.
NOTHING_SKIPPED = bool(os.environ.get("CAPTIONBEAM_REQUIRE_ALL"))
MAY_BE_MISSING = (
    "needs Flickr8k and the other real data",
    "needs datasets, which is not among the extras",
    "needs exiftool",  # comes from the system
    "needs chromium",  # likewise
    "root may read everything",
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    return _without_skips((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    return _without_skips((yield))


def _without_skips(report):
    if NOTHING_SKIPPED and report.skipped and not hasattr(report, "wasxfail") and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2]
        if not any(missing in reason for missing in MAY_BE_MISSING):
            report.outcome = "failed"
            report.longrepr = f"{reason} (CAPTIONBEAM_REQUIRE_ALL is set: no test may be skipped)"
    return report
