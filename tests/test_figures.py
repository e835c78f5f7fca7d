"""Figures for people: what is tiny is not nothing, what is unknown is not 0, and every table says it alike."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest

from agentroute.errors import printable
from agentroute.figures import count, percent, usd

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (None, "unknown"),
        (Decimal(0), "$0.0000"),
        (Decimal("0.00000001"), "<$0.0001"),
        (Decimal("-0.00001"), "-<$0.0001"),
        (Decimal("0.0001"), "$0.0001"),
        (Decimal("-2.5"), "-$2.5000"),
        (Decimal("9.99994"), "$9.9999"),
        (Decimal(10), "$10.00"),
        (Decimal("-1234567.891"), "-$1,234,567.89"),
    ],
)
def test_money(amount: Decimal | None, shown: str) -> None:
    assert usd(amount) == shown
    assert usd(amount, estimated=True) == ("unknown" if amount is None else f"~{shown}")


def test_a_step_may_have_more_digits() -> None:
    assert usd(Decimal("0.00002"), places=5) == "$0.00002"
    assert usd(Decimal("0.000001"), places=5) == "<$0.00001"


def test_shares_counts_and_foreign_text() -> None:
    assert (percent(None), percent(0.12345), percent(Decimal("-0.5"))) == ("", "12.3 %", "-50.0 %")
    assert (count(1, "step"), count(1200, "step")) == ("1 step", "1,200 steps")
    assert printable("a\x1b[31mb\n") == "a\ufffd[31mb\ufffd"


def test_no_table_formats_dollars_of_its_own() -> None:
    own = re.compile(r"""f["'][^"'\n]*\$\{[^}]*:[,.]""")
    for folder in ("agentroute/cli", "agentroute/replay", "integrations"):
        for path in (ROOT / folder).rglob("*.py"):
            assert not own.search(path.read_text(encoding="utf-8")), f"{path} writes dollars without figures.usd"
