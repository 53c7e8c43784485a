"""`captionbeam completion SHELL`: a script that lets a shell complete stages, options, choices and paths."""

from __future__ import annotations

import argparse

import shtab

from beam_pipeline.commands.parser import build_parser, stages_of, takes_bare
from beam_pipeline.options.completion import CompletionOptions

_PATHS = ("DIR", "FILE", "PATH", "FEATURES", "CAPTIONER", "A", "B")  # metavars, or parts of them, that stand for paths


def completion(options: CompletionOptions) -> str:
    """Shell -> the script, which is also printed."""
    parser = build_parser()
    stages = stages_of(parser)
    stages.help = None  # shtab completes only what help lists
    for name, stage in stages.choices.items():
        if takes_bare(name):
            stage.add_argument("bare", nargs="*", metavar="FILE")
        for action in stage._actions:
            if action.choices is None and is_path(action):
                action.complete = shtab.FILE
    script = shtab.complete(parser, options.shell)
    print(script)
    return script


def is_path(action: argparse.Action) -> bool:
    """Whether the value of an option is the path of something on disk, by its placeholder in `--help`."""
    parts = str(action.metavar or "").replace("|", " ").replace(".", " ").replace(",", " ").split()
    return any(part in _PATHS for part in parts)
