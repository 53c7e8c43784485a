import numpy as np
import tensorflow as tf

from training.models.captioner import load_captioner
from training.models.layers import NoDropout


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
