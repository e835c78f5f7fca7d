"""A conversation while it is read, message by message: each answer of the model is a call, a compaction a new part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from agentroute.messages import ChatRequest, Message, Tool, Usage
from agentroute.replay.records import Outcome, RecordedCall, Trace

__all__ = ["Thread", "reward_of"]


class Thread:
    """Gathers one conversation. `trace()` gives what was gathered since the last one, if there is a call in it."""

    def __init__(
        self,
        fmt: str,
        conversation_id: str | None,
        *,
        agent: str | None = None,
        parent: str | None = None,
    ) -> None:
        self.format = fmt
        self.conversation_id = conversation_id
        self.agent = agent
        self.parent = parent
        self.tools: tuple[Tool, ...] = ()
        self.messages: list[Message] = []
        self.outcomes: dict[str, Outcome] = {}
        self.failed_results = 0
        self.size = 0
        self._calls: list[RecordedCall] = []
        self._part = self._greetings = 0

    def add(self, messages: Iterable[Message]) -> None:
        """What the model will see next."""
        for message in messages:
            self.messages.append(message)
            self.size += 100 + len(message.text) + sum(len(result.text) for result in message.tool_results)

    def answer(
        self,
        message: Message,
        usage: Usage | None = None,
        model: str | None = None,
        at: float | None = None,
        answer_id: str | None = None,
    ) -> None:
        """What the model said to all that was added so far. Said to nothing, it is a greeting that no model wrote."""
        if self.messages:
            self._calls.append(RecordedCall(len(self.messages), message, usage, model, at, answer_id))
        else:
            self._greetings += 1
        self.add([message])

    def measure(self, usage: Usage | None, answer_id: str | None = None) -> bool:
        """Gives the last answer its usage and id, if it has none yet; False if there is no such answer."""
        if not self._calls or usage is None or self._calls[-1].usage is not None:
            return False
        last = self._calls[-1]
        self._calls[-1] = replace(last, usage=usage, id=answer_id or last.id)
        return True

    @property
    def answered(self) -> int:
        """How many answers the part at hand holds."""
        return len(self._calls)

    def restart(self, messages: Iterable[Message]) -> Iterator[Trace]:
        """The prompt begins anew with these messages: what was gathered so far is a part of its own."""
        yield from self.trace()
        self.messages, self.size = [], 0
        self.add(messages)

    def trace(self) -> Iterator[Trace]:
        """The part gathered so far; none without a call."""
        if not self._calls:
            return
        yield Trace(
            format=self.format,
            request=ChatRequest(tuple(self.messages), tools=self.tools),
            calls=tuple(self._calls),
            whole=True,
            id=self.conversation_id,
            conversation_id=self.conversation_id,
            agent=self.agent,
            greetings=self._greetings,
            reward=reward_of(self.outcomes),
            part=self._part,
            parent=self.parent,
            outcomes=dict(self.outcomes),
            failed_results=self.failed_results,
        )
        self._part += 1
        self._calls, self._greetings, self.failed_results = [], 0, 0


def reward_of(outcomes: Mapping[str, Outcome]) -> float | None:
    """The one number among the outcomes; None if there is none, or no telling which."""
    numbers = [float(value) for value in outcomes.values() if isinstance(value, int | float)]
    return numbers[0] if len(numbers) == 1 else None
