import json
import os
from pathlib import Path

import pytest

from beam_pipeline.commands.verify import verify
from beam_pipeline.options.directories import VerifyOptions
from beam_pipeline.shards.shard_id import ShardId
from training.errors import JobFailed, UserError
from training.own_names import MANIFEST


@pytest.mark.parametrize("chosen", [1.0, 7, 0])
def test_what_is_as_it_was_made_is_verified(made, times_of, load, capsys, chosen):
    compared = 20 if chosen == 1.0 else chosen
    for name, options in (
        ("features", {"weights": made.weights}),
        ("captions", {"captioner": made.captioner, "weights": made.weights}),
        ("of_features", {"captioner": made.captioner, "features": str(made.root / "features")}),
    ):
        before = times_of(made.root / name)
        found = verify(VerifyOptions(str(made.root / name), chosen, **options), load)
        assert (found.compared, found.identical, found.gone) == (compared, compared, 0)
        printed = capsys.readouterr().out
        assert printed.count("\n") == 1 and printed.endswith("; nothing is wrong\n")
        assert times_of(made.root / name) == before


def test_pictures_that_are_gone_are_no_error(made, copy, load, capsys, monkeypatch):
    directory = copy("features")
    first = made.photos / "05.jpg"
    monkeypatch.setattr("beam_pipeline.inputs.reader.stat_file", lambda uri: _gone(uri, str(first)))
    found = verify(VerifyOptions(str(directory), 1.0, weights=made.weights), load)
    assert (found.compared, found.gone) == (19, 1)


def _gone(uri, which):
    from beam_pipeline.inputs.sources import stat_file

    if uri == which:
        raise FileNotFoundError(uri)
    return stat_file(uri)


@pytest.fixture
def problems(capsys, load):
    """Verifies a directory that is not as it should be; gives the lines that say so."""

    def problems(options: VerifyOptions, load=load) -> str:
        with pytest.raises(JobFailed, match=r"; \d+ problems?$"):
            verify(options, load)
        return capsys.readouterr().out

    return problems


def test_another_feature_is_found(made, problems, load):
    class OtherColour:
        def encode(self, pixels):
            return load(None).encode(pixels)[:, ::-1]

    options = VerifyOptions(str(made.root / "features"), 3, weights=made.weights)
    printed = problems(options, lambda spec: OtherColour())
    assert printed.count("its feature differs from the stored one (cosine 0.0000)") == 3


def test_another_caption_is_found(made, copy, edit_captions, problems):
    directory = copy("captions")
    edit_captions(directory, lambda rows: [{**row, "caption": "something else"} for row in rows])
    options = VerifyOptions(str(directory), 2, captioner=made.captioner, weights=made.weights)
    assert problems(options).count('"something else" is stored') == 2


def damage_one_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("output", "name", "damage", "expected"),
    [
        ("features", ShardId(1, 1, 5).features(), damage_one_byte, "its checksum is not that of the manifest"),
        ("features", ShardId(1, 1, 5).features(), os.remove, "is missing"),
        ("features", ShardId(1, 1, 5).ledger(), os.remove, "is missing"),
        ("captions", ShardId(1, 0, 1).captions(), os.remove, "cannot be read (no such file or directory)"),
        ("captions", ShardId(1, 0, 1).words(), os.remove, "is missing; run captionbeam caption again"),
        (
            "captions",
            ShardId(1, 0, 1).captions(),
            lambda path: path.write_text(""),
            "0 captions, but 20 by its summary",
        ),
    ],
)
def test_damage_is_found(copy, problems, output, name, damage, expected):
    directory = copy(output)
    damage(directory / name)
    assert expected in problems(VerifyOptions(str(directory), 0))


def test_a_picture_that_is_stored_twice_is_found(copy, edit_captions, problems):
    directory = copy("captions")
    edit_captions(directory, lambda rows: [rows[0], *rows])
    assert "stores 1 picture twice" in problems(VerifyOptions(str(directory), 0))


def test_totals_that_do_not_add_up_are_found(copy, problems, edit_document):
    directory = copy("features")
    totals = json.loads((directory / MANIFEST).read_text())["totals"]
    edit_document(directory / MANIFEST, totals={**totals, "listed": totals["listed"] + 1})
    assert "the totals do not add up: 23 inputs listed, 22 accounted for" in problems(VerifyOptions(str(directory), 0))


def test_other_weights_are_refused(made, load, tmp_path):
    other = tmp_path / "other.h5"
    other.write_bytes(b"\x89HDF\r\n\x1a\nother")
    with pytest.raises(UserError, match="made with InceptionV3"):
        verify(VerifyOptions(str(made.root / "features"), 1, weights=str(other)), load)


@pytest.mark.parametrize(
    ("output", "options", "message"),
    [
        ("captioner", {}, "a captioner cannot be verified"),
        ("captions", {}, "give --captioner to caption a sample again, or --sample 0 to check only the files"),
        ("of_features", {"captioner": "captioner"}, "give --captioner and --features"),
    ],
)
def test_what_is_not_given_is_asked_for(made, output, options, message):
    with pytest.raises(UserError, match=message):
        verify(VerifyOptions(str(made.root / output), **options))
