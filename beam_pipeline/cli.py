"""The `captionbeam` command: parses, validates, runs one stage, and turns failures into one line and an exit status.

TensorFlow and Beam are imported only by the stage that runs, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import dataclasses
import difflib
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from training.errors import UserError

_MIN_WORDS_HELP = "words of a caption at least (default: as many as four in five training captions have)"
_GUIDANCE_HELP = (
    "how far words are preferred that the word-presence head sees in the picture, 0 for not at all "
    "(default: 0.6 where the captioner has such a head)"
)


class _Parser(argparse.ArgumentParser):
    """An argparse parser whose errors are one line, with a suggestion for a misspelt option."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status: 0, 2 for a wrong call, 1 for a failed job, 130 when interrupted."""
    arguments, unknown = build_parser().parse_known_args(argv)
    settings = vars(arguments)
    stage, run, takes_beam = settings.pop("stage"), settings.pop("run"), settings.pop("takes_beam")
    set_up_logging(settings.pop("verbose"))
    try:
        if unknown and not takes_beam:
            raise UserError(_unknown_option(stage, unknown[0], []))
        run(settings, _beam_options(stage, unknown) if takes_beam else None)
        sys.stdout.flush()
    except UserError as error:
        logging.getLogger("captionbeam").debug("stack trace", exc_info=True)
        print(f"captionbeam {stage}: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print(f"captionbeam {stage}: stopped; the same command again goes on from what is finished", file=sys.stderr)
        return 130
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; every stage's options are the fields of its options class."""
    parser = _Parser(
        prog="captionbeam",
        description="Caption image collections in bulk and count the words that matter.",
        allow_abbrev=False,
    )
    stages = parser.add_subparsers(dest="stage", metavar="STAGE", required=True, parser_class=_Parser)

    def stage(name: str, run, description: str, takes_beam: bool = False):
        epilog = "Every other option goes to Apache Beam (--runner, --direct_num_workers, ...)." if takes_beam else None
        sub = stages.add_parser(name, help=description, description=description, epilog=epilog, allow_abbrev=False)
        sub.set_defaults(run=run, takes_beam=takes_beam)
        sub.add_argument("--verbose", action="store_true", help="show the logs of Beam and TensorFlow too")
        return sub

    extract = stage("extract", _extract, "Images -> InceptionV3 features in TFRecord shards.", takes_beam=True)
    extract.add_argument(
        "--images",
        required=True,
        metavar="DIR|GLOB|FILE",
        help="folder (walked recursively); quoted pattern of pictures or archives (.tar, .zip, .parquet, .tfrecord); "
        "or a list: .txt with a path or URL a line, .csv with a column uri, url, path, file_name or image",
    )
    extract.add_argument("--output", required=True, metavar="FEATURES", help="directory of the feature set")
    extract.add_argument(
        "--captions", metavar="FILE", help="CSV with columns image,caption or lines name.jpg#0<TAB>caption"
    )
    extract.add_argument(
        "--weights",
        default="imagenet",
        metavar="imagenet|random|PATH",
        help="encoder weights (default: imagenet, downloaded by Keras)",
    )
    extract.add_argument(
        "--feature-kind", choices=("grid", "pooled"), default="grid", help="8x8 grid or its mean (default: grid)"
    )
    extract.add_argument(
        "--layer",
        choices=("mixed9", "mixed10"),
        default="mixed9",
        help="block of InceptionV3 that gives them; the last, mixed10, tells less of it in words (default: mixed9)",
    )
    extract.add_argument(
        "--precision",
        choices=("auto", "bfloat16", "float32"),
        default="auto",
        help="arithmetic of the encoder (default: bfloat16 where the processor has it)",
    )
    extract.add_argument(
        "--engine",
        choices=("tensorflow", "openvino"),
        default="tensorflow",
        help="what runs the encoder; openvino, of the extra captionbeam[openvino], is faster in bfloat16 (default: "
        "tensorflow)",
    )
    extract.add_argument(
        "--augment",
        type=_natural,
        default=0,
        metavar="N",
        help="N more views of each picture to train on, mirrored and cropped; each costs like a picture (default: 0)",
    )
    _add_collection_options(extract)

    train = stage("train", _train, "Features with captions -> captioner.")
    train.add_argument(
        "--features", required=True, metavar="FEATURES", help="feature set that extract made with --captions"
    )
    train.add_argument("--output", required=True, metavar="CAPTIONER", help="directory of the captioner")
    train.add_argument(
        "--model",
        choices=("attention", "merge"),
        default="attention",
        help="attention looks at the 8x8 grid, merge at its mean (default: attention)",
    )
    train.add_argument("--glove", metavar="FILE", help="GloVe vectors in text form, to start the word embeddings from")
    train.add_argument("--train-list", metavar="FILE", help="names of the pictures to train on, one a line")
    train.add_argument(
        "--dev-list", metavar="FILE", help="names of the pictures that choose the best epoch, one a line"
    )
    train.add_argument("--epochs", type=_positive, metavar="N", help="epochs at most (default: the model's own)")
    train.add_argument(
        "--self-critical-epochs",
        type=_natural,
        metavar="N",
        help="then go on for N epochs at most with CIDEr as the reward of sampled captions; 0 for none "
        "(default: 3 for attention, 0 for merge)",
    )
    train.add_argument("--seed", type=int, default=0, metavar="N", help="of everything random (default: 0)")
    tuning = train.add_argument_group("what to learn with", "Without them, what suits the model.")
    tuning.add_argument("--batch-size", type=_positive, metavar="N", help="pictures a step, each with all its captions")
    tuning.add_argument("--learning-rate", type=_above_zero, metavar="X", help="at its peak")
    for dropped, meaning in (
        ("feature", "of the projected picture"),
        ("word", "of the word embeddings"),
        ("output", "of what the next word is drawn from"),
        ("position", "of the 8x8 grid, attention only"),
    ):
        tuning.add_argument(f"--{dropped}-dropout", type=_share_below_one, metavar="SHARE", help=meaning)
    tuning.add_argument(
        "--label-smoothing", type=_share_below_one, default=0.1, metavar="SHARE", help="of the target (default: 0.1)"
    )
    tuning.add_argument(
        "--averaging",
        type=_share_below_one,
        default=0.998,
        metavar="SHARE",
        help="that the running average of the weights keeps at each step; 0 for none (default: 0.998)",
    )

    evaluate = stage("evaluate", _evaluate, "Captions a split, or takes captions of it, and scores them.")
    scored = evaluate.add_mutually_exclusive_group(required=True)
    _add_captioner(scored)
    scored.add_argument(
        "--captions",
        metavar="FILE.json",
        help='captions made elsewhere, in COCO\'s results form: [{"image_id": name, "caption": ...}, ...]',
    )
    evaluate.add_argument(
        "--features", required=True, metavar="FEATURES", help="feature set that holds the split and its captions"
    )
    evaluate.add_argument("--list", required=True, metavar="FILE", help="names of the pictures to score, one a line")
    evaluate.add_argument("--output", required=True, metavar="DIR", help="directory for scores.json and captions.json")
    evaluate.add_argument(
        "--beam-width", type=_positive, metavar="N", help="hypotheses kept while decoding (default: 3)"
    )
    evaluate.add_argument("--min-words", type=_positive, metavar="N", help=_MIN_WORDS_HELP)
    evaluate.add_argument("--guidance", type=_weight, metavar="WEIGHT", help=_GUIDANCE_HELP)
    evaluate.add_argument(
        "--train-list",
        metavar="FILE",
        help="names of the training pictures, one a line, for the rows that need them (default: the captioner's own)",
    )
    evaluate.add_argument(
        "--all-protocols", action="store_true", help="score the same captions by other habits of counting too"
    )
    evaluate.add_argument(
        "--words",
        action="store_true",
        help="also estimate which words people use of each picture, and measure that: estimates*.jsonl, "
        "word_fidelity.json",
    )

    caption = stage("caption", _caption, "Images or features -> captions and word importance.", takes_beam=True)
    source = caption.add_mutually_exclusive_group(required=True)
    source.add_argument("--images", metavar="DIR|GLOB|FILE", help="as for extract")
    source.add_argument("--features", metavar="FEATURES", help="feature set that extract made")
    _add_captioner(caption.add_mutually_exclusive_group(required=True))
    caption.add_argument(
        "--output", required=True, metavar="DIR", help="directory for captions, ledger and word_importance.csv"
    )
    caption.add_argument(
        "--beam-width", type=_positive, default=3, metavar="N", help="hypotheses kept while decoding (default: 3)"
    )
    caption.add_argument("--min-words", type=_positive, metavar="N", help=_MIN_WORDS_HELP)
    caption.add_argument("--guidance", type=_weight, metavar="WEIGHT", help=_GUIDANCE_HELP)
    caption.add_argument(
        "--weights",
        metavar="imagenet|PATH",
        help="encoder weights (default: those that the captioner was trained with)",
    )
    caption.add_argument(
        "--alternatives",
        type=_natural,
        default=0,
        metavar="K",
        help="the next best captions to write beside each, fewer than the beam is wide (default: 0)",
    )
    caption.add_argument(
        "--reference",
        metavar="DIR",
        help="captions of the same captioner to compare words with (default: the captions it was trained on)",
    )
    _add_collection_options(caption)

    compare = stage("compare", _compare, "Two captioned collections -> the words that one uses more than the other.")
    compare.add_argument("first", metavar="A", help="directory that caption made")
    compare.add_argument("second", metavar="B", help="another one, by the same captioner")
    compare.add_argument(
        "--output", default="comparison.csv", metavar="FILE", help="CSV to write (default: comparison.csv)"
    )

    export = stage("export", _export, "Captions -> CSV, Parquet, COCO, text or XMP files, metadata, WebDataset.")
    export.add_argument("captions", metavar="DIR", help="directory that caption made")
    export.add_argument(
        "--format",
        required=True,
        choices=("csv", "parquet", "coco", "txt", "xmp", "metadata", "webdataset"),
        help="txt and xmp: a file for each picture; metadata: copies of the pictures with description and keywords in "
        "them; webdataset: pictures and captions in tars",
    )
    place = export.add_mutually_exclusive_group(required=True)
    place.add_argument(
        "--output", metavar="PATH", help="file to write (csv, parquet, coco), or folder that mirrors the collection's"
    )
    place.add_argument(
        "--in-place",
        action="store_true",
        help="txt, xmp: beside the pictures; metadata: into the pictures themselves, whose pixels stay as they are",
    )
    export.add_argument(
        "--mode",
        choices=("skip", "append", "overwrite"),
        help="what becomes of a text, .xmp or description that is there already (default: skip)",
    )
    export.add_argument(
        "--root",
        metavar="DIR",
        help="folder that names in a mirror and image_id are relative to (default: the deepest that holds every file)",
    )
    export.add_argument(
        "--keyword-presence",
        type=_share,
        metavar="P",
        help="a word is a keyword from this probability on that a person would use it (default: 0.3)",
    )
    export.add_argument("--samples", type=_positive, metavar="N", help="pictures a WebDataset shard (default: 1000)")

    demo = stage("demo", _demo, "Draws a collection with known truth and runs every stage on it.", takes_beam=True)
    demo.add_argument(
        "--output", default="output/demo", metavar="DIR", help="directory for everything (default: output/demo)"
    )
    demo.add_argument("--pictures", type=_positive, default=600, metavar="N", help="scenes to draw (default: 600)")
    demo.add_argument(
        "--weights",
        default="auto",
        metavar="auto|imagenet|random|PATH",
        help="encoder weights (default: imagenet where they can be had, else random)",
    )
    demo.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the drawing and of the training (default: 0)"
    )
    return parser


