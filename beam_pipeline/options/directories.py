"""The options of the commands that look at a directory: `status`, `inspect`, `verify`."""

from __future__ import annotations

from dataclasses import dataclass

from beam_pipeline.options.limits import DEFAULT_DECODE_LIMITS, DecodeLimits
from training.option_fields import count_or_share, option

_SAMPLE = 0.01


@dataclass(frozen=True)
class StatusOptions:
    """Settings of `captionbeam status`."""

    directory: str = option("feature set, captions or captioner, finished or not", "DIR", positional=True)


@dataclass(frozen=True)
class InspectOptions:
    """Settings of `captionbeam inspect`."""

    directory: str = option("feature set, captions or captioner", "DIR", positional=True)
    picture: str | None = option(
        "show this picture of a feature set or of captions: its file name, its address or the beginning of its sha256",
        "PICTURE",
        positional=True,
        default=None,
    )
    json: bool = option("print one JSON document, for other programs", default=False)


@dataclass(frozen=True)
class VerifyOptions:
    """Settings of `captionbeam verify`.

    Attributes that are no options of the command:
      decode_limits: what one picture may cost.
    """

    directory: str = option("feature set or captions", "DIR", positional=True)
    sample: float | int = option(
        "how many pictures to compute again, a number or a percentage; 0 for none; their content decides which",
        "N|P%",
        count_or_share,
        default_text=f"{_SAMPLE:.0%}",
        default=_SAMPLE,
    )
    captioner: str | None = option(
        "captioner that made the captions; A,B,... for an ensemble", "CAPTIONER", default=None
    )
    features: str | None = option(
        "feature set that the captions were made from, if they were made from one", "FEATURES", default=None
    )
    weights: str | None = option(
        "encoder weights", "imagenet|PATH", default_text="those that the directory was made with"
    )
    decode_limits: DecodeLimits = DEFAULT_DECODE_LIMITS
