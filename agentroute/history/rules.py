"""What each receiving dialect demands of a conversation, as facts; the stages of the repair ask these."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from agentroute.targets import Target

__all__ = ["Rules", "TakesReasoning"]

TakesReasoning: TypeAlias = Literal["signed", "own", "text", "none"]
"""`signed`: its own, with a signature. `own`: its own. `text`: its own, and anybody's that is plain text."""

_ANTHROPIC_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""Read in Anthropic's own refusal: `tool_use.id: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'`."""

_CHAT_ID: Final = re.compile(r"[^\x00-\x1f]{1,40}")
"""OpenAI: `Invalid 'messages[1].tool_calls[0].id': string too long. Expected a string with maximum length 40`."""

_RESPONSES_ID: Final = re.compile(r"[^\x00-\x1f]{1,64}")
"""OpenAI Responses: `Invalid 'input[2].call_id': string too long. Expected a string with maximum length 64`."""

_GEMINI_ID: Final = re.compile(r"[^\x00-\x1f]{1,128}")
"""Gemini takes any id, also another provider's (recorded); calls are told apart by it."""

_MISTRAL_ID: Final = re.compile(r"[a-zA-Z0-9]{9}")
"""Mistral: `Tool call id was ... but must be a-z, A-Z, 0-9, with a length of 9.`"""


@dataclass(frozen=True, slots=True)
class Rules:
    """The demands of one target.

    `call_id`: what the id of a call may be. `system_first`: system messages stand only at the beginning. `user_first`:
    the first turn is the user's. `strict_turns`: no two messages of one role in a row, and no user right behind a
    result. `blank_text`: whether a text of nothing, or of white space only, is taken. `result_files`: whether a result
    may hold a picture or a document. `assistant_files`: whether an assistant's message may, or a recording.
    `reasoning_closes`: whether reasoning may be the last part of what the assistant said. `placeholder_signature`: the
    first call of a step bears a thought signature. `reasoning_required`: an assistant's message must have its reasoning
    beside it, if only `reasoning_placeholder`.
    """

    dialect: str
    origin: str
    call_id: re.Pattern[str]
    reasoning: TakesReasoning
    system_first: bool = False
    user_first: bool = False
    strict_turns: bool = False
    blank_text: bool = True
    result_files: bool = True
    assistant_files: bool = False
    reasoning_closes: bool = True
    placeholder_signature: bool = False
    reasoning_required: bool = False
    reasoning_placeholder: str = ""

    @classmethod
    def of(cls, target: Target) -> Rules:
        quirks = target.endpoint.quirks
        match target.dialect:
            case "anthropic_messages":
                return cls(
                    target.dialect,
                    target.origin,
                    _ANTHROPIC_ID,
                    "signed",
                    system_first=True,
                    user_first=True,
                    blank_text=False,
                    reasoning_closes=False,
                )
            case "gemini":
                return cls(
                    target.dialect,
                    target.origin,
                    _GEMINI_ID,
                    "own",
                    system_first=True,
                    user_first=True,
                    blank_text=False,
                    assistant_files=True,
                    placeholder_signature=True,
                )
            case "openai_responses":
                return cls(
                    target.dialect, target.origin, _RESPONSES_ID, "signed", blank_text=False, reasoning_closes=False
                )
            case _:
                return cls(
                    target.dialect,
                    target.origin,
                    _MISTRAL_ID if quirks.tool_call_ids == "alnum9" else _CHAT_ID,
                    "none" if quirks.reasoning_field is None else "text",
                    system_first=quirks.strict_turns,
                    user_first=quirks.strict_turns,
                    strict_turns=quirks.strict_turns,
                    result_files=False,
                    reasoning_required=quirks.reasoning_required and target.capabilities.reasoning is not False,
                    reasoning_placeholder=quirks.reasoning_placeholder,
                )
