"""What a line of a log holds once it is read: a trace of recorded calls, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from agentroute.messages import ChatRequest, Message, Usage
from agentroute.targets import Tier

__all__ = ["LogFormat", "Problem", "RecordedCall", "Trace"]

LogFormat: TypeAlias = Literal["openai", "anthropic", "tau2", "steps"]


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One recorded model call: its request is the first `n_messages` messages of the trace.

    `answer` and `usage` are what was recorded, or None; `at` is in seconds since the epoch.
    """

    n_messages: int
    answer: Message | None = None
    usage: Usage | None = None
    model: str | None = None
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Trace:
    """What one line holds. `request` has all messages (those of a call come first); it never names a model.

    A `whole` conversation stands on its own line; else the line is one call, and `conversation_id` (the recorder's own,
    None where the line names none) ties it to others. `needed` is the cheapest tier known to suffice; `greetings`
    counts canned assistant messages that no model wrote; `reward` is the outcome of the recorded run.
    """

    format: LogFormat
    request: ChatRequest
    calls: tuple[RecordedCall, ...]
    whole: bool
    id: str | None = None
    conversation_id: str | None = None
    agent: str | None = None
    role: str | None = None
    node: str | None = None
    needed: Tier | None = None
    greetings: int = 0
    reward: float | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """A line (counted from 1) that gave no step, and why."""

    file: str
    line: int
    reason: str
