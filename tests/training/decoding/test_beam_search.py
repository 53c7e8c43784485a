import itertools

import numpy as np
import pytest
import tensorflow as tf

from training.decoding.beam_search import LENGTH_POWER, BeamSearch
from training.decoding.decoder import repeats
from training.text.vocabulary import END, PAD, SPECIALS, START, UNKNOWN

BEFORE = {PAD, START, UNKNOWN}  # never said


def table_step(table):
    """Step function that draws the next word by the last one: probabilities [V, V] -> (step, their logs)."""
    log_probabilities = np.where(table > 0, np.log(np.maximum(table, 1e-9)), -1e9).astype(np.float32)

    def step(memory, ids, state):
        return tf.gather(tf.constant(log_probabilities), ids), state

    return step, log_probabilities


def history_step(seed, vocabulary, pictures, concentration=2.0):
    """Step function whose log-probabilities depend on the picture and on all words said, through a small recurrent
    network of random weights, its memory and first state, and a numpy function that gives the same for one sequence of
    one picture.
    """
    generator = np.random.default_rng(seed)
    size = 6
    words = generator.normal(size=(vocabulary, size)).astype(np.float32)
    recurrent = (0.7 * generator.normal(size=(size, size))).astype(np.float32)
    output = (concentration * generator.normal(size=(size, vocabulary))).astype(np.float32)
    start, seen = generator.normal(size=(2, pictures, size)).astype(np.float32)

    def step(memory, ids, state):
        hidden = tf.tanh(tf.tensordot(state[0], recurrent, 1) + tf.gather(words, ids) + memory[:, None])  # (n, K, size)
        return tf.nn.log_softmax(tf.tensordot(hidden, output, 1)), (hidden,)

    def next_log_probabilities(picture, said):
        hidden = start[picture]
        for word in (START, *said):
            hidden = np.tanh(hidden @ recurrent + words[word] + seen[picture])
        logits = (hidden @ output).astype(np.float64)
        return logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max()

    return step, tf.constant(seen), (tf.constant(start[:, None]),), next_log_probabilities


def allowed(said, word, min_words):
    """Whether a hypothesis may go on with a word; written from the docstring of `BeamSearch`."""
    if word in BEFORE or (word == END and len(said) < min_words):
        return False
    three = (*said[-2:], word)
    return len(three) < 3 or three not in list(zip(said, said[1:], said[2:], strict=False))


def reference_beam_search(next_log_probabilities, vocabulary, beam_width, max_words, min_words):
    """One hypothesis at a time, in plain Python -> [(ids with END, mean log-probability, whether it ended)], the best
    first; one that never ended comes after all that did.
    """
    beams = [((), 0.0)]
    for _ in range(max_words):
        grown = []
        for said, score in beams:
            if said and said[-1] == END:
                grown.append((said, score))
                continue
            log_probabilities = next_log_probabilities(said)
            grown += [
                ((*said, word), score + log_probabilities[word])
                for word in range(vocabulary)
                if allowed(said, word, min_words)
            ]
        beams = sorted(grown, key=lambda beam: -beam[1])[:beam_width]
    beams.sort(key=lambda beam: (beam[0][-1] != END, -beam[1] / len(beam[0]) ** LENGTH_POWER))
    return [(list(said), score / len(said), said[-1] == END) for said, score in beams]


def search(step, pictures=1, beam_width=3, max_words=6):
    ids, scores, ended, _ = BeamSearch(step, beam_width, max_words).search((), tf.zeros([pictures, 1]))
    assert ids.shape == (pictures, 1, max_words)
    return ids[:, 0].numpy().tolist(), scores[:, 0].numpy(), ended[:, 0].numpy().tolist()


def chain(likely, words, other=0.01):
    """Probabilities [V, V] in which each word is followed by the words that `likely` gives it, and hardly by others."""
    table = np.full([words, words], other)
    for before, following in likely.items():
        for word, probability in following.items():
            table[before, word] = probability
    return table


DOG, CAT, RUNS, SITS = range(SPECIALS, SPECIALS + 4)


def test_width_one_takes_the_likeliest_word_each_time():
    likely = {START: {DOG: 0.6, CAT: 0.3}, DOG: {RUNS: 0.5, SITS: 0.4}, RUNS: {END: 0.8}}
    step, log_probabilities = table_step(chain(likely, words=8))
    ids, scores, ended = search(step, beam_width=1)
    assert ids == [[DOG, RUNS, END, PAD, PAD, PAD]] and ended == [True]
    total = log_probabilities[START, DOG] + log_probabilities[DOG, RUNS] + log_probabilities[RUNS, END]
    assert scores[0] == pytest.approx(total / 3)


