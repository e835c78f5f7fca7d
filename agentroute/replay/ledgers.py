"""Ledgers replayed: no prompt is in them, so the recorded predictions and tokens are priced and chosen from again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from agentroute.decisions import Constraints, Decision, Prediction, Strategy
from agentroute.errors import ConfigError, NoCandidateError
from agentroute.ledger.reading import is_ledger, read_decisions, read_gaps
from agentroute.ledger.totals import Gap, add
from agentroute.messages import ChatRequest, Usage
from agentroute.router import Router
from agentroute.routing.selection import Situation, select
from agentroute.routing.step import Step
from agentroute.targets import Pool, Target, Tier

from .logs import printable
from .records import Problem
from .values import Unreadable, values

__all__ = ["LedgerReplay", "Line", "holds_decisions", "recorded_in", "replay_ledger"]

SCHEMA_VERSION = 1

STRATEGIES: tuple[Strategy, ...] = ("cheapest", "balanced", "best")

_UNANSWERED = frozenset({"failed", "interrupted", "cancelled", "abandoned"})

_NOTHING = ChatRequest(messages=())
"""The request that a ledger does not hold: it asks for no tool, picture or schema, and so rules no target out."""

_NO_STEP = Step.of(_NOTHING)
_NO_CONSTRAINTS = Constraints()
_KEPT_PROBLEMS = 1_000


@dataclass(frozen=True, slots=True)
class Line:
    """All answered steps run one way. `cost` in USD over the steps whose price is known, None where it is of none.

    `unpriced` counts the others; `sufficiency` is the mean recorded P of the tiers used, None where it is of no step.
    """

    name: str
    steps: int
    cost: Decimal | None
    unpriced: int
    sufficiency: float | None
    targets: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "steps": self.steps,
            "cost": None if self.cost is None else format(self.cost, "f"),
            "unpriced": self.unpriced,
            "sufficiency": self.sufficiency,
            "targets": dict(self.targets),
        }


@dataclass(frozen=True, slots=True)
class LedgerReplay:
    """What ledgers say under another pool, baseline or today's prices.

    `recorded` is the bill as it was. `repriced` bills the recorded usage, cached tokens too, at the pool's prices,
    where the target that answered is in it. `strategies` and `singles` are priced from the recorded tokens (`estimated`
    of the `steps` have estimates only) without any cache. `unanswered` steps, `unroutable` ones (no target's window
    holds them) and those of `gaps` are in no line.
    """

    files: tuple[str, ...]
    steps: int
    estimated: int
    unanswered: int
    unroutable: int
    gaps: tuple[Gap, ...]
    malformed: int
    problems: tuple[Problem, ...]
    policies: Mapping[str, int]
    pool: tuple[Target, ...]
    baseline: str
    strategy: str
    recorded: Line
    repriced: Line
    strategies: Mapping[str, Line]
    singles: Mapping[str, Line]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; money as text, so that nothing is rounded."""
        return {
            "schema_version": SCHEMA_VERSION,
            "source": "ledger",
            "files": list(self.files),
            "steps": self.steps,
            "estimated": self.estimated,
            "unanswered": self.unanswered,
            "unroutable": self.unroutable,
            "gaps": [gap.to_dict() for gap in self.gaps],
            "malformed": self.malformed,
            "problems": [{"file": p.file, "line": p.line, "reason": p.reason} for p in self.problems],
            "policies": dict(self.policies),
            "pool": [target.name for target in self.pool],
            "baseline": self.baseline,
            "strategy": self.strategy,
            "recorded": self.recorded.to_dict(),
            "repriced": self.repriced.to_dict(),
            "strategies": {name: line.to_dict() for name, line in self.strategies.items()},
            "singles": {name: line.to_dict() for name, line in self.singles.items()},
        }


def holds_decisions(path: str | Path) -> bool:
    """Whether a file is a ledger, or JSONL of decisions: told from its first line that is one."""
    if is_ledger(path):
        return True
    first = next(values(Path(path)), None)
    return first is not None and _is_decision(first.data)


