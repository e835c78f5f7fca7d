"""LangChain messages and our canonical values, both ways. Nothing here changes what it is given."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    InvalidToolCall,
    SystemMessage,
    ToolMessage,
    UsageMetadata,
)
from langchain_core.messages import ToolCall as LangChainToolCall
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, add_ai_message_chunks
from langchain_core.messages.tool import tool_call_chunk

from agentroute.errors import RequestError
from agentroute.events import (
    Event,
    ReasoningDelta,
    ReasoningSignature,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    fold,
)
from agentroute.failover.effects import Done
from agentroute.formats import finish_reason
from agentroute.messages import (
    Audio,
    ChatResponse,
    Document,
    Image,
    Message,
    Part,
    Reasoning,
    Role,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from agentroute.providers import NATIVE
from agentroute.targets import Pool

from .blocks import CALLS, MODEL_PROVIDER, blocks_of, outline_of, read_extra, read_part, write_extra, write_part

__all__ = [
    "ChunkWriter",
    "done_of",
    "finish_of",
    "has_content",
    "origin_of",
    "portable",
    "read_messages",
    "read_response",
    "read_usage",
    "write_history",
    "write_message",
]

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "developer",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
}
_json = json.JSONEncoder(ensure_ascii=False).encode
_VERSION: Final[Mapping[str, str]] = {"output_version": "v1"}
_FINISH_KEYS = ("finish_reason", "stop_reason", "done_reason", "status")

# --- LangChain -> canonical ------------------------------------------------------------------------------------------


def read_messages(messages: Iterable[BaseMessage], pool: Pool | None = None) -> tuple[Message, ...]:
    """The conversation as canonical messages; `pool` has the targets that may have written parts of it.

    Raises RequestError naming what a canonical message cannot hold, unless all of the pool are ready models: these are
    told the messages themselves.
    """
    reader = _Reader(pool)
    return tuple(reader.read(message, at) for at, message in enumerate(messages))


class _Reader:
    def __init__(self, pool: Pool | None) -> None:
        self._pool = pool
        self._strict = pool is None or any(target.dialect != NATIVE for target in pool)

    def read(self, message: BaseMessage, at: int) -> Message:
        match message:
            case ToolMessage():
                # `status` is "success" unless somebody set it, so only "error" says anything.
                failed = True if message.status == "error" else None
                result = ToolResult(message.tool_call_id, self._result(message, at), failed, message.name)
                return Message("tool", (result,))
            case AIMessage():
                return self._answer(message, at)
            case SystemMessage():
                developer = message.additional_kwargs.get("__openai_role__") == "developer"
                return Message("developer" if developer else "system", self._content(message, at), message.name)
            case HumanMessage():
                return Message("user", self._content(message, at), message.name)
            case ChatMessage() if message.role in _ROLES:
                return Message(_ROLES[message.role], self._content(message, at), message.name)
            case _:
                raise RequestError(f"message {at} is a {type(message).__name__}, which no chat model can be sent")

    def _content(self, message: BaseMessage, at: int) -> tuple[Part, ...]:
        if isinstance(message.content, str):
            return (Text(message.content),) if message.content else ()
        found = []
        for block in message.content_blocks:
            try:
                found.append(read_part(dict(block), f"message {at}"))
            except RequestError:
                if self._strict:
                    raise
        return tuple(found)

    def _result(self, message: ToolMessage, at: int) -> tuple[Text | Image | Document, ...]:
        found = []
        for part in self._content(message, at):
            if isinstance(part, Text | Image | Document):
                found.append(part)
            elif self._strict:
                kind = type(part).__name__.lower()
                raise RequestError(f"message {at} has a part of type {kind!r} in a tool's result")
        return tuple(found)

    def _answer(self, message: AIMessage, at: int) -> Message:
        """What a model said, in its order; calls are those of `tool_calls`, which are what was carried out."""
        calls = [ToolCall(call["id"] or "", call["name"], _json(call["args"])) for call in message.tool_calls]
        calls += [
            ToolCall(call["id"] or "", call["name"] or "", call["args"] or "") for call in message.invalid_tool_calls
        ]
        beside = message.additional_kwargs
        if isinstance(message.content, str) and "reasoning_content" not in beside and "agentroute" not in beside:
            said: tuple[Part, ...] = (Text(message.content),) if message.content else ()
            return Message("assistant", (*said, *calls), message.name)
        origin = self._signer(message)
        parts: list[Part] = []
        ours = blocks_of(message)
        for found in message.content_blocks if ours is None else ours:
            block: dict[str, Any] = {"type": "text", "text": found} if isinstance(found, str) else dict(found)
            kind = block["type"]
            if kind == "text" and not block["text"] and "extras" not in block:
                continue
            if kind in CALLS:
                call = next((call for call in calls if call.id == (block.get("id") or "")), None)
                if call is not None:
                    calls.remove(call)
                    kept = (block.get("extras") or {}).get("agentroute")
                    parts.append(replace(call, extra=read_extra(kept.get("extra"))) if kept else call)
            elif kind in ("text", "reasoning") or (kind == "image" and (block.get("url") or block.get("base64"))):
                # What else a model wrote for itself (server tools) is of no use to others.
                parts.append(read_part(block, f"message {at}", origin))
        extra = read_extra((beside.get("agentroute") or {}).get("extra"))
        return Message("assistant", (*parts, *calls), message.name, extra)

    def _signer(self, message: AIMessage) -> str | None:
        """The model that signed the reasoning in this message (`provider/model`): a target of ours, as far as we know,
        or a model that LangChain called without us."""
        name = origin_of(message)
        target = None if self._pool is None or name is None else self._pool.get(name)
        if target is not None:
            return target.origin
        said = message.response_metadata
        provider, model = said.get("model_provider"), said.get("model_name")
        return f"{provider}/{model}" if provider and model and provider != MODEL_PROVIDER else None


def origin_of(message: BaseMessage) -> str | None:
    """The name of the target that wrote this message, where a RoutedChatModel returned it."""
    record = message.response_metadata.get("agentroute")
    return record.get("target") if isinstance(record, dict) else None


def portable(message: AIMessage) -> AIMessage:
    """A copy with text and tool calls only, for a model of another family; the message itself where that is all it has.

    Thinking blocks, signatures and server tools of one provider are refused by, or leak to, another.
    """
    if isinstance(message.content, str) and not message.additional_kwargs:
        return message
    return AIMessage(
        content=str(message.text),
        tool_calls=message.tool_calls,
        invalid_tool_calls=message.invalid_tool_calls,
        id=message.id,
        name=message.name,
    )


def write_history(message: Message) -> BaseMessage:
    """A message of the conversation that was changed for a ready model, written anew."""
    if message.role == "tool":
        (result,) = message.tool_results
        content: list[str | dict[Any, Any]] = [_plain_part(part) for part in result.content]
        plain = result.text if all(isinstance(part, Text) for part in result.content) else content
        status: Literal["success", "error"] = "error" if result.is_error else "success"
        return ToolMessage(plain, tool_call_id=result.tool_call_id, name=result.name, status=status)
    if message.role == "assistant":
        said = tuple(part for part in message.parts if isinstance(part, Text | ToolCall))
        written = write_message(ChatResponse(replace(message, parts=said)))
        files = [_plain_part(part) for part in message.parts if isinstance(part, Image | Document | Audio)]
        return AIMessage(
            content=[{"type": "text", "text": message.text}, *files] if files else message.text,
            tool_calls=written.tool_calls,
            invalid_tool_calls=written.invalid_tool_calls,
            name=message.name,
        )
    kind = HumanMessage if message.role == "user" else SystemMessage
    if all(isinstance(part, Text) for part in message.parts):
        return kind(message.text, name=message.name)
    return kind([_plain_part(part) for part in message.parts], name=message.name)


def _plain_part(part: Part) -> dict[str, Any]:
    if isinstance(part, Image | Document | Audio):
        kind = {Image: "image", Document: "file", Audio: "audio"}[type(part)]
        held = {"url": part.url, "base64": part.data, "mime_type": part.media_type}
        return {"type": kind, **{name: value for name, value in held.items() if value is not None}}
    return write_part(part)


# --- canonical -> LangChain ------------------------------------------------------------------------------------------


class ChunkWriter:
    """Turns our events into message chunks, one call at a time; the last chunk carries usage and finish reason.

    With `blocks` each chunk is a piece of a standard content block, which the index of its part ties to the others;
    else it is plain text, and what that cannot tell comes with the last chunk.
    """

    def __init__(self, *, blocks: bool = False) -> None:
        self._blocks = blocks
        self._events: list[Event] = []
        self._index = -1
        self._open: Literal["text", "reasoning"] | None = None
        self._calls: dict[int, int] = {}

    def write(self, event: Event) -> AIMessageChunk | None:
        """The chunk for an event, or None for one that the next or the last chunk reports."""
        self._events.append(event)
        return self._block(event) if self._blocks else self._plain(event)

    def _plain(self, event: Event) -> AIMessageChunk | None:
        match event:
            case TextDelta() if event.text:
                return AIMessageChunk(content=event.text)
            case ReasoningDelta() if event.text:
                return AIMessageChunk(content="", additional_kwargs={"reasoning_content": event.text})
            case ToolCallStarted():
                call = tool_call_chunk(name=event.name, id=event.id, args="", index=event.index)
                return AIMessageChunk(content="", tool_call_chunks=[call])
            case ToolCallDelta():
                call = tool_call_chunk(args=event.arguments, index=event.index)
                return AIMessageChunk(content="", tool_call_chunks=[call])
        return None

    def _block(self, event: Event) -> AIMessageChunk | None:
        """Parts begin and end here where `fold` has them begin and end."""
        match event:
            case TextDelta(extra=None):
                if event.text:
                    self._go_on("text")
                    return _piece(write_part(Text(event.text)), self._index)
                if self._open == "reasoning":
                    self._open = None
            case TextDelta():
                return self._whole(Text(event.text, event.extra))
            case ReasoningDelta():
                if event.text:
                    self._go_on("reasoning")
                    return _piece(write_part(Reasoning(event.text)), self._index)
                if self._open == "text":
                    self._open = None
            case ReasoningSignature():
                self._go_on("reasoning")
                signed = Reasoning("", event.signature, event.origin, event.redacted, event.extra)
                self._open = None
                return _piece(write_part(signed), self._index)
            case ToolCallStarted():
                block = write_part(ToolCall(event.id, event.name, "", event.extra)) | {"args": ""}
                self._open = None
                self._index += 1
                self._calls[event.index] = self._index
                return _call_piece(block, self._index)
            case ToolCallDelta():
                return _call_piece({"id": None, "name": None, "args": event.arguments}, self._calls[event.index])
        return None

    def _go_on(self, kind: Literal["text", "reasoning"]) -> None:
        if self._open != kind:
            self._open = kind
            self._index += 1

    def _whole(self, part: Text) -> AIMessageChunk:
        self._open = None
        self._index += 1
        return _piece(write_part(part), self._index)

    def last(self) -> AIMessageChunk:
        response = fold(self._events)
        return AIMessageChunk(
            content=[] if self._blocks else "",
            chunk_position="last",
            usage_metadata=_write_usage(response.usage),
            additional_kwargs=_beside(response, blocks=self._blocks),
            response_metadata=_metadata(response, blocks=self._blocks),
        )


def _piece(block: dict[str, Any], index: int) -> AIMessageChunk:
    return AIMessageChunk(content=[{**block, "index": index}], response_metadata=dict(_VERSION))


def _call_piece(block: dict[str, Any], index: int) -> AIMessageChunk:
    call = tool_call_chunk(name=block["name"], id=block["id"], args=block["args"], index=index)
    content = {**block, "type": "tool_call_chunk", "index": index}
    return AIMessageChunk(content=[content], tool_call_chunks=[call], response_metadata=dict(_VERSION))


def write_message(response: ChatResponse, *, blocks: bool = False) -> AIMessage:
    """A whole answer, as standard content blocks or as plain text.

    A call whose arguments are no JSON object becomes an invalid tool call, never a repaired one.
    """
    written = [write_part(part) for part in response.message.parts]
    thoughts = "".join(block["reasoning"] for block in written if block["type"] == "reasoning")
    kwargs = _beside(response, blocks=blocks)
    if thoughts and not blocks:
        kwargs["reasoning_content"] = thoughts
    return AIMessage(
        content=[*written] if blocks else response.text,
        tool_calls=[
            LangChainToolCall(name=block["name"], args=block["args"], id=block["id"], type="tool_call")
            for block in written
            if block["type"] == "tool_call"
        ],
        invalid_tool_calls=[
            InvalidToolCall(
                name=block["name"], args=block["args"], id=block["id"], error=block["error"], type="invalid_tool_call"
            )
            for block in written
            if block["type"] == "invalid_tool_call"
        ],
        usage_metadata=_write_usage(response.usage),
        additional_kwargs=kwargs,
        response_metadata=_metadata(response, blocks=blocks),
    )


def _beside(response: ChatResponse, *, blocks: bool) -> dict[str, Any]:
    """What the content does not hold, under a key of our own."""
    extra = response.message.extra
    outline = None if blocks else outline_of(response.message.parts)
    held = {"parts": outline, "extra": None if extra is None else write_extra(extra)}
    held = {key: value for key, value in held.items() if value is not None}
    return {"agentroute": held} if held else {}


def _metadata(response: ChatResponse, *, blocks: bool) -> dict[str, Any]:
    known = {
        "model_name": response.model,
        "finish_reason": response.finish_reason,
        "id": response.id,
        "model_provider": MODEL_PROVIDER,
    }
    return {key: value for key, value in known.items() if value is not None} | (dict(_VERSION) if blocks else {})


def _write_usage(usage: Usage | None) -> UsageMetadata | None:
    """None unless both counts are known: LangChain has no way to say that one is not."""
    if usage is None or usage.input_tokens is None or usage.output_tokens is None:
        return None
    counted = UsageMetadata(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        total_tokens=usage.input_tokens + usage.output_tokens,
    )
    if usage.cache_read_tokens is not None or usage.cache_write_tokens is not None:
        details = InputTokenDetails()
        if usage.cache_read_tokens is not None:
            details["cache_read"] = usage.cache_read_tokens
        if usage.cache_write_tokens is not None:
            details["cache_creation"] = usage.cache_write_tokens
        counted["input_token_details"] = details
    if usage.reasoning_tokens is not None:
        counted["output_token_details"] = OutputTokenDetails(reasoning=usage.reasoning_tokens)
    return counted


# --- what a native answer says ---------------------------------------------------------------------------------------


def has_content(message: BaseMessage) -> bool:
    """Whether a chunk holds part of an answer, so that no other model may follow it."""
    if isinstance(message, AIMessageChunk) and message.tool_call_chunks:
        return True
    if isinstance(message, AIMessage) and (message.tool_calls or message.additional_kwargs.get("reasoning_content")):
        return True
    content = message.content
    if isinstance(content, str):
        return bool(content)
    return any(isinstance(block, str) or block.get("type") != "text" or block.get("text") for block in content)


def finish_of(said: Mapping[str, Any]) -> str | None:
    """Why a native model stopped, in its provider's own word (its answer's metadata). Without one it broke off."""
    return next((str(said[key]) for key in _FINISH_KEYS if said.get(key)), None)


def done_of(usage: UsageMetadata | None, said: Mapping[str, Any]) -> Done:
    """Usage and finish reason as a native model reported them; None for what it did not."""
    return Done(read_usage(usage), finish_reason(str(finish_of(said))))


def read_usage(usage: UsageMetadata | None) -> Usage | None:
    # LangChain marks what came from its own cache so: the provider has counted nothing.
    if usage is None or usage.get("total_cost") == 0:
        return None
    details_in, details_out = usage.get("input_token_details") or {}, usage.get("output_token_details") or {}
    return Usage(
        input_tokens=usage["input_tokens"],
        output_tokens=usage["output_tokens"],
        cache_read_tokens=details_in.get("cache_read"),
        cache_write_tokens=details_in.get("cache_creation"),
        reasoning_tokens=details_out.get("reasoning"),
    )


def read_response(chunks: Sequence[AIMessage]) -> ChatResponse | None:
    """What had arrived of a native answer, for the error that says it broke off."""
    if not chunks:
        return None
    whole = chunks[0]
    if isinstance(whole, AIMessageChunk):
        whole = add_ai_message_chunks(whole, *(chunk for chunk in chunks[1:] if isinstance(chunk, AIMessageChunk)))
    done = done_of(whole.usage_metadata, whole.response_metadata)
    return ChatResponse(_Reader(None).read(whole, 0), done.finish_reason, done.usage)
