"""A damaged shard is named with what mends it, and noted for the next `extract`."""

from training.data.damage import damaged


def test_a_damaged_shard_is_noted_beside_it(tmp_path):
    path = tmp_path / "features-0001-00000-of-00001.tfrecord"
    assert str(damaged(str(path))) == (
        f"{path}: damaged shard; run the same `captionbeam extract` command again: it redoes only that shard"
    )
    assert (tmp_path / f"{path.name}.damaged").read_text().startswith("damaged shard; run the same ")


def test_where_no_note_can_be_left_the_advice_is_one_that_works_without(tmp_path):
    path = tmp_path / "gone" / "features-0001-00000-of-00001.tfrecord"
    assert "; remove it, and run the same `captionbeam extract` command again" in str(damaged(str(path)))
