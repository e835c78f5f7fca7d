"""Takes the calls of conversations in their order and adds up what went wrong, by agent: numbers in, findings out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from agentroute.targets import Target

from .findings import AgentBill, DoctorReport, Finding, Kind, Moment, Timeline
from .seen import Call, Seen, State, look
from .traffic import Tally, Traffic

__all__ = ["Examination"]

_FEW: Final = Decimal("0.02")
"""Reads that are missed for no visible reason, at less than this share of the bill, are a provider's own business:
caches are best effort."""

_TIMELINES: Final = 1_000
"""Conversations of which every step is kept, until it is known which lost most."""


@dataclass(slots=True)
class _Agent:
    steps: int = 0
    unpriced: int = 0
    tokens: int = 0
    usd: Decimal = Decimal(0)
    conversations: set[int] = field(default_factory=set)
    models: dict[str, None] = field(default_factory=dict)


@dataclass(slots=True)
class _Line:
    """A timeline while it grows."""

    agent: str
    place: str
    begun: float
    lost: Decimal = Decimal(0)
    moments: list[Moment] = field(default_factory=list)


class Examination:
    """One pass over calls. `pool`: models that an agent's traffic is priced on, beside those that were recorded.
    `gap_s`: seconds between calls without a time."""

    def __init__(self, pool: Mapping[str, Target] | None = None, *, gap_s: float = 10.0) -> None:
        self._pool = dict(pool or {})
        self._gap_s = gap_s
        self._agents: dict[str, _Agent] = {}
        self._traffic: dict[tuple[str, str], Traffic] = {}
        self._breaks: dict[tuple[str, str, Kind], Tally] = {}
        self._unknown: dict[str, None] = {}
        self._lines: dict[int, _Line] = {}
        self._steps = self._counted = self._timed = self._conversations = 0

    @property
    def steps(self) -> int:
        return self._steps

    def begin(self) -> State:
        """A new conversation."""
        self._conversations += 1
        return State(self._conversations)

    def step(self, state: State, call: Call) -> State:
        """Takes one call, and gives the conversation as it is after it."""
        seen, after = look(state, call, self._gap_s)
        self._steps += 1
        self._timed += call.at is not None
        self._counted += seen.counted
        agent = self._agents.setdefault(call.agent, _Agent())
        agent.steps += 1
        agent.tokens += call.input_tokens
        agent.conversations.add(state.number)
        agent.models[call.model] = None
        if seen.usd is None:
            agent.unpriced += 1
            self._unknown[call.model] = None
        else:
            agent.usd += seen.usd
        if call.target is not None and call.tied:
            traffic = self._traffic.setdefault((call.agent, call.model), Traffic(call.target))
            traffic.add(state.number, call, seen, first=not (state.steps or state.repeated))
        if seen.kind is not None and seen.kind != "expired":
            tally = self._breaks.setdefault((call.agent, call.model, seen.kind), Tally())
            tally.add(call.place, state.number, seen.lost, seen.more, position=seen.position, turn=call.turn)
        self._draw(state, call, seen)
        return after

    def _draw(self, state: State, call: Call, seen: Seen) -> None:
        line = self._lines.get(state.number)
        if line is None:
            if len(self._lines) >= _TIMELINES:
                del self._lines[min(self._lines, key=lambda number: self._lines[number].lost)]
            line = self._lines[state.number] = _Line(call.agent, call.place, seen.now)
        line.lost += seen.more or 0
        line.moments.append(
            Moment(
                step=state.steps + 1,
                seconds=seen.now - line.begun,
                model=call.model,
                input_tokens=call.input_tokens,
                read_tokens=seen.usage.cache_read_tokens or 0,
                again_tokens=seen.lost,
                kind=seen.kind,
                position=seen.position,
                usd=seen.usd,
            )
        )

    def report(self, files: tuple[str, ...], **facts: Any) -> DoctorReport:
        """What was found. `facts`: what else the report says of its input."""
        findings = sorted(self._findings(), key=lambda each: (each.usd is None, -(each.usd or 0), each.kind))
        thrown: Counter[str] = Counter()
        for found in findings:
            if not found.advice:
                thrown[found.agent] += found.usd or 0  # type: ignore[assignment]
        bills = [
            AgentBill(
                agent=name,
                models=tuple(agent.models),
                conversations=len(agent.conversations),
                steps=agent.steps,
                unpriced=agent.unpriced,
                usd=agent.usd,
                thrown_away=Decimal(thrown[name]),
            )
            for name, agent in self._agents.items()
        ]
        return DoctorReport(
            files=files,
            conversations=self._conversations,
            steps=self._steps,
            counted=self._counted,
            timed=self._timed,
            unpriced=sum(agent.unpriced for agent in self._agents.values()),
            gap_s=self._gap_s,
            unknown_models=tuple(self._unknown),
            agents=tuple(sorted(bills, key=lambda each: (-each.thrown_away, -each.usd, each.agent))),
            findings=tuple(findings),
            timeline=self._timeline(),
            **facts,
        )

    def _findings(self) -> list[Finding]:
        recorded = {traffic.target.name: traffic.target for traffic in self._traffic.values()}
        found: list[Finding] = []
        for (agent, model, kind), tally in self._breaks.items():
            spent = self._agents[agent]
            few = tally.tokens < _FEW * spent.tokens if tally.usd is None else tally.usd < _FEW * spent.usd
            if kind == "unexplained" and few:
                continue
            if tally.usd is None or tally.usd > 0:
                found.append(tally.finding(kind, agent, model))
        for (agent, _), traffic in self._traffic.items():
            found += traffic.findings(agent, {**recorded, **self._pool})
        return found

    def _timeline(self) -> Timeline | None:
        line = max(self._lines.values(), key=lambda each: each.lost, default=None)
        return None if line is None else Timeline(line.agent, line.place, tuple(line.moments))
