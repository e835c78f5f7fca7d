"""What became of the work: labels counted once per episode and role, for the target assigned at the start."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from agentroute.ledger.labels import Assignment, Label, Source
from agentroute.replay.records import Trace

from .bounds import at_least, at_most

__all__ = [
    "Counted",
    "Outcome",
    "Result",
    "Sensitivity",
    "Source",
    "counted",
    "exact_interval",
    "from_traces",
    "results",
    "sensitivities",
    "within",
]

_BEST_FIRST: tuple[Source, ...] = ("person", "benchmark", "check")
"""Whose word holds if several speak of the same work. A judge is not among them: it certifies nothing."""

_RANK: Mapping[Source, int] = {source: rank for rank, source in enumerate((*_BEST_FIRST, "judge"))}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the work of one role in one episode went: one conversation, or one chain of steps that has no id of its own.

    `target` is the one that the episode's first step of that role was meant for (side calls of a client aside), whoever
    worked later (intention to treat: else hard work that was escalated would count for the strong target). `ok` is None
    if there is a score only. `at` is when it was last said, `decision_id` the first step.
    """

    episode: str
    role: str | None
    target: str
    ok: bool | None
    score: float | None = None
    source: Source = "check"
    at: datetime | None = None
    decision_id: str | None = None


@dataclass(frozen=True, slots=True)
class Counted:
    """`outcomes` count; `judged` are those of a judge, shown beside them also where something better is known.
    `checked` are the outcomes of episodes in which a check spoke, `noticed` those in which one failed at any time,
    however they ended. `costs` is what each episode cost in its role, all of its steps and whoever served them; None if
    one of them is unknown. `began` is when each (episode, role) did. `unmatched` labels are of steps or conversations
    that are not here (any more)."""

    outcomes: tuple[Outcome, ...] = ()
    judged: tuple[Outcome, ...] = ()
    checked: frozenset[Outcome] = frozenset()
    noticed: frozenset[Outcome] = frozenset()
    costs: Mapping[Outcome, Decimal | None] = field(default_factory=dict)
    began: Mapping[tuple[str, str | None], datetime] = field(default_factory=dict)
    unmatched: int = 0


def counted(assignments: Iterable[Assignment], labels: Iterable[Label]) -> Counted:
    """Labels as outcomes, at most one for each episode and role.

    Of several labels those of the whole conversation hold before those of single steps, of these the ones of the best
    source (person, benchmark, check), then the latest of each name. It went well if all of these say so.
    `assignments` come in the order of time.
    """
    said: defaultdict[tuple[str, str | None], list[Label]] = defaultdict(list)
    of_step, of_conversation = _by_subject(labels)
    if not of_step and not of_conversation:
        return Counted()
    starts: dict[tuple[str, str | None], Assignment] = {}
    spent: dict[tuple[str, str | None], Decimal | None] = {}
    roots: dict[str, str] = {}
    unmatched = sum(map(len, (*of_step.values(), *of_conversation.values())))
    for step in assignments:
        episode = step.conversation_id
        if episode is None:
            episode = roots[step.id] = roots.get(step.previous_id or "", step.id)
        key = (episode, step.role)
        if key not in starts:
            starts[key], spent[key] = step, Decimal(0)
            for label in of_conversation.get(step.conversation_id or "", ()):
                if label.role in (None, step.role):
                    said[key].append(label)
        elif starts[key].side and not step.side:
            starts[key] = step
        before = spent[key]
        spent[key] = None if before is None or step.cost is None else before + step.cost
        for label in of_step.pop(step.id, ()):
            unmatched -= 1
            said[key].append(label)
    matched = {id(label) for found in said.values() for label in found}
    unmatched -= sum(id(label) in matched for found in of_conversation.values() for label in found)
    outcomes, judged, checked, noticed, costs = [], [], set(), set(), {}
    for key, found in said.items():
        if known := [label for label in found if label.source in _BEST_FIRST]:
            outcome = _outcome(key, starts[key], known)
            outcomes.append(outcome)
            costs[outcome] = spent[key]
            checks = {label.ok for label in found if label.source == "check"} - {None}
            if checks:
                checked.add(outcome)
            if False in checks:
                noticed.add(outcome)
        if opinions := [label for label in found if label.source == "judge"]:
            judged.append(_outcome(key, starts[key], opinions))
    began = {key: starts[key].at for key in said}
    return Counted(tuple(outcomes), tuple(judged), frozenset(checked), frozenset(noticed), costs, began, unmatched)


