"""The options of `captionbeam train` and `captionbeam evaluate`; light enough for `--help`: no TensorFlow, no Keras."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from training.errors import UserError
from training.option_fields import Alias, above_zero, folder, natural, option, positive, share_below_one, weight, whole

BEAM_WIDTH = 3  # hypotheses kept, where nothing else is asked for
JUDGED_BEAM_WIDTH = 7  # the same where a judge chooses among them (docs/explanation/caption-quality.md)
NO_JUDGE = "none"
GUIDANCE = 0.6  # weight; the best of 0.2 to 0.8 on Flickr8k's dev pictures (docs/explanation/caption-quality.md)

TAIL_LAYERS, NO_TAIL = ("mixed8", "mixed9", "mixed10"), "none"
TAIL_LAYER = "mixed9"  # which block captioners look at where the features are of an earlier one

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

_training_option = partial(option, group="training")


@dataclass(frozen=True)
class PresenceOptions:
    """Settings of the word-presence head; see `training.fitting.presence`.

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


def _by_model(name: str) -> str:
    """The default of a setting that `DEFAULTS` has, in words."""
    values = {model: defaults[name] for model, defaults in DEFAULTS.items()}
    if len(set(values.values())) == 1:
        return f"{values['attention']:g}"
    return ", ".join(f"{value:g} for {model}" for model, value in values.items())


def _dropout(name: str, of: str) -> Any:
    return option(f"dropout rate of {of}", "RATE", share_below_one, default_text=_by_model(name), group="training")


@dataclass(frozen=True)
class TrainOptions:
    """Settings of `captionbeam train`; where one is None, what `DEFAULTS` has for the model, or what
    `training.fitting.encoder_tail.with_default_tail` says.

    Attributes that are no options of the command:
      embedding_size, hidden_size: of the model.
      min_count: how often a word must occur in the training captions to be learnt.
      max_words: longer captions are cut.
      weight_decay: of AdamW.
      patience: epochs without a better CIDEr on the validation pictures before training stops.
      checkpoint_steps: steps between checkpoints.
      self_critical_rate: learning rate at the start of the second stage; see `training.fitting.self_critical`.
      tail_rate: peak learning rate of the tail.
      tail_warm_up: share of the first stage before the tail learns.
      word_loss: weight of the tail's second loss, see `training.fitting.trainer.WordLoss`.
      presence: of the word-presence head.
    """

    # The order of the keys in `config.json`; a key that an earlier captionbeam did not write counts as its
    # default, and a missing tail as none.
    features: str = option("feature set that extract made with --captions", "FEATURES")
    output: str = option("directory to write the captioner to", "CAPTIONER", folder)
    model: str = option(
        "attention looks at the cells of the 8x8 feature grid, merge at their mean",
        choices=tuple(DEFAULTS),
        default="attention",
    )
    glove: str | None = option(
        "GloVe vectors in text form, to start the word embeddings from", "FILE", default_text="random embeddings"
    )
    train_list: str | None = option(
        "names of the pictures to train on, one per line", "FILE", default_text="all but the validation pictures"
    )
    dev_list: str | None = option(
        "names of the validation pictures, one per line; they decide which epoch is the best",
        "FILE",
        default_text="one picture in ten, at most about 2000, chosen by content",
    )
    epochs: int | None = option("maximum number of epochs", "N", positive, default_text=_by_model("epochs"))
    seed: int = option("random seed", "N", whole, default=0)
    batch_size: int | None = _training_option(
        "pictures in a batch, each with all its captions", "N", positive, default_text=_by_model("batch_size")
    )
    embedding_size: int = 128
    hidden_size: int = 512
    min_count: int = 5
    max_words: int = 16
    learning_rate: float | None = _training_option(
        "peak learning rate", "X", above_zero, default_text=_by_model("learning_rate")
    )
    feature_dropout: float | None = _dropout("feature_dropout", "the projected features")
    word_dropout: float | None = _dropout("word_dropout", "the word embeddings")
    output_dropout: float | None = _dropout("output_dropout", "the last hidden layer")
    position_dropout: float | None = _dropout("position_dropout", "the cells of the 8x8 grid (attention only)")
    weight_decay: float = 0.01
    label_smoothing: float = _training_option(
        "share of the target probability that is spread over the vocabulary", "SHARE", share_below_one, default=0.1
    )
    averaging: float = _training_option(
        "decay of the running average of the weights; 0 for no average", "DECAY", share_below_one, default=AVERAGING
    )
    patience: int = 4
    checkpoint_steps: int = 100
    self_critical_epochs: int | None = option(
        "maximum number of further epochs that reward sampled captions by their CIDEr; 0 for none",
        "N",
        natural,
        default_text=_by_model("self_critical_epochs"),
    )
    self_critical_rate: float = 5e-5
    tail: str | None = _training_option(
        "last block of the encoder to train with the captioner, after the block that gave the features; none: train no "
        "block",
        choices=(*TAIL_LAYERS, NO_TAIL),
        default_text=f"{TAIL_LAYER} for attention, if the features are of an earlier block; else {NO_TAIL}",
    )
    tail_rate: float = 3e-4
    tail_warm_up: float = 0.15
    word_loss: float = 0.2
    presence: PresenceOptions = field(default_factory=PresenceOptions)


