"""The parser that the command line is read with: its errors are one line."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from beam_pipeline.commands.foreign_options import answer_to
from beam_pipeline.runtime.text import escaped


class Parser(argparse.ArgumentParser):
    """An argparse parser whose errors are one line, with a suggestion for a misspelt stage, option or choice."""

    _arguments: Sequence[str] = ()

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Arguments -> (what was parsed, the rest); keeps the arguments for the message of an error."""
        if args is not None:
            self._arguments = args
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Ends the process with exit status 2 and a line that names the problem."""
        # A required option that seems to be missing may be misspelt.
        if "required" in message:
            message = self._misspelt() or self._what_is_missing() or _in_singular(message)
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")

    def _print_message(self, message: str, file: Any = None) -> None:
        super()._print_message(escaped(message), file)

    def _what_is_missing(self) -> str:
        """What the first missing option says of itself; "" if none does."""
        given = {argument.partition("=")[0] for argument in self._arguments}
        for action in self._actions:
            if (text := getattr(action, "when_missing", None)) and not given.intersection(self._set_of(action)):
                return str(text)
        return ""

    def _set_of(self, action: argparse.Action) -> list[str]:
        """The flags of an option and of those that may stand in its place."""
        groups = (group._group_actions for group in self._mutually_exclusive_groups)
        together: Iterable[argparse.Action] = next((group for group in groups if action in group), [action])
        return [flag for one in together for flag in one.option_strings]

    def _misspelt(self) -> str:
        """What to do about the first unknown option that other tools have, or that resembles one of ours; else ""."""
        for option in self._arguments:
            if option.startswith("-") and option.partition("=")[0] not in self._option_string_actions:
                if answer := answer_to(self.prog.rpartition(" ")[2], option):
                    return answer
                if not option.startswith("--"):
                    continue
                close = closest(option.partition("=")[0], self._option_string_actions, cutoff=0.8)
                if close:
                    return f"unknown option {option}{close}"
        return ""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            choices = [str(choice) for choice in action.choices]
            if isinstance(action, argparse._SubParsersAction):
                self.error(f"unknown stage {value}{closest(str(value), choices) or ', expected ' + _one_of(choices)}")
            raise argparse.ArgumentError(action, f"{value} is not {_one_of(choices)}{closest(str(value), choices)}")


def _in_singular(message: str) -> str:
    """Message of argparse about missing arguments -> the same, in the singular if it is about one."""
    return message if "," in message else message.replace("following arguments are", "following argument is")


def closest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Word -> ", did you mean KNOWN?" for the known word that is most like it; "" if none is."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return f", did you mean {close[0]}?" if close else ""


def _one_of(choices: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(choices[:-1]), choices[-1])))
