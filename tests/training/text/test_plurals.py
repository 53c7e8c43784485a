import pytest

from training.text.plurals import counted


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 captions"), (1, "1 caption"), (2, "2 captions"), (1200, "1,200 captions")]
)
def test_one_is_singular_and_thousands_are_set_apart(number, text):
    assert counted(number, "caption") == text
