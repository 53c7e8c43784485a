"""A shard of features: its TFRecord file, ledger and manifest entry, also where the entry was lost."""

import hashlib
import os

import numpy as np
import pytest

from beam_pipeline.inputs.sources import stat_file
from beam_pipeline.options.limits import DEFAULT_DECODE_LIMITS
from beam_pipeline.shards.contents import Picture
from beam_pipeline.shards.encode_shard import encode_shard
from beam_pipeline.shards.feature_shard import read_features, summarize_shard
from beam_pipeline.shards.ledger import read_ledger
from beam_pipeline.shards.live_counts import LiveCounts
from beam_pipeline.shards.shard_id import ShardId
from training.data.feature_set import Shard

SHARD = ShardId(1, 0, 1)


@pytest.fixture
def encode(tmp_path, encoder):
    """Writes files into a folder and encodes them as one shard: (directory, Shard, ledger lines)."""

    def encode(files: dict[str, bytes]):
        output, folder = tmp_path / "features", tmp_path / "in"
        output.mkdir()
        folder.mkdir()
        pictures = []
        for name, content in files.items():
            (folder / name).write_bytes(content)
            file = stat_file(str(folder / name))
            pictures.append(Picture(hashlib.sha256(content).hexdigest(), (file,), captions=(f"picture {name}",)))
        shard, lines = encode_shard(SHARD, pictures, encoder, str(output), DEFAULT_DECODE_LIMITS, LiveCounts())
        return output, shard, lines

    return encode


def test_records_stand_in_the_order_of_their_content(encode, jpeg, colours):
    contents = {f"{number}.jpg": jpeg(colour) for number, colour in enumerate(colours[:4])}
    output, shard, lines = encode({**contents, "broken.jpg": b"no image"})
    path = output / SHARD.features()
    digests = [hashlib.sha256((output / name).read_bytes()).hexdigest() for name in (path.name, SHARD.ledger())]
    assert shard == Shard(path.name, 4, 4, path.stat().st_size, *digests)
    features = list(read_features(str(path)))
    assert [one.sha256 for one in features] == sorted(hashlib.sha256(data).hexdigest() for data in contents.values())
    for one in features:
        colour = colours[int(os.path.basename(one.uri)[0])]
        assert np.abs(one.feature[:3].astype(float) - colour).max() < 4
    assert sorted(line.outcome for line in lines) == ["done"] * 4 + ["rejected"]
    assert list(read_ledger(str(output / SHARD.ledger()))) == sorted(lines, key=lambda line: line.uri)


def test_a_shard_without_records_has_a_ledger_and_no_file(encode):
    output, shard, _ = encode({"broken.jpg": b"no image"})
    ledger_sha256 = hashlib.sha256((output / SHARD.ledger()).read_bytes()).hexdigest()
    assert shard == Shard(SHARD.features(), 0, 0, 0, "", ledger_sha256)
    assert os.listdir(output) == [SHARD.ledger()]
    assert list(read_features(str(output / SHARD.features()))) == []
    assert summarize_shard(SHARD, str(output)) == shard


def test_a_summary_equals_the_entry_that_was_lost(encode, jpeg):
    output, shard, _ = encode({"a.jpg": jpeg("red"), "b.jpg": jpeg("blue")})
    assert summarize_shard(SHARD, str(output)) == shard
