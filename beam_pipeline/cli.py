"""The `captionbeam` command: parses, runs one stage, and turns failures into one line and an exit status.

A stage imports what it needs when it runs, so that `--help` answers at once, and commands that only look at results
load neither TensorFlow nor Beam.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import logging
import os
import sys
from argparse import ArgumentError, ArgumentParser
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from beam_pipeline.commands.argument_parser import Parser, closest
from beam_pipeline.commands.foreign_options import answer_to
from beam_pipeline.commands.parser import STAGES, Stage, add_bare, build_parser, fill, stage_parser, takes_bare
from beam_pipeline.runtime.interrupts import is_stopping, stoppable
from beam_pipeline.runtime.logs import set_up_logging
from beam_pipeline.runtime.memory import first_import
from beam_pipeline.runtime.streams import set_up_streams
from beam_pipeline.runtime.surroundings import settle_surroundings
from beam_pipeline.runtime.text import escaped
from beam_pipeline.runtime.unexpected import unexpected
from training.errors import UserError

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

_RESUMABLE = ("extract", "train", "caption", "export", "demo")
_STOPPED = "stopped"
_STOPPED_RESUMABLE = "stopped; the same command continues from what is finished"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status.

    Args:
      argv: the arguments behind `captionbeam`; None for those of the process.

    Returns:
      0, 2 for a wrong call, 1 for a failed job, 130 after SIGINT or 143 after SIGTERM.
    """
    parser = build_parser()
    arguments, rest = parser.parse_known_args(argv)
    settings = vars(arguments)
    stage, verbose = settings["stage"], settings["verbose"]
    set_up_logging(verbose)
    stopped = _STOPPED_RESUMABLE if stage in _RESUMABLE else _STOPPED
    with stoppable(f"captionbeam {stage}: {stopped}", silent=not verbose) as stop:
        status = _run(parser, stage, settings, rest)
    return status if stop.status is None else stop.status


