"""The options of `captionbeam caption`."""

from __future__ import annotations

from dataclasses import dataclass

from beam_pipeline.options.collection import CollectionOptions, images_option
from training.errors import UserError
from training.option_fields import folder, natural, option, share
from training.options import JUDGED_BEAM_WIDTH, DecodingOptions, captioner_option


@dataclass(frozen=True)
class CaptionOptions(DecodingOptions, CollectionOptions):
    """Settings of `captionbeam caption`; exactly one of images and features is given.

    `report` is off where Python code asks for captions, and on in the command.
    """

    captioner: str = captioner_option(
        when_missing="give --captioner, a directory that `captionbeam train` made; captionbeam ships none: train one "
        "on images with captions, as docs/tutorials/flickr8k.md shows, or use one that others trained with captionbeam"
    )
    output: str = option("directory to write the captions, the ledger and word_importance.csv to", "DIR", folder)
    images: str | tuple[str, ...] | None = images_option(one_of="source", default=None)
    features: str | None = option(
        "feature set that extract made, instead of pictures", "FEATURES", one_of="source", default=None
    )
    alternatives: int = option(
        "number of next best captions to write beside each caption, less than the beam width",
        "K",
        natural,
        group="captions",
        default=0,
    )
    min_confidence: float | None = option(
        "flag the captions that a person would accept with a lower probability, and leave them out of exports; "
        "their words are counted all the same",
        "P",
        share,
        default_text="flag none",
        group="captions",
    )
    reference: str | None = option(
        "captions by the same captioner to compare the words with",
        "DIR",
        default_text="the captions that it was trained on",
    )
    weights: str | None = option(
        "encoder weights", "imagenet|PATH", default_text="those that the captioner was trained with"
    )
    report: bool = option("write no report.html; captionbeam report can do it later", flag="--no-report", default=False)

    def __post_init__(self) -> None:
        """Raises UserError if options contradict each other."""
        if bool(self.images) == bool(self.features):
            raise UserError("caption: give either --images or --features")
        if self.features and self.exclude:
            raise UserError("--exclude: goes with --images; of a feature set, every picture is captioned")
        require_alternatives(self.alternatives, self.beam_width or JUDGED_BEAM_WIDTH)


def require_alternatives(alternatives: int, beam_width: int) -> None:
    """Raises UserError if a search of this width does not end with so many captions beside the best one."""
    if alternatives >= beam_width:
        raise UserError(
            f"--alternatives {alternatives}: --beam-width {beam_width} gives at most {beam_width - 1} beside the best "
            "caption; raise --beam-width"
        )
