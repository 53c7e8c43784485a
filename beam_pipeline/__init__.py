"""Beam pipelines around the captioner: extract features, caption collections, count the words that matter.

In somebody's own pipeline: `from beam_pipeline import CaptionImages, ExtractFeatures` (see `transforms.py`).
"""

from __future__ import annotations

import importlib.util
import os
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


def _refuse_another_training() -> None:
    """Raises ImportError where `training` would be another module, such as one beside the user's script."""
    spec = importlib.util.find_spec("training")
    if spec is None:
        return
    folders = spec.submodule_search_locations or [spec.origin or ""]  # a package's, else the module's own file
    ours = os.path.join(os.path.dirname(os.path.dirname(__file__)), "training")
    if os.path.realpath(ours) not in map(os.path.realpath, folders):
        raise ImportError(
            f"{next(iter(folders))} hides captionbeam's package training; rename it, or run from another folder",
            name=__name__,
        )


_refuse_another_training()
