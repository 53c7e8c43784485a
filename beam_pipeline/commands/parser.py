"""What can be written behind `captionbeam`: every stage's options are the fields of its options class."""

from __future__ import annotations

import argparse

from beam_pipeline.commands.argument_parser import (
    Parser,
    above_zero,
    natural,
    positive,
    sample,
    share,
    share_below_one,
    weight,
)
from training import __version__

_MIN_WORDS_HELP = "words of a caption at least (default: as many as four in five training captions have)"
_GUIDANCE_HELP = (
    "how far words are preferred that the word-presence head sees in the picture, 0 for not at all "
    "(default: 0.6 where the captioner has such a head)"
)


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = Parser(
        prog="captionbeam",
        usage="captionbeam [--version] [--help] STAGE ...",
        description="Captions image collections in bulk and counts the words that matter.",
        epilog="captionbeam STAGE --help lists the options of a stage.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"captionbeam {__version__}", help="show it and exit")
    stages = parser.add_subparsers(
        dest="stage", metavar="STAGE", required=True, prog="captionbeam", parser_class=Parser, help=argparse.SUPPRESS
    )
    for title, group in _STAGES.items():
        adders = {name.__name__[1:]: name for name in group}
        parser.description = f"{parser.description}\n\n{title}:"
        for name, add in adders.items():
            add(stages)
            parser.description += f"\n  {name:<12}{stages.choices[name].description}"
    return parser


def stage_parser(stage: str) -> argparse.ArgumentParser:
    """The parser of one stage."""
    return stages_of(build_parser()).choices[stage]


def stages_of(parser: argparse.ArgumentParser) -> argparse._SubParsersAction:
    """The part of the whole parser that holds the stages."""
    (stages,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return stages


def _stage(stages, name: str, description: str, takes_beam: bool = False) -> argparse.ArgumentParser:
    epilog = "Every other option goes to Apache Beam (--runner, --direct_num_workers, ...)." if takes_beam else None
    sub = stages.add_parser(name, help=description, description=description, epilog=epilog, allow_abbrev=False)
    sub.set_defaults(takes_beam=takes_beam)
    sub.add_argument("--verbose", action="store_true", help="show the logs of Beam and TensorFlow too")
    return sub


def _extract(stages) -> None:
    extract = _stage(stages, "extract", "Images -> InceptionV3 features in TFRecord shards.", takes_beam=True)
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
    encoder = extract.add_argument_group("encoder")
    encoder.add_argument(
        "--weights",
        default="imagenet",
        metavar="imagenet|random|PATH",
        help="encoder weights (default: imagenet, downloaded by Keras); with --precision int8 also the "
        "int8_encoder.npz of other features",
    )
    encoder.add_argument(
        "--feature-kind", choices=("grid", "pooled"), default="grid", help="8x8 grid or its mean (default: grid)"
    )
    encoder.add_argument(
        "--layer",
        choices=("mixed9", "mixed10"),
        default="mixed9",
        help="block of InceptionV3 that gives them; the last, mixed10, tells less of it in words (default: mixed9)",
    )
    encoder.add_argument(
        "--precision",
        choices=("auto", "bfloat16", "float32", "int8"),
        default="auto",
        help="arithmetic of the encoder (default: bfloat16 where the processor has it); int8, of the extra "
        "captionbeam[int8], goes with --engine openvino",
    )
    encoder.add_argument(
        "--engine",
        choices=("tensorflow", "openvino"),
        default="tensorflow",
        help="what runs the encoder; openvino, of the extra captionbeam[openvino], is faster in bfloat16 (default: "
        "tensorflow)",
    )
    encoder.add_argument(
        "--augment",
        type=natural,
        default=0,
        metavar="N",
        help="N more views of each picture to train on, mirrored and cropped; each costs like a picture (default: 0)",
    )
    _add_collection_options(extract)


def _train(stages) -> None:
    train = _stage(stages, "train", "Features with captions -> captioner.")
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
    train.add_argument("--epochs", type=positive, metavar="N", help="epochs at most (default: the model's own)")
    train.add_argument(
        "--self-critical-epochs",
        type=natural,
        metavar="N",
        help="then go on for N epochs at most with CIDEr as the reward of sampled captions; 0 for none "
        "(default: 3 for attention, 0 for merge)",
    )
    train.add_argument("--seed", type=int, default=0, metavar="N", help="of everything random (default: 0)")
    tuning = train.add_argument_group("what to learn with", "Without them, what suits the model.")
    tuning.add_argument("--batch-size", type=positive, metavar="N", help="pictures a step, each with all its captions")
    tuning.add_argument("--learning-rate", type=above_zero, metavar="X", help="at its peak")
    for dropped, meaning in (
        ("feature", "of the projected picture"),
        ("word", "of the word embeddings"),
        ("output", "of what the next word is drawn from"),
        ("position", "of the 8x8 grid, attention only"),
    ):
        tuning.add_argument(f"--{dropped}-dropout", type=share_below_one, metavar="SHARE", help=meaning)
    tuning.add_argument(
        "--label-smoothing", type=share_below_one, default=0.1, metavar="SHARE", help="of the target (default: 0.1)"
    )
    tuning.add_argument(
        "--averaging",
        type=share_below_one,
        default=0.998,
        metavar="SHARE",
        help="that the running average of the weights keeps at each step; 0 for none (default: 0.998)",
    )


def _evaluate(stages) -> None:
    evaluate = _stage(stages, "evaluate", "Captions a split, or takes captions of it, and scores them.")
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
        "--beam-width", type=positive, metavar="N", help="hypotheses kept while decoding (default: 3)"
    )
    evaluate.add_argument("--min-words", type=positive, metavar="N", help=_MIN_WORDS_HELP)
    evaluate.add_argument("--guidance", type=weight, metavar="WEIGHT", help=_GUIDANCE_HELP)
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


def _caption(stages) -> None:
    caption = _stage(stages, "caption", "Images or features -> captions and word importance.", takes_beam=True)
    source = caption.add_mutually_exclusive_group(required=True)
    source.add_argument("--images", metavar="DIR|GLOB|FILE", help="as for extract")
    source.add_argument("--features", metavar="FEATURES", help="feature set that extract made")
    _add_captioner(caption.add_mutually_exclusive_group(required=True))
    caption.add_argument(
        "--output", required=True, metavar="DIR", help="directory for captions, ledger and word_importance.csv"
    )
    decoding = caption.add_argument_group("captions")
    decoding.add_argument(
        "--beam-width", type=positive, default=3, metavar="N", help="hypotheses kept while decoding (default: 3)"
    )
    decoding.add_argument("--min-words", type=positive, metavar="N", help=_MIN_WORDS_HELP)
    decoding.add_argument("--guidance", type=weight, metavar="WEIGHT", help=_GUIDANCE_HELP)
    caption.add_argument(
        "--weights",
        metavar="imagenet|PATH",
        help="encoder weights (default: those that the captioner was trained with)",
    )
    decoding.add_argument(
        "--alternatives",
        type=natural,
        default=0,
        metavar="K",
        help="the next best captions to write beside each, fewer than the beam is wide (default: 0)",
    )
    decoding.add_argument(
        "--min-confidence",
        type=share,
        metavar="P",
        help="flag captions that a person would accept with less than this probability, and leave them out of exports; "
        "their words are counted all the same (default: none)",
    )
    caption.add_argument(
        "--reference",
        metavar="DIR",
        help="captions of the same captioner to compare words with (default: the captions it was trained on)",
    )
    caption.add_argument(
        "--no-report",
        dest="report",
        action="store_false",
        help="write no report.html (captionbeam report makes it later)",
    )
    _add_collection_options(caption)


def _report(stages) -> None:
    report = _stage(stages, "report", "Captions -> report.html, a page to look through that needs no network.")
    report.add_argument("captions", metavar="DIR", help="directory that caption made")
    report.add_argument("--output", metavar="FILE", help="page to write (default: report.html in DIR)")


def _compare(stages) -> None:
    compare = _stage(stages, "compare", "Two captioned collections -> the words that one uses more than the other.")
    compare.add_argument("first", metavar="A", help="directory that caption made")
    compare.add_argument("second", metavar="B", help="another one, by the same captioner")
    compare.add_argument(
        "--output",
        default="comparison.csv",
        metavar="FILE",
        help="CSV to write, with a page of the same name in .html (default: comparison.csv)",
    )


def _export(stages) -> None:
    export = _stage(stages, "export", "Captions -> CSV, Parquet, COCO, text or XMP files, metadata, WebDataset.")
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
        type=share,
        metavar="P",
        help="a word is a keyword from this probability on that a person would use it (default: 0.3)",
    )
    export.add_argument(
        "--min-confidence",
        type=share,
        metavar="P",
        help="leave captions out that a person would accept with less than this probability (default: those that "
        "caption flagged; 0 for none)",
    )
    export.add_argument("--samples", type=positive, metavar="N", help="pictures a WebDataset shard (default: 1000)")


