"""The `captionbeam` command: parses, runs one stage, and turns failures into one line and an exit status.

A stage imports what it needs when it runs, so that `--help` answers at once, and commands that only look at results
load neither TensorFlow nor Beam.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
from argparse import ArgumentError
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from beam_pipeline.commands.argument_parser import Parser, closest
from beam_pipeline.commands.parser import STAGES, build_parser, fill, stage_parser
from beam_pipeline.options.caption import CaptionOptions
from beam_pipeline.options.completion import CompletionOptions
from beam_pipeline.options.demo import DemoOptions
from beam_pipeline.options.directories import InspectOptions, StatusOptions, VerifyOptions
from beam_pipeline.options.extract import ExtractOptions
from beam_pipeline.options.results import CompareOptions, ExportOptions, ReportOptions
from beam_pipeline.runtime.interrupts import stoppable
from beam_pipeline.runtime.logs import set_up_logging
from beam_pipeline.runtime.memory import first_import
from training.errors import UserError
from training.options import EvaluateOptions, TrainOptions

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
    arguments, unknown = build_parser().parse_known_args(argv)
    settings = vars(arguments)
    stage, verbose = settings["stage"], settings["verbose"]
    set_up_logging(verbose)
    stopped = _STOPPED_RESUMABLE if stage in _RESUMABLE else _STOPPED
    with stoppable(f"captionbeam {stage}: {stopped}", silent=not verbose) as stop:
        status = _run(stage, settings, unknown)
    return status if stop.status is None else stop.status


def _run(stage: str, settings: dict[str, Any], unknown: list[str]) -> int:
    takes_beam = STAGES[stage].takes_beam
    try:
        if unknown and not (takes_beam and _may_be_beams(stage, unknown[0])):
            raise UserError(_unknown_option(stage, unknown[0], []))
        options = fill(STAGES[stage].options, settings)
        if not unknown:  # a mistyped option is named first, since a path may be missing because of it
            from beam_pipeline.commands.check_inputs import check_inputs

            check_inputs(options)
        run = (_DRY_RUN if settings.get("dry_run") else RUN)[stage]
        run(options, _beam_options(stage, unknown) if takes_beam else None)
        sys.stdout.flush()
    except UserError as error:
        logging.getLogger("captionbeam").debug("stack trace", exc_info=True)
        print(f"captionbeam {stage}: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return 130
    return 0


def _may_be_beams(stage: str, option: str) -> bool:
    """Whether an option that a stage does not know may be one of Beam's, which only Beam can tell."""
    return option.startswith("-") and not _is_of_encoder(stage, option)


def _is_of_encoder(stage: str, option: str) -> bool:
    """Whether an option says to `caption` how to encode, which the captioner decides."""
    return stage == "caption" and option.partition("=")[0] in ("--engine", "--precision", "--layer", "--feature-kind")


def _beam_options(stage: str, flags: list[str]) -> PipelineOptions:
    """Options that the stage does not know -> Beam's PipelineOptions. Beam alone would only warn about unknown ones.

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
    _, unknown = known.parse_known_args(flags)
    if unknown:
        raise UserError(_unknown_option(stage, unknown[0], list(known._option_string_actions)))
    return PipelineOptions(flags)


def _unknown_option(stage: str, option: str, beam_flags: list[str]) -> str:
    if _is_of_encoder(stage, option):
        return f"{option}: caption uses the encoder that its captioner was trained with; the option is one of extract"
    if not option.startswith("-"):
        return f"unexpected argument {option} (see captionbeam {stage} --help)"
    ours = [flag for action in stage_parser(stage)._actions for flag in action.option_strings]
    close = closest(option.partition("=")[0], ours + beam_flags)
    return f"unknown option {option}" + (close or f" (see captionbeam {stage} --help)")


def _extract(options: ExtractOptions, beam_options: Any) -> None:
    with first_import("tensorflow"):
        from beam_pipeline.extract_features import extract

    extract(options, beam_options)


def _dry_run_extract(options: ExtractOptions, beam_options: Any) -> None:
    with first_import("tensorflow"):
        from beam_pipeline.commands.dry_run import dry_run_extract

    dry_run_extract(options, beam_options)


def _train(options: TrainOptions, _: None) -> None:
    with first_import("tensorflow"):
        from training.train import train

    train(options)


def _evaluate(options: EvaluateOptions, _: None) -> None:
    with first_import("tensorflow"):
        from training.evaluate import evaluate

    evaluate(options)


def _caption(options: CaptionOptions, beam_options: Any) -> None:
    with first_import("tensorflow"):
        from beam_pipeline.caption_images import caption

    caption(options, beam_options)


def _dry_run_caption(options: CaptionOptions, beam_options: Any) -> None:
    with first_import("tensorflow"):
        from beam_pipeline.commands.dry_run import dry_run_caption

    dry_run_caption(options, beam_options)


def _report(options: ReportOptions, _: None) -> None:
    from beam_pipeline.reports.report import report

    report(options)


def _compare(options: CompareOptions, _: None) -> None:
    from beam_pipeline.commands.compare import compare

    compare(options)


def _export(options: ExportOptions, _: None) -> None:
    from beam_pipeline.exports.export import export

    export(options)


def _status(options: StatusOptions, _: None) -> None:
    from beam_pipeline.commands.status import status

    status(options)


def _inspect(options: InspectOptions, _: None) -> None:
    from beam_pipeline.commands.inspect import inspect

    inspect(options)


def _verify(options: VerifyOptions, _: None) -> None:
    from beam_pipeline.commands.verify import verify

    verify(options)


def _demo(options: DemoOptions, beam_options: Any) -> None:
    from beam_pipeline.demo.demo import demo

    demo(options, beam_options)


def _completion(options: CompletionOptions, _: None) -> None:
    from beam_pipeline.commands.completion import completion

    completion(options)


# What a stage does with its options, and with Beam's if it takes them.
RUN: dict[str, Callable[[Any, Any], None]] = {
    "extract": _extract,
    "train": _train,
    "evaluate": _evaluate,
    "caption": _caption,
    "report": _report,
    "compare": _compare,
    "export": _export,
    "status": _status,
    "inspect": _inspect,
    "verify": _verify,
    "demo": _demo,
    "completion": _completion,
}
_DRY_RUN: dict[str, Callable[[Any, Any], None]] = {"extract": _dry_run_extract, "caption": _dry_run_caption}


def command() -> NoReturn:
    """The installed command: `main`, and an exit with its status."""
    status = main()
    # What Python does at its end is done here, but for two things. A process that was told to stop does not wait for
    # threads that are in the midst of something. And to take down every module takes two seconds with TensorFlow and
    # Beam, after all our work; once it has spoken to S3, tensorflow-io 0.37.1 even aborts the process there.
    atexit._run_exitfuncs()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    command()
