"""OpenAI chat: a conversation on a line, or a logged request with its answer (batch lines too)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentroute.errors import RequestError
from agentroute.formats import openai_chat
from agentroute.messages import ChatRequest
from agentroute.replay.records import Trace

from .calls import first, refuse_error, split, trace_of
from .fields import Raw, openai_usage

__all__ = ["read", "request_of"]

_FIELDS = (
    "messages",
    "tools",
    "functions",
    "tool_choice",
    "function_call",
    "response_format",
    "parallel_tool_calls",
    "max_tokens",
    "max_completion_tokens",
)
"""What bears on routing. The model that was asked for is left out: it would be a pin."""


def read(line: Raw) -> Trace:
    body, response = split(line)
    raw = body.get("messages")
    answers: list[Any] = []
    usage = None
    if response is not None:
        refuse_error(response)
        answers, usage = [_answer(response)], openai_usage(first(response, line, "usage"))
    request = request_of(body, [*raw, *answers] if isinstance(raw, list) else raw)
    usages = [openai_usage(item.get("usage")) for item in raw or () if isinstance(item, Mapping)]
    return trace_of("openai", line, body, response, request, usages, answered=bool(answers), usage=usage)


def request_of(body: Raw, messages: Any) -> ChatRequest:
    kept = {name: body[name] for name in _FIELDS if body.get(name) is not None}
    return openai_chat.decode_request({**kept, "messages": messages})


def _answer(response: Raw) -> Any:
    choices = response.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], Mapping):
        message = choices[0].get("message")
        if isinstance(message, Mapping):
            return {**message, "role": "assistant"}
    elif isinstance(response.get("content"), str) or "tool_calls" in response:
        return {name: response[name] for name in ("content", "tool_calls") if name in response} | {"role": "assistant"}
    raise RequestError("`response` has no `choices` with a message in it")