def _status(stages) -> None:
    status = _stage(stages, "status", "What is done in a directory, what is missing, and how to go on.")
    status.add_argument("directory", metavar="DIR", help="feature set, captions or captioner, finished or not")


def _inspect(stages) -> None:
    inspect = _stage(stages, "inspect", "What a feature set, a captioner or captions hold, or of one picture.")
    inspect.add_argument("directory", metavar="DIR", help="feature set, captioner or captions")
    inspect.add_argument(
        "picture", nargs="?", metavar="PICTURE", help="file name, address or sha256 of one picture (features, captions)"
    )
    inspect.add_argument("--json", action="store_true", help="print one JSON document, for other programs")


def _verify(stages) -> None:
    verify = _stage(stages, "verify", "Whether features or captions are whole, and come out the same again.")
    verify.add_argument("directory", metavar="DIR", help="feature set or captions")
    verify.add_argument(
        "--sample",
        type=sample,
        default=0.01,
        metavar="N|P%",
        help="pictures to compute anew, a number or a share, drawn by their content; 0 for none (default: 1%%)",
    )
    verify.add_argument("--captioner", metavar="CAPTIONER", help="that made the captions (an ensemble: A,B,...)")
    verify.add_argument("--features", metavar="FEATURES", help="that the captions were made from, if from features")
    verify.add_argument(
        "--weights", metavar="imagenet|PATH", help="encoder weights (default: those that it was made with)"
    )


