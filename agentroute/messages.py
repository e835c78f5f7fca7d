"""The canonical request and response: frozen values that every dialect and framework is translated to and from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, TypeAlias, get_args

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
    "check_parts",
    "check_request",
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


@dataclass(frozen=True, slots=True, repr=False)
class Usage:
    """What the provider says it counted, in tokens. None is unknown, never 0.

    `input_tokens` includes `cache_read_tokens` and `cache_write_tokens`; `output_tokens` includes `reasoning_tokens`.
    `cache_write_1h_tokens` and `cache_write_12h_tokens` are the part of `cache_write_tokens` that lives so long.

    What else an answer tells of its price: `service_tier`, `speed` and `region` in the provider's own words;
    `server_tools`, how often each tool of the provider's ran; `reported_cost`, the provider's own bill in USD.

    An answer that the provider made in several requests of its own (compaction, loops of its tools) has them all in
    `iterations`, and the counts are their sums; `last_input_tokens` is then the prompt of the last one. `model` is set
    in such a part if another model than the answer's made it.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    cache_write_12h_tokens: int | None = None
    service_tier: str | None = None
    speed: str | None = None
    region: str | None = None
    server_tools: tuple[tuple[str, int], ...] = ()
    reported_cost: Decimal | None = None
    iterations: tuple[Usage, ...] = ()
    last_input_tokens: int | None = None
    model: str | None = None

    @property
    def prompt_tokens(self) -> int | None:
        """How long the conversation is by this count: what anchors the next estimate."""
        return self.last_input_tokens if self.iterations else self.input_tokens

    def __repr__(self) -> str:
        told = ((each.name, getattr(self, each.name)) for each in fields(self))
        return f"Usage({', '.join(f'{name}={value!r}' for name, value in told if value not in (None, ()))})"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: the five counts always, everything else if it is told; money as text."""
        found: dict[str, Any] = {name: getattr(self, name) for name in _USAGE_COUNTS}
        found |= {name: value for name in _USAGE_FACTS if (value := getattr(self, name)) is not None}
        if self.server_tools:
            found["server_tools"] = dict(self.server_tools)
        if self.reported_cost is not None:
            found["reported_cost"] = str(self.reported_cost)
        if self.iterations:
            found["iterations"] = [part.to_dict() for part in self.iterations]
        return found

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Usage:
        """Reads `to_dict` back, also of a record that was written before a field was known."""
        cost = data.get("reported_cost")
        return cls(
            **{name: data.get(name) for name in (*_USAGE_COUNTS, *_USAGE_FACTS)},
            server_tools=tuple((data.get("server_tools") or {}).items()),
            reported_cost=None if cost is None else Decimal(cost),
            iterations=tuple(cls.from_dict(part) for part in data.get("iterations") or ()),
        )


_USAGE_COUNTS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
_USAGE_FACTS = (
    "cache_write_1h_tokens",
    "cache_write_12h_tokens",
    "service_tier",
    "speed",
    "region",
    "last_input_tokens",
    "model",
)


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One model call, as every part of agentroute sees it.

    `model` equal to a target's name, or to its model, is a pin; `"auto"` or None leaves the choice to the router.

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
    def of(cls, value: ChatRequest | Mapping[str, Any] | Sequence[Any] | str) -> ChatRequest:
        """A request from what a person has: the text of a user message, a list of messages (dicts as OpenAI has them,
        or Message), an OpenAI chat-completions body, or a ChatRequest. Raises RequestError for anything else.

        >>> ChatRequest.of("hello").messages[0].role
        'user'
        """
        if isinstance(value, ChatRequest):
            return value
        if isinstance(value, str):
            return cls((Message("user", (Text(value),)),))
        if isinstance(value, Mapping):
            return cls.from_openai(value)
        if isinstance(value, list | tuple):
            if all(isinstance(message, Message) for message in value):
                return cls(tuple(value))
            if all(isinstance(message, Mapping) for message in value):
                return cls.from_openai({"messages": list(value)})
            other = next(each for each in value if not isinstance(each, Mapping))
            raise RequestError(f"`messages` holds a {type(other).__name__}; {_message_hint(other)}")
        raise RequestError(f"`request` is a {type(value).__name__}; give a text, a list of messages or an OpenAI body")

    @classmethod
    def from_openai(cls, body: Mapping[str, Any]) -> ChatRequest:
        """Reads an OpenAI chat-completions body. Raises RequestError naming the field that is wrong."""
        from .formats import openai_chat

        return openai_chat.decode_request(body)

    def to_openai(self) -> dict[str, Any]:
        """The OpenAI chat-completions body, tools and all."""
        from .formats import openai_chat

        return openai_chat.encode_request(self).body


_ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool"})
_MODES: Final = frozenset({"auto", "none", "required", "tool"})
_PARTS: Final = frozenset({Text, Image, Document, Audio, ToolCall, ToolResult, Reasoning})
_OF_A_RESULT: Final = frozenset({Text, Image, Document})

_HINTS: Final = {
    "langchain_core": "langchain_core.messages.convert_to_openai_messages makes dicts of LangChain's messages",
    "llama_index": "a LlamaIndex ChatMessage goes through RoutedLLM",
}


def check_request(request: ChatRequest) -> None:
    """Raises RequestError naming the first field of a wrong kind. Looks at types, never into a text."""
    messages = request.messages
    if not isinstance(messages, tuple | list):
        _refuse("messages", messages, "give a tuple of Message; ChatRequest.of('hello') makes one of a text")
    if not messages:
        raise RequestError("`messages` is empty; give at least one message")
    try:
        # Sets, because they are built in C. A text that is none fails later, in the reading: see check_parts.
        right = {message.role for message in messages} <= _ROLES
        right = right and {type(part) for message in messages for part in message.parts} <= _PARTS
    except (AttributeError, TypeError):
        right = False
    if not right:
        check_parts(messages)
    for index, tool in enumerate(request.tools):
        if not isinstance(tool, Tool):
            _refuse(f"tools[{index}]", tool, "give a Tool, or the whole body to ChatRequest.of")
    for name, wanted in _FIELDS:
        value = getattr(request, name)
        if value is not None and type(value) is not wanted and not isinstance(value, wanted):
            _refuse(name, value, f"give a {wanted.__name__}")
    if request.tool_choice is not None and request.tool_choice.mode not in _MODES:
        _refuse("tool_choice.mode", request.tool_choice.mode, f"use one of {', '.join(sorted(_MODES))}")


def check_parts(messages: Sequence[Any]) -> None:
    """Raises RequestError naming the first message, part or text of a wrong kind, if there is one."""
    for index, message in enumerate(messages):
        _check_message(message, f"messages[{index}]")


def _check_message(message: Any, where: str) -> None:
    if not isinstance(message, Message):
        raise RequestError(f"`{where}` is a {type(message).__name__}; {_message_hint(message)}")
    if message.role not in _ROLES:
        raise RequestError(f"`{where}.role` is {message.role!r}; use one of {', '.join(sorted(_ROLES))}")
    _check_parts(message.parts, f"{where}.parts", _PARTS, "a part, such as Text('hello')")


def _check_parts(parts: Any, where: str, kinds: frozenset[type], wanted: str) -> None:
    if not isinstance(parts, tuple | list):
        _refuse(where, parts, "give a tuple of parts, such as (Text('hello'),)")
    for place, part in enumerate(parts):
        if not isinstance(part, tuple(kinds)):
            _refuse(f"{where}[{place}]", part, f"give {wanted}")
        if isinstance(part, Text) and not isinstance(part.text, str):
            _refuse(f"{where}[{place}].text", part.text, "give a str")
        if isinstance(part, ToolResult):
            _check_parts(part.content, f"{where}[{place}].content", _OF_A_RESULT, "a Text, Image or Document")


def _refuse(where: str, value: object, remedy: str) -> NoReturn:
    raise RequestError(f"`{where}` is a {type(value).__name__}; {remedy}")


def _message_hint(value: object) -> str:
    homes = {kind.__module__.partition(".")[0] for kind in type(value).__mro__}
    hint = next((hint for home, hint in _HINTS.items() if home in homes), None)
    return hint or "give a Message; ChatRequest.of reads a list of dicts"


_FIELDS: Final[tuple[tuple[str, type], ...]] = (
    ("tool_choice", ToolChoice),
    ("response_schema", ResponseSchema),
    ("sampling", Sampling),
    ("extra", Extra),
)


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
