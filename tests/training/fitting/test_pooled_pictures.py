import numpy as np

from training.data.splits import TRAIN, make_split
from training.fitting.pooled_pictures import PooledPictures, pooled_pictures, targets_of
from training.models.caption_models import build_model
from training.models.model_config import ModelConfig

MODEL = build_model(ModelConfig("merge", 10, embedding_size=4, hidden_size=8), (2048,))


def test_targets_are_shares_of_captions():
    captions = [("a dog", "dog dog and a cat"), ("a hat",), ("a dog", "cat", "cat", "cat")]
    targets = targets_of(captions, ("dog", "cat", "zebra"), str.split)
    np.testing.assert_array_equal(targets.of(np.array([2, 0, 1])), [[0.25, 0.75, 0], [1, 0.5, 0], [0, 0, 0]])


def test_a_picture_is_followed_by_its_views(tmp_path, record, write_features):
    feature, views = np.full(2048, 0.125, np.float16), np.zeros([2, 2048], np.float16)
    seen = record("seen", feature, ("a dog", "a cat"))
    viewed = record("viewed", 2 * feature, ("a dog",))
    object.__setattr__(viewed, "views", views)
    silent = record("silent", feature, ())
    features = write_features(tmp_path, [[seen, viewed, silent]])
    chosen = type(make_split(None, None, 3))(None, frozenset(), 0.0)
    assert chosen.of(seen.sha256, seen.uris) == TRAIN
    with pooled_pictures(features, chosen, MODEL) as found:
        assert found.first.tolist() == [0, 1, 4]
        assert found.inputs.shape == (4, 1, 2048)
        np.testing.assert_allclose(found.inputs[:, 0, 0], np.log([2, 3, 1, 1]), rtol=1e-3)
        assert list(found.captions) == [("a dog", "a cat"), ("a dog",)]
        assert list(found.sha256) == [seen.sha256, viewed.sha256]


def test_the_content_of_a_picture_decides_its_fold():
    pictures = PooledPictures(np.zeros([2, 1, 1]), np.arange(3), ("aa" * 28 + "0000001f", "bb" * 28 + "00000018"), ())
    assert pictures.folds(10).tolist() == [1, 4] and pictures.folds(4).tolist() == [3, 0]
