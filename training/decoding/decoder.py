"""Features -> captions: search, evidence and confidence of a captioner, a batch of pictures at once in one graph.

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

from training.decoding.beam_search import NEVER, StepFunction, beam_search
from training.decoding.guidance import GuidedModel
from training.decoding.picture_words import WordArrays, WordKnowledge, count_expected
from training.models.captioner import Captioner
from training.models.confidence import Seen
from training.models.familiarity import looks
from training.models.flags import LOW, REPEATS, UNFINISHED
from training.models.layers import Silence
from training.models.presence import PresenceGraph
from training.options import BEAM_WIDTH, GUIDANCE
from training.text.tokenizer import detokenize
from training.text.word_evidence import PictureEvidence

Picture = TypeVar("Picture")


@dataclass(frozen=True)
class Hypothesis:
    """A caption that the decoder settled on.

    Attributes:
      caption: words as people write them; no mark, no unknown word.
      score: mean natural log-probability of its words as it was decoded, guidance and end mark (where said) included.
      flags: "unfinished" if it was cut at the length limit, "repeats" if a phrase of three words stands three times in
        a row; of a captioner with confidence also those of `training.models.confidence`.
      alternatives: the next best that the search ended with, best first; themselves without alternatives.
      evidence: what else the captioner knows of words in the picture; None if it knows its caption alone.
      confidence: probability that a person would accept it, 0 to 1, rounded; None where the captioner cannot tell.
      signals: what that rests on, see `training.models.confidence`; empty for a captioner without.
    """

    caption: str
    score: float
    flags: tuple[str, ...] = ()
    alternatives: tuple[Hypothesis, ...] = ()
    evidence: PictureEvidence | None = None
    confidence: float | None = None
    signals: tuple[float, ...] = ()


def _step(model: Any, guide: GuidedModel | None, counting: bool) -> StepFunction:
    """A model, what guides it and whether expected counts are kept -> the step that a search takes; its state is that
    of the model or guide, and the counts [n, K, V].
    """

    def step(memory, ids, state):
        before, counts = state
        if guide is None:
            drawn_from, after = model.step(memory, before, ids)
            alone = guided = model.logits(drawn_from)
        else:
            (drawn_from, gain), after = guide.step(memory, before, ids)
            alone = model.logits(drawn_from)
            guided = alone + gain
        if counting:  # what the decoder alone expects: the head is asked for its own opinion
            counts = count_expected(counts, ids, tf.nn.softmax(alone))
        return tf.nn.log_softmax(guided), (after, counts)

    return step


class CaptionDecoder:
    """Captions features with a captioner.

    Batches have one fixed shape, short ones padded, so that a picture's caption does not depend on how many others are
    asked for with it.

    Args:
      captioner: what `load_captioner` gave.
      beam_width: hypotheses kept.
      batch_size: pictures decoded together.
      alternatives: captions beside the best one, fewer than `beam_width`.
      min_words: words of a caption at least, unless the captioner cannot say that many; None for the captioner's own.
      guidance: weight of the word-presence head beside the decoder, if the captioner has one; see `guidance.py`.
      evidence: say of each picture what else the captioner knows of its words, if it has a word-presence head.
      min_confidence: captions below it are flagged; None for none.
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
        asked = guidance or evidence or self.confidence is not None
        head = PresenceGraph(captioner.presence) if captioner.presence and asked else None
        guide = GuidedModel(captioner, guidance) if head and guidance else None
        model: Any = captioner.model
        step = _step(model, guide, evidence)
        words = len(captioner.vocabulary) if evidence else 0

        @tf.function(input_signature=[tf.TensorSpec([batch_size, *self.feature_shape], tf.float16)], autograph=False)
        def search(features):
            seen: tuple[tf.Tensor, ...] = head(features) if head else ()
            memory = model.encode(tf.cast(features, tf.float32), Silence())
            memory = guide.guide(memory, *seen) if guide else memory
            state = (guide or model).start(memory, 1), tf.zeros([batch_size, 1, words])
            keep = lambda state: state[1] if evidence else ()  # noqa: E731
            found = beam_search(step, memory, state, beam_width, max_words, 1 + alternatives, min_words, keep)
            judged = (seen[0], looks(features)) if self.confidence is not None else ()
            return found[:3], (found.kept[:, 0], *seen) if evidence else (), judged

        self._search = search
        # A TensorFlow function that outlives the interpreter's modules prints a stack trace when it is torn down.
        atexit.register(self.close)

    def close(self) -> None:
        """Lets the graph go; the decoder cannot be used afterwards."""
        self._search = None

    def decode(self, features: np.ndarray) -> list[Hypothesis]:
        """float16 [n, P, C] or [n, C] -> one Hypothesis a picture, in the same order."""
        found = []
        for hypotheses, arrays in self.decode_batches(features):
            for row, hypothesis in enumerate(hypotheses):
                # Expected counts alone would fill the tables with words that no estimate speaks of.
                if arrays is not None and arrays.presence is not None and self.knowledge is not None:
                    evidence = self.knowledge.evidence(arrays, row, hypothesis.caption)
                    hypothesis = replace(hypothesis, evidence=evidence)
                found.append(hypothesis)
        return found

    def decode_batches(self, features: np.ndarray) -> Iterator[tuple[list[Hypothesis], WordArrays | None]]:
        """The like, a batch at a time, the evidence as arrays of all words; None without evidence."""
        for begin in range(0, len(features), self.batch_size):
            batch = features[begin : begin + self.batch_size]
            padding = np.zeros([self.batch_size - len(batch), *self.feature_shape], np.float16)
            found, known, judged = self._search(tf.constant(np.concatenate([batch, padding]), tf.float16))
            rows = zip(*(tensor.numpy()[: len(batch)] for tensor in found), strict=True)
            arrays = None
            if self.knowledge is not None:
                expected, *seen = (tensor.numpy()[: len(batch)] for tensor in known)
                arrays = self.knowledge.arrays(expected, tuple(seen))
            hypotheses = [self._hypothesis(*row) for row in rows]
            if self.confidence is not None:
                pictures = self.confidence.see(*(tensor.numpy()[: len(batch)] for tensor in judged))
                hypotheses = [self._judge(*one) for one in zip(hypotheses, pictures, strict=True)]
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
        """Ids [A, T], scores and whether they ended [A] of one picture."""
        best, *others = [self._read(*one) for one in zip(ids, scores, ended, strict=True)]
        # Where fewer captions can be said than were asked for, the search holds impossible ones.
        return replace(best, alternatives=tuple(other for other in others if other.score > NEVER / 2 / len(ids[0])))

    def _judge(self, hypothesis: Hypothesis, seen: Seen) -> Hypothesis:
        """Adds confidence and flags to what was said of a picture, alternatives too."""
        assert self.confidence is not None
        signals = self.confidence.signals(seen, hypothesis.caption, hypothesis.score)
        confidence = self.confidence.probability(signals)
        low = confidence is not None and self.min_confidence is not None and confidence < self.min_confidence
        flags = (*hypothesis.flags, *self.confidence.flags(seen, hypothesis.caption), *((LOW,) if low else ()))
        return replace(
            hypothesis,
            flags=tuple(dict.fromkeys(flags)),
            alternatives=tuple(self._judge(other, seen) for other in hypothesis.alternatives),
            confidence=confidence,
            signals=signals,
        )

    def _read(self, ids: np.ndarray, score: float, ended: bool) -> Hypothesis:
        words = self.vocabulary.decode(ids)
        flags = (() if ended else (UNFINISHED,)) + ((REPEATS,) if repeats(words) else ())
        return Hypothesis(detokenize(words), float(score), flags)


def repeats(words: list[str], phrase: int = 3, times: int = 3) -> bool:
    """Whether a phrase of `phrase` words stands `times` times in a row."""
    span = phrase * times
    return any(
        words[begin : begin + span] == words[begin : begin + phrase] * times for begin in range(len(words) - span + 1)
    )
