"""The README stays short, and what README and documentation name exists."""

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
CODE_BLOCK = re.compile(r"^(?: {4}|\t)[^\n]*$|^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")
PATH_IN_CODE = re.compile(r"`((?:beam_pipeline|training|tests|benchmarks|docs)/[\w./-]+)(?:::(\w+))?`")
CLAIMS = [ROOT / "docs" / "explanation" / name for name in ("security.md", "reliability.md")]


def test_the_readme_has_at_most_1000_words():
    assert len(README.read_text(encoding="utf-8").split()) <= 1000


def test_no_line_of_the_readme_is_longer_than_120_characters():
    assert [line for line in README.read_text(encoding="utf-8").splitlines() if len(line) > 120] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings_that_exist(page):
    broken = []
    for match in LINK.finditer(CODE_BLOCK.sub("", page.read_text(encoding="utf-8"))):
        link = match[1] or match[2]
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_and_tests_of_the_repository_that_a_page_names_exist(page):
    named = PATH_IN_CODE.findall(page.read_text(encoding="utf-8"))
    missing = [path for path, _ in named if not (ROOT / path).exists()]
    missing += [f"{path}::{name}" for path, name in named if name and name not in functions(ROOT / path)]
    assert missing == []


@pytest.mark.parametrize("page", CLAIMS, ids=lambda page: page.name)
def test_every_row_of_claims_names_a_test(page):
    rows = re.findall(r"^\|.*\|$", page.read_text(encoding="utf-8"), re.MULTILINE)
    heads = [number for number, row in enumerate(rows) if re.fullmatch(r"[|-]+", row)]
    claims = [row for number, row in enumerate(rows) if number not in heads and number + 1 not in heads]
    assert len(claims) > 15
    assert [row for row in claims if not names_a_test(row)] == []


def names_a_test(row: str) -> bool:
    """Whether the last cell of a row names at least one file of tests, or a test in it."""
    paths = [path for path, _ in PATH_IN_CODE.findall(row.rstrip("|").rpartition("|")[2])]
    return any(Path(path).name.startswith("test_") for path in paths)


@functools.lru_cache
def functions(path: Path) -> set[str]:
    """Python file -> names of the functions in it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_pages_that_the_code_names_exist():
    files = [*(ROOT / "beam_pipeline").rglob("*.py"), *(ROOT / "training").rglob("*.py"), ROOT / "CHANGELOG.md"]
    named = {name for file in files for name in re.findall(r"docs/[\w/-]+\.md", file.read_text(encoding="utf-8"))}
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_steps_of_the_walks_in_the_architecture_page_exist():
    steps = re.findall(r"`((?:\w+/)?\w+)\.(\w+)`", walks())
    assert len(steps) > 15
    assert [f"{module}.{name}" for module, name in steps if not defines(module, name)] == []


def walks() -> str:
    """The sections of the architecture page that follow one picture and one caption."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    return page.partition("## One picture through")[2].partition("\n## Contracts")[0]


def defines(module: str, name: str) -> bool:
    """Whether a module, such as `shards/run`, defines a function or class."""
    files = [ROOT / package / f"{module}.py" for package in ("beam_pipeline", "training")]
    sources = [file.read_text(encoding="utf-8") for file in files if file.exists()]
    return any(re.search(rf"^ *(def|class) {name}\b", source, re.MULTILINE) for source in sources)


def test_no_page_installs_captionbeam_from_an_index():
    # With --require-hashes it must be installed already, since no hash of it is known.
    lines = [line for page in [*PAGES, ROOT / "CHANGELOG.md"] for line in page.read_text(encoding="utf-8").splitlines()]
    assert [line for line in lines if "captionbeam[" in line and "--require-hashes" not in line] == []


def anchors(page: Path) -> set[str]:
    """Path of a Markdown page -> ids of its headings, as GitHub and MkDocs make them."""
    headings = re.findall(r"^#+ (.+)$", CODE_BLOCK.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
