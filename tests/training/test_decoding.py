import itertools

import numpy as np
import pytest
import tensorflow as tf

from training.decoding import LENGTH_POWER, beam_search, repeats
from training.vocabulary import END, PAD, SPECIALS, START, UNKNOWN

BEFORE = {PAD, START, UNKNOWN}  # never said


def table_step(table):
    """Step function that draws the next word by the last one: probabilities [V, V] -> (step, state, their logs)."""
    log_probabilities = np.where(table > 0, np.log(np.maximum(table, 1e-9)), -1e9).astype(np.float32)

    def step(ids, state):
        return tf.gather(tf.constant(log_probabilities), ids), state

    return step, (), log_probabilities


def history_step(seed, vocabulary, pictures, beam_width, concentration=2.0):
    """Step function whose log-probabilities depend on the picture and on all words said, through a small recurrent
    network of random weights, and a numpy function that gives the same for one sequence of one picture.
    """
    generator = np.random.default_rng(seed)
    size = 6
    words = generator.normal(size=(vocabulary, size)).astype(np.float32)
    recurrent = (0.7 * generator.normal(size=(size, size))).astype(np.float32)
    output = (concentration * generator.normal(size=(size, vocabulary))).astype(np.float32)
    start = generator.normal(size=(pictures, size)).astype(np.float32)

    def step(ids, state):
        hidden = tf.tanh(tf.tensordot(state[0], recurrent, 1) + tf.gather(words, ids))  # (B, K, size)
        return tf.nn.log_softmax(tf.tensordot(hidden, output, 1)), (hidden,)

    def next_log_probabilities(picture, said):
        hidden = start[picture]
        for word in (START, *said):
            hidden = np.tanh(hidden @ recurrent + words[word])
        logits = (hidden @ output).astype(np.float64)
        return logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max()

    state = (tf.constant(np.repeat(start[:, None], beam_width, axis=1)),)
    return step, state, next_log_probabilities


def allowed(said, word, min_words):
    """Whether a hypothesis may go on with a word; written from the docstring of `beam_search`."""
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


def search(step, state, pictures=1, beam_width=3, max_words=6):
    ids, scores, ended = beam_search(step, state, pictures, beam_width, max_words)
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
    step, state, log_probabilities = table_step(chain(likely, words=8))
    ids, scores, ended = search(step, state, beam_width=1)
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
    step, state, log_probabilities = table_step(chain(likely, words=8))

    def mean_score(said):
        return sum(log_probabilities[pair] for pair in itertools.pairwise((START, *said)))

    captions = [(*said, END) for n in (1, 2, 3) for said in itertools.product(range(SPECIALS, 8), repeat=n)]
    best = max(captions, key=lambda said: mean_score(said) / len(said) ** LENGTH_POWER)
    assert best == (CAT, SITS, END)
    assert search(step, state, beam_width=1, max_words=4)[0] == [[DOG, RUNS, END, PAD]]
    assert search(step, state, beam_width=3, max_words=4)[0] == [[*best, PAD]]


def test_marks_are_never_said_and_the_end_never_comes_first():
    likely = {
        START: {END: 0.5, PAD: 0.2, UNKNOWN: 0.2, DOG: 0.05},
        DOG: {PAD: 0.3, START: 0.3, UNKNOWN: 0.3, RUNS: 0.05},
        RUNS: {UNKNOWN: 0.6, PAD: 0.2, END: 0.1},
    }
    for width in (1, 3):
        step, state, _ = table_step(chain(likely, words=8, other=0.001))
        assert search(step, state, beam_width=width)[0] == [[DOG, RUNS, END, PAD, PAD, PAD]]


