"""Routes recorded steps in order, as a live router would have met them, and adds up what each way to run them costs."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from agentroute.decisions import Constraints, Decision, StepContext, Strategy
from agentroute.errors import ConfigError, NoCandidateError
from agentroute.messages import ChatRequest, Message, Usage
from agentroute.providers import NO_AUDIO
from agentroute.router import Router
from agentroute.routing.affinity import Affinity
from agentroute.routing.caches import is_loop
from agentroute.routing.economics import step_cost
from agentroute.routing.prefix import Prefix
from agentroute.routing.tokens import estimate
from agentroute.targets import Target, Tier

from .conversations import Conversations
from .logs import printable
from .problems import Alike
from .records import Problem, RecordedCall, Trace
from .report import Bill, Explained, Fit, Recorded, ReplayReport, Unsure
from .traces import Traces

__all__ = ["GAP_S", "STRATEGIES", "replay"]

STRATEGIES: tuple[Strategy, ...] = ("cheapest", "balanced", "best")

GAP_S = 10.0
"""Seconds between the steps of a conversation whose trace has no times: a model call and a tool call, both short."""

_OPEN_CONVERSATIONS = 1_000
"""Conversations spread over many lines whose state is kept; an older one that goes on is taken to be cold."""

_MAX_GAP_S = 31_536_000
"""A year: no cache lives that long, and the clock of a long conversation stays within the dates there are."""

_KEPT_REASONS = 5


def replay(
    paths: str | Path | Iterable[str | Path],
    router: Router | None = None,
    *,
    strategies: Sequence[Strategy] = STRATEGIES,
    strategy: Strategy = "balanced",
    fmt: str | None = None,
    limit: int | None = None,
    explain: int | None = None,
    least_sure: int = 10,
    gap_s: float = GAP_S,
    on_progress: Callable[[int, int], None] | None = None,
) -> ReplayReport:
    """Routes every recorded step of the traces, offline, with each strategy, and prices the result.

    Args:
        paths: files, folders or patterns of recorded runs, in any of the formats of docs/replay.md.
        router: its pool, baseline, strategy table and classifier are used; its state is neither read nor written.
            Default: `Router()`, a pool from the provider keys in the environment.
        strategies: the ones to compare; `strategy` is the one whose choices are shown step by step.
        fmt: the name of a format (docs/replay.md), if telling them apart value by value goes wrong.
        limit: stop after that many steps.
        explain: the number of a step (from 1) whose decisions are kept whole.
        least_sure: how many of the least confident steps are listed.
        gap_s: seconds between steps where the traces have no times (it decides which caches are still warm).
        on_progress: called after each line with the bytes read so far and in all.

    Raises:
        ConfigError: a path that is not a file, an unknown format or strategy, an empty pool, a limit, gap or step to
            explain that cannot be. Traces without any step are no error: their report says so.
    """
    names = tuple(dict.fromkeys((*strategies, strategy)))
    paths = [paths] if isinstance(paths, str | Path) else paths
    traces = Traces(paths, fmt=fmt, on_progress=on_progress)
    run = _Run(router or Router(), names, strategy, gap_s=gap_s, limit=limit, explain=explain, n_least_sure=least_sure)
    for file, line, trace in traces:
        if isinstance(trace, Problem):
            run.note_problem(trace)
        else:
            run.trace(f"{file}:{line}", trace)
        if run.done:
            break
    return run.report(tuple(printable(str(path)) for path in traces.paths), tuple(traces.notes))


class _ReplayClock:
    """The time of the step at hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    async def asleep(self, seconds: float) -> None:
        self.seconds += seconds


@dataclass(slots=True)
class _Caches:
    """Which target holds which prefix: after each strategy's own choices, and as if every target had served all."""

    by_strategy: Mapping[str, Affinity]
    everyone: Affinity = field(default_factory=Affinity)
    seconds: float | None = None


