"""Features -> captions with evidence and confidence, a batch of pictures at a time in one graph.

Letters: B pictures of a batch, n of them still searched for, K beam width, A captions of a picture, T words, V
vocabulary.
"""

from __future__ import annotations

import atexit
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from training.decoding.beam_search import NEVER, BeamSearch, StepFunction
from training.decoding.guidance import GuidedModel
from training.decoding.picture_words import WordArrays, WordKnowledge, count_expected
from training.models.captioner import Captioner
from training.models.confidence import PictureSignals
from training.models.familiarity import pooled_features
from training.models.flags import LOW, REPEATS, UNFINISHED
from training.models.layers import NoDropout
from training.models.presence import PresenceGraph
from training.options import BEAM_WIDTH, GUIDANCE
from training.text.tokenizer import detokenize
from training.text.word_evidence import PictureEvidence

Picture = TypeVar("Picture")


@dataclass(frozen=True)
class Hypothesis:
    """A decoded caption.

    Attributes:
      caption: text as people write it, without marks and unknown words.
      score: mean natural log-probability of its words in decoding, with guidance, the end mark included if there is
        one.
      flags: of `training.models.flags`; without confidence only UNFINISHED, and REPEATS if a phrase of three words
        occurs three times in a row.
      alternatives: the next best captions of the search, best first; they have no alternatives themselves.
      evidence: for words in the picture; None if only the caption is known.
      confidence: probability that people would accept it, 0 to 1, rounded; None if the captioner has no confidence.
      signals: of the confidence, see `Confidence.signals`; empty for a captioner without.
    """

    caption: str
    score: float
    flags: tuple[str, ...] = ()
    alternatives: tuple[Hypothesis, ...] = ()
    evidence: PictureEvidence | None = None
    confidence: float | None = None
    signals: tuple[float, ...] = ()


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
      beam_width: hypotheses kept of each picture.
      batch_size: pictures decoded together.
      alternatives: captions beside the best one, fewer than `beam_width`.
      min_words: words of a caption at least, as far as the captioner's maximum allows; None for the captioner's own.
      guidance: weight of the word-presence head beside the decoder, if the captioner has one; see `guidance`.
      evidence: whether to give evidence for the words of each picture, if the captioner has a word-presence head.
      min_confidence: captions below it get the flag LOW; None for no such flag.
    """

    def __init__(
        self,
        captioner: Captioner,
        beam_width: int = BEAM_WIDTH,
        batch_size: int = 64,
        alternatives: int = 0,
        min_words: int | None = None,
        guidance: float = GUIDANCE,
        evidence: bool = False,
        min_confidence: float | None = None,
    ):
        self.vocabulary = captioner.vocabulary
        self.batch_size = batch_size
        self.feature_shape = captioner.feature_shape
        max_words = captioner.max_words + 1
        min_words = min(min_words or captioner.min_words, captioner.max_words)
        self.knowledge = WordKnowledge(captioner) if evidence else None
        self.confidence, self.min_confidence = captioner.confidence, min_confidence
        needed = guidance or evidence or self.confidence is not None
        head = PresenceGraph(captioner.presence) if captioner.presence and needed else None
        guide = GuidedModel(captioner, guidance) if head and guidance else None
        model: Any = captioner.model
        step = _step(model, guide, evidence)
        keep = (lambda state: state[1]) if evidence else (lambda state: ())
        beam_search = BeamSearch(step, beam_width, max_words, 1 + alternatives, min_words, keep)
        counted_words = len(captioner.vocabulary) if evidence else 0

        @tf.function(input_signature=[tf.TensorSpec([batch_size, *self.feature_shape], tf.float16)], autograph=False)
        def search(features: tf.Tensor) -> tuple[tuple[tf.Tensor, ...], tuple[tf.Tensor, ...], tuple[tf.Tensor, ...]]:
            # presence and grounding [B, U] each
            seen = model.look(features)
            opinion: tuple[tf.Tensor, ...] = head(seen) if head else ()
            memory = model.encode(seen, NoDropout())
            memory = guide.guide(memory, *opinion) if guide else memory
            state = (guide or model).start(memory, 1), tf.zeros([batch_size, 1, counted_words])
            result = beam_search.search(memory, state)
            for_evidence = (result.kept[:, 0], *opinion) if evidence else ()
            for_confidence = (opinion[0], pooled_features(features)) if self.confidence is not None else ()
            return result[:3], for_evidence, for_confidence

        self._search = search
        # A TensorFlow function that outlives the interpreter's modules prints a stack trace when it is torn down.
        atexit.register(self.close)

    def close(self) -> None:
        """Frees the graph; the decoder cannot be used afterwards."""
        self._search = None

    def decode(self, features: np.ndarray) -> list[Hypothesis]:
        """Features float16 [n, P, C] or [n, C] -> one Hypothesis per picture, in the same order."""
        decoded = []
        for hypotheses, arrays in self.decode_batches(features):
            for row, hypothesis in enumerate(hypotheses):
                # Without a head there are expected counts only; tables of evidence are not made from these alone.
                if arrays is not None and arrays.presence is not None and self.knowledge is not None:
                    evidence = self.knowledge.evidence(arrays, row, hypothesis.caption)
                    hypothesis = replace(hypothesis, evidence=evidence)
                decoded.append(hypothesis)
        return decoded

    def decode_batches(self, features: np.ndarray) -> Iterator[tuple[list[Hypothesis], WordArrays | None]]:
        """Captions features a batch at a time, with the evidence for all words as arrays.

        Args:
          features: float16 [n, P, C] or [n, C].

        Returns:
          for each batch in order: one Hypothesis per picture, and the batch's WordArrays, None without evidence.
        """
        for begin in range(0, len(features), self.batch_size):
            batch = features[begin : begin + self.batch_size]
            padding = np.zeros([self.batch_size - len(batch), *self.feature_shape], np.float16)
            outputs = self._search(tf.constant(np.concatenate([batch, padding]), tf.float16))
            captions, for_evidence, for_confidence = (
                [tensor.numpy()[: len(batch)] for tensor in tensors] for tensors in outputs
            )
            arrays = None
            if self.knowledge is not None:
                expected, *opinion = for_evidence
                arrays = self.knowledge.arrays(expected, opinion)
            hypotheses = [self._hypothesis(*row) for row in zip(*captions, strict=True)]
            if self.confidence is not None:
                pictures = self.confidence.picture_signals(*for_confidence)
                hypotheses = [self._rate(*one) for one in zip(hypotheses, pictures, strict=True)]
            yield hypotheses, arrays

    def decode_pictures(
        self, pictures: Iterable[tuple[Picture, np.ndarray]]
    ) -> Iterator[tuple[Picture, Hypothesis, WordArrays | None, int]]:
        """Captions a stream of pictures, `batch_size` of them in memory at a time.

        Args:
          pictures: whatever stands for a picture, and its feature, float16 [P, C] or [C].

        Returns:
          in the same order: the picture, its Hypothesis, what is known of all words in its batch (None without
          evidence), and the picture's row there.
        """
        remaining = iter(pictures)
        while batch := list(islice(remaining, self.batch_size)):
            features = np.stack([feature for _, feature in batch])
            for hypotheses, arrays in self.decode_batches(features):
                for row, ((picture, _), hypothesis) in enumerate(zip(batch, hypotheses, strict=True)):
                    yield picture, hypothesis, arrays, row

    def _hypothesis(self, ids: np.ndarray, scores: np.ndarray, ended: np.ndarray) -> Hypothesis:
        """Captions of one picture, ids [A, T], scores [A], whether they ended [A] -> the best with its alternatives."""
        best, *others = [self._read(*one) for one in zip(ids, scores, ended, strict=True)]
        # If there are fewer possible captions than were asked for, the search also returns impossible ones.
        return replace(best, alternatives=tuple(other for other in others if other.score > NEVER / 2 / len(ids[0])))

    def _rate(self, hypothesis: Hypothesis, picture: PictureSignals) -> Hypothesis:
        """Adds confidence and flags to a hypothesis and its alternatives."""
        assert self.confidence is not None
        signals = self.confidence.signals(picture, hypothesis.caption, hypothesis.score)
        confidence = self.confidence.probability(signals)
        low = confidence is not None and self.min_confidence is not None and confidence < self.min_confidence
        flags = (*hypothesis.flags, *self.confidence.flags(picture, hypothesis.caption), *((LOW,) if low else ()))
        return replace(
            hypothesis,
            flags=tuple(dict.fromkeys(flags)),
            alternatives=tuple(self._rate(other, picture) for other in hypothesis.alternatives),
            confidence=confidence,
            signals=signals,
        )

    def _read(self, ids: np.ndarray, score: float, ended: bool) -> Hypothesis:
        """One caption, ids [T] -> Hypothesis."""
        words = self.vocabulary.decode(ids)
        flags = (() if ended else (UNFINISHED,)) + ((REPEATS,) if repeats(words) else ())
        return Hypothesis(detokenize(words), float(score), flags)


def repeats(words: list[str], phrase: int = 3, times: int = 3) -> bool:
    """Whether a phrase of `phrase` words occurs `times` times in a row."""
    span = phrase * times
    return any(
        words[begin : begin + span] == words[begin : begin + phrase] * times for begin in range(len(words) - span + 1)
    )
