"""Terms of a caption: its words, their lemmas, and its bigrams of content words.

The lemma of a word depends on the word alone, never on other captions, so the counts of two halves of a collection add
up to those of the whole.
"""

from __future__ import annotations

import functools
import importlib.resources
import itertools
from collections import Counter
from collections.abc import Iterator

import simplemma

from training.text.words import caption_words

WORD, LEMMA, BIGRAM = "word", "lemma", "bigram"
Term = tuple[str, str]  # (WORD, LEMMA or BIGRAM; text); a space separates the two words of a bigram


def _lines(file_name: str) -> Iterator[str]:
    text = importlib.resources.files("beam_pipeline.words").joinpath(file_name).read_text("utf-8")
    return (line for line in text.splitlines() if line and not line.startswith("#"))


@functools.cache
def stop_words() -> frozenset[str]:
    """Function words, which name nothing in a picture, from `stop_words.txt`."""
    return frozenset(word for line in _lines("stop_words.txt") for word in line.split())


@functools.cache
def _lemmas() -> dict[str, str]:
    """Word -> lemma, of the words where `lemmas.txt` overrides the dictionary."""
    return {words[0]: words[-1] for words in map(str.split, _lines("lemmas.txt"))}


@functools.lru_cache(maxsize=1 << 16)
def lemma(word: str) -> str:
    """English word -> its dictionary form in lower case: dogs -> dog, men -> man, runs -> run, but bus -> bus.

    Stop words, words with a digit and words of other scripts are returned unchanged.
    """
    if is_stop(word) or any(map(str.isdigit, word)):
        return word
    if word in _lemmas():
        return _lemmas()[word]
    base = simplemma.lemmatize(word, lang="en").lower()
    # Another spelling of the same word (long-haired, longhaired) is not its lemma.
    return word if base.replace("-", "") == word.replace("-", "") else base


def is_stop(text: str) -> bool:
    """Whether the text of a term is a stop word; that of a bigram never is."""
    return text in stop_words()


def content_words(caption: str) -> list[str]:
    """Caption -> its words in lower case, without stop words and punctuation."""
    return [word for word in caption_words(caption) if not is_stop(word)]


def count_terms(words: list[str]) -> Counter[Term]:
    """Words of a caption -> occurrences of each of its terms.

    A bigram is two content words side by side in the caption, with no stop word between them.
    """
    terms: Counter[Term] = Counter((WORD, word) for word in words)
    terms.update((LEMMA, lemma(word)) for word in words)
    pairs = itertools.pairwise(words)
    terms.update((BIGRAM, f"{first} {second}") for first, second in pairs if not (is_stop(first) or is_stop(second)))
    return terms
