import io
import os
import signal

import pytest
from PIL import Image

from beam_pipeline.exports.picture_metadata import MetadataWriter, UnwritableMetadata


@pytest.fixture
def metadata(pyexiv2):
    with MetadataWriter() as writer:
        yield writer


def test_a_description_of_the_owner_is_kept_added_to_or_replaced(metadata, pyexiv2, jpeg, colours):
    mine = metadata.write(jpeg(colours[0]), "Rex", ("Dog",), "skip")
    assert metadata.write(mine, "a dog", ("dog", "grass"), "skip") is None
    assert metadata.write(mine, "Rex", ("dog",), "overwrite") is None
    for mode, description in (("append", "Rex a dog"), ("overwrite", "a dog")):
        with pyexiv2.ImageData(metadata.write(mine, "a dog", ("dog", "grass"), mode)) as image:
            assert image.read_xmp()["Xmp.dc.description"] == {'lang="x-default"': description}
            assert image.read_xmp()["Xmp.dc.subject"] == ["Dog", "grass"]


def test_what_holds_no_metadata_costs_that_picture_alone(metadata, jpeg, colours):
    for broken in (b"", b"no picture", jpeg(colours[0])[:100]):
        with pytest.raises(UnwritableMetadata):
            metadata.write(broken, "a dog", (), "skip")
    assert metadata.write(jpeg(colours[0]), "a dog", (), "skip")


def test_a_process_that_dies_costs_one_picture(metadata, jpeg, colours):
    assert metadata.write(jpeg(colours[0]), "a dog", (), "skip")
    os.kill(metadata._process.pid, signal.SIGKILL)
    with pytest.raises(UnwritableMetadata, match="crashes"):
        metadata.write(jpeg(colours[0]), "a dog", (), "skip")
    assert metadata.write(jpeg(colours[0]), "a dog", (), "skip")


def test_other_formats_take_the_metadata_too(metadata):
    for name in ("PNG", "WEBP", "TIFF", "JPEG"):
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8), (200, 10, 10)).save(buffer, name)
        written = metadata.write(buffer.getvalue(), "a dog – größer", ("dog",), "skip")
        assert Image.open(io.BytesIO(written)).tobytes() == Image.open(buffer).tobytes()
