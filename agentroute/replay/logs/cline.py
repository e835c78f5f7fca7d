"""Cline and Roo Code tasks: the conversation in one file, its usage in another, and Cline's newer session files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from agentroute.messages import Usage
from agentroute.replay.records import Trace

from .base import Place, json_beside
from .fields import Raw, count_of, dig, json_of, mapping, name_of, time_of, usage_of
from .messages import Pairing, said, tools_of
from .thread import Thread

__all__ = ["conversation", "is_cline_message", "is_session", "is_ui_message", "session"]

_MAX_BESIDE = 256 * 1024 * 1024
_NEAR_S = 600.0
"""A request further than this from an answer is another's: the two files drift apart when a task is resumed."""


def is_cline_message(raw: Raw) -> bool:
    return "role" in raw and "content" in raw and ("ts" in raw or "modelInfo" in raw)


def is_ui_message(raw: Raw) -> bool:
    """A line of `ui_messages.json`, which is read beside the conversation."""
    return raw.get("type") in ("say", "ask") and "ts" in raw and ("say" in raw or "ask" in raw)


def is_session(raw: Raw) -> bool:
    return (
        isinstance(raw.get("messages"), list)
        and "system_prompt" in raw
        and ("sessionId" in raw or "session_id" in raw or "metrics" in raw or "agent" in raw)
    )


def conversation(messages: Sequence[Any], place: Place) -> Iterator[Trace]:
    """The calls of `api_conversation_history.json`, with the usage that stands beside it."""
    folder = place.path.parent
    thread = Thread("cline", folder.name or place.path.stem)
    yield from _read(_shown(messages), thread, _requests(folder / "ui_messages.json"))


def session(raw: Raw) -> Iterator[Trace]:
    """One session of the newer Cline: the system prompt is in it, and the usage at each answer."""
    thread = Thread("cline", name_of(raw, "sessionId", "session_id", "id"), agent=name_of(raw, "agent"))
    thread.tools = tools_of(raw.get("tools"))
    messages = raw["messages"]
    if raw.get("system_prompt"):
        messages = [{"role": "system", "content": raw["system_prompt"]}, *messages]
    yield from _read(messages, thread, [])


def _read(
    messages: Sequence[Any], thread: Thread, requests: list[tuple[float | None, Usage | None]]
) -> Iterator[Trace]:
    pairing, number = Pairing(), 0
    for index, item in enumerate(messages):
        raw = mapping(item)
        for message in said(raw, f"messages[{index}]", pairing):
            if message.role != "assistant":
                thread.add([message])
                continue
            at = time_of(raw.get("ts")) or time_of(raw.get("timestamp"))
            usage = _metrics(mapping(raw.get("metrics")))
            if usage is None:
                number, usage = _matching(requests, number, at)
            info = mapping(raw.get("modelInfo"))
            model = name_of(info, "modelId", "id", "model") or name_of(raw, "model")
            thread.answer(message, usage, model, at, name_of(raw, "id"))
    yield from thread.trace()


def _matching(
    requests: list[tuple[float | None, Usage | None]], number: int, at: float | None
) -> tuple[int, Usage | None]:
    """The request of an answer: the next one, but the last of those before it if both have times."""
    if at is not None:
        while number + 1 < len(requests) and (later := requests[number + 1][0]) is not None and later <= at:
            number += 1
    if number >= len(requests):
        return number, None
    begun, usage = requests[number]
    if at is not None and begun is not None and not -1 <= at - begun <= _NEAR_S:
        return number, None
    return number + 1, usage


def _shown(messages: Sequence[Any]) -> list[Any]:
    """Without what Roo condensed or cut: those have a parent whose summary or marker stands in the list."""
    held = [mapping(item) for item in messages]
    condensed = {item.get("condenseId") for item in held if item.get("isSummary")}
    cut = {item.get("truncationId") for item in held if item.get("isTruncationMarker")}
    return [
        item
        for item in held
        if not (item.get("condenseParent") and item["condenseParent"] in condensed)
        and not (item.get("truncationParent") and item["truncationParent"] in cut)
    ]


def _requests(path: Path) -> list[tuple[float | None, Usage | None]]:
    lines = json_beside(path, _MAX_BESIDE)
    found: list[tuple[float | None, Usage | None]] = []
    roo = "roo-cline" in str(path)
    for line in lines if isinstance(lines, list) else ():
        if dig(line, "say") == "api_req_started":
            told = mapping(json_of(dig(line, "text")))
            usage = usage_of(
                count_of(told, "tokensIn"),
                count_of(told, "tokensOut"),
                read=count_of(told, "cacheReads"),
                written=count_of(told, "cacheWrites"),
                # Roo counts what was cached in, and names the protocol it spoke.
                beside=not roo and "apiProtocol" not in told,
            )
            if usage is not None:
                found.append((time_of(dig(line, "ts")), usage))
    return found


def _metrics(raw: Raw) -> Usage | None:
    return usage_of(
        count_of(raw, "inputTokens", "input_tokens", "tokensIn"),
        count_of(raw, "outputTokens", "output_tokens", "tokensOut"),
        read=count_of(raw, "cacheReadTokens", "cache_read_tokens", "cacheReads"),
        written=count_of(raw, "cacheWriteTokens", "cache_write_tokens", "cacheWrites"),
    )