def from_traces(traces: Iterable[Trace], name: str, *, source: Source = "judge", least: float = 1.0) -> list[Outcome]:
    """The scores or feedback of a trace store by this name (Langfuse, LangSmith, ...), as replay's readers tell them:
    one outcome for each conversation and role, for the model that its first call went to.

    True, and a number of `least` or more, is right. A store does not say who gave a score, so a judge's is assumed,
    which certifies nothing; say `source="person"` of scores that people gave.
    """
    found: dict[tuple[str, str | None], Outcome] = {}
    for number, trace in enumerate(traces):
        value = trace.outcomes.get(name)
        if value is None or isinstance(value, str) or not trace.calls:
            continue
        key = (trace.conversation_id or trace.id or f"trace {number}", trace.role or trace.agent)
        score = None if isinstance(value, bool) else float(value)
        ok = value if isinstance(value, bool) else float(value) >= least
        target = trace.calls[0].model
        if key not in found and target is not None:
            found[key] = Outcome(*key, target, ok, score, source, decision_id=trace.id)
    return list(found.values())


def within(found: Counted, since: datetime | None, until: datetime | None) -> Counted:
    """The outcomes of episodes that began from `since` to before `until`."""

    def kept(each: Outcome) -> bool:
        began = found.began[each.episode, each.role]
        return (since is None or began >= since) and (until is None or began < until)

    return replace(
        found,
        outcomes=tuple(filter(kept, found.outcomes)),
        judged=tuple(filter(kept, found.judged)),
        checked=frozenset(filter(kept, found.checked)),
        noticed=frozenset(filter(kept, found.noticed)),
    )


def _by_subject(labels: Iterable[Label]) -> tuple[dict[str, list[Label]], dict[str, list[Label]]]:
    of_step: defaultdict[str, list[Label]] = defaultdict(list)
    of_conversation: defaultdict[str, list[Label]] = defaultdict(list)
    for label in labels:
        if label.decision_id is not None:
            of_step[label.decision_id].append(label)
        elif label.conversation_id is not None:
            of_conversation[label.conversation_id].append(label)
    return dict(of_step), dict(of_conversation)


def _outcome(key: tuple[str, str | None], start: Assignment, labels: Sequence[Label]) -> Outcome:
    whole = [label for label in labels if label.conversation_id is not None] or labels
    source = min((label.source for label in whole), key=_RANK.__getitem__)
    whole = [label for label in whole if label.source == source]
    latest: dict[str | None, Label] = {}
    for label in sorted(whole, key=lambda label: label.at):
        latest[label.name] = label
    verdicts = [label.ok for label in latest.values() if label.ok is not None]
    scores = [label.score for label in latest.values() if label.score is not None]
    return Outcome(
        episode=key[0],
        role=key[1],
        target=start.target,
        ok=all(verdicts) if verdicts else None,
        score=math.fsum(scores) / len(scores) if scores else None,
        source=source,
        at=max(label.at for label in labels),
        decision_id=start.id,
    )


