import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from training import __version__
from training.errors import UserError
from training.evaluate import evaluate, score_rows, signature
from training.options import EvaluateOptions
from training.scoring.baselines import diversity
from training.scoring.protocols import protocol_scores
from training.scoring.scores import caption_set

REFERENCES = {
    "a.jpg": ["a dog runs on the beach", "the dog is running over sand", "a brown dog by the sea"],
    "b.jpg": ["two children play football", "children with a ball in a park"],
    "c.jpg": ["a man rides a red bicycle down the street"],
}
WORDS = ("a", "cat", "dog", "runs", "beach", "street", "children", "park")
VERSIONS = f"pycocoevalcap:{version('pycocoevalcap')}|captionbeam:{__version__}"
NO_JAVA = "it needs Java, and none was found"

pytestmark = pytest.mark.usefixtures("no_java")


def test_signature_says_what_a_score_can_be_compared_by():
    assert signature(REFERENCES, 3) == f"coco|tok:captionbeam-ptb|refs:1-3|pictures:3|beam:3|{VERSIONS}"
    assert signature({"a.jpg": ["x", "y"]}) == f"coco|tok:captionbeam-ptb|refs:2|pictures:1|{VERSIONS}"


def test_the_version_in_the_signature_is_the_one_that_is_installed():
    setup = Path(__file__).resolve().parents[2] / "setup.py"
    told = subprocess.run([sys.executable, str(setup), "--version"], capture_output=True, text=True, check=True)
    assert told.stdout.split() == [__version__]


def test_one_picture_has_neither_cider_nor_intervals(call, capsys):
    document = call(["street.jpg"], results=coco({"street": "a cat on a street"}))
    assert document["scores"]["CIDEr"] is None and document["scores"]["BLEU-4"] == pytest.approx(1)
    assert document["intervals"] == {}
    assert "one picture has no CIDEr" in document["not_scored"]["CIDEr"]
    assert "95 %" not in capsys.readouterr().out


def test_a_row_of_one_picture_takes_no_cider_from_the_others(call):
    document = call(["street.jpg", "one.jpg"], results=coco({"street": "a cat", "one": "a park"}))
    assert document["scores"]["CIDEr"] > 0 and "CIDEr" not in document["not_scored"]
    assert document["rows"]["human_against_the_other_references"]["scores"]["CIDEr"] is None


@pytest.fixture(scope="module")
def pictures(tmp_path_factory, record, write_features, random_features):
    """Six pictures in two shards; the second has no caption, the third lies in two places, the last two train."""
    features = random_features(6)
    records = [
        record("u\u0308ber", features[0], ("a dog runs", "a Dog, running")),
        record("silent", features[1], ()),
        record("twice", features[2], ("children in a park", "a park"), uris=("/x/one.jpg", "/y/two.jpg")),
        record("street", features[3], ("a cat on a street",)),
        record("road", features[3] + features[4] / 8, ("a cat", "a small cat")),
        record("lawn", features[0] + features[2], ("a cat",)),
    ]
    return write_features(tmp_path_factory.mktemp("pictures"), [records[:2], records[2:]])


NAMES = ("\u00fcber.jpg", "silent.jpg", "/x/one.jpg", "two.jpg", "street.jpg", "gone.jpg")


