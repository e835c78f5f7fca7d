"""What CrewAI's event bus hears of a routed call, and where an event keeps the decision behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from crewai.events.event_bus import crewai_event_bus
from crewai.events.types.llm_events import (
    LLMCallCompletedEvent,
    LLMCallFailedEvent,
    LLMCallStartedEvent,
    LLMCallType,
    LLMEventBase,
)
from crewai.utilities.serialization import to_serializable

from agentroute import Decision, Notice
from agentroute.events import Event, ReasoningDelta, Started, TextDelta, ToolCallDelta, ToolCallStarted

from .context import iteration_of
from .requests import Asked

if TYPE_CHECKING:
    from .llm import RoutedLLM

__all__ = ["Announcer", "RoutedNoticeEvent", "RoutedStepEvent", "decision_of"]

_KEY = "agentroute"


class RoutedStepEvent(LLMEventBase):
    """A routed call has ended, well or badly. `decision` is its record (`decision_of` reads it).

    Sent once for each call, whichever targets were tried. `model` is that of the target which served it; `iteration`
    the round of the agent's loop, from 0, where there is one.
    """

    type: Literal["agentroute_step"] = "agentroute_step"
    decision: dict[str, Any]
    iteration: int | None = None


class RoutedNoticeEvent(LLMEventBase):
    """Something that somebody should be told of a routed call: the fields of an agentroute Notice."""

    type: Literal["agentroute_notice"] = "agentroute_notice"
    kind: str
    message: str
    remedy: str
    decision_id: str
    target: str | None = None
    agent: str | None = None
    conversation_id: str | None = None
    usd: str | None = None


def decision_of(told: Any) -> Decision | None:
    """The decision behind an event of a routed call or behind the error that it raised, or None.

    Of CrewAI's own events only those of our own wire targets carry it (`LLMCallCompletedEvent`, `LLMCallFailedEvent`);
    a `RoutedStepEvent` comes in every case. Raises ConfigError for a record of another version of agentroute.
    """
    record = getattr(told, "decision", None)
    if record is None:
        record = (getattr(told, "fingerprint_metadata", None) or {}).get(_KEY)
    return Decision.from_dict(record) if isinstance(record, Mapping) else record


def _plain(value: Any) -> Any:
    return to_serializable(value)


class Announcer:
    """Tells the bus of one call. Wire targets share one pair of started and completed (or failed) events, in which a
    fallback does not show; a native LLM tells of its own call itself, so a pair that is open is closed before it.
    """

    def __init__(self, llm: RoutedLLM, asked: Asked, call_id: str) -> None:
        self._llm = llm
        self._asked = asked
        self._call_id = call_id
        self._open = False
        self._response_id: str | None = None
        self._calls: dict[int, dict[str, Any]] = {}
        self.told = False

    def _who(self, model: str) -> dict[str, Any]:
        asked = self._asked
        who = {"from_task": asked.from_task, "from_agent": asked.from_agent}
        return {**who, "model": model, "call_id": self._call_id}

    def started(self, model: str) -> None:
        if self._open:
            return
        self._open = self.told = True
        llm, asked = self._llm, self._asked
        crewai_event_bus.emit(
            llm,
            LLMCallStartedEvent(
                **self._who(model),
                messages=_plain(asked.messages),
                tools=_plain(asked.tools),
                callbacks=asked.callbacks,
                available_functions=asked.available_functions,
                temperature=llm.temperature,
                top_p=llm.top_p,
                max_tokens=llm.max_tokens,
                stream=llm._effective_stream(),
                seed=llm.seed,
                stop_sequences=llm.stop_sequences or None,
                frequency_penalty=llm.frequency_penalty,
                presence_penalty=llm.presence_penalty,
                n=llm.n,
            ),
        )

    def given_over(self, error: str) -> None:
        """The next attempt is a native LLM's."""
        self.told = True
        if self._open:
            self.failed(error, "agentroute")

    def completed(
        self,
        response: Any,
        call_type: LLMCallType,
        model: str,
        decision: Decision,
        usage: dict[str, Any] | None = None,
        finish_reason: str | None = None,
    ) -> None:
        if not self._open:
            return
        self._open = False
        crewai_event_bus.emit(
            self._llm,
            LLMCallCompletedEvent(
                **self._who(model),
                messages=_plain(self._asked.messages),
                response=_plain(response),
                call_type=call_type,
                usage=usage,
                finish_reason=finish_reason,
                response_id=self._response_id,
                fingerprint_metadata={_KEY: decision.to_dict()},
            ),
        )

    def denied(self, error: Exception) -> None:
        """A hook does not let the call through, or its answer."""
        if self.told and not self._open:
            return
        self.started(self._llm.model)
        self._open = False
        self._llm._emit_call_denied_event(error, self._asked.from_task, self._asked.from_agent)

    def failed(self, error: str, model: str, decision: Decision | None = None) -> None:
        if not self._open:
            return
        self._open = False
        metadata = None if decision is None else {_KEY: decision.to_dict()}
        crewai_event_bus.emit(
            self._llm, LLMCallFailedEvent(**self._who(model), error=error, fingerprint_metadata=metadata)
        )

    def decided(self, decision: Decision, model: str) -> None:
        crewai_event_bus.emit(
            self._llm,
            RoutedStepEvent(
                **self._who(model), decision=decision.to_dict(), iteration=iteration_of(self._asked.from_agent)
            ),
        )

    def noticed(self, notice: Notice) -> None:
        crewai_event_bus.emit(self._llm, RoutedNoticeEvent(**self._who(self._llm.model), **notice.to_dict()))

    def piece(self, event: Event) -> None:
        """A streamed piece of the answer."""
        who: dict[str, Any] = {"from_task": self._asked.from_task, "from_agent": self._asked.from_agent}
        who["response_id"] = self._response_id
        match event:
            case Started():
                self._response_id = event.id
            case TextDelta() if event.text:
                self._llm._emit_stream_chunk_event(chunk=event.text, **who)
            case ReasoningDelta() if event.text:
                self._llm._emit_thinking_chunk_event(chunk=event.text, **who)
            case ToolCallStarted():
                function = {"name": event.name, "arguments": ""}
                self._calls[event.index] = {
                    "id": event.id,
                    "type": "function",
                    "index": event.index,
                    "function": function,
                }
                self._call_piece(event.index, "", who)
            case ToolCallDelta():
                self._calls[event.index]["function"]["arguments"] += event.arguments
                self._call_piece(event.index, event.arguments, who)

    def noted(self, event: Event) -> None:
        """A piece of an answer that is not streamed."""
        if isinstance(event, Started):
            self._response_id = event.id

    def _call_piece(self, index: int, arguments: str, who: dict[str, Any]) -> None:
        call = self._calls[index]
        self._llm._emit_stream_chunk_event(
            chunk=arguments,
            tool_call={**call, "function": dict(call["function"])},
            call_type=LLMCallType.TOOL_CALL,
            **who,
        )
