import json
import os
import shutil
import time

import numpy as np
import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from training.errors import UserError
from training.evaluate import EvaluateOptions, _meteor, cider, evaluate, score, signature

REFERENCES = {
    "a.jpg": ["a dog runs on the beach", "the dog is running over sand", "a brown dog by the sea"],
    "b.jpg": ["two children play football", "children with a ball in a park"],
    "c.jpg": ["a man rides a red bicycle down the street"],
}
GENERATED = {
    "a.jpg": "a dog runs over the beach",
    "b.jpg": "two children in a park",
    "c.jpg": "a man on a street",
}
JAVA = shutil.which("java")
WORDS = ("a", "cat", "dog", "runs", "beach", "street", "children", "park")

pytestmark = pytest.mark.usefixtures("no_java")


def scores_of(generated, references):
    return score(generated, references)["scores"]


def test_scores_are_what_pycocoevalcap_gives_for_the_same_tokens():
    hypotheses = {name: [text] for name, text in GENERATED.items()}
    bleu, _ = Bleu(4).compute_score(REFERENCES, hypotheses, verbose=0)
    expected = {
        **{f"BLEU-{n}": pytest.approx(value) for n, value in enumerate(bleu, start=1)},
        "ROUGE-L": pytest.approx(Rouge().compute_score(REFERENCES, hypotheses)[0]),
        "CIDEr": pytest.approx(Cider().compute_score(REFERENCES, hypotheses)[0]),
    }
    assert 0 < bleu[3] < bleu[0] < 1
    assert scores_of(GENERATED, REFERENCES) == expected


def test_perfect_captions_score_one_and_worse_ones_less():
    perfect = scores_of({name: texts[-1] for name, texts in REFERENCES.items()}, REFERENCES)
    assert perfect["BLEU-4"] == pytest.approx(1) and perfect["ROUGE-L"] == pytest.approx(1)
    assert perfect["CIDEr"] > scores_of(GENERATED, REFERENCES)["CIDEr"] > 0


def test_one_picture_has_no_cider_and_two_have():
    five = ["a dog runs on the beach", "the dog runs", "a brown dog", "sand and a dog", "a dog by the sea"]
    one = score({"a.jpg": five[0]}, {"a.jpg": five})
    assert one["scores"]["BLEU-4"] == pytest.approx(1) and one["scores"]["ROUGE-L"] == pytest.approx(1)
    assert one["scores"]["CIDEr"] is None
    assert "one picture has no CIDEr" in one["not_scored"]["CIDEr"]
    two = score({"a.jpg": five[0], "b.jpg": GENERATED["b.jpg"]}, {"a.jpg": five, "b.jpg": REFERENCES["b.jpg"]})
    assert two["scores"]["CIDEr"] > 0 and "CIDEr" not in two["not_scored"]
    assert cider({"a.jpg": five[0]}, {"a.jpg": five}) is None


@pytest.mark.parametrize(
    "text",
    [
        "a black-and-white dog, running",
        "A black-and-white dog, running.",
        "a black and white dog running",
        "the man's T-shirt doesn't fit: it's (too) small!",
    ],
)
def test_a_text_against_itself_scores_one_in_every_form(text):
    scores = scores_of({"a.jpg": text}, {"a.jpg": [text]})
    assert {name: value for name, value in scores.items() if name != "CIDEr"} == {
        name: pytest.approx(1) for name in ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L")
    }


def test_commas_and_capitals_change_no_score_and_hyphens_join_words():
    def bleu_4(text):
        return scores_of({"a.jpg": "a black-and-white dog, running"}, {"a.jpg": [text]})["BLEU-4"]

    assert bleu_4("A black-and-white dog running .") == pytest.approx(1)
    assert bleu_4("a black and white dog running") < 0.1


def test_a_caption_without_words_scores_low_and_stops_nothing():
    scores = scores_of({**GENERATED, "c.jpg": ""}, {**REFERENCES, "c.jpg": [".", "a man"]})
    assert 0 < scores["BLEU-1"] < 1 and np.isfinite(scores["CIDEr"])


def test_signature_says_what_a_score_can_be_compared_by():
    assert signature(REFERENCES) == "COCO|tok:captionbeam-ptb|refs:1-3|pictures:3|pycocoevalcap:1.2"
    assert signature({"a.jpg": ["x", "y"]}) == "COCO|tok:captionbeam-ptb|refs:2|pictures:1|pycocoevalcap:1.2"


def test_without_java_meteor_is_left_out_with_the_reason():
    assert score(GENERATED, REFERENCES)["not_scored"] == {"METEOR": "it needs Java, and none was found"}


@pytest.fixture
def fake_java(monkeypatch, tmp_path):
    """Function (shell line) -> a program `java` that does this, found first."""

    def make(line):
        (tmp_path / "java").write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / "java").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return make


