"""How likely a person would accept a caption, and what is odd about it: how a captioner judges its own captions.

Signals that cost next to nothing once a picture is captioned (the caption's own log-probability, how far its words are
those that the word-presence head sees, how much the picture looks like the training pictures) go into a regression
that was fitted to the dev pictures; see `training.scoring.acceptance` for what it predicts.

Letters: B pictures, V words of the word-presence head, C channels, F signals.
"""

from __future__ import annotations

import hashlib
import io
import json
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from training.errors import UserError
from training.models.calibration import Calibration
from training.models.captioner_files import CONFIDENCE, CONFIDENCE_ARRAYS
from training.models.familiarity import Familiarity
from training.models.flags import COPIED, REPEATS, UNLIKE
from training.models.presence import TINY
from training.storage import exists, read_bytes, read_json, remove, write_bytes, write_json
from training.text.words import caption_words

SCHEMA_VERSION = 1
SIGNALS = ("score", "agreement", "coverage", "familiarity")
FAMILIARITY = SIGNALS.index("familiarity")
_TELLING = 1.0  # weight from which on a word says something: one in e training pictures has it, "a" and "in" more do
_PHRASE = 3  # words that are looked for again, at most
# What `confidence.json` holds beside the report.
_NOT_REPORT = {"schema_version", "fitted_to", "signals", "familiarity", "calibration", "halves"}
DIGITS = 4  # of a confidence, wherever it is written or compared
_RENEW = f"call train again as it was called, which makes it anew, or remove {CONFIDENCE} to do without"


@dataclass(frozen=True)
class Seen:
    """What is known of one picture before its captions are looked at.

    Attributes:
      presence: float64 [V], of each word.
      total: of the presences, each by its word's weight.
      length: of the same as a vector.
      distance: from the training pictures.
    """

    presence: np.ndarray
    total: float
    length: float
    distance: float


