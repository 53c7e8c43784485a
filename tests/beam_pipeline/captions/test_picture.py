"""A captioned picture and its line of captions-*.jsonl."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.captions.picture import Alternative, CaptionedPicture, read_captions
from beam_pipeline.captions.shard import caption_line
from beam_pipeline.shards.shard_id import ShardId
from training.documents import Damaged

texts = st.text(st.characters(codec=None))  # lone surrogates too: names that are not UTF-8
scores = st.floats(-20, 0)
confidences = st.none() | st.floats(0, 1)
values = {"presence": st.floats(0, 1), "grounding": st.floats(-9, 9)}
evidence = st.none() | st.lists(st.sampled_from(sorted(values)), unique=True).flatmap(
    lambda kinds: st.fixed_dictionaries(
        {
            "kinds": st.just(kinds),
            "words": st.dictionaries(texts, st.fixed_dictionaries({kind: values[kind] for kind in kinds})),
        }
    )
)
captioned_pictures = st.builds(
    CaptionedPicture,
    sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
    uri=st.text(st.characters(codec=None), min_size=1),
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


@given(st.lists(captioned_pictures, max_size=3))
def test_pictures_survive_their_file(tmp_path_factory, pictures):
    directory = tmp_path_factory.mktemp("captions")
    shard = ShardId(1, 0, 1)
    text = "".join(map(caption_line, pictures))
    (directory / shard.captions()).write_text(text)
    assert list(read_captions(shard, str(directory))) == pictures and text.isascii()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"score": "high"}, 'score: expected a number, found "high"'),
        ({"confidence": 1.5}, "confidence: expected a number of at most 1"),
        ({"sha256": "../x"}, "sha256: "),
        ({"flags": "low"}, "flags: expected a list"),
        ({"evidence": {"kinds": ["presence"], "words": {"dog": {}}}}, "'dog' has nothing in place of presence"),
        ({"evidence": {"kinds": ["presence"], "words": {"dog": {"presence": 2}}}}, "out of its range"),
    ],
)
def test_a_damaged_line_is_told_with_its_place(tmp_path, changed, told):
    shard, good = ShardId(1, 0, 1), CaptionedPicture("aa", "/p/a.jpg", "a dog", -0.5)
    lines = [caption_line(good), json.dumps({**good.to_json(), **changed}) + "\n"]
    (tmp_path / shard.captions()).write_text("".join(lines))
    with pytest.raises(Damaged) as damaged:
        list(read_captions(shard, str(tmp_path)))
    assert f"{shard.captions()}:2: " in str(damaged.value) and told in str(damaged.value)
    assert str(damaged.value).endswith(
        f"remove {shard.ledger()} and run captionbeam caption again, which makes the shard again"
    )
