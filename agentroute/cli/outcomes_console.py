"""Outcomes on a terminal and as JSON: by role and the target assigned, with n and the exact interval."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from agentroute.errors import printable
from agentroute.figures import count, usd
from agentroute.learning.outcomes import Counted, Result, results, sensitivities

__all__ = ["outcomes_dict", "render_outcomes"]


def outcomes_dict(found: Counted) -> dict[str, Any]:
    """JSON-ready; money as text."""
    return {
        "by_role_and_target": [each.to_dict() for each in results(found)],
        "checks": [each.to_dict() for each in sensitivities(found)],
        "unmatched": found.unmatched,
    }


def render_outcomes(found: Counted) -> RenderableType:
    """Readable at 80 columns."""
    parts: list[RenderableType] = []
    if rows := results(found):
        parts.append(_table(rows))
    if lines := list(_checks(found)):
        parts.append(Text("\n".join(lines)))
    parts.append(Text("\n".join(_legend(found)), style="dim"))
    return Group(*(Padding(part, (0, 0, 1, 0), expand=False) for part in parts))


def _table(rows: list[Result]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("role", overflow="fold", min_width=8)
    table.add_column("assigned to", overflow="fold", min_width=8)
    for heading in ("n", "ok", "95 %", "score", "judge", "$/success"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        low, high = row.interval
        table.add_row(
            _name(row.role),
            _name(row.target),
            f"{row.n:,}",
            f"{row.ok / row.n:.0%}" if row.n else ".",
            f"{low:.0%}-{high:.0%}" if row.n else ".",
            "." if row.score is None else f"{row.score:.2f}",
            f"{row.judged_ok}/{row.judged}" if row.judged else ".",
            "." if row.cost_per_success is None else usd(row.cost_per_success),
        )
    return table


def _checks(found: Counted) -> Iterator[str]:
    for each in sensitivities(found):
        role = "(no role)" if each.role is None else printable(each.role)
        if each.failed:
            low, high = each.interval
            yield f"checks of {role}: noticed {each.noticed} of {each.failed} failures (95 %: {low:.0%}-{high:.0%})"
        if each.alarmed:
            yield f"checks of {role}: failed in {each.alarmed} of {each.succeeded} successes too"


def _legend(found: Counted) -> Iterator[str]:
    yield "Outcomes: one for each conversation and role, for the target that its first step"
    yield "was meant for. 95 %: exact interval. judge: a model's opinion, counted nowhere"
    yield "else. $/success: all steps of these conversations, escalations included."
    if found.unmatched:
        yield f"{count(found.unmatched, 'label')} of steps or conversations that this ledger does not hold."


def _name(value: str | None) -> Text:
    return Text("(none)", "dim") if value is None else Text(printable(value))
