"""A captioner on disk: weights, vocabulary, settings, and the encoder whose features it was trained on."""

from __future__ import annotations

import hashlib
import os
import posixpath
from dataclasses import asdict, dataclass, replace
from typing import Any

import keras
import numpy as np

from training.array_files import require_plain_hdf5
from training.data.feature_set import EncoderIdentity
from training.errors import UserError
from training.files import writing
from training.models.caption_models import ModelConfig, build_model
from training.models.captioner_files import CONFIG_SCHEMA_VERSION, MEND, member_paths, read_config, require_as_trained
from training.models.confidence import Confidence, load_confidence
from training.models.ensemble import Ensemble
from training.models.judge import Judge, load_judge
from training.models.presence import PresenceHead, inputs_of, joined_heads, load_presence
from training.own_names import CONFIG, PRESENCE, PRESENCE_WORDS, VOCABULARY, WEIGHTS
from training.scratch import scratch_directory
from training.storage import content_hash, copy_file, copy_own, own_size, write_document
from training.text.plurals import counted
from training.text.vocabulary import SPECIALS, Vocabulary, load_vocabulary


@dataclass(frozen=True)
class Captioner:
    """A trained model with all that is needed to caption features.

    Attributes:
      path: its directory, or several separated by commas.
      model: a `training.models.caption_models` model or an Ensemble.
      vocabulary: words and their ids.
      encoder: identity of the encoder whose features it was trained on.
      max_words: words of a caption at most.
      min_words: words of a caption at least, by default.
      model_id: 12 hex digits of weights, vocabulary, encoder and, where there is one, word-presence head.
      presence: its word-presence head, an ensemble's joined into one; None without one.
      judge: chooses its captions; None if an earlier captionbeam trained it, or its weights or head were replaced.
      confidence: of its captions; None if an earlier captionbeam trained it, or its weights or head were replaced.
    """

    path: str
    model: Any
    vocabulary: Vocabulary
    encoder: EncoderIdentity
    max_words: int
    model_id: str
    presence: PresenceHead | None = None
    min_words: int = 1
    confidence: Confidence | None = None
    judge: Judge | None = None

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """Shape of a picture's feature, (P, C) or (C,)."""
        return self.encoder.feature_shape

    @property
    def rated_id(self) -> str:
        """What a confidence is fitted to: the captioner together with the judge that chooses its captions."""
        return self.model_id if self.judge is None else f"{self.model_id}-{self.judge.id}"

    def head_places(self) -> np.ndarray:
        """Place of each id of the vocabulary among the words of the word-presence head, int32 [V]; behind its last one
        for marks and for words that it does not know.
        """
        words = self.presence.words if self.presence else ()
        place = {word: number for number, word in enumerate(words)}
        known = [place.get(word, len(words)) for word in self.vocabulary.words]
        return np.array([len(words)] * SPECIALS + known, np.int32)

    def require_encoder(self, identity: EncoderIdentity) -> None:
        """Raises UserError unless `identity` is the encoder whose features the captioner was trained on."""
        if identity.id != self.encoder.id:
            raise UserError(
                f"{self.path}: trained on features of {self.encoder}, but these are features of {identity}; "
                "extract with the weights, layer, kind, engine and precision of the first, or train on the second"
            )


def write_config(
    directory: str,
    config: ModelConfig,
    encoder: EncoderIdentity,
    max_words: int,
    min_words: int,
    trained_with: dict[str, Any],
) -> None:
    """Writes `config.json`, which `read_config` reads.

    Args:
      directory: of the captioner.
      config: of its model.
      encoder: whose features it is trained on.
      max_words, min_words: words of a caption, at most and by default at least.
      trained_with: the settings of the training, as JSON.
    """
    document = {
        "schema_version": CONFIG_SCHEMA_VERSION,
        "model": asdict(config),
        "max_words": max_words,
        "min_words": min_words,
        "encoder": {**asdict(encoder), "id": encoder.id},
        "trained_with": trained_with,
    }
    write_document(posixpath.join(directory, CONFIG), document)


def save_weights(model: keras.Model, directory: str) -> None:
    """Writes a model's `captioner.weights.h5` into a captioner directory, whole or not at all."""
    with scratch_directory() as work:
        local = os.path.join(work, WEIGHTS)
        model.save_weights(local)
        copy_file(local, posixpath.join(directory, WEIGHTS))


def load_captioner(path: str) -> Captioner:
    """Captioner directory, or several separated by commas -> Captioner; several are an ensemble.

    Raises:
      UserError: a directory holds no captioner or one without weights, or they differ in vocabulary or encoder.
    """
    first, *others = [_load_member(member) for member in member_paths(path)]
    if not others:
        return first
    for other in others:
        for name, one, two in (
            ("vocabulary", first.vocabulary, other.vocabulary),
            ("encoder", first.encoder.id, other.encoder.id),
        ):
            if one != two:
                raise UserError(
                    f"--ensemble {path}: {first.path} and {other.path} differ in their {name}; "
                    "train them on the same feature set and the same training pictures"
                )
    members = [first, *others]
    model = Ensemble([member.model for member in members])
    presence = joined_heads([member.presence for member in members])
    model_id = _model_id(_digest(model, first.vocabulary, first.encoder), presence)
    max_words = min(member.max_words for member in members)
    min_words = min(member.min_words for member in members)
    confidences = [member.confidence for member in members if member.confidence is not None]
    # Without one of them, the others would rate captions that are not theirs alone.
    confidence = confidences[0].joined(confidences[1:]) if len(confidences) == len(members) else None
    judges = [member.judge for member in members if member.judge is not None]
    judge = judges[0].joined(judges[1:]) if len(judges) == len(members) else None
    return Captioner(
        path, model, first.vocabulary, first.encoder, max_words, model_id, presence, min_words, confidence, judge
    )