def _add_collection_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--shard-size",
        type=_positive,
        default=512,
        metavar="N",
        help="pictures a shard, on average at most (default: 512)",
    )
    parser.add_argument(
        "--max-bytes",
        type=_positive,
        default=256 << 20,
        metavar="N",
        help="larger files are rejected (default: 268435456, 256 MiB)",
    )
    parser.add_argument(
        "--max-megapixels",
        type=_above_zero,
        default=100,
        metavar="N",
        help="pictures that decode to more are rejected; also bounds a decoder's memory (default: 100)",
    )
    parser.add_argument(
        "--max-seconds",
        type=_above_zero,
        default=30,
        metavar="S",
        help="pictures that take more processor time to decode, or ten times that by the clock, are rejected "
        "(default: 30)",
    )
    parser.add_argument(
        "--max-reject-rate",
        type=_share,
        default=0.10,
        metavar="SHARE",
        help="share of rejected inputs, 0 to 1, above which the job fails (default: 0.10)",
    )
    parser.add_argument(
        "--retry-rejected", action="store_true", help="take inputs up again that an earlier run rejected"
    )
    parser.add_argument(
        "--remote-lists",
        action="store_true",
        help="open the remote addresses of a local list too; only for lists that you trust",
    )


def _add_captioner(group: argparse._MutuallyExclusiveGroup) -> None:
    group.add_argument("--captioner", metavar="CAPTIONER", help="directory that train made")
    group.add_argument(
        "--ensemble",
        dest="captioner",
        metavar="A,B,...",
        help="several of them, asked together: the mean of what they give each next word",
    )


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive whole number")
    return value


