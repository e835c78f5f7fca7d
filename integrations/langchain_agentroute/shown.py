"""What a reader has been shown of an answer, which rules out that another model goes on with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessageChunk
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.outputs import ChatGenerationChunk

from .messages import has_content

__all__ = ["Seen", "shows_content"]


def shows_content(event: Mapping[str, Any]) -> bool:
    """Whether an event of LangChain's v3 streaming holds part of an answer, so that no other model may follow it."""
    match event["event"]:
        case "content-block-delta":
            return any(value for name, value in event["delta"].items() if name != "type")
        case "content-block-start":
            return bool(event["content"].get("name"))
        case "content-block-finish":
            return True
    return False


class Seen(BaseCallbackHandler):
    """Notes what callbacks have shown of an answer that is invoked, not streamed.

    LangGraph's `stream_mode="messages"` turns `invoke` into streaming underneath; text it has shown rules out another
    model just as text that was yielded does.
    """

    run_inline = True

    def __init__(self) -> None:
        self.chunks: list[AIMessageChunk] = []

    def on_chat_model_start(self, *_: Any, **__: Any) -> None:
        """Nothing. Without it LangChain writes out the whole conversation as one text for `on_llm_start`."""

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, **_: Any) -> None:
        if isinstance(chunk, ChatGenerationChunk) and isinstance(chunk.message, AIMessageChunk):
            if self.chunks or has_content(chunk.message):
                self.chunks.append(chunk.message)
        elif token:
            self.chunks.append(AIMessageChunk(content=token))

    def on_stream_event(self, event: Any, **_: Any) -> None:
        if shows_content(event):
            self.chunks.append(AIMessageChunk(content=str((event.get("delta") or {}).get("text", ""))))

    def partial(self) -> AIMessageChunk:
        return add_ai_message_chunks(self.chunks[0], *self.chunks[1:])
