"""Which recorded steps are asked again: a few of each role and kind, from as many conversations as there are."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from agentroute.decisions import StepContext
from agentroute.messages import ChatRequest, Message
from agentroute.replay.records import Problem
from agentroute.replay.traces import Traces
from agentroute.routing.profiles import form_of
from agentroute.routing.roles import fingerprint
from agentroute.routing.step import Step

__all__ = ["Sample", "Sampled", "sampled"]


@dataclass(frozen=True, slots=True)
class Sample:
    """A recorded step: what was asked and what was answered, by which model (None if the log does not tell)."""

    conversation: str
    role: str
    kind: str
    form: str
    request: ChatRequest
    answer: Message
    model: str | None


@dataclass(frozen=True, slots=True)
class Sampled:
    """`steps` recorded ones with an answer were read, in `conversations`; `models` are those that served them."""

    samples: tuple[Sample, ...]
    steps: int
    conversations: int
    models: frozenset[str]
    problems: tuple[Problem, ...]


def sampled(paths: Iterable[str | Path], per_cell: int = 40, *, of: str | None = None) -> Sampled:
    """Up to `per_cell` steps of each role and kind: the first of every conversation before the second of any, and the
    same ones each time. `of`: only steps that this model served (reverse shadow).

    Raises ConfigError for a path that is nothing to read.
    """
    held: dict[tuple[str, str], list[tuple[int, int, int, Sample]]] = {}
    taken: Counter[tuple[str, str, str]] = Counter()
    conversations: set[str] = set()
    models: set[str] = set()
    problems: list[Problem] = []
    steps = 0
    for file, line, trace in Traces(paths):
        if isinstance(trace, Problem):
            if len(problems) < 5:
                problems.append(trace)
            continue
        name = trace.conversation_id or trace.id or f"{file}:{line}"
        if trace.part:
            name += f"/{trace.part}"
        for call in trace.calls:
            if call.answer is None or not call.n_messages or (of is not None and call.model != of):
                continue
            request = replace(trace.request, messages=trace.request.messages[: call.n_messages])
            context = StepContext(agent=trace.agent, role=trace.role, node=trace.node)
            step = Step.of(request, context)
            role = trace.role or trace.agent or fingerprint(request) or "?"
            steps += 1
            conversations.add(name)
            if call.model is not None:
                models.add(call.model)
            cell = (role, step.kind.value)
            taken[(*cell, name)] += 1
            nth, luck = taken[(*cell, name)], _luck(f"{name}/{call.n_messages}")
            heap = held.setdefault(cell, [])
            # The largest first, so that a full cell gives up its last choice.
            entry = (-nth, -luck, steps)
            if len(heap) < per_cell or entry > heap[0][:3]:
                one = Sample(name, role, step.kind.value, form_of(step), request, call.answer, call.model)
                (heapq.heappush if len(heap) < per_cell else heapq.heapreplace)(heap, (*entry, one))
    found = [each[3] for cell in sorted(held) for each in sorted(held[cell], key=lambda e: (-e[0], -e[1]))]
    return Sampled(tuple(found), steps, len(conversations), frozenset(models), tuple(problems))


def _luck(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
