from dataclasses import fields

import pytest

from training.options import DEFAULTS, TrainOptions, with_defaults


@pytest.mark.parametrize("model", DEFAULTS)
def test_defaults_fill_in_what_is_not_given_and_nothing_else(model):
    given = TrainOptions("features", "out", model=model, epochs=2, word_dropout=0.0)
    filled = with_defaults(given)
    assert (filled.epochs, filled.word_dropout) == (2, 0.0)
    assert filled.batch_size == DEFAULTS[model]["batch_size"]
    optional = {"glove", "train_list", "dev_list", "tail"}
    assert {field.name for field in fields(filled) if getattr(filled, field.name) is None} == optional
    assert with_defaults(filled) == filled
