"""Every stage on `s3://`, Beam by its own S3 file system and training by tensorflow-io's, against moto's server on
loopback, which answers 503 now and then.
"""

import hashlib
import io
import socket
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from PIL import Image

from beam_pipeline.caption_images import caption
from beam_pipeline.captions.picture import CaptionedPicture
from beam_pipeline.exports.export import UNCHANGED, WRITTEN, export
from beam_pipeline.extract_features import extract
from beam_pipeline.options.caption import CaptionOptions
from beam_pipeline.options.extract import ExtractOptions
from beam_pipeline.options.results import ExportOptions
from beam_pipeline.runtime import storage
from beam_pipeline.shards.ledger import DONE, LedgerLine
from beam_pipeline.shards.output_directory import read_standing
from training.errors import JobFailed, UserError
from training.models.captioner import load_captioner
from training.options import TrainOptions
from training.train import train

boto3 = pytest.importorskip("boto3", reason="needs the extra s3")
moto_server = pytest.importorskip("moto.server", reason="needs moto[server]")

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app  # noqa: E402
from werkzeug.serving import make_server  # noqa: E402

BUCKET = "s3://collection"
SLOW_DOWN = (
    b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)


class Throttling:
    """WSGI application that answers every eleventh request with 503, as a store does that is asked too often, and the
    first ones to end an upload to the key `stubborn` too.
    """

    def __init__(self, application):
        self.application, self.requests, self.refused = application, 0, 0
        self.stubborn, self.refusals = "", 0
        self.lock = threading.Lock()

    def __call__(self, environ, start_response):
        with self.lock:
            self.requests += 1
            refuse = self.requests % 11 == 0
            if self.refusals and environ["PATH_INFO"].endswith(self.stubborn) and "uploadId" in environ["QUERY_STRING"]:
                refuse = environ["REQUEST_METHOD"] == "POST"
                self.refusals -= refuse
            self.refused += refuse
        if not refuse:
            return self.application(environ, start_response)
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start_response("503 Slow Down", [("Content-Type", "application/xml"), ("Content-Length", str(len(SLOW_DOWN)))])
        return [SLOW_DOWN if environ["REQUEST_METHOD"] != "HEAD" else b""]


@pytest.fixture(scope="module")
def store():
    """A running server, and the variables by which its clients find it; the bucket is there."""
    throttling = Throttling(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, throttling, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    variables = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with pytest.MonkeyPatch.context() as patched:
        for name, value in variables.items():
            patched.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="collection")
        yield throttling
    server.shutdown()
    thread.join()


class MeanColour:
    """Stand-in encoder."""

    def encode(self, pixels):
        features = np.zeros([len(pixels), 2048], np.float16)
        features[:, :3] = pixels.mean(axis=(1, 2)) / 64
        return features


def draw_pictures() -> str:
    """Puts 20 pictures into the bucket; returns what a caption file says of them."""
    lines = ["image,caption"]
    for number in range(20):
        buffer = io.BytesIO()
        Image.new("RGB", (32, 32), (12 * number, 255 - 12 * number, (40 * number) % 256)).save(buffer, "PNG")
        boto3.client("s3").put_object(Bucket="collection", Key=f"photos/{number:02d}.png", Body=buffer.getvalue())
        lines.append(f"{number:02d}.png,a {'dark' if number < 10 else 'light'} square")
    for key in ("photos/@eaDir/00.png/SYNOPHOTO_THUMB_M.png", "photos/empty/", "photos/raw/00.png"):
        boto3.client("s3").put_object(Bucket="collection", Key=key, Body=b"no picture")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def features(store, tmp_path_factory):
    """What `extract` made of the pictures, in the bucket."""
    folder = tmp_path_factory.mktemp("features")
    (folder / "captions.csv").write_text(draw_pictures())
    (folder / "weights.h5").write_bytes(b"\x89HDF\r\n\x1a\nstand-in")
    options = ExtractOptions(
        images=f"{BUCKET}/photos",
        exclude=("/raw",),
        output=f"{BUCKET}/photos/features",
        captions=str(folder / "captions.csv"),
        weights=str(folder / "weights.h5"),
        feature_kind="pooled",
        precision="float32",
        shard_size=6,
    )
    return extract(options, PipelineOptions([]), lambda spec: MeanColour())


def test_extract_on_s3(store, features):
    assert (features.totals["done"], features.captions, len(features.shards)) == (20, 20, 4)
    assert len(read_standing(f"{BUCKET}/photos/features").committed) == 4
    assert store.refused > 5  # and nobody noticed


def test_an_upload_whose_end_is_refused_three_times_is_written(store):
    storage.use_options(PipelineOptions([]))
    store.stubborn, store.refusals = "once.txt", 3
    storage.write_atomic(f"{BUCKET}/once.txt", b"all of it")
    assert store.refusals == 0 and storage.read_bytes(f"{BUCKET}/once.txt") == b"all of it"


