"""What a call returns: a text, tool calls or the result of one, or an instance of the response model."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from crewai.events.event_bus import crewai_event_bus
from crewai.events.types.tool_usage_events import ToolUsageErrorEvent, ToolUsageFinishedEvent, ToolUsageStartedEvent
from crewai.utilities.agent_utils import extract_tool_call_info
from crewai.utilities.string_utils import sanitize_tool_name
from pydantic import BaseModel

from agentroute.messages import ChatResponse, Message, Text, ToolCall, Usage

from .requests import Asked

__all__ = ["made_call", "read_native", "tool_calls", "written_usage"]

logger = logging.getLogger("agentroute")


def tool_calls(response: ChatResponse) -> list[dict[str, Any]]:
    """The calls in OpenAI's form, which is CrewAI's too."""
    return [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in response.tool_calls
    ]


def read_native(value: Any) -> ChatResponse:
    """What a native LLM returned, for who hears it: it tells no usage and no reason for its end."""
    if isinstance(value, BaseModel):
        return ChatResponse(Message("assistant", (Text(value.model_dump_json()),)))
    if not isinstance(value, list):
        return ChatResponse(Message("assistant", (Text(str(value)),)))
    found = (extract_tool_call_info(call) for call in value)
    calls = (
        ToolCall(call[0], call[1], call[2] if isinstance(call[2], str) else json.dumps(call[2]))
        for call in found
        if call is not None
    )
    return ChatResponse(Message("assistant", tuple(calls)))


def written_usage(usage: Usage | None) -> dict[str, Any] | None:
    """CrewAI's names; what is not known is left out."""
    if usage is None:
        return None
    known: dict[str, Any] = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "cached_prompt_tokens": usage.cache_read_tokens,
        "cache_creation_tokens": usage.cache_write_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
    }
    if usage.input_tokens is not None and usage.output_tokens is not None:
        known["total_tokens"] = usage.input_tokens + usage.output_tokens
    return {name: count for name, count in known.items() if count is not None} or None


def made_call(source: Any, asked: Asked, call: Any) -> str | None:
    """The result of the function that the model calls, as a text; None where there is none, or it failed (it is told to
    the bus, as CrewAI's own LLMs do)."""
    functions = asked.available_functions or {}
    found = extract_tool_call_info(call)
    if found is None:
        return None
    _, name, arguments = found
    function = functions.get(name) or {sanitize_tool_name(known): f for known, f in functions.items()}.get(name)
    if function is None:
        logger.warning("the model called %r, which is not among the functions of this call", name)
        return None
    who: dict[str, Any] = {"tool_name": name, "from_task": asked.from_task, "from_agent": asked.from_agent}
    begun = datetime.now()
    try:
        given = _arguments(arguments)
        who["tool_args"] = given
        crewai_event_bus.emit(source, ToolUsageStartedEvent(**who))
        result = function(**given)
    except Exception as error:
        who.setdefault("tool_args", {})
        crewai_event_bus.emit(source, ToolUsageErrorEvent(**who, error=f"{type(error).__name__}: {error}"))
        return None
    crewai_event_bus.emit(
        source, ToolUsageFinishedEvent(**who, output=result, started_at=begun, finished_at=datetime.now())
    )
    return result if isinstance(result, str) else str(result)


def _arguments(given: Any) -> dict[str, Any]:
    value = json.loads(given or "{}") if isinstance(given, str) else given
    if not isinstance(value, Mapping):
        raise ValueError("the arguments are not a JSON object")
    return dict(value)
