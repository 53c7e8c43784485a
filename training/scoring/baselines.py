"""Captions that a captioner has to beat, or to come near: people's own, and two that need no captioner at all."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from training.data.caption_files import normalized_name, read_image_list
from training.data.dataset import DescribedPicture, pictures_of
from training.data.feature_set import FeatureSet
from training.data.splits import TRAIN, Split, image_names, make_split
from training.errors import UserError
from training.scoring.scores import References
from training.text.tokenizer import tokenize

_COMPARED_AT_ONCE = 512  # training pictures


@dataclass
class ScoredPictures:
    """The listed pictures that have features and captions; what is kept of each is small.

    Attributes:
      references: listed name -> what people wrote.
      number: listed name -> place of its picture in the two lists; files of one content are one picture.
      sha256: of each picture.
      pooled: float32 [C], the mean of each picture's feature grid.
    """

    references: dict[str, Sequence[str]] = field(default_factory=dict)
    number: dict[str, int] = field(default_factory=dict)
    sha256: list[str] = field(default_factory=list)
    pooled: list[np.ndarray] = field(default_factory=list)

    def read(self, features: FeatureSet, listed: Mapping[str, str]) -> Iterator[tuple[DescribedPicture, np.ndarray]]:
        """Yields the pictures with captions that a list names, with their features, and keeps note of them.

        Args:
          features: where they are.
          listed: name in Unicode's composed form -> name as the list has it.
        """
        for picture, feature in pictures_of(features, lambda sha256, uris: not image_names(uris).isdisjoint(listed)):
            if not picture.captions:
                continue
            for name in self.names(picture, listed):
                self.references[name] = picture.captions
                self.number[name] = len(self.sha256)
            self.sha256.append(picture.sha256)
            self.pooled.append(pool(feature))
            yield picture, feature

    @staticmethod
    def names(picture: DescribedPicture, listed: Mapping[str, str]) -> list[str]:
        """What the list calls a picture: one name or several."""
        return [listed[name] for name in sorted(image_names(picture.uris) & listed.keys())]


@dataclass(frozen=True)
class TrainingCaptions:
    """What the training pictures have to say about the scored ones.

    Attributes:
      pictures, captions: of the training split.
      commonest: the caption that stands there most often, and how often; among equals the alphabet decides.
      nearest: listed name -> a caption of the training picture that looks most alike.
      copied: those of the asked captions (tokens joined by spaces) that are training captions word for word.
    """

    pictures: int
    captions: int
    commonest: tuple[str, int]
    nearest: dict[str, str]
    copied: frozenset[str]


def pool(feature: np.ndarray) -> np.ndarray:
    """float16 grid [P, C] or pooled feature [C] -> its mean over the grid, float32 [C]."""
    return feature.reshape(-1, feature.shape[-1]).mean(axis=0, dtype=np.float32)


def leave_one_out(references: References) -> tuple[dict[str, str], dict[str, list[str]]]:
    """References -> one human caption of each picture, and the others; pictures with a single caption are left out.

    The n-th picture gives its n-th caption, round and round: a file's first captions need not be like its others
    (Flickr8k's are in alphabetical order).
    """
    held, others = {}, {}
    for turn, name in enumerate(sorted(name for name, texts in references.items() if len(texts) > 1)):
        texts = list(references[name])
        held[name] = texts.pop(turn % len(texts))
        others[name] = texts
    return held, others


def consensus(captions: Sequence[str]) -> str:
    """The caption whose words the others share most (mean F1 of word counts); among equals the first."""
    counts = [Counter(tokenize(text)) for text in captions]

    def agreement(number: int) -> float:
        return math.fsum(
            2 * (counts[number] & other).total() / max(counts[number].total() + other.total(), 1)
            for place, other in enumerate(counts)
            if place != number
        )

    return captions[max(range(len(captions)), key=lambda number: (agreement(number), -number))]


def training_split(
    train_list: str | None, trained_with: Mapping[str, Any] | None, features: FeatureSet
) -> tuple[Split | None, str]:
    """Which pictures are training pictures, or None and why nobody knows.

    Args:
      train_list: the --train-list given to evaluate; goes before what the captioner remembers.
      trained_with: the captioner's, from its `config.json`; None where captions come from elsewhere.
      features: the feature set at hand.

    Raises:
      UserError: `train_list` cannot be read.
    """
    if train_list:
        return Split(frozenset(map(normalized_name, read_image_list(train_list))), frozenset(), 0.0), ""
    remedy = "--train-list FILE names them"
    if trained_with is None:
        return None, f"nothing tells the training pictures of these captions; {remedy}"
    lists = trained_with.get("train_list"), trained_with.get("dev_list")
    shards = [shard.sha256 for shard in features.shards if shard.records]
    if None in lists and trained_with.get("feature_shards") != shards:
        return None, f"the captioner divided another feature set than {features.path} by content; {remedy}"
    try:
        return make_split(*lists, features.records), ""
    except UserError as error:
        return None, f"the captioner's own list cannot be read ({error}); {remedy}"


def read_training(
    features: FeatureSet, split: Split, scored: ScoredPictures, asked: Collection[str]
) -> TrainingCaptions | None:
    """One pass over the training pictures; None if none of them is in the feature set with captions.

    Nearest is the largest cosine of the means of the feature grids; a picture is never its own neighbour. Of the
    nearest picture's captions the `consensus` is taken. Memory grows with the scored pictures and with the distinct
    training captions, not with the training features.

    Args:
      features: where they are.
      split: says which pictures train.
      scored: pictures that want a neighbour.
      asked: captions, tokens joined by spaces, of which some may be copied.
    """
    number = {sha256: place for place, sha256 in enumerate(scored.sha256)}
    ours = _unit_length(np.stack(scored.pooled))  # (N, C)
    best = np.full(len(ours), -np.inf, np.float32)
    captions: list[Sequence[str]] = [()] * len(ours)
    pictures = 0
    times: Counter[str] = Counter()
    wanted = pictures_of(features, split.selects(TRAIN))
    training = ((picture, pool(feature)) for picture, feature in wanted if picture.captions)
    while batch := list(islice(training, _COMPARED_AT_ONCE)):
        pictures += len(batch)
        for picture, _ in batch:
            times.update(" ".join(tokenize(text)) for text in picture.captions)
        cosines = ours @ _unit_length(np.stack([pooled for _, pooled in batch])).T  # (N, batch)
        for column, (picture, _) in enumerate(batch):
            if picture.sha256 in number:
                cosines[number[picture.sha256], column] = -np.inf
        nearest = cosines.argmax(axis=1)
        found = cosines[np.arange(len(ours)), nearest]
        for place in np.flatnonzero(found > best):
            captions[place] = batch[nearest[place]][0].captions
        best = np.maximum(best, found)
    if not pictures:
        return None
    commonest = min(times.items(), key=lambda item: (-item[1], item[0]))
    said = {place: consensus(texts) for place, texts in enumerate(captions) if texts}
    return TrainingCaptions(
        pictures=pictures,
        captions=times.total(),
        commonest=commonest,
        nearest={name: said[place] for name, place in scored.number.items() if place in said},
        copied=frozenset(text for text in asked if text in times),
    )


def _unit_length(vectors: np.ndarray) -> np.ndarray:
    """float32 [n, C] -> the same directions, length 1; zeros stay."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)


def diversity(
    captions: Mapping[str, str], copied: Callable[[str], bool] | None = None
) -> dict[str, float | int | None]:
    """Picture -> caption -> how varied the captions are.

    Returns:
      "distinct_captions" and "distinct_words": how many differ, as the tokenizer cuts them; "mean_words": of a
      caption; "copied_from_training": share, 0 to 1, of the captions for which `copied` holds, None without it.
    """
    cuts = [tokenize(text) for text in captions.values()]
    texts = [" ".join(tokens) for tokens in cuts]
    return {
        "distinct_captions": len(set(texts)),
        "distinct_words": len({token for tokens in cuts for token in tokens}),
        "mean_words": round(sum(map(len, cuts)) / len(cuts), 3),
        "copied_from_training": None if copied is None else round(sum(map(copied, texts)) / len(texts), 5),
    }
