"""A captioned picture and its line of captions-*.jsonl."""

import json

from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.captions.picture import Alternative, CaptionedPicture, read_captions
from beam_pipeline.captions.shard import caption_line
from beam_pipeline.shards.shard_id import ShardId

texts = st.text(st.characters(codec=None))  # lone surrogates too: names that are not UTF-8
scores = st.floats(-20, 0)
confidences = st.none() | st.floats(0, 1)
evidence = st.none() | st.fixed_dictionaries(
    {
        "kinds": st.lists(st.sampled_from(("presence", "grounding")), unique=True),
        "words": st.dictionaries(texts, st.dictionaries(st.just("presence"), st.floats(0, 1))),
    }
)
captioned_pictures = st.builds(
    CaptionedPicture,
    sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
    uri=texts,
    caption=texts,
    score=scores,
    flags=st.lists(st.sampled_from(("repeats", "unfinished")), unique=True).map(tuple),
    evidence=evidence,
    alternatives=st.lists(st.builds(Alternative, texts, scores, confidences), max_size=3).map(tuple),
    confidence=confidences,
)


def test_a_line_holds_only_what_the_captioner_gives():
    picture = CaptionedPicture("aa", "/p/a.jpg", "a dog", -0.5)
    row = {"uri": "/p/a.jpg", "sha256": "aa", "caption": "a dog", "score": -0.5, "flags": []}
    assert picture.to_json() == row
    more = CaptionedPicture(
        "aa", "/p/a.jpg", "a dog", -0.5, ("repeats",), {"kinds": []}, (Alternative("cat", -1),), 0.5
    )
    assert more.to_json() == row | {
        "flags": ["repeats"],
        "confidence": 0.5,
        "alternatives": [{"caption": "cat", "score": -1}],
        "evidence": {"kinds": []},
    }


@given(captioned_pictures)
def test_a_picture_survives_json(picture):
    assert CaptionedPicture.from_json(json.loads(json.dumps(picture.to_json()))) == picture


@given(st.lists(captioned_pictures, max_size=3))
def test_pictures_survive_their_file(tmp_path_factory, pictures):
    directory = tmp_path_factory.mktemp("captions")
    shard = ShardId(1, 0, 1)
    (directory / shard.captions()).write_text("".join(map(caption_line, pictures)))
    assert list(read_captions(shard, str(directory))) == pictures