def test_a_caption_that_wants_to_go_round_in_a_circle_says_no_three_words_twice():
    words = ["a", "hat", "on", "top", "of", "dog", "runs"]
    cycle = range(SPECIALS, SPECIALS + 5)
    likely = {word: {following: 0.9} for word, following in zip(cycle, [*cycle[1:], cycle[0]], strict=True)}
    likely[START] = {cycle[0]: 0.9}
    for width in (1, 3):
        step, state, _ = table_step(chain(likely, words=SPECIALS + len(words)))
        ((*ids,),), _, _ = search(step, state, beam_width=width, max_words=17)
        said = [word for word in ids if word >= SPECIALS]
        assert said[:5] == list(cycle)
        assert len(set(zip(said, said[1:], said[2:], strict=False))) == len(said) - 2
        assert not repeats([words[word - SPECIALS] for word in said])


def test_a_word_is_left_however_many_ways_to_go_on_are_used_up():
    a, b, *others = range(SPECIALS, SPECIALS + 7)
    likely = {START: {a: 0.9}, a: {b: 0.9}, b: dict(zip(others, (0.4, 0.3, 0.2, 0.1, 0.05), strict=True))}
    likely |= {word: {a: 0.9} for word in others}
    step, state, _ = table_step(chain(likely, words=SPECIALS + 7, other=0.001))
    ids, scores, _ = search(step, state, beam_width=1, max_words=16)
    assert ids == [[a, b, others[0], a, b, others[1], a, b, others[2], a, b, others[3], a, b, others[4], a]]
    assert scores[0] > -2


def test_without_end_the_best_unfinished_caption_is_cut_at_the_limit():
    likely = {START: {DOG: 0.9}, DOG: {CAT: 0.9}, CAT: {RUNS: 0.9}, RUNS: {SITS: 0.9}, SITS: {DOG: 0.9}}
    table = chain(likely, words=8)
    table[:, END] = 0
    for width in (1, 3):
        ids, scores, ended = search(*table_step(table)[:2], beam_width=width, max_words=4)
        assert ids == [[DOG, CAT, RUNS, SITS]] and ended == [False]
        assert scores[0] == pytest.approx(np.log(0.9), abs=1e-4)


def test_an_ended_caption_wins_over_a_likelier_one_that_never_ends():
    likely = {START: {DOG: 0.6, CAT: 0.3}, DOG: {RUNS: 0.99}, RUNS: {SITS: 0.99}, SITS: {DOG: 0.99}, CAT: {END: 0.9}}
    ids, _, ended = search(*table_step(chain(likely, words=8, other=0.0001))[:2], beam_width=3, max_words=4)
    assert ids == [[CAT, END, PAD, PAD]] and ended == [True]


def test_the_search_ends_as_soon_as_no_picture_can_find_anything_better():
    likely = {START: {DOG: 0.9, CAT: 0.05}, DOG: {END: 0.95}, CAT: {RUNS: 0.5}, RUNS: {SITS: 0.5}, SITS: {RUNS: 0.4}}
    step, state, _ = table_step(chain(likely, words=8))
    asked = []

    def counted(ids, state):
        asked.append(ids)
        return step(ids, state)

    ids, _, ended = search(counted, state, beam_width=3, max_words=17)
    assert ids == [[DOG, END] + [PAD] * 15] and ended == [True]
    assert len(asked) < 5  # the other hypotheses go on, but even for nothing they would stay behind


def test_a_vocabulary_smaller_than_the_beam_gives_what_there_is():
    likely = {START: {DOG: 0.9}, DOG: {END: 0.9}}
    ids, _, ended = search(*table_step(chain(likely, words=5))[:2], beam_width=4, max_words=4)
    assert ids == [[DOG, END, PAD, PAD]] and ended == [True]
    endless = chain(likely, words=5)
    endless[:, END] = 0
    ids, scores, ended = search(*table_step(endless)[:2], beam_width=4, max_words=2)
    assert ids == [[DOG, DOG]] and ended == [False] and scores[0] > -10


