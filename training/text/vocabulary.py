"""The vocabulary: words and their ids.

Four ids are marks: padding, start, end, unknown. They have no spelling, so no text can produce them: "<unk>" or
"<start>" in a caption is an ordinary (rare) word.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from training.errors import UserError
from training.own_names import VOCABULARY
from training.storage import read_own, write_bytes
from training.text.plurals import counted
from training.text.tokenizer import is_word

PAD, START, END, UNKNOWN = range(4)
SPECIALS = 4  # ids below this are not words


@dataclass(frozen=True)
class Vocabulary:
    """Words in the order of their ids; `words[0]` has id `SPECIALS`."""

    words: tuple[str, ...]

    def __len__(self) -> int:
        """Number of ids V, marks included."""
        return SPECIALS + len(self.words)

    def __contains__(self, word: str) -> bool:
        return word in self._ids

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words, start=SPECIALS)}

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """Tokens -> ids; a token that is not in the vocabulary becomes `UNKNOWN`."""
        return [self._ids.get(token, UNKNOWN) for token in tokens]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Ids -> words up to the end mark; other marks are left out."""
        words = []
        for number in ids:
            if number == END:
                break
            if number >= SPECIALS:
                words.append(self.words[number - SPECIALS])
        return words

    def unknown_share(self, counts: Counter[str]) -> float:
        """Token counts of a text -> share (0 to 1) of its tokens that are not in the vocabulary."""
        total = sum(counts.values())
        return sum(count for token, count in counts.items() if token not in self) / total if total else 0.0

    def to_bytes(self) -> bytes:
        """Returns the content of its file: one word per line, UTF-8."""
        return "".join(f"{word}\n" for word in self.words).encode()

    def save(self, path: str) -> None:
        """Writes its file."""
        write_bytes(path, self.to_bytes())


def build_vocabulary(counts: Counter[str], min_count: int) -> Vocabulary:
    """Token counts of the training captions -> vocabulary of the words that occur at least `min_count` times.

    The most frequent word comes first, words of equal counts are in alphabetical order. Tokens that are not words
    (names of brackets, lone symbols) are left out.

    Raises:
      UserError: no word is frequent enough.
    """
    kept = [(token, count) for token, count in counts.items() if count >= min_count and is_word(token)]
    if not kept:
        most = max(counts.values(), default=0)
        raise UserError(
            f"no word occurs {counted(min_count, 'time')} in the training captions (the most frequent one "
            f"{counted(most, 'time')}); add captions"
        )
    return Vocabulary(tuple(token for token, _ in sorted(kept, key=lambda item: (-item[1], item[0]))))


def load_vocabulary(directory: str) -> Vocabulary:
    """Captioner directory -> its vocabulary.

    Raises:
      UserError: the file is missing or a line is empty or repeated; names file and line.
    """
    path = posixpath.join(directory, VOCABULARY)
    try:
        words = read_own(path).decode().splitlines()
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: missing or not UTF-8; is {directory} the output of `captionbeam train`?") from error
    return Vocabulary(_checked(words, path))


def _checked(words: Sequence[str], path: str) -> tuple[str, ...]:
    first_line: dict[str, int] = {}
    for line, word in enumerate(words, start=1):
        if not word or word in first_line:
            fault = f"repeats line {first_line[word]}" if word else "is empty"
            raise UserError(f"{path}:{line}: {fault}; ids are line numbers, so restore the file as training wrote it")
        first_line[word] = line
    return tuple(words)
