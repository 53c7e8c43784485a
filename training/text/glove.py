"""GloVe vectors for the words of a vocabulary.

Pennington, Socher and Manning 2014, "GloVe: Global vectors for word representation"; the files of
nlp.stanford.edu/projects/glove. A line holds a token and its numbers, separated by single spaces. Published files also
hold tokens with spaces in them ("at name@domain.com"), and converted ones a word2vec header and trailing spaces.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from training.errors import UserError
from training.storage import reading
from training.text.plurals import counted
from training.text.vocabulary import SPECIALS, Vocabulary

_PROBED_LINES = 100
_CHUNK_BYTES = 1 << 22


@dataclass(frozen=True)
class GloveCoverage:
    """How much of the training text has a GloVe vector.

    Attributes:
      found: words of the vocabulary that are in the file.
      words: words of the vocabulary.
      token_share: share (0 to 1) of the training tokens that these make up.
      dimension: D, numbers per vector in the file.
      spaced: lines whose token contains a space, which match no word.
    """

    found: int
    words: int
    token_share: float
    dimension: int
    spaced: int

    def __str__(self) -> str:
        left_out = f"; {counted(self.spaced, 'line')} left out: a token with a space" if self.spaced else ""
        return (
            f"GloVe {self.dimension}d: {self.found:,} of {counted(self.words, 'word')} "
            f"({self.found / max(self.words, 1):.1%}), {self.token_share:.1%} of the training tokens{left_out}"
        )


def load_glove(path: str, vocabulary: Vocabulary, counts: Counter[str], seed: int) -> tuple[np.ndarray, GloveCoverage]:
    """Initial word embeddings of a vocabulary from a GloVe text file.

    Words that are not in the file, and marks other than padding (zeros), get random vectors from a normal distribution
    with the mean and standard deviation of the vectors found. Memory holds the vocabulary's vectors only.

    Args:
      path: GloVe text file, on any TensorFlow file system.
      vocabulary: words wanted.
      counts: training tokens, for the coverage.
      seed: of the random vectors.

    Returns:
      vectors float32 [V, D], one row per id, and how much they cover.

    Raises:
      UserError: the file cannot be read or has no word of the vocabulary, or a line has another length or something
        that is not a number (named as file:line).
    """
    dimension, header = _probe(path)
    vectors: dict[str, np.ndarray] = {}
    spaced = 0
    for number, line in _lines(path):
        if not line or (number == 1 and header):
            continue
        fields = line.rsplit(" ", dimension)
        token, *rest = fields[0].split(" ")
        if len(fields) != dimension + 1 or not token or (rest and all(map(_is_number, rest))):
            raise UserError(
                f"{path}:{number}: {counted(line.count(' '), 'number')} where its other lines have {dimension}; "
                "all vectors of a GloVe file must have the same length"
            )
        if rest:
            spaced += 1
            continue
        if token in vocabulary and token not in vectors:
            vectors[token] = _numbers(fields[1:], path, number)
    if not vectors:
        raise UserError(
            f"{path}: holds none of the {counted(len(vocabulary.words), 'word')} of the captions; is it a GloVe file?"
        )
    table = _fill(vocabulary, vectors, dimension, seed)
    total = sum(counts.values())
    covered = sum(count for token, count in counts.items() if token in vectors)
    coverage = GloveCoverage(len(vectors), len(vocabulary.words), covered / total if total else 0.0, dimension, spaced)
    return table, coverage


def project(table: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Maps vectors to another dimension by a random orthogonal matrix.

    To more dimensions, lengths and angles of vectors are preserved exactly; to fewer, on average.

    Args:
      table: float32 [V, D].
      size: dimension wanted.
      seed: of the matrix.

    Returns:
      float32 [V, size].
    """
    dimension = table.shape[1]
    if dimension == size:
        return table
    gaussian = np.random.default_rng(seed).normal(size=(max(dimension, size), min(dimension, size)))
    basis = np.linalg.qr(gaussian)[0]  # (larger, smaller), orthonormal columns
    mapping = basis.T if size > dimension else basis * np.sqrt(dimension / size)  # (D, size)
    return (table @ mapping).astype(np.float32)


def _fill(vocabulary: Vocabulary, vectors: dict[str, np.ndarray], dimension: int, seed: int) -> np.ndarray:
    rows = np.stack(list(vectors.values()))  # (words found, D)
    draw = np.random.default_rng(seed).normal(size=(len(vocabulary), dimension))
    table = (rows.mean(axis=0) + draw * rows.std(axis=0)).astype(np.float32)  # (V, D)
    table[0] = 0.0
    for number, word in enumerate(vocabulary.words, start=SPECIALS):
        if word in vectors:
            table[number] = vectors[word]
    return table


def _probe(path: str) -> tuple[int, bool]:
    """File -> (numbers per vector, whether line 1 is a word2vec header: two whole numbers).

    The length is the commonest one of the first lines, so that a token with spaces on line 1 does not decide it.
    """
    lengths: Counter[int] = Counter()
    header = False
    for number, line in _lines(path):
        fields = line.split(" ")
        if number == 1 and len(fields) == 2 and all(field.isascii() and field.isdigit() for field in fields):
            header = True
        elif line:
            lengths[len(fields) - 1] += 1
        if number >= _PROBED_LINES:
            break
    usual = min(lengths, key=lambda length: (-lengths[length], length), default=0)
    if usual < 1:
        raise UserError(f"{path}: no line with a word and its numbers; is it a GloVe text file?")
    return usual, header


def _lines(path: str) -> Iterator[tuple[int, str]]:
    """Numbered lines (from 1) without their ends, trailing blanks and byte-order mark."""
    number = 0
    try:
        with reading(path) as file:
            rest = b""
            while chunk := file.read(_CHUNK_BYTES):
                # Only b"\n" ends a line: GloVe tokens hold U+0085 and other characters that str.splitlines() cuts at.
                *whole, rest = (rest + chunk).split(b"\n")
                for raw in whole:
                    number += 1
                    yield number, _text(raw, number)
            if rest:
                yield number + 1, _text(rest, number + 1)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror or error}); --glove takes a GloVe text file"
        ) from error


def _text(raw: bytes, number: int) -> str:
    line = raw.decode("utf-8", errors="replace").rstrip(" \t\r")
    return line.removeprefix("\ufeff") if number == 1 else line


def _numbers(fields: list[str], path: str, line: int) -> np.ndarray:
    try:
        vector = np.array(fields, dtype=np.float32)
    except ValueError as error:
        raise UserError(
            f"{path}:{line}: not a number among the vector's fields ({error}); the line is damaged"
        ) from error
    if not np.isfinite(vector).all():
        raise UserError(f"{path}:{line}: a number of the vector is not finite; the line is damaged")
    return vector


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
