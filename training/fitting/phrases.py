"""Fits the phrase head, which predicts phrases as the word-presence head predicts words."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from training.fitting.pooled_pictures import PooledPictures, targets_of
from training.fitting.presence import fit_head
from training.models.phrases import PhraseHead, phrases_of
from training.options import PresenceOptions
from training.text.tokenizer import tokenize
from training.text.vocabulary import Vocabulary

MOST = 4000  # phrases that are learnt
LEAST = 5  # training pictures that must have one


def fit_phrases(
    pictures: PooledPictures, vocabulary: Vocabulary, max_words: int, seed: int, options: PresenceOptions
) -> PhraseHead:
    """Fits a head of one member to the phrases that most training pictures have; the same seed gives the same head.

    Args:
      pictures: training pictures.
      vocabulary: of the decoder.
      max_words: longer captions are cut.
      seed: of initial weights, order, views and dropout.
      options: settings of the word-presence head.
    """

    def used_in(caption: str) -> list[str]:
        return list(phrases_of(tokenize(caption)[:max_words], vocabulary))

    frequency: Counter[str] = Counter()  # pictures whose captions have a phrase
    for captions in pictures.captions:
        frequency.update({phrase for caption in captions for phrase in used_in(caption)})
    ranked = sorted(frequency, key=lambda phrase: (-frequency[phrase], phrase))[:MOST]
    # In a collection so small that no phrase is frequent enough, all phrases are learnt.
    phrases = tuple([phrase for phrase in ranked if frequency[phrase] >= LEAST] or ranked)
    targets = targets_of(pictures.captions, phrases, used_in)
    total = np.bincount(targets.places, targets.shares, len(phrases))
    rates = (total + options.prior_captions) / (len(pictures.captions) + 2 * options.prior_captions)
    rate = dict(zip(phrases, rates.tolist(), strict=True))
    head, _ = fit_head(pictures, targets, phrases, rate, seed, replace(options, members=1), "phrases")
    rarity = np.log(len(pictures.captions) / np.array([frequency[phrase] for phrase in phrases]))
    return PhraseHead(head, rarity.astype(np.float32))
