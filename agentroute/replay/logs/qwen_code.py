"""Qwen Code sessions: lines like Claude Code's whose messages have Gemini's `parts`."""

from __future__ import annotations

from collections.abc import Iterator

from agentroute.messages import Usage
from agentroute.replay.records import Problem, Trace

from .base import Place
from .fields import Raw, count_of, dig, mapping, name_of, time_of, usage_of
from .messages import Pairing, answer_of, messages_of, said
from .thread import Thread

__all__ = ["QwenCode", "is_qwen_code"]


def is_qwen_code(raw: Raw) -> bool:
    return "sessionId" in raw and "uuid" in raw and isinstance(dig(raw, "message", "parts"), list)


class QwenCode:
    """Reads one file; a new session id begins a new conversation."""

    def __init__(self) -> None:
        self._thread: Thread | None = None
        self._pairing = Pairing()
        self._seen: set[int] = set()

    def read(self, raw: Raw, place: Place) -> Iterator[Trace | Problem]:
        line = hash(raw.get("uuid")) if isinstance(raw.get("uuid"), str) else None
        if line is not None and line in self._seen:
            return
        if line is not None:
            self._seen.add(line)
        session = name_of(raw, "sessionId") or place.path.stem
        agent = name_of(raw, "agentId", "subagentId")
        identity = f"{session}/{agent}" if agent else session
        if self._thread is None or self._thread.conversation_id != identity:
            yield from self.close()
            self._thread = Thread(
                "qwen_code", identity, agent=name_of(raw, "agentName"), parent=session if agent else None
            )
            self._pairing = Pairing()
        thread, message = self._thread, mapping(raw.get("message"))
        match raw.get("type"):
            case "assistant":
                answer = answer_of({**message, "role": "assistant"}, "message", self._pairing)
                usage = _usage(mapping(raw.get("usageMetadata")))
                thread.answer(answer, usage, name_of(raw, "model"), time_of(raw.get("timestamp")), name_of(raw, "uuid"))
            case "user" | "tool_result":
                result = mapping(raw.get("toolCallResult"))
                status = {"status": result["status"]} if "status" in result else {}
                parts = [{**mapping(part), **status} for part in message.get("parts") or ()]
                thread.add(said({"role": "user", "parts": parts}, "message", self._pairing))
            case "system" if "compress" in str(raw.get("subtype")):
                history = dig(raw, "systemPayload", "compressedHistory")
                yield from thread.restart(messages_of(history, "compressedHistory", self._pairing))

    def close(self) -> Iterator[Trace | Problem]:
        if self._thread is not None:
            yield from self._thread.trace()
        self._thread = None


def _usage(raw: Raw) -> Usage | None:
    """All that is not prompt is output, whether thoughts are counted in or beside."""
    entry, total = count_of(raw, "promptTokenCount"), count_of(raw, "totalTokenCount")
    output = count_of(raw, "candidatesTokenCount")
    if entry is not None and total is not None and total >= entry + (output or 0):
        output = total - entry
    thought = count_of(raw, "thoughtsTokenCount")
    return usage_of(entry, output, read=count_of(raw, "cachedContentTokenCount"), reasoning=thought)
