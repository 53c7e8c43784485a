"""Settings of `captionbeam train` and `captionbeam evaluate`; light enough for `--help`: no TensorFlow, no Keras."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

AVERAGING = 0.998  # of the weights that are kept: about the last 500 steps (Polyak and Juditsky 1992)

# What each model learns best with, where TrainOptions says None. The merge model's LSTM never sees the picture and its
# image vector is one for all words: less has to be dropped.
DEFAULTS: dict[str, dict[str, Any]] = {
    "attention": {
        "epochs": 7,
        "batch_size": 16,
        "learning_rate": 1.5e-3,
        "feature_dropout": 0.2,
        "word_dropout": 0.2,
        "output_dropout": 0.4,
        "position_dropout": 0.0,
        "self_critical_epochs": 3,
    },
    "merge": {
        "epochs": 7,
        "batch_size": 16,
        "learning_rate": 2e-3,
        "feature_dropout": 0.1,
        "word_dropout": 0.1,
        "output_dropout": 0.3,
        "position_dropout": 0.0,
        "self_critical_epochs": 0,
    },
}


@dataclass(frozen=True)
class PresenceOptions:
    """Settings of the head.

    Attributes:
      members: heads of the ensemble.
      hidden_size: H of each.
      epochs, batch_size, learning_rate, weight_decay: of AdamW with cosine decay.
      input_dropout, hidden_dropout: shares dropped.
      min_count: captions that must use a word for it to be learnt.
      max_words: V at most; the commonest.
      folds: the part that a member holds out is one in this many.
      held_out: A of a member, at most; bounds the memory that calibration takes.
      prior_captions: captions added to a word's count before its rate is taken, for words that are seldom seen.
    """

    members: int = 3
    hidden_size: int = 1024
    epochs: int = 12
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.1
    input_dropout: float = 0.2
    hidden_dropout: float = 0.5
    min_count: int = 5
    max_words: int = 8192
    folds: int = 10
    held_out: int = 1024
    prior_captions: float = 0.5


@dataclass(frozen=True)
class TrainOptions:
    """Settings of `captionbeam train`; where one is None, what `DEFAULTS` has for the model.

    Attributes:
      features: feature set with captions.
      output: directory of the captioner.
      model: "attention" or "merge".
      glove: GloVe text file, or None for random word embeddings.
      train_list, dev_list: files of image names; None for a split by content.
      epochs: at most.
      seed: of everything random.
      batch_size: pictures a step, each with all its captions.
      embedding_size, hidden_size: of the model.
      min_count: how often a word must stand in the training captions to be learnt.
      max_words: longer captions are cut.
      learning_rate: peak, after the warm-up and before the cosine decay.
      feature_dropout, word_dropout, output_dropout, position_dropout: see ModelConfig.
      weight_decay: of AdamW.
      label_smoothing: share of the target spread over the vocabulary.
      averaging: what the running average of the weights keeps at each step; 0 for no average.
      patience: epochs without a better CIDEr on the dev pictures before training stops.
      checkpoint_steps: steps between checkpoints.
      self_critical_epochs: at most, of the second stage; see `training.fitting.self_critical`.
      self_critical_rate: learning rate at its start.
      presence: of the word-presence head.
    """

    features: str
    output: str
    model: str = "attention"
    glove: str | None = None
    train_list: str | None = None
    dev_list: str | None = None
    epochs: int | None = None
    seed: int = 0
    batch_size: int | None = None
    embedding_size: int = 128
    hidden_size: int = 512
    min_count: int = 5
    max_words: int = 16
    learning_rate: float | None = None
    feature_dropout: float | None = None
    word_dropout: float | None = None
    output_dropout: float | None = None
    position_dropout: float | None = None
    weight_decay: float = 0.01
    label_smoothing: float = 0.1
    averaging: float = AVERAGING
    patience: int = 4
    checkpoint_steps: int = 100
    self_critical_epochs: int | None = None
    self_critical_rate: float = 5e-5
    presence: PresenceOptions = field(default_factory=PresenceOptions)


def with_defaults(options: TrainOptions) -> TrainOptions:
    """Fills in what is None with what the model learns best with."""
    missing = {name: value for name, value in DEFAULTS[options.model].items() if getattr(options, name) is None}
    return replace(options, **missing)


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Settings of `captionbeam evaluate`.

    Attributes:
      features: feature set that holds the split and its captions.
      list: file of the split's image names, one a line.
      output: directory for `scores.json` and, with a captioner, `captions.json`.
      captioner: directory that train made, or several separated by commas, an ensemble; or None, and `captions` says
        what to score.
      beam_width: hypotheses kept while decoding; None for 3.
      min_words: words of a caption at least; None for the captioner's own.
      guidance: weight of the word-presence head beside the decoder; None for `guidance.GUIDANCE`.
      captions: file in COCO's results form with captions made elsewhere; or None.
      train_list: file of the training pictures' names; None for those that the captioner was trained on.
      all_protocols: also score by the other habits of counting in `training.scoring.protocols`.
      words: also estimate the words of each picture and measure the estimates; with a captioner only.
    """

    features: str
    list: str
    output: str
    captioner: str | None = None
    beam_width: int | None = None
    min_words: int | None = None
    guidance: float | None = None
    captions: str | None = None
    train_list: str | None = None
    all_protocols: bool = False
    words: bool = False