def replay_ledger(
    paths: str | Path | Iterable[str | Path],
    router: Router | None = None,
    *,
    strategies: Iterable[Strategy] = STRATEGIES,
    limit: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> LedgerReplay:
    """Prices the decisions of ledgers (SQLite, or JSONL of `Decision.to_dict`) again, and chooses again for each step.

    Of the router its pool, baseline and strategy table are used. A choice is made from the recorded P of each tier,
    task, complexity and tokens, by the router's own rules; it cannot know what the request needed (tools, pictures, a
    schema), which targets the caller allowed, and what was warm.

    Raises ConfigError for a path that is no file, a ledger that cannot be read, an empty pool, a limit that cannot be.
    """
    files = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    for path in files:
        if not path.is_file():
            raise ConfigError(f"{str(path)!r} is not a file; give ledgers")
    if limit is not None and limit < 1:
        raise ConfigError(f"limit is {limit!r}; steps count from 1")
    router = router or Router()
    run = _Run(router, tuple(dict.fromkeys((*strategies, router.strategy))))
    gaps: list[Gap] = []
    total = sum(path.stat().st_size for path in files)
    before = 0
    for path in files:
        for found, done in recorded_in(path):
            if limit is not None and run.steps >= limit:
                break
            if isinstance(found, Problem):
                run.note(found)
            else:
                run.step(found)
            if on_progress is not None:
                on_progress(before + done, total)
        if is_ledger(path):
            gaps += read_gaps(path)
        before += path.stat().st_size
    return run.result(tuple(printable(str(path)) for path in files), tuple(gaps))


def recorded_in(path: Path) -> Iterator[tuple[Decision | Problem, int]]:
    """Each decision of a ledger, and the bytes of the file read so far (of a database they are not known)."""
    name = printable(path.name)
    if is_ledger(path):
        for decision in read_decisions(path):
            yield decision, 0
        return
    for value in values(path):
        if isinstance(value.data, Unreadable):
            yield Problem(name, value.line, value.data.reason), value.done
        else:
            yield _decision(name, value.line, value.data), value.done


def _decision(name: str, number: int, data: Any) -> Decision | Problem:
    try:
        if _is_decision(data):
            return Decision.from_dict(data)
        problem = "not a decision of a ledger"
    except ConfigError as error:
        problem = str(error)
    except (AttributeError, ArithmeticError, KeyError, TypeError, ValueError) as error:
        problem = f"a decision that cannot be read: {type(error).__name__}: {error}"
    return Problem(name, number, printable(problem))


def _is_decision(data: Any) -> bool:
    """No trace has these two keys."""
    return isinstance(data, Mapping) and "policy_version" in data and "request_digest" in data


@dataclass(slots=True)
class _Tally:
    """A line while it is being added up."""

    name: str
    steps: int = 0
    cost: Decimal | None = None
    unpriced: int = 0
    likely: float = 0.0
    rated: int = 0
    targets: Counter[str] = field(default_factory=Counter)

    def add(self, target: str, cost: Decimal | None, likely: float | None) -> None:
        self.steps += 1
        self.targets[target] += 1
        if cost is None:
            self.unpriced += 1
        else:
            self.cost = cost if self.cost is None else add(self.cost, cost)
        if likely is not None:
            self.likely += likely
            self.rated += 1

    def line(self) -> Line:
        return Line(
            self.name,
            self.steps,
            self.cost,
            self.unpriced,
            self.likely / self.rated if self.rated else None,
            dict(self.targets.most_common()),
        )


class _Run:
    """One pass. What it holds does not grow with the ledgers."""

    def __init__(self, router: Router, strategies: tuple[Strategy, ...]) -> None:
        self._router = router
        self._pool: Pool = router.pool
        self._recorded, self._repriced = _Tally("as recorded"), _Tally("at today's prices")
        self._strategies = {name: _Tally(name) for name in strategies}
        self._singles = {target.name: _Tally(target.name) for target in self._pool}
        self._policies: Counter[str] = Counter()
        self._problems: list[Problem] = []
        self.steps = self._estimated = self._unanswered = self._unroutable = self._malformed = 0

    def note(self, problem: Problem) -> None:
        self._malformed += 1
        if len(self._problems) < _KEPT_PROBLEMS:
            self._problems.append(problem)

    def step(self, decision: Decision) -> None:
        if decision.outcome in _UNANSWERED:
            self._unanswered += 1
            return
        usage = decision.usage
        measured = usage is not None and usage.input_tokens is not None and usage.output_tokens is not None
        known = usage if usage is not None and measured else decision.estimated_usage
        tokens = Usage(known.input_tokens or 0, known.output_tokens or 0)
        try:
            chosen = {name: self._choose(name, decision, tokens) for name in self._strategies}
        except NoCandidateError:
            self._unroutable += 1
            return
        self.steps += 1
        self._estimated += not measured
        self._policies[decision.policy_version] += 1
        self._recorded.add(decision.target, decision.cost, decision.sufficiency.get(decision.tier.value))
        served = self._pool.get(decision.target)
        again = None if served is None or not measured or usage is None else _price(served, usage)
        self._repriced.add(decision.target, again, decision.sufficiency.get(decision.tier.value))
        for name, target in chosen.items():
            self._strategies[name].add(target.name, _price(target, tokens), _likely(decision, target))
        for target in self._pool:
            self._singles[target.name].add(target.name, _price(target, tokens), _likely(decision, target))

    def _choose(self, strategy: Strategy, decision: Decision, tokens: Usage) -> Target:
        budget, mid, standard, premium = (decision.sufficiency[tier.value] for tier in Tier)
        prediction = Prediction(
            (budget, mid, standard, premium),
            decision.task,
            decision.step_kind,
            decision.confidence,
            decision.reasons,
        )
        situation = Situation(
            request=_NOTHING,
            step=_NO_STEP,
            prediction=prediction,
            strategy=strategy,
            row=self._router.table.row(decision.task, decision.complexity),
            constraints=_NO_CONSTRAINTS,
            input_tokens=tokens.input_tokens or 0,
            output_tokens=tokens.output_tokens or 0,
        )
        return select(situation, self._pool).targets[0]

    def result(self, files: tuple[str, ...], gaps: tuple[Gap, ...]) -> LedgerReplay:
        return LedgerReplay(
            files=files,
            steps=self.steps,
            estimated=self._estimated,
            unanswered=self._unanswered,
            unroutable=self._unroutable,
            gaps=gaps,
            malformed=self._malformed,
            problems=tuple(self._problems),
            policies=dict(self._policies.most_common()),
            pool=tuple(self._pool),
            baseline=self._router.baseline.name,
            strategy=self._router.strategy,
            recorded=self._recorded.line(),
            repriced=self._repriced.line(),
            strategies={name: tally.line() for name, tally in self._strategies.items()},
            singles={name: tally.line() for name, tally in self._singles.items()},
        )


def _price(target: Target, usage: Usage) -> Decimal | None:
    return None if target.price is None else target.price.cost(usage)


def _likely(decision: Decision, target: Target) -> float | None:
    return None if target.tier is None else decision.sufficiency.get(target.tier.value)
