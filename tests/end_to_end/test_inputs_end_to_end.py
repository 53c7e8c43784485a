"""`extract` on inputs as they come: archives, hostile files, odd names, files that vanish."""

import io
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from PIL import Image

from beam_pipeline.inputs.sources import stat_file
from beam_pipeline.options.limits import DecodeLimits
from beam_pipeline.shards.caption_join import InputWithCaptions
from beam_pipeline.shards.contents import Picture, fingerprint_file
from beam_pipeline.shards.encoding import read_picture
from beam_pipeline.shards.ledger import read_ledger
from beam_pipeline.shards.shard_id import ledger_paths
from training.data.feature_records import deserialize


def ledger_of(features) -> dict[str, object]:
    return {line.uri: line for path in ledger_paths(features.path) for line in read_ledger(path)}


def records_of(features) -> list:
    paths = features.shard_paths()
    return [deserialize(serialized.numpy()) for path in paths for serialized in tf.data.TFRecordDataset(path)]


def by_content(features) -> dict[str, tuple]:
    return {record.sha256: (record.feature.tobytes(), record.captions) for record in records_of(features)}


@pytest.fixture
def described(good, tmp_path) -> tuple[Path, dict[str, str]]:
    """A caption file for the good pictures, and what it says."""
    texts = {path.name: f"picture {path.stem}" for path in sorted(good.iterdir())}
    captions = tmp_path / "captions.csv"
    captions.write_text("image,caption\n" + "".join(f"{name},{text}\n" for name, text in texts.items()))
    return captions, texts


