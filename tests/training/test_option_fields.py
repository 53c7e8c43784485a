from argparse import ArgumentTypeError
from dataclasses import dataclass, field, fields

import pytest

from training.option_fields import (
    EMBEDDED,
    above_zero,
    count_or_share,
    embedded_options,
    natural,
    option,
    option_of,
    positive,
    share,
    share_below_one,
    weight,
    whole,
)


@dataclass(frozen=True)
class Limits:
    size: int = option("largest size", "N", positive, default=1)


@dataclass(frozen=True)
class Options:
    path: str = option("what to read", "PATH")
    limits: Limits = field(default=Limits(), metadata=EMBEDDED)
    inner: Limits = Limits()
    seed: int = 0


def test_a_field_is_an_option_embeds_options_or_is_for_python_alone():
    found = {field.name: (option_of(field), embedded_options(field)) for field in fields(Options)}
    assert found["path"][0].help == "what to read" and found["path"][0].metavar == "PATH"
    assert found["limits"] == (None, Limits())
    assert found["inner"] == found["seed"] == (None, None)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (positive, "1", 1),
        (natural, "0", 0),
        (whole, "-3", -3),
        (above_zero, "1e-3", 0.001),
        (share, "1", 1.0),
        (share_below_one, "0", 0.0),
        (weight, "10", 10.0),
        (count_or_share, "50", 50),
        (count_or_share, "0", 0),
        (count_or_share, "1%", 0.01),
        (count_or_share, "100%", 1.0),
    ],
)
def test_values_as_people_write_them(kind, text, value):
    assert kind(text) == value and type(kind(text)) is type(value)


@pytest.mark.parametrize(
    ("kind", "texts", "expected"),
    [
        (positive, ["0", "many"], "a positive whole number"),
        (natural, ["-1"], "a whole number of 0 or more"),
        (whole, ["1.5"], "a whole number"),
        (above_zero, ["nan", "inf"], "a number above 0"),
        (share, ["1.1", "nan"], "between 0 and 1"),
        (share_below_one, ["1"], "a number from 0 to below 1"),
        (weight, ["11"], "between 0 and 10"),
        (count_or_share, ["101%"], "between 0 and 100"),
        (count_or_share, ["-1"], "a whole number of 0 or more"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(kind, texts, expected):
    for text in texts:
        with pytest.raises(ArgumentTypeError, match=f"^{text.rstrip('%')} is not {expected}$"):
            kind(text)
