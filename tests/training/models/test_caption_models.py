import numpy as np
import pytest
import tensorflow as tf

from training.errors import UserError
from training.fitting.trainer import caption_loss
from training.models.caption_models import ModelConfig, build_model
from training.models.layers import NoDropout, StatelessDropout
from training.text.vocabulary import END, PAD, START

WORDS = 9  # V
SHAPES = {"merge": (2048,), "attention": (64, 2048)}
STEPS = 5  # T
# Two pictures with three captions at most: of full length, short, of the end mark alone, and one that is missing.
IDS = np.array(
    [[[4, 5, 6, 7, END], [8, END, 0, 0, 0], [5, 4, END, 0, 0]], [[6, 6, 8, END, 0], [END, 0, 0, 0, 0], [0] * 5]]
)


@pytest.fixture(scope="module", params=["merge", "attention"])
def model(request):
    return small(request.param)


def small(name, **options):
    return build_model(ModelConfig(name, WORDS, embedding_size=6, hidden_size=16, heads=4, **options), SHAPES[name])


def features_for(model, pictures=2):
    values = np.random.default_rng(3).normal(size=(pictures, *SHAPES[model.name]))
    return tf.constant(values, tf.float16)


def said_and_lengths(ids):
    said = np.concatenate([np.full_like(ids[..., :1], START), ids[..., :-1]], axis=2)
    return tf.constant(said, tf.int32), tf.constant((ids != PAD).sum(axis=2), tf.int32)


def word_by_word(model, memory, said):
    """Said words [B, R, T] -> what each next word is drawn from [B, R, T, H], as the decoder asks for it."""
    state = model.start(memory, said.shape[1])
    pre_logits = []
    for t in range(said.shape[2]):
        one, state = model.step(memory, state, said[..., t])
        pre_logits.append(one)
    return tf.stack(pre_logits, axis=2).numpy()


def test_whole_captions_give_what_going_word_by_word_gives(model):
    memory = model.encode(tf.cast(features_for(model), tf.float32), NoDropout())
    said, lengths = said_and_lengths(IDS)
    taught = model.teacher_forcing(memory, said, lengths, NoDropout()).numpy().reshape(2, 3, STEPS, 16)
    stepped = word_by_word(model, memory, said)
    real = IDS != PAD
    assert np.abs(taught[real]).max() > 0.01
    np.testing.assert_allclose(taught[real], stepped[real], atol=1e-4)


def test_a_picture_and_the_words_said_decide_the_next_word(model):
    memory = model.encode(tf.cast(features_for(model), tf.float32), NoDropout())
    said = tf.constant([[[START, 4, 5], [START, 4, 6], [START, 4, 5]]] * 2, tf.int32)
    first, second = word_by_word(model, memory, said)  # (R, T, H) each
    np.testing.assert_allclose(first[0], first[2], atol=1e-6)
    np.testing.assert_allclose(first[0, :2], first[1, :2], atol=1e-6)
    assert np.abs(first[0, 2] - first[1, 2]).max() > 1e-3
    assert np.abs(first[0] - second[0]).max() > 1e-3


def test_loss_is_the_mean_over_the_real_words_of_all_captions(model):
    features = features_for(model)
    memory = model.encode(tf.cast(features, tf.float32), NoDropout())
    said, _ = said_and_lengths(IDS)
    logits = model.logits(word_by_word(model, memory, said)).numpy()
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    right = np.take_along_axis(log_probabilities, IDS[..., None], axis=-1)[..., 0]
    expected = -(0.9 * right + 0.1 * log_probabilities.mean(axis=-1))[IDS != PAD].mean()
    loss = caption_loss(model, features, tf.constant(IDS, tf.int32), STEPS, label_smoothing=0.1, dropout=NoDropout())
    assert float(loss) == pytest.approx(expected, abs=1e-4)


def test_empty_rows_and_padding_do_not_change_the_loss(model):
    features, ids = features_for(model), IDS[:, :2, :4].copy()
    ids[0, 0, 3] = END
    padded = np.zeros([2, 5, 6], IDS.dtype)
    padded[:, :2, :4] = ids
    losses = [
        float(caption_loss(model, features, tf.constant(one, tf.int32), steps, 0.1, NoDropout()))
        for one, steps in ((ids, 4), (padded, 6))
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_every_weight_gets_a_gradient(model):
    with tf.GradientTape() as tape:
        dropout = StatelessDropout(tf.constant([0, 0]))
        loss = caption_loss(model, features_for(model), tf.constant(IDS, tf.int32), STEPS, 0.1, dropout)
    gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
    assert [
        variable.path
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True)
        if gradient is None or not np.any(tf.convert_to_tensor(gradient).numpy())
    ] == []


