"""What looks at results, or answers `--help`, must not wait for TensorFlow: these modules load without it."""

import subprocess
import sys

import pytest

LIGHT = (
    "training.errors",
    "training.options",
    "training.files",
    "training.storage",
    "training.data.caption_files",
    "training.data.feature_set",
    "training.data.splits",
    "training.text.glove",
    "training.text.vocabulary",
    "training.text.word_counts",
    "training.text.word_evidence",
    "training.text.words",
    "training.models.captioner_files",
    "training.models.flags",
    "training.fitting.state",
)
HEAVY = ("tensorflow", "keras", "apache_beam", "scipy", "h5py")


def loaded(statements: str) -> list[str]:
    """Heavy modules that a new Python has loaded after these statements."""
    code = f"import sys\n{statements}\nprint(*sorted(set(sys.modules) & {set(HEAVY)}))"
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()


@pytest.fixture(scope="module")
def alone():
    """Heavy modules that Python loads by itself, for a coverage tool or the like."""
    return loaded("")


def test_all_light_modules_load_without_tensorflow_keras_or_beam(alone):
    assert loaded("\n".join(f"import {module}" for module in LIGHT)) == alone


def test_a_local_directory_is_read_without_tensorflow(alone, pooled_features, tiny_captioner):
    captioner = tiny_captioner()
    statements = f"""
from training.data.feature_set import load_feature_set
from training.fitting.state import TrainingState, read_state
from training.models.captioner_files import read_config
from training.text.vocabulary import load_vocabulary
from training.text.word_counts import load_word_counts
assert len(load_feature_set({pooled_features.path!r}).shard_paths()) == 3
assert read_config({captioner.path!r}).max_words == 8
assert len(load_vocabulary({captioner.path!r}).words) == 7
assert load_word_counts({captioner.path!r}) is None
assert read_state({captioner.path!r}) is None
TrainingState(epoch=2).save({captioner.path!r})
assert read_state({captioner.path!r}).epoch == 2
"""
    assert loaded(statements) == alone


def test_the_package_alone_loads_nothing(alone):
    assert loaded("import training") == alone
