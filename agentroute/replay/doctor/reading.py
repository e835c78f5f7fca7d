"""Reads traces for the doctor: each recorded call as numbers, in its conversation."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from agentroute.decisions import Decision
from agentroute.errors import ConfigError
from agentroute.messages import ChatRequest, Message
from agentroute.replay.ledgers import holds_decisions, recorded_in
from agentroute.replay.logs import printable
from agentroute.replay.problems import Alike
from agentroute.replay.records import Problem, RecordedCall, Trace
from agentroute.replay.traces import Traces
from agentroute.routing.caches import is_loop
from agentroute.routing.prefix import Prefix
from agentroute.routing.roles import fingerprint
from agentroute.routing.tokens import Anchor, estimate
from agentroute.targets import Pool

from .examine import Examination
from .findings import DoctorReport
from .models import Models
from .seen import Call, State
from .shapes import Shape
from .threads import Threads

__all__ = ["GAP_S", "doctor"]

GAP_S = 10.0
"""Seconds between the calls of a conversation whose trace has no times: a model call and a tool call, both short."""

_OPEN = 1_000
"""Conversations spread over several values of a log that are kept, until they go on."""


def doctor(
    paths: str | Path | Iterable[str | Path],
    pool: Pool | None = None,
    *,
    fmt: str | None = None,
    gap_s: float = GAP_S,
    on_progress: Callable[[int, int], None] | None = None,
) -> DoctorReport:
    """Finds where the prompt caches of recorded agents broke, and what that and other habits cost.

    Args:
        paths: files, folders or patterns of recorded runs, in any of the formats of docs/replay.md; ledgers.
        pool: targets by which recorded model names are known, and that the traffic is priced on, beside the recorded
            models. Names that it does not have are looked up in the catalog.
        fmt: the name of a format (docs/replay.md), if telling them apart value by value goes wrong.
        gap_s: seconds between calls where the traces have no times.
        on_progress: called with the bytes read so far and in all.

    Raises:
        ConfigError: a path that is nothing to read, an unknown format, a gap that cannot be. Traces without any step
            are no error: their report says so.
    """
    if not 0 <= gap_s <= 31_536_000:
        raise ConfigError(f"the gap is {gap_s!r}; give seconds from 0 to 31,536,000")
    named = [paths] if isinstance(paths, str | Path) else list(paths)
    ledgers = [path for path in map(Path, named) if path.is_file() and holds_decisions(path)]
    others = [path for path in map(Path, named) if path not in ledgers]
    reading = _Reading(pool, gap_s)
    problems = Alike()
    for path in ledgers:
        for found, _ in recorded_in(path):
            if isinstance(found, Problem):
                problems.note(found)
            else:
                reading.decision(printable(path.name), found)
    notes: dict[str, None] = {}
    if others or not ledgers:
        traces = Traces(others, fmt=fmt, on_progress=on_progress)
        for file, line, trace in traces:
            if isinstance(trace, Problem):
                problems.note(trace)
            else:
                reading.trace(f"{file}:{line}", trace)
        notes = traces.notes
    return reading.examination.report(
        tuple(printable(str(path)) for path in named),
        malformed=problems.total,
        problems=tuple(problems.kept),
        alike=problems.sentence(reading.examination.steps),
        notes=tuple(notes),
    )


_NO_AGENT = "(no agent)"


class _Reading:
    """Ties calls to conversations, and counts their tokens where the log does not."""

    def __init__(self, pool: Pool | None, gap_s: float) -> None:
        self.examination = Examination({} if pool is None else {target.name: target for target in pool}, gap_s=gap_s)
        self._models = Models(pool)
        self._threads = Threads(self.examination.begin)
        self._sketches: dict[int, int] = {}
        self._whole: OrderedDict[str, State] = OrderedDict()

    def trace(self, place: str, trace: Trace) -> None:
        """Looks at the calls of a trace."""
        anchor: Anchor | None = None
        state = self._begun(trace) if trace.whole else None
        scope = trace.conversation_id, trace.agent or trace.role or trace.node
        for position, recorded in enumerate(trace.calls, 1):
            if not recorded.n_messages:
                continue
            messages = trace.request.messages[: recorded.n_messages]
            request = replace(trace.request, messages=messages)
            prefix = Prefix.of_request(request)
            where = place if len(trace.calls) == 1 else f"{place} step {position}"
            before = self._threads.state(scope, request, prefix) if state is None else state
            agent = before.agent or _agent(trace)
            call = self._call(where, agent, trace, recorded, request, prefix, anchor)
            counted = recorded.usage is not None and recorded.usage.prompt_tokens is not None
            anchor = Anchor(call.input_tokens, prefix.whole.bulk) if counted else anchor
            after = self.examination.step(before, call)
            if state is None:
                self._threads.keep(scope, request, prefix, after)
            else:
                state = after
        if state is not None:
            self._keep(trace.conversation_id, state)

    def decision(self, place: str, decision: Decision) -> None:
        """Looks at a step of a ledger. What broke there, its router has told; a step without an answer has no cache."""
        usage, context = decision.usage, decision.context
        if decision.outcome != "ok" or usage is None or usage.input_tokens is None or usage.output_tokens is None:
            return
        agent = context.agent or context.role or context.node or _NO_AGENT
        name = None if context.conversation_id is None else f"{agent}\n{context.conversation_id}"
        state = None if name is None else self._whole.get(name)
        call = Call(
            place=f"{place}: {decision.id}",
            agent=agent,
            model=decision.target,
            target=self._models.named(decision.target),
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            at=decision.created_at.timestamp(),
            usage=usage,
            known=decision.cache_broken,
            routed=True,
            tied=name is not None,
            paid=decision.cost,
        )
        self._keep(name, self.examination.step(state or self.examination.begin(), call))

    def _keep(self, name: str | None, state: State) -> None:
        if name is None:
            return
        self._whole[name] = state
        self._whole.move_to_end(name)
        if len(self._whole) > _OPEN:
            self._whole.popitem(last=False)

    def _begun(self, trace: Trace) -> State:
        """A conversation that was compacted goes on under its id, with nothing of it in any cache."""
        known = self._whole.get(trace.conversation_id or "") if trace.part else None
        return self.examination.begin() if known is None else replace(known, held={}, last_model=None, last_tokens=0)

    def _call(
        self,
        place: str,
        agent: str,
        trace: Trace,
        recorded: RecordedCall,
        request: ChatRequest,
        prefix: Prefix,
        anchor: Anchor | None,
    ) -> Call:
        usage = recorded.usage
        prompt = None if usage is None else usage.input_tokens
        output = None if usage is None else usage.output_tokens
        if prompt is None or output is None:
            usage = None
        target = self._models.named(recorded.model)
        return Call(
            place=place,
            agent=agent,
            model=target.name if target is not None else recorded.model or "(no model)",
            target=target,
            input_tokens=estimate(prefix, anchor).input_tokens if prompt is None else prompt,
            output_tokens=_answer_tokens(recorded.answer) if output is None else output,
            at=recorded.at,
            usage=usage,
            asked=trace.asked,
            shape=None if trace.whole else Shape.of(_as_logged(trace, request), self._sketches),
            loop=is_loop(request),
            turn=bool(request.messages) and request.messages[-1].role == "user",
        )


def _as_logged(trace: Trace, request: ChatRequest) -> ChatRequest:
    """The request without tools if the log does not say which were offered."""
    return replace(request, tools=()) if trace.tools_inferred else request


def _agent(trace: Trace) -> str:
    """Who asks: by the name that the log gives, else by its system prompt and tools, else what wrote the log."""
    request = _as_logged(trace, trace.request)
    return trace.agent or trace.role or trace.node or fingerprint(request) or trace.format


def _answer_tokens(answer: Message | None) -> int:
    return 0 if answer is None else estimate(Prefix.of((answer,))).input_tokens
