"""LangChain messages: a list of dicts, dumps or model dumps, alone in a document or one list a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from agentroute.messages import Usage
from agentroute.replay.records import Trace

from .fields import Raw, count_of, dig, mapping, name_of, usage_of
from .messages import Pairing, said
from .thread import Thread

__all__ = ["conversation", "is_message", "read", "usage_of_metadata"]

_TYPES = frozenset({"human", "ai", "system", "tool", "function", "chat", "AIMessageChunk", "developer"})


def is_message(raw: Any) -> bool:
    """Whether this is one message as LangChain writes it."""
    if not isinstance(raw, Mapping):
        return False
    if "lc" in raw and isinstance(raw.get("id"), list):
        return "kwargs" in raw and str(raw["id"][-1:]).find("Message") > 0
    kind = raw.get("type")
    return isinstance(kind, str) and kind in _TYPES and ("data" in raw or "content" in raw)


def read(raw: Raw) -> Iterator[Trace]:
    """A conversation in `messages`."""
    yield from conversation(raw["messages"], Thread("langchain", name_of(raw, "thread_id", "id")))


def conversation(messages: Iterable[Any], thread: Thread) -> Iterator[Trace]:
    """The calls of a list of messages."""
    pairing = Pairing()
    for index, raw in enumerate(messages):
        found = said(raw, f"messages[{index}]", pairing)
        held = mapping(dig(raw, "data")) or mapping(dig(raw, "kwargs")) or mapping(raw)
        for message in found:
            if message.role != "assistant":
                thread.add([message])
                continue
            details = mapping(held.get("response_metadata"))
            usage = usage_of_metadata(held.get("usage_metadata"))
            usage = usage or usage_of_metadata(details.get("token_usage") or details.get("usage"))
            model = name_of(details, "model_name", "model")
            thread.answer(message, usage, model, answer_id=name_of(held, "id"))
    yield from thread.trace()


def usage_of_metadata(raw: Any) -> Usage | None:
    """`usage_metadata` of LangChain, or usage as OpenAI writes it: what was cached is part of the input."""
    details = dig(raw, "input_token_details") or dig(raw, "prompt_tokens_details") or dig(raw, "input_tokens_details")
    thought = dig(raw, "output_token_details") or dig(raw, "completion_tokens_details")
    return usage_of(
        count_of(raw, "input_tokens", "prompt_tokens"),
        count_of(raw, "output_tokens", "completion_tokens"),
        read=count_of(details, "cache_read", "cached_tokens"),
        written=count_of(details, "cache_creation", "cache_write"),
        reasoning=count_of(thought, "reasoning", "reasoning_tokens"),
    )