@dataclass(slots=True)
class _Tally:
    """A bill while it is being added up."""

    name: str
    steps: int = 0
    list_usd: Decimal = Decimal(0)
    modelled_usd: Decimal = Decimal(0)
    unpriced_steps: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    switches: int = 0
    switch_usd: Decimal = Decimal(0)
    targets: Counter[str] = field(default_factory=Counter)
    tiers: Counter[Tier] = field(default_factory=Counter)
    sufficiency: float = 0.0
    labelled: int = 0
    exact: int = 0
    too_low: int = 0
    unserved: int = 0

    def add(
        self, target: Target, tier: Tier, sufficiency: float, needed: Tier | None, plain: _Priced, cached: _Priced
    ) -> None:
        self.steps += 1
        if plain.usd is None or cached.usd is None:
            self.unpriced_steps += 1
        else:
            self.list_usd += plain.usd
            self.modelled_usd += cached.usd
        self.input_tokens += plain.input_tokens
        self.output_tokens += plain.output_tokens
        self.cached_tokens += cached.cached_tokens
        self.targets[target.name] += 1
        self.tiers[tier] += 1
        self.sufficiency += sufficiency
        if needed is not None:
            self.labelled += 1
            self.exact += tier is needed
            self.too_low += tier < needed

    def bill(self) -> Bill:
        known = self.unpriced_steps == 0
        return Bill(
            name=self.name,
            steps=self.steps,
            list_usd=self.list_usd if known else None,
            modelled_usd=self.modelled_usd if known else None,
            unpriced_steps=self.unpriced_steps,
            input_tokens=self.input_tokens,
            cached_tokens=self.cached_tokens,
            output_tokens=self.output_tokens,
            switches=self.switches,
            switch_usd=self.switch_usd if known else None,
            targets=dict(self.targets.most_common()),
            tiers={tier.value: self.tiers[tier] for tier in Tier if self.tiers[tier]},
            sufficiency=self.sufficiency / self.steps if self.steps else None,
            fit=Fit(self.labelled, self.exact, self.too_low) if self.labelled else None,
            unserved=self.unserved,
        )


@dataclass(frozen=True, slots=True)
class _Priced:
    usd: Decimal | None
    input_tokens: int
    cached_tokens: int
    output_tokens: int


@dataclass(slots=True)
class _Served:
    """What one recorded model did."""

    steps: int = 0
    conversations: int = 0
    rewards: list[float] = field(default_factory=list)