def with_defaults(options: TrainOptions) -> TrainOptions:
    """Fills in what is None with what the model learns best with; the tail depends on the features too."""
    missing = {name: value for name, value in DEFAULTS[options.model].items() if getattr(options, name) is None}
    return replace(options, **missing)


captioner_option = partial(
    option,
    "directory that train made",
    "CAPTIONER",
    one_of="captioner",
    alias=Alias(
        "--ensemble",
        "several captioners that work together: their predictions of the next word are averaged",
        "A,B,...",
    ),
)


@dataclass(frozen=True, kw_only=True)
class DecodingOptions:
    """What `evaluate` and `caption` alike let a user say of the search for captions."""

    beam_width: int | None = option(
        "number of hypotheses that the beam search keeps",
        "N",
        positive,
        default_text=f"{JUDGED_BEAM_WIDTH} if a judge chooses among them, else {BEAM_WIDTH}",
        group="captions",
    )
    judge: str | None = option(
        "what chooses the caption among the hypotheses of the beam search; none: take the likeliest one",
        choices=(NO_JUDGE,),
        default_text="the captioner's judge, if it has one",
        group="captions",
    )
    min_words: int | None = option(
        "minimum number of words in a caption",
        "N",
        positive,
        default_text="the length that four in five training captions reach",
        group="captions",
    )
    guidance: float | None = option(
        "how strongly to prefer words that the word-presence head sees in the picture, 0 to 10; 0 for not at all",
        "WEIGHT",
        weight,
        default_text=f"{GUIDANCE:g} if the captioner has such a head",
        group="captions",
    )


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(DecodingOptions):
    """Settings of `captionbeam evaluate`; either captioner or captions is given."""

    captioner: str | None = captioner_option(default=None)
    captions: str | None = option(
        'captions made elsewhere, in the COCO results format: [{"image_id": name, "caption": ...}, ...]',
        "FILE.json",
        one_of="captioner",
        default=None,
    )
    features: str = option("feature set that contains the pictures of the split and their captions", "FEATURES")
    list: str = option("names of the pictures to score, one per line", "FILE")
    output: str = option("directory to write scores.json and captions.json to", "DIR", folder)
    train_list: str | None = option(
        "names of the training pictures, one per line, for the baselines that need them",
        "FILE",
        default_text="those that the captioner was trained on",
    )
    all_protocols: bool = option("also score the same captions by other evaluation protocols", default=False)
    words: bool = option(
        "also estimate which words people would use for each picture, and score the estimates; "
        "writes estimates*.jsonl and word_fidelity.json",
        default=False,
    )

    def __post_init__(self) -> None:
        """Raises UserError if options contradict each other."""
        if (self.captioner is None) == (self.captions is None):
            raise UserError("evaluate: give either --captioner, to score its captions, or --captions made elsewhere")
        if self.captions and (self.beam_width, self.judge, self.min_words, self.guidance) != (None,) * 4:
            raise UserError(
                "--beam-width, --judge, --min-words and --guidance go with --captioner; the captions of --captions "
                "exist already"
            )
        if self.words and not self.captioner:
            raise UserError("--words goes with --captioner; the captions of --captions say nothing of other words")
