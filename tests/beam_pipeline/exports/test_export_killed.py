"""An in-place export that is killed while it replaces a file, and then run again."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from beam_pipeline.captions.picture import CaptionedPicture
from beam_pipeline.exports.export import TAKEN_BACK, UNCHANGED, WRITTEN, export
from beam_pipeline.options.results import ExportOptions
from beam_pipeline.shards.ledger import DONE, LedgerLine

# Kills itself before or after the second file that takes the place of another one.
SCRIPT = """
import json, os, signal, sys
from beam_pipeline.exports.export import export
from beam_pipeline.options.results import ExportOptions
replace, done = os.replace, []
def kill(*names):
    done.append(names)
    if len(done) == 2 and sys.argv[2] == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*names)
    if len(done) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
os.replace = kill
export(ExportOptions(**json.loads(sys.argv[1])))
"""


def everything(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("form", "mode", "when"),
    [
        ("txt", "append", "after"),
        ("txt", "overwrite", "before"),
        ("xmp", "skip", "before"),
        ("metadata", "skip", "after"),
    ],
)
def test_a_kill_loses_nothing_and_the_next_run_ends(tmp_path, captions, jpeg, colours, pyexiv2, form, mode, when):
    folder = tmp_path / "photos"
    folder.mkdir()
    pictures, lines = [], []
    for number, name in enumerate("abc"):
        path, data = folder / f"{name}.jpg", jpeg(colours[number])
        path.write_bytes(data)
        (folder / f"{name}.txt").write_bytes(f"mine {name}".encode())
        sha256 = hashlib.sha256(data).hexdigest()
        pictures.append(CaptionedPicture(sha256, str(path), f"caption {name}", -1.0))
        lines.append(LedgerLine(str(path), len(data), 1.0, sha256, DONE))
    directory = captions((pictures, lines))
    options = {"captions": directory, "format": form, "in_place": True, "mode": mode}
    before = everything(folder)
    shutil.copytree(tmp_path, tmp_path.parent / f"{tmp_path.name}-whole")
    assert export(ExportOptions(**options)) == {WRITTEN: 3}
    after = everything(folder)

    shutil.rmtree(folder)
    shutil.copytree(tmp_path.parent / f"{tmp_path.name}-whole" / "photos", folder)
    for path in Path(directory).glob("exported*"):
        path.unlink()
    killed = subprocess.run([sys.executable, "-c", SCRIPT, json.dumps(options), when])
    assert killed.returncode == -signal.SIGKILL
    for name, data in everything(folder).items():
        assert name.startswith(".captionbeam-") or data in (before.get(name), after[name])
    written = 1 if when == "before" else 2
    assert export(ExportOptions(**options)) == {WRITTEN: 3 - written, UNCHANGED: written}
    assert everything(folder) == after
    assert export(ExportOptions(directory, in_place=True, remove=True)) == {TAKEN_BACK: 3}
    assert everything(folder) == before
