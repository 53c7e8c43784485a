"""Fixtures for all tests. The tests run on data that they make; real data is used where `CAPTIONBEAM_DATA` has it."""

from __future__ import annotations

import gc
import json
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

# Of the files that take longest, the longest first: at the end of a run on two cores they would have one to themselves.
LONG = (
    "test_object_store.py",
    "test_flink.py",
    "test_train.py",
    "test_demo.py",
    "test_interrupts.py",
    "test_caption_images.py",
    "test_kill.py",
    "test_progress.py",
    "test_engines.py",
)


def pytest_collection_modifyitems(items):
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONG)))


def pytest_collection_finish():
    """Beam and TensorFlow are imported and stay: a million objects that no garbage collection need look at again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Directory with Flickr8k, GloVe, weights and awkward files; the test is skipped where there is none."""
    path = Path(os.environ.get("CAPTIONBEAM_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (path / "flickr8k").is_dir():
        pytest.skip(f"needs Flickr8k and the other real data, not in {path}; CAPTIONBEAM_DATA names another directory")
    return path


def files_of(directory: str, whole: bool = False) -> dict[str, bytes]:
    """Directory -> {relative path: content}, without the lock.

    Args:
      whole: as they are; else without what tells how the job went and not what it made: how many inputs the last
        run did, TensorBoard's log, and the checkpoints, whose numbers go on.
    """
    found = {}
    for path in sorted(Path(directory).rglob("*")):
        name = path.relative_to(directory).as_posix()
        if not path.is_file() or name == ".lock":
            continue
        if not whole and name.split("/")[0] in ("log", "checkpoint"):
            continue
        content = path.read_bytes()
        if not whole and name in ("manifest.json", "summary.json"):
            document = json.loads(content)
            totals = {key: n for key, n in document["totals"].items() if not key.startswith("new_")}
            content = json.dumps({**document, "totals": totals}).encode()
        found[name] = content
    return found


@pytest.fixture(scope="session", name="files_of")
def files_of_fixture():
    return files_of


# A skip in a run that must skip nothing is a failure: .ci/run sets the variable.
NOTHING_SKIPPED = bool(os.environ.get("CAPTIONBEAM_REQUIRE_ALL"))
MAY_BE_MISSING = (
    "needs Flickr8k and the other real data",
    "needs datasets, which is not among the extras",
    "needs exiftool",  # comes from the system
    "needs chromium",  # likewise
    "root may read everything",
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    return _without_skips((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    return _without_skips((yield))


def _without_skips(report):
    if NOTHING_SKIPPED and report.skipped and not hasattr(report, "wasxfail") and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2]
        if not any(missing in reason for missing in MAY_BE_MISSING):
            report.outcome = "failed"
            report.longrepr = f"{reason} (CAPTIONBEAM_REQUIRE_ALL is set: no test may be skipped)"
    return report
