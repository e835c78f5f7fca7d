"""`docs/security.md` names a test behind each promise: each of them is there, and none of this folder is unnamed."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`(tests/[\w/.]+\.py)((?:::\w+)*)`", PAGE)


def test_every_test_that_is_named_is_there() -> None:
    assert NAMED
    for path, inside in NAMED:
        text = (ROOT / path).read_text(encoding="utf-8")
        for name in inside.split("::")[1:]:
            assert re.search(rf"(?:def|class) {name}\b", text), f"{path}{inside}"


def test_every_kind_of_attack_is_named() -> None:
    here = {f"tests/attacks/{path.name}" for path in Path(__file__).parent.glob("test_*.py")} - {
        f"tests/attacks/{Path(__file__).name}"
    }
    assert here <= {path for path, _ in NAMED}


def test_every_promise_has_a_test() -> None:
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and cells != ["promise", "test"]:
            assert len(cells) == 2, line
            assert "`tests/" in cells[1], line