@pytest.mark.parametrize("beam_width", [1, 2, 3, 5])
@pytest.mark.parametrize(("seed", "min_words"), [*((seed, 1) for seed in range(8)), (0, 2), (1, 5), (2, 8)])
def test_many_pictures_at_once_give_what_a_plain_beam_search_gives_for_each(seed, beam_width, min_words):
    pictures, vocabulary, max_words = 5, 14, 9
    step, state, next_log_probabilities = history_step(seed, vocabulary, pictures, beam_width)
    expected = [
        reference_beam_search(
            lambda said, p=picture: next_log_probabilities(p, said), vocabulary, beam_width, max_words, min_words
        )
        for picture in range(pictures)
    ]
    for answers in {1, min(2, beam_width), beam_width}:
        ids, scores, ended = beam_search(step, state, pictures, beam_width, max_words, answers, min_words)
        for picture, best in enumerate(expected):
            assert ids[picture].numpy().tolist() == [
                said + [PAD] * (max_words - len(said)) for said, _, _ in best[:answers]
            ]
            assert ended[picture].numpy().tolist() == [one for _, _, one in best[:answers]]
            np.testing.assert_allclose(scores[picture], [score for _, score, _ in best[:answers]], atol=1e-4)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", False),
        ("a dog a dog a dog a dog", False),  # a phrase of two words
        ("on top of on top of on top", False),
        ("on top of on top of on top of", True),
        ("a hat on top of on top of on top of a", True),
        ("on top of a on top of a on top of", False),  # not in a row
        ("very very very very very very very very very", True),
        ("very very very very very very very very", False),
    ],
)
def test_a_phrase_of_three_words_three_times_in_a_row_is_a_repetition(text, expected):
    assert repeats(text.split()) is expected


@pytest.mark.parametrize("kind", ["pooled", "grid"])
def test_a_caption_does_not_depend_on_how_many_are_asked_for_together(tiny_captioner, random_features, decoder, kind):
    together = decoder(tiny_captioner(kind=kind), batch_size=16)
    features = random_features(13, kind)
    captions = together.decode(features)
    assert len({hypothesis.caption for hypothesis in captions}) > 1
    assert [together.decode(features[number : number + 1])[0] for number in range(13)] == captions
    assert together.decode(features[:0]) == []


def test_more_pictures_than_a_batch_come_in_order(tiny_captioner, random_features, decoder):
    captioner, features = tiny_captioner(), random_features(13)
    small, large = decoder(captioner, batch_size=4), decoder(captioner, batch_size=16)
    assert [one.caption for one in small.decode(features)] == [one.caption for one in large.decode(features)]
    np.testing.assert_allclose(
        [one.score for one in small.decode(features)], [one.score for one in large.decode(features)], atol=1e-5
    )


@pytest.mark.parametrize("beam_width", [1, 3])
def test_a_captioner_that_never_ends_gives_flagged_captions_of_the_length_limit(
    tiny_captioner, random_features, decoder, beam_width
):
    captions = decoder(tiny_captioner(max_words=8, end_bias=-1e9), beam_width=beam_width, batch_size=8).decode(
        random_features(5)
    )
    assert [one.flags for one in captions] == [("unfinished",)] * 5
    assert {len(one.caption.split()) for one in captions} == {9}  # the end mark's place holds a word too
    assert all(-50 < one.score < 0 for one in captions)


def test_alternatives_are_the_next_best_and_leave_the_best_one_alone(tiny_captioner, random_features, decoder):
    captioner, features = tiny_captioner(end_bias=1.0), random_features(4)
    alone = decoder(captioner, beam_width=3, batch_size=4).decode(features)
    together = decoder(captioner, beam_width=3, batch_size=4, alternatives=2).decode(features)
    for one, best in zip(alone, together, strict=True):
        assert (best.caption, best.flags) == (one.caption, one.flags) and one.alternatives == ()
        assert best.score == pytest.approx(one.score, abs=1e-6)
        captions = [best.caption, *(other.caption for other in best.alternatives)]
        assert len(captions) == len(set(captions)) == 3
        assert all(other.alternatives == () for other in best.alternatives)


