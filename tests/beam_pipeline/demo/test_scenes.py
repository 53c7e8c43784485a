"""The demo's collection: the same for the same seed, true to its truth, and scored by the oracle."""

import json
import re
from collections import Counter, defaultdict
from dataclasses import replace

import pytest
from PIL import Image

from beam_pipeline.demo.painter import COLOURS, SHAPES, SIDE
from beam_pipeline.demo.scene import Scene
from beam_pipeline.demo.scenes import caption_word_counts, draw_collection, read_truth, score_captions, true_word_counts
from training.data.caption_files import read_captions, read_image_list
from training.errors import UserError

PICTURES = 40
RED_STAR = Scene("a.jpg", "red", "star", 1, "large", "middle", "white", "plain")
BLUE_RINGS = Scene("b.jpg", "blue", "ring", 3, "small", "middle", "grey", "dotted")


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    directory = tmp_path_factory.mktemp("collection")
    return directory, draw_collection(directory, PICTURES, seed=3)


def files(directory):
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_the_collection_has_all_its_files(collection):
    directory, scenes = collection
    assert len(scenes) == PICTURES
    assert {path.name for path in (directory / "images").iterdir()} == {scene.image for scene in scenes}
    assert {path.name for path in directory.iterdir()} == {
        "images", "captions.txt", "train.txt", "dev.txt", "test.txt", "truth.jsonl"
    }  # fmt: skip
    assert read_truth(directory / "truth.jsonl") == scenes


def test_pictures_are_rgb_jpegs_and_some_pngs(collection):
    directory, scenes = collection
    formats = Counter()
    for scene in scenes:
        with Image.open(directory / "images" / scene.image) as picture:
            picture.load()
            assert (picture.size, picture.mode) == ((SIDE, SIDE), "RGB")
            formats[picture.format] += 1
    assert formats == {"JPEG": 36, "PNG": 4}


def test_no_two_pictures_are_the_same(collection):
    directory, _ = collection
    contents = [path.read_bytes() for path in (directory / "images").iterdir()]
    assert len(set(contents)) == PICTURES


def test_the_seed_decides_every_byte(collection, tmp_path):
    directory, _ = collection
    draw_collection(tmp_path / "same", PICTURES, seed=3)
    draw_collection(tmp_path / "other", PICTURES, seed=4)
    assert files(tmp_path / "same") == files(directory)
    other = files(tmp_path / "other")
    assert all(other[name] != content for name, content in files(directory).items() if name.endswith(".jpg"))


def test_drawing_again_in_the_same_place_changes_nothing(tmp_path):
    draw_collection(tmp_path, 10, seed=1)
    before = files(tmp_path)
    draw_collection(tmp_path, 10, seed=1)
    assert files(tmp_path) == before


def test_splits_are_80_10_10_and_disjoint(collection):
    directory, scenes = collection
    splits = {name: read_image_list(str(directory / f"{name}.txt")) for name in ("train", "dev", "test")}
    assert {name: len(images) for name, images in splits.items()} == {"train": 32, "dev": 4, "test": 4}
    assert sorted(image for images in splits.values() for image in images) == sorted(scene.image for scene in scenes)


def test_every_picture_has_five_differing_captions_that_name_its_colour_and_shape(collection):
    directory, scenes = collection
    captions = defaultdict(list)
    for row in read_captions(str(directory / "captions.txt")):
        captions[row.image].append(row.text)
    assert set(captions) == {scene.image for scene in scenes}
    for scene in scenes:
        assert len(set(captions[scene.image])) == 5
        for caption in captions[scene.image]:
            assert score_captions([scene], {scene.image: caption}).both == 1, (scene, caption)
            assert re.fullmatch(r"[A-Z][a-z ]+ \.", caption), caption
            assert "  " not in caption


def test_every_pair_of_colour_and_shape_is_equally_common(tmp_path):
    pairs = len(COLOURS) * len(SHAPES)
    scenes = draw_collection(tmp_path, 2 * pairs)
    assert set(Counter((scene.colour, scene.shape) for scene in scenes).values()) == {2}


def test_the_oracle_scores_colour_and_shape_beside_chance():
    truth = [RED_STAR, BLUE_RINGS, replace(RED_STAR, image="c.jpg"), replace(BLUE_RINGS, image="unseen.jpg")]
    captions = {
        "a.jpg": "a big red star .",  # both right
        "b.jpg": "Three blue circles",  # colour only
        "c.jpg": "a red and blue star",  # shape only: two colours are a guess
    }
    scores = score_captions(truth, captions)
    assert scores.pictures == 3
    assert (scores.colour, scores.shape, scores.both) == (2 / 3, 2 / 3, 1 / 3)
    assert (scores.colour_baseline, scores.shape_baseline) == (2 / 3, 2 / 3)


def test_the_oracle_knows_plurals_and_whole_words_only():
    assert score_captions([BLUE_RINGS], {"b.jpg": "BLUE RINGS."}).both == 1
    assert score_captions([RED_STAR], {"a.jpg": "a bored starling"}).both == 0
    assert score_captions([RED_STAR], {"a.jpg": ""}).both == 0


def test_the_oracle_refuses_what_it_cannot_know():
    with pytest.raises(UserError, match=r"x\.jpg"):
        score_captions([RED_STAR], {"x.jpg": "a star"})
    with pytest.raises(UserError, match="no captions"):
        score_captions([RED_STAR], {})


def test_true_counts_and_counts_in_perfect_captions_agree():
    truth = [RED_STAR, BLUE_RINGS, replace(RED_STAR, shape="ring")]
    assert true_word_counts(truth) == {"red": 2, "blue": 1, "star": 1, "ring": 2}
    captions = ["a red star , a star", "three blue rings", "the ring is red"]
    assert caption_word_counts(captions) == true_word_counts(truth)


def test_too_few_pictures_and_an_unwritable_place_are_refused(tmp_path):
    with pytest.raises(UserError, match="at least 10"):
        draw_collection(tmp_path, 9)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        draw_collection(tmp_path / "file" / "below", 10)


def test_the_truth_file_is_plain_json_lines(collection):
    directory, _ = collection
    first = json.loads((directory / "truth.jsonl").read_text().splitlines()[0])
    assert set(first) == {"image", "colour", "shape", "count", "size", "position", "background", "texture"}


def test_size_and_place_are_told_only_where_they_can_be_seen(collection):
    _, scenes = collection
    several = [scene for scene in scenes if scene.count > 1]
    assert several and all((scene.size, scene.position) == ("medium", "middle") for scene in several)
    assert all(scene.position == "middle" for scene in scenes if scene.size == "large")
    assert len({scene.position for scene in scenes if scene.size == "small"}) > 1