class _Run:
    """One pass over the traces. What it holds does not grow with them: sums, counts, the open conversations."""

    def __init__(
        self,
        router: Router,
        strategies: tuple[Strategy, ...],
        shown: Strategy,
        *,
        gap_s: float,
        limit: int | None,
        explain: int | None,
        n_least_sure: int,
    ) -> None:
        self._constraints: dict[str, Constraints] = {name: Constraints(strategy=name) for name in strategies}
        for name, number in (("explain", explain), ("limit", limit)):
            if number is not None and number < 1:
                raise ConfigError(f"{name} is {number!r}; steps count from 1")
        if not 0 <= gap_s <= _MAX_GAP_S:
            raise ConfigError(f"the gap is {gap_s!r}; give seconds from 0 to {_MAX_GAP_S:,}")
        self._clock = _ReplayClock()
        ids = itertools.count(1)
        # A router of our own: the caller's remembers live conversations, and this one must begin with none.
        self._router = Router(
            targets=router.pool,
            baseline=router.baseline.name,
            table=router.table,
            classifier=router.classifier,
            clock=self._clock,
            new_id=lambda: f"replay-{next(ids)}",
        )
        self._pool = self._router.pool
        self._shown = shown
        self._gap_s = gap_s
        self._limit = limit
        self._explain = explain
        self._n_least_sure = n_least_sure
        self._open: OrderedDict[str | None, _Caches] = OrderedDict()
        self._tallies: dict[str, _Tally] = {name: _Tally(name) for name in strategies}
        self._singles = {target.name: _Tally(target.name) for target in self._pool}
        self._by_kind: defaultdict[str, Counter[Tier]] = defaultdict(Counter)
        self._by_task: defaultdict[str, Counter[Tier]] = defaultdict(Counter)
        self._formats: Counter[str] = Counter()
        self._served: defaultdict[str, _Served] = defaultdict(_Served)
        self._least_sure: list[tuple[float, int, Unsure]] = []
        self._problems = Alike()
        self._conversations = Conversations()
        self._reasons: list[str] = []
        self._explained: Explained | None = None
        self._steps = self._greetings = 0
        self._measured = self._timed = self._unroutable = 0

    @property
    def done(self) -> bool:
        return self._limit is not None and self._steps >= self._limit

    def note_problem(self, problem: Problem) -> None:
        self._problems.note(problem)

    def trace(self, place: str, trace: Trace) -> None:
        """Routes the calls of a trace."""
        caches = self._caches(trace)
        self._formats[trace.format] += 1
        self._greetings += trace.greetings
        if trace.whole:
            self._conversations.number(trace, lambda: Prefix.of(trace.request.messages))
        context = StepContext(
            conversation_id=trace.conversation_id or (trace.id if trace.whole else None),
            agent=trace.agent,
            role=trace.role,
            node=trace.node,
        )
        for position, call in enumerate(trace.calls, 1):
            if self.done:
                break
            where = place if len(trace.calls) == 1 else f"{place} step {position}"
            if trace.id is not None and not trace.whole:
                where = f"{where} ({trace.id})"
            self._step(where, trace, call, context, caches)
        for model in {call.model for call in trace.calls if call.model is not None} if trace.whole else ():
            served = self._served[model]
            served.conversations += 1
            if trace.reward is not None:
                served.rewards.append(trace.reward)

    def _caches(self, trace: Trace) -> _Caches:
        """A conversation of its own, and a lone step, begin cold; logged calls meet what earlier lines left."""
        if trace.format == "steps" or (trace.whole and not trace.part):
            caches = self._cold()
            if trace.whole and trace.conversation_id is not None:
                self._keep(trace.conversation_id, caches)
            return caches
        key = trace.conversation_id
        held = self._open.get(key)
        if held is None:
            held = self._cold()
            self._keep(key, held)
        else:
            self._open.move_to_end(key)
        return held

    def _keep(self, key: str | None, caches: _Caches) -> None:
        self._open[key] = caches
        if len(self._open) > _OPEN_CONVERSATIONS:
            self._open.popitem(last=False)

    def _cold(self) -> _Caches:
        return _Caches({name: Affinity() for name in self._tallies})

    def _step(self, place: str, trace: Trace, call: RecordedCall, context: StepContext, caches: _Caches) -> None:
        messages = trace.request.messages
        if not call.n_messages:
            self._unroutable += 1
            if len(self._reasons) < _KEPT_REASONS:
                self._reasons.append(f"{place}: the log does not hold its prompt")
            return
        request = trace.request if call.n_messages == len(messages) else _cut(trace.request, call.n_messages)
        now = self._advance(call, caches)
        look = self._router.look(request, context)
        prefix = look.prefix
        recall = caches.everyone.recall(prefix, self._pool, now)
        if not trace.whole:
            self._conversations.number(trace, lambda: prefix)

        decisions: dict[str, Decision] = {}
        try:
            for name, constraints in self._constraints.items():
                self._router.affinity = caches.by_strategy[name]
                decisions[name] = self._router.decided(look, constraints).decision
        except NoCandidateError as error:
            self._unroutable += 1
            if len(self._reasons) < _KEPT_REASONS:
                self._reasons.append(f"{place}: {error}")
            return
        self._steps += 1

        shown = decisions[self._shown]
        recorded = call.usage or Usage()
        self._measured += recorded.input_tokens is not None and recorded.output_tokens is not None
        self._timed += call.at is not None
        if call.model is not None:
            self._served[call.model].steps += 1
        n_in = recorded.input_tokens
        if n_in is None:
            n_in = estimate(prefix, recall.anchor).input_tokens
        n_out = recorded.output_tokens
        if n_out is None:
            n_out = _answer_tokens(call.answer) or shown.estimated_usage.output_tokens or 0
        used = Usage(n_in, n_out)

        loop = is_loop(request)
        plain = {target.name: _priced(target, used) for target in self._pool}
        warmest = {target.name: _cached(target, used, recall.warm.get(target.name, 0), loop) for target in self._pool}
        for name, decision in decisions.items():
            target = self._pool[decision.target]
            affinity = caches.by_strategy[name]
            held = affinity.recall(prefix, (target,), now)
            cached = _cached(target, used, held.warm.get(target.name, 0), loop)
            tally = self._tallies[name]
            likely = decision.sufficiency[decision.tier.value]
            tally.add(target, decision.tier, likely, trace.needed, plain[target.name], cached)
            if held.last_target is not None and held.last_target != target.name:
                tally.switches += 1
                stayed = warmest[target.name].usd
                if cached.usd is not None and stayed is not None:
                    tally.switch_usd += cached.usd - stayed
            self._router.affinity = affinity
            # What another model counted as cached says nothing here: the prompt's size does.
            counted = None if call.usage is None else Usage(call.usage.prompt_tokens, recorded.output_tokens)
            self._router.observe(prefix, target.name, counted, used, request=request, decision=decision)
        for target in self._pool:
            tier = target.tier
            assert tier is not None
            tally = self._singles[target.name]
            likely = shown.sufficiency[tier.value]
            tally.add(target, tier, likely, trace.needed, plain[target.name], warmest[target.name])
            tally.unserved += _cannot_serve(target, request, prefix, n_in + n_out)
            caches.everyone.record(prefix, target, n_in, now, counted=recorded.input_tokens is not None)
        self._note(place, trace, shown, decisions)

    def _advance(self, call: RecordedCall, caches: _Caches) -> float:
        """Sets the clock to the step's recorded time, else a gap after the step before."""
        before = caches.seconds
        if call.at is not None:
            now = call.at if before is None else max(call.at, before)
        else:
            now = 0.0 if before is None else before + self._gap_s
        caches.seconds = self._clock.seconds = now
        return now

    def _note(self, place: str, trace: Trace, shown: Decision, decisions: Mapping[str, Decision]) -> None:
        self._by_kind[shown.step_kind.value][shown.tier] += 1
        self._by_task[shown.task.value][shown.tier] += 1
        if self._steps == self._explain:
            self._explained = Explained(self._steps, place, dict(decisions))
        key = (-shown.confidence, -self._steps)
        if self._n_least_sure and (len(self._least_sure) < self._n_least_sure or key > self._least_sure[0][:2]):
            unsure = Unsure(
                step=self._steps,
                place=place,
                confidence=shown.confidence,
                step_kind=shown.step_kind.value,
                task=shown.task.value,
                target=shown.target,
                needed=trace.needed.value if trace.needed else None,
            )
            push = heapq.heappush if len(self._least_sure) < self._n_least_sure else heapq.heapreplace
            push(self._least_sure, (*key, unsure))

    def report(self, files: tuple[str, ...], notes: tuple[str, ...]) -> ReplayReport:
        if self._explain is not None and self._explained is None and self._steps:
            raise ConfigError(f"there is no step {self._explain} to explain; {self._steps:,} were routed")
        strategies: dict[str, Bill] = {name: tally.bill() for name, tally in self._tallies.items()}
        singles = {name: tally.bill() for name, tally in self._singles.items()}
        least_sure = sorted(self._least_sure, key=lambda entry: entry[:2], reverse=True)
        dominated = (f"{pair.target} costs no less and can do no more than {pair.by}" for pair in self._pool.dominated)
        return ReplayReport(
            files=files,
            formats=dict(self._formats),
            conversations=self._conversations.total,
            steps=self._steps,
            greetings=self._greetings,
            measured=self._measured,
            timed=self._timed,
            gap_s=self._gap_s,
            malformed=self._problems.total,
            problems=tuple(self._problems.kept),
            alike=self._problems.sentence(self._steps),
            unroutable=self._unroutable,
            unroutable_reasons=tuple(self._reasons),
            recorded=tuple(
                Recorded(
                    model=model,
                    steps=served.steps,
                    conversations=served.conversations,
                    mean_reward=sum(served.rewards) / len(served.rewards) if served.rewards else None,
                )
                for model, served in sorted(self._served.items())
            ),
            pool=tuple(self._pool),
            baseline=self._router.baseline.name,
            policy_version=self._router.policy_version,
            strategy=self._shown,
            by_kind=_by_size(self._by_kind),
            by_task=_by_size(self._by_task),
            strategies=strategies,
            singles=singles,
            best_single=_best_single(strategies[self._shown], singles.values()),
            least_sure=tuple(entry for _, _, entry in least_sure),
            explained=self._explained,
            notes=(*notes, *dominated),
        )


