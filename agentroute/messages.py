"""The canonical request and response: frozen values that every dialect and framework is translated to and from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from .errors import RequestError

if TYPE_CHECKING:
    from .decisions import Decision

__all__ = [
    "EFFORTS",
    "Audio",
    "ChatRequest",
    "ChatResponse",
    "Document",
    "Effort",
    "Extra",
    "FinishReason",
    "Image",
    "Message",
    "Part",
    "Reasoning",
    "ReasoningSetting",
    "ResponseSchema",
    "Role",
    "Sampling",
    "Text",
    "Tool",
    "ToolCall",
    "ToolChoice",
    "ToolResult",
    "Usage",
]

Role: TypeAlias = Literal["system", "developer", "user", "assistant", "tool"]
FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter"]
Effort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
EFFORTS: Final[tuple[Effort, ...]] = get_args(Effort)
"""How much a model shall think, from not at all to all it can."""


@dataclass(frozen=True, slots=True)
class Extra:
    """Fields we do not know: kept for a target that speaks the same dialect (`openai_chat`, ...), dropped elsewhere.

    `origin` (`provider/model`) names the one model that said them and may be told them again; None for a caller's own,
    which any target of the dialect gets.
    """

    dialect: str
    fields: Mapping[str, Any]
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """Plain text."""

    text: str
    extra: Extra | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """A picture: base64 `data` with its `media_type`, or a `url` (never fetched by us)."""

    url: str | None = None
    data: str | None = field(default=None, repr=False)
    media_type: str | None = None
    detail: str | None = None
    extra: Extra | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A file to read, usually a PDF: base64 `data` with its `media_type`, or a `url` (never fetched by us)."""

    url: str | None = None
    data: str | None = field(default=None, repr=False)
    media_type: str | None = None
    name: str | None = None
    extra: Extra | None = None


@dataclass(frozen=True, slots=True)
class Audio:
    """A recording: base64 `data` with its `media_type` (`audio/wav`, ...), or a `url` (never fetched by us)."""

    url: str | None = None
    data: str | None = field(default=None, repr=False)
    media_type: str | None = None
    extra: Extra | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model asks for a tool. `arguments` is the JSON text exactly as the model wrote it."""

    id: str
    name: str
    arguments: str
    extra: Extra | None = None

    def parsed(self) -> dict[str, Any]:
        """The arguments as a dict. Raises RequestError where they are not a JSON object."""
        problem = "they are not a JSON object"
        try:
            value = json.loads(self.arguments or "{}")
            if isinstance(value, dict):
                return value
        except (ValueError, RecursionError) as error:
            problem = f"{type(error).__name__}: {error}"
        raise RequestError(f"the arguments of the call {self.id!r} to `{self.name}` cannot be used: {problem}")


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool said to one call. `is_error` is the framework's own flag; None where it gave none."""

    tool_call_id: str
    content: tuple[Text | Image | Document, ...]
    is_error: bool | None = None
    name: str | None = None
    extra: Extra | None = None

    @property
    def text(self) -> str:
        """All text of the result, joined."""
        if len(self.content) == 1 and isinstance(self.content[0], Text):
            return self.content[0].text
        return "".join(part.text for part in self.content if isinstance(part, Text))


@dataclass(frozen=True, slots=True)
class Reasoning:
    """What the model thought.

    `signature` is opaque (of redacted reasoning: all there is) and valid only at `origin`, the `provider/model` that
    produced it; where a caller's history does not tell, `extra` names the dialect it came in.
    """

    text: str
    signature: str | None = None
    origin: str | None = None
    redacted: bool = False
    extra: Extra | None = None


Part: TypeAlias = Text | Image | Document | Audio | ToolCall | ToolResult | Reasoning