def _completion(stages) -> None:
    completion = _stage(stages, "completion", "Prints what lets a shell complete stages, options and paths.")
    completion.add_argument("shell", choices=("bash", "zsh", "fish"), help='eval "$(captionbeam completion bash)"')


def _demo(stages) -> None:
    demo = _stage(stages, "demo", "Draws a collection with known truth and runs every stage on it.", takes_beam=True)
    demo.add_argument(
        "--output", default="output/demo", metavar="DIR", help="directory for everything (default: output/demo)"
    )
    demo.add_argument("--pictures", type=positive, default=600, metavar="N", help="scenes to draw (default: 600)")
    demo.add_argument(
        "--weights",
        default="auto",
        metavar="auto|imagenet|random|PATH",
        help="encoder weights (default: imagenet where they can be had, else random)",
    )
    demo.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the drawing and of the training (default: 0)"
    )


def _add_collection_options(parser: argparse.ArgumentParser) -> None:
    limits = parser.add_argument_group("limits")
    run = parser.add_argument_group("run")
    run.add_argument(
        "--dry-run", action="store_true", help="say what would be done, how long and how large, and write nothing"
    )
    run.add_argument(
        "--shard-size",
        type=positive,
        default=512,
        metavar="N",
        help="pictures a shard, on average at most (default: 512)",
    )
    limits.add_argument(
        "--max-bytes",
        type=positive,
        default=256 << 20,
        metavar="N",
        help="larger files are rejected (default: 268435456, 256 MiB)",
    )
    limits.add_argument(
        "--max-megapixels",
        type=above_zero,
        default=100,
        metavar="N",
        help="pictures that decode to more are rejected; also bounds a decoder's memory (default: 100)",
    )
    limits.add_argument(
        "--max-seconds",
        type=above_zero,
        default=30,
        metavar="S",
        help="pictures that take more processor time to decode, or ten times that by the clock, are rejected "
        "(default: 30)",
    )
    limits.add_argument(
        "--max-reject-rate",
        type=share,
        default=0.10,
        metavar="SHARE",
        help="share of rejected inputs, 0 to 1, above which the job fails (default: 0.10)",
    )
    run.add_argument("--retry-rejected", action="store_true", help="take inputs up again that an earlier run rejected")
    run.add_argument(
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


# What `captionbeam --help` lists, in this order.
_STAGES = {
    "From images to words": (_extract, _train, _evaluate, _caption, _report, _compare, _export),
    "To look at what is there": (_status, _inspect, _verify),
    "To try it, and to type less": (_demo, _completion),
}
