"""Fixtures for all tests. The tests run on data that they make; real data is used where `CAPTIONBEAM_DATA` has it."""

from __future__ import annotations

import os
from pathlib import Path

# Before TensorFlow is imported anywhere: only errors in the log, no GPU (results must not depend on one), and with
# several pytest processes one thread each, or they would fight for the cores.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
if "PYTEST_XDIST_WORKER" in os.environ:
    for variable in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(variable, "1")

import pytest
from hypothesis import HealthCheck, settings

REPOSITORY = Path(__file__).resolve().parent.parent

# A loaded machine is slow, not wrong; examples come in the same order everywhere, so a failure in CI is one here too.
settings.register_profile("captionbeam", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("captionbeam")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Directory with Flickr8k, GloVe, weights and awkward files; the test is skipped where there is none."""
    path = Path(os.environ.get("CAPTIONBEAM_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (path / "flickr8k").is_dir():
        pytest.skip(f"needs Flickr8k and the other real data, not in {path}; CAPTIONBEAM_DATA names another directory")
    return path