@dataclass(frozen=True, slots=True)
class Message:
    """One message: a role and its parts, in order. Tool results stand in messages of the role `tool`."""

    role: Role
    parts: tuple[Part, ...]
    name: str | None = None
    extra: Extra | None = None

    @property
    def text(self) -> str:
        """All text parts, joined (reasoning and tool results apart)."""
        parts = self.parts
        if len(parts) == 1 and type(parts[0]) is Text:
            return parts[0].text
        return "".join(part.text for part in parts if isinstance(part, Text))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls the model asks for, in order."""
        return tuple(part for part in self.parts if isinstance(part, ToolCall))

    @property
    def tool_results(self) -> tuple[ToolResult, ...]:
        """The results this message carries, in order."""
        return tuple(part for part in self.parts if isinstance(part, ToolResult))


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the model may call. `parameters` is a JSON schema (read only)."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    strict: bool | None = None
    extra: Extra | None = None


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Whether the model may, must or must not call a tool; `name` only with the mode `tool`."""

    mode: Literal["auto", "none", "required", "tool"]
    name: str | None = None


@dataclass(frozen=True, slots=True)
class ResponseSchema:
    """The answer must be JSON; with `schema`, JSON of that schema."""

    schema: Mapping[str, Any] | None = None
    name: str | None = None
    strict: bool | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the model draws its tokens. None is the provider's own default."""

    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None


@dataclass(frozen=True, slots=True)
class ReasoningSetting:
    """How much the model shall think, in the words of no provider; fitted to each model that is called.

    `effort` or `budget_tokens` (the tokens it may think), or neither: it shall think as much as it does by itself.
    `summary`: whether its thoughts shall be shown, as far as the provider shows any; None is the provider's default.
    Raises RequestError for an unknown effort or a budget that is no whole number above 0.
    """

    effort: Effort | None = None
    budget_tokens: int | None = None
    summary: bool | None = None

    def __post_init__(self) -> None:
        if self.effort is not None and self.effort not in EFFORTS:
            raise RequestError(f"the effort {self.effort!r} is not known; give one of {', '.join(EFFORTS)}")
        budget = self.budget_tokens
        if budget is not None and (isinstance(budget, bool) or not isinstance(budget, int) or budget < 1):
            raise RequestError(f"`budget_tokens` is {budget!r}; give a whole number above 0")


@dataclass(frozen=True, slots=True)
class Usage:
    """What the provider says it counted, in tokens. None is unknown, never 0.

    `input_tokens` includes `cache_read_tokens` and `cache_write_tokens`; `output_tokens` includes `reasoning_tokens`.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None

    def to_dict(self) -> dict[str, int | None]:
        return {name: getattr(self, name) for name in _USAGE_FIELDS}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Usage:
        return cls(**{name: data.get(name) for name in _USAGE_FIELDS})


_USAGE_FIELDS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One model call, as every part of agentroute sees it.

    `model` equal to a target's name is a pin; `"auto"` or None leaves the choice to the router.

    >>> request = ChatRequest.from_openai({"messages": [{"role": "user", "content": "hello"}]})
    >>> request.messages[0].text
    'hello'
    """

    messages: tuple[Message, ...]
    model: str | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_schema: ResponseSchema | None = None
    reasoning: ReasoningSetting | None = None
    sampling: Sampling = Sampling()
    extra: Extra | None = None

    @classmethod
    def from_openai(cls, body: Mapping[str, Any]) -> ChatRequest:
        """Reads an OpenAI chat-completions body. Raises RequestError naming the field that is wrong."""
        from .formats import openai_chat

        return openai_chat.decode_request(body)

    def to_openai(self) -> dict[str, Any]:
        """The OpenAI chat-completions body, tools and all."""
        from .formats import openai_chat

        return openai_chat.encode_request(self).body


@dataclass(frozen=True, slots=True)
class ChatResponse:
    """A whole answer. `finish_reason` and `usage` are what the provider said, or None."""

    message: Message
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    model: str | None = None
    id: str | None = None
    native_finish_reason: str | None = None
    extra: Extra | None = None
    decision: Decision | None = field(default=None, compare=False, repr=False)

    @property
    def text(self) -> str:
        return self.message.text

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return self.message.tool_calls

    def __iter__(self) -> Iterator[Part]:
        return iter(self.message.parts)
