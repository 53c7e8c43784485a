import pytest

from beam_pipeline.inputs.containers import fingerprint, fingerprint_and_states
from beam_pipeline.inputs.image_content import content_digest
from beam_pipeline.inputs.input_file import InputFile
from beam_pipeline.inputs.reader import require_unchanged
from beam_pipeline.inputs.written_mark import MarkSearch, states_before

FIRST, SECOND = "a" * 64, "b" * 64
URI = "urn:captionbeam:metadata:1.0/"


def marked(picture, states=FIRST, image=None, form="<{0}:{1}>{2}</{0}:{1}>", prefix="captionbeam"):
    """A JPEG with a mark in its XMP."""
    image = image or content_digest(picture)
    marks = form.format(prefix, "Sha256", states) + form.format(prefix, "Image", image)
    xmp = f'http://ns.adobe.com/xap/1.0/\0<x xmlns:{prefix}="{URI}">{marks}</x>'.encode()
    return picture[:2] + b"\xff\xe1" + (len(xmp) + 2).to_bytes(2, "big") + xmp + picture[2:]


@pytest.mark.parametrize("form", ["<{0}:{1}>{2}</{0}:{1}>", ' {0}:{1}="{2}"', " {0}:{1} = '{2}'"])
@pytest.mark.parametrize("prefix", ["captionbeam", "ns1"])
@pytest.mark.parametrize("states", [FIRST, f"{FIRST} {SECOND}"])
def test_the_states_are_found_in_each_form_of_a_property(jpeg, colours, form, prefix, states):
    assert states_before(marked(jpeg(colours[0]), states, form=form, prefix=prefix)) == tuple(states.split())


def test_a_mark_counts_only_beside_its_image(jpeg, colours):
    data = marked(jpeg(colours[0]), image=content_digest(jpeg(colours[1])))
    assert states_before(data) == ()
    assert states_before(jpeg(colours[0])) == ()


@pytest.mark.parametrize("states", ["", "a", "A" * 64, FIRST + "0", f"{FIRST}  {SECOND}", " ".join([FIRST] * 17)])
def test_a_mark_that_we_do_not_write_is_none(jpeg, colours, states):
    assert states_before(marked(jpeg(colours[0]), states)) == ()


@pytest.mark.parametrize("size", [1, 7, 28, 29, 30, 1000])
def test_the_search_finds_the_mark_wherever_blocks_end(jpeg, colours, size):
    for data, found in ((marked(jpeg(colours[0])), True), (jpeg(colours[0]), False)):
        search = MarkSearch()
        blocks = [data[start : start + size] for start in range(0, len(data), size)]
        assert list(search.watch(blocks)) == blocks
        assert search.found == found


def test_a_file_is_hashed_and_searched_at_once(tmp_path, jpeg, colours):
    for data, states in ((marked(jpeg(colours[0])), (FIRST,)), (jpeg(colours[0]), ())):
        (tmp_path / "a.jpg").write_bytes(data)
        file = InputFile(str(tmp_path / "a.jpg"), len(data), 1.0)
        assert fingerprint_and_states(file, 1 << 20) == (fingerprint(file, 1 << 20), states)


def test_a_marked_file_is_taken_for_the_image_that_its_mark_names_alone(jpeg, colours):
    data = marked(jpeg(colours[0]))
    assert require_unchanged(data, FIRST) == data
    with pytest.raises(OSError, match="changed since it was captioned"):
        require_unchanged(data, SECOND)
