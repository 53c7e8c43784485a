"""What messages tell a user to type exists: commands, their options, and extras to install."""

import argparse
import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.commands.foreign_options import _ANSWERS
from beam_pipeline.commands.parser import STAGES, stage_parser

ROOT = Path(__file__).parents[1]
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*\w(?![\w-])")
IN_BACKTICKS = re.compile(r"`captionbeam ([\w-]+)([^`]*)`")
TO_RUN = re.compile(r"(?:`|\brun |run the same |; )captionbeam (?!ships|runs)([a-z-]+)|run the same ([a-z-]+) command")
OF_OTHERS = {name for _, names, _ in _ANSWERS for name in names}
OF_EVERY_STAGE = {"--help", "--version"}


def test_commands_that_messages_name_exist():
    named = {first or second for _, text in texts() for first, second in TO_RUN.findall(text)}
    assert len(named) >= 5
    assert named <= set(STAGES)


def test_options_that_messages_name_exist():
    known = set().union(*map(options_of, STAGES)) | beams_options() | OF_EVERY_STAGE
    named = {option: str(path) for path, text in texts() for option in OPTION.findall(text)}
    assert {option: path for option, path in named.items() if option not in known | OF_OTHERS} == {}


def test_options_in_a_command_line_are_those_of_its_stage():
    lines = {line for _, text in texts() for line in IN_BACKTICKS.findall(text)}
    assert len(lines) >= 5
    assert [(stage, rest) for stage, rest in lines if not set(OPTION.findall(rest)) <= options_of(stage)] == []


@pytest.mark.parametrize("stage", [stage for stage in STAGES.values() if stage.module.count(".") == 1], ids=str)
def test_messages_of_a_stage_name_options_of_that_stage(stage):
    path = Path(*stage.module.split(".")).with_suffix(".py")
    known = options_of(stage.name) | (beams_options() if stage.takes_beam else set())
    assert {option for where, text in texts() if where == path for option in OPTION.findall(text)} <= known


def test_extras_that_messages_name_exist():
    extras = re.findall(r'^    "(\w+)": \[', (ROOT / "setup.py").read_text(encoding="utf-8"), re.MULTILINE)
    named = set()
    for _, tree in modules():
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
                place = {"require": 1, "how_to_install": 0}.get(call.func.id)
                if place is not None and isinstance(call.args[place], ast.Constant):
                    named.add(call.args[place].value)
    assert {"heif", "metadata", "s3", "openvino", "int8"} <= named <= set(extras)


@functools.lru_cache
def modules() -> list[tuple[Path, ast.Module]]:
    """(path in the repository, syntax tree) of every module."""
    files = [file for package in ("beam_pipeline", "training") for file in sorted((ROOT / package).rglob("*.py"))]
    return [(file.relative_to(ROOT), ast.parse(file.read_text(encoding="utf-8"))) for file in files]


@functools.lru_cache
def texts() -> list[tuple[Path, str]]:
    """(path, text) of every string that is no docstring; values in an f-string are {}."""
    return [(path, text) for path, tree in modules() for text in _texts(tree)]


def _texts(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    if isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    for child in ast.iter_child_nodes(node):
        if not (isinstance(node, ast.JoinedStr) and isinstance(child, ast.Constant)):
            yield from _texts(child)


@functools.lru_cache
def options_of(stage: str) -> set[str]:
    """Name of a stage -> its options."""
    return set(stage_parser(stage)._option_string_actions)


@functools.lru_cache
def beams_options() -> set[str]:
    """Options of Apache Beam."""
    found: set[str] = set()
    for options in PipelineOptions.__subclasses__():
        parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        options._add_argparse_args(parser)
        found.update(parser._option_string_actions)
    return found
