"""How a field of an options class is written on the command line: the field itself says it, and nothing says it twice.

shard_size: int = option("pictures in a shard", "N", positive, default=512)
"""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, field
from typing import Any

_OPTION, _EMBEDDED = "option", "embedded"
EMBEDDED = {_EMBEDDED: True}  # metadata of a field whose value is an options object: its options are the outer one's


def given(text: str) -> str:
    """Text -> the same, unless it is empty: so is a variable of the shell that is not set."""
    if not text:
        raise ArgumentTypeError("the value is empty; is a variable of the shell not set?")
    return text


@dataclass(frozen=True)
class Alias:
    """A second option that sets the same field, such as `--ensemble` for `captioner`.

    Attributes:
      flag: its name, with the two dashes.
      help: what it is, for `--help`.
      metavar: placeholder of its value in `--help`.
    """

    flag: str
    help: str
    metavar: str


@dataclass(frozen=True)
class Option:
    """What the command line needs to know of a field beside its name and default.

    Attributes:
      help: what it is, for `--help`; the default is added to it.
      metavar: placeholder of its value in `--help`.
      type: text -> value; raises ArgumentTypeError.
      choices: the values that it may have.
      default_text: the default in words, where the bare value would not tell.
      group: heading that `--help` lists it under.
      one_of: name of a set of options of which exactly one is given.
      positional: whether it is given by its place, without a flag.
      flag: its name, where that is not the field's; `--no-...` is a switch that turns the field off.
      alias: a second option for the same field.
      several: whether it may be given several times; its value is a tuple then.
      bare: whether arguments without an option are values of it too; one of it, or of its `one_of`, is needed.
      when_missing: what to say where a required option is missing, if its name alone would not help.
    """

    help: str
    metavar: str | None = None
    type: Callable[[str], Any] = given
    choices: tuple[str, ...] | None = None
    default_text: str | None = None
    group: str | None = None
    one_of: str | None = None
    positional: bool = False
    flag: str | None = None
    alias: Alias | None = None
    several: bool = False
    bare: bool = False
    when_missing: str | None = None


def option(
    help: str,
    metavar: str | None = None,
    type: Callable[[str], Any] = given,
    *,
    default: Any = MISSING,
    **settings: Any,
) -> Any:
    """Field of an options class that is an option; see `Option` for the settings.

    It is required where it has no default. Where only `default_text` says what happens without it, the default is None.
    """
    if default is MISSING and "default_text" in settings:
        default = None
    return field(default=default, metadata={_OPTION: Option(help, metavar, type, **settings)})


def option_of(field: Field) -> Option | None:
    """A dataclass field -> its option; None for a field that only Python code can set."""
    return field.metadata.get(_OPTION)


def embedded_options(field: Field) -> Any:
    """A dataclass field -> the options object that is its default, if its options are the outer class's; else None."""
    return field.default if field.metadata.get(_EMBEDDED) else None


# Types of values: text -> value. What they raise argparse shows behind the option's name.


def folder(text: str) -> str:
    """Text -> path of a folder to write; `-` names standard output, which is none."""
    if text == "-":
        raise ArgumentTypeError("- is standard output, and a folder is to be written; ./- names a folder")
    return given(text)


def positive(text: str) -> int:
    """Text -> a whole number of 1 or more."""
    return _number(int, text, lambda value: value >= 1, "a positive whole number")


def natural(text: str) -> int:
    """Text -> a whole number of 0 or more."""
    return _number(int, text, lambda value: value >= 0, "a whole number of 0 or more")


def whole(text: str) -> int:
    """Text -> a whole number, which may be negative."""
    return _number(int, text, lambda _: True, "a whole number")


def above_zero(text: str) -> float:
    """Text -> a finite number above 0."""
    return _number(float, text, lambda value: 0 < value < float("inf"), "a number above 0")


def share(text: str) -> float:
    """Text -> a share or a probability, 0 to 1."""
    return _number(float, text, lambda value: 0 <= value <= 1, "between 0 and 1")


def share_below_one(text: str) -> float:
    """Text -> a share of 0 or more that is less than 1."""
    return _number(float, text, lambda value: 0 <= value < 1, "a number from 0 to below 1")


def weight(text: str) -> float:
    """Text -> a weight, 0 to 10."""
    return _number(float, text, lambda value: 0 <= value <= 10, "between 0 and 10")


def count_or_share(text: str) -> int | float:
    """A count, "50" -> 50, or a percentage, "1%" -> 0.01."""
    if text.endswith("%"):
        return _number(float, text[:-1], lambda value: 0 <= value <= 100, "between 0 and 100") / 100
    return natural(text)


def _number(kind: Callable[[str], Any], text: str, fits: Callable[[Any], bool], expected: str) -> Any:
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not fits(value):
        raise ArgumentTypeError(f"{text} is not {expected}")
    return value
