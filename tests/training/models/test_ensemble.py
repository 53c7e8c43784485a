import numpy as np
import pytest
import tensorflow as tf

from training.models.captioner import load_captioner
from training.models.layers import NoDropout
from training.models.operations import Operation
from training.models.presence import PresenceGraph


def test_an_ensemble_gives_each_word_the_mean_of_its_members_probabilities(tiny_captioner, random_features):
    first, second = tiny_captioner(), tiny_captioner(end_bias=12.0)
    both = load_captioner(f"{first.path},{second.path}")
    features = tf.cast(random_features(2), tf.float32)
    ids = tf.constant([[5, 6], [7, 4]])

    def probabilities(model):
        memory = model.encode(model.look(features), NoDropout())
        _, state = model.step(memory, model.start(memory, 2), tf.fill([2, 2], 1))
        pre_logits, _ = model.step(memory, state, ids)
        return tf.nn.softmax(model.logits(pre_logits)).numpy()

    one, other = probabilities(first.model), probabilities(second.model)
    assert np.abs(one - other).max() > 0.01
    np.testing.assert_allclose(probabilities(both.model), (one + other) / 2, atol=1e-6)


def test_an_ensemble_of_a_captioner_with_itself_says_what_it_says_alone(tiny_captioner, random_features, decoder):
    alone = tiny_captioner(kind="grid")
    twice = load_captioner(f"{alone.path},{alone.path}")
    assert twice.model_id != alone.model_id
    features = random_features(3, "grid")
    said, again = (decoder(one, batch_size=4).decode(features) for one in (alone, twice))
    assert [one.caption for one in said] == [one.caption for one in again]
    np.testing.assert_allclose([one.score for one in said], [one.score for one in again], atol=1e-5)


NARROW = (Operation("convolution", (0,), channels=6, name="mixed10"),)
WIDE = (Operation("convolution", (0,), (3, 3), stride=2, channels=9, name="mixed10"),)


@pytest.mark.parametrize("tails", [(NARROW, WIDE), (NARROW, ())])
def test_captioners_that_look_at_unlike_grids_caption_together(
    tiny_captioner, give_head, give_confidence, random_features, decoder, tails
):
    members = [give_confidence(give_head(tiny_captioner(kind="grid", tail=tail))) for tail in tails]
    both = load_captioner(",".join(member.path for member in members))
    features = random_features(3, "grid")
    said = decoder(both, batch_size=4, evidence=True).decode(features)
    assert len(said) == 3 and all(one.confidence is not None and one.evidence for one in said)
    alone = decoder(members[0], batch_size=4).decode(features)
    assert [one.score for one in said] != [one.score for one in alone]
    presence, _ = PresenceGraph(both.presence)(both.model.look(features))
    each = [PresenceGraph(member.presence)(member.model.look(features))[0] for member in members]
    np.testing.assert_allclose(presence, np.mean(each, axis=0), rtol=1e-5)


def test_captioners_without_a_head_or_with_other_words_are_not_asked_for_words(
    tiny_captioner, give_head, random_features
):
    asked, other = give_head(tiny_captioner(kind="grid", tail=NARROW)), tiny_captioner(kind="grid", tail=WIDE)
    features = random_features(2, "grid")
    wanted, _ = PresenceGraph(asked.presence)(asked.model.look(features))

    def presence(*members):
        both = load_captioner(",".join(member.path for member in members))
        return PresenceGraph(both.presence)(both.model.look(features))[0]

    np.testing.assert_array_equal(presence(asked, other), wanted)
    np.testing.assert_array_equal(presence(other, asked), wanted)
    np.testing.assert_array_equal(presence(asked, give_head(other, words=("dog", "hat"))), wanted)