def test_width_three_finds_the_best_of_all_captions_where_width_one_does_not():
    likely = {
        START: {DOG: 0.5, CAT: 0.4},
        DOG: {RUNS: 0.3, SITS: 0.29, CAT: 0.28},
        CAT: {SITS: 0.9},
        RUNS: {END: 0.4},
        SITS: {END: 0.9},
    }
    step, log_probabilities = table_step(chain(likely, words=8))

    def mean_score(said):
        return sum(log_probabilities[pair] for pair in itertools.pairwise((START, *said)))

    captions = [(*said, END) for n in (1, 2, 3) for said in itertools.product(range(SPECIALS, 8), repeat=n)]
    best = max(captions, key=lambda said: mean_score(said) / len(said) ** LENGTH_POWER)
    assert best == (CAT, SITS, END)
    assert search(step, beam_width=1, max_words=4)[0] == [[DOG, RUNS, END, PAD]]
    assert search(step, beam_width=3, max_words=4)[0] == [[*best, PAD]]


def test_marks_are_never_said_and_the_end_never_comes_first():
    likely = {
        START: {END: 0.5, PAD: 0.2, UNKNOWN: 0.2, DOG: 0.05},
        DOG: {PAD: 0.3, START: 0.3, UNKNOWN: 0.3, RUNS: 0.05},
        RUNS: {UNKNOWN: 0.6, PAD: 0.2, END: 0.1},
    }
    for width in (1, 3):
        step, _ = table_step(chain(likely, words=8, other=0.001))
        assert search(step, beam_width=width)[0] == [[DOG, RUNS, END, PAD, PAD, PAD]]


def test_a_caption_that_wants_to_go_round_in_a_circle_says_no_three_words_twice():
    words = ["a", "hat", "on", "top", "of", "dog", "runs"]
    cycle = range(SPECIALS, SPECIALS + 5)
    likely = {word: {following: 0.9} for word, following in zip(cycle, [*cycle[1:], cycle[0]], strict=True)}
    likely[START] = {cycle[0]: 0.9}
    for width in (1, 3):
        step, _ = table_step(chain(likely, words=SPECIALS + len(words)))
        ((*ids,),), _, _ = search(step, beam_width=width, max_words=17)
        said = [word for word in ids if word >= SPECIALS]
        assert said[:5] == list(cycle)
        assert len(set(zip(said, said[1:], said[2:], strict=False))) == len(said) - 2
        assert not repeats([words[word - SPECIALS] for word in said])


def test_a_word_is_left_however_many_ways_to_go_on_are_used_up():
    a, b, *others = range(SPECIALS, SPECIALS + 7)
    likely = {START: {a: 0.9}, a: {b: 0.9}, b: dict(zip(others, (0.4, 0.3, 0.2, 0.1, 0.05), strict=True))}
    likely |= {word: {a: 0.9} for word in others}
    step, _ = table_step(chain(likely, words=SPECIALS + 7, other=0.001))
    ids, scores, _ = search(step, beam_width=1, max_words=16)
    assert ids == [[a, b, others[0], a, b, others[1], a, b, others[2], a, b, others[3], a, b, others[4], a]]
    assert scores[0] > -2


def test_without_end_the_best_unfinished_caption_is_cut_at_the_limit():
    likely = {START: {DOG: 0.9}, DOG: {CAT: 0.9}, CAT: {RUNS: 0.9}, RUNS: {SITS: 0.9}, SITS: {DOG: 0.9}}
    table = chain(likely, words=8)
    table[:, END] = 0
    for width in (1, 3):
        ids, scores, ended = search(table_step(table)[0], beam_width=width, max_words=4)
        assert ids == [[DOG, CAT, RUNS, SITS]] and ended == [False]
        assert scores[0] == pytest.approx(np.log(0.9), abs=1e-4)


def test_an_ended_caption_wins_over_a_likelier_one_that_never_ends():
    likely = {START: {DOG: 0.6, CAT: 0.3}, DOG: {RUNS: 0.99}, RUNS: {SITS: 0.99}, SITS: {DOG: 0.99}, CAT: {END: 0.9}}
    ids, _, ended = search(table_step(chain(likely, words=8, other=0.0001))[0], beam_width=3, max_words=4)
    assert ids == [[CAT, END, PAD, PAD]] and ended == [True]


