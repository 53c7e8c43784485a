"""Features -> captions with evidence and confidence, a batch of pictures at a time in one graph.

Letters: B pictures of a batch, n of them still searched for, K beam width, A captions of a picture, T words, V
vocabulary.
"""

from __future__ import annotations

import atexit
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, repeat
from typing import Any, Protocol, TypeVar

import numpy as np
import tensorflow as tf

from training.decoding.beam_search import NEVER, BeamSearch, StepFunction
from training.decoding.guidance import GuidedModel
from training.decoding.picture_words import WordArrays, WordKnowledge, count_expected
from training.decoding.settings import DecodingSettings, decoding_settings
from training.models.captioner import Captioner
from training.models.confidence import PictureSignals
from training.models.familiarity import pooled_features
from training.models.flags import LOW, REPEATS, UNFINISHED
from training.models.judge import JudgedWords
from training.models.layers import NoDropout
from training.models.phrases import PhraseAgreement
from training.models.presence import PresenceGraph
from training.options import DecodingOptions
from training.text.tokenizer import detokenize
from training.text.word_evidence import PictureEvidence


class _HasContent(Protocol):
    @property
    def sha256(self) -> str: ...


Picture = TypeVar("Picture", bound=_HasContent)


@dataclass(frozen=True)
class Hypothesis:
    """A decoded caption.

    Attributes:
      caption: text as people write it, without marks and unknown words.
      score: mean natural log-probability of its words in decoding, with guidance, the end mark included if there is
        one.
      flags: of `training.models.flags`; without confidence only UNFINISHED, and REPEATS if a phrase of three words
        occurs three times in a row.
      alternatives: the next captions in the order of the judge, or of the search; they have no alternatives themselves.
      evidence: for words in the picture; None if only the caption is known.
      confidence: probability that people would accept it, 0 to 1, rounded; None if the captioner has no confidence.
      signals: of the confidence, see `Confidence.signals`; empty for a captioner without.
      place: among the hypotheses of the search, which begin with the likeliest.
    """

    caption: str
    score: float
    flags: tuple[str, ...] = ()
    alternatives: tuple[Hypothesis, ...] = ()
    evidence: PictureEvidence | None = None
    confidence: float | None = None
    signals: tuple[float, ...] = ()
    place: int = 0


def _step(model: Any, guide: GuidedModel | None, counting: bool) -> StepFunction:
    """Makes the step of a beam search; its state is that of the model or guide, and expected counts [n, K, V].

    Args:
      model: whose captions are searched for.
      guide: the model with guidance; None for the model alone.
      counting: whether to add up expected counts of words.
    """

    def step(memory: Any, ids: tf.Tensor, state: Any) -> tuple[tf.Tensor, Any]:
        before, counts = state
        if guide is None:
            pre_logits, after = model.step(memory, before, ids)
            unguided = guided = model.logits(pre_logits)
        else:
            (pre_logits, gain), after = guide.step(memory, before, ids)
            unguided = model.logits(pre_logits)
            guided = unguided + gain
        if counting:  # without guidance: the head's opinion joins later
            counts = count_expected(counts, ids, tf.nn.softmax(unguided))
        return tf.nn.log_softmax(guided), (after, counts)

    return step


