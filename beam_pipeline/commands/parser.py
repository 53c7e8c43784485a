"""What can be written behind `captionbeam`: the options of a stage are the fields of its options class."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any

from beam_pipeline.commands.argument_parser import Parser
from beam_pipeline.options.caption import CaptionOptions
from beam_pipeline.options.completion import CompletionOptions
from beam_pipeline.options.demo import DemoOptions
from beam_pipeline.options.directories import InspectOptions, StatusOptions, VerifyOptions
from beam_pipeline.options.extract import ExtractOptions
from beam_pipeline.options.results import CompareOptions, ExportOptions, ReportOptions
from training import __version__
from training.option_fields import Option, embedded_options, option_of
from training.options import EvaluateOptions, TrainOptions


@dataclass(frozen=True)
class Stage:
    """A stage as the command line knows it.

    Attributes:
      name: what is written behind `captionbeam`.
      description: one sentence.
      options: its options class.
      module: has a function of its name that takes the options, and Beam's where it takes them.
      takes_beam: whether options that are not its own are Apache Beam's.
      has_dry_run: whether it takes `--dry-run`, which runs `dry_run_NAME` of `commands.dry_run`.
    """

    name: str
    description: str
    options: type
    module: str
    takes_beam: bool = False
    has_dry_run: bool = False


# What `captionbeam --help` lists, in this order.
_STAGES = {
    "From images to words": (
        Stage(
            "extract",
            "Compute features of images.",
            ExtractOptions,
            "beam_pipeline.extract_features",
            takes_beam=True,
            has_dry_run=True,
        ),
        Stage("train", "Train a captioner on features and captions.", TrainOptions, "training.train"),
        Stage("evaluate", "Score a captioner, or captions made elsewhere.", EvaluateOptions, "training.evaluate"),
        Stage(
            "caption",
            "Caption images and count the words.",
            CaptionOptions,
            "beam_pipeline.caption_images",
            takes_beam=True,
            has_dry_run=True,
        ),
        Stage(
            "report",
            "Show captions and words in a page that needs no network.",
            ReportOptions,
            "beam_pipeline.reports.report",
        ),
        Stage(
            "compare",
            "Find the words that one collection uses more than another.",
            CompareOptions,
            "beam_pipeline.commands.compare",
        ),
        Stage("export", "Convert captions for other programs.", ExportOptions, "beam_pipeline.exports.export"),
    ),
    "To look at a directory": (
        Stage(
            "status",
            "Show what is done, what is missing and how to continue.",
            StatusOptions,
            "beam_pipeline.commands.status",
        ),
        Stage("inspect", "Show what a directory contains.", InspectOptions, "beam_pipeline.commands.inspect"),
        Stage(
            "verify",
            "Check files, and compute a sample of them again.",
            VerifyOptions,
            "beam_pipeline.commands.verify",
        ),
    ),
    "To get started": (
        Stage(
            "demo",
            "Draw a collection and run every stage on it.",
            DemoOptions,
            "beam_pipeline.demo.demo",
            takes_beam=True,
        ),
        Stage(
            "completion",
            "Print a script that lets a shell complete commands.",
            CompletionOptions,
            "beam_pipeline.commands.completion",
        ),
    ),
}
STAGES = {stage.name: stage for group in _STAGES.values() for stage in group}


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = Parser(
        prog="captionbeam",
        usage="captionbeam [--version] [--help] STAGE ...",
        description="Captions image collections in bulk and counts the words that matter.",
        epilog="captionbeam STAGE --help lists the options of a stage.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"captionbeam {__version__}", help="show the version")
    subparsers = parser.add_subparsers(
        dest="stage", metavar="STAGE", required=True, prog="captionbeam", parser_class=Parser, help=argparse.SUPPRESS
    )
    for title, group in _STAGES.items():
        parser.description = f"{parser.description}\n\n{title}:"
        for stage in group:
            _add_stage(subparsers, stage)
            parser.description += f"\n  {stage.name:<12}{stage.description}"
    return parser


def stage_parser(name: str) -> argparse.ArgumentParser:
    """The parser of one stage."""
    return stages_of(build_parser()).choices[name]


def stages_of(parser: argparse.ArgumentParser) -> argparse._SubParsersAction:
    """The part of the whole parser that holds the stages."""
    (stages,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return stages


def fill(options: type, settings: dict[str, Any]) -> Any:
    """What was parsed -> an object of an options class; a setting that is None leaves its field at the default."""
    values: dict[str, Any] = {}
    for field in fields(options):
        if embedded := embedded_options(field):
            values[field.name] = fill(type(embedded), settings)
        elif settings.get(field.name) is not None:
            value = settings[field.name]
            values[field.name] = tuple(value) if isinstance(value, list) else value
    return options(**values)


def add_bare(parser: argparse.ArgumentParser, stage: str, settings: dict[str, Any], bare: Sequence[str]) -> None:
    """Adds the arguments that stand without an option to the values of the option that takes them.

    Ends the process with exit status 2 if one of the options is missing then, or two exclude each other.

    Args:
      parser: of the whole command line.
      stage: name of the stage.
      settings: what was parsed; changed.
      bare: the arguments, none for a stage that takes none.
    """
    options = STAGES[stage].options
    for field, option in options_of(options):
        if not option.bare:
            continue
        if bare:
            settings[field.name] = [*(settings[field.name] or ()), *bare]
        together = [other.name for other, of_set in options_of(options) if of_set in _set_of(options, option)]
        flags = [f"--{name}" for name in together]
        given = [f"--{name}" for name in together if settings[name] is not None]
        if len(given) > 1:
            stages_of(parser).choices[stage].error(f"argument {given[1]}: not allowed with argument {given[0]}")
        if not given:
            alone = f"the following arguments are required: {flags[0]}"
            several = f"one of the arguments {' '.join(flags)} is required"
            stages_of(parser).choices[stage].error(several if len(flags) > 1 else alone)


def takes_bare(stage: str) -> bool:
    """Whether a stage takes arguments that stand without an option, in any place."""
    return any(option.bare for _, option in options_of(STAGES[stage].options))


def _set_of(options: type, option: Option) -> list[Option]:
    """Option -> those of which exactly one is given, itself included."""
    return [
        other
        for _, other in options_of(options)
        if other is option or (option.one_of and other.one_of == option.one_of)
    ]


def _add_stage(subparsers: argparse._SubParsersAction, stage: Stage) -> None:
    epilog = "Any other option is passed on to Apache Beam (--runner, --direct_num_workers, ...)."
    parser = subparsers.add_parser(
        stage.name,
        help=stage.description,
        description=stage.description,
        epilog=epilog if stage.takes_beam else None,
        allow_abbrev=False,
    )
    parser.add_argument("--verbose", action="store_true", help="also show the logs of Beam and TensorFlow")
    groups: dict[str | None, Any] = {None: parser}
    sets: dict[str, Any] = {}  # of options of which exactly one is given
    for field, option in options_of(stage.options):
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(option.group)
        if option.one_of and option.one_of not in sets:
            needed = not any(other.bare for other in _set_of(stage.options, option))
            sets[option.one_of] = groups[option.group].add_mutually_exclusive_group(required=needed)
        _add_option(sets[option.one_of] if option.one_of else groups[option.group], field, option)
    if stage.has_dry_run:
        groups["run"].add_argument(
            "--dry-run",
            action="store_true",
            help="only show what would be done, how long it would take and how much it would write",
        )


def options_of(options: type) -> Iterator[tuple[Field, Option]]:
    """The fields that are options, those that a class inherits last."""
    own = inspect.get_annotations(options)
    for field in sorted(fields(options), key=lambda field: field.name not in own):
        if embedded := embedded_options(field):
            yield from options_of(type(embedded))
        elif option := option_of(field):
            yield field, option


def _add_option(place: Any, field: Field, option: Option) -> None:
    settings: dict[str, Any] = {"help": _help(field, option)}
    if isinstance(field.default, bool):
        settings["action"] = "store_false" if _is_switched_off(option) else "store_true"
    else:
        settings |= {"type": option.type, "metavar": option.metavar, "choices": option.choices}
        if option.several:
            settings["action"] = "append"
        elif field.default is not MISSING:
            settings["default"] = field.default
    if option.positional:
        place.add_argument(field.name, nargs="?" if field.default is None else None, **settings)
        return
    if field.default is MISSING and not option.one_of and not option.bare:
        settings["required"] = True
    flag = option.flag or f"--{field.name.replace('_', '-')}"
    action = place.add_argument(flag, dest=field.name, **settings)
    action.when_missing = option.when_missing
    if alias := option.alias:
        place.add_argument(alias.flag, dest=field.name, type=option.type, metavar=alias.metavar, help=alias.help)


def _is_switched_off(option: Option) -> bool:
    return bool(option.flag and option.flag.startswith("--no-"))


def _help(field: Field, option: Option) -> str:
    """The help of an option, with its default behind it."""
    default = option.default_text
    if default is None and field.default not in (MISSING, None) and not isinstance(field.default, bool):
        default = f"{field.default:g}" if isinstance(field.default, float) else str(field.default)
    text = option.help if default is None else f"{option.help} (default: {default})"
    return text.replace("%", "%%")