def _run(parser: ArgumentParser, stage: str, settings: dict[str, Any], rest: list[str]) -> int:
    known = STAGES[stage]
    try:
        flags, bare = _split(stage, rest)
        beam_options: tuple[PipelineOptions, ...] = ()
        if flags:
            options_of_beam, more = _beam_options(stage, flags)
            beam_options, bare = (options_of_beam,), more + bare
        if bare and not takes_bare(stage):
            raise UserError(_unknown_option(stage, bare[0], []))
        add_bare(parser, stage, settings, bare)
        options = fill(known.options, settings)
        from beam_pipeline.commands.check_inputs import check_output

        check_output(options)
        if not flags:  # a mistyped option is named first, since a path may be missing because of it
            from beam_pipeline.commands.check_inputs import check_inputs

            check_inputs(options)
            if known.takes_beam:
                beam_options = (_beam_options(stage, [])[0],)
        _function(known, known.has_dry_run and settings["dry_run"])(options, *beam_options)
        sys.stdout.flush()
    except UserError as error:
        logging.getLogger("captionbeam").debug("stack trace", exc_info=True)
        print(escaped(f"captionbeam {stage}: {error}", kept=""), file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if is_stopping():  # what an interrupt broke is no fault
            return 130
        print(escaped(f"captionbeam {stage}: {unexpected(error)}", kept=""), file=sys.stderr)
        return 1
    return 0


def _split(stage: str, rest: list[str]) -> tuple[list[str], list[str]]:
    """Arguments that the stage does not know -> (options that may be Beam's with what is between, bare arguments).

    Only Beam knows which of its options take the argument behind them.

    Raises:
      UserError: an option is neither the stage's nor Beam's.
    """
    end = rest.index("--") if "--" in rest else len(rest)  # what stands behind it is no option, whatever it looks like
    option = next((one for one in rest[:end] if one.startswith("-") and one != "-"), None)
    if option is None:
        return [], rest[:end] + rest[end + 1 :]
    if not (STAGES[stage].takes_beam and _may_be_beams(stage, option)):
        raise UserError(_unknown_option(stage, option, []))
    return rest[:end], rest[end + 1 :]


class _Argument(str):
    """An argument that is told from others of the same text by its identity."""


def _may_be_beams(stage: str, option: str) -> bool:
    """Whether an option that a stage does not know may be one of Beam's, which only Beam can tell."""
    return option.startswith("-") and not _is_of_encoder(stage, option) and not answer_to(stage, option)


def _is_of_encoder(stage: str, option: str) -> bool:
    """Whether an option says to `caption` how to encode, which the captioner decides."""
    return stage == "caption" and option.partition("=")[0] in ("--engine", "--precision", "--layer", "--feature-kind")


def _beam_options(stage: str, flags: list[str]) -> tuple[PipelineOptions, list[str]]:
    """Options that the stage does not know -> (Beam's PipelineOptions, arguments that belong to none of them).

    Beam alone would only warn about unknown options.

    Raises:
      UserError: Beam does not know one of them either.
    """
    with first_import("apache_beam"):
        from apache_beam.options.pipeline_options import PipelineOptions

    known: Any = Parser(prog=f"captionbeam {stage}", add_help=False, allow_abbrev=False)
    for options in PipelineOptions.__subclasses__():
        # Two of Beam's classes share a flag; the first definition will do.
        with contextlib.suppress(ArgumentError, AttributeError):
            options._add_argparse_args(known)
    arguments = [_Argument(flag) for flag in flags]
    _, rest = known.parse_known_args(arguments)
    for argument in rest:
        if argument.startswith("-") and argument != "-":
            raise UserError(_unknown_option(stage, argument, list(known._option_string_actions)))
    bare = {id(argument) for argument in rest}
    return PipelineOptions([str(one) for one in arguments if id(one) not in bare]), list(map(str, rest))


def _unknown_option(stage: str, option: str, beam_flags: list[str]) -> str:
    if _is_of_encoder(stage, option):
        return f"{option}: caption uses the encoder that its captioner was trained with; the option is one of extract"
    if not option.startswith("-"):
        return f"unexpected argument {option} (see captionbeam {stage} --help)"
    if answer := answer_to(stage, option.replace("_", "-")):  # Beam's own have underscores, and other tools' may
        return answer
    if os.path.lexists(option):
        return f"unknown option {option}; write ./{option} for the file of that name"
    ours = [flag for action in stage_parser(stage)._actions for flag in action.option_strings]
    close = closest(option.partition("=")[0], ours + beam_flags)
    return f"unknown option {option}" + (close or f" (see captionbeam {stage} --help)")


def _function(stage: Stage, dry_run: bool) -> Callable[..., object]:
    """What runs a stage."""
    with first_import("tensorflow"):
        module = importlib.import_module("beam_pipeline.commands.dry_run" if dry_run else stage.module)
    return getattr(module, f"dry_run_{stage.name}" if dry_run else stage.name)


def command() -> NoReturn:
    """The installed command: `main`, and an exit with its status."""
    set_up_streams()
    try:
        settle_surroundings()
    except UserError as error:
        print(f"captionbeam: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    status = _status()
    # What Python does at its end is done here, but for two things. A process that was told to stop does not wait for
    # threads that are in the midst of something. And to take down every module takes two seconds with TensorFlow and
    # Beam, after all our work; once it has spoken to S3, tensorflow-io 0.37.1 even aborts the process there.
    atexit._run_exitfuncs()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _status() -> int:
    """Runs the command -> its exit status, once all that it printed is written."""
    try:
        try:
            status = main()
        except SystemExit as end:  # of argparse, after a help text or an error
            status = end.code if isinstance(end.code, int) else 1
        sys.stdout.flush()
    except UserError as error:
        print(f"captionbeam: {error}", file=sys.stderr)
        return error.exit_status
    return status


if __name__ == "__main__":
    command()
