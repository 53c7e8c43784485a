"""The collection of the demo: drawn scenes with captions and known truth, so a program can check generated captions.

A scene shows one to three shapes of one kind and colour on a plain background. Five captions describe it as five people
would: in different words, each leaving something out, but all with the same words for colour and shape.

    directory/images/scene-00000.jpg ...   every tenth a PNG
    directory/captions.txt                 Kaggle's form: image,caption
    directory/train.txt, dev.txt, test.txt 80, 10 and 10 % of the pictures
    directory/truth.jsonl                  one Scene a line

The seed decides every byte (with one version of Pillow).
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from beam_pipeline.demo.painter import BACKGROUNDS, COLOURS, POSITIONS, SHAPES, SIZES, TEXTURES, draw_scene
from beam_pipeline.demo.scene import Scene
from beam_pipeline.demo.scene_captions import describe
from training.errors import UserError

_COUNT_ODDS = (0.76, 0.17, 0.07)  # of one, two and three shapes: most photos have one subject
_SPLITS = {"train": 0.8, "dev": 0.1, "test": 0.1}
_CAPTIONS = 5


@dataclass(frozen=True)
class SceneScores:
    """How many captions name colour and shape correctly.

    Attributes:
      pictures: number of captions that were scored.
      colour, shape, both: share of captions, 0 to 1, that name the true one and no other.
      colour_baseline, shape_baseline: the share that captions with always the commonest one would reach.
    """

    pictures: int
    colour: float
    shape: float
    both: float
    colour_baseline: float
    shape_baseline: float


def draw_collection(directory: str | Path, pictures: int = 600, seed: int = 0) -> list[Scene]:
    """Draws scenes, and writes their captions, splits and truth, into `directory`; returns the scenes by file name.

    Existing files of these names are overwritten.

    Args:
      pictures: scenes to draw.
      seed: decides scenes, drawing and captions.

    Raises:
      UserError: fewer than 10 pictures, which leaves a split empty; or the directory cannot be written.
    """
    if pictures < 10:
        raise UserError(f"pictures is {pictures}; expected at least 10, so that no split is empty")
    directory = Path(directory)
    scenes = _compose(pictures, seed)
    try:
        (directory / "images").mkdir(parents=True, exist_ok=True)
        for number, scene in enumerate(scenes):
            _save(draw_scene(scene, np.random.default_rng([seed, 1, number])), directory / "images" / scene.image)
        _write_captions(scenes, seed, directory / "captions.txt")
        _write_splits(scenes, directory)
        _write_text(directory / "truth.jsonl", (json.dumps(asdict(scene)) for scene in scenes))
    except OSError as error:
        raise UserError(f"{directory}: cannot be written ({error}); choose another directory") from error
    return scenes


def read_truth(path: str | Path) -> list[Scene]:
    """Path of `truth.jsonl` -> its scenes, in their order."""
    with open(path, encoding="utf-8") as file:
        return [Scene(**json.loads(line)) for line in file]


def score_captions(truth: Iterable[Scene], captions: Mapping[str, str]) -> SceneScores:
    """Scenes and generated captions by image name -> how many of the captions name colour and shape correctly.

    A caption with two colours ("a red and blue square") names none correctly.

    Raises:
      UserError: no captions, or a caption of a picture that is not among the scenes.
    """
    known = {scene.image: scene for scene in truth}
    strangers = captions.keys() - known.keys()
    if strangers or not captions:
        what = f"{min(strangers)} is not one of the drawn pictures" if strangers else "no captions to score"
        raise UserError(f"{what}; caption the collection that the truth describes")
    colours = Counter(known[image].colour for image in captions)
    shapes = Counter(known[image].shape for image in captions)
    right_colour = right_shape = right_both = 0
    for image, caption in captions.items():
        words = _truth_words(caption)
        colour = words & COLOURS.keys() == {known[image].colour}
        shape = words & set(SHAPES) == {known[image].shape}
        right_colour += colour
        right_shape += shape
        right_both += colour and shape
    total = len(captions)
    return SceneScores(
        pictures=total,
        colour=right_colour / total,
        shape=right_shape / total,
        both=right_both / total,
        colour_baseline=max(colours.values()) / total,
        shape_baseline=max(shapes.values()) / total,
    )


def true_word_counts(truth: Iterable[Scene]) -> Counter[str]:
    """Scenes -> word for a colour or shape -> number of scenes that show it."""
    return Counter(word for scene in truth for word in (scene.colour, scene.shape))


def caption_word_counts(captions: Iterable[str]) -> Counter[str]:
    """Captions -> word for a colour or shape -> number of captions with it; "stars" counts as "star"."""
    return Counter(word for caption in captions for word in _truth_words(caption))


_SINGULAR = {
    **{colour: colour for colour in COLOURS},
    **{shape: shape for shape in SHAPES},
    **{shape + ("es" if shape == "cross" else "s"): shape for shape in SHAPES},
}


def _truth_words(caption: str) -> set[str]:
    """Caption -> words for colours and shapes (singular) in it."""
    return {_SINGULAR[word] for word in re.findall(r"[a-z]+", caption.lower()) if word in _SINGULAR}


def _compose(pictures: int, seed: int) -> list[Scene]:
    """Seed -> scenes. Pairs of colour and shape are dealt like cards, so each is equally common."""
    rng = np.random.default_rng([seed, 0])
    pairs = [(colour, shape) for colour in COLOURS for shape in SHAPES]
    scenes = []
    deck: list[int] = []
    for number in range(pictures):
        if not deck:
            deck = rng.permutation(len(pairs)).tolist()
        colour, shape = pairs[deck.pop()]
        count = int(rng.choice(3, p=_COUNT_ODDS)) + 1
        size = str(rng.choice(list(SIZES))) if count == 1 else "medium"
        position = str(rng.choice(list(POSITIONS))) if count == 1 and size != "large" else "middle"
        scenes.append(
            Scene(
                image=f"scene-{number:05d}.{'png' if number % 10 == 9 else 'jpg'}",
                colour=colour,
                shape=shape,
                count=count,
                size=size,
                position=position,
                background=str(rng.choice(list(BACKGROUNDS))),
                texture=str(rng.choice(TEXTURES)),
            )
        )
    return scenes


def _save(picture: Image.Image, path: Path) -> None:
    if path.suffix == ".png":
        picture.save(path, compress_level=1)
    else:
        picture.save(path, quality=90)


def _write_captions(scenes: list[Scene], seed: int, path: Path) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("image", "caption"))
        for number, scene in enumerate(scenes):
            rng = np.random.default_rng([seed, 2, number])
            writer.writerows((scene.image, caption) for caption in describe(scene, _CAPTIONS, rng))


def _write_splits(scenes: list[Scene], directory: Path) -> None:
    start, share = 0, 0.0
    for split, part in _SPLITS.items():
        share += part
        end = round(share * len(scenes))
        _write_text(directory / f"{split}.txt", (scene.image for scene in scenes[start:end]))
        start = end


def _write_text(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8", newline="\n")
