import json
from pathlib import Path

import numpy as np
import pytest

from training.data.dataset import pictures_of
from training.errors import UserError
from training.evaluate import evaluate
from training.models.presence import head_inputs
from training.options import EvaluateOptions
from training.scoring.word_estimates import NO_HEAD, read_estimates
from training.scoring.word_fidelity import People, fidelity

pytestmark = pytest.mark.usefixtures("no_java")

WORDS = ("a", "dog", "cat", "horse", "runs", "on", "the", "beach", "street")
KINDS = ("combined", "said", "expected", "presence", "grounding")


@pytest.fixture
def call(tmp_path, pooled_features):
    def run(captioner, **options):
        evaluate(
            EvaluateOptions(
                features=pooled_features.path,
                list=str(Path(pooled_features.path) / "dev.txt"),
                train_list=options.pop("train_list", str(Path(pooled_features.path) / "train.txt")),
                output=str(tmp_path / "out"),
                captioner=captioner.path,
                words=True,
                **options,
            )
        )
        return json.loads((tmp_path / "out" / "word_fidelity.json").read_text())

    return run


def estimates_of(tmp_path, kind):
    name = "estimates.jsonl" if kind == "combined" else f"estimates_{kind}.jsonl"
    return dict(read_estimates(str(tmp_path / "out" / name)))


def test_every_kind_of_evidence_is_written_and_measured(call, tmp_path, capsys, tiny_captioner, give_head):
    captioner = give_head(tiny_captioner(words=WORDS, end_bias=2.0), words=("dog", "beach", "runs"), rare={"yak": 0.25})
    document = call(captioner)
    # Six dev pictures, each with two captions; dog, cat and horse are in four captions each, too few to be measured.
    assert (document["pictures"], document["words"], document["themes"]) == (6, 3, [])
    assert list(document["rows"]) == [*KINDS, "training_frequencies", "human_caption_0", "human_caption_1"]
    assert document["rows_left_out"] == {}
    captions = {row["image_id"]: row["caption"] for row in json.loads((tmp_path / "out" / "captions.json").read_text())}
    said = estimates_of(tmp_path, "said")
    assert said.keys() == captions.keys() and len(said) == 6
    for name, caption in captions.items():
        assert said[name] == {word: 1.0 for word in caption.split() if word not in ("a", "on", "the")}
    assert all(one["yak"] == 0.25 for one in estimates_of(tmp_path, "presence").values())
    people = People({name: [f"a {a} runs on the {b}"] * 2 for name in captions for a, b in [name.split("-")[:2]]})
    for kind in KINDS:
        matrix = np.stack([people.row(estimates_of(tmp_path, kind)[name]) for name in people.names])
        assert document["rows"][kind] == fidelity(people, matrix), kind
    # All captions of a picture say the same, so a person agrees with the other.
    assert document["rows"]["human_caption_1"]["picture_average_precision"] == 1.0
    assert document["rows"]["training_frequencies"]["never_named"] == 0.0
    printed = capsys.readouterr().out
    assert "Words: 3 used by people, 0 themes" in printed and "training_frequencies" in printed


def test_presence_in_the_file_is_what_the_head_says(call, tmp_path, tiny_captioner, give_head, pooled_features):
    captioner = give_head(tiny_captioner(words=WORDS), words=("dog", "beach"))
    call(captioner)
    written = estimates_of(tmp_path, "presence")
    for picture, feature in pictures_of(pooled_features, lambda *_: True):
        name = Path(picture.uris[0]).name
        if name in written:
            dog, beach = captioner.presence.presence(head_inputs(feature[None]).numpy())[0]
            assert written[name]["dog"] == pytest.approx(dog, abs=2e-3)
            assert written[name]["beach"] == pytest.approx(beach, abs=2e-3)


def test_without_a_head_the_rest_is_measured_and_the_lack_told(call, tmp_path, capsys, tiny_captioner):
    document = call(tiny_captioner(words=WORDS, end_bias=2.0))
    assert [name for name in document["rows"] if name in KINDS] == ["said", "expected"]
    assert document["rows_left_out"] == dict.fromkeys(("combined", "presence", "grounding"), NO_HEAD)
    assert f"presence: left out, {NO_HEAD}" in capsys.readouterr().out
    assert not (tmp_path / "out" / "estimates.jsonl").exists()


def test_without_training_pictures_their_frequencies_are_left_out(call, tmp_path, capsys, tiny_captioner):
    (tmp_path / "train.txt").write_text("gone.jpg\n")
    document = call(tiny_captioner(words=WORDS, end_bias=2.0), train_list=str(tmp_path / "train.txt"))
    assert "training_frequencies" not in document["rows"]
    assert document["rows_left_out"]["training_frequencies"].startswith("no training picture with captions is in ")
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert list(scores["rows_left_out"]) == ["nearest_training_picture", "most_frequent_training_caption"]
    printed = capsys.readouterr().out
    assert "training_frequencies: left out, no training picture with captions is in " in printed
    assert "most frequent training caption: left out, no training picture with captions is in " in printed


def test_captions_from_elsewhere_have_no_words_to_estimate():
    with pytest.raises(UserError, match="--words goes with --captioner"):
        EvaluateOptions(features="features", list="list.txt", output="out", captions="captions.json", words=True)
