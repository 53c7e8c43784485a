from dataclasses import replace

import numpy as np
import pytest

from training.data.feature_records import deserialize, parse, serialize


@pytest.fixture(params=["pooled", "grid"])
def kind(request):
    return request.param


@pytest.fixture
def described(record, random_features, kind):
    first, *views = random_features(3, kind)
    one = record("dog", first, ("a dog", "caf\u00e9"), uris=("/a.jpg", "/not-utf8-\udcff.jpg"), kind=kind)
    return replace(one, views=np.stack(views))


def test_a_record_is_read_as_it_was_written(described):
    again = deserialize(serialize(described))
    assert (again.sha256, again.uris, again.captions) == (described.sha256, described.uris, described.captions)
    assert (again.width, again.height, again.feature.dtype) == (4, 3, np.float16)
    np.testing.assert_array_equal(again.feature, described.feature)
    np.testing.assert_array_equal(again.views, described.views)
    assert serialize(again) == serialize(described)


def test_tensorflow_parses_the_same(described, kind):
    fields = parse(serialize(described), described.feature.shape)
    np.testing.assert_array_equal(fields["feature"], described.feature)
    np.testing.assert_array_equal(fields["views"], described.views)
    assert [text.decode() for text in fields["caption/text"].numpy()] == list(described.captions)


def test_a_record_without_captions_and_views_has_none(record, kind):
    again = deserialize(serialize(record("silent", captions=(), kind=kind)))
    assert again.captions == () and again.views is None
    assert len(parse(serialize(again), again.feature.shape)["views"]) == 0


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"feature": np.full(2048, np.nan, np.float16)}, "not finite"),
        ({"feature": np.full(2048, np.inf, np.float16)}, "not finite"),
        ({"feature": np.zeros(2047, np.float16)}, r"a feature float16 \[2047\]"),
        ({"feature": np.zeros(2048, np.float32)}, r"a feature float32 \[2048\]"),
        ({"width": -1}, "without a place or a size"),
        ({"uris": ()}, "without a place or a size"),
    ],
)
def test_wrong_numbers_in_a_record_are_told(record, changed, told):
    with pytest.raises(ValueError, match=told):
        deserialize(serialize(replace(record("a"), **changed)))