def test_the_search_ends_as_soon_as_no_picture_can_find_anything_better():
    likely = {START: {DOG: 0.9, CAT: 0.05}, DOG: {END: 0.95}, CAT: {RUNS: 0.5}, RUNS: {SITS: 0.5}, SITS: {RUNS: 0.4}}
    step, _ = table_step(chain(likely, words=8))
    asked = []

    def counted(memory, ids, state):
        asked.append(ids)
        return step(memory, ids, state)

    ids, _, ended = search(counted, beam_width=3, max_words=17)
    assert ids == [[DOG, END] + [PAD] * 15] and ended == [True]
    assert len(asked) < 5  # the other hypotheses go on, but even for nothing they would stay behind


def test_a_vocabulary_smaller_than_the_beam_gives_what_there_is():
    likely = {START: {DOG: 0.9}, DOG: {END: 0.9}}
    ids, _, ended = search(table_step(chain(likely, words=5))[0], beam_width=4, max_words=4)
    assert ids == [[DOG, END, PAD, PAD]] and ended == [True]
    endless = chain(likely, words=5)
    endless[:, END] = 0
    ids, scores, ended = search(table_step(endless)[0], beam_width=4, max_words=2)
    assert ids == [[DOG, DOG]] and ended == [False] and scores[0] > -10


@pytest.mark.parametrize("beam_width", [1, 2, 3, 5])
@pytest.mark.parametrize(("seed", "min_words"), [*((seed, 1) for seed in range(8)), (0, 2), (1, 5), (2, 8)])
def test_many_pictures_at_once_give_what_a_plain_beam_search_gives_for_each(seed, beam_width, min_words):
    pictures, vocabulary, max_words = 13, 14, 9
    step, memory, state, next_log_probabilities = history_step(seed, vocabulary, pictures)
    expected = [
        reference_beam_search(
            lambda said, p=picture: next_log_probabilities(p, said), vocabulary, beam_width, max_words, min_words
        )
        for picture in range(pictures)
    ]
    for n_best in {1, min(2, beam_width), beam_width}:
        ids, scores, ended, _ = BeamSearch(step, beam_width, max_words, n_best, min_words).search(memory, state)
        for picture, best in enumerate(expected):
            assert ids[picture].numpy().tolist() == [
                said + [PAD] * (max_words - len(said)) for said, _, _ in best[:n_best]
            ]
            assert ended[picture].numpy().tolist() == [one for _, _, one in best[:n_best]]
            np.testing.assert_allclose(scores[picture], [score for _, score, _ in best[:n_best]], atol=1e-4)


def test_pictures_leave_the_batch_as_they_are_decided():
    pictures, asked = 10, []
    step, memory, state, _ = history_step(3, 14, pictures)

    def counted(memory, ids, state):
        asked.append(len(ids))
        log_probabilities, state = step(memory, ids, state)
        # The first two pictures want to go on for ever, the others to end.
        ending = tf.where(memory[:, :1] == tf.transpose(first), -30.0, 6.0)
        wish = tf.one_hot(END, 14) * tf.reduce_min(ending, axis=1)[:, None, None]
        return tf.nn.log_softmax(log_probabilities + wish), state

    first = memory[:2, :1]
    ids, _, ended, _ = BeamSearch(counted, 3, 9).search(memory, state)
    assert asked[0] == pictures and asked[-1] == 4 and len(asked) == 9  # by fours
    assert asked == sorted(asked, reverse=True)
    assert ended[:, 0].numpy().tolist() == [False] * 2 + [True] * 8
    lengths = tf.reduce_sum(tf.cast(ids != PAD, tf.int32), axis=2)[:, 0].numpy().tolist()
    assert lengths[:2] == [9, 9] and max(lengths[2:]) < 9


def test_what_is_kept_of_the_state_is_that_of_the_answer():
    pictures = 13
    step, memory, state, next_log_probabilities = history_step(1, 14, pictures)

    def summing(memory, ids, state):
        before, total = state
        log_probabilities, after = step(memory, ids, before)
        over = tf.logical_or(ids == END, ids == PAD)
        return log_probabilities, (after, total + tf.where(over, 0.0, log_probabilities[..., SPECIALS]))

    begin = state, tf.zeros([pictures, 1])
    found = BeamSearch(summing, 3, 9, n_best=2, keep=lambda state: state[1]).search(memory, begin)
    for picture in range(pictures):
        for said, total in zip(found.ids[picture].numpy(), found.kept[picture].numpy(), strict=True):
            said = [int(word) for word in said if word != PAD]
            before = [said[:place] for place in range(len(said))]
            assert total == pytest.approx(
                sum(next_log_probabilities(picture, one)[SPECIALS] for one in before), abs=1e-4
            )
