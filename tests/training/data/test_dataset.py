import json
import time
from collections import Counter
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import tensorflow as tf

from training.data.dataset import (
    DescribedPicture,
    Scan,
    described_pictures,
    pictures_of,
    read_pictures,
    records_of,
    scan,
    training_batches,
    training_references,
)
from training.data.feature_set import load_feature_set
from training.data.splits import DEV, Split
from training.data.tfrecords import checked
from training.documents import to_document
from training.errors import JobFailed, UserError
from training.options import TrainOptions
from training.text.vocabulary import END, UNKNOWN, Vocabulary
from training.text.word_counts import WordCounts
from training.train import train

ALL_TRAIN = Split(None, frozenset({"judge.jpg"}), 0.0)
PICTURES = 20
NUMBERS = Vocabulary(tuple(f"w{number}" for number in range(PICTURES)))


@pytest.fixture(scope="module")
def numbered(tmp_path_factory, record, write_features):
    """20 training pictures, captioned "w0" to "w19", one that judges and one without caption, in three shards."""
    pictures = [record(f"p{number}", captions=(f"w{number}",)) for number in range(PICTURES)]
    pictures += [record("judge", captions=("w3 w4", "w3 w5")), record("silent", captions=())]
    return write_features(tmp_path_factory.mktemp("numbered"), [pictures[0::3], pictures[1::3], pictures[2::3]])


@pytest.fixture
def copied(tmp_path, record, write_features):
    """Three shards of two pictures each, to be damaged; 'p0' judges."""
    shards = [[record(f"p{2 * shard + number}") for number in range(2)] for shard in range(3)]
    return write_features(tmp_path, shards)


def batches(features, seed, epoch, batch_size=6):
    return training_batches(features, ALL_TRAIN, NUMBERS, batch_size, max_words=4, seed=seed, epoch=epoch)


def order(dataset):
    """Batches of one-word captions -> lists of words, a batch each."""
    return [NUMBERS.decode(ids[:, 0, 0].numpy()) for _, ids in dataset]


def cut(path, size_bytes):
    path.write_bytes(path.read_bytes()[:-size_bytes])


def adjust_manifest(directory):
    """Makes the manifest agree with the sizes of the files, as if the shards had been cut before it was written."""
    document = json.loads((directory / "manifest.json").read_text())
    for shard in document["shards"]:
        shard["size_bytes"] = (directory / shard["name"]).stat().st_size
    (directory / "manifest.json").write_bytes(to_document(document))


def test_order_is_the_same_for_one_seed_and_epoch_and_another_for_every_other(numbered):
    orders = [order(batches(numbered, seed, epoch)) for seed, epoch in [(1, 0), (1, 0), (1, 1), (2, 0)]]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2] and orders[0] != orders[3] and orders[2] != orders[3]


def test_a_batch_can_be_asked_for_twice(numbered):
    dataset = batches(numbered, 1, 0)
    assert order(dataset) == order(dataset)


