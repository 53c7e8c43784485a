import shutil
import subprocess

import pytest

from beam_pipeline.cli import main
from beam_pipeline.commands.completion import is_path
from beam_pipeline.commands.parser import STAGES, stage_parser


def script_of(shell: str, capsys) -> str:
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_knows_every_stage_and_option(shell, capsys):
    script = script_of(shell, capsys)
    for stage in STAGES:
        assert stage in script
    for option in ("images", "captioner", "max-megapixels", "dry-run", "sample"):
        assert option in script


def test_paths_are_told_from_other_values():
    paths = {action.dest for action in stage_parser("extract")._actions if is_path(action)}
    assert paths == {"images", "output", "captions", "weights"}


BASH = """
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_shtab_captionbeam captionbeam "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["ex"], {"extract", "export"}),
        (["extract", "--max-m"], {"--max-megapixels"}),
        (["extract", "--layer", ""], {"mixed7", "mixed8", "mixed9", "mixed10"}),
        (["train", "--model", "a"], {"attention"}),
        (["extract", "--images", "pho"], {"photos"}),
        (["caption", "pho"], {"photos"}),
    ],
)
def test_bash_completes(typed, offered, capsys, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "script").write_text(script_of("bash", capsys))
    command = ["bash", "-c", BASH, "bash", "./script", "captionbeam", *typed]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert set(done.stdout.split()) == offered, done.stderr
