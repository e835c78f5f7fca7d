"""One call as CrewAI makes it, and the canonical request it stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from crewai.utilities.pydantic_schema_utils import generate_model_description
from pydantic import BaseModel

from agentroute import ChatRequest, Target
from agentroute.formats import openai_chat

__all__ = ["Asked", "for_wire", "read_request"]

_MESSAGE_FIELDS = ("role", "content", "name", "tool_calls", "tool_call_id")
_MOST_STOPS = 4
"""OpenAI takes no more (https://platform.openai.com/docs/api-reference/chat/create, `stop`)."""


@dataclass(slots=True)
class Asked:
    """The arguments of one `call`. `messages` are copies: hooks may change them."""

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None
    callbacks: list[Any] | None
    available_functions: dict[str, Any] | None
    from_task: Any
    from_agent: Any
    response_model: type[BaseModel] | None


def read_request(
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] | None = None,
    response_model: type[BaseModel] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> ChatRequest:
    """CrewAI's messages and tools have OpenAI's form; what only CrewAI or one provider knows is left out.

    Tools lose `strict`: their schemas are as the tool gives them, which OpenAI's strict mode does not take. Raises
    RequestError naming the field that is wrong.
    """
    body: dict[str, Any] = dict(settings or {})
    body["messages"] = [{name: message[name] for name in _MESSAGE_FIELDS if name in message} for message in messages]
    if tools:
        body["tools"] = [_tool(tool) for tool in tools]
    if response_model is not None:
        body["response_format"] = generate_model_description(response_model)
    return openai_chat.decode_request(body)


def for_wire(request: ChatRequest, target: Target) -> ChatRequest:
    """The request without `stop` where the target may reason: such models refuse it. CrewAI cuts the answer anyway."""
    stop = request.sampling.stop
    if not stop:
        return request
    kept = stop[:_MOST_STOPS] if target.capabilities.reasoning is False else ()
    return replace(request, sampling=replace(request.sampling, stop=kept))


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    function = tool.get("function")
    if not isinstance(function, Mapping) or "strict" not in function:
        return dict(tool)
    return {**tool, "function": {name: value for name, value in function.items() if name != "strict"}}
