"""What one input file may cost, and who decodes it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DecodeLimits:
    """What decoding one picture may cost, and which function decodes it.

    Attributes:
      max_bytes: size of a file.
      max_megapixels: pixels / 10**6 when decoded; with the size of the file it bounds the memory of a decoder.
      max_seconds: processor time to decode it; ten times as many seconds by the clock.
      views: further views of every picture, see `images.decode_image`.
      decoder: `module:function` of (bytes, max_megapixels, views) -> DecodedImage.
    """

    max_bytes: int = 256 << 20
    max_megapixels: float = 100
    max_seconds: float = 30.0
    views: int = 0
    decoder: str = "beam_pipeline.images.decode:decode_image"


DEFAULT_DECODE_LIMITS = DecodeLimits()
