"""Gemini CLI sessions: lines that replace, rewind and add messages, or one document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agentroute.messages import Usage
from agentroute.replay.records import Problem, Trace

from .base import Place
from .fields import Raw, count_of, mapping, name_of, time_of, usage_of
from .messages import Pairing, answer_of, said
from .thread import Thread

__all__ = ["GeminiCli", "is_gemini_cli"]


def is_gemini_cli(raw: Raw) -> bool:
    return ("sessionId" in raw and "projectHash" in raw) or "$set" in raw or "$rewindTo" in raw


class GeminiCli:
    """Reads one file. Messages are kept by id, the later line wins; what a rewind drops was answered all the same."""

    def __init__(self) -> None:
        self._session: str | None = None
        self._parent: str | None = None
        self._messages: dict[str, Raw] = {}
        self._told: set[str] = set()
        self._thread: Thread | None = None

    def read(self, raw: Raw, place: Place) -> Iterator[Trace | Problem]:
        if "projectHash" in raw:
            session = name_of(raw, "sessionId")
            if session != self._session:
                yield from self.close()
                below = raw.get("kind") not in (None, "main") or place.path.parent.name not in ("chats", "")
                self._session = session
                self._parent = place.path.parent.name if below and raw.get("kind") == "subagent" else None
        if isinstance(raw.get("$set"), dict):
            raw = raw["$set"]
        if "$rewindTo" in raw:
            yield from self._rewind(raw["$rewindTo"])
        elif isinstance(raw.get("messages"), list):
            yield from self._replace(raw["messages"])
        elif isinstance(raw.get("id"), str) and "type" in raw:
            self._messages[raw["id"]] = raw

    def close(self) -> Iterator[Trace | Problem]:
        yield from self._tell()
        self._messages, self._told, self._thread = {}, set(), None

    def _rewind(self, to: Any) -> Iterator[Trace]:
        ids = list(self._messages)
        if to not in self._messages:
            return
        dropped = ids[ids.index(to) :]
        if any(self._messages[each].get("type") == "gemini" for each in dropped):
            yield from self._tell()
        for each in dropped:
            del self._messages[each]

    def _replace(self, messages: list[Any]) -> Iterator[Trace]:
        kept = {held["id"]: held for item in messages if isinstance((held := mapping(item)).get("id"), str)}
        if any(held.get("type") == "gemini" and key not in kept for key, held in self._messages.items()):
            yield from self._tell()
        self._messages = kept

    def _tell(self) -> Iterator[Trace]:
        """The messages as they stand, with the answers that were not told before as calls."""
        thread, pairing, given = self._thread, Pairing(), set()
        if thread is None:
            thread = self._thread = Thread("gemini_cli", self._session, parent=self._parent)
        messages_before = thread.restart(())
        yield from messages_before
        for key, raw in self._messages.items():
            match raw.get("type"):
                case "gemini":
                    calls = [mapping(call) for call in raw.get("toolCalls") or ()]
                    content = {"role": "assistant", "content": raw.get("content"), "tool_calls": calls}
                    answer = answer_of(content, "content", pairing)
                    if key in self._told:
                        thread.add([answer])
                    else:
                        self._told.add(key)
                        tokens = mapping(raw.get("tokens"))
                        thread.answer(answer, _usage(tokens), name_of(raw, "model"), time_of(raw.get("timestamp")), key)
                    for call in calls:
                        status = {"status": call["status"]} if "status" in call else {}
                        parts = [
                            {**mapping(part), **status} for part in call.get("result") or () if isinstance(part, dict)
                        ]
                        if parts:
                            given.add(call.get("id"))
                            thread.add(said({"role": "user", "content": parts}, "toolCalls.result", pairing))
                case "user":
                    told = raw.get("content")
                    if isinstance(told, list):
                        told = [part for part in told if _response_id(part) not in given]
                        if not told:
                            continue
                    thread.add(said({"role": "user", "content": told}, "content", pairing))
        yield from thread.trace()


def _response_id(part: Any) -> Any:
    return mapping(mapping(part).get("functionResponse")).get("id", "")


def _usage(tokens: Raw) -> Usage | None:
    """Thoughts stand beside the output and are billed as output; a tool's prompt stands beside the input."""
    entry, output = count_of(tokens, "input"), count_of(tokens, "output")
    thought, tool = count_of(tokens, "thoughts") or 0, count_of(tokens, "tool") or 0
    return usage_of(
        None if entry is None else entry + tool,
        None if output is None else output + thought,
        read=count_of(tokens, "cached"),
        reasoning=thought or None,
    )