def test_train_and_caption_on_s3(store, features, tmp_path):
    """With what the same commands give on a local disk."""
    pytest.importorskip("tensorflow_io", reason="TensorFlow opens s3:// with tensorflow-io")
    before = store.refused
    settings = ["--model", "merge", "--epochs", "1", "--batch-size", "4"]
    captionbeam("train", "--features", f"{BUCKET}/photos/features", "--output", f"{BUCKET}/captioner", *settings)
    inputs = ["--features", f"{BUCKET}/photos/features", "--captioner", f"{BUCKET}/captioner"]
    captionbeam("caption", *inputs, "--output", f"{BUCKET}/captions")
    assert store.refused - before > 5

    folders = {"features": "photos/features", "captioner": "captioner", "captions": "captions"}
    there = {name: download(folder, tmp_path / "there") for name, folder in folders.items()}
    here = {folder: str(tmp_path / "here" / folder) for folder in ("captioner", "captions")}
    train(TrainOptions(there["features"], here["captioner"], model="merge", epochs=1, batch_size=4))
    assert load_captioner(here["captioner"]).model_id == load_captioner(there["captioner"]).model_id
    options = CaptionOptions(captioner=here["captioner"], output=here["captions"], features=there["features"])
    assert caption(options, PipelineOptions([]))["pictures"] == 20
    files = [path.name for path in Path(here["captions"]).iterdir() if path.name.startswith(("captions-", "word"))]
    assert len(files) > 8
    for name in files:
        assert (Path(there["captions"]) / name).read_bytes() == (Path(here["captions"]) / name).read_bytes(), name
    assert b"All 20 pictures." in (Path(there["captions"]) / "report.html").read_bytes()
    with zipfile.ZipFile(Path(there["captions"]) / "thumbnails.zip") as thumbnails:
        assert len(thumbnails.namelist()) == 20


def test_a_store_that_never_answers_ends_a_training(monkeypatch):
    pytest.importorskip("tensorflow_io", reason="TensorFlow opens s3:// with tensorflow-io")
    for name in ("S3_REQUEST_TIMEOUT_MSEC", "AWS_MAX_ATTEMPTS"):  # not the seconds and the five attempts of a user
        monkeypatch.setenv(name, "1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "x")
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        command = [sys.executable, "-m", "beam_pipeline.cli", "train", "--features", f"{BUCKET}/features"]
        done = subprocess.run(
            [*command, "--output", f"{BUCKET}/captioner"], capture_output=True, text=True, timeout=600
        )
    said = "curlCode: 28, Timeout was reached; check the address and the credentials"
    assert (done.returncode, done.stderr) == (2, f"captionbeam train: {BUCKET}/features/manifest.json: {said}\n")


def captionbeam(*arguments):
    command = [sys.executable, "-m", "beam_pipeline.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr


def download(folder, where):
    """Folder of the bucket -> the same on disk."""
    store = boto3.client("s3")
    for entry in store.list_objects_v2(Bucket="collection", Prefix=f"{folder}/")["Contents"]:
        if not entry["Key"].endswith("/"):
            path = where / entry["Key"]
            path.parent.mkdir(parents=True, exist_ok=True)
            store.download_file("collection", entry["Key"], str(path))
    return str(where / folder)


def test_export_from_and_to_s3(store, captions, jpeg, colours, tmp_path, monkeypatch, capfd):
    """In a command that runs no pipeline, from which Beam's file systems would have their options."""
    monkeypatch.setattr(FileSystems, "_pipeline_options", None)
    data, uri = jpeg(colours[0]), f"{BUCKET}/albums/a.jpg"
    sha256 = hashlib.sha256(data).hexdigest()
    directory = captions(([CaptionedPicture(sha256, uri, "a dog", -1.0)], [LedgerLine(uri, 1, 1.0, sha256, DONE)]))
    there = boto3.client("s3")
    there.put_object(Bucket="collection", Key="albums/a.jpg", Body=data)
    for path in Path(directory).iterdir():
        there.upload_file(str(path), "collection", f"exported/{path.name}")
    for captioned, shards in ((directory, "shards"), (f"{BUCKET}/exported", "shards2")):
        assert export(ExportOptions(captioned, "csv", f"{BUCKET}/out.csv")) == {WRITTEN: 1}
        capfd.readouterr()
        assert export(ExportOptions(captioned, "csv", "-")) == {WRITTEN: 1}
        assert storage.read_bytes(f"{BUCKET}/out.csv").decode() == capfd.readouterr().out
        assert export(ExportOptions(captioned, "webdataset", str(tmp_path / shards))) == {WRITTEN: 1}
    for form in ("txt", "xmp"):
        assert export(ExportOptions(directory, form, f"{BUCKET}/{form}")) == {WRITTEN: 1}
        assert export(ExportOptions(f"{BUCKET}/exported", form, f"{BUCKET}/{form}")) == {UNCHANGED: 1}
        with pytest.raises(JobFailed, match="1 file could not be exported"):
            export(ExportOptions(directory, form, in_place=True))
    assert storage.read_bytes(f"{BUCKET}/txt/a.txt") == b"a dog\n" and b"a dog" in storage.read_bytes(
        f"{BUCKET}/xmp/a.xmp"
    )
    with pytest.raises(JobFailed, match=r"--output s3://nowhere/out.csv: .*The specified bucket does not exist"):
        export(ExportOptions(directory, "csv", "s3://nowhere/out.csv"))
    with pytest.raises(UserError, match=r"s3://nowhere/captions: no summary.json here"):
        export(ExportOptions("s3://nowhere/captions", "csv", "-"))


def test_a_bucket_that_is_not_there_is_named(store):
    command = [sys.executable, "-m", "beam_pipeline.cli", "extract", "--images", "s3://nowhere/photos"]
    done = subprocess.run([*command, "--output", "s3://nowhere/features"], capture_output=True, text=True, timeout=600)
    assert done.returncode == 2 and done.stderr.startswith("captionbeam extract: --images s3://nowhere/photos: ")
    assert len(done.stderr.splitlines()) == 1
