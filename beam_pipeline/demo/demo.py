"""`captionbeam demo`: draws a collection with known truth, runs every stage on it and compares with the truth."""

from __future__ import annotations

import csv
import json
import logging
import os
import time
from collections.abc import Iterable, Mapping

from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.caption_images import WORDS, caption
from beam_pipeline.demo.contact_sheet import draw_contact_sheet
from beam_pipeline.demo.scene import Scene
from beam_pipeline.demo.scenes import SceneScores, draw_collection, read_truth, score_captions, true_word_counts
from beam_pipeline.encoders.architectures.inception_v3 import InceptionV3
from beam_pipeline.encoders.weights import imagenet_weight_file
from beam_pipeline.extract_features import extract
from beam_pipeline.options.caption import CaptionOptions
from beam_pipeline.options.demo import DemoOptions
from beam_pipeline.options.extract import ExtractOptions
from beam_pipeline.runtime.text import duration
from beam_pipeline.shards.shard_id import committed_shards
from training.documents import Scalar, parse_json
from training.errors import UserError
from training.evaluate import evaluate
from training.files import open_own
from training.options import EvaluateOptions, PresenceOptions, TrainOptions
from training.own_directories import require_output
from training.own_names import DEMO, DEMO_SETTINGS, REPORT
from training.text.plurals import counted
from training.train import train

log = logging.getLogger("captionbeam")

_RANDOM = "InceptionV3 with random weights, batch normalization fitted to the scenes"


def demo(options: DemoOptions, beam_options: PipelineOptions) -> SceneScores:
    """Runs every stage on drawn scenes; returns how many captions of held-out scenes name colour and shape correctly.

    A demo that was interrupted continues where it stopped.

    Raises:
      UserError: the output holds a demo with other settings, or the encoder weights are not available.
      JobFailed: a stage failed.
    """
    began = time.monotonic()
    weights, encoder = choose_weights(options.weights)
    output = os.path.abspath(options.output)
    collection = os.path.join(output, "collection")
    require_output(options.output, DEMO)
    _refuse_other_settings(output, {"pictures": options.pictures, "seed": options.seed, "weights": weights})

    _heading(f"Drawing {counted(options.pictures, 'scene')} into {collection}")
    truth = os.path.join(collection, "truth.jsonl")  # written last, so the collection is complete
    scenes = read_truth(truth) if os.path.exists(truth) else draw_collection(collection, options.pictures, options.seed)

    _heading(f"captionbeam extract: {encoder}")
    images = os.path.join(collection, "images")
    features = os.path.join(output, "features")
    extract(
        ExtractOptions(
            images=images,
            output=features,
            captions=os.path.join(collection, "captions.txt"),
            weights=weights,
            shard_size=128,
        ),
        beam_options,
    )

    _heading("captionbeam train")
    captioner = os.path.join(output, "captioner")
    train(training_options(features, captioner, collection, options.seed))

    _heading("captionbeam evaluate: the held-out scenes")
    held_out = os.path.join(collection, "test.txt")
    scores_directory = os.path.join(output, "scores")
    evaluate(EvaluateOptions(captioner=captioner, features=features, list=held_out, output=scores_directory))

    _heading("captionbeam caption: the image files of the held-out scenes")
    captions = os.path.join(output, "captions")
    to_caption = _list_of_paths(held_out, images, os.path.join(output, "held_out_images.txt"))
    own = None if weights in ("imagenet", "random") else weights
    options_of_caption = CaptionOptions(captioner, captions, images=to_caption, weights=own, report=True)
    caption(options_of_caption, beam_options)

    generated = captions_by_name(captions)
    scores = score_captions(scenes, generated)
    _heading("Comparison with the truth")
    shown = [scene for scene in scenes if scene.image in generated]
    _print_scores(scores, encoder)
    _print_words(shown, os.path.join(captions, WORDS))
    sheet = os.path.join(output, "contact_sheet.png")
    draw_contact_sheet([_sheet_entry(scene, images, generated[scene.image]) for scene in shown[:12]], sheet)
    print(f"\n{sheet}: some scenes with their captions")
    print(f"{os.path.join(captions, REPORT)}: report of all captions and words")
    print(f"{output}: all results, after {duration(time.monotonic() - began)}")
    return scores


