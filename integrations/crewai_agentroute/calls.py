"""One call from its arguments to its result: hooks, routing, events, counters. The drivers are in llm.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crewai.events.types.llm_events import LLMCallType
from crewai.hooks.dispatch import HookAborted
from crewai.llms.base_llm import LLMCallBlockedError
from pydantic import BaseModel

from agentroute import AgentRouteError, BadResponse, Constraints, StreamInterrupted
from agentroute.call import Call
from agentroute.events import Event, fold

from .answers import made_call, read_native, tool_calls, written_usage
from .attempts import Attempts, NativeAnswer, cut
from .context import context_of
from .errors import told_to_crewai
from .events import Announcer
from .failures import told_of_failure
from .guardrails import answered_by
from .requests import Asked, read_request

if TYPE_CHECKING:
    from .llm import RoutedLLM

__all__ = ["RoutedCall"]

_SETTINGS = ("temperature", "top_p", "max_tokens", "seed", "frequency_penalty", "presence_penalty")


class RoutedCall:
    """One call of a RoutedLLM. `open` decides, `take` is given the payloads, then `result` or `failed` ends it."""

    def __init__(self, llm: RoutedLLM, asked: Asked, call_id: str) -> None:
        self._llm = llm
        self._asked = asked
        self._announcer = Announcer(llm, asked, call_id)
        self._stop = list(llm.stop_sequences)
        self._stream = llm._effective_stream()
        self._call: Call | None = None
        self._events: list[Event] = []
        self._native: Any = None
        self._counted = False

    def open(self, messages: str | list[Any]) -> tuple[Attempts, Call]:
        llm, asked = self._llm, self._asked
        asked.messages = [dict(message) for message in llm._format_messages(messages)]
        llm._invoke_before_llm_call_hooks(asked.messages, asked.from_agent)  # type: ignore[arg-type]
        settings = {name: value for name in _SETTINGS if (value := getattr(llm, name)) is not None}
        body = {**llm.additional_params, **settings}
        if self._stop:
            body["stop"] = self._stop
        request = read_request(asked.messages, asked.tools, asked.response_model, body)
        failed = told_of_failure(asked.messages) or (asked.form is not None and llm._misfit == asked.form)
        llm._misfit = None
        self._call = call = llm.router.prepare(
            request,
            context=context_of(
                llm.role, asked.from_agent, asked.from_task, asked.tools, asked.response_model, failed=failed
            ),
            constraints=Constraints.of(llm.constraints),
            stream=bool(self._stream),
        )
        call.on_notice = self._announcer.noticed
        attempts = Attempts(
            router=llm.router,
            asked=asked,
            announcer=self._announcer,
            stop=self._stop,
            stream=self._stream,
            settings=settings,
        )
        return attempts, call

    def take(self, payload: Event | NativeAnswer | None) -> None:
        if isinstance(payload, NativeAnswer):
            self._native = payload.value
        elif payload is not None:
            self._events.append(payload)
            (self._announcer.piece if self._stream else self._announcer.noted)(payload)

    # -- how it ends ---------------------------------------------------------------------------------------------

    def result(self) -> Any:
        """What the caller gets. Raises BadResponse where that would be nothing."""
        self._count()
        if self._native is not None and self._call is not None:
            self._call.answered(lambda: read_native(self._native))
        value, call_type = self._value()
        self._completed(value, call_type)
        if isinstance(value, str) and call_type is LLMCallType.LLM_CALL:
            value = self._llm._invoke_after_llm_call_hooks(self._asked.messages, value, self._asked.from_agent)  # type: ignore[arg-type]
        self._decided()
        return value

    def failed(self, error: BaseException) -> BaseException:
        """Tells of it, and says what to raise: the error itself or the same in words that CrewAI does not misread."""
        if isinstance(error, HookAborted | LLMCallBlockedError):
            self._announcer.denied(error)
            self._count()
            self._decided()
            return error
        if isinstance(error, ValueError) and not isinstance(error, AgentRouteError):
            self._llm._misfit = self._asked.form
        raised = told_to_crewai(error) if isinstance(error, AgentRouteError) else error
        if isinstance(raised, StreamInterrupted) and raised.partial is None and self._events:
            raised.partial = fold(self._events)
        self._count()
        if not self._announcer.told:
            self._announcer.started(self._llm.model)
        self._announcer.failed(str(raised) or type(raised).__name__, self._model(), self._decision())
        self._decided()
        return raised

    def _value(self) -> tuple[Any, LLMCallType]:
        asked, native = self._asked, self._native
        if isinstance(native, BaseModel):
            return native, LLMCallType.LLM_CALL
        if native is not None:
            calls = list(native) if isinstance(native, list) else []
            text = "" if calls else str(native)
        else:
            response = fold(self._events)
            calls, text = tool_calls(response), cut(response.text, self._stop)
        if calls and asked.available_functions:
            made = made_call(self._llm, asked, calls[0])
            if made:
                return made, LLMCallType.TOOL_CALL
        elif calls:
            return calls, LLMCallType.TOOL_CALL
        if not text:
            raise BadResponse("the model called a function that gave no result, and said nothing")
        if asked.response_model is not None:
            return self._llm._validate_structured_output(text, asked.response_model), LLMCallType.LLM_CALL
        return text, LLMCallType.LLM_CALL

    def _completed(self, value: Any, call_type: LLMCallType) -> None:
        decision = self._decision()
        assert decision is not None
        finish = fold(self._events).finish_reason if self._events else None
        told = value.model_dump_json() if isinstance(value, BaseModel) else value
        usage = written_usage(decision.usage)
        self._announcer.completed(told, call_type, self._model(), decision, usage, finish)

    def _count(self) -> None:
        decision = self._decision()
        if decision is not None and not self._counted and decision.outcome != "planned":
            self._counted = True
            self._llm._count(decision, self._asked.from_agent)

    def _decided(self) -> None:
        decision = self._decision()
        if decision is not None and decision.outcome != "planned":
            answered_by(self._llm.router, decision)
            self._announcer.decided(decision, self._model())

    def _decision(self) -> Any:
        return None if self._call is None else self._call.decision

    def _model(self) -> str:
        decision = self._decision()
        return self._llm.model if decision is None else self._llm.router.pool[decision.target].model
