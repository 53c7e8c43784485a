"""Batched beam search: many pictures at once, inside one graph, no Python per word.

Letters: B pictures of a batch, K beam width, M candidates a hypothesis, T words, V vocabulary.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from training.captioner import Captioner
from training.confidence import LOW, Seen
from training.familiarity import looks
from training.guidance import GUIDANCE, GuidedModel
from training.layers import Silence
from training.picture_words import WordArrays, WordKnowledge, expected_counts
from training.presence import PresenceGraph
from training.tokenizer import detokenize
from training.vocabulary import END, PAD, START, UNKNOWN
from training.word_evidence import PictureEvidence

NEVER = -1e9  # log-probability of what must not be said
LENGTH_POWER = (
    0.7  # hypotheses are compared by log-probability / words**LENGTH_POWER (Wu et al. 2016, without the offset)
)

State = tuple[Any, ...]  # tensors [B, K, ...], or tuples of such
# (ids int32 [B, K], state) -> (log-probabilities float32 [B, K, V], state)
StepFunction = Callable[[tf.Tensor, State], tuple[tf.Tensor, State]]


@dataclass(frozen=True)
class Hypothesis:
    """A caption that the decoder settled on.

    Attributes:
      caption: words as people write them; no mark, no unknown word.
      score: mean natural log-probability of its words as it was decoded, guidance and end mark (where said) included.
      flags: "unfinished" if it was cut at the length limit, "repeats" if a phrase of three words stands three times in
        a row; of a captioner with confidence also those of `training.confidence`.
      alternatives: the next best that the search ended with, best first; themselves without alternatives.
      evidence: what else the captioner knows of words in the picture; None if it knows its caption alone.
      confidence: probability that a person would accept it, 0 to 1, rounded; None where the captioner cannot tell.
      signals: what that rests on, see `training.confidence`; empty for a captioner without.
    """

    caption: str
    score: float
    flags: tuple[str, ...] = ()
    alternatives: tuple[Hypothesis, ...] = ()
    evidence: PictureEvidence | None = None
    confidence: float | None = None
    signals: tuple[float, ...] = ()


def beam_search(
    step: StepFunction,
    state: State,
    pictures: int,
    beam_width: int,
    max_words: int,
    answers: int = 1,
    min_words: int = 1,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Finds the best captions of each picture.

    A hypothesis never says padding, start or unknown, never ends before its `min_words` words, and never says three
    words in a row that it said before. Among equals the lower beam and the lower id win.

    Args:
      step: one step of the model.
      state: before the first word, [B, K, ...] each.
      pictures, beam_width, max_words: B, K, and T, the end mark included.
      answers: A, captions wanted of each picture, K at most; best first.
      min_words: 1 or more, fewer than `max_words`.

    Returns:
      ids int32 [B, A, T], filled up with PAD after the end mark; mean log-probability per word float32 [B, A];
      whether the end mark was said, bool [B, A].
    """
    batch, width = pictures, beam_width
    # M: K, and as many more as trigram blocking can take away: a pair of words fits that often before the last one.
    wanted = width + max(max_words - 2, 0) // 3

    def extend(t, ids, said, scores, ended, state):
        """One word more for every hypothesis; said is [B, K, T], scores and ended are [B, K]."""
        log_probabilities, state = step(ids, state)  # (B, K, V)
        log_probabilities += forbidden(tf.shape(log_probabilities)[2], too_short=t < min_words)
        candidates_each = min(wanted, log_probabilities.shape[2])
        best, words = tf.math.top_k(log_probabilities, candidates_each)  # (B, K, M)
        best += NEVER * tf.cast(_repeats_trigram(said, words, t), tf.float32)
        # A hypothesis that has ended stays as it is: its one continuation is padding, for nothing.
        only_first = tf.constant([0.0] + [NEVER] * (candidates_each - 1))
        best = tf.where(ended[..., None], only_first, best)
        words = tf.where(ended[..., None], PAD, words)
        totals = tf.reshape(scores[..., None] + best, [batch, -1])  # (B, K*M)
        scores, chosen = tf.math.top_k(totals, width)  # (B, K)
        origin = chosen // candidates_each
        ids = tf.gather(tf.reshape(words, [batch, -1]), chosen, batch_dims=1)
        said = tf.gather(said, origin, batch_dims=1)
        said = tf.where(tf.range(max_words) == t, ids[..., None], said)
        ended = tf.logical_or(tf.gather(ended, origin, batch_dims=1), ids == END)
        state = tf.nest.map_structure(lambda values: tf.gather(values, origin, batch_dims=1), state)
        return t + 1, ids, said, scores, ended, state

    # All hypotheses of a picture begin alike, so only the first may go on from the start.
    scores = tf.tile(tf.constant([[0.0] + [NEVER] * (width - 1)]), [batch, 1])
    initial = (
        tf.constant(0),
        tf.fill([batch, width], START),
        tf.fill([batch, width, max_words], PAD),
        scores,
        tf.zeros([batch, width], tf.bool),
        state,
    )

    def ranked(said, scores, ended):
        """What hypotheses are compared by, their lengths and whether they ended, [B, K] each."""
        lengths = tf.reduce_sum(tf.cast(said != PAD, tf.float32), axis=2)  # the end mark counted
        # Where there are fewer words than beams, some beams hold what must not be said; none of those counts as ended.
        ended = tf.logical_and(ended, scores > NEVER / 2)
        return scores / tf.maximum(lengths, 1.0) ** LENGTH_POWER, lengths, ended

    def undecided(t, ids, said, scores, ended, state):
        """Whether some picture's answers may still change. A hypothesis only gets less likely, so it can at most come
        to its present score over the full length; where that is less than what the ended ones have, the search is
        over.
        """
        ranking, _, ended = ranked(said, scores, ended)
        reached = tf.math.top_k(tf.where(ended, ranking, 2 * NEVER), answers).values[:, -1]
        possible = tf.reduce_max(tf.where(ended, 2 * NEVER, scores / max_words**LENGTH_POWER), axis=1)
        return tf.logical_and(t < max_words, tf.reduce_any(possible >= reached))

    _, _, said, scores, ended, _ = tf.while_loop(undecided, extend, initial)
    ranking, lengths, ended = ranked(said, scores, ended)
    # A hypothesis that never said the end mark is the answer only where no other of its picture did.
    best = tf.math.top_k(ranking + tf.where(ended, 0.0, NEVER), answers).indices  # (B, A)
    pick = lambda values: tf.gather(values, best, batch_dims=1)  # noqa: E731
    return pick(said), pick(scores / lengths), pick(ended)


