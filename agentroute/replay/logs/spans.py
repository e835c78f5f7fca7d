"""Spans of any tracer become calls of conversations: who called, in which thread, which tool results had failed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from agentroute.errors import RequestError
from agentroute.messages import ChatRequest, Message, Tool, ToolResult, Usage
from agentroute.replay.records import Outcome, Problem, RecordedCall, Trace

from .fields import ODD, CallFailed, json_of, printable
from .shelf import Shelf
from .thread import reward_of

__all__ = ["Exchange", "Kind", "Span", "Spans"]

Kind: TypeAlias = Literal["call", "agent", "tool", "other"]


@dataclass(frozen=True, slots=True)
class Span:
    """What is light of a span. `at` in seconds; `agent` a name given on the span itself; `failed` what a tool said
    when it failed (`tool_input` tells which call of it); `dead`: a model call without an answer."""

    id: str
    trace: str
    kind: Kind
    name: str = ""
    parent: str | None = None
    at: float | None = None
    agent: str | None = None
    conversation: str | None = None
    call_id: str | None = None
    tool_input: str | None = None
    failed: str | None = None
    dead: str | None = None
    node: str | None = None
    updated: str = ""
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a model call was asked, and what it answered. No messages: the tracer kept no content."""

    messages: Sequence[Message]
    answer: Message | None
    usage: Usage | None
    model: str | None
    id: str | None = None
    tools: tuple[Tool, ...] = ()


class Spans:
    """Keeps spans until all are there, for they come in any order; then reads them trace by trace.

    A thread is what one agent was told: the agents above a call say whose it is (the outermost one goes on from trace
    to trace of a conversation; one below it begins a thread at each start), or the first words of its prompt do.
    """

    def __init__(self, fmt: str, exchange: Callable[[Any], Exchange]) -> None:
        self._format, self._exchange = fmt, exchange
        self._shelf = Shelf()
        self._file = ""
        self._outcomes: dict[str, dict[str, Outcome]] = {}
        self._threads: dict[tuple[str, str], str] = {}

    def put(self, span: Span, heavy: Any, file: str, line: int) -> None:
        """Keeps a span; `heavy` (of a call only) is what `exchange` reads it from. A later one of an id replaces it."""
        self._file = self._file or file
        names = Span.__slots__
        light = {name: value for name in names if (value := getattr(span, name)) not in (None, "", {})}
        self._shelf.put(span.trace, span.at, line, light, heavy if span.kind == "call" else None)

    def label(self, owner: str, name: str, value: Outcome) -> None:
        """An outcome of a trace, span or conversation."""
        self._outcomes.setdefault(owner, {})[printable(name)] = value

    def close(self) -> Iterator[Trace | Problem]:
        """A trace for each answered call."""
        for name in self._shelf.groups():
            rows: dict[str, tuple[int, int, Span]] = {}
            for number, line, light in self._shelf.rows(name):
                span = Span(**light)
                held = rows.get(span.id)
                if held is None or held[2].updated <= span.updated:
                    rows[span.id] = (number, line, span)
            yield from self._calls(rows)
        self._shelf.close()

    def _calls(self, rows: Mapping[str, tuple[int, int, Span]]) -> Iterator[Trace | Problem]:
        spans = {key: span for key, (_, _, span) in rows.items()}
        failures = [span for span in spans.values() if span.kind == "tool" and span.failed is not None]
        conversation = next((span.conversation for span in spans.values() if span.conversation), None)
        outcomes: dict[str, Outcome] = {}
        for owner in (conversation, next((span.trace for span in spans.values()), None), *spans):
            outcomes |= self._outcomes.pop(owner, {}) if owner is not None else {}
        for span in spans.values():
            outcomes |= span.outcomes
        repeated = _repeated(spans)
        for key, (number, line, span) in rows.items():
            if span.kind != "call" or key in repeated:
                continue
            try:
                if span.dead is not None:
                    raise CallFailed(f"the recorded call failed and has no answer: {span.dead}")
                exchange = self._exchange(self._shelf.heavy(number))
                messages = flagged(exchange.messages, failures)
                thread, agent, parent = self._thread(span, spans, conversation, messages)
            except RequestError as error:
                yield Problem(self._file, line, f"{self._format}: {error}", isinstance(error, CallFailed))
                continue
            except ODD as error:
                yield Problem(self._file, line, f"{self._format}: a call of an odd shape ({type(error).__name__})")
                continue
            whole = (*messages, exchange.answer) if exchange.answer is not None else tuple(messages)
            call = RecordedCall(len(messages), exchange.answer, exchange.usage, exchange.model, span.at, exchange.id)
            yield Trace(
                format=self._format,
                request=ChatRequest(whole, tools=exchange.tools),
                calls=(call,),
                whole=False,
                id=key if key.isprintable() else None,
                conversation_id=thread,
                agent=agent,
                node=span.node,
                parent=parent,
                outcomes=outcomes,
                reward=reward_of(outcomes),
            )

    def _thread(
        self, span: Span, spans: Mapping[str, Span], conversation: str | None, messages: Sequence[Message]
    ) -> tuple[str, str | None, str | None]:
        """(thread, agent, the thread above it) of a call."""
        held = span.conversation or conversation or span.trace
        above = list(_agents_above(span, spans))
        agent = span.agent or (above[0].name or above[0].agent if above else None) or None
        if len(above) > 1:
            key = above[0].id
        elif span.agent is not None and above and span.agent not in (above[0].name, above[0].agent):
            key = f"agent {span.agent}"
        else:
            key = f"agent {agent}" if agent else ""
        parent = None
        if len(above) > 1:
            outer = f"agent {above[1].name or above[1].agent}" if len(above) == 2 else above[1].id
            parent = self._threads.get((held, outer), held)
        opening = _opening(messages)
        thread = self._threads.get((held, key)) or (self._threads.get((held, opening)) if opening else None)
        if thread is None:
            taken = any(known[0] == held for known in self._threads)
            thread = f"{held}/{agent or span.id}/{key[-8:]}" if taken else held
        self._threads.setdefault((held, key), thread)
        if opening:
            self._threads.setdefault((held, opening), thread)
        return printable(thread), printable(agent) if agent else None, None if parent == thread else parent


