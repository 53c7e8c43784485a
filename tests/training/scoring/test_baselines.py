import numpy as np
import pytest

from training.data.splits import TRAIN, Split
from training.errors import UserError
from training.scoring.baselines import (
    ScoredPictures,
    consensus,
    diversity,
    leave_one_out,
    pool,
    read_training,
    training_split,
)


def axis(*channels):
    """Pooled feature that points along these channels."""
    feature = np.zeros(2048, np.float16)
    feature[list(channels)] = 3
    return feature


@pytest.fixture(scope="module")
def pictures(tmp_path_factory, record, write_features):
    """Two scored pictures, four training ones in two shards, one of neither."""
    records = [
        record("beach", axis(0, 1), ("a dog on the beach",), uris=("/x/beach.jpg", "/y/copy.jpg")),
        record("street", axis(5), ("a cat on a street",)),
        record("sand", axis(0, 1, 2), ("sand", "a dog runs", "the dog runs on", "A dog runs.")),
        record("road", axis(5, 6), ("a cat", "a dog runs")),
        record("silent", axis(0, 1), ()),
        record("unlisted", axis(0, 1), ("never seen",)),
        record("sea", 8 * axis(0), ("A cat!",)),
    ]
    return write_features(tmp_path_factory.mktemp("pictures"), [records[:3], records[3:]])


LISTED = {"beach.jpg": "beach.jpg", "copy.jpg": "copy.jpg", "street.jpg": "street.jpg"}
TRAINING = frozenset({"sand.jpg", "road.jpg", "silent.jpg", "sea.jpg", "street.jpg"})


@pytest.fixture
def scored(pictures):
    found = ScoredPictures()
    assert [picture.sha256 for picture, _ in found.read(pictures, LISTED)] == found.sha256
    return found


def test_scored_pictures_are_kept_by_listed_name_and_encoded_once(scored):
    assert scored.references == {
        "beach.jpg": ("a dog on the beach",),
        "copy.jpg": ("a dog on the beach",),
        "street.jpg": ("a cat on a street",),
    }
    assert scored.number == {"beach.jpg": 0, "copy.jpg": 0, "street.jpg": 1}
    np.testing.assert_array_equal(np.stack(scored.pooled), [axis(0, 1), axis(5)])


def test_the_nearest_training_pictures_consensus_is_its_caption(pictures, scored):
    asked = {"a dog runs", "a dog on the beach", "never seen"}
    found = read_training(pictures, Split(TRAINING, frozenset(), 0.0), scored, asked)
    # Street is in the training list too, and is not its own neighbour.
    assert found.nearest == {"beach.jpg": "a dog runs", "copy.jpg": "a dog runs", "street.jpg": "a cat"}
    assert found.commonest == ("a dog runs", 3)
    assert found.copied == {"a dog runs"}
    assert (found.pictures, found.captions) == (4, 8)


def test_of_equally_frequent_training_captions_the_alphabet_chooses(pictures, scored):
    found = read_training(pictures, Split(frozenset({"road.jpg", "sea.jpg"}), frozenset(), 0.0), scored, ())
    assert found.commonest == ("a cat", 2)
    found = read_training(pictures, Split(frozenset({"road.jpg"}), frozenset(), 0.0), scored, ())
    assert found.commonest == ("a cat", 1)


def test_the_nearest_of_many_batches_is_found(tmp_path, record, write_features):
    generator = np.random.default_rng(0)
    values = generator.normal(size=(1203, 2048)).astype(np.float16)
    names = [f"p{number}" for number in range(len(values))]
    features = write_features(
        tmp_path, [[record(name, value, (name,)) for name, value in zip(names, values, strict=True)]]
    )
    scored = ScoredPictures()
    for _ in scored.read(features, {f"p{number}.jpg": f"p{number}" for number in range(3)}):
        pass
    found = read_training(features, Split(frozenset(f"{name}.jpg" for name in names[3:]), frozenset(), 0.0), scored, ())
    directions = values.astype(np.float64)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    expected = 3 + (directions[:3] @ directions[3:].T).argmax(axis=1)
    assert found.nearest == {f"p{number}": f"p{place}" for number, place in enumerate(expected)}
    assert found.pictures == 1200