def _natural(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is less than 0")
    return value


def _above_zero(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def _share(text: str) -> float:
    return _from_zero_to(1, text)


def _weight(text: str) -> float:
    return _from_zero_to(10, text)


def _from_zero_to(most: int, text: str) -> float:
    value = float(text)
    if not 0 <= value <= most:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and {most}")
    return value


def _share_below_one(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and below 1")
    return value


def set_up_logging(verbose: bool) -> None:
    """What a person sees on standard error: our own words; with `verbose` Beam's and TensorFlow's too."""
    if not verbose:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    logging.basicConfig(
        level=logging.INFO if verbose else logging.CRITICAL, format="%(name)s: %(message)s", stream=sys.stderr
    )
    own = logging.getLogger("captionbeam")
    own.setLevel(logging.DEBUG if verbose else logging.INFO)
    own.propagate = False
    if not own.handlers:
        own.addHandler(logging.StreamHandler())


def _beam_options(stage: str, flags: list[str]):
    """What is left of the command line -> Beam's PipelineOptions; Beam itself only warns about a flag it does not know.

    Raises:
      UserError: neither Beam nor the stage knows a flag.
    """
    from apache_beam.options.pipeline_options import PipelineOptions

    known: Any = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for options in PipelineOptions.__subclasses__():
        # Two of Beam's classes share a flag; the first one's word will do.
        with contextlib.suppress(argparse.ArgumentError, AttributeError):
            options._add_argparse_args(known)
    _, unknown = known.parse_known_args(flags)
    if unknown:
        raise UserError(_unknown_option(stage, unknown[0], list(known._option_string_actions)))
    return PipelineOptions(flags)


def _unknown_option(stage: str, option: str, beam_flags: list[str]) -> str:
    if stage == "caption" and option.split("=")[0] in ("--engine", "--precision", "--layer", "--feature-kind"):
        return f"{option}: caption runs the encoder that its captioner was trained with; extract takes the option"
    ours = [flag for action in _stage_actions(stage) for flag in action.option_strings]
    close = difflib.get_close_matches(option.split("=")[0], ours + beam_flags, n=1)
    return f"unknown option {option}" + (
        f", did you mean {close[0]}?" if close else f" (see captionbeam {stage} --help)"
    )


def _stage_actions(stage: str) -> list[argparse.Action]:
    for action in build_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            return action.choices[stage]._actions
    return []


def _fill(options_class, settings: dict[str, Any]):
    """Settings -> the stage's options; None leaves a field at its default."""
    fields = {field.name for field in dataclasses.fields(options_class)}
    if "decoding" in fields:
        from beam_pipeline.isolated_decoding import Decoding

        settings = {**settings, "decoding": _fill(Decoding, settings)}
    return options_class(**{name: value for name, value in settings.items() if name in fields and value is not None})


def _extract(settings: dict[str, Any], beam_options) -> None:
    from beam_pipeline.extract_features import ExtractOptions, extract

    extract(_fill(ExtractOptions, settings), beam_options)


def _train(settings: dict[str, Any], _) -> None:
    from training.train import TrainOptions, train

    train(_fill(TrainOptions, settings))


def _evaluate(settings: dict[str, Any], _) -> None:
    from training.evaluate import EvaluateOptions, evaluate

    evaluate(_fill(EvaluateOptions, settings))


def _caption(settings: dict[str, Any], beam_options) -> None:
    from beam_pipeline.caption_images import CaptionOptions, caption

    caption(_fill(CaptionOptions, settings), beam_options)


def _compare(settings: dict[str, Any], _) -> None:
    from beam_pipeline.compare import CompareOptions, compare

    compare(_fill(CompareOptions, settings))


def _export(settings: dict[str, Any], _) -> None:
    from beam_pipeline.export import ExportOptions, export

    export(_fill(ExportOptions, settings))


def _demo(settings: dict[str, Any], beam_options) -> None:
    from beam_pipeline.demo import DemoOptions, demo

    demo(_fill(DemoOptions, settings), beam_options)


def command() -> NoReturn:
    """The installed command: `main`, and an exit with its status."""
    status = main()
    if "tensorflow_io" in sys.modules:
        # Once it has spoken to S3, tensorflow-io 0.37.1 aborts the process while its static objects are destroyed,
        # after all our work. So all that Python does at its end is done here, and the rest is left out.
        atexit._run_exitfuncs()
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    command()
