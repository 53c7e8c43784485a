"""Messages say "1 caption" and "2 captions": a number before a noun goes through `counted`, which knows both."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
NOUNS = (
    "picture image file input caption word shard row record member folder line epoch step second view captioner time "
    "byte list duplicate reference scene feature thread core channel name keyword place entry column value link"
)
# Constants, what went through `counted`, paths, and a mean, which is no whole number.
NO_NUMBER = re.compile(r"_?[A-Z_]+|.*counted\(.*|.*(list|features|CONFIG|LIST\))|.*mean_.*")
AFTER_A_NUMBER = re.compile(rf" (?:[a-z]+ )?(?:{NOUNS.replace(' ', '|')})(?:s|es)\b")


def numbers_before_plurals(tree: ast.AST) -> list[str]:
    """A module -> expressions in its texts that stand before a plural, but for constants and for what is no number."""
    found = []
    for text in ast.walk(tree):
        if not isinstance(text, ast.JoinedStr):
            continue
        for value, behind in zip(text.values, text.values[1:], strict=False):
            if isinstance(value, ast.FormattedValue) and isinstance(behind, ast.Constant):
                expression = ast.unparse(value.value)
                if not NO_NUMBER.fullmatch(expression) and AFTER_A_NUMBER.match(behind.value):
                    found.append(expression + behind.value)
    return found


def test_such_a_number_is_found():
    assert numbers_before_plurals(ast.parse("f'{n} new captions are there, {counted(n, \"file\")}'")) == [
        "n new captions are there, "
    ]


def test_every_number_before_a_noun_knows_the_singular():
    found = {
        str(path.relative_to(ROOT)): numbers
        for package in ("beam_pipeline", "training")
        for path in sorted((ROOT / package).rglob("*.py"))
        if (numbers := numbers_before_plurals(ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert found == {}