@pytest.fixture
def call(tmp_path, pictures):
    """Function (names, captioner or results, ...) -> what evaluate returns."""

    def run(names, captioner=None, results=None, training=None, **options):
        def write(name, lines):
            (tmp_path / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            return str(tmp_path / name)

        return evaluate(
            EvaluateOptions(
                features=options.pop("features", pictures.path),
                list=write("list.txt", names),
                output=str(tmp_path / "out"),
                captioner=captioner.path if captioner else None,
                captions=None if results is None else write("captions.json", [json.dumps(results)]),
                train_list=None if training is None else write("train.txt", training),
                **options,
            )
        )

    return run


def coco(captions):
    return [{"image_id": name, "caption": caption} for name, caption in captions.items()]


def test_a_listed_split_is_captioned_scored_and_written_in_coco_form(
    call, tmp_path, capsys, tiny_captioner, pictures, random_features, decoder
):
    captioner = tiny_captioner(words=WORDS, end_bias=2.0)
    document = call(NAMES, captioner, beam_width=2)

    said = [one.caption for one in decoder(captioner, beam_width=2).decode(random_features(6))]
    generated = {"\u00fcber.jpg": said[0], "/x/one.jpg": said[2], "two.jpg": said[2], "street.jpg": said[3]}
    references = {
        "\u00fcber.jpg": ("a dog runs", "a Dog, running"),
        "/x/one.jpg": ("children in a park", "a park"),
        "two.jpg": ("children in a park", "a park"),
        "street.jpg": ("a cat on a street",),
    }
    results = json.loads((tmp_path / "out" / "captions.json").read_text(encoding="utf-8"))
    assert results == [{"image_id": name, "caption": generated[name]} for name in sorted(generated)]
    assert json.loads((tmp_path / "out" / "scores.json").read_text()) == document
    people = {"/x/one.jpg": "children in a park", "two.jpg": "a park", "\u00fcber.jpg": "a dog runs"}
    others = {"/x/one.jpg": ["a park"], "two.jpg": ["children in a park"], "\u00fcber.jpg": ["a Dog, running"]}
    less_one = caption_set({name: generated[name] for name in people}, others)
    scored, not_scored = score_rows({"model": caption_set(generated, references)})
    beside, _ = score_rows({"less": less_one, "human": caption_set(people, others)})
    assert not_scored == {"METEOR": NO_JAVA, "SPICE": NO_JAVA}
    assert document == {
        "signature": f"coco|tok:captionbeam-ptb|refs:1-2|pictures:4|beam:2|{VERSIONS}",
        "captioner": captioner.model_id,
        "captions": None,
        "encoder": pictures.encoder.id,
        "beam_width": 2,
        "min_words": 1,
        "guidance": 0.0,
        "judge": None,
        "pictures": 4,
        "pictures_without_features": 2,
        "captions_without_words": [],
        "references_without_words": {},
        "captions_left_over": None,
        "flagged": document["flagged"],
        **scored["model"],
        "not_scored": not_scored,
        "bootstrap": {"of": "pictures", "resamples": 1000, "seed": 0, "level": 0.95},
        "rows": {
            "against_the_other_references": {"pictures": 3, **beside["less"], "references": "1"},
            "human_against_the_other_references": {
                "pictures": 3,
                **beside["human"],
                "references": "1",
                "diversity": diversity(people),
            },
        },
        "rows_left_out": dict.fromkeys(
            ("nearest_training_picture", "most_frequent_training_caption"),
            f"the captioner was trained on another feature set than {pictures.path}, divided by content; "
            "--train-list FILE names them",
        ),
        "diversity": diversity(generated),
        "unknown_share_of_references": round(4 / 23, 5),  # running, on, and twice in
    }
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"4 pictures, captioner {captioner.model_id}, beam width 2"
    assert document["signature"] in printed and f"METEOR is not given: {NO_JAVA}" in printed


def test_rows_of_the_training_pictures_stand_beside_captions_from_elsewhere(call, tmp_path, capsys):
    captions = {"/x/one.jpg": "a cat", "two": "a dog", "street.jpg": "a cat", "not listed.jpg": "a cow"}
    document = call(
        ("/x/one.jpg", "two.jpg", "street.jpg"),
        results=coco(captions),
        training=["road.jpg", "lawn.jpg"],
        all_protocols=True,
    )
    names = ("/x/one.jpg", "two.jpg", "street.jpg")
    references = dict.fromkeys(names[:2], ("children in a park", "a park")) | {"street.jpg": ("a cat on a street",)}
    model = caption_set(dict(zip(names, ("a cat", "a dog", "a cat"), strict=True)), references)
    nearest = caption_set(dict(zip(names, ("a cat", "a cat", "a cat"), strict=True)), references)
    scored, _ = score_rows({"model": model, "nearest": nearest})
    assert {name: document[name] for name in ("scores", "intervals")} == scored["model"]
    rows = document["rows"]
    assert rows["nearest_training_picture"] == {"pictures": 3, **scored["nearest"], "training_pictures": 2}
    assert rows["most_frequent_training_caption"] == {
        "pictures": 3,
        **scored["nearest"],
        "caption": "a cat",
        "times": 2,
        "training_captions": 3,
    }
    assert document["rows_left_out"] == {}
    assert document["diversity"]["copied_from_training"] == round(2 / 3, 5)
    assert document["protocols"] == protocol_scores(model)
    assert document["signature"] == f"coco|tok:captionbeam-ptb|refs:1-2|pictures:3|{VERSIONS}"
    assert (document["captions_left_over"], document["captioner"], document["beam_width"]) == (1, None, None)
    assert document["captions"] == str(tmp_path / "captions.json")
    assert document["unknown_share_of_references"] is None and document["flagged"] is None
    assert json.loads((tmp_path / "out" / "scores.json").read_text()) == document
    assert not (tmp_path / "out" / "captions.json").exists()
    assert f"3 pictures, captions of {tmp_path / 'captions.json'}\n" in capsys.readouterr().out


def test_confidence_is_measured_beside_the_scores(call, tmp_path, capsys, tiny_captioner, give_head, give_confidence):
    captioner = give_head(tiny_captioner(words=WORDS, end_bias=2.0), words=("cat", "dog", "park"))
    plain = call(NAMES, captioner)
    assert not (tmp_path / "out" / "confidence.json").exists() and "Confidence" not in capsys.readouterr().out
    judged = call(NAMES, give_confidence(captioner, bias=0.5))
    assert judged == plain | {"flagged": judged["flagged"]}
    document = json.loads((tmp_path / "out" / "confidence.json").read_text())
    assert document["pictures"] == 3 and document["curve"][0]["captions"] == 3  # street has one caption
    lines = (tmp_path / "out" / "confidence_curve.csv").read_text().splitlines()
    assert lines[0] == "min_confidence,captions,kept,accepted,CIDEr" and len(lines) == 1 + len(document["curve"])
    assert "Confidence: people accept " in capsys.readouterr().out


def test_the_captions_that_evaluate_wrote_score_the_same_again(call, tmp_path, tiny_captioner):
    first = call(NAMES, tiny_captioner(words=WORDS, end_bias=2.0))
    again = call(NAMES, results=json.loads((tmp_path / "out" / "captions.json").read_text(encoding="utf-8")))
    assert [first[name] for name in ("scores", "intervals", "diversity")] == [
        again[name] for name in ("scores", "intervals", "diversity")
    ]


def test_rows_that_cannot_be_had_are_left_out_with_the_reason(call, capsys):
    document = call(["street.jpg"], results=coco({"street": "a cat"}), training=["gone.jpg"])
    assert document["rows"] == {}
    printed = capsys.readouterr().out
    assert "most frequent training caption: left out, no training picture with captions is in " in printed
    assert "one human caption of each picture: left out, no picture has two captions" in printed
    document = call(["street.jpg"], results=coco({"street": "a cat"}), training=["street.jpg"])
    assert list(document["rows"]) == ["most_frequent_training_caption"]
    why = "for one picture, the only training picture is the picture itself"
    assert document["rows_left_out"]["nearest_training_picture"] == why


@pytest.fixture
def with_marks_alone(tmp_path, record, write_features, random_features):
    """Pictures of which "dot" has a reference without a word beside one with words, and "dots" no other."""
    features = random_features(4)
    captions = {"dot": ("a dog runs", "."), "dots": (".", "!"), "cat": ("a cat", "the cat"), "bird": ("a bird", "?")}
    records = [record(name, feature, texts) for feature, (name, texts) in zip(features, captions.items(), strict=True)]
    return write_features(tmp_path, [records])


@pytest.mark.parametrize("nothing", ["", ".", "!", "\U0001f415", "(", '""'])
def test_captions_and_references_without_words_are_left_out_of_all_scores_and_named(
    call, capsys, with_marks_alone, nothing
):
    names = ["dot.jpg", "dots.jpg", "cat.jpg", "bird.jpg"]
    said = {"dot": "a dog", "dots": ".", "cat": nothing, "bird": "a bird sings"}
    document = call(
        names, results=coco(said), features=with_marks_alone.path, all_protocols=True, training=["dots.jpg"]
    )
    assert document["captions_without_words"] == ["cat.jpg"]
    assert document["references_without_words"] == {"bird.jpg": 1, "dot.jpg": 1, "dots.jpg": 2}
    assert (document["pictures"], document["pictures_without_features"]) == (2, 1)
    assert "|refs:1|pictures:2|" in document["signature"]
    model = caption_set({"dot": "a dog", "bird": "a bird sings"}, {"dot": ["a dog runs"], "bird": ["a bird"]})
    scored, _ = score_rows({"model": model})
    assert document["scores"] == scored["model"]["scores"]
    assert document["diversity"]["mean_words"] == 2.5
    assert "human_against_the_other_references" not in document["rows"]
    printed = capsys.readouterr().out
    assert "1 caption without a word left out, the picture is not scored: cat.jpg\n" in printed
    assert "4 references without a word left out: bird.jpg, dot.jpg, dots.jpg\n" in printed


def test_captions_of_which_none_has_a_word_are_refused(call, tmp_path):
    with pytest.raises(UserError, match=r"--captions .*: none of its 2 captions has a word"):
        call(["street.jpg", "one.jpg"], results=coco({"street": ".", "one": ""}))
    assert not (tmp_path / "out").exists()


def test_flagged_captions_of_scored_pictures_are_counted(call, tiny_captioner):
    endless = tiny_captioner(words=WORDS, end_bias=-1e9)
    document = call(["street.jpg", "silent.jpg", "one.jpg", "two.jpg"], endless)
    assert document["flagged"] == 2  # one and two are one picture; the silent one is not scored


def test_a_list_of_which_nothing_has_features_is_told(call, tmp_path, tiny_captioner):
    for given in ({"captioner": tiny_captioner()}, {"results": coco({"gone": "a cat"})}):
        with pytest.raises(UserError, match=r"list.txt: none of its 2 pictures is in .* with captions; list the file"):
            call(["gone.jpg", "silent.jpg"], **given)
    assert not (tmp_path / "out").exists()


def test_features_of_another_encoder_are_refused(call, tiny_captioner):
    with pytest.raises(UserError, match=r"trained on features of InceptionV3 .* but these are features of InceptionV3"):
        call(["street.jpg"], tiny_captioner(weights="bb"))


def test_a_captioner_that_says_marks_is_refused(call, tmp_path, tiny_captioner):
    marking = tiny_captioner(words=("<end>", "endseq", "<unk>"), end_bias=-1e9)
    with pytest.raises(UserError, match=r"--captioner .*: 1 of 1 caption with a mark that is not a word, such as "):
        call(["street.jpg"], marking)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("captions", "said"),
    [
        ({"street": "a cat <end>"}, "--captions .*: 1 of 1 caption with a mark that is not a word, such as <end>"),
        ({"road": "a cat"}, "--captions .*: no caption for 1 of the 1 picture of .*list.txt, such as street.jpg"),
        ({}, "--captions .*: not a list of captions"),
    ],
)
def test_captions_that_cannot_be_scored_end_in_one_line(call, tmp_path, captions, said):
    with pytest.raises(UserError, match=said) as caught:
        call(["street.jpg"], results=coco(captions))
    assert caught.value.exit_status == 2 and not (tmp_path / "out").exists()


def test_captioner_and_captions_exclude_each_other_and_one_is_needed(call, tiny_captioner):
    with pytest.raises(UserError, match="give either --captioner"):
        call(["street.jpg"])
    with pytest.raises(UserError, match="give either --captioner"):
        call(["street.jpg"], tiny_captioner(), results=coco({"street": "a cat"}))
    with pytest.raises(UserError, match="--beam-width, --judge, --min-words and --guidance go with --captioner"):
        call(["street.jpg"], results=coco({"street": "a cat"}), beam_width=3)