@dataclass(frozen=True)
class Confidence:
    """Judges captions.

    Attributes:
      words: V of the word-presence head.
      weights: float32 [V], of each word: the rarer in training, the more it tells.
      copies: uint64, sorted: `fingerprint` of each training caption.
      fitted: uint64, sorted: the first 16 digits of the sha256 of each picture that the regressions were fitted to.
      familiarity: what training pictures look like.
      calibrations: whose mean is the confidence; one, or one of each captioner of an ensemble, or none.
      halves: for each of them the two that were fitted to half of the pictures; see `half_of`.
      report: what `confidence.json` tells of the fit, for people; "why_not" where nothing could be fitted.
      id: 12 hex digits of all that decides its answers.
    """

    words: tuple[str, ...]
    weights: np.ndarray
    copies: np.ndarray
    fitted: np.ndarray
    familiarity: Familiarity
    calibrations: tuple[Calibration, ...] = ()
    halves: tuple[tuple[Calibration, Calibration], ...] = ()
    report: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""

    @cached_property
    def _place(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words)}

    def see(self, presence: np.ndarray, looks: np.ndarray) -> list[Seen]:
        """Presence [B, V] by the head alone and `familiarity.looks` [B, C] -> Seen of each picture.

        A picture at a time: a product of matrices would round by how many there are.
        """
        found = []
        for likely, look in zip(presence.astype(np.float64), looks, strict=True):
            weighted = likely * self.weights
            found.append(
                Seen(likely, float(weighted.sum()), float(np.linalg.norm(weighted)), self.familiarity.distance(look))
            )
        return found

    def signals(self, seen: Seen, caption: str, score: float) -> tuple[float, ...]:
        """One caption and the mean log-probability of its words -> F numbers, each the larger the better.

        score: as it comes.
        agreement: cosine of the caption's words with the words that people likely use, both weighted as CIDEr does:
          what CIDEr-1 the captioner expects.
        coverage: share of the words that people likely use, by their weight, that the caption says.
        familiarity: minus the distance from the training pictures.
        """
        places = sorted({self._place[word] for word in caption_words(caption) if word in self._place})
        likely, weights = seen.presence[places], self.weights[places].astype(np.float64)
        in_common = float((weights * weights * likely).sum())
        agreement = in_common / max(float(np.linalg.norm(weights)) * seen.length, TINY)
        coverage = float((weights * likely).sum()) / max(seen.total, TINY)
        return score, agreement, coverage, -seen.distance

    def probability(self, signals: Sequence[float], held_out: int | None = None) -> float | None:
        """F signals -> the confidence, rounded; None where nothing was fitted.

        Pictures unlike anything in training were not among those that the regression was fitted to: what it says of
        them is discounted.

        Args:
          held_out: half of the fitted pictures that is asked about, so that the other half's regression answers.
        """
        asked = self.calibrations if held_out is None else [pair[1 - held_out] for pair in self.halves]
        if not asked:
            return None
        values = np.array(signals, np.float64)
        likely = float(np.mean([calibration.probability(values) for calibration in asked]))
        return round(likely * self.familiarity.discount(-values[FAMILIARITY]), DIGITS)

    def was_fitted_to(self, sha256: str) -> bool:
        """Whether a picture is one that the regressions were fitted to."""
        return _holds(self.fitted, np.uint64(content_number(sha256)))

    def flags(self, seen: Seen, caption: str) -> tuple[str, ...]:
        """REPEATS: a thing is said twice over; COPIED: the caption is a training caption word for word; UNLIKE: the
        picture is like none there.
        """
        words = caption_words(caption)
        odd = {
            REPEATS: says_again([(word, self._tells(word)) for word in words]),
            COPIED: _holds(self.copies, fingerprint(caption)),
            UNLIKE: seen.distance > self.familiarity.limit,
        }
        return tuple(flag for flag, holds in odd.items() if holds)

    def _tells(self, word: str) -> bool:
        """Whether a word is of so few training pictures that it says something of one."""
        return word not in self._place or bool(self.weights[self._place[word]] >= _TELLING)

    def joined(self, others: Sequence[Confidence]) -> Confidence:
        """The one that an ensemble's captions are judged by.

        Its captioners share features, vocabulary and training pictures, so what is known of these is the first one's;
        the confidence is the mean of theirs, each from the signals of the ensemble's captions.
        """
        every = [self, *others]
        return replace(
            self,
            copies=np.unique(np.concatenate([one.copies for one in every])),
            calibrations=tuple(calibration for one in every for calibration in one.calibrations),
            halves=tuple(pair for one in every for pair in one.halves),
            id=hashlib.sha256("".join(one.id for one in every).encode()).hexdigest()[:12],
        )

    def save(self, directory: str, fitted_to: str) -> None:
        """Writes `confidence.npz` and, last, `confidence.json`: without it there is none.

        Args:
          fitted_to: model id of the captioner whose captions it judges.
        """
        file = io.BytesIO()
        np.savez(file, **self._arrays())
        write_bytes(posixpath.join(directory, CONFIDENCE_ARRAYS), file.getvalue())
        document = {
            "schema_version": SCHEMA_VERSION,
            "fitted_to": fitted_to,
            "signals": SIGNALS,
            **self.report,
            "familiarity": {"rest": self.familiarity.rest, "limit": self.familiarity.limit},
            "calibration": self.calibrations[0].to_json() if self.calibrations else None,
            "halves": [one.to_json() for one in self.halves[0]] if self.halves else None,
        }
        write_json(posixpath.join(directory, CONFIDENCE), document)

    def _arrays(self) -> dict[str, np.ndarray]:
        known = self.familiarity
        ours = {name: getattr(self, name) for name in ("weights", "copies", "fitted")}
        return ours | {"mean": known.mean, "directions": known.directions}


def says_again(words: Sequence[tuple[str, bool]]) -> bool:
    """Words of a caption, and whether each tells something -> whether a phrase that does stands again after one word or
    none: "a white and white dog", "a woman and a woman", but not "a dog and a cat".
    """
    for size in range(1, _PHRASE + 1):
        for begin in range(len(words) - 2 * size + 1):
            phrase = words[begin : begin + size]
            after = begin + size
            again = any(words[at : at + size] == phrase for at in (after, after + 1))
            if again and any(tells for _, tells in phrase):
                return True
    return False