def forbidden(vocabulary_size: int | tf.Tensor, too_short: bool | tf.Tensor) -> tf.Tensor:
    """What to add to the scores of the vocabulary so that no mark is said, and no end while the caption is too short:
    float32 [V].
    """
    marks = tf.reduce_sum(tf.one_hot([PAD, START, UNKNOWN], vocabulary_size), axis=0)
    return NEVER * (marks + tf.where(too_short, tf.one_hot(END, vocabulary_size), 0.0))


def _repeats_trigram(said: tf.Tensor, words: tf.Tensor, t: tf.Tensor) -> tf.Tensor:
    """Whether each candidate says three words in a row again: said [B, K, T], words [B, K, M] -> bool [B, K, M]."""
    length = said.shape[2]
    last = tf.gather(said, tf.maximum(t - 1, 0), axis=2)[..., None]  # (B, K, 1)
    before = tf.gather(said, tf.maximum(t - 2, 0), axis=2)[..., None]
    pair = tf.logical_and(said[..., : length - 2] == before, said[..., 1 : length - 1] == last)  # (B, K, T-2)
    pair = tf.logical_and(pair, tf.range(length - 2) < t - 2)  # the pair that ends at t-1 is no earlier one
    same = said[..., None, 2:] == words[..., :, None]  # (B, K, M, T-2)
    return tf.reduce_any(tf.logical_and(pair[..., None, :], same), axis=3)


def _steps(model: Any, memory: Any) -> StepFunction:
    """A model, and what it remembers of B pictures -> the step that searches and counts take."""

    def step(ids, state):
        drawn_from, state = model.step(memory, state, ids)
        return tf.nn.log_softmax(model.logits(drawn_from)), state

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
      guidance: weight of the word-presence head beside the decoder, if the captioner has one; see `training.guidance`.
      evidence: say of each picture what else the captioner knows of its words, if it has a word-presence head.
      min_confidence: captions below it are flagged; None for none.
    """

    def __init__(
        self,
        captioner: Captioner,
        beam_width: int = 3,
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
        self.knowledge = knowledge = WordKnowledge(captioner) if evidence else None
        self.confidence, self.min_confidence = captioner.confidence, min_confidence
        asked = guidance or evidence or self.confidence is not None
        head = PresenceGraph(captioner.presence) if captioner.presence and asked else None
        guide = GuidedModel(captioner, guidance) if head and guidance else None
        model: Any = guide or captioner.model

        @tf.function(input_signature=[tf.TensorSpec([batch_size, *self.feature_shape], tf.float16)], autograph=False)
        def search(features):
            seen: tuple[tf.Tensor, ...] = head(features) if head else ()
            alone = captioner.model.encode(tf.cast(features, tf.float32), Silence())
            memory = guide.guide(alone, *seen) if guide else alone
            found = beam_search(
                _steps(model, memory),
                model.start(memory, beam_width),
                batch_size,
                beam_width,
                max_words,
                1 + alternatives,
                min_words,
            )
            judged = (seen[0], looks(features)) if self.confidence is not None else ()
            if knowledge is None:
                return found, (), judged
            # What the decoder alone expects: the head is asked for its own opinion.
            start, best = captioner.model.start(alone, 1), found[0][:, :1]
            expected = expected_counts(_steps(captioner.model, alone), start, best, tf.ones([batch_size, 1]))
            return found, (expected, *seen), judged

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
        flags = (() if ended else ("unfinished",)) + (("repeats",) if repeats(words) else ())
        return Hypothesis(detokenize(words), float(score), flags)


def repeats(words: list[str], phrase: int = 3, times: int = 3) -> bool:
    """Whether a phrase of `phrase` words stands `times` times in a row."""
    span = phrase * times
    return any(
        words[begin : begin + span] == words[begin : begin + phrase] * times for begin in range(len(words) - span + 1)
    )
