"""One call as CrewAI makes it, and the canonical request it stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from crewai.utilities.pydantic_schema_utils import generate_model_description
from pydantic import BaseModel

from agentroute import ChatRequest, Target
from agentroute.formats import openai_chat
from agentroute.history import mend
from agentroute.messages import Message

from .failures import flagged

__all__ = ["Asked", "for_native", "for_wire", "read_request"]

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

    @property
    def form(self) -> tuple[Any, type[BaseModel]] | None:
        """The task and the form that its answer must have; None if it may have any."""
        return None if self.response_model is None else (getattr(self.from_task, "id", None), self.response_model)


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
    request = openai_chat.decode_request(body)
    told = flagged(request.messages)
    return request if told is request.messages else replace(request, messages=told)


def for_native(
    messages: Sequence[Mapping[str, Any]], read: tuple[Message, ...], target: Target
) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """The messages for a ready LLM, each result behind its call as our own targets get it, and what was changed.

    `read` are the same messages as canonical ones.
    """
    copies = [dict(message) for message in messages]
    mended = mend(read, target) if len(read) == len(copies) else None
    return (copies, ()) if mended is None else (mended.written(copies, _written), mended.changes)


def _written(message: Message) -> dict[str, Any]:
    """A message that was changed, in OpenAI's form, which is CrewAI's."""
    written: list[dict[str, Any]] = openai_chat.encode_request(ChatRequest((message,))).body["messages"]
    return written[0]


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
