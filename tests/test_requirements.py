"""What is downloaded to install captionbeam has a version and a hash, and so have the actions of the public CI."""

import re
import runpy
from itertools import chain, product
from pathlib import Path

import pytest
import setuptools
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
REQUIREMENTS = ROOT / "requirements"
PINNED = re.compile(r"^(?P<requirement>[^\s#][^\\]*?) \\\n(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+", re.M)
MACHINES = [
    {"python_version": minor, "python_full_version": f"{minor}.9", "sys_platform": system, "extra": ""}
    for minor, system in product(("3.10", "3.11", "3.12", "3.13"), ("linux", "darwin"))
]


def pins(path: Path, machine: dict[str, str]) -> dict[str, str]:
    """Names -> versions that a file of requirements has for a machine."""
    found = [Requirement(match["requirement"]) for match in PINNED.finditer(path.read_text(encoding="utf-8"))]
    wanted = [one for one in found if not one.marker or one.marker.evaluate(machine)]
    return {one.name: str(one.specifier).removeprefix("==") for one in wanted}


@pytest.mark.parametrize("name", ["constraints.txt", "installers.txt"])
def test_every_line_belongs_to_a_version_with_hashes(name):
    text = (REQUIREMENTS / name).read_text(encoding="utf-8")
    assert PINNED.sub("", text) == "# Written by .ci/lock.\n"


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: f"{m['python_version']}-{m['sys_platform']}")
def test_the_versions_fit_every_requirement_of_setup_py(machine, monkeypatch):
    declared = {}
    monkeypatch.setattr(setuptools, "setup", declared.update)
    runpy.run_path(str(ROOT / "setup.py"))
    lines = chain(declared["install_requires"], *declared["extras_require"].values())
    wanted = [one for one in map(Requirement, lines) if not one.marker or one.marker.evaluate(machine)]
    versions = pins(REQUIREMENTS / "constraints.txt", machine)

    unmet = [str(one) for one in wanted if not one.specifier.contains(versions.get(one.name.lower(), "0"))]

    assert len(wanted) > 30
    assert unmet == [], "run .ci/lock"


def test_actions_of_the_public_ci_are_named_by_commit():
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    used = re.findall(r"uses: (\S+)", workflow)
    assert used
    assert [action for action in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action)] == []


def test_nothing_is_installed_without_hashes_but_this_checkout():
    """What is made here, the package and its wheel, has no hash; it is installed without what it needs."""
    scripts = [ROOT / "run_local.sh", *(ROOT / ".ci").iterdir(), *(ROOT / ".github" / "workflows").iterdir()]
    lines = chain.from_iterable(re.sub(r"\\\n", "", path.read_text(encoding="utf-8")).splitlines() for path in scripts)
    installs = [line.strip() for line in lines if re.search(r"pip\"? install|pip_install ", line)]
    unchecked = [line for line in installs if "--require-hashes" not in line and "--no-deps" not in line]

    assert len(installs) > 5
    assert unchecked == ['pip_install() { "$python" -m pip install --quiet --disable-pip-version-check "$@"; }']


def test_the_public_ci_compares_what_is_installed_with_known_vulnerabilities():
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert "pip-audit --requirement installed.txt --no-deps --disable-pip" in workflow
