"""The figures of a report: percentiles by nearest rank, sums that are exact, groups that add up to the whole."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentroute.errors import ConfigError
from agentroute.ledger.entries import KEYS, Entry
from agentroute.ledger.report import Figures, report
from tests.ledger.test_sqlite import DONE

ENTRY = Entry.of(DONE)


def test_percentiles_are_by_nearest_rank() -> None:
    found = report(replace(ENTRY, duration_s=float(n), first_content_s=None) for n in range(100, 0, -1)).all
    assert (found.duration_p50, found.duration_p95, found.first_content_p50) == (50.0, 95.0, None)
    assert report([ENTRY]).all.duration_p95 == 1.25


def test_only_answered_steps_are_timed() -> None:
    found = report([replace(ENTRY, outcome="failed", duration_s=60.0), replace(ENTRY, outcome="abandoned")]).all
    assert (found.duration_p50, found.failed, found.given_up) == (None, 1, 1)


def test_of_nothing_everything_is_unknown() -> None:
    found = report([])
    assert (found.all.steps, found.all.cost, found.all.savings, found.first) == (0, None, None, None)
    assert found.by == {"day": {}, "target": {}}


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(ConfigError, match="broken down by 'model'"):
        report([], by=["model"])


MONEY = st.none() | st.decimals(0, 10**6, allow_nan=False, places=15)


@given(st.lists(st.tuples(st.sampled_from("abc"), MONEY, MONEY, st.sampled_from(["ok", "failed"])), max_size=20))
def test_groups_add_up(steps: list[tuple[str, Decimal | None, Decimal | None, str]]) -> None:
    entries = [
        Entry.of(replace(DONE, target=target, cost=cost, baseline_cost=baseline, outcome=outcome))  # type: ignore[arg-type]
        for target, cost, baseline, outcome in steps
    ]
    found = report(entries, by=KEYS)
    for groups in found.by.values():
        for name in ("steps", "unpriced", "compared", "failed", "fallbacks", "cost", "baseline_cost", "savings"):
            parts = [getattr(figures, name) for figures in groups.values()]
            known = [part for part in parts if part is not None]
            assert sum(known) == (getattr(found.all, name) or 0)
    cost = sum((cost for _, cost, _, _ in steps if cost is not None), Decimal(0))
    assert found.totals.cost == cost
    assert set(Figures.__slots__) == set(found.all.to_dict())