def _cut(request: ChatRequest, n_messages: int) -> ChatRequest:
    return replace(request, messages=request.messages[:n_messages])


def _priced(target: Target, used: Usage) -> _Priced:
    usd = None if target.price is None else target.price.cost(used)
    return _Priced(usd, used.input_tokens or 0, 0, used.output_tokens or 0)


def _cached(target: Target, used: Usage, warm_tokens: int, loop: bool) -> _Priced:
    cost = step_cost(target, used.input_tokens or 0, used.output_tokens or 0, warm_tokens, loop=loop)
    return _Priced(cost.cost, used.input_tokens or 0, cost.cached_tokens, used.output_tokens or 0)


def _answer_tokens(answer: Message | None) -> int | None:
    return None if answer is None else estimate(Prefix.of((answer,))).input_tokens


def _cannot_serve(target: Target, request: ChatRequest, prefix: Prefix, tokens: int) -> bool:
    can = target.capabilities
    return (
        (target.context_window is not None and tokens > target.context_window)
        or (can.tools is False and bool(request.tools))
        or (can.vision is False and prefix.whole.bulk.images > 0)
        or (can.documents is False and prefix.whole.bulk.documents > 0)
        or (prefix.whole.bulk.recordings > 0 and (can.audio is False or target.dialect in NO_AUDIO))
    )


def _by_size(table: Mapping[str, Counter[Tier]]) -> dict[str, dict[str, int]]:
    ordered = sorted(table.items(), key=lambda item: (-item[1].total(), item[0]))
    return {name: {tier.value: tiers[tier] for tier in Tier if tiers[tier]} for name, tiers in ordered}


def _best_single(routed: Bill, singles: Iterable[Bill]) -> str | None:
    """The cheapest target that, serving every step, is at least as good as the routing it is compared with.

    Good is the share of steps with a sufficient tier where the traces know it, else the mean predicted sufficiency.
    """
    able = [bill for bill in singles if bill.modelled_usd is not None and bill.steps and not bill.unserved]
    as_good = [bill for bill in able if _goodness(bill) >= _goodness(routed)]
    if not as_good:
        return None
    return min(as_good, key=lambda bill: bill.modelled_usd or Decimal(0)).name


def _goodness(bill: Bill) -> float:
    return bill.fit.sufficient / bill.fit.steps if bill.fit else bill.sufficiency or 0.0
