"""What a log holds once it is read: traces of recorded calls, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from agentroute.messages import ChatRequest, Message, Usage
from agentroute.targets import Tier

__all__ = ["Asked", "Outcome", "Problem", "RecordedCall", "Trace"]

Outcome: TypeAlias = float | bool | str
"""A score, a reward or an exit state, as it was recorded."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a recorded request body says beside its messages that bears on its model's prompt cache.

    `reasoning` is its reasoning setting as text, None without one. `markers` counts the blocks with a `cache_control`:
    whether one stands on tools or system (`head`), on one of the last two messages (`end`), and whether any asks for an
    `hour`.
    """

    reasoning: str | None = None
    markers: int = 0
    head: bool = False
    end: bool = False
    hour: bool = False


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One recorded model call: its request is the first `n_messages` messages of the trace (0: it was not recorded).

    `answer` and `usage` are what was recorded, or None; `at` is in seconds since the epoch; `id` is the answer's own,
    by which the same answer is known again if it stands in a log twice.
    """

    n_messages: int
    answer: Message | None = None
    usage: Usage | None = None
    model: str | None = None
    at: float | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Trace:
    """Calls whose prompts grow out of each other. `request` has all messages (those of a call come first); it never
    names a model.

    A `whole` trace is a conversation of its own; else it is one call, and `conversation_id` (the recorder's own, None
    if there is none) ties it to others. A conversation that was compacted is several traces: `part` counts them, from
    0. `parent` is the conversation that started this one (a sub-agent's). `needed` is the cheapest tier known to
    suffice; `greetings` counts canned assistant messages that no model wrote; `outcomes` are the recorder's labels,
    and `reward` the one number among them that says how the run ended. `tools_inferred`: the tools were not recorded,
    and are those that were called. `failed_results` counts failures that the log tells outside its messages.
    """

    format: str
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
    part: int = 0
    parent: str | None = None
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)
    tools_inferred: bool = False
    failed_results: int = 0
    asked: Asked | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """A line (from 1) that gave no step, and why. `failed_call`: it was read, and tells of a call that failed."""

    file: str
    line: int
    reason: str
    failed_call: bool = False
