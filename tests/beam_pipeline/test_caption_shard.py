"""One shard of pictures to its captions, word statistics and ledger."""

import hashlib

import pytest

from beam_pipeline.caption_shard import caption_shard
from beam_pipeline.captions.picture import CaptionedPicture, read_captions
from beam_pipeline.inputs.sources import stat_file
from beam_pipeline.options.limits import DEFAULT_DECODE_LIMITS
from beam_pipeline.shards.contents import Picture
from beam_pipeline.shards.ledger import read_ledger
from beam_pipeline.shards.live_counts import LiveCounts
from beam_pipeline.shards.overlap import ENCODING
from beam_pipeline.shards.shard_id import ShardId
from beam_pipeline.words.shard_statistics import read_words
from training.decoding.decoder import Hypothesis

SHARD = ShardId(1, 0, 1)


class Red:
    """A caption decoder that tells red pictures from dark ones."""

    def decode(self, features, contents):
        return [Hypothesis("a red picture" if feature[0] > 128 else "a dark picture", -0.5) for feature in features]


class Broken:
    def decode(self, features, contents):
        raise ValueError("no captions")


@pytest.fixture
def pictures(tmp_path, jpeg):
    contents = {"a.jpg": jpeg((250, 0, 0)), "b.jpg": jpeg((10, 0, 0)), "broken.jpg": b"no image"}
    found = []
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        found.append(Picture(hashlib.sha256(content).hexdigest(), (stat_file(str(tmp_path / name)),)))
    return found


def test_a_shard_has_captions_word_statistics_and_a_ledger(pictures, encoder, tmp_path):
    lines = caption_shard(SHARD, pictures, encoder, Red, str(tmp_path), DEFAULT_DECODE_LIMITS, LiveCounts())
    expected = [
        CaptionedPicture(picture.sha256, picture.files[0].uri, caption, -0.5)
        for picture, caption in zip(pictures[:2], ("a red picture", "a dark picture"), strict=True)
    ]
    assert list(read_captions(SHARD, str(tmp_path))) == sorted(expected, key=lambda one: one.sha256)
    assert read_words(SHARD, str(tmp_path)).counts["captions"] == 2
    assert list(read_ledger(str(tmp_path / SHARD.ledger()))) == sorted(lines, key=lambda line: line.uri)
    assert sorted(line.outcome for line in lines) == ["done", "done", "rejected"]


def test_a_failure_commits_nothing_and_releases_the_encoder(pictures, encoder, tmp_path):
    with pytest.raises(ValueError, match="no captions"):
        caption_shard(SHARD, pictures, encoder, Broken, str(tmp_path), DEFAULT_DECODE_LIMITS, LiveCounts())
    assert not ENCODING.locked()
    assert not (tmp_path / SHARD.ledger()).exists()
