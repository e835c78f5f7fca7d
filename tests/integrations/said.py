"""A conversation in no framework's form, and as each framework writes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from llama_index.core.base.llms.types import ChatMessage, ToolCallBlock


@dataclass(frozen=True)
class Call:
    id: str
    tool: str = "get_weather"
    arguments: Mapping[str, str] = field(default_factory=lambda: {"city": "Porto"})


@dataclass(frozen=True)
class Said:
    """A message of a history in no framework's form: the user's text, or an answer with calls, or a result."""

    role: str
    text: str = ""
    calls: tuple[Call, ...] = ()
    answers: str = ""
    tool: str = "get_weather"


def user(text: str) -> Said:
    return Said("user", text)


def calls(*made: str | Call) -> Said:
    return Said("assistant", calls=tuple(Call(each) if isinstance(each, str) else each for each in made))


def result(call_id: str, text: str = "21 degrees", tool: str = "get_weather") -> Said:
    return Said("tool", text, answers=call_id, tool=tool)


def in_langchain(said: Said) -> BaseMessage:
    if said.role == "tool":
        return ToolMessage(said.text, tool_call_id=said.answers, name=said.tool)
    if said.role == "assistant":
        made = [{"id": call.id, "name": call.tool, "args": call.arguments} for call in said.calls]
        return AIMessage(said.text, tool_calls=made)
    return HumanMessage(said.text) if said.role == "user" else SystemMessage(said.text)


def in_crewai(said: Said) -> dict[str, Any]:
    if said.role == "tool":
        return {"role": "tool", "tool_call_id": said.answers, "name": said.tool, "content": said.text}
    if said.calls:
        made = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.tool, "arguments": json.dumps(call.arguments)},
            }
            for call in said.calls
        ]
        return {"role": "assistant", "content": None, "tool_calls": made}
    return {"role": said.role, "content": said.text}


def in_llama_index(said: Said) -> ChatMessage:
    if said.role == "tool":
        return ChatMessage(role="tool", content=said.text, additional_kwargs={"tool_call_id": said.answers})
    if said.calls:
        blocks = [
            ToolCallBlock(tool_call_id=call.id, tool_name=call.tool, tool_kwargs=dict(call.arguments))
            for call in said.calls
        ]
        return ChatMessage(role="assistant", blocks=blocks)
    return ChatMessage(role=said.role, content=said.text)
