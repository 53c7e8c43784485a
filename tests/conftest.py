"""What all tests share: a quiet TensorFlow, and the development data where it is."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Directory with Flickr8k, GloVe, InceptionV3 weights and awkward images; skips where it is not."""
    given = os.environ.get("CAPTIONBEAM_DATA")
    path = Path(given) if given else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not (path / "flickr8k").is_dir():
        pytest.skip(f"no development data in {path}; CAPTIONBEAM_DATA names its place")
    return path
