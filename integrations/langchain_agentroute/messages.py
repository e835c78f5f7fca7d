"""LangChain messages and our canonical values, both ways. Nothing here changes what it is given."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

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

from agentroute.effects import Done
from agentroute.errors import RequestError
from agentroute.events import (
    Event,
    Finished,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    UsageReported,
)
from agentroute.formats import finish_reason
from agentroute.messages import (
    ChatResponse,
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

__all__ = [
    "ChunkWriter",
    "done_of",
    "finish_of",
    "has_content",
    "origin_of",
    "portable",
    "read_messages",
    "read_response",
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
_FINISH_KEYS = ("finish_reason", "stop_reason", "done_reason", "status")
# --- LangChain -> canonical ------------------------------------------------------------------------------------------


def read_messages(messages: Iterable[BaseMessage]) -> tuple[Message, ...]:
    """The conversation as canonical messages. Raises RequestError naming what a canonical message cannot hold."""
    return tuple(_read(message, at) for at, message in enumerate(messages))


def _read(message: BaseMessage, at: int) -> Message:
    match message:
        case ToolMessage():
            content = tuple(part for part in _read_content(message, at) if isinstance(part, Text | Image))
            # `status` is "success" unless somebody set it, so only "error" says anything.
            failed = True if message.status == "error" else None
            return Message("tool", (ToolResult(message.tool_call_id, content, failed, message.name),))
        case AIMessage():
            calls = [
                ToolCall(call["id"] or "", call["name"], json.dumps(call["args"], ensure_ascii=False))
                for call in message.tool_calls
            ]
            calls += [
                ToolCall(call["id"] or "", call["name"] or "", call["args"] or "")
                for call in message.invalid_tool_calls
            ]
            return Message("assistant", (*_read_content(message, at), *calls), message.name)
        case SystemMessage():
            developer = message.additional_kwargs.get("__openai_role__") == "developer"
            return Message("developer" if developer else "system", _read_content(message, at), message.name)
        case HumanMessage():
            return Message("user", _read_content(message, at), message.name)
        case ChatMessage() if message.role in _ROLES:
            return Message(_ROLES[message.role], _read_content(message, at), message.name)
        case _:
            raise RequestError(f"message {at} is a {type(message).__name__}, which no chat model can be sent")


def _read_content(message: BaseMessage, at: int) -> tuple[Part, ...]:
    content = message.content
    if isinstance(content, str) and "reasoning_content" not in message.additional_kwargs:
        return (Text(content),) if content else ()
    parts = (_read_block(dict(block), message, at) for block in message.content_blocks)
    return tuple(part for part in parts if part is not None)


def _read_block(block: dict[str, Any], message: BaseMessage, at: int) -> Part | None:
    kind = block["type"]
    if kind == "text":
        return Text(block["text"])
    if kind == "image" and (block.get("url") or block.get("base64")):
        return Image(url=block.get("url"), data=block.get("base64"), media_type=block.get("mime_type"))
    if kind == "reasoning":
        signature = (block.get("extras") or {}).get("signature")
        return Reasoning(block.get("reasoning") or "", signature, origin_of(message))
    if isinstance(message, AIMessage):
        # Calls are read from `tool_calls`; what else a model wrote for itself (server tools) is of no use to others.
        return None
    shown = block["value"].get("type") if kind == "non_standard" and isinstance(block.get("value"), dict) else kind
    raise RequestError(f"message {at} has a part of type {shown!r}; text and images can be sent to every target")


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


# --- canonical -> LangChain ------------------------------------------------------------------------------------------


class ChunkWriter:
    """Turns our events into message chunks, one call at a time; the last chunk carries usage and finish reason."""

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._started = Started()
        self._finished = Finished()
        self._usage: Usage | None = None

    def write(self, event: Event) -> AIMessageChunk | None:
        """The chunk for an event, or None for one that `last` reports."""
        match event:
            case TextDelta():
                return AIMessageChunk(content=event.text)
            case ReasoningDelta():
                return AIMessageChunk(content="", additional_kwargs={"reasoning_content": event.text})
            case ToolCallStarted():
                call = tool_call_chunk(name=event.name, id=event.id, args="", index=event.index)
                return AIMessageChunk(content="", tool_call_chunks=[call])
            case ToolCallDelta():
                return AIMessageChunk(
                    content="", tool_call_chunks=[tool_call_chunk(args=event.arguments, index=event.index)]
                )
            case Started():
                self._started = event
            case UsageReported():
                self._usage = event.usage
            case Finished():
                self._finished = event
        return None

    def last(self) -> AIMessageChunk:
        return AIMessageChunk(
            content="",
            chunk_position="last",
            usage_metadata=_write_usage(self._usage),
            response_metadata=_metadata(
                self._provider, self._started.model, self._started.id, self._finished.finish_reason
            ),
        )


def write_message(response: ChatResponse, provider: str) -> AIMessage:
    """A whole answer. A call whose arguments are no JSON object becomes an invalid tool call, never a repaired one."""
    calls: list[LangChainToolCall] = []
    invalid: list[InvalidToolCall] = []
    for call in response.tool_calls:
        try:
            calls.append(LangChainToolCall(name=call.name, args=call.parsed(), id=call.id, type="tool_call"))
        except RequestError as error:
            invalid.append(
                InvalidToolCall(
                    name=call.name, args=call.arguments, id=call.id, error=str(error), type="invalid_tool_call"
                )
            )
    thoughts = "".join(part.text for part in response.message.parts if isinstance(part, Reasoning))
    return AIMessage(
        content=response.text,
        tool_calls=calls,
        invalid_tool_calls=invalid,
        usage_metadata=_write_usage(response.usage),
        additional_kwargs={"reasoning_content": thoughts} if thoughts else {},
        response_metadata=_metadata(provider, response.model, response.id, response.finish_reason),
    )


def _metadata(provider: str, model: str | None, answer_id: str | None, finish_reason: str | None) -> dict[str, Any]:
    known = {"model_name": model, "finish_reason": finish_reason, "id": answer_id, "model_provider": provider}
    return {key: value for key, value in known.items() if value is not None}


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


def finish_of(message: AIMessage) -> str | None:
    """Why a native model stopped, in its provider's own word. Without one its answer broke off."""
    said = message.response_metadata
    return next((str(said[key]) for key in _FINISH_KEYS if said.get(key)), None)


def done_of(message: AIMessage) -> Done:
    """Usage and finish reason as a native model reported them; None for what it did not."""
    return Done(_read_usage(message.usage_metadata), finish_reason(str(finish_of(message))))


def _read_usage(usage: UsageMetadata | None) -> Usage | None:
    if usage is None:
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
    done = done_of(whole)
    return ChatResponse(_read(whole, 0), done.finish_reason, done.usage)