def test_confidence_comes_with_every_caption_and_changes_none(
    tiny_captioner, give_head, give_confidence, random_features, decoder
):
    captioner, features = give_head(tiny_captioner(end_bias=1.0)), random_features(5)
    before = decoder(captioner, batch_size=4).decode(features)
    judged = decoder(give_confidence(captioner), batch_size=4, alternatives=2).decode(features)
    for one, best in zip(before, judged, strict=True):
        assert (best.caption, one.confidence, one.signals) == (one.caption, None, ())
        every = [best, *best.alternatives]
        assert all(0 < caption.confidence < 1 and caption.signals[0] == caption.score for caption in every)
        assert len({caption.signals for caption in every}) == 3
    assert len({best.confidence for best in judged}) > 1


def test_confidence_does_not_depend_on_what_else_is_asked_for(
    tiny_captioner, give_head, give_confidence, random_features, decoder
):
    captioner, features = give_confidence(give_head(tiny_captioner())), random_features(13)
    together = decoder(captioner, batch_size=16).decode(features)
    alone = decoder(captioner, batch_size=16)
    assert [alone.decode(features[number : number + 1])[0] for number in range(13)] == together
    backwards = decoder(captioner, batch_size=4).decode(features[::-1])[::-1]
    assert [one.confidence for one in backwards] == [one.confidence for one in together]
    for options in ({"evidence": True}, {"alternatives": 1}):
        found = decoder(captioner, batch_size=16, **options).decode(features)
        assert [one.confidence for one in found] == [one.confidence for one in together]


def test_captions_below_the_least_confidence_are_flagged_and_copies_too(
    tiny_captioner, give_head, give_confidence, random_features, decoder
):
    captioner, features = give_head(tiny_captioner(end_bias=1.0)), random_features(6)
    said = [one.caption for one in decoder(captioner, batch_size=8).decode(features)]
    judged = give_confidence(captioner, copies=said[:1])
    found = decoder(judged, batch_size=8).decode(features)
    assert not any("low_confidence" in one.flags for one in found)
    assert [("copied" in one.flags) for one in found] == [caption == said[0] for caption in said]
    middle = sorted(one.confidence for one in found)[3]
    limited = decoder(judged, batch_size=8, min_confidence=middle).decode(features)
    assert [one.caption for one in limited] == said
    assert [("low_confidence" in one.flags) for one in limited] == [one.confidence < middle for one in found]
    assert sum("low_confidence" in one.flags for one in limited) > 0


def test_fewer_alternatives_come_where_fewer_can_be_said(tiny_captioner, random_features, decoder):
    captioner = tiny_captioner(words=("a",), max_words=1)
    (best,) = decoder(captioner, beam_width=4, batch_size=1, alternatives=3).decode(random_features(1))
    assert {best.caption, *(other.caption for other in best.alternatives)} <= {"a", "a a"}
    assert len(best.alternatives) == 1


@pytest.mark.parametrize(("min_words", "words"), [(1, 1), (5, 5), (50, 8)])
def test_captions_have_the_words_that_were_asked_for(tiny_captioner, random_features, decoder, min_words, words):
    captions = decoder(tiny_captioner(max_words=8, end_bias=1e3), min_words=min_words).decode(random_features(3))
    assert [len(one.caption.split()) for one in captions] == [words] * 3


def test_a_captioner_says_as_many_words_as_it_learnt_that_captions_have(tiny_captioner, random_features, decoder):
    captioner = tiny_captioner(max_words=8, min_words=4, end_bias=1e3)
    assert [len(one.caption.split()) for one in decoder(captioner).decode(random_features(3))] == [4] * 3
    assert [len(one.caption.split()) for one in decoder(captioner, min_words=2).decode(random_features(3))] == [2] * 3


def test_a_captioner_that_ends_gives_no_flag_and_a_caption_to_read(tiny_captioner, random_features, decoder):
    captioner = tiny_captioner(words=("it", "'s", "does", "n't"), end_bias=30.0)
    captions = decoder(captioner, batch_size=2).decode(random_features(2))
    assert [one.flags for one in captions] == [(), ()]
    assert all(len(one.caption.split()) == 1 for one in captions)  # ends as soon as it may