class CaptionDecoder:
    """Captions features with a captioner.

    All batches have one shape, short ones are padded, so that a picture's caption does not depend on how many others
    are decoded with it.

    Args:
      captioner: of `load_captioner`.
      settings: of the search, of `decoding_settings`; None for the defaults.
      batch_size: pictures decoded together.
      alternatives: captions beside the best one, fewer than the beam is wide.
      evidence: whether to give evidence for the words of each picture, if the captioner has a word-presence head.
      min_confidence: captions below it get the flag LOW; None for no such flag.
    """

    def __init__(
        self,
        captioner: Captioner,
        settings: DecodingSettings | None = None,
        batch_size: int = 64,
        alternatives: int = 0,
        evidence: bool = False,
        min_confidence: float | None = None,
    ):
        self.vocabulary = captioner.vocabulary
        self.batch_size = batch_size
        self.feature_shape = captioner.feature_shape
        max_words = captioner.max_words + 1
        settings = settings or decoding_settings(captioner, DecodingOptions())
        min_words = min(settings.min_words, captioner.max_words)
        self.knowledge = WordKnowledge(captioner) if evidence else None
        self.confidence, self.min_confidence = captioner.confidence, min_confidence
        judge = captioner.judge if settings.judge is not None else None
        needed = settings.guidance or evidence or self.confidence is not None or judge is not None
        head = PresenceGraph(captioner.presence) if captioner.presence and needed else None
        guide = GuidedModel(captioner, settings.guidance) if head and settings.guidance else None
        model: Any = captioner.model
        step = _step(model, guide, evidence)
        keep = (lambda state: state[1]) if evidence else (lambda state: ())
        self._judge, phrases = None, None
        if judge is not None:
            agreement = PhraseAgreement(judge.phrases, captioner.vocabulary)
            self._judge = judge, JudgedWords(captioner.head_places(), np.array(judge.rarity), agreement)
            phrases = PresenceGraph(judge.phrases.head)
        n_best = settings.beam_width if judge else 1 + alternatives
        beam_search = BeamSearch(step, settings.beam_width, max_words, n_best, min_words, keep)
        self._alternatives = alternatives
        counted_words = len(captioner.vocabulary) if evidence else 0

        @tf.function(input_signature=[tf.TensorSpec([batch_size, *self.feature_shape], tf.float16)], autograph=False)
        def search(features: tf.Tensor) -> tuple[tuple[tf.Tensor, ...], ...]:
            seen = model.look(features)
            # presence and grounding, [B, U] each
            opinion: tuple[tf.Tensor, ...] = head(seen) if head else ()
            memory = model.encode(seen, NoDropout())
            memory = guide.guide(memory, *opinion) if guide else memory
            state = (guide or model).start(memory, 1), tf.zeros([batch_size, 1, counted_words])
            result = beam_search.search(memory, state)
            for_evidence = (result.kept, *opinion) if evidence else ()
            for_confidence = (opinion[0], pooled_features(features)) if self.confidence is not None else ()
            for_judge = (opinion[0], phrases(seen)[0]) if phrases else ()
            return result[:3], for_evidence, for_confidence, for_judge

        self._search = search
        # A TensorFlow function that outlives the interpreter's modules prints a stack trace when it is torn down.
        atexit.register(self.close)

    def close(self) -> None:
        """Frees the graph; the decoder cannot be used afterwards."""
        self._search = None

    def decode(self, features: np.ndarray, contents: Sequence[str] | None = None) -> list[Hypothesis]:
        """Captions features.

        Args:
          features: float16 [n, P, C] or [n, C].
          contents: sha256 of each picture in hex, by which the judge knows its validation pictures, see `Judge`; None
            where there are none of them.

        Returns:
          one Hypothesis per picture, in the same order.
        """
        decoded = []
        for hypotheses, arrays in self.decode_batches(features, contents):
            for row, hypothesis in enumerate(hypotheses):
                # Without a head there are expected counts only; tables of evidence are not made from these alone.
                if arrays is not None and arrays.presence is not None and self.knowledge is not None:
                    evidence = self.knowledge.evidence(arrays, row, hypothesis.caption)
                    hypothesis = replace(hypothesis, evidence=evidence)
                decoded.append(hypothesis)
        return decoded

    def decode_batches(
        self, features: np.ndarray, contents: Sequence[str] | None = None
    ) -> Iterator[tuple[list[Hypothesis], WordArrays | None]]:
        """Captions features a batch at a time, with the evidence for all words as arrays.

        Args:
          features: float16 [n, P, C] or [n, C].
          contents: as of `decode`.

        Returns:
          for each batch in order: one Hypothesis per picture, and the batch's WordArrays, None without evidence.
        """
        known = iter(contents) if contents is not None else repeat(None)
        for captions, for_evidence, for_confidence, for_judge in self._batches(features):
            ranked = self._rank(list(islice(known, len(captions[0]))), captions, for_judge)
            pictures: Sequence[PictureSignals | None] = [None] * len(ranked)
            if self.confidence is not None:
                pictures = self.confidence.picture_signals(*for_confidence)
            hypotheses = [self._choose(places, *row) for places, *row in zip(ranked, pictures, *captions, strict=True)]
            arrays = None
            if self.knowledge is not None:
                kept, *opinion = for_evidence
                chosen = [hypothesis.place for hypothesis in hypotheses]
                arrays = self.knowledge.arrays(kept[np.arange(len(kept)), chosen], opinion)
            yield hypotheses, arrays

    def hypotheses(self, features: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
        """Searches what a judge chooses from, a batch at a time, and chooses none; the captioner has a judge.

        Args:
          features: float16 [n, P, C] or [n, C].

        Returns:
          for each batch of B pictures, of all K hypotheses: ids int32 [B, K, T], filled up with PAD after the end mark,
          whether they ended, bool [B, K], and their F signals, float64 [B, K, F].
        """
        assert self._judge is not None
        _, words = self._judge
        for (ids, scores, ended), _, _, for_judge in self._batches(features):
            yield ids, ended, words.signals(ids, scores, *for_judge)

    def _batches(self, features: np.ndarray) -> Iterator[list[list[np.ndarray]]]:
        """Outputs of the graph for each batch of the pictures."""
        for begin in range(0, len(features), self.batch_size):
            batch = features[begin : begin + self.batch_size]
            padding = np.zeros([self.batch_size - len(batch), *self.feature_shape], np.float16)
            outputs = self._search(tf.constant(np.concatenate([batch, padding]), tf.float16))
            yield [[tensor.numpy()[: len(batch)] for tensor in tensors] for tensors in outputs]

    def decode_pictures(
        self, pictures: Iterable[tuple[Picture, np.ndarray]]
    ) -> Iterator[tuple[Picture, Hypothesis, WordArrays | None, int]]:
        """Captions a stream of pictures, `batch_size` of them in memory at a time.

        Args:
          pictures: whatever stands for a picture and knows its content, and its feature, float16 [P, C] or [C].

        Returns:
          in the same order: the picture, its Hypothesis, what is known of all words in its batch (None without
          evidence), and the picture's row there.
        """
        remaining = iter(pictures)
        while batch := list(islice(remaining, self.batch_size)):
            features = np.stack([feature for _, feature in batch])
            for hypotheses, arrays in self.decode_batches(features, [picture.sha256 for picture, _ in batch]):
                for row, ((picture, _), hypothesis) in enumerate(zip(batch, hypotheses, strict=True)):
                    yield picture, hypothesis, arrays, row

    def _rank(
        self, contents: Sequence[str | None], captions: Sequence[np.ndarray], for_judge: Sequence[np.ndarray]
    ) -> np.ndarray:
        """Ranks the hypotheses of a batch.

        Args:
          contents: sha256 of each picture, None where it is not known.
          captions: ids, scores and whether they ended, [B, A, ...] each.
          for_judge: presence of words and phrases; empty without a judge.

        Returns:
          the places of each picture's hypotheses from the best on, int64 [B, A].
        """
        ids, scores, ended = captions
        if self._judge is None:
            return np.tile(np.arange(ids.shape[1]), [len(ids), 1])
        judge, words = self._judge
        signals = words.signals(ids, scores, *for_judge)
        ranked = np.stack([judge.rank(*one) for one in zip(signals, contents, strict=True)])
        # One without the end mark is the caption only where no other has one, as in the search.
        last = np.argsort(~np.take_along_axis(ended, ranked, axis=1), axis=1, kind="stable")
        return np.take_along_axis(ranked, last, axis=1)

    def _choose(
        self,
        places: np.ndarray,
        picture: PictureSignals | None,
        ids: np.ndarray,
        scores: np.ndarray,
        ended: np.ndarray,
    ) -> Hypothesis:
        """Chooses the caption of one picture.

        Args:
          places: of its hypotheses, from the best on, int64 [A].
          picture: for the confidence; None without.
          ids: int32 [A, T].
          scores: float32 [A].
          ended: bool [A].

        Returns:
          the first hypothesis with its alternatives; behind a judge, one that repeats itself comes after all others.
        """
        sound: list[Hypothesis] = []
        repeating: list[Hypothesis] = []
        for place in places.tolist():
            # If there are fewer possible captions than were asked for, the search also returns impossible ones.
            if scores[place] < NEVER / 2 / len(ids[0]) and (sound or repeating):
                continue
            hypothesis = self._read(place, ids[place], scores[place], ended[place])
            if picture is not None:
                hypothesis = self._rate(hypothesis, picture)
            (repeating if self._judge and REPEATS in hypothesis.flags else sound).append(hypothesis)
            if len(sound) > self._alternatives:
                break
        best, *others = (sound + repeating)[: 1 + self._alternatives]
        return replace(best, alternatives=tuple(others))

    def _rate(self, hypothesis: Hypothesis, picture: PictureSignals) -> Hypothesis:
        """Adds confidence and flags to a hypothesis."""
        assert self.confidence is not None
        signals = self.confidence.signals(picture, hypothesis.caption, hypothesis.score)
        confidence = self.confidence.probability(signals)
        low = confidence is not None and self.min_confidence is not None and confidence < self.min_confidence
        flags = (*hypothesis.flags, *self.confidence.flags(picture, hypothesis.caption), *((LOW,) if low else ()))
        return replace(
            hypothesis,
            flags=tuple(dict.fromkeys(flags)),
            confidence=confidence,
            signals=signals,
        )

    def _read(self, place: int, ids: np.ndarray, score: float, ended: bool) -> Hypothesis:
        """One caption, ids [T] -> Hypothesis."""
        words = self.vocabulary.decode(ids)
        flags = (() if ended else (UNFINISHED,)) + ((REPEATS,) if repeats(words) else ())
        return Hypothesis(detokenize(words), float(score), flags, place=place)


def repeats(words: list[str], phrase: int = 3, times: int = 3) -> bool:
    """Whether a phrase of `phrase` words occurs `times` times in a row."""
    span = phrase * times
    return any(
        words[begin : begin + span] == words[begin : begin + phrase] * times for begin in range(len(words) - span + 1)
    )
