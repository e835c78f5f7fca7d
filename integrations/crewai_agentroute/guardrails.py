"""What CrewAI's guardrails say of an answer, as outcomes of the step that gave it, if the router's checks want it."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict, deque
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from crewai.events.event_bus import crewai_event_bus
from crewai.events.types.llm_guardrail_events import LLMGuardrailCompletedEvent

from agentroute import Decision, Router
from agentroute.failover.forks import renew_in_child

__all__ = ["answered_by"]

_REMEMBERED: Final = 4096
_JUDGES: Final = frozenset({"llm", "hallucination"})
"""Kinds of guardrail that ask a model (crewai 1.15)."""


_LATE: Final = 8
"""Answers of one task and agent that are told apart: CrewAI tells events in threads, so a guardrail may be heard after
the next try has ended."""


class _Answer(NamedTuple):
    at: datetime
    router: weakref.ref[Router]
    decision_id: str


class _Answers:
    """The step that last answered for each task and agent. CrewAI tells the guardrail's task and role, not its step."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str | None], deque[_Answer]] = OrderedDict()
        self.begin_anew()
        renew_in_child(self)

    def begin_anew(self) -> None:
        """For a forked child: another thread of its parent may have held the lock."""
        self._lock = threading.Lock()

    def note(self, router: Router, decision: Decision) -> None:
        conversation = decision.context.conversation_id
        if conversation is None:
            return
        key = conversation.partition("@")[0], decision.context.role
        with self._lock:
            self._known.setdefault(key, deque(maxlen=_LATE)).append(
                _Answer(datetime.now(UTC), weakref.ref(router), decision.id)
            )
            self._known.move_to_end(key)
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)

    def heard(self, event: LLMGuardrailCompletedEvent) -> None:
        with self._lock:
            known = tuple(self._known.get((event.task_id or "", event.agent_role), ()))
        told = event.timestamp if event.timestamp.tzinfo else event.timestamp.astimezone()
        answer = next((each for each in reversed(known) if each.at <= told), None)
        router = None if answer is None else answer.router()
        if router is None or answer is None:
            return
        judged = event.guardrail_type in _JUDGES
        name = f"guardrail:{event.guardrail_name or 'guardrail'}"[:256]
        router.outcome(answer.decision_id, ok=event.success, source="judge" if judged else "check", name=name)


_answers = _Answers()


@crewai_event_bus.on(LLMGuardrailCompletedEvent)
def _heard(_: Any, event: LLMGuardrailCompletedEvent) -> None:
    _answers.heard(event)


def answered_by(router: Router, decision: Decision) -> None:
    """Notes the step, so that a guardrail that is heard next speaks of it."""
    if router.checks is not None and router.checks.guardrails and decision.context.node != "guardrail":
        _answers.note(router, decision)