# -- sums --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Result:
    """The outcomes of a role that was assigned to a target. `n` episodes with a verdict, of which `ok` went well: the
    rate lies in `interval` (exact, 95 %). `scored` have a score, `score` is their mean. `judged` and `judged_ok` are
    a judge's episodes, which count nowhere else. `cost` is of the `n` episodes, escalations included (USD, None if
    some of it is unknown)."""

    role: str | None
    target: str
    n: int
    ok: int
    interval: tuple[float, float]
    scored: int
    score: float | None
    judged: int
    judged_ok: int
    cost: Decimal | None

    @property
    def cost_per_success(self) -> Decimal | None:
        return self.cost / self.ok if self.cost is not None and self.ok else None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; money as text."""
        each = self.cost_per_success
        return {
            **{name: getattr(self, name) for name in self.__slots__},
            "interval": list(self.interval),
            "cost": None if self.cost is None else format(self.cost, "f"),
            "cost_per_success": None if each is None else format(each, ".6f"),
        }


def results(found: Counted) -> list[Result]:
    """By role and the target assigned, in the order of their names."""
    groups: defaultdict[tuple[str | None, str], tuple[list[Outcome], list[Outcome]]] = defaultdict(lambda: ([], []))
    for place, outcomes in enumerate((found.outcomes, found.judged)):
        for each in outcomes:
            groups[each.role, each.target][place].append(each)
    keys = sorted(groups, key=lambda key: (key[0] or "", key[1]))
    return [_result(*key, *groups[key], found.costs) for key in keys]


def _result(
    role: str | None,
    target: str,
    mine: list[Outcome],
    opinions: list[Outcome],
    costs: Mapping[Outcome, Decimal | None],
) -> Result:
    decided = [each for each in mine if each.ok is not None]
    scores = [each.score for each in mine if each.score is not None]
    judged = [each for each in opinions if each.ok is not None]
    bills = [costs[each] for each in decided]
    ok = sum(each.ok is True for each in decided)
    return Result(
        role=role,
        target=target,
        n=len(decided),
        ok=ok,
        interval=exact_interval(ok, len(decided)),
        scored=len(scores),
        score=math.fsum(scores) / len(scores) if scores else None,
        judged=len(judged),
        judged_ok=sum(each.ok is True for each in judged),
        cost=None if not bills or None in bills else sum((bill for bill in bills if bill is not None), Decimal(0)),
    )


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """How good a role's checks are, where a person or a benchmark has spoken too: of `failed` episodes a check failed
    at some time in `noticed`; of `succeeded` ones in `alarmed`."""

    role: str | None
    failed: int
    noticed: int
    succeeded: int
    alarmed: int

    @property
    def interval(self) -> tuple[float, float]:
        """Of the share noticed; exact, 95 %."""
        return exact_interval(self.noticed, self.failed)

    def to_dict(self) -> dict[str, Any]:
        return {**{name: getattr(self, name) for name in self.__slots__}, "interval": list(self.interval)}


def sensitivities(found: Counted) -> list[Sensitivity]:
    """By role, for roles with checks of which a person or a benchmark has spoken too."""
    better = [each for each in found.checked if each.source != "check" and each.ok is not None]
    roles = sorted({each.role for each in better}, key=lambda role: role or "")
    return [_sensitivity(role, [each for each in better if each.role == role], found.noticed) for role in roles]


def _sensitivity(role: str | None, mine: Collection[Outcome], noticed: frozenset[Outcome]) -> Sensitivity:
    failed = [each for each in mine if not each.ok]
    succeeded = [each for each in mine if each.ok]
    return Sensitivity(
        role, len(failed), sum(each in noticed for each in failed), len(succeeded), sum(e in noticed for e in succeeded)
    )


def exact_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Where the rate lies of which `successes` of `n` independent ones were seen (Clopper-Pearson, two-sided).

    >>> tuple(round(end, 3) for end in exact_interval(8, 10))
    (0.444, 0.975)
    """
    if n == 0:
        return 0.0, 1.0
    one_sided = (1 + confidence) / 2
    return at_least(successes, n, one_sided), at_most(successes, n, one_sided)