def test_without_a_training_picture_there_is_nothing(pictures, scored):
    assert read_training(pictures, Split(frozenset({"gone.jpg"}), frozenset(), 0.0), scored, ()) is None


def test_a_picture_alone_has_no_neighbour_but_counts_its_words(pictures, scored):
    found = read_training(pictures, Split(frozenset({"street.jpg"}), frozenset(), 0.0), scored, ())
    assert found.nearest.keys() == {"beach.jpg", "copy.jpg"}
    assert found.commonest == ("a cat on a street", 1)


def test_pooling_is_the_mean_over_the_grid():
    grid = np.random.default_rng(0).random((64, 2048)).astype(np.float16)
    assert pool(grid).dtype == np.float32
    np.testing.assert_allclose(pool(grid), grid.astype(np.float64).mean(axis=0), rtol=1e-5)
    np.testing.assert_array_equal(pool(grid[0]), grid[0].astype(np.float32))


def test_people_take_turns_in_the_order_of_the_names():
    references = {"d": ["1", "2"], "a": ["1", "2"], "b": ["x"], "c": ["1", "2", "3"], "e": ["1", "2", "3"]}
    held, others = leave_one_out(references)
    assert held == {"a": "1", "c": "2", "d": "1", "e": "1"}
    assert others == {"a": ["2"], "c": ["1", "3"], "d": ["2"], "e": ["2", "3"]}
    assert references["a"] == ["1", "2"]


def test_consensus_is_the_caption_whose_words_the_others_share():
    assert consensus(["two cats", "a brown dog runs", "a dog runs on sand", "a dog runs"]) == "a dog runs"
    assert consensus(["a cat", "a dog"]) == "a cat"
    assert consensus(["a dog"]) == "a dog"
    assert consensus([".", "!"]) == "."


def test_diversity_counts_as_the_tokenizer_cuts():
    found = diversity({"a": "A dog runs.", "b": "a dog runs", "c": "the dog's ball"}, {"a dog runs"}.__contains__)
    assert found == {
        "distinct_captions": 2,
        "distinct_words": 6,
        "mean_words": round(10 / 3, 3),
        "copied_from_training": round(2 / 3, 5),
    }
    assert diversity({"a": "a dog"})["copied_from_training"] is None


def test_a_list_given_goes_before_the_captioners_own(pictures, tmp_path):
    (tmp_path / "train.txt").write_text("u\u0308.jpg\n", encoding="utf-8")
    split, why = training_split(str(tmp_path / "train.txt"), {"train_list": "gone"}, pictures)
    assert (split, why) == (Split(frozenset({"\u00fc.jpg"}), frozenset(), 0.0), "")
    assert split.of("00" * 32, ["/a/\u00fc.jpg"]) == TRAIN  # by name alone: no share of the pictures is taken away
    with pytest.raises(UserError, match="gone"):
        training_split("gone", None, pictures)


def test_the_captioners_lists_are_read_again(pictures, tmp_path):
    (tmp_path / "train.txt").write_text("a.jpg\nb.jpg\n")
    (tmp_path / "dev.txt").write_text("b.jpg\n")
    lists = {"train_list": str(tmp_path / "train.txt"), "dev_list": str(tmp_path / "dev.txt")}
    split, _ = training_split(None, lists, pictures)
    assert (split.train, split.dev) == (frozenset({"a.jpg", "b.jpg"}), frozenset({"b.jpg"}))
    (tmp_path / "dev.txt").unlink()
    split, why = training_split(None, lists, pictures)
    assert split is None and "dev.txt" in why and why.endswith("--train-list FILE names them")


def test_a_split_by_content_holds_for_the_same_shards_only(pictures):
    shards = [shard.sha256 for shard in pictures.shards]
    remembered = {"train_list": None, "dev_list": None, "feature_shards": shards}
    split, _ = training_split(None, remembered, pictures)
    assert (split.train, split.dev, split.dev_share) == (None, None, 0.1)
    split, why = training_split(None, {**remembered, "feature_shards": shards[1:]}, pictures)
    assert split is None and why.endswith("by content; --train-list FILE names them")


def test_captions_from_elsewhere_have_no_training_pictures(pictures):
    assert training_split(None, None, pictures) == (
        None,
        "the training pictures of these captions are not known; --train-list FILE names them",
    )
