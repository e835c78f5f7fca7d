"""`make oldest` tests what the package says it supports: its versions are the floors of pyproject.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent


def test_the_oldest_versions_tested_are_the_oldest_allowed() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    allowed = {r.name: r.specifier for r in map(Requirement, (*extras["langchain"], *extras["dev"]))}
    lines = (ROOT / "tests" / "langchain" / "oldest.txt").read_text().splitlines()
    pins = {r.name: next(iter(r.specifier)).version for r in map(Requirement, lines[1:])}
    assert {Requirement(text).name for text in extras["langchain"]} <= set(pins)
    for name, oldest in pins.items():
        (floor,) = (part.version for part in allowed[name] if part.operator == ">=")
        assert Version(floor) == Version(oldest), f"{name} is tested with {oldest}, and {floor} is allowed"
