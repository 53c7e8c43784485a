import json

import pytest

from beam_pipeline.commands.verify_captions import verify_captions
from beam_pipeline.commands.verify_findings import Findings
from beam_pipeline.options.directories import VerifyOptions


@pytest.fixture
def verify(results, good):
    """Verifies the files of captions of two pictures, none captioned again, after a change: (in words, problems)."""

    def run(change=lambda directory: None):
        one, two = sorted(good.iterdir())[:2]
        directory = results({one: "a red circle", two: "a blue square"})
        change(directory)
        summary = json.loads((directory / "summary.json").read_text())
        findings = Findings()
        found = verify_captions(VerifyOptions(str(directory), sample=0), summary, findings, load=None)
        return found, findings.problems

    return run


def test_captions_that_are_whole_have_no_problems(verify):
    assert verify() == ("1 shard with 2 captions", [])


def test_captions_that_cannot_be_read_are_named_with_the_way_to_repair_them(verify):
    def damage(directory):
        (directory / "captions-0001-00000-of-00001.jsonl").write_text("{")

    found, problems = verify(damage)
    assert found == "1 shard with 0 captions"
    assert "captions-0001-00000-of-00001.jsonl: " in problems[0]
    assert "caption command again, which makes its shard again" in problems[0] or "remove ledger-0001" in problems[0]


def test_missing_word_statistics_are_found(verify):
    _, problems = verify(lambda directory: (directory / "words-0001-00000-of-00001.jsonl").unlink())
    assert [problem.partition(": ")[2] for problem in problems] == ["is missing; run captionbeam caption again"]
