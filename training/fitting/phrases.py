"""Fits the phrase head, which predicts phrases as the word-presence head predicts words."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import chain

import numpy as np

from training.fitting.pooled_pictures import PooledPictures, targets_of
from training.fitting.presence import fit_head
from training.models.phrases import PhraseHead, phrases_of
from training.options import PresenceOptions
from training.text.tokenizer import tokenize
from training.text.vocabulary import Vocabulary

MOST = 4000  # phrases
LEAST_PICTURES = 5  # that must have a phrase for it to be learnt


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

    in_captions: Counter[str] = Counter()
    in_pictures: Counter[str] = Counter()
    for captions in pictures.captions:
        each = [set(used_in(caption)) for caption in captions]
        in_captions.update(chain.from_iterable(each))
        in_pictures.update(set().union(*each))
    ranked = sorted(in_captions, key=lambda phrase: (-in_captions[phrase], phrase))
    # In a collection so small that no phrase is frequent enough, all phrases are learnt.
    phrases = tuple([one for one in ranked if in_pictures[one] >= LEAST_PICTURES][:MOST] or ranked[:MOST])
    total = sum(map(len, pictures.captions)) + 2 * options.prior_captions
    rate = {phrase: (in_captions[phrase] + options.prior_captions) / total for phrase in phrases}
    targets = targets_of(pictures.captions, phrases, used_in)
    head, _ = fit_head(pictures, targets, phrases, rate, seed, replace(options, members=1), "phrases")
    rarity = np.log(len(pictures.captions) / np.array([in_pictures[phrase] for phrase in phrases]))
    return PhraseHead(head, rarity.astype(np.float32))
