"""What the command line is parsed with: a parser whose errors are one line, and the numbers that options take."""

from __future__ import annotations

import argparse
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """An argparse parser whose errors are one line, with a suggestion for a misspelt option."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive whole number")
    return value


def natural(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is less than 0")
    return value


def above_zero(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def share(text: str) -> float:
    return _from_zero_to(1, text)


def weight(text: str) -> float:
    return _from_zero_to(10, text)


def _from_zero_to(most: int, text: str) -> float:
    value = float(text)
    if not 0 <= value <= most:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and {most}")
    return value


def share_below_one(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and below 1")
    return value