def test_each_epoch_shows_every_picture_in_one_of_its_views(tmp_path, record, write_features):
    def augmented(number):
        views = [np.full([2048], 10 * number + view, np.float16) for view in range(3)]
        return replace(record(f"p{number}", views[0], (f"w{number}",)), views=np.stack(views[1:]))

    features = write_features(tmp_path, [[augmented(number) for number in range(PICTURES)]])

    def shown(epoch):
        found = {}
        for shown, ids in batches(features, 1, epoch):
            found |= zip(NUMBERS.decode(ids[:, 0, 0].numpy()), shown[:, 0].numpy().astype(int), strict=True)
        return found

    views = {value % 10 for epoch in range(3) for value in shown(epoch).values()}
    assert views == {0, 1, 2}
    assert all(value // 10 == int(word[1:]) for word, value in shown(0).items())
    assert shown(0) == shown(0) != shown(1)


@pytest.mark.parametrize("done", [1, 3, 4])
def test_skipping_the_batches_done_goes_on_in_the_same_order(numbered, done):
    assert order(batches(numbered, 1, 0).skip(done)) == order(batches(numbered, 1, 0))[done:]


def test_every_training_picture_with_a_caption_appears_once_an_epoch(numbered):
    words = order(batches(numbered, 5, 3))
    assert [len(batch) for batch in words] == [6, 6, 6, 2]
    assert Counter(chain.from_iterable(words)) == Counter(NUMBERS.words)


def test_captions_are_cut_ended_and_filled_up_and_pictures_with_fewer_have_empty_rows(tmp_path, record, write_features):
    feature = np.linspace(0, 1, 2048, dtype=np.float16)
    captions = ("A dog, a zebra runs!", "a dog", ".")
    features = write_features(tmp_path, [[record("one", feature, captions), record("two", captions=("a",))]])
    vocabulary = Vocabulary(("a", "dog", "runs"))
    dataset = training_batches(features, ALL_TRAIN, vocabulary, batch_size=2, max_words=4, seed=0, epoch=0)
    ((values, ids),) = list(dataset)
    first = int(np.argmax(values.numpy().sum(axis=1)))  # the picture whose feature is not zero
    assert values.dtype == tf.float16 and ids.dtype == tf.int32
    assert values.numpy()[first].tolist() == feature.tolist()
    assert ids.numpy()[first].tolist() == [[4, 5, 4, UNKNOWN, END], [4, 5, END, 0, 0]]
    assert ids.numpy()[1 - first].tolist() == [[4, END, 0, 0, 0], [0, 0, 0, 0, 0]]


def test_scan_counts_pictures_captions_and_training_words_by_split(tmp_path, record, write_features):
    shards = [
        [record("x", captions=("a dog",), uris=("/a/x1.jpg", "/a/x2.jpg")), record("t", captions=("a cat", "a cat"))],
        [record("d", captions=("a bus",)), record("o", captions=("a sea",)), record("s", captions=())],
    ]
    features = write_features(tmp_path, shards)
    split = Split(frozenset({"x1.jpg", "t.jpg", "s.jpg"}), frozenset({"x2.jpg", "d.jpg"}), 0.0)
    words = WordCounts()
    words.add_picture(["a cat", "a cat"])
    pictures = {"train_pictures": 1, "dev_pictures": 2, "outside": 1, "in_both": 1, "without_caption": 1}
    assert scan(features, split) == Scan(
        word_counts=Counter({"a": 2, "cat": 2}), lengths=Counter({2: 2}), words=words, train_captions=2, **pictures
    )


@pytest.fixture
def stored(tmp_path, record, write_features):
    """A training picture and one that judges, with captions as an earlier captionbeam stored them."""
    captions = ("<start> a dog <end>", ".", "\U0001f415", "สุนัข", *["a cat"] * 20_000)
    return write_features(tmp_path, [[record("p", captions=captions), record("judge", captions=("a dog", "!"))]])


def test_marks_words_and_number_of_stored_captions_are_checked_wherever_they_are_read(stored):
    kept = ("a dog", "สุนัข", *["a cat"] * 98)
    (path,) = stored.shard_paths()
    assert [captions for *_, captions in described_pictures(path)] == [kept, ("a dog",)]
    assert [record.captions for record in records_of(stored, lambda *_: True)] == [kept, ("a dog",)]
    assert [(picture.captions, picture.wordless) for picture, _ in pictures_of(stored, lambda *_: True)] == [
        (kept, 2),
        (("a dog",), 1),
    ]
    ((_, ids),) = training_batches(stored, ALL_TRAIN, Vocabulary(("a",)), 2, max_words=4, seed=0, epoch=0)
    assert ids.shape == (1, 100, 3)
    assert len(next(training_references(stored, ALL_TRAIN, Vocabulary(("a",)), max_words=4))) == 100


def test_scan_counts_what_was_wrong_with_captions(stored):
    found = scan(stored, ALL_TRAIN)
    assert found.train_captions == 100 and found.lengths == {2: 99, 1: 1}
    assert found.faults == {"captions_with_marks": 1, "captions_without_words": 3, "captions_over_limit": 19_902}
    assert found.unspaced == {"Thai": 1}


def test_a_picture_whose_captions_have_no_word_counts_as_one_without(tmp_path, record, write_features):
    shard = [record("p"), record("q", captions=(".", "<s> </s>")), record("judge")]
    found = scan(write_features(tmp_path, [shard]), ALL_TRAIN)
    assert (found.train_pictures, found.without_caption, found.dev_pictures) == (1, 1, 1)


def test_pictures_that_judge_come_with_features_names_and_captions(numbered):
    found = list(pictures_of(numbered, ALL_TRAIN.selects(DEV)))
    ((picture, feature),) = found
    assert picture == DescribedPicture(picture.sha256, ("/pictures/judge.jpg",), ("w3 w4", "w3 w5"))
    assert feature.shape == (2048,) and feature.dtype == np.float16


def test_a_cut_shard_is_named_before_anything_is_read(copied, tmp_path):
    damaged = tmp_path / copied.shards[1].name
    cut(damaged, 10)
    fault = (
        f"{damaged}: shard has .* bytes where the manifest says .*; run the same .captionbeam extract. command again"
    )
    for read in (
        lambda: scan(copied, ALL_TRAIN),
        lambda: batches(copied, 0, 0),
        lambda: list(pictures_of(copied, bool)),
    ):
        with pytest.raises(JobFailed, match=fault):
            read()


def test_a_cut_that_the_manifest_does_not_show_is_named_by_the_scan(copied, tmp_path):
    damaged = tmp_path / copied.shards[1].name
    cut(damaged, 10)
    adjust_manifest(tmp_path)
    with pytest.raises(JobFailed, match=f"{damaged}: damaged shard; run the same .captionbeam extract. command again"):
        scan(load_feature_set(str(tmp_path)), ALL_TRAIN)


def test_a_shard_damaged_while_training_is_named(copied, tmp_path):
    damaged = tmp_path / copied.shards[1].name
    dataset = batches(copied, 0, 0)
    data = bytearray(damaged.read_bytes())
    data[len(data) // 4] ^= 1
    damaged.write_bytes(data)
    with pytest.raises(JobFailed, match=f"^{damaged}: damaged shard; run the same .captionbeam extract. command again"):
        list(checked(dataset, copied.shard_paths()))


def test_a_shard_with_fewer_records_than_the_manifest_says_is_named(copied, tmp_path):
    damaged = tmp_path / copied.shards[1].name
    cut(damaged, damaged.stat().st_size // 2)  # two records of one length
    adjust_manifest(tmp_path)
    with pytest.raises(JobFailed, match=f"{damaged}: 1 record where the manifest says 2; run the same"):
        scan(load_feature_set(str(tmp_path)), ALL_TRAIN)


def test_parsed_pictures_come_in_one_order_every_time(numbered):
    def names():
        return [picture["image/uri"].numpy()[0].decode() for picture in read_pictures(numbered, numbered.shard_paths())]

    assert names() == names()
    assert set(names()) == {
        f"/pictures/{name}.jpg" for name in ["judge", "silent", *(f"p{n}" for n in range(PICTURES))]
    }


def test_an_empty_folder_is_told_at_once(tmp_path):
    began = time.process_time()
    with pytest.raises(UserError, match=r"no manifest.json here, so no finished shards; run `captionbeam extract"):
        train(TrainOptions(str(tmp_path), str(tmp_path / "out")))
    assert time.process_time() - began < 10


@pytest.mark.parametrize("adjusted", [False, True])
def test_an_empty_shard_is_told_before_an_epoch_begins(copied, tmp_path, adjusted):
    damaged = tmp_path / copied.shards[2].name
    damaged.write_bytes(b"")
    if adjusted:
        adjust_manifest(tmp_path)
    began = time.process_time()
    told = rf"manifest.json: {damaged.name}: . records in 0 bytes" if adjusted else rf"{damaged}: shard is empty where"
    with pytest.raises(UserError, match=told) as failure:
        train(TrainOptions(str(tmp_path), str(tmp_path / "out"), model="merge"))
    assert time.process_time() - began < 10 and "\n" not in str(failure.value)


def test_pictures_without_any_caption_are_told_before_the_shards_are_read(tmp_path, record, write_features):
    features = write_features(tmp_path, [[record("one", captions=()), record("two", captions=())]])
    (tmp_path / features.shards[0].name).write_bytes(b"?" * features.shards[0].size_bytes)
    with pytest.raises(UserError, match="its pictures have no captions; run `captionbeam extract` with --captions"):
        train(TrainOptions(str(tmp_path), str(tmp_path / "out"), model="merge"))


@pytest.mark.parametrize(
    ("split", "fault"),
    [
        (Split(None, None, 1.0), "no picture with captions is left to train on"),
        (Split(None, None, 0.0), "no picture with captions is left to choose the best epoch by"),
    ],
)
def test_a_split_that_leaves_one_side_empty_is_told(numbered, split, fault):
    with pytest.raises(UserError, match=fault):
        scan(numbered, split)


@pytest.mark.parametrize(
    ("lengths", "least"),
    [({}, 1), ({1: 5}, 1), ({3: 1, 5: 4}, 5), ({3: 1, 5: 3}, 3), ({0: 1, 9: 9}, 9), ({7: 20, 8: 80}, 8)],
)
def test_four_in_five_captions_have_the_least_words(lengths, least):
    found = Scan(lengths=Counter(lengths))
    assert found.least_words() == least
