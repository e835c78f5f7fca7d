"""Counts for Prometheus: answers by door and status, steps by target and outcome, money."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from decimal import Decimal

from agentroute.decisions import Decision
from agentroute.ledger.notices import Notice

__all__ = ["Metrics"]


class Metrics:
    """Sums since the process began."""

    def __init__(self) -> None:
        self.answers: Counter[tuple[str, int]] = Counter()
        self._steps: Counter[tuple[str, str]] = Counter()
        self._fallbacks = 0
        self._notices: Counter[str] = Counter()
        self._cost = Decimal(0)
        self._savings = Decimal(0)
        self._unknown = 0

    def answered(self, door: str, status: int) -> None:
        self.answers[door, status] += 1

    def count(self, decision: Decision) -> None:
        self._steps[decision.target, decision.outcome] += 1
        self._fallbacks += decision.fallbacks > 0
        self._cost += decision.cost or 0
        self._savings += decision.savings or 0
        self._unknown += decision.cost is None

    def told(self, notices: Iterable[Notice]) -> None:
        self._notices.update(notice.kind for notice in notices)

    def text(self) -> str:
        """The exposition format of Prometheus."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield "# TYPE agentroute_answers_total counter"
        for (door, status), number in sorted(self.answers.items()):
            yield f'agentroute_answers_total{{door="{door}",status="{status}"}} {number}'
        yield "# TYPE agentroute_steps_total counter"
        for (target, outcome), number in sorted(self._steps.items()):
            yield f'agentroute_steps_total{{target="{_escaped(target)}",outcome="{outcome}"}} {number}'
        yield "# TYPE agentroute_fallbacks_total counter"
        yield f"agentroute_fallbacks_total {self._fallbacks}"
        yield "# TYPE agentroute_notices_total counter"
        for kind, number in sorted(self._notices.items()):
            yield f'agentroute_notices_total{{kind="{kind}"}} {number}'
        yield "# TYPE agentroute_cost_usd_total counter"
        yield f"agentroute_cost_usd_total {self._cost}"
        yield "# TYPE agentroute_steps_of_unknown_cost_total counter"
        yield f"agentroute_steps_of_unknown_cost_total {self._unknown}"
        yield "# TYPE agentroute_savings_usd gauge"
        yield f"agentroute_savings_usd {self._savings}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