def fingerprint(caption: str) -> np.uint64:
    """Caption -> 64 bits of its words; upper case, marks and spacing do not count."""
    return np.uint64(int.from_bytes(hashlib.sha256(" ".join(caption_words(caption)).encode()).digest()[:8], "big"))


def fingerprints(captions: Iterable[str]) -> np.ndarray:
    """Captions -> uint64, sorted, each once."""
    return np.array(sorted({int(fingerprint(caption)) for caption in captions}), np.uint64)


def _holds(numbers: np.ndarray, number: np.uint64) -> bool:
    """Whether one of the sorted numbers is `number`."""
    place = int(np.searchsorted(numbers, number))
    return place < len(numbers) and bool(numbers[place] == number)


def content_number(sha256: str) -> int:
    """The first 64 bits of a picture's sha256."""
    return int(sha256[:16], 16)


def half_of(sha256: str) -> int:
    """Picture -> 0 or 1, by its content: the half of the dev pictures that it is in."""
    return int(sha256[-1], 16) % 2


def remove_confidence(directory: str) -> None:
    """Takes its confidence from a captioner directory, whatever is the matter with it; there may be none."""
    remove(posixpath.join(directory, CONFIDENCE))


def load_confidence(directory: str, words: tuple[str, ...], channels: int, model_id: str) -> Confidence | None:
    """Captioner directory -> what judges its captions; None where it was trained without, or fitted to another model.

    Args:
      words: V of its word-presence head.
      channels: C.
      model_id: of the captioner as it is loaded.

    Raises:
      UserError: a file is damaged, missing beside the other, or of another schema version.
    """
    path = posixpath.join(directory, CONFIDENCE)
    if not exists(path):
        return None
    try:
        document = read_json(path)
        if document["schema_version"] != SCHEMA_VERSION:
            raise UserError(f"{path}: schema version {document['schema_version']}, not {SCHEMA_VERSION}; {_RENEW}")
        if document["fitted_to"] != model_id:
            return None
        if tuple(document["signals"]) != SIGNALS:
            raise ValueError(f"signals {document['signals']}")
        known = {name: float(document["familiarity"][name]) for name in ("rest", "limit")}
        fitted, pair = document["calibration"], document["halves"]
        calibrations = () if fitted is None else (Calibration.from_json(fitted, len(SIGNALS)),)
        halves = () if pair is None else (tuple(Calibration.from_json(one, len(SIGNALS)) for one in pair),)
        path = posixpath.join(directory, CONFIDENCE_ARRAYS)
        data = read_bytes(path)
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in ("weights", "copies", "fitted", "mean", "directions")}
        if arrays["weights"].shape != (len(words),) or arrays["mean"].shape != (channels,):
            raise ValueError(f"does not fit {len(words)} words and {channels} channels")
        if arrays["directions"].ndim != 2 or arrays["directions"].shape[1] != channels:
            raise ValueError(f"does not fit {channels} channels")
    except (ValueError, KeyError, TypeError, AttributeError, OSError, EOFError) as error:
        why = str(error).strip().partition("\n")[0]
        raise UserError(f"{path}: damaged ({why}); {_RENEW}") from error
    decisive = json.dumps([words, known, fitted, document["fitted_to"]], sort_keys=True).encode()
    digest = hashlib.sha256(decisive + b"".join(arrays[name].tobytes() for name in sorted(arrays)))
    familiarity = Familiarity(arrays["mean"], arrays["directions"], **known)
    return Confidence(
        words,
        arrays["weights"],
        arrays["copies"],
        arrays["fitted"],
        familiarity,
        calibrations,
        halves,  # type: ignore[arg-type]
        {name: document[name] for name in document if name not in _NOT_REPORT},
        digest.hexdigest()[:12],
    )
