"""`captionbeam demo`: draws a collection with known truth, runs every stage on it, compares with the truth."""

from __future__ import annotations

import csv
import json
import logging
import os
import time
from collections.abc import Iterable

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
from beam_pipeline.reports.report import REPORT
from beam_pipeline.shards.shard_id import committed_shards
from training.errors import UserError
from training.evaluate import evaluate
from training.options import EvaluateOptions, PresenceOptions, TrainOptions
from training.train import train

log = logging.getLogger("captionbeam")


def demo(options: DemoOptions, beam_options: PipelineOptions) -> SceneScores:
    """Runs all stages; returns how often the captions of held-out scenes name colour and shape right.

    Raises:
      UserError: the output holds a demo with other settings, or the weights cannot be had.
      JobFailed: a stage could not end well.
    """
    began = time.monotonic()
    weights, said = choose_weights(options.weights)
    output = os.path.abspath(options.output)
    collection = os.path.join(output, "collection")
    _refuse_other_settings(output, {"pictures": options.pictures, "seed": options.seed, "weights": weights})

    _heading(f"Drawing {options.pictures} scenes into {collection}")
    truth = os.path.join(collection, "truth.jsonl")  # written last
    scenes = read_truth(truth) if os.path.exists(truth) else draw_collection(collection, options.pictures, options.seed)

    _heading(f"captionbeam extract: {said}")
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

    _heading("captionbeam evaluate: the scenes held out from training")
    held_out = os.path.join(collection, "test.txt")
    scores_directory = os.path.join(output, "scores")
    evaluate(EvaluateOptions(captioner=captioner, features=features, list=held_out, output=scores_directory))

    _heading("captionbeam caption: the held-out scenes, from their image files")
    captions = os.path.join(output, "captions")
    to_caption = _list_of_paths(held_out, images, os.path.join(output, "held_out_images.txt"))
    caption(CaptionOptions(captioner=captioner, output=captions, images=to_caption, report=True), beam_options)

    generated = captions_by_name(captions)
    scores = score_captions(scenes, generated)
    _heading("Against the truth")
    shown = [scene for scene in scenes if scene.image in generated]
    _print_scores(scores, said)
    _print_words(shown, os.path.join(captions, WORDS))
    sheet = os.path.join(output, "contact_sheet.png")
    draw_contact_sheet([_shown(scene, images, generated[scene.image]) for scene in shown[:12]], sheet)
    print(f"\nSome of them with their captions: {sheet}")
    print(f"All of them and their words, as a page: {os.path.join(captions, REPORT)}")
    print(f"Everything is in {output}; it took {(time.monotonic() - began) / 60:.1f} minutes.")
    return scores


def choose_weights(weights: str) -> tuple[str, str]:
    """The value of --weights -> (value for extract, what to tell the user)."""
    if weights == "auto":
        try:
            imagenet_weight_file(InceptionV3())
        except UserError as error:
            log.debug("%s", error)
            return "random", (
                "InceptionV3 with random weights, its batch norms fitted to these scenes. Keras' ImageNet weights "
                "are neither cached here nor could they be downloaded; captions are better with them "
                "(--weights PATH takes a file)"
            )
        weights = "imagenet"
    if weights == "imagenet":
        return weights, "InceptionV3 with Keras' ImageNet weights"
    if weights == "random":
        return weights, "InceptionV3 with random weights, its batch norms fitted to these scenes"
    return weights, f"InceptionV3 with the weights of {weights}"


def training_options(features: str, captioner: str, collection: str, seed: int) -> TrainOptions:
    """A captioner for a few dozen words and a few hundred pictures: small, and trained in minutes."""
    return TrainOptions(
        features=features,
        output=captioner,
        train_list=os.path.join(collection, "train.txt"),
        dev_list=os.path.join(collection, "dev.txt"),
        seed=seed,
        epochs=16,
        self_critical_epochs=0,
        batch_size=16,
        embedding_size=64,
        hidden_size=256,
        min_count=2,
        patience=8,
        presence=PresenceOptions(members=2, hidden_size=128, min_count=2),
    )


def captions_by_name(directory: str) -> dict[str, str]:
    """Captions directory -> {file name: caption}."""
    found = {}
    for shard in committed_shards(os.listdir(directory)):
        with open(os.path.join(directory, shard.captions()), encoding="utf-8") as file:
            for row in map(json.loads, file):
                found[os.path.basename(row["uri"])] = row["caption"]
    return found


def _refuse_other_settings(output: str, settings: dict[str, object]) -> None:
    """A demo that was stopped goes on; one with other settings must not mix with it."""
    os.makedirs(output, exist_ok=True)
    path = os.path.join(output, "demo.json")
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            there = json.load(file)
        if there != settings:
            raise UserError(
                f"--output {output}: holds a demo with {there}, this one has {settings}; remove it or choose another"
            )
    else:
        with open(path, "w", encoding="utf-8") as file:
            json.dump(settings, file)


def _list_of_paths(names: str, folder: str, path: str) -> str:
    with open(names, encoding="utf-8") as file, open(path, "w", encoding="utf-8") as written:
        written.writelines(os.path.join(folder, name.strip()) + "\n" for name in file)
    return path


def _heading(text: str) -> None:
    print(f"\n== {text}", flush=True)


def _print_scores(scores: SceneScores, said: str) -> None:
    print(f"{scores.pictures} held-out scenes; {said.partition('. ')[0]}:")
    print(f"  colour named right {scores.colour:6.1%}   (always the commonest: {scores.colour_chance:.1%})")
    print(f"  shape named right  {scores.shape:6.1%}   (always the commonest: {scores.shape_chance:.1%})")


def _print_words(shown: Iterable[Scene], path: str) -> None:
    """The oracle's counts beside those of `word_importance.csv`, singular and plural together."""
    with open(path, encoding="utf-8", newline="") as file:
        counted = {row["word"]: int(row["images"]) for row in csv.DictReader(file)}
    print("  word       pictures in truth   pictures counted")
    for word, true in sorted(true_word_counts(shown).items(), key=lambda item: (-item[1], item[0])):
        print(f"  {word:<10} {true:>17}   {counted.get(word, 0) + counted.get(plural(word), 0):>16}")


def plural(shape: str) -> str:
    """The plural of a shape word, as the scenes' captions spell it."""
    return f"{shape}es" if shape.endswith(("s", "x")) else f"{shape}s"


def _shown(scene: Scene, images: str, caption: str) -> tuple[str, str, bool]:
    """A scene as the contact sheet takes it."""
    return os.path.join(images, scene.image), caption, score_captions([scene], {scene.image: caption}).both == 1
