"""Options that people know from other tools, and what to do here instead."""

from __future__ import annotations

_RUNS = ("extract", "train", "caption", "demo")
_IMAGES = ("extract", "caption")
_CONTINUES = "the same command continues from what is finished, without an option"
_AFRESH = "finished work is always kept; to start afresh, give another --output, or delete the directory first"

# What other tools call the same.
_OVERWRITE = ("--overwrite", "--force", "-f", "--clobber")
_BATCH = ("--batch", "--batchsize", "-b")
_THREADS = ("--threads", "--num-threads")
_WORKERS = ("--num-workers", "--workers", "--jobs", "-j", "--processes")
_THRESHOLD = ("--threshold", "--score-threshold", "--thresh")

# Answer, options, stages that it is true of.
_ANSWERS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    (_AFRESH, (*_OVERWRITE, "--no-resume", "--restart"), _RUNS),
    ("give --mode overwrite", _OVERWRITE, ("export",)),
    (
        _CONTINUES,
        ("--resume", "--continue", "--incremental", "--skip-existing", "--skip-done", "--only-new", "--update"),
        (*_RUNS, "export"),
    ),
    (
        "folders are always read with all the folders in them",
        ("--recursive", "-r", "-R", "--recurse", "--subfolders"),
        _IMAGES,
    ),
    (
        "batches have a fixed size, so that results do not depend on it",
        ("--batch-size", *_BATCH),
        ("extract", "caption", "evaluate"),
    ),
    ("give --batch-size", _BATCH, ("train",)),
    (
        "one process uses all cores; for several processes, give --direct_running_mode multi_processing "
        "--direct_num_workers N",
        (*_WORKERS, "--num-processes", "--max-workers", "--nproc"),
        _IMAGES,
    ),
    ("one process uses all cores", (*_THREADS, "--thread-count"), _IMAGES),
    (
        "one process uses all cores",
        (*_WORKERS, *_THREADS),
        ("train", "evaluate", "export"),
    ),
    (
        "TensorFlow uses a GPU that it finds; the environment variable CUDA_VISIBLE_DEVICES limits which",
        ("--device", "--gpu", "--gpus", "--cuda", "--gpu-id", "--cpu", "--fp16"),
        ("extract", "train", "caption", "evaluate"),
    ),
    (
        "give the images as --images",
        (
            *("--input", "--inputs", "-i", "--input-dir", "--image-dir", "--images-dir", "--image-folder", "--folder"),
            *("--dir", "--path", "--source", "--url-list", "--train-data-dir"),
        ),
        _IMAGES,
    ),
    (
        "give the directory as --output",
        ("--output-dir", "--output-folder", "--outdir", "--out", "--out-dir", "-o", "--dest", "--save-dir"),
        (*_RUNS, "evaluate", "export"),
    ),
    (
        "give a captioner as --captioner; captionbeam runs those that `captionbeam train` made",
        ("--model", "--model-name", "--model-id", "--checkpoint", "--ckpt", "--caption-model", "-m"),
        ("caption", "evaluate"),
    ),
    ("the captioners of captionbeam take no prompt", ("--prompt", "--question", "--prefix", "-p"), ("caption",)),
    (
        "give --beam-width",
        ("--num-beams", "--beams", "--beam-size", "--beam", "--n-beams"),
        ("caption", "evaluate"),
    ),
    ("give --min-words", ("--min-length", "--min-tokens", "--min-new-tokens"), ("caption", "evaluate")),
    (
        "captions are as long as those that the captioner was trained on",
        ("--max-length", "--max-tokens", "--max-new-tokens"),
        ("caption", "evaluate"),
    ),
    (
        "captions go into one directory; `captionbeam export DIR --format txt --in-place` writes a text file beside "
        "each image",
        ("--caption-extension", "--extension", "--caption-ext", "--sidecar", "--txt"),
        ("caption",),
    ),
    ("`captionbeam export DIR --format csv --output FILE` does this afterwards", ("--csv", "--format"), ("caption",)),
    (
        "give --keyword-presence for keywords, or --min-confidence for captions",
        (*_THRESHOLD, "--general-threshold"),
        ("export",),
    ),
    ("give --min-confidence", _THRESHOLD, ("caption",)),
    (
        "give --images a text file that names some images, one per line",
        ("--limit", "--max-samples", "--num-samples", "--max-images", "-n"),
        _IMAGES,
    ),
    ("give --learning-rate", ("--lr",), ("train",)),
    ("give --epochs", ("--num-epochs", "--max-epochs", "--num-train-epochs"), ("train",)),
    (
        "redirect standard error to hide messages: 2>/dev/null",
        ("--quiet", "-q", "--silent", "--no-progress"),
        (*_RUNS, "evaluate", "export", "report", "compare", "status", "inspect", "verify"),
    ),
    ("give --verbose", ("-v", "--debug"), (*_RUNS, "evaluate", "export", "report", "compare", "verify")),
    ("give --dry-run", ("--simulate", "--plan"), _IMAGES),
)
_BY_OPTION = {
    (stage, name): answer for answer, names, stages in reversed(_ANSWERS) for name in names for stage in stages
}


def answer_to(stage: str, option: str) -> str:
    """Stage and an option that it lacks -> "OPTION: what to do instead"; "" where other tools know no such option.

    Args:
      option: as it was written, with or without `=VALUE`.
    """
    name = option.partition("=")[0]
    answer = _BY_OPTION.get((stage, name))
    return f"{name}: {answer}" if answer else ""
