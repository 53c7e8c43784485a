"""What one input file may cost, and who decodes it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from training.option_fields import above_zero, option, positive

_MAX_BYTES = 256 << 20

_limit = partial(option, group="limits")


@dataclass(frozen=True)
class DecodeLimits:
    """What decoding one picture may cost, and which function decodes it.

    Attributes that are no options of the commands:
      views: augmented views of every picture, see `images.decode.decode_image`.
      decoder: `module:function` of (bytes, max_megapixels, views) -> DecodedImage.
    """

    max_bytes: int = _limit(
        "reject files that have more bytes",
        "N",
        positive,
        default_text=f"{_MAX_BYTES}, which is {_MAX_BYTES >> 20} MiB",
        default=_MAX_BYTES,
    )
    max_megapixels: float = _limit(
        "reject pictures that have more megapixels; this also limits the memory of a decoder",
        "N",
        above_zero,
        default=100,
    )
    max_seconds: float = _limit(
        "reject pictures that take more seconds of processor time to decode, or ten times as many by the clock",
        "S",
        above_zero,
        default=30,
    )
    views: int = 0
    decoder: str = "beam_pipeline.images.decode:decode_image"


DEFAULT_DECODE_LIMITS = DecodeLimits()