def no_confidence(captioner: Captioner) -> str | None:
    """Why a captioner gives its captions no confidence, and what to do about it; None if it does."""
    if captioner.confidence is None:
        return f"{captioner.path} has none; run the `captionbeam train` command that made it again, which adds it"
    if not captioner.confidence.calibrations:
        return f"{captioner.path}: {captioner.confidence.report.get('why_not')}"
    return None


def _load_member(path: str) -> Captioner:
    settings = read_config(path)
    config, encoder = settings.model, settings.encoder
    vocabulary = load_vocabulary(path)
    require_as_trained(path, VOCABULARY, hashlib.sha256(vocabulary.to_bytes()).hexdigest())
    if len(vocabulary) != config.vocabulary_size:
        raise UserError(
            f"{posixpath.join(path, VOCABULARY)}: holds {counted(len(vocabulary.words), 'word')} where {CONFIG} says "
            f"{config.vocabulary_size - SPECIALS:,}; {MEND}"
        )
    _require_room(config, encoder, path)
    model = build_model(config, encoder.feature_shape)
    load_weights(model, path)
    presence = _load_presence(path, model.seen_shape)
    digest = _digest(model, vocabulary, encoder)
    model_id = _model_id(digest, presence)
    captioner = Captioner(path, model, vocabulary, encoder, settings.max_words, model_id, presence, settings.min_words)
    if presence is None:
        return captioner
    before_pool = _model_id(digest, replace(presence, pool_shift=None))
    captioner = replace(captioner, judge=load_judge(path, len(presence.words), before_pool))
    confidence = load_confidence(path, presence.words, encoder.feature_shape[-1], captioner.rated_id)
    return replace(captioner, confidence=confidence)


def _require_room(config: ModelConfig, encoder: EncoderIdentity, directory: str) -> None:
    """Raises UserError if a model is larger than the file of its weights: it is not to be built."""
    weights = posixpath.join(directory, WEIGHTS)
    try:
        size = own_size(weights)
    except FileNotFoundError:
        raise UserError(f"--captioner {directory}: no {WEIGHTS} yet; let its training finish an epoch") from None
    if config.least_bytes(encoder.feature_shape) > size:
        raise UserError(f"{weights}: too small for the sizes in {CONFIG}; restore both as training wrote them")


def _load_presence(path: str, seen_shape: tuple[int, ...]) -> PresenceHead | None:
    presence = load_presence(path)
    if presence is not None and presence.mean_inputs.shape != inputs_of(seen_shape):
        raise UserError(
            f"{posixpath.join(path, PRESENCE)}: for features of another kind than {CONFIG} names; train again, "
            f"or remove {PRESENCE_WORDS} to do without"
        )
    return presence


def load_weights(model: keras.Model, directory: str) -> None:
    """Gives a model the weights that `save_weights` wrote into a captioner directory.

    Raises:
      UserError: there are none, or they are of another model.
    """
    weights = posixpath.join(directory, WEIGHTS)
    with scratch_directory() as work:
        local = os.path.join(work, WEIGHTS)
        with writing(local, "TMPDIR can name another place"):
            try:
                copy_own(weights, local)
            except FileNotFoundError:
                raise UserError(
                    f"--captioner {directory}: no {WEIGHTS} yet; let its training finish an epoch"
                ) from None
        require_as_trained(directory, WEIGHTS, content_hash(local))
        require_plain_hdf5(local, weights, MEND)
        try:
            model.load_weights(local)
        except (ValueError, OSError, KeyError, TypeError, RuntimeError, AttributeError) as error:
            raise UserError(
                f"{weights}: does not fit {CONFIG} ({str(error).strip().partition(chr(10))[0]}); {MEND}"
            ) from error


def judged_id(captioner: Captioner) -> str:
    """What a judge is fitted to: the id of its captioner before word-presence head and decoder are pooled, since the
    pool is fitted to the captions that the judge chooses.
    """
    head = captioner.presence
    digest = _digest(captioner.model, captioner.vocabulary, captioner.encoder)
    return _model_id(digest, head and replace(head, pool_shift=None))


def _digest(model: keras.Model | Ensemble, vocabulary: Vocabulary, encoder: EncoderIdentity) -> Any:
    """hashlib's sha256 of a captioner without its word-presence head."""
    # Of the values and not of the file: HDF5 stores times and layout too.
    digest = hashlib.sha256(encoder.id.encode())
    for variable in model.variables:
        digest.update(variable.path.encode() + variable.numpy().tobytes())
    digest.update("\n".join(vocabulary.words).encode())
    return digest


def _model_id(digest: Any, presence: PresenceHead | None) -> str:
    """What `_digest` gives, and the head beside it -> id of the captioner."""
    digest = digest.copy()
    if presence is not None:
        digest.update(presence.fingerprint())
    return str(digest.hexdigest()[:12])
