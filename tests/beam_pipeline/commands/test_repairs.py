"""Damage in a directory, and what each message about it tells to do, done: the directory is then as it was."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.caption_images import caption
from beam_pipeline.cli import main
from beam_pipeline.extract_features import extract
from beam_pipeline.options.caption import CaptionOptions
from beam_pipeline.options.extract import ExtractOptions

ADVICE = re.compile(
    r"(?P<path>/[^\s:]+)(?::\d+)?: [^/]+; (?:remove (?P<removed>it|[\w.-]+) and )?"
    r"run (?:the command that made it|(?:the same )?`?captionbeam (?P<stage>\w+)`?(?: command)?) again"
)


@dataclass(frozen=True)
class Damage:
    """Pattern of a file's name, what happens to it, and the command whose message tells what to do."""

    name: str
    apply: Callable[[Path], object]
    reader: str


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def change(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


VERIFY = "verify {directory} --sample 0"
OF_CAPTIONS = [  # one a shard: those that one run mends
    Damage("captions-*-00000-of-*", cut, "status {directory}"),
    Damage("captions-*-00000-of-*", change, "export {directory} --format csv --output {tmp}/captions.csv"),
    Damage("captions-*-00000-of-*", change, VERIFY),
    Damage("captions-*-00000-of-*", Path.unlink, VERIFY),
    Damage("words-*-00001-of-*", change, VERIFY),
    Damage("words-*-00001-of-*", Path.unlink, VERIFY),
    Damage("captions-*-00001-of-*", change, "inspect {directory} 00.jpg"),
    Damage("ledger-*-00001-of-*", change, "status {directory}"),
    Damage("ledger-*-00001-of-*", change, "export {directory} --format csv --output {tmp}/captions.csv"),
    Damage("ledger-*-00001-of-*", change, "inspect {directory} 00.jpg"),
    Damage("ledger-*-00002-of-*", change, VERIFY),
    Damage("ledger-*-00003-of-*", Path.unlink, "export {directory} --format csv --output {tmp}/captions.csv"),
    Damage("ledger-*-00003-of-*", Path.unlink, VERIFY),
    Damage("word_importance.parquet", change, "report {directory} --output {tmp}/report.html"),
    Damage("word_importance.parquet", change, "inspect {directory}"),
    Damage("word_importance.parquet", change, "compare {directory} {directory} --output {tmp}/words.csv"),
    Damage("word_evidence.jsonl", change, "report {directory} --output {tmp}/report.html"),
    Damage("word_evidence.jsonl", Path.unlink, "report {directory} --output {tmp}/report.html"),
]
OF_SUMMARY = [
    Damage("summary.json", cut, "status {directory}"),
    Damage("summary.json", cut, "compare {directory} {directory} --output {tmp}/words.csv"),
    *(Damage("summary.json", Path.unlink, f"{reader} {{directory}}") for reader in ("status", "inspect", "report")),
    Damage("summary.json", Path.unlink, VERIFY),
    Damage("summary.json", Path.unlink, "export {directory} --format csv --output {tmp}/captions.csv"),
]
CAPTION = "caption --features {directory} --captioner {captioner} --output {tmp}/new"
OF_FEATURES = [
    Damage("features-*-00001-of-*", change, VERIFY),  # first, while all shards are there to be read
    Damage("features-*-00000-of-*", cut, CAPTION),
    Damage("features-*-00000-of-*", Path.unlink, VERIFY),
    Damage("features-*-00000-of-*", Path.unlink, CAPTION),
    Damage("ledger-*-00002-of-*", change, VERIFY),
    Damage("ledger-*-00003-of-*", change, "status {directory}"),
    Damage("ledger-*-00003-of-*", change, "inspect {directory}"),
]
OF_MANIFEST = [Damage("manifest.json", cut, reader) for reader in ("status {directory}", VERIFY, CAPTION)]


def result_of(files: dict[str, bytes]) -> dict[str, object]:
    """Files of a directory, with the documents among them read, but for their checksums."""
    return {
        name: {key: value for key, value in json.loads(content).items() if key != "checksum"}
        if name in ("summary.json", "manifest.json")
        else content
        for name, content in files.items()
        if name != "thumbnails.zip"  # made by the report
    }


@pytest.fixture
def again(made, load):
    """Function (stage, directory): runs the command that made one of the directories of `made` once more."""

    def again(stage, directory):
        if stage == "caption":
            options = CaptionOptions(
                captioner=made.captioner, output=str(directory), features=str(made.root / "features"), report=False
            )
            caption(options, PipelineOptions([]), load)
        else:
            options = ExtractOptions(
                images=str(made.photos),
                output=str(directory),
                captions=str(made.root / "captions.csv"),
                weights=made.weights,
                feature_kind="pooled",
                precision="float32",
                shard_size=5,
            )
            extract(options, PipelineOptions([]), load)

    return again


@pytest.mark.parametrize(
    ("name", "stage", "damages"),
    [
        ("of_features", "caption", OF_CAPTIONS),
        ("of_features", "caption", OF_SUMMARY),
        ("features", "extract", OF_FEATURES),
        ("features", "extract", OF_MANIFEST),
    ],
    ids=["captions", "summary", "features", "manifest"],
)
def test_what_a_message_tells_to_do_mends_the_damage(
    copy, made, again, files_of, capsys, tmp_path, name, stage, damages
):
    directory = copy(name)
    sound = result_of(files_of(directory))
    last = {}  # path -> the last damage to it, and what to remove then
    for damage in damages:  # each alone, so that its own message is seen
        (path,) = directory.glob(damage.name)
        content = path.read_bytes()
        damage.apply(path)
        arguments = damage.reader.format(directory=directory, tmp=tmp_path, captioner=made.captioner)
        assert main(arguments.split()) in (1, 2), damage
        printed = "".join(capsys.readouterr())
        told = next((found for line in printed.splitlines() if (found := ADVICE.search(line))), None)
        assert told and told["stage"] in (stage, None), (damage, printed)
        assert Path(told["path"]).name == path.name, (damage, printed)
        path.write_bytes(content)
        (directory / f"{path.name}.damaged").unlink(missing_ok=True)
        last[path] = damage, told["removed"]
    for path, (damage, removed) in last.items():
        damage.apply(path)
        main(damage.reader.format(directory=directory, tmp=tmp_path, captioner=made.captioner).split())
        if removed:
            (path if removed == "it" else path.with_name(removed)).unlink()
    again(stage, directory)
    assert result_of(files_of(directory)) == sound
    assert main(["verify", str(directory), "--sample", "0"]) == 0
