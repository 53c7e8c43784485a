"""A captioner's confidence: how likely people would accept a caption, and flags for what is odd about it.

Signals that cost next to nothing once a picture is captioned (the caption's log-probability, its agreement with the
words that the word-presence head sees, how much the picture resembles the training pictures) go into a regression that
was fitted to the validation pictures; `training.scoring.acceptance` defines what it predicts.

Letters: B pictures, V words of the word-presence head, C channels, F signals.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from training.array_files import pack_npz
from training.documents import Damaged, Number, Sha256OrNone
from training.models.calibration import Calibration
from training.models.captioner_files import damage_reported, read_arrays
from training.models.familiarity import Familiarity
from training.models.flags import COPIED, REPEATS, UNLIKE
from training.models.presence import TINY
from training.own_names import CONFIDENCE, CONFIDENCE_ARRAYS
from training.storage import read_document, remove, write_bytes, write_document
from training.text.plurals import counted
from training.text.words import caption_words

SCHEMA_VERSION = 1
SIGNALS = ("score", "agreement", "coverage", "familiarity")
FAMILIARITY = SIGNALS.index("familiarity")
_INFORMATIVE = 1.0  # least weight of such a word: one in e training pictures has it; more have "a" and "in"
_PHRASE = 3  # words of a repeated phrase, at most
# What `confidence.json` holds beside the report.
_NOT_REPORT = {"schema_version", "fitted_to", "signals", "familiarity", "calibration", "halves", "arrays_sha256"}
DIGITS = 4  # of a confidence, wherever it is written or compared
_RENEW = f"run the same train command again, which makes it anew, or remove {CONFIDENCE} to do without"


@dataclass(frozen=True)
class _Spread:
    """The numbers of a Familiarity."""

    rest: Number
    limit: Number


@dataclass(frozen=True)
class _Document:
    """Schema of `confidence.json` without its report; `arrays_sha256` is of `confidence.npz`, where it is known."""

    fitted_to: str
    signals: tuple[str, ...]
    familiarity: _Spread
    calibration: Calibration | None
    halves: tuple[Calibration, Calibration] | None
    arrays_sha256: Sha256OrNone = ""


@dataclass(frozen=True)
class PictureSignals:
    """What the confidence of a caption needs of its picture.

    Attributes:
      presence: of each word, float64 [V].
      total: sum of the weighted presences.
      length: Euclidean norm of the weighted presences.
      distance: from the training pictures, see `familiarity`.
    """

    presence: np.ndarray
    total: float
    length: float
    distance: float


@dataclass(frozen=True)
class Confidence:
    """Rates captions of one captioner or ensemble.

    Attributes:
      words: V of the word-presence head.
      weights: of each word, float32 [V]: the rarer in training, the larger.
      copies: `fingerprint` of each training caption, uint64, sorted.
      fitted: `content_number` of each picture that the regressions were fitted to, uint64, sorted.
      familiarity: the distribution of the training pictures.
      calibrations: whose mean is the confidence; one for each captioner, or none.
      halves: for each calibration, the two that were fitted to one half of the pictures each; see `half_of`.
      report: figures of the fit for people, as in `confidence.json`; "why_not" if nothing could be fitted.
      id: 12 hex digits of everything that decides its output.
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

    def picture_signals(self, presence: np.ndarray, pooled: np.ndarray) -> list[PictureSignals]:
        """Computes what is needed of each picture, one at a time: a matrix product would round by the number of rows.

        Args:
          presence: by the word-presence head alone, float32 [B, V].
          pooled: `familiarity.pooled_features`, float32 [B, C].
        """
        signals = []
        for likely, row in zip(presence.astype(np.float64), pooled, strict=True):
            weighted = likely * self.weights
            total, length = float(weighted.sum()), float(np.linalg.norm(weighted))
            signals.append(PictureSignals(likely, total, length, self.familiarity.distance(row)))
        return signals

    def signals(self, picture: PictureSignals, caption: str, score: float) -> tuple[float, ...]:
        """The F signals of a caption, in the order of `SIGNALS`; larger is better.

        Args:
          picture: of `picture_signals`.
          caption: text.
          score: mean log-probability of its words.

        Returns:
          score: as given.
          agreement: cosine of the caption's words with the words that people likely use, both weighted as in CIDEr: an
            estimate of CIDEr-1.
          coverage: share, by weight, of the words that people likely use that the caption uses.
          familiarity: minus the distance from the training pictures.
        """
        places = sorted({self._place[word] for word in caption_words(caption) if word in self._place})
        likely, weights = picture.presence[places], self.weights[places].astype(np.float64)
        in_common = float((weights * weights * likely).sum())
        agreement = in_common / max(float(np.linalg.norm(weights)) * picture.length, TINY)
        coverage = float((weights * likely).sum()) / max(picture.total, TINY)
        return score, agreement, coverage, -picture.distance

    def probability(self, signals: Sequence[float], held_out: int | None = None) -> float | None:
        """F signals of a caption -> its confidence, 0 to 1, rounded to `DIGITS`; None if nothing was fitted.

        It is discounted for pictures unlike anything in training, since the regression was not fitted to such pictures.

        Args:
          signals: of `signals`.
          held_out: 0 or 1, the half of the fitted pictures that the picture is in: the regression of the other half is
            used; None for the regression of all.
        """
        calibrations = self.calibrations if held_out is None else [pair[1 - held_out] for pair in self.halves]
        if not calibrations:
            return None
        values = np.array(signals, np.float64)
        likely = float(np.mean([calibration.probability(values) for calibration in calibrations]))
        return round(likely * self.familiarity.discount(-values[FAMILIARITY]), DIGITS)

    def was_fitted_to(self, sha256: str) -> bool:
        """Whether the regressions were fitted to the picture with this checksum."""
        return _contains(self.fitted, np.uint64(content_number(sha256)))

    def flags(self, picture: PictureSignals, caption: str) -> tuple[str, ...]:
        """Picture and caption -> the flags that apply: REPEATS, COPIED, UNLIKE; see `training.models.flags`."""
        words = caption_words(caption)
        odd = {
            REPEATS: repeats_phrase([(word, self._is_informative(word)) for word in words]),
            COPIED: _contains(self.copies, fingerprint(caption)),
            UNLIKE: picture.distance > self.familiarity.limit,
        }
        return tuple(flag for flag, applies in odd.items() if applies)

    def _is_informative(self, word: str) -> bool:
        """Whether so few training pictures have a word that it says something about a picture."""
        return word not in self._place or bool(self.weights[self._place[word]] >= _INFORMATIVE)

    def joined(self, others: Sequence[Confidence]) -> Confidence:
        """The confidence of an ensemble: the mean of its captioners', each from the signals of the ensemble's captions.

        The captioners share features, vocabulary and training pictures, so these parts are taken from the first one.
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
        """Writes `confidence.npz` and then `confidence.json`, whose presence marks a whole pair.

        Args:
          directory: of the captioner.
          fitted_to: `rated_id` of the captioner whose captions it rates.
        """
        data = pack_npz(self._arrays())
        write_bytes(posixpath.join(directory, CONFIDENCE_ARRAYS), data)
        document = {
            "schema_version": SCHEMA_VERSION,
            "fitted_to": fitted_to,
            "signals": SIGNALS,
            **self.report,
            "familiarity": {"rest": self.familiarity.rest, "limit": self.familiarity.limit},
            "calibration": self.calibrations[0].to_json() if self.calibrations else None,
            "halves": [one.to_json() for one in self.halves[0]] if self.halves else None,
        }
        document["arrays_sha256"] = hashlib.sha256(data).hexdigest()
        write_document(posixpath.join(directory, CONFIDENCE), document)

    def _arrays(self) -> dict[str, np.ndarray]:
        own = {name: getattr(self, name) for name in ("weights", "copies", "fitted")}
        return own | {"mean": self.familiarity.mean, "directions": self.familiarity.directions}


def repeats_phrase(words: Sequence[tuple[str, bool]]) -> bool:
    """Whether an informative phrase is repeated at once or after one word.

    "a white and white dog" and "a woman and a woman" do so, "a dog and a cat" does not.

    Args:
      words: of a caption in order, each with whether it is informative.
    """
    for size in range(1, _PHRASE + 1):
        for begin in range(len(words) - 2 * size + 1):
            phrase = words[begin : begin + size]
            after = begin + size
            again = any(words[at : at + size] == phrase for at in (after, after + 1))
            if again and any(informative for _, informative in phrase):
                return True
    return False


def fingerprint(caption: str) -> np.uint64:
    """Caption -> 64 bits of its words; case, punctuation and spacing do not count."""
    return np.uint64(int.from_bytes(hashlib.sha256(" ".join(caption_words(caption)).encode()).digest()[:8], "big"))


def fingerprints(captions: Iterable[str]) -> np.ndarray:
    """Captions -> their fingerprints, uint64, sorted, without duplicates."""
    return np.array(sorted({int(fingerprint(caption)) for caption in captions}), np.uint64)


def _contains(numbers: np.ndarray, number: np.uint64) -> bool:
    """Whether one of the sorted numbers is `number`."""
    place = int(np.searchsorted(numbers, number))
    return place < len(numbers) and bool(numbers[place] == number)


def content_number(sha256: str) -> int:
    """sha256 of a picture in hex -> its first 64 bits as a number."""
    return int(sha256[:16], 16)


def half_of(sha256: str) -> int:
    """sha256 of a validation picture -> 0 or 1, the half of the validation pictures that it is in."""
    return int(sha256[-1], 16) % 2


def remove_confidence(directory: str) -> None:
    """Removes the confidence of a captioner directory, sound or damaged; there may be none."""
    remove(posixpath.join(directory, CONFIDENCE))


def load_confidence(directory: str, words: tuple[str, ...], channels: int, rated_id: str) -> Confidence | None:
    """Reads the confidence of a captioner; None if it has none, or one that was fitted to another model.

    Args:
      directory: of the captioner.
      words: V of its word-presence head.
      channels: C.
      rated_id: of the captioner as it was loaded, see `Captioner`.

    Raises:
      UserError: a file is damaged, missing beside the other, or of another schema version.
    """
    path = posixpath.join(directory, CONFIDENCE)
    document = read_document(path, _Document, _RENEW, SCHEMA_VERSION)
    if document is None or document.fitted_to != rated_id:
        return None
    if document.signals != SIGNALS:
        raise Damaged(path, f"damaged (signals {', '.join(document.signals)})", _RENEW)
    spread = asdict(document.familiarity)
    calibrations = () if document.calibration is None else (document.calibration,)
    halves = () if document.halves is None else (document.halves,)
    for calibration in (*calibrations, *(document.halves or ())):
        if not calibration.is_of(len(SIGNALS)):
            raise Damaged(path, f"damaged (not {len(SIGNALS)} numbers each)", _RENEW)
    path = posixpath.join(directory, CONFIDENCE_ARRAYS)
    stored = read_arrays(path, document.arrays_sha256, _RENEW)
    with damage_reported(path, _RENEW):
        arrays = {name: stored[name] for name in ("weights", "copies", "fitted", "mean", "directions")}
        if arrays["weights"].shape != (len(words),) or arrays["mean"].shape != (channels,):
            raise ValueError(f"does not fit {counted(len(words), 'word')} and {counted(channels, 'channel')}")
        if arrays["directions"].ndim != 2 or arrays["directions"].shape[1] != channels:
            raise ValueError(f"does not fit {counted(channels, 'channel')}")
    whole = read_document(posixpath.join(directory, CONFIDENCE), dict[str, Any], _RENEW) or {}
    decisive = json.dumps([words, spread, whole["calibration"], rated_id], sort_keys=True).encode()
    digest = hashlib.sha256(decisive + b"".join(arrays[name].tobytes() for name in sorted(arrays)))
    familiarity = Familiarity(arrays["mean"], arrays["directions"], **spread)
    return Confidence(
        words,
        arrays["weights"],
        arrays["copies"],
        arrays["fitted"],
        familiarity,
        calibrations,
        halves,
        {name: whole[name] for name in whole if name not in _NOT_REPORT},
        digest.hexdigest()[:12],
    )
