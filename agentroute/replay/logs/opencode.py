"""opencode sessions: its export, its tree of files, and its database. A part of a message is a call and its result."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from agentroute.messages import Message, Part, Reasoning, Text, ToolCall, ToolResult
from agentroute.replay.records import Problem, Trace

from .base import Place
from .fields import Raw, count_of, dig, failed_exit, mapping, name_of, plain, time_of, usage_of
from .shelf import Shelf
from .thread import Thread

__all__ = ["OpenCode", "from_database", "is_opencode"]


def is_opencode(raw: Raw) -> bool:
    info = raw.get("info")
    if isinstance(info, Mapping) and str(info.get("id", "")).startswith("ses") and "messages" in raw:
        return True
    own = str(raw.get("id", ""))
    if own.startswith("ses_") and ("projectID" in raw or "directory" in raw):
        return True
    return "sessionID" in raw and own.startswith(("msg_", "prt_"))


class OpenCode:
    """Exports are read at once; the files of a tree are gathered by session."""

    def __init__(self) -> None:
        self._shelf = Shelf()
        self._sessions: dict[str, Raw] = {}
        self._file = ""

    def read(self, raw: Raw, place: Place) -> Iterator[Trace | Problem]:
        self._file = self._file or place.file
        if "messages" in raw:
            yield from session(mapping(raw["info"]), map(mapping, raw["messages"]), place.file, place.line)
        elif "messageID" in raw:
            self._shelf.put(plain(raw["sessionID"]), None, place.line, {"part": raw})
        elif "sessionID" in raw:
            self._shelf.put(plain(raw["sessionID"]), None, place.line, {"message": raw})
        else:
            self._sessions[plain(raw.get("id"))] = raw

    def close(self) -> Iterator[Trace | Problem]:
        for name in self._shelf.groups():
            messages: list[Raw] = []
            parts: dict[str, list[Raw]] = {}
            for _, _, row in self._shelf.rows(name):
                if "part" in row:
                    parts.setdefault(row["part"]["messageID"], []).append(row["part"])
                else:
                    messages.append(row["message"])
            ordered = sorted(
                messages, key=lambda held: (time_of(dig(held, "time", "created")) or 0.0, plain(held.get("id")))
            )
            whole = ({"info": held, "parts": sorted(parts.get(plain(held["id"]), []), key=_id)} for held in ordered)
            yield from session(self._sessions.get(name, {"id": name}), whole, self._file, 1)
        self._shelf.close()


def _id(raw: Any) -> str:
    return plain(dig(raw, "id"))


def from_database(rows: sqlite3.Connection, place: Place) -> Iterator[Trace | Problem]:
    """The sessions of `opencode.db`."""
    columns = {row[1] for row in rows.execute("pragma table_info(session)")}
    parent = "parent_id" if "parent_id" in columns else "null"
    order = "time_created" if "time_created" in columns else "id"
    for own, above in rows.execute(f"select id, {parent} from session order by {order}").fetchall():
        found: list[Raw] = []
        query = "select id, data from message where session_id = ? order by time_created, id"
        for message_id, data in rows.execute(query, (own,)).fetchall():
            query = "select id, data from part where message_id = ? order by id"
            parts = [{**_object(part), "id": key} for key, part in rows.execute(query, (message_id,)).fetchall()]
            found.append({"info": {**_object(data), "id": message_id}, "parts": parts})
        yield from session({"id": own, "parentID": above}, found, place.file, 1)


def _object(data: Any) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, TypeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def session(info: Raw, messages: Iterable[Raw], file: str, line: int) -> Iterator[Trace | Problem]:
    """The calls of one session. A summary of a compaction is an answer, and begins the prompt anew."""
    thread = Thread("opencode", name_of(info, "id"), parent=name_of(info, "parentID"))
    for raw in messages:
        held = mapping(raw.get("info"))
        parts = [mapping(part) for part in raw.get("parts") or ()]
        thread.agent = thread.agent or (name_of(held, "agent", "mode") if held.get("role") == "assistant" else None)
        if held.get("role") == "user":
            words = [
                Text(plain(part.get("text")))
                for part in parts
                if part.get("type") == "text" and not part.get("ignored")
            ]
            if words:
                thread.add([Message("user", tuple(words))])
        elif held.get("error") and not any(part.get("type") in ("text", "tool") for part in parts):
            kind = name_of(held["error"], "name") or "an error"
            yield Problem(file, line, f"opencode: a call that failed and has no answer: {kind}", True)
        elif held.get("role") == "assistant":
            answer, results = _answer(parts)
            at = time_of(dig(held, "time", "created"))
            thread.answer(answer, _usage(held, parts), name_of(held, "modelID"), at, name_of(held, "id"))
            if held.get("summary") is True:
                yield from thread.restart([Message("user", (Text(answer.text),))])
            elif results:
                thread.add([Message("tool", results)])
    yield from thread.trace()


def _answer(parts: Iterable[Raw]) -> tuple[Message, tuple[ToolResult, ...]]:
    said: list[Part] = []
    results: list[ToolResult] = []
    for part in parts:
        match part.get("type"):
            case "text":
                said.append(Text(plain(part.get("text"))))
            case "reasoning":
                said.append(Reasoning(plain(part.get("text"))))
            case "tool":
                state, call_id = mapping(part.get("state")), plain(part.get("callID")) or plain(part.get("id"))
                said.append(ToolCall(call_id, name_of(part, "tool") or "tool", plain(state.get("input") or {})))
                if state.get("status") == "error":
                    results.append(ToolResult(call_id, (Text(plain(state.get("error"))),), True))
                elif state.get("status") == "completed":
                    words = plain(state.get("output"))
                    failed = failed_exit(dig(state, "metadata", "exit"), words)
                    results.append(ToolResult(call_id, (Text(words),), failed))
    return Message("assistant", tuple(said)), tuple(results)


def _usage(held: Raw, parts: Iterable[Raw]) -> Any:
    """Reasoning stands beside the output and is billed as output."""
    tokens = mapping(held.get("tokens"))
    if not count_of(tokens, "output"):
        last = [mapping(part.get("tokens")) for part in parts if part.get("type") == "step-finish"]
        tokens = last[-1] if last else tokens
    output, thought = count_of(tokens, "output"), count_of(tokens, "reasoning")
    return usage_of(
        count_of(tokens, "input"),
        None if output is None else output + (thought or 0),
        read=count_of(tokens.get("cache"), "read"),
        written=count_of(tokens.get("cache"), "write"),
        reasoning=thought,
        beside=True,
    )
