"""The three shapes of an answer: one message, message chunks, or the events of LangChain's v3 streaming."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol, TypeAlias

from langchain_core.language_models.chat_model_stream import AsyncChatModelStream, ChatModelStream
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import add_ai_message_chunks

from agentroute import ChatResponse, Decision

from .messages import read_response

__all__ = ["Answer", "Chunks", "Events", "Shape", "Whole"]

Shape: TypeAlias = Literal["message", "chunks", "events"]


class Answer(Protocol):
    """Takes the payloads of one call as they come, and says what of them its reader gets.

    The decision is whole only when the answer is, so what bears it (`last`) comes after everything else.
    """

    shape: Shape

    def take(self, payload: Any) -> Any | None:
        """What to hand on now, if anything."""

    def last(self, decision: Decision) -> Any:
        """What ends the answer."""

    def so_far(self) -> BaseMessage | None:
        """All that was handed on, as one message."""

    def partial(self) -> ChatResponse | None:
        """What had arrived of an answer that broke off."""

    def whole(self) -> ChatResponse | None:
        """The answer, once `last` has ended it."""


class Whole:
    """The answer to `invoke`: one message. Where it broke off, the chunks that callbacks had shown of it."""

    shape: Shape = "message"

    def __init__(self) -> None:
        self._payloads: list[AIMessage] = []

    def take(self, payload: AIMessage) -> None:
        self._payloads.append(payload)

    def last(self, decision: Decision) -> AIMessage:
        message = self._payloads[-1]
        metadata = {**message.response_metadata, "agentroute": decision.to_dict()}
        self._payloads[-1] = message = message.model_copy(update={"response_metadata": metadata})
        return message

    def so_far(self) -> AIMessage | None:
        return self._payloads[-1] if self._payloads else None

    def partial(self) -> ChatResponse | None:
        return read_response(self._payloads)

    def whole(self) -> ChatResponse | None:
        return read_response(self._payloads[-1:])


class Chunks:
    """The answer to `stream`: the target's own chunks, and one more for the decision, with nothing else in it."""

    shape: Shape = "chunks"

    def __init__(self) -> None:
        self._chunks: list[AIMessageChunk] = []

    def take(self, payload: AIMessageChunk) -> AIMessageChunk:
        if "agentroute" in payload.response_metadata:
            # A router below this one; merged, two decisions would be none.
            said = {key: value for key, value in payload.response_metadata.items() if key != "agentroute"}
            payload = payload.model_copy(update={"response_metadata": said})
        self._chunks.append(payload)
        return payload

    def last(self, decision: Decision) -> AIMessageChunk:
        before = self._chunks[-1] if self._chunks else AIMessageChunk(content="")
        chunk = AIMessageChunk(
            content="" if isinstance(before.content, str) else [],
            id=before.id,
            response_metadata={"agentroute": decision.to_dict()},
            chunk_position="last",
        )
        self._chunks.append(chunk)
        return chunk

    def so_far(self) -> AIMessageChunk | None:
        return _merged(self._chunks)

    def partial(self) -> ChatResponse | None:
        return read_response(self._chunks)

    def whole(self) -> ChatResponse | None:
        return read_response(self._chunks)


class Events:
    """The answer to `stream_events(version="v3")`: the target's own events, put into the stream that the caller reads.

    The decision is in the metadata of the last event.
    """

    shape: Shape = "events"

    def __init__(self, stream: ChatModelStream | AsyncChatModelStream) -> None:
        self._stream = stream
        self._texts: list[AIMessageChunk] = []
        self._finish: dict[str, Any] = {"event": "message-finish"}

    def take(self, payload: dict[str, Any]) -> dict[str, Any] | None:
        if payload["event"] == "message-finish":
            self._finish = payload
            return None
        if payload["event"] == "content-block-delta" and payload["delta"].get("text"):
            self._texts.append(AIMessageChunk(content=payload["delta"]["text"]))
        self._stream.dispatch(payload)
        return payload

    def last(self, decision: Decision) -> dict[str, Any]:
        metadata = {**(self._finish.get("metadata") or {}), "agentroute": decision.to_dict()}
        event = {**self._finish, "metadata": metadata}
        self._stream.dispatch(event)
        return event

    def so_far(self) -> AIMessage | None:
        return self._stream.output_message or _merged(self._texts)

    def partial(self) -> ChatResponse | None:
        return read_response(self._texts)

    def whole(self) -> ChatResponse | None:
        message = self.so_far()
        return None if message is None else read_response([message])


def _merged(chunks: Sequence[AIMessageChunk]) -> AIMessageChunk | None:
    return add_ai_message_chunks(chunks[0], *chunks[1:]) if chunks else None
