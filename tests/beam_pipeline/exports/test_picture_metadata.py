import hashlib
import os
import signal

import pytest

from beam_pipeline.exports.embedded import UnwritableMetadata, Written
from beam_pipeline.exports.picture_metadata import MetadataWriter
from beam_pipeline.exports.xmp_merge import Words


@pytest.fixture
def metadata(pyexiv2):
    with MetadataWriter() as writer:
        yield writer


def words(data):
    return Words("a dog – größer", ("dog",), "skip", "m1", hashlib.sha256(data).hexdigest())


def test_words_are_written_and_taken_back(metadata, jpeg, colours):
    data = jpeg(colours[0])
    written = metadata.write(data, words(data))
    assert metadata.write(written.data, words(data)) == metadata.remove(data, words(data).sha256) == Written(None)
    assert metadata.remove(written.data, words(data).sha256) == Written(data)


def test_what_holds_no_metadata_costs_that_picture_alone(metadata, jpeg, colours):
    for broken in (b"", b"no picture", jpeg(colours[0])[:100]):
        with pytest.raises(UnwritableMetadata):
            metadata.write(broken, words(broken))
    assert metadata.write(jpeg(colours[0]), words(jpeg(colours[0]))).data


def test_a_process_that_dies_costs_one_picture(metadata, jpeg, colours):
    data = jpeg(colours[0])
    assert metadata.write(data, words(data)).data
    os.kill(metadata._process.pid, signal.SIGKILL)
    with pytest.raises(UnwritableMetadata, match="crashes"):
        metadata.write(data, words(data))
    assert metadata.write(data, words(data)).data