def to_tar(path, good, texts):
    with tarfile.open(path, "w") as archive:
        for name, text in texts.items():
            for member, data in ((name, (good / name).read_bytes()), (name.replace(".jpg", ".txt"), text.encode())):
                info = tarfile.TarInfo(f"../{member}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))


def to_zip(path, good, texts):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            archive.writestr(f"photos/{name}", (good / name).read_bytes())
            archive.writestr(f"photos/{name.replace('.jpg', '.json')}", f'{{"caption": "{text}"}}')


def to_parquet(path, good, texts):
    pictures = [{"bytes": (good / name).read_bytes(), "path": name} for name in texts]
    pq.write_table(pa.table({"image": pictures, "text": list(texts.values())}), path, row_group_size=7)


@pytest.mark.parametrize(("name", "write"), [("a.tar", to_tar), ("a.zip", to_zip), ("a.parquet", to_parquet)])
def test_an_archive_gives_what_its_files_would(run_extract, good, described, tmp_path, encoder, name, write):
    captions, texts = described
    from_files = run_extract("from_files", captions=str(captions))
    write(tmp_path / name, good, texts)
    from_archive = run_extract("from_archive", images=str(tmp_path / name))
    assert by_content(from_archive) == by_content(from_files)
    assert from_archive.totals["done"] == 20 == from_archive.totals["captions_with_inputs"]
    assert all(uri.startswith(f"{tmp_path / name}!/") for uri in ledger_of(from_archive))
    again = run_extract("from_archive", images=str(tmp_path / name))
    assert (again.totals["done"], again.totals["new_done"], encoder.calls) == (20, 0, 0)


def test_a_grown_archive_costs_its_new_members_only(run_extract, good, described, tmp_path, encoder, noisy_jpeg):
    to_zip(tmp_path / "a.zip", good, described[1])
    run_extract(images=str(tmp_path / "a.zip"))
    with zipfile.ZipFile(tmp_path / "a.zip", "a") as archive:
        archive.writestr("new.jpg", noisy_jpeg(0))
    os.utime(tmp_path / "a.zip", (1, 1))
    features = run_extract(images=str(tmp_path / "a.zip"))
    assert (features.totals["listed"], features.totals["done"], encoder.calls) == (21, 21, 1)


def test_rejected_members_are_taken_up_again_by_their_list(run_extract, good, described, tmp_path):
    to_zip(tmp_path / "a.zip", good, described[1])
    with zipfile.ZipFile(tmp_path / "a.zip", "a") as archive:
        archive.writestr("bad.jpg", b"no image")
    features = run_extract(images=str(tmp_path / "a.zip"))
    rejected = Path(features.path, "rejected.txt")
    assert rejected.read_text() == f"{tmp_path / 'a.zip'}!/bad.jpg\n"
    again = run_extract(images=str(rejected), retry_rejected=True, max_reject_rate=1)
    assert (again.totals["listed"], again.totals["new_rejected"]) == (1, 1)


def test_hostile_pictures_cost_a_line_each_and_not_the_job(run_extract, good, monkeypatch):
    """In one run: the decoder dies, hangs and eats memory, and all other pictures are done."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "beam_pipeline" / "images")
    for data in (b"crash", b"sleep", b"allocate"):
        (good / f"{data.decode()}.jpg").write_bytes(data)
    (good / "large.jpg").write_bytes(bytes(100_001))
    limits = DecodeLimits(100_000, max_megapixels=1, max_seconds=0.5, decoder="hostile_decoders:obey")
    features = run_extract(decode_limits=limits, max_reject_rate=0.5)
    assert (features.totals["done"], features.totals["rejected"]) == (20, 4)
    reasons = {Path(uri).name: (line.stage, line.reason) for uri, line in ledger_of(features).items() if line.reason}
    assert reasons == {
        "crash.jpg": ("decode", "crashes its decoder (signal 11, segmentation fault)"),
        "sleep.jpg": ("decode", "took more than 0.5 seconds to decode; --max-seconds raises the limit"),
        "allocate.jpg": ("decode", "does not fit in memory when decoded"),
        "large.jpg": ("read", "100,001 bytes, over the limit of 100,000; --max-bytes raises it"),
    }


def test_bad_names_and_bad_files_are_done_or_named(run_extract, good, jpeg, noisy_jpeg):
    names = ["new\nline.jpg", "dog 🐕.jpg", "100%25.jpg", "[a]*?.jpg", os.fsdecode(b"\xff.jpg"), "=1+2.jpg"]
    for number, name in enumerate(names):
        (good / name).write_bytes(noisy_jpeg(number))
    (good / "loop.jpg").symlink_to(good / "loop.jpg")
    os.mkfifo(good / "pipe.jpg")
    features = run_extract()
    lines = ledger_of(features)
    assert {lines[str(good / name)].outcome for name in names} == {"done"}
    assert lines[str(good / "loop.jpg")].reason == "too many levels of symbolic links"
    assert lines[str(good / "pipe.jpg")].reason == "a pipe, socket or device, not a file"
    assert (features.totals["listed"], features.totals["done"]) == (28, 26)


def read_after(change, tmp_path, jpeg):
    """The ledger line of a picture whose file changes after it was fingerprinted."""
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg("red"))
    sha256, picture = fingerprint_file(InputWithCaptions(stat_file(str(path))), 1 << 20)
    change(path)
    read = read_picture(Picture(sha256, picture.files), DecodeLimits())
    assert read.image is None
    (line,) = read.lines
    return line.outcome, line.stage, line.reason


def turned_into_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (Path.unlink, "no such file or directory"),
        (turned_into_a_folder, "a folder, not a file"),
        (lambda path: path.write_bytes(b"other"), "changed while the job ran; run again to process it"),
        (lambda path: path.write_bytes(b""), "changed while the job ran; run again to process it"),
        pytest.param(
            lambda path: path.chmod(0),
            "permission denied",
            marks=pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything"),
        ),
    ],
)
def test_a_file_that_changes_after_listing_is_rejected(tmp_path, jpeg, change, reason):
    assert read_after(change, tmp_path, jpeg) == ("rejected", "read", reason)


@pytest.mark.parametrize("how", ["gone", "grown"])
def test_a_file_that_changes_before_it_is_hashed_is_rejected(tmp_path, how):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"x")
    listed = stat_file(str(path))
    path.unlink() if how == "gone" else path.write_bytes(bytes(3000))
    _, picture = fingerprint_file(InputWithCaptions(listed), 2000)
    assert (
        picture.problem
        == {
            "gone": "no such file or directory",
            "grown": "more than 2,000 bytes, over the limit of 2,000; --max-bytes raises it",
        }[how]
    )


def test_frames_and_depths_reach_the_encoder_as_one_picture(run_extract, good):
    """What other tools stumble over: animations, sixteen bits, transparency, CMYK."""
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "green", "blue")]
    for kind in ("GIF", "WEBP"):
        frames[0].save(good / f"animated.{kind.lower()}", kind, save_all=True, append_images=frames[1:])
    Image.new("P", (64, 64), 3).save(good / "single.gif")
    Image.fromarray(np.full((64, 64), 20000, np.uint16)).save(good / "deep.png")
    Image.new("RGBA", (64, 64), (255, 0, 0, 0)).save(good / "glass.png")
    Image.new("CMYK", (64, 64), (0, 255, 255, 0)).save(good / "press.jpg")
    features = run_extract()
    assert features.totals["done"] == 26
    colour = {Path(record.uris[0]).name: record.feature[:3].astype(float).tolist() for record in records_of(features)}
    assert colour["animated.gif"] == [255, 0, 0]
    assert np.abs(np.subtract(colour["animated.webp"], (255, 0, 0))).max() < 16
    assert np.abs(np.subtract(colour["deep.png"], 78)).max() <= 1
    assert colour["glass.png"] == [255, 255, 255]
    assert colour["press.jpg"][0] > 200 and max(colour["press.jpg"][1:]) < 60
