"""`extract` and `caption` with --prune: the directory is then that of a run over what is listed now."""

import json
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.caption_images import caption
from beam_pipeline.exports.export import export
from beam_pipeline.options.caption import CaptionOptions
from beam_pipeline.options.results import ExportOptions
from training.errors import JobFailed, UserError


@pytest.fixture
def run_caption(tmp_path, captioner, weights, load_encoder, good):
    def run(output="captions", **options):
        settings = {"captioner": captioner, "output": str(tmp_path / output), "weights": str(weights), "shard_size": 6}
        settings["images"] = str(good)
        return caption(CaptionOptions(**{**settings, **options}), PipelineOptions([]), load_encoder)

    return run


def change(good: Path, noisy_jpeg) -> None:
    """A folder moves, files go, copies come and go, a file gets another content, a broken file is mended by removal."""
    (good / "moved").mkdir()
    for number in range(3, 9):
        (good / f"{number:02d}.jpg").rename(good / "moved" / f"{number:02d}.jpg")
    (good / "02.jpg").unlink()
    (good / "bad.jpg").unlink(missing_ok=True)
    (good / "01.jpg").write_bytes(noisy_jpeg(1))
    (good / "0link.jpg").symlink_to("18.jpg")  # sorts first too, but is a link
    (good / "000.jpg").write_bytes((good / "19.jpg").read_bytes())  # sorts before the file that was captioned
    (good / "copy.jpg").unlink(missing_ok=True)
    (good / "new.jpg").write_bytes(noisy_jpeg(2))


def without_runs(directory: str) -> dict[str, bytes]:
    """{name: content}, with the numbers of runs left out of names, and what tells how the job went out of totals."""
    found = {}
    for path in sorted(Path(directory).iterdir()):
        if path.name == ".lock":
            continue
        name = path.name.replace("-0003-", "-0001-").replace("-0002-", "-0001-")
        content = path.read_bytes()
        if path.name in ("summary.json", "manifest.json"):
            document = json.loads(content.replace(b"-0003-", b"-0001-").replace(b"-0002-", b"-0001-"))
            document.pop("checksum", None)
            totals = {key: n for key, n in document["totals"].items() if not key.startswith("new_")}
            content = json.dumps(document | {"totals": totals}, sort_keys=True).encode()
        found[name] = content
    return found


def test_pruned_captions_are_those_of_a_run_over_what_is_listed_now(run_caption, good, noisy_jpeg, encoder, tmp_path):
    (good / "bad.jpg").write_bytes(b"no image")
    (good / "copy.jpg").write_bytes((good / "02.jpg").read_bytes())
    run_caption()
    change(good, noisy_jpeg)
    encoder.calls = 0
    run_caption(prune=True)
    assert encoder.calls == 2, "what is known at a new place is not captioned anew"
    run_caption("fresh")
    assert without_runs(tmp_path / "captions") == without_runs(tmp_path / "fresh")
    for name in ("captions", "fresh"):
        export(ExportOptions(str(tmp_path / name), "csv", output=str(tmp_path / f"{name}.csv")))
    assert (tmp_path / "captions.csv").read_bytes() == (tmp_path / "fresh.csv").read_bytes()
    again = run_caption(prune=True)
    assert again["totals"]["new_done"] == 0
    assert without_runs(tmp_path / "captions") == without_runs(tmp_path / "fresh")


def test_pruned_features_are_those_of_a_run_over_what_is_listed_now(run_extract, good, noisy_jpeg, encoder):
    (good / "bad.jpg").write_bytes(b"no image")
    (good / "copy.jpg").write_bytes((good / "02.jpg").read_bytes())
    run_extract()
    change(good, noisy_jpeg)
    pruned = run_extract(prune=True)
    assert encoder.calls == 2
    fresh = run_extract("fresh")
    assert without_runs(pruned.path) == without_runs(fresh.path)
    assert run_extract(prune=True).shards == pruned.shards


def test_captions_of_pruned_features_are_those_of_fresh_captions(run_caption, run_extract, good, noisy_jpeg, tmp_path):
    features = run_extract()
    run_caption(images=None, features=features.path)
    change(good, noisy_jpeg)
    run_extract(prune=True)
    with pytest.raises(UserError, match=r"captions of 4 shards that .*/features does not have; .* add --prune"):
        run_caption(images=None, features=features.path)
    with pytest.raises(JobFailed, match=r"nothing is pruned: 2 of 20 pictures are no longer listed, .* 0.05 allows"):
        run_caption(images=None, features=features.path, prune=True, max_prune_rate=0.05)
    run_caption(images=None, features=features.path, prune=True)
    run_caption("fresh", images=None, features=features.path)
    assert without_runs(tmp_path / "captions") == without_runs(tmp_path / "fresh")


def test_what_is_no_longer_listed_is_told_in_the_last_line(run_caption, run_extract, good, capsys, tmp_path):
    run_caption(report=True)
    good.rename(tmp_path / "renamed")
    capsys.readouterr()
    summary = run_caption(images=str(tmp_path / "renamed"), report=True)
    assert (summary["totals"]["gone"], summary["totals"]["gone_moved"], summary["totals"]["duplicate"]) == (20, 20, 20)
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"{tmp_path}/captions: 20 files that it counts are no longer listed; their pictures have moved: they are "
        "listed at other places; --prune lets go of them"
    )
    for number in range(6):
        (tmp_path / "renamed" / f"{number:02d}.jpg").unlink()
    with pytest.raises(JobFailed, match=r"nothing is pruned: 6 of 20 pictures are .* add --max-prune-rate 0.3$"):
        run_caption(images=str(tmp_path / "renamed"), prune=True)
    (tmp_path / "renamed" / "none.jpg").write_bytes(b"no image")
    summary = run_caption(images=str(tmp_path / "renamed"), prune=True, max_prune_rate=0.3)
    assert (summary["files"], summary["captions"], summary["totals"]["done"]) == (14, 14, 14)
    assert "gone" not in summary["totals"]
    assert capsys.readouterr().out.splitlines()[0] == "pruned: 26 files no longer listed, 6 pictures let go of"
