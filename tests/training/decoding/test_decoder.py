import numpy as np
import pytest

from training.decoding.decoder import repeats
from training.models.captioner import load_captioner


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


FEW_REPEAT = ("a", "dog", "cat", "hat", "on", "top", "of", "red", "blue", "sea")  # hypotheses without a repetition


def hypotheses_of(hypothesis):
    """The captions of a hypothesis and its alternatives."""
    return [one.caption for one in (hypothesis, *hypothesis.alternatives)]


def length(caption):
    return len(caption.split())


@pytest.fixture
def judged(tiny_captioner, give_head, give_judge, give_confidence):
    """Captioner with head, confidence, and a judge that prefers long captions."""
    return give_confidence(give_judge(give_head(tiny_captioner(words=FEW_REPEAT, end_bias=3.0))))


def test_a_judge_chooses_among_the_same_hypotheses_and_keeps_what_they_say(judged, random_features, decoder):
    features = random_features(6)
    alone = decoder(judged, beam_width=4, judge="none", batch_size=4, alternatives=3).decode(features)
    chosen = decoder(judged, beam_width=4, batch_size=4, alternatives=3).decode(features)
    assert [sorted(hypotheses_of(one)) for one in alone] == [sorted(hypotheses_of(one)) for one in chosen]
    assert [one.caption for one in alone] != [one.caption for one in chosen]
    for before, after in zip(alone, chosen, strict=True):
        whole = [one for one in (after, *after.alternatives) if not {"unfinished", "repeats"} & set(one.flags)]
        lengths = [length(one.caption) for one in whole]
        assert lengths == sorted(lengths, reverse=True)
        every = {one.caption: one for one in (before, *before.alternatives)}
        for one in (after, *after.alternatives):
            same = every[one.caption]
            assert (one.score, one.confidence, one.flags) == (same.score, same.confidence, same.flags)


def test_a_caption_that_repeats_itself_or_has_no_end_comes_after_all_others(
    tiny_captioner, give_head, give_judge, give_confidence, random_features, decoder
):
    captioner = give_confidence(give_judge(give_head(tiny_captioner(words=FEW_REPEAT, end_bias=3.0)), "repeated"))
    seen = set()
    for one in decoder(captioner, beam_width=6, batch_size=8, alternatives=5).decode(random_features(8)):
        odd = [bool({"repeats"} & set(each.flags)) for each in (one, *one.alternatives)]
        assert odd == sorted(odd)
        seen.update(odd)
    assert seen == {False, True}


def test_a_judge_asks_the_head_where_nothing_else_does(tiny_captioner, give_head, give_judge, random_features, decoder):
    captioner = give_judge(give_head(tiny_captioner(words=FEW_REPEAT, end_bias=3.0)))
    assert captioner.confidence is None
    features = random_features(6)
    chosen = decoder(captioner, beam_width=4, guidance=0.0, batch_size=8).decode(features)
    likeliest = decoder(captioner, beam_width=4, guidance=0.0, judge="none", batch_size=8).decode(features)
    assert [one.caption for one in chosen] != [one.caption for one in likeliest]


def test_the_choice_depends_on_the_picture_alone(judged, random_features, decoder):
    captions = decoder(judged, batch_size=16)
    features = random_features(13)
    together = captions.decode(features)
    assert [captions.decode(features[number : number + 1])[0] for number in range(13)] == together


def test_evidence_is_that_of_the_chosen_hypothesis(judged, random_features, decoder):
    features = random_features(5)
    judging = decoder(judged, beam_width=4, batch_size=8, evidence=True)
    ((chosen, arrays),) = judging.decode_batches(features)
    likeliest = decoder(judged, beam_width=4, judge="none", batch_size=8, evidence=True)
    ((_, others),) = likeliest.decode_batches(features)
    places = [one.place for one in chosen]
    assert set(places) != {0}
    for row, place in enumerate(places):
        same = np.array_equal(arrays.expected[row], others.expected[row])
        assert same == (place == 0)


def test_a_picture_that_the_judge_was_fitted_to_is_judged_by_the_other_half(
    judged, give_judge, give_confidence, random_features, decoder
):
    contents = [f"{number:064x}" for number in range(6)]
    captioner = give_confidence(give_judge(judged, fitted=contents[:3]))
    features = random_features(6)
    judging = decoder(captioner, beam_width=4, batch_size=8)
    new, known = judging.decode(features), judging.decode(features, contents)
    assert [one.caption for one in new[3:]] == [one.caption for one in known[3:]]
    assert all(length(a.caption) >= length(b.caption) for a, b in zip(new[:3], known[:3], strict=True))
    assert [one.caption for one in new[:3]] != [one.caption for one in known[:3]]


def test_an_ensemble_with_judges_decodes(tiny_captioner, give_head, give_judge, random_features, decoder):
    paths = [give_judge(give_head(tiny_captioner(words=FEW_REPEAT, end_bias=3.0))).path for _ in range(2)]
    ensemble = load_captioner(",".join(paths))
    assert len(ensemble.judge.phrases.head.output_kernel) == 2
    features = random_features(6)
    chosen = decoder(ensemble, beam_width=4, batch_size=8).decode(features)
    likeliest = decoder(ensemble, beam_width=4, judge="none", batch_size=8).decode(features)
    assert sum(length(one.caption) for one in chosen) > sum(length(one.caption) for one in likeliest)