def choose_weights(weights: str) -> tuple[str, str]:
    """Value of --weights -> (value for `extract`, description of the encoder for the user)."""
    if weights == "auto":
        try:
            imagenet_weight_file(InceptionV3())
        except UserError as error:
            log.debug("%s", error)
            return "random", (
                f"{_RANDOM}. Captions are better with Keras' ImageNet weights, which could not be downloaded; "
                "--weights PATH takes a file"
            )
        weights = "imagenet"
    if weights == "imagenet":
        return weights, "InceptionV3 with Keras' ImageNet weights"
    if weights == "random":
        return weights, _RANDOM
    return weights, f"InceptionV3 with the weights in {weights}"


def training_options(features: str, captioner: str, collection: str, seed: int) -> TrainOptions:
    """Returns options that train a small captioner in minutes, for a few dozen words and a few hundred pictures."""
    return TrainOptions(
        features=features,
        output=captioner,
        train_list=os.path.join(collection, "train.txt"),
        dev_list=os.path.join(collection, "dev.txt"),
        min_count=2,
        embedding_size=64,
        hidden_size=256,
        presence=PresenceOptions(members=2, hidden_size=128, min_count=2),
        seed=seed,
        epochs=16,
        self_critical_epochs=0,
        batch_size=16,
        patience=8,
    )


def captions_by_name(directory: str) -> dict[str, str]:
    """Captions directory -> {name of the image file: caption}."""
    captions = {}
    for shard in committed_shards(os.listdir(directory)):
        with open(os.path.join(directory, shard.captions()), encoding="utf-8") as file:
            for row in map(json.loads, file):
                captions[os.path.basename(row["uri"])] = row["caption"]
    return captions


def _refuse_other_settings(output: str, settings: dict[str, object]) -> None:
    """Lets an interrupted demo continue, but not mix with one of other settings."""
    os.makedirs(output, exist_ok=True)
    path = os.path.join(output, DEMO_SETTINGS)
    if os.path.exists(path):
        with open_own(path) as file:
            existing = parse_json(file.read(), dict[str, Scalar], path, "remove the output, or choose another --output")
        if existing != settings:
            raise UserError(
                f"--output {output}: holds a demo with {_in_words(existing)}, not {_in_words(settings)}; remove it "
                "or choose another --output"
            )
    else:
        with open(path, "w", encoding="utf-8") as file:
            json.dump(settings, file)


def _in_words(settings: Mapping[str, object]) -> str:
    return ", ".join(f"--{name} {value}" for name, value in settings.items())


def _list_of_paths(names: str, folder: str, path: str) -> str:
    with open(names, encoding="utf-8") as file, open(path, "w", encoding="utf-8") as written:
        written.writelines(os.path.join(folder, name.strip()) + "\n" for name in file)
    return path


def _heading(text: str) -> None:
    print(f"\n== {text}", flush=True)


def _print_scores(scores: SceneScores, encoder: str) -> None:
    print(f"{counted(scores.pictures, 'held-out scene')}, {encoder.partition('. ')[0]}")
    print("  named correctly   by the captions   by always the commonest word")
    for what, share, baseline in (
        ("colour", scores.colour, scores.colour_baseline),
        ("shape", scores.shape, scores.shape_baseline),
    ):
        print(f"  {what:<15} {share:>17.1%} {baseline:>30.1%}")


def _print_words(shown: Iterable[Scene], path: str) -> None:
    """Prints true counts of colours and shapes beside those of `word_importance.csv`, singular and plural together."""
    with open(path, encoding="utf-8", newline="") as file:
        captions = {row["word"]: int(row["images"]) for row in csv.DictReader(file)}
    print("  word       scenes that show it   captions with it")
    for word, scenes in sorted(true_word_counts(shown).items(), key=lambda item: (-item[1], item[0])):
        print(f"  {word:<10} {scenes:>19} {captions.get(word, 0) + captions.get(plural_of(word), 0):>18}")


def plural_of(shape: str) -> str:
    """Word for a shape -> its plural, as the captions of the scenes spell it."""
    return f"{shape}es" if shape.endswith(("s", "x")) else f"{shape}s"


def _sheet_entry(scene: Scene, images: str, caption: str) -> tuple[str, str, bool]:
    """Scene and its caption -> entry of the contact sheet."""
    return os.path.join(images, scene.image), caption, score_captions([scene], {scene.image: caption}).both == 1
