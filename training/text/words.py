"""Words of a caption in any script, for counting.

Captions in an alphabet that puts spaces between words are split by `tokenizer.tokenize`, as in training and scoring.
Letters with combining marks (Hindi, Arabic with vowels) and scripts without spaces are split at the word boundaries of
Unicode (UAX #29). Those would leave single letters of Thai, Chinese and Japanese, where BudouX finds the words; in
Japanese a change from ideograms or katakana to hiragana separates a word from its ending. Words come in lower case and
in Unicode's composed form (NFC).
"""

from __future__ import annotations

import functools
import itertools
import unicodedata
from collections.abc import Callable

import budoux
import regex

from training.text.tokenizer import CLITICS, is_word, tokenize

_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_NEEDS_SEGMENTING = regex.compile(rf"[\p{{M}}{_UNSPACED}]")
_THAI = regex.compile(r"[\p{Thai}\p{M}]+")
# The prolonged sound mark and the iteration marks belong to several scripts, and to the words that they stand in.
_EAST_ASIAN = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\u30fc\u3005]+")
_OTHER = regex.compile(r".[^\p{Thai}\p{Han}\p{Hiragana}\p{Katakana}\u30fc\u3005]*", regex.DOTALL)
_KANA = regex.compile(r"[\p{Hiragana}\p{Katakana}]")
_BEFORE_ENDING = regex.compile(r"(?<=[\p{Han}\p{Katakana}\u30fc\u3005])(?=\p{Hiragana})", regex.V1)
_BOUNDARY = regex.compile(r"\b", regex.WORD | regex.V1)
_APOSTROPHES = str.maketrans("\u2018\u2019\u201b", "'''")


_SCRIPTS_WITHOUT_SPACES = {
    "Chinese or Japanese": regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}]"),
    "Thai": regex.compile(r"\p{Thai}"),
    "Lao": regex.compile(r"\p{Lao}"),
    "Khmer": regex.compile(r"\p{Khmer}"),
    "Burmese": regex.compile(r"\p{Myanmar}"),
}


def script_without_spaces(caption: str) -> str:
    """Caption -> the first script in it that puts no spaces between words, such as "Thai"; "" for none.

    `caption_words` finds its words; `tokenizer.tokenize` takes all that stands between two spaces for one.
    """
    if caption.isascii():
        return ""
    return next((name for name, script in _SCRIPTS_WITHOUT_SPACES.items() if script.search(caption)), "")


def caption_words(caption: str) -> list[str]:
    """Caption -> its words in order, without punctuation, brackets and clitics ('s, n't).

    >>> caption_words("The dog’s ball doesn't roll.")
    ['the', 'dog', 'ball', 'does', 'roll']
    """
    if caption.isascii():
        return [token for token in tokenize(caption) if _counts(token)]
    text = unicodedata.normalize("NFC", caption)
    words: list[str] = []
    for segment, chunks in itertools.groupby(text.split(), key=lambda chunk: bool(_NEEDS_SEGMENTING.search(chunk))):
        if segment:
            for chunk in chunks:
                words += _segment(chunk.translate(_APOSTROPHES).lower())
        else:
            words += [token for token in tokenize(" ".join(chunks)) if _counts(token)]
    return words


def _counts(token: str) -> bool:
    return is_word(token) and token not in CLITICS and not token.startswith("'")


@functools.lru_cache(maxsize=1 << 14)
def _segment(chunk: str) -> tuple[str, ...]:
    """Text between two spaces -> its words."""
    words: list[str] = []
    position = 0
    while position < len(chunk):
        if match := _THAI.match(chunk, position):
            words += _parser("th").parse(match[0])
        elif match := _EAST_ASIAN.match(chunk, position):
            words += _east_asian(match[0])
        else:
            match = _OTHER.match(chunk, position)
            words += _BOUNDARY.split(match[0])
        position = match.end()
    return tuple(word for word in words if any(map(str.isalnum, word)))


def _east_asian(run: str) -> list[str]:
    if not _KANA.search(run):
        return _parser("zh").parse(run)
    return [word for phrase in _parser("ja").parse(run) for word in _BEFORE_ENDING.split(phrase)]


@functools.cache
def _parser(language: str) -> budoux.Parser:
    load: dict[str, Callable[[], budoux.Parser]] = {
        "ja": budoux.load_default_japanese_parser,
        "th": budoux.load_default_thai_parser,
        "zh": budoux.load_default_simplified_chinese_parser,
    }
    return load[language]()
