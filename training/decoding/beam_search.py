"""Beam search over many pictures at once, inside one graph, no Python per word.

Letters: B pictures of a batch, n that are not decided yet, K beam width, M candidates a hypothesis, A answers, T words,
V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from training.text.vocabulary import END, PAD, START, UNKNOWN

NEVER = -1e9  # log-probability of what must not be said
LENGTH_POWER = (
    0.7  # hypotheses are compared by log-probability / words**LENGTH_POWER (Wu et al. 2016, without the offset)
)

Tensors = Any  # tensors, or tuples of such, to any depth
# (memory [n, ...], ids int32 [n, K], state [n, K, ...]) -> (log-probabilities float32 [n, K, V], state)
StepFunction = Callable[[Tensors, tf.Tensor, Tensors], tuple[tf.Tensor, Tensors]]

# Pictures that are decided leave a batch by so many. At such numbers matrix products give a row the same bits however
# many rows there are (not so for a single row), and the copies that leaving takes stay few.
_LEAVE_BY = 4


class Found(NamedTuple):
    """What a search found for B pictures, the A best captions of each, best first.

    Attributes:
      ids: int32 [B, A, T], filled up with PAD after the end mark.
      scores: mean log-probability per word, float32 [B, A].
      ended: whether the end mark was said, bool [B, A].
      kept: of the model's state when the search was over, [B, A, ...] each.
    """

    ids: tf.Tensor
    scores: tf.Tensor
    ended: tf.Tensor
    kept: Tensors


class _Beams(NamedTuple):
    """Hypotheses of the n pictures that are still searched for.

    Attributes:
      rows: int32 [n], their places in the batch.
      memory: what the model remembers of each, [n, ...].
      ids: the words just said, int32 [n, K]; said: all words, int32 [n, K, T].
      scores: their log-probability, float32 [n, K].
      ended: whether the end mark was said, bool [n, K].
      state: the model's, [n, K, ...].
    """

    rows: tf.Tensor
    memory: Tensors
    ids: tf.Tensor
    said: tf.Tensor
    scores: tf.Tensor
    ended: tf.Tensor
    state: Tensors


def beam_search(
    step: StepFunction,
    memory: Tensors,
    state: Tensors,
    beam_width: int,
    max_words: int,
    answers: int = 1,
    min_words: int = 1,
    keep: Callable[[Tensors], Tensors] = lambda state: (),
) -> Found:
    """Finds the best captions of each picture.

    A hypothesis never says padding, start or unknown, never ends before its `min_words` words, and never says three
    words in a row that it said before. Among equals the lower beam and the lower id win. A picture whose answers
    cannot change any more leaves the batch.

    Args:
      step: one step of the model.
      memory: what the model remembers of the pictures, [B, ...] each.
      state: of one hypothesis of each before the first word, [B, 1, ...] each.
      beam_width, max_words: K and T, the end mark included.
      answers: A, captions wanted of each picture, K at most.
      min_words: 1 or more, fewer than `max_words`.
      keep: picks what is wanted of a state.
    """
    width = beam_width
    batch = tf.nest.flatten(state)[0].shape[0]
    # M: K, and as many more as trigram blocking can take away: a pair of words fits that often before the last one.
    wanted = width + max(max_words - 2, 0) // 3

    def choose(t, beams: _Beams, log_probabilities) -> _Beams:
        """The likeliest of all hypotheses that are a word longer: log-probabilities [n, K, V]."""
        pictures = tf.shape(beams.rows)[0]
        log_probabilities += forbidden(tf.shape(log_probabilities)[2], too_short=t < min_words)
        candidates_each = min(wanted, log_probabilities.shape[2])
        best, words = tf.math.top_k(log_probabilities, candidates_each)  # (n, K, M)
        best += NEVER * tf.cast(_repeats_trigram(beams.said, words, t), tf.float32)
        # A hypothesis that has ended stays as it is: its one continuation is padding, for nothing.
        only_first = tf.constant([0.0] + [NEVER] * (candidates_each - 1))
        best = tf.where(beams.ended[..., None], only_first, best)
        words = tf.where(beams.ended[..., None], PAD, words)
        totals = tf.reshape(beams.scores[..., None] + best, [pictures, width * candidates_each])
        scores, chosen = tf.math.top_k(totals, width)  # (n, K)
        origin = chosen // candidates_each
        ids = tf.gather(tf.reshape(words, [pictures, width * candidates_each]), chosen, batch_dims=1)
        said = tf.gather(beams.said, origin, batch_dims=1)
        said = tf.where(tf.range(max_words) == t, ids[..., None], said)
        ended = tf.logical_or(tf.gather(beams.ended, origin, batch_dims=1), ids == END)
        state = tf.nest.map_structure(lambda values: tf.gather(values, origin, batch_dims=1), beams.state)
        return beams._replace(ids=ids, said=said, scores=scores, ended=ended, state=state)

    def first() -> _Beams:
        """All hypotheses of a picture begin alike, so that only the first may go on."""
        ids = tf.fill([batch, 1], START)
        log_probabilities, after = step(memory, ids, state)
        copies = lambda values: tf.repeat(values, width, axis=1)  # noqa: E731
        beams = _Beams(
            tf.range(batch),
            memory,
            copies(ids),
            tf.fill([batch, width, max_words], PAD),
            tf.tile(tf.constant([[0.0] + [NEVER] * (width - 1)]), [batch, 1]),
            tf.zeros([batch, width], tf.bool),
            tf.nest.map_structure(copies, after),
        )
        return choose(0, beams, copies(log_probabilities))

    def ranked(beams: _Beams):
        """What hypotheses are compared by, their lengths and whether they ended, [n, K] each."""
        lengths = tf.reduce_sum(tf.cast(beams.said != PAD, tf.float32), axis=2)  # the end mark counted
        # Where there are fewer words than beams, some beams hold what must not be said; none of those counts as ended.
        ended = tf.logical_and(beams.ended, beams.scores > NEVER / 2)
        return beams.scores / tf.maximum(lengths, 1.0) ** LENGTH_POWER, lengths, ended

    def undecided(beams: _Beams) -> tf.Tensor:
        """Whether a picture's answers may still change, bool [n]. A hypothesis only gets less likely, so it can at most
        come to its present score over the full length; where that is less than what the ended ones have, the search
        is over.
        """
        ranking, _, ended = ranked(beams)
        reached = tf.math.top_k(tf.where(ended, ranking, 2 * NEVER), answers).values[:, -1]
        possible = tf.reduce_max(tf.where(ended, 2 * NEVER, beams.scores / max_words**LENGTH_POWER), axis=1)
        return possible >= reached

    def note(beams: _Beams, found: Found) -> Found:
        """Writes down the answers that pictures have now."""
        ranking, lengths, ended = ranked(beams)
        # A hypothesis that never said the end mark is the answer only where no other of its picture did.
        best = tf.math.top_k(ranking + tf.where(ended, 0.0, NEVER), answers).indices  # (n, A)
        answer = Found(beams.said, beams.scores / lengths, ended, keep(beams.state))
        return tf.nest.map_structure(
            lambda before, values: tf.tensor_scatter_nd_update(
                before, beams.rows[:, None], tf.gather(values, best, batch_dims=1)
            ),
            found,
            answer,
        )

    def extend(t, pending, beams: _Beams, found: Found):
        """One word more for every hypothesis; then those pictures leave that are no longer pending, bool [n]."""
        log_probabilities, after = step(beams.memory, beams.ids, beams.state)
        beams = choose(t, beams._replace(state=after), log_probabilities)
        pending = undecided(beams)
        left = -(-tf.reduce_sum(tf.cast(pending, tf.int32)) // _LEAVE_BY) * _LEAVE_BY

        def leave():
            staying = tf.argsort(tf.cast(pending, tf.int32), direction="DESCENDING", stable=True)[:left]
            only = lambda values: tf.gather(values, staying)  # noqa: E731
            return only(pending), tf.nest.map_structure(only, beams), note(beams, found)

        pending, beams, found = tf.cond(left < tf.size(pending), leave, lambda: (pending, beams, found))
        return t + 1, pending, beams, found

    beams = first()
    empty = lambda values: tf.zeros([batch, answers, *values.shape[2:]], values.dtype)  # noqa: E731
    found = tf.nest.map_structure(empty, Found(beams.said, beams.scores, beams.ended, keep(beams.state)))
    begin = (tf.constant(1), undecided(beams), beams, found)
    any_number = lambda values: tf.TensorShape([None, *values.shape[1:]])  # noqa: E731
    _, _, beams, found = tf.while_loop(
        lambda t, pending, *_: tf.logical_and(t < max_words, tf.reduce_any(pending)),
        extend,
        begin,
        (tf.TensorShape([]), *tf.nest.map_structure(any_number, begin[1:])),
    )
    return note(beams, found)


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
