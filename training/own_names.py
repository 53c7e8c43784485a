"""Names of the files that captionbeam makes, by the kind of directory that they lie in: all of them, and only here."""

from __future__ import annotations

import re

# Kinds of directories.
FEATURES, CAPTIONER, CAPTIONS, SCORES, DEMO = "feature set", "captioner", "captions", "scores", "demo"

REJECTED_LIST = "rejected.txt"

MANIFEST = "manifest.json"
INT8_ENCODER = "int8_encoder.npz"  # with precision int8 only: the quantized graph
RANDOM_STATISTICS = "random_encoder.npz"  # with random encoder weights only: what they are made from
TAIL = "encoder_tail.npz"  # what the encoder computes behind the layer of the features, see `models.tail`

WEIGHTS = "captioner.weights.h5"
VOCABULARY = "vocabulary.txt"
CONFIG = "config.json"
WORD_COUNTS = "word_counts.json"
PRESENCE = "presence.npz"
PRESENCE_WORDS = "presence.json"
PRESENCE_TAIL = "presence_tail.json"
JUDGE = "judge.json"
JUDGE_ARRAYS = "judge.npz"
CONFIDENCE = "confidence.json"
CONFIDENCE_ARRAYS = "confidence.npz"
METRICS = "metrics.json"
PROGRESS = "progress.json"
CHECKPOINTS = "checkpoint"  # a folder
LOG = "log"  # TensorBoard's, a folder

SUMMARY = "summary.json"
EVIDENCE = "word_evidence.jsonl"
WORD_TABLE, BIGRAM_TABLE = "word_importance", "bigram_importance"  # without ending
RESULTS = (EVIDENCE, *(f"{name}.{ending}" for name in (WORD_TABLE, BIGRAM_TABLE) for ending in ("csv", "parquet")))
NEXT = "next-"  # in front of a result that waits for its summary
REPORT, PICTURES_OF_REPORT = "report.html", "report_files"  # a page, and a folder
THUMBNAILS = "thumbnails.zip"
JOURNAL = "exported_texts.jsonl"

SCORE_DOCUMENT = "scores.json"
GENERATED = "captions.json"
CONFIDENCE_CURVE = "confidence_curve.csv"
MEASURED_CONFIDENCE = "confidence.json"
WORD_FIDELITY = "word_fidelity.json"
ESTIMATES = {  # kind of estimate -> file
    "combined": "estimates.jsonl",
    **{kind: f"estimates_{kind}.jsonl" for kind in ("said", "expected", "presence", "grounding")},
}

DEMO_SETTINGS = "demo.json"

# Of a shard, whatever the kind of the directory: its files, and what marks that it is damaged or a run is replaced.
SHARD_FILE = re.compile(
    r"(?P<kind>features|captions|words|ledger)-"
    r"(?P<shard>(?P<run>\d{4,})-(?P<index>\d{5,})-of-(?P<count>\d{5,}))\.(?:tfrecord|jsonl)"
)
NOTE_SUFFIX = ".damaged"  # behind the name of the shard
PRUNE_MARK = re.compile(r"(?P<state>pruning|pruned)-(?P<run>\d{4,})")

# What a directory of each kind holds beside the files of its shards; hidden files are left out.
OWN_NAMES: dict[str, frozenset[str]] = {
    FEATURES: frozenset((REJECTED_LIST, MANIFEST, INT8_ENCODER, RANDOM_STATISTICS, TAIL)),
    CAPTIONER: frozenset(
        (
            *(WEIGHTS, VOCABULARY, CONFIG, WORD_COUNTS, METRICS, PROGRESS, CHECKPOINTS, LOG),
            *(PRESENCE, PRESENCE_WORDS, PRESENCE_TAIL, JUDGE, JUDGE_ARRAYS, CONFIDENCE, CONFIDENCE_ARRAYS),
            *(INT8_ENCODER, RANDOM_STATISTICS),
        )
    ),
    CAPTIONS: frozenset(
        (
            *(REJECTED_LIST, SUMMARY, *RESULTS, *(NEXT + name for name in RESULTS)),
            *(REPORT, PICTURES_OF_REPORT, THUMBNAILS, JOURNAL),
        )
    ),
    SCORES: frozenset(
        (SCORE_DOCUMENT, GENERATED, CONFIDENCE_CURVE, MEASURED_CONFIDENCE, WORD_FIDELITY, *ESTIMATES.values())
    ),
}


def belongs(name: str, kind: str) -> bool:
    """Name of a file or folder -> whether captionbeam makes it in a directory of a kind, which may be unfinished.

    Args:
      kind: a key of `OWN_NAMES`.
    """
    return (
        name in OWN_NAMES[kind]
        or SHARD_FILE.fullmatch(name.removesuffix(NOTE_SUFFIX)) is not None
        or PRUNE_MARK.fullmatch(name) is not None
    )
