"""Whether CrewAI says, in words of its own, that the latest call or the latest answer has failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from crewai.utilities.i18n import I18N_DEFAULT

from agentroute.messages import Message, ToolResult

__all__ = ["flagged", "told_of_failure"]


def _words(name: str) -> str:
    """What CrewAI's sentence of this name begins with, up to the first thing that it fills in."""
    return I18N_DEFAULT.errors(name).partition("{")[0].strip()


_OF_A_CALL: Final = (
    "Error executing tool",  # utilities/agent_utils.py of crewai 1.15
    "Tool not found",
    "Error: Tool ",
    _words("tool_usage_error"),
    _words("tool_usage_exception"),
    _words("tool_arguments_error"),
    _words("wrong_tool_name"),
    _words("agent_tool_unexisting_coworker"),
    _words("agent_tool_execution_error"),
)
_OF_AN_ANSWER: Final = _words("validation_error")
"""A guardrail has refused the answer before, which stands in the context of the next."""

_OBSERVATION: Final = "\nObservation:"


def flagged(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages, results of failed calls marked as such: providers that have a word for it are told."""
    if not any(message.role == "tool" and _failed(message) for message in messages):
        return messages
    return tuple(
        replace(
            message,
            parts=tuple(
                replace(part, is_error=True) if isinstance(part, ToolResult) else part for part in message.parts
            ),
        )
        if message.role == "tool" and _failed(message)
        else message
        for message in messages
    )


def _failed(message: Message) -> bool:
    return any(result.text.lstrip().startswith(_OF_A_CALL) for result in message.tool_results)


def told_of_failure(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the failure stands in a text: an observation in the assistant's own message, or a guardrail's refusal."""
    said = [message for message in messages if message["role"] in ("user", "assistant")][-2:]
    if said and said[-1]["role"] == "user" and _OF_AN_ANSWER in str(said[-1].get("content")):
        return True
    for message in reversed(said):
        if message["role"] == "assistant":
            _, found, seen = str(message.get("content") or "").rpartition(_OBSERVATION)
            return bool(found) and seen.lstrip().startswith(_OF_A_CALL)
    return False
