"""Fixtures for tests of Beam code.

local_pipeline  makes a TestPipeline on Beam's local runner, for `with`
made_captioner, captioner
                an untrained captioner of features such as `run_extract` makes; returns its directory, of all tests or
                of one alone
hostile_folder  a folder of modules that say when they are executed, as anybody may put where a command is called
split_outputs   what a function yields -> (elements, {name: sum of counts}, notes)
"""

import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from apache_beam.pvalue import TaggedOutput
from apache_beam.testing.test_pipeline import TestPipeline

from beam_pipeline.encoders.base import EncoderRequest
from beam_pipeline.encoders.registry import resolve_encoder
from beam_pipeline.runtime.counts import COUNTS
from training.models.caption_models import ModelConfig, build_model
from training.models.captioner import save_weights, write_config
from training.text.vocabulary import Vocabulary

LOCAL = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"


HOSTILE = """
    json pickle struct threading subprocess signal ctypes logging importlib multiprocessing site sitecustomize
    usercustomize encodings numpy PIL pillow_heif pyexiv2 vl_convert apache_beam grpc tensorflow keras
    beam_pipeline/__init__ training/__init__
"""


@pytest.fixture
def hostile_folder(tmp_path):
    """A folder with modules of the names that our processes import; its attribute `executed` lists those that ran."""
    folder = tmp_path / "hostile"
    ran = tmp_path / "executed"
    ran.touch()
    for name in HOSTILE.split():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"with open({str(ran)!r}, 'a') as file:\n    file.write(__file__ + '\\n')\n")
    return SimpleNamespace(path=folder, executed=lambda: ran.read_text().split())


@pytest.fixture
def local_pipeline():
    return lambda **settings: TestPipeline(runner=LOCAL, **settings)


@pytest.fixture
def split_outputs():
    def split(outputs):
        main, counts, notes = [], Counter(), []
        for output in outputs:
            if not isinstance(output, TaggedOutput):
                main.append(output)
            elif output.tag == COUNTS:
                name, number = output.value
                counts[name] += number
            else:
                notes.append(output.value)
        return main, counts, notes

    return split


def write_captioner(path: Path, encoder, words: list[str]) -> str:
    """An untrained captioner: its captions mean nothing, but they depend on the picture."""
    path.mkdir()
    vocabulary = Vocabulary(tuple(words))
    config = ModelConfig("merge", len(vocabulary), embedding_size=8, hidden_size=16)
    model = build_model(config, (2048,))
    save_weights(model, str(path))
    write_config(str(path), config, encoder, 6, 1, {})
    vocabulary.save(str(path / "vocabulary.txt"))
    return str(path)


@pytest.fixture(scope="session")
def made_captioner(tmp_path_factory, stand_in_weights):
    """Of features such as `run_extract` makes; never written to."""
    folder = tmp_path_factory.mktemp("made")
    request = EncoderRequest(str(stand_in_weights), "pooled", "mixed9", "float32")
    spec = resolve_encoder(request, str(folder), lambda: np.zeros(0))
    return write_captioner(
        folder / "captioner", spec.identity, ["red", "green", "blue", "dog", "cat", "runs", "jumps", "sits"]
    )


@pytest.fixture
def captioner(tmp_path, made_captioner):
    return str(shutil.copytree(made_captioner, tmp_path / "captioner"))