@pytest.mark.parametrize("name", ["merge", "attention"])
def test_a_model_built_twice_has_the_same_weights_and_no_two_matrices_alike(name):
    first, second = (small(name).variables for _ in range(2))
    assert [variable.path for variable in first] == [variable.path for variable in second]
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    matrices = [variable.numpy() for variable in first if len(variable.shape) == 2]
    alike = [(i, j) for j in range(len(matrices)) for i in range(j) if np.array_equal(matrices[i], matrices[j])]
    assert alike == []


def test_attention_on_pooled_features_is_refused_with_what_to_do():
    with pytest.raises(UserError) as refused:
        build_model(ModelConfig("attention", WORDS), (2048,))
    assert str(refused.value) == (
        "--model attention needs the 8x8 grid, and these features are pooled; "
        "extract with --feature-kind grid, or train --model merge"
    )


def test_merge_sees_the_mean_of_a_grid():
    model = build_model(ModelConfig("merge", WORDS, embedding_size=6, hidden_size=16), (64, 2048))
    grid = tf.constant(np.random.default_rng(3).normal(size=(2, 64, 2048)), tf.float32)
    (pooled,) = model.encode(tf.reduce_mean(grid, axis=1), NoDropout())
    np.testing.assert_allclose(model.encode(grid, NoDropout())[0], pooled, atol=1e-5)


def test_heads_that_do_not_divide_the_hidden_units_are_refused():
    with pytest.raises(UserError, match=r"hidden_size 20 .* 8 heads"):
        build_model(ModelConfig("attention", WORDS, hidden_size=20), (64, 2048))


def test_noise_is_a_pure_function_of_the_seed_and_of_how_often_it_was_asked():
    values = tf.ones([4, 50])

    def drops(seed, times=2, rate=0.5):
        dropout = StatelessDropout(tf.constant(seed))
        return [dropout.drop(values, rate).numpy() for _ in range(times)]

    first, second = drops([1, 7])
    np.testing.assert_array_equal([first, second], drops([1, 7]))
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, drops([1, 8])[0]) and not np.array_equal(first, drops([2, 7])[0])
    assert set(np.unique(first)) == {0.0, 2.0} and 60 < (first == 0).sum() < 140


def test_dropping_nothing_still_counts_as_asked():
    values, dropout = tf.ones([4, 50]), StatelessDropout(tf.constant([1, 7]))
    assert dropout.drop(values, 0.0) is values
    second = dropout.drop(values, 0.5).numpy()
    other = StatelessDropout(tf.constant([1, 7]))
    other.drop(values, 0.5)
    np.testing.assert_array_equal(second, other.drop(values, 0.5).numpy())


def test_training_drops_a_share_of_words_picture_and_output(model):
    features, ids = features_for(model), tf.constant(IDS, tf.int32)

    def loss(seed):
        return float(caption_loss(model, features, ids, STEPS, 0.1, StatelessDropout(tf.constant(seed))))

    assert loss([0, 1]) == loss([0, 1])
    assert loss([0, 1]) != loss([0, 2])


@pytest.mark.parametrize("model", ["attention", "merge"])
def test_standardised_features_of_any_scale_and_offset_look_alike(model):
    features = np.random.default_rng(0).normal(size=(8, 64, 2048)).astype(np.float32)
    memories = []
    for scale, offset in ((1.0, 0.0), (0.5, 3.0)):
        built = build_model(ModelConfig(model, 10, embedding_size=4, hidden_size=16, standardize=True), (64, 2048))
        built.standardize.fit(features * scale + offset)
        memories.append(built.encode(tf.constant(features * scale + offset), NoDropout())[0].numpy())
    np.testing.assert_allclose(*memories, atol=0.02)
    assert not any("standardize" in variable.path for variable in built.trainable_variables)


def test_feature_dropout_takes_a_feature_from_the_whole_picture():
    config = ModelConfig("attention", 9, embedding_size=8, hidden_size=16, heads=1, feature_dropout=0.5)
    model = build_model(config, (64, 2048))
    features = tf.constant(np.random.default_rng(0).normal(size=(2, 64, 2048)), tf.float32)
    _, values, *_ = model.encode(features, StatelessDropout(tf.constant([0, 1])))  # (2, 1, 64, 16)
    missing = values.numpy()[:, 0] == 0.0
    assert (missing == missing[:, :1]).all() and 0.2 < missing.mean() < 0.8


@pytest.mark.parametrize("name", ["merge", "attention"])
def test_the_seed_decides_every_weight(name):
    config = ModelConfig(name, WORDS, embedding_size=6, hidden_size=16, heads=4)
    first, again, other = (build_model(config, SHAPES[name], seed) for seed in (1, 1, 2))
    drawn = 0
    for one, two, three in zip(first.weights, again.weights, other.weights, strict=True):
        assert np.array_equal(one, two)
        if one.path.endswith(("kernel", "recurrent", "embeddings")):
            assert not np.array_equal(one, three), one.path
            drawn += 1
    assert drawn == {"merge": 7, "attention": 11}[name]