def _agents_above(span: Span, spans: Mapping[str, Span]) -> Iterator[Span]:
    """The agents a span stands in, the nearest first; neighbours of one name are one (an agent and its run)."""
    seen, last = {span.id}, None
    while span.parent is not None and span.parent not in seen and (above := spans.get(span.parent)) is not None:
        seen.add(above.id)
        name = above.name or above.agent
        if above.kind == "agent" and name != last:
            yield above
        if above.kind == "agent":
            last = name
        elif above.kind == "tool":
            last = None
        span = above


def _repeated(spans: Mapping[str, Span]) -> set[str]:
    """Calls that hold other calls: they tell the same once more."""
    found = set()
    for span in spans.values():
        if span.kind == "call":
            seen = {span.id}
            while span.parent is not None and span.parent not in seen and (above := spans.get(span.parent)) is not None:
                seen.add(above.id)
                if above.kind == "call":
                    found.add(above.id)
                if above.kind in ("agent", "tool"):
                    break
                span = above
    return found


def _opening(messages: Sequence[Message]) -> str:
    """What a thread begins with: its system text and first ask. Empty without content."""
    words: list[str] = []
    for message in messages:
        words.append(f"{message.role} {message.text}")
        if message.role == "user":
            return f"opening {hash(tuple(words))}"
    return ""


def flagged(messages: Sequence[Message], failures: Iterable[Span]) -> list[Message]:
    """The messages, with the results marked as errors that the tool's own span says failed."""
    failures = list(failures)
    if not failures:
        return list(messages)
    asked = {call.id: call for message in messages for call in message.tool_calls}
    found = []
    for message in messages:
        if message.role == "tool":
            parts = tuple(
                replace(part, is_error=True)
                if isinstance(part, ToolResult) and part.is_error is not True and _names(failures, part, asked)
                else part
                for part in message.parts
            )
            message = replace(message, parts=parts)
        found.append(message)
    return found


def _names(failures: Iterable[Span], result: ToolResult, asked: Mapping[str, Any]) -> bool:
    call = asked.get(result.tool_call_id)
    for span in failures:
        if span.call_id is not None:
            if span.call_id == result.tool_call_id:
                return True
        elif call is not None and span.name == call.name and span.tool_input is not None:
            if json_of(span.tool_input) == json_of(call.arguments):
                return True
        elif span.failed and span.failed == result.text:
            return True
    return False
