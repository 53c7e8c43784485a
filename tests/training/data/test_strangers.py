"""What lies in a directory and does not belong to what it holds."""

import pytest

from training.data.feature_set import EncoderIdentity, FeatureSet, Shard
from training.data.strangers import mention_strangers, strangers, unlisted_files
from training.own_names import FEATURES

SHARD, OTHER, THIRD = (f"features-{run:04d}-00000-of-00001.tfrecord" for run in (1, 2, 3))
LEDGER = SHARD.replace("features", "ledger").replace("tfrecord", "jsonl")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([SHARD, LEDGER, "manifest.json", ".lock", f"{SHARD}.damaged"], ""),
        ([SHARD, OTHER], f"1 shard is not in manifest.json, so it does not count ({OTHER})"),
        (
            [THIRD, OTHER, OTHER.replace("features", "words"), "notes.txt"],
            f"2 shards are not in manifest.json, so they do not count ({OTHER}, {THIRD}); "
            "1 other file is no part of it (notes.txt)",
        ),
        (["c", "a", "b"], "3 other files are no part of it (a, b, ...)"),
    ],
)
def test_strangers_are_counted_with_examples(names, said):
    assert strangers(names, [SHARD], FEATURES, "manifest.json") == said


def test_what_does_not_belong_to_a_feature_set_is_logged_in_one_line(tmp_path, caplog):
    encoder = EncoderIdentity("InceptionV3", "tensorflow", "ab" * 32, "w.h5", 299, "area", "float32", "pooled")
    for name in (SHARD, LEDGER, OTHER, "manifest.json", "rejected.txt", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder").mkdir()
    features = FeatureSet(str(tmp_path), encoder, (Shard(SHARD, 1, 0, 40, "ab" * 32),))
    assert unlisted_files(features) == [OTHER]
    with caplog.at_level("INFO", "captionbeam"):
        mention_strangers(features)
    assert caplog.messages == [
        f"{tmp_path}: 1 shard is not in manifest.json, so it does not count ({OTHER}); "
        "1 other file is no part of it (notes.txt)"
    ]
