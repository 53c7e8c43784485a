"""Baselines: captions by people, and two that need no captioner (nearest training picture, most frequent caption)."""

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
    """The listed pictures that have features and captions; little is kept of each.

    Attributes:
      references: listed name -> captions by people.
      wordless: listed name -> number of captions that were left out because they have no word.
      number: listed name -> place of its picture in `sha256` and `pooled`; files of one content are one picture.
      sha256: of each picture.
      pooled: mean of each picture's feature grid, float32 [C].
    """

    references: dict[str, Sequence[str]] = field(default_factory=dict)
    wordless: dict[str, int] = field(default_factory=dict)
    number: dict[str, int] = field(default_factory=dict)
    sha256: list[str] = field(default_factory=list)
    pooled: list[np.ndarray] = field(default_factory=list)

    def read(self, features: FeatureSet, listed: Mapping[str, str]) -> Iterator[tuple[DescribedPicture, np.ndarray]]:
        """Yields the listed pictures that have captions, with their features, and records them here.

        Args:
          features: feature set with captions.
          listed: name in Unicode's composed form -> name as in the list.
        """
        for picture, feature in pictures_of(features, lambda sha256, uris: not image_names(uris).isdisjoint(listed)):
            names = self.names(picture, listed)
            if picture.wordless:
                self.wordless |= dict.fromkeys(names, picture.wordless)
            if not picture.captions:
                continue
            for name in names:
                self.references[name] = picture.captions
                self.number[name] = len(self.sha256)
            self.sha256.append(picture.sha256)
            self.pooled.append(pool(feature))
            yield picture, feature

    @staticmethod
    def names(picture: DescribedPicture, listed: Mapping[str, str]) -> list[str]:
        """Picture -> its names in the list, one or several."""
        return [listed[name] for name in sorted(image_names(picture.uris) & listed.keys())]


@dataclass(frozen=True)
class TrainingCaptions:
    """Baselines from the training pictures.

    Attributes:
      pictures, captions: number of training pictures and of their captions.
      commonest: the most frequent training caption and its count; the first in alphabetical order among equals.
      nearest: listed name -> a caption of the most similar training picture.
      copied: those of the asked captions (tokens joined by spaces) that are training captions word for word.
    """

    pictures: int
    captions: int
    commonest: tuple[str, int]
    nearest: dict[str, str]
    copied: frozenset[str]


def pool(feature: np.ndarray) -> np.ndarray:
    """Feature float16 [P, C] or [C] -> its mean over the grid, float32 [C]."""
    return feature.reshape(-1, feature.shape[-1]).mean(axis=0, dtype=np.float32)


def leave_one_out(references: References) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Holds out one caption of each picture; pictures with a single caption are left out.

    Each picture holds out the caption after that of the picture before, in turn: the first captions of a file may
      differ
    from the others (Flickr8k's are in alphabetical order).

    Returns:
      {name: held-out caption} and {name: its other captions}.
    """
    held_out, others = {}, {}
    for turn, name in enumerate(sorted(name for name, texts in references.items() if len(texts) > 1)):
        texts = list(references[name])
        held_out[name] = texts.pop(turn % len(texts))
        others[name] = texts
    return held_out, others


def consensus(captions: Sequence[str]) -> str:
    """Captions of a picture -> the one whose mean F1 of word counts with the others is highest; the first of equals."""
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
    """Which pictures are training pictures, or None and why that is not known.

    Args:
      train_list: value of --train-list; takes precedence over the captioner's own.
      trained_with: settings of the captioner's training, from its `config.json`; None if captions are made elsewhere.
      features: feature set that is scored.

    Raises:
      UserError: `train_list` cannot be read.
    """
    if train_list:
        return Split(frozenset(map(normalized_name, read_image_list(train_list))), frozenset(), 0.0), ""
    remedy = "--train-list FILE names them"
    if trained_with is None:
        return None, f"the training pictures of these captions are not known; {remedy}"
    lists = trained_with.get("train_list"), trained_with.get("dev_list")
    shards = [shard.sha256 for shard in features.shards if shard.records]
    if None in lists and trained_with.get("feature_shards") != shards:
        return (
            None,
            f"the captioner was trained on another feature set than {features.path}, divided by content; {remedy}",
        )
    try:
        return make_split(*lists, features.records), ""
    except UserError as error:
        return None, f"the list that the captioner was trained with cannot be read ({error}); {remedy}"


def read_training(
    features: FeatureSet, split: Split, scored: ScoredPictures, asked: Collection[str]
) -> TrainingCaptions | None:
    """Reads the training pictures once; None if none of them is in the feature set with captions.

    The nearest picture has the largest cosine of mean features; a picture is never its own neighbour. The `consensus`
    of its captions is taken. Memory grows with the scored pictures and the distinct training captions, not with the
    training features.

    Args:
      features: feature set with captions.
      split: which of its pictures train.
      scored: pictures that need a neighbour.
      asked: captions, tokens joined by spaces, to be looked for among the training captions.
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
        largest = cosines[np.arange(len(ours)), nearest]
        for place in np.flatnonzero(largest > best):
            captions[place] = batch[nearest[place]][0].captions
        best = np.maximum(best, largest)
    if not pictures:
        return None
    commonest = min(times.items(), key=lambda item: (-item[1], item[0]))
    chosen = {place: consensus(texts) for place, texts in enumerate(captions) if texts}
    return TrainingCaptions(
        pictures=pictures,
        captions=times.total(),
        commonest=commonest,
        nearest={name: chosen[place] for name, place in scored.number.items() if place in chosen},
        copied=frozenset(text for text in asked if text in times),
    )


def _unit_length(vectors: np.ndarray) -> np.ndarray:
    """Vectors float32 [n, C] -> the same directions with length 1; zeros stay."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)


def diversity(
    captions: Mapping[str, str], copied: Callable[[str], bool] | None = None
) -> dict[str, float | int | None]:
    """Figures of the diversity of captions.

    Args:
      captions: picture -> caption.
      copied: caption as tokens joined by spaces -> whether it is a training caption; None if that is not known.

    Returns:
      "distinct_captions" and "distinct_words": how many different ones there are after tokenization; "mean_words": of a
      caption; "copied_from_training": share, 0 to 1, of the captions that are copied, None without `copied`.
    """
    cuts = [tokenize(text) for text in captions.values()]
    texts = [" ".join(tokens) for tokens in cuts]
    return {
        "distinct_captions": len(set(texts)),
        "distinct_words": len({token for tokens in cuts for token in tokens}),
        "mean_words": round(sum(map(len, cuts)) / len(cuts), 3),
        "copied_from_training": None if copied is None else round(sum(map(copied, texts)) / len(texts), 5),
    }
