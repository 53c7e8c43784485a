"""Beam search over a batch of pictures inside one graph, without Python per word.

Letters: B pictures of a batch, n that are not decided yet, K beam width, M candidates of a hypothesis, A captions
returned, T words, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from training.text.vocabulary import END, PAD, START, UNKNOWN

NEVER = -1e9  # log-probability of a forbidden word
# Hypotheses are compared by log-probability / words**LENGTH_POWER (Wu et al. 2016, without the offset).
LENGTH_POWER = 0.7

Tensors = Any  # tensors, or tuples of such, to any depth
# (memory [n, ...], ids int32 [n, K], state [n, K, ...]) -> (log-probabilities float32 [n, K, V], state)
StepFunction = Callable[[Tensors, tf.Tensor, Tensors], tuple[tf.Tensor, Tensors]]

# Pictures that are decided leave a batch by so many. At such numbers matrix products give a row the same bits however
# many rows there are (not so for a single row), and the copies that leaving takes stay few.
_LEAVE_BY = 4


class SearchResult(NamedTuple):
    """The A best captions of each of B pictures, best first.

    Attributes:
      ids: int32 [B, A, T], filled up with PAD after the end mark.
      scores: mean log-probability per word, float32 [B, A].
      ended: whether the caption ended with the end mark, bool [B, A].
      kept: what `keep` picked of the model's state at the end, [B, A, ...] each.
    """

    ids: tf.Tensor
    scores: tf.Tensor
    ended: tf.Tensor
    kept: Tensors


class _Beams(NamedTuple):
    """Hypotheses of the n pictures that are still searched.

    Attributes:
      rows: int32 [n], their places in the batch.
      memory: what the model remembers of each, [n, ...].
      last: the last word of each hypothesis, int32 [n, K].
      words: all its words, int32 [n, K, T].
      scores: its log-probability, float32 [n, K].
      ended: whether the end mark is among its words, bool [n, K].
      state: the model's, [n, K, ...].
    """

    rows: tf.Tensor
    memory: Tensors
    last: tf.Tensor
    words: tf.Tensor
    scores: tf.Tensor
    ended: tf.Tensor
    state: Tensors


class BeamSearch:
    """Finds the best captions of each picture of a batch.

    A hypothesis never holds padding, start or unknown, never ends before its `min_words` words, and never repeats three
    words in a row that it already holds. Among equals the lower beam and the lower id win. A picture whose captions
    cannot change any more leaves the batch.

    Args:
      step: one step of the model.
      beam_width: K, hypotheses kept of each picture.
      max_words: T, the end mark included.
      n_best: A, captions returned of each picture, K at most.
      min_words: 1 or more, fewer than `max_words`.
      keep: picks what is wanted of a state.
    """

    def __init__(
        self,
        step: StepFunction,
        beam_width: int,
        max_words: int,
        n_best: int = 1,
        min_words: int = 1,
        keep: Callable[[Tensors], Tensors] = lambda state: (),
    ):
        self._step, self._keep = step, keep
        self._width, self._max_words, self._min_words, self._n_best = beam_width, max_words, min_words, n_best
        # M: K, and as many more as trigram blocking can take away: a pair of words fits that often before the last one.
        self._candidates = beam_width + max(max_words - 2, 0) // 3

    def search(self, memory: Tensors, state: Tensors) -> SearchResult:
        """Captions a batch, inside a graph or outside.

        Args:
          memory: what the model remembers of the pictures, [B, ...] each.
          state: of one hypothesis of each before the first word, [B, 1, ...] each.
        """
        beams = self._first(memory, state)
        result = self._empty(beams)
        begin = (tf.constant(1), self._undecided(beams), beams, result)
        any_number = lambda values: tf.TensorShape([None, *values.shape[1:]])  # noqa: E731
        _, _, beams, result = tf.while_loop(
            lambda t, pending, *_: tf.logical_and(t < self._max_words, tf.reduce_any(pending)),
            self._extend,
            begin,
            (tf.TensorShape([]), *tf.nest.map_structure(any_number, begin[1:])),
        )
        return self._record(beams, result)

    def _first(self, memory: Tensors, state: Tensors) -> _Beams:
        """The hypotheses of one word. All begin alike, so that only the first of each picture may go on."""
        batch, width = tf.nest.flatten(state)[0].shape[0], self._width
        start = tf.fill([batch, 1], START)
        log_probabilities, after = self._step(memory, start, state)
        copies = lambda values: tf.repeat(values, width, axis=1)  # noqa: E731
        beams = _Beams(
            rows=tf.range(batch),
            memory=memory,
            last=copies(start),
            words=tf.fill([batch, width, self._max_words], PAD),
            scores=tf.tile(tf.constant([[0.0] + [NEVER] * (width - 1)]), [batch, 1]),
            ended=tf.zeros([batch, width], tf.bool),
            state=tf.nest.map_structure(copies, after),
        )
        return self._choose(0, beams, copies(log_probabilities))

    def _empty(self, beams: _Beams) -> SearchResult:
        """A result of zeros, to be recorded in."""
        batch = beams.rows.shape[0]
        zeros = lambda values: tf.zeros([batch, self._n_best, *values.shape[2:]], values.dtype)  # noqa: E731
        shapes = SearchResult(beams.words, beams.scores, beams.ended, self._keep(beams.state))
        return tf.nest.map_structure(zeros, shapes)

    def _extend(
        self, t: tf.Tensor, pending: tf.Tensor, beams: _Beams, result: SearchResult
    ) -> tuple[tf.Tensor, tf.Tensor, _Beams, SearchResult]:
        """Adds the t-th word to every hypothesis; then those pictures leave that are no longer pending, bool [n]."""
        log_probabilities, after = self._step(beams.memory, beams.last, beams.state)
        beams = self._choose(t, beams._replace(state=after), log_probabilities)
        pending = self._undecided(beams)
        left = -(-tf.reduce_sum(tf.cast(pending, tf.int32)) // _LEAVE_BY) * _LEAVE_BY

        def leave() -> tuple[tf.Tensor, _Beams, SearchResult]:
            staying = tf.argsort(tf.cast(pending, tf.int32), direction="DESCENDING", stable=True)[:left]
            only = lambda values: tf.gather(values, staying)  # noqa: E731
            return only(pending), tf.nest.map_structure(only, beams), self._record(beams, result)

        pending, beams, result = tf.cond(left < tf.size(pending), leave, lambda: (pending, beams, result))
        return t + 1, pending, beams, result

    def _choose(self, t: int | tf.Tensor, beams: _Beams, log_probabilities: tf.Tensor) -> _Beams:
        """The K likeliest of all hypotheses that are one word longer.

        Args:
          t: place of that word.
          beams: hypotheses without it, with the state after it.
          log_probabilities: of it, float32 [n, K, V].
        """
        pictures, width = tf.shape(beams.rows)[0], self._width
        log_probabilities += forbidden(tf.shape(log_probabilities)[2], too_short=t < self._min_words)
        candidates = min(self._candidates, log_probabilities.shape[2])
        best, ids = tf.math.top_k(log_probabilities, candidates)  # (n, K, M)
        best += NEVER * tf.cast(_repeats_trigram(beams.words, ids, t), tf.float32)
        # A hypothesis that has ended stays as it is: its one continuation is padding, at no cost.
        only_first = tf.constant([0.0] + [NEVER] * (candidates - 1))
        best = tf.where(beams.ended[..., None], only_first, best)
        ids = tf.where(beams.ended[..., None], PAD, ids)
        totals = tf.reshape(beams.scores[..., None] + best, [pictures, width * candidates])
        scores, chosen = tf.math.top_k(totals, width)  # (n, K)
        origin = chosen // candidates
        last = tf.gather(tf.reshape(ids, [pictures, width * candidates]), chosen, batch_dims=1)
        words = tf.gather(beams.words, origin, batch_dims=1)
        words = tf.where(tf.range(self._max_words) == t, last[..., None], words)
        ended = tf.logical_or(tf.gather(beams.ended, origin, batch_dims=1), last == END)
        state = tf.nest.map_structure(lambda values: tf.gather(values, origin, batch_dims=1), beams.state)
        return beams._replace(last=last, words=words, scores=scores, ended=ended, state=state)

    def _rank(self, beams: _Beams) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """What hypotheses are compared by, their lengths and whether they ended, [n, K] each."""
        lengths = tf.reduce_sum(tf.cast(beams.words != PAD, tf.float32), axis=2)  # the end mark counted
        # Where there are fewer words than beams, some beams hold forbidden words; none of those counts as ended.
        ended = tf.logical_and(beams.ended, beams.scores > NEVER / 2)
        return beams.scores / tf.maximum(lengths, 1.0) ** LENGTH_POWER, lengths, ended

    def _undecided(self, beams: _Beams) -> tf.Tensor:
        """Whether a picture's captions may still change, bool [n].

        A hypothesis only gets less likely, so it can at most come to its present score over the full length; where that
        is less than what the ended ones have, the search is over.
        """
        ranking, _, ended = self._rank(beams)
        reached = tf.math.top_k(tf.where(ended, ranking, 2 * NEVER), self._n_best).values[:, -1]
        highest = beams.scores / self._max_words**LENGTH_POWER
        possible = tf.reduce_max(tf.where(ended, 2 * NEVER, highest), axis=1)
        return possible >= reached

    def _record(self, beams: _Beams, result: SearchResult) -> SearchResult:
        """Writes the captions that pictures have now into the rows of the result."""
        ranking, lengths, ended = self._rank(beams)
        # A hypothesis without the end mark is the answer only where no other of its picture has one.
        best = tf.math.top_k(ranking + tf.where(ended, 0.0, NEVER), self._n_best).indices  # (n, A)
        now = SearchResult(beams.words, beams.scores / lengths, ended, self._keep(beams.state))
        return tf.nest.map_structure(
            lambda before, values: tf.tensor_scatter_nd_update(
                before, beams.rows[:, None], tf.gather(values, best, batch_dims=1)
            ),
            result,
            now,
        )


def forbidden(vocabulary_size: int | tf.Tensor, too_short: bool | tf.Tensor) -> tf.Tensor:
    """Scores that forbid padding, start and unknown, and the end mark while a caption is too short.

    Args:
      vocabulary_size: V.
      too_short: whether the caption may not end yet, a scalar.

    Returns:
      float32 [V] to add to log-probabilities or logits: 0, or NEVER where a word is forbidden.
    """
    marks = tf.reduce_sum(tf.one_hot([PAD, START, UNKNOWN], vocabulary_size), axis=0)
    return NEVER * (marks + tf.where(too_short, tf.one_hot(END, vocabulary_size), 0.0))


def _repeats_trigram(words: tf.Tensor, ids: tf.Tensor, t: int | tf.Tensor) -> tf.Tensor:
    """Whether a candidate would repeat three words in a row: words [B, K, T], ids [B, K, M] -> bool [B, K, M]."""
    length = words.shape[2]
    last = tf.gather(words, tf.maximum(t - 1, 0), axis=2)[..., None]  # (B, K, 1)
    before = tf.gather(words, tf.maximum(t - 2, 0), axis=2)[..., None]
    pair = tf.logical_and(words[..., : length - 2] == before, words[..., 1 : length - 1] == last)  # (B, K, T-2)
    pair = tf.logical_and(pair, tf.range(length - 2) < t - 2)  # the pair that ends at t-1 is no earlier one
    same = words[..., None, 2:] == ids[..., :, None]  # (B, K, M, T-2)
    return tf.reduce_any(tf.logical_and(pair[..., None, :], same), axis=3)
