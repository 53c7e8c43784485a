import os
import shutil
import time

import numpy as np
import pytest

from training.scoring.java_metrics import java_statistics, meteor, spice
from training.scoring.scores import CaptionSet, caption_set, scores_of

REFERENCES = {
    "a.jpg": ["a dog runs on the beach", "the dog is running over sand", "a brown dog by the sea"],
    "b.jpg": ["two children play football", "children with a ball in a park"],
    "c.jpg": ["a man rides a red bicycle down the street"],
}
GENERATED = {"a.jpg": "a dog runs over the beach", "b.jpg": "two children in a park", "c.jpg": "a man on a street"}
ROWS = {"one": caption_set(GENERATED, REFERENCES), "two": caption_set({"b.jpg": "a park"}, REFERENCES)}
JAVA = shutil.which("java")


@pytest.fixture
def fake_java(monkeypatch, tmp_path):
    """Function (shell line) -> a program `java` that does this, found first."""

    def make(line):
        (tmp_path / "java").write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / "java").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return make


@pytest.fixture
def spice_folder(tmp_path):
    """A folder with empty files where SPICE's needs are."""
    (tmp_path / "spice" / "lib").mkdir(parents=True)
    for name in ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar"):
        (tmp_path / "spice" / "lib" / name).touch()
    return tmp_path / "spice"


@pytest.mark.usefixtures("no_java")
def test_without_java_both_are_left_out_with_the_reason():
    why = "it needs Java, and none was found"
    assert java_statistics(ROWS) == ({"one": [], "two": []}, {"METEOR": why, "SPICE": why})


def test_a_meteor_program_that_hangs_is_ended(fake_java):
    fake_java("exec sleep 100")
    began = time.monotonic()
    assert meteor(ROWS, limit_s=0.5) == ({}, "its Java program did not answer within 0.5 s")
    assert time.monotonic() - began < 50


@pytest.mark.parametrize("line", ["exit 1", "read line; echo nonsense; read line; exit 1", "read line; echo 1.0 2.0"])
def test_a_meteor_program_that_fails_is_left_out(fake_java, line):
    fake_java(line)
    found, why = meteor(ROWS)
    assert found == {} and why.startswith("its Java program failed (") and "\n" not in why


@pytest.mark.slow
@pytest.mark.skipif(JAVA is None, reason="needs Java")
def test_meteor_is_what_its_own_program_gives_in_sum():
    from pycocoevalcap.meteor.meteor import Meteor

    generated = {**GENERATED, "b.jpg": REFERENCES["b.jpg"][0], "d.jpg": "", "e.jpg": "kids playing soccer"}
    references = {**REFERENCES, "d.jpg": ["a cat"], "e.jpg": ["children play football", "kids"]}
    rows = {
        "mixed": caption_set(generated, references),
        "perfect": caption_set({"c.jpg": REFERENCES["c.jpg"][0]}, REFERENCES),
    }
    found, why = meteor(rows)
    assert why == ""
    for name, row in rows.items():
        (theirs, _) = Meteor().compute_score(row.references, row.hypotheses)
        assert scores_of([found[name]])["METEOR"] == pytest.approx(theirs, rel=1e-12)
    assert found["mixed"].values.shape == (5, 23)
    # Captions drawn again and again, as the bootstrap does, are what the program gives for them.
    times = [2, 3, 0, 1, 1]
    drawn = [name for name, count in zip(sorted(generated), times, strict=True) for _ in range(count)]
    again = CaptionSet(
        {str(number): rows["mixed"].hypotheses[name] for number, name in enumerate(drawn)},
        {str(number): rows["mixed"].references[name] for number, name in enumerate(drawn)},
    )
    (theirs, _) = Meteor().compute_score(again.references, again.hypotheses)
    assert found["mixed"].metric(np.array(times) @ found["mixed"].values) == pytest.approx([theirs], rel=1e-12)


@pytest.mark.skipif(JAVA is None, reason="needs Java")
def test_spice_is_left_out_where_its_parser_is_not_installed(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", os.path.dirname(JAVA))
    found, why = spice(ROWS, folder=tmp_path)
    assert found == {} and why.startswith("it needs stanford-corenlp-3.6.0.jar and ") and str(tmp_path) in why


def test_spice_is_the_mean_over_the_pictures_of_each_row(fake_java, spice_folder):
    scores = {"0 a.jpg": 0.5, "0 b.jpg": 0.25, "0 c.jpg": "NaN", "1 b.jpg": 1.0}
    answer = ", ".join(f'{{"image_id": "{name}", "scores": {{"All": {{"f": {f}}}}}}}' for name, f in scores.items())
    fake_java(f'while [ "$1" != -out ]; do shift; done; echo \'[{answer}]\' > "$2"')
    found, why = spice(ROWS, spice_folder)
    assert why == ""
    assert {name: scores_of([one]) for name, one in found.items()} == {"one": {"SPICE": 0.25}, "two": {"SPICE": 1.0}}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("echo no memory >&2; exit 3", "its Java program failed (no memory)"),
        ("exit 3", "its Java program failed (status 3)"),
        ("exit 0", "its Java program gave no scores (FileNotFoundError"),
        ("exec sleep 100", "its Java program did not end within 1 s"),
        ('while [ "$1" != -out ]; do shift; done; echo [] > "$2"', "its Java program gave no scores (KeyError"),
    ],
)
def test_a_spice_program_that_fails_is_left_out(fake_java, spice_folder, line, said):
    fake_java(line)
    found, why = spice(ROWS, spice_folder, limit_s=1)
    assert found == {} and why.startswith(said) and "\n" not in why
