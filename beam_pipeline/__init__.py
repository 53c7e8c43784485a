"""Beam pipelines around the captioner: extract features, caption collections, count the words that matter.

In somebody's own pipeline: `from beam_pipeline import CaptionImages, ExtractFeatures` (see `transforms.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from beam_pipeline.transforms import Captioned, CaptionImages, ExtractFeatures, Feature

__all__ = ["CaptionImages", "Captioned", "ExtractFeatures", "Feature"]


def __getattr__(name: str) -> Any:
    """Imports the transforms, and with them Beam and TensorFlow, when they are asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from beam_pipeline import transforms

    return getattr(transforms, name)