def test_a_java_program_that_hangs_is_ended(fake_java):
    fake_java("exec sleep 100")
    began = time.monotonic()
    hypotheses = {name: [text] for name, text in GENERATED.items()}
    assert _meteor(REFERENCES, hypotheses, limit_s=0.5) == (None, "its Java program did not answer within 0.5 s")
    assert time.monotonic() - began < 50


@pytest.mark.parametrize("line", ["exit 1", "read line; echo nonsense; read line; exit 1"])
def test_a_java_program_that_fails_leaves_the_other_scores(fake_java, line):
    fake_java(line)
    found = score(GENERATED, REFERENCES)
    assert "METEOR" not in found["scores"] and found["scores"]["BLEU-1"] > 0
    assert found["not_scored"]["METEOR"].startswith("its Java program failed")


@pytest.mark.slow
@pytest.mark.skipif(JAVA is None, reason="needs Java")
def test_meteor_of_perfect_captions_is_one(monkeypatch):
    monkeypatch.setenv("PATH", os.path.dirname(JAVA))
    perfect = {name: texts[-1] for name, texts in REFERENCES.items()}
    found = score(perfect, REFERENCES)
    assert found["scores"]["METEOR"] == pytest.approx(1) and found["not_scored"] == {}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory, record, write_features, random_features):
    """Five pictures in two shards; the second has no caption, and the third lies in two places."""
    features = random_features(5)
    records = [
        record("u\u0308ber", features[0], ("a dog runs", "a Dog, running")),
        record("silent", features[1], ()),
        record("twice", features[2], ("children in a park",), uris=("/x/one.jpg", "/y/two.jpg")),
        record("street", features[3], ("a cat on a street",)),
        record("unlisted", features[4], ("a cat",)),
    ]
    return write_features(tmp_path_factory.mktemp("pictures"), [records[:2], records[2:]])


def options(tmp_path, captioner, pictures, names, **changed):
    (tmp_path / "list.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return EvaluateOptions(captioner.path, pictures.path, str(tmp_path / "list.txt"), str(tmp_path / "out"), **changed)


def test_a_listed_split_is_captioned_scored_and_written_in_coco_form(
    tmp_path, capsys, tiny_captioner, pictures, random_features, decoder
):
    captioner = tiny_captioner(words=WORDS, end_bias=2.0)
    names = ["\u00fcber.jpg", "silent.jpg", "/x/one.jpg", "two.jpg", "street.jpg", "gone.jpg"]
    document = evaluate(options(tmp_path, captioner, pictures, names, beam_width=2))

    said = [one.caption for one in decoder(captioner, beam_width=2).decode(random_features(5))]
    generated = {"\u00fcber.jpg": said[0], "/x/one.jpg": said[2], "two.jpg": said[2], "street.jpg": said[3]}
    references = {
        "\u00fcber.jpg": ("a dog runs", "a Dog, running"),
        "/x/one.jpg": ("children in a park",),
        "two.jpg": ("children in a park",),
        "street.jpg": ("a cat on a street",),
    }
    results = json.loads((tmp_path / "out" / "captions.json").read_text(encoding="utf-8"))
    assert results == [{"image_id": name, "caption": generated[name]} for name in sorted(generated)]
    assert json.loads((tmp_path / "out" / "scores.json").read_text()) == document
    assert document == {
        "signature": "COCO|tok:captionbeam-ptb|refs:1-2|pictures:4|pycocoevalcap:1.2",
        "captioner": captioner.model_id,
        "encoder": pictures.encoder.id,
        "beam_width": 2,
        "pictures": 4,
        "pictures_without_features": 2,
        "flagged": document["flagged"],
        **score(generated, references),
        "distinct_captions": len(set(generated.values())),
        "mean_words": pytest.approx(np.mean([len(text.split()) for text in generated.values()]), abs=1e-3),
        "unknown_share_of_references": round(4 / 19, 5),  # running, on, and twice in
    }
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("4 pictures: BLEU-1 ") and printed[1] == document["signature"]
    assert printed[2] == "METEOR is not given: it needs Java, and none was found"


def test_flagged_captions_of_scored_pictures_are_counted(tmp_path, tiny_captioner, pictures):
    endless = tiny_captioner(words=WORDS, end_bias=-1e9)
    document = evaluate(options(tmp_path, endless, pictures, ["street.jpg", "silent.jpg", "one.jpg", "two.jpg"]))
    assert document["flagged"] == 2  # one and two are one picture; the silent one is not scored


def test_a_list_of_which_nothing_has_features_is_told(tmp_path, tiny_captioner, pictures):
    with pytest.raises(UserError, match=r"list.txt: none of its 2 pictures is in .* with captions"):
        evaluate(options(tmp_path, tiny_captioner(), pictures, ["gone.jpg", "silent.jpg"]))
    assert not (tmp_path / "out").exists()


def test_features_of_another_encoder_are_refused(tmp_path, tiny_captioner, pictures):
    with pytest.raises(UserError, match=r"trained on features of InceptionV3 .* and given those of InceptionV3"):
        evaluate(options(tmp_path, tiny_captioner(weights="bb"), pictures, ["street.jpg"]))
