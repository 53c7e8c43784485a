"""How often the training captions use each word; a captioner keeps these counts to compare collections with."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from training.documents import Count
from training.own_names import WORD_COUNTS
from training.storage import read_document, write_document
from training.text.words import caption_words

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class _Document:
    """Schema of `word_counts.json`: of each word, the three counts of `WordCounts`."""

    pictures: Count
    captions: Count
    words: dict[str, tuple[Count, Count, Count]]


@dataclass
class WordCounts:
    """Word counts of captions that people wrote.

    Attributes:
      pictures, captions: how many were counted.
      times: word -> number of times that it occurs.
      in_captions: word -> captions that use it.
      in_pictures: word -> pictures with a caption that uses it.
    """

    pictures: int = 0
    captions: int = 0
    times: Counter[str] = field(default_factory=Counter)
    in_captions: Counter[str] = field(default_factory=Counter)
    in_pictures: Counter[str] = field(default_factory=Counter)

    def add_picture(self, captions: Sequence[str]) -> None:
        """Counts the captions of one picture."""
        words = [caption_words(text) for text in captions]
        self.pictures += 1
        self.captions += len(captions)
        for of_caption in words:
            self.times.update(of_caption)
            self.in_captions.update(set(of_caption))
        self.in_pictures.update({word for of_caption in words for word in of_caption})

    def save(self, directory: str) -> None:
        """Writes `word_counts.json` into a captioner directory, the most frequent word first."""
        words = sorted(self.times, key=lambda word: (-self.times[word], word))
        document = {
            "schema_version": SCHEMA_VERSION,
            "pictures": self.pictures,
            "captions": self.captions,
            "columns": ["times", "captions", "pictures"],
            "words": {word: [self.times[word], self.in_captions[word], self.in_pictures[word]] for word in words},
        }
        write_document(posixpath.join(directory, WORD_COUNTS), document)


def load_word_counts(directory: str) -> WordCounts | None:
    """Captioner directory -> its WordCounts; None if an earlier captionbeam, which kept none, trained it.

    Raises:
      UserError: the file is damaged or of another schema version.
    """
    path = posixpath.join(directory, WORD_COUNTS)
    document = read_document(path, _Document, "restore it as training wrote it, or remove it", SCHEMA_VERSION)
    if document is None:
        return None
    counts = WordCounts(document.pictures, document.captions)
    for word, (times, captions, pictures) in document.words.items():
        counts.times[word], counts.in_captions[word], counts.in_pictures[word] = times, captions, pictures
    return counts
