"""Claude Code: session files with their sub-agents' files, sessions of 2025 with side chains inside, SDK streams."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agentroute.messages import Message, Part, Text, Usage
from agentroute.replay.records import Problem, Trace

from .base import Place
from .fields import Raw, anthropic_usage, dig, mapping, name_of, plain, time_of
from .messages import Pairing, answer_of, said, tools_of
from .thread import Thread

__all__ = ["ClaudeCode", "is_claude_code"]

_NO_PROMPT = frozenset(
    "summary mode file-history-snapshot queue-operation ai-title custom-title last-prompt progress agent-name tag "
    "permission-mode attribution-snapshot speculation-accept pr-link worktree-state".split()
)
_SPOKEN = frozenset({"user", "assistant", "system", "attachment"})
_OPEN_CHARS = 64_000_000
_OPEN_SESSIONS = 32
"""Beyond these the sessions of one file that were not spoken of lately are closed."""

_CHARS_A_TOKEN = 20
"""A count of fewer tokens than one for so many characters is the placeholder of a stream that was cut off."""


def is_claude_code(raw: Raw) -> bool:
    kind = raw.get("type")
    if "sessionId" in raw and "uuid" in raw and "parentUuid" in raw:
        return True
    if kind in _NO_PROMPT and ("sessionId" in raw or "leafUuid" in raw or "messageId" in raw or "snapshot" in raw):
        return True
    if "toolUseId" in raw and "agentType" in raw:
        return True
    return (
        "session_id" in raw
        and kind in ("assistant", "user", "system", "result")
        and ("message" in raw or "subtype" in raw)
    )


@dataclass(slots=True)
class _Answer:
    id: str
    parts: list[Part] = field(default_factory=list)
    usage: Usage | None = None
    model: str | None = None
    at: float | None = None
    results: list[Message] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


class _Session:
    """One thread: the answer at hand is open until something else begins, for its lines and results interleave."""

    def __init__(self, thread: Thread) -> None:
        self.thread = thread
        self.pairing = Pairing()
        self.answer: _Answer | None = None
        self.ends: dict[str, int] = {}
        """Messages there were after each line: where a rewind goes back to."""

    def commit(self) -> None:
        held, self.answer = self.answer, None
        if held is None:
            return
        message = Message("assistant", tuple(held.parts))
        self.thread.answer(message, _measured(held.usage, message), held.model, held.at, held.id)
        self.thread.add(held.results)
        for line in held.lines:
            self.ends[line] = len(self.thread.messages)

    def rewind(self, above: Any) -> Iterator[Trace]:
        """Goes back to a line, if answers lie between: they are a branch that the model no longer sees."""
        end = self.ends.get(above) if isinstance(above, str) else None
        if end is None or not any(message.role == "assistant" for message in self.thread.messages[end:]):
            return
        yield from self.thread.restart(self.thread.messages[:end])
        self.ends = {line: at for line, at in self.ends.items() if at <= end}

    def restart(self) -> Iterator[Trace]:
        self.commit()
        yield from self.thread.restart(())
        self.ends = {}


class ClaudeCode:
    """Reads one file; lines that stand in it twice count once."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[tuple[str, str], _Session] = OrderedDict()
        self._seen: set[int] = set()
        self._sides: dict[str, str] = {}
        self._asked: dict[str, str] = {}
        self._side = ""
        self._tools: Any = None

    def read(self, raw: Raw, place: Place) -> Iterator[Trace | Problem]:
        kind, line = raw.get("type"), name_of(raw, "uuid") or ""
        if raw.get("subtype") == "init":
            self._tools = [{"name": tool} if isinstance(tool, str) else tool for tool in raw.get("tools") or ()]
        if kind not in _SPOKEN or (line and hash(line) in self._seen):
            return
        self._seen.add(hash(line))
        session = self._session(raw, line, place)
        if kind == "assistant":
            yield from self._assistant(session, raw, line, place)
        elif kind == "user":
            yield from self._user(session, raw, line, place)
        elif raw.get("subtype") == "compact_boundary":
            yield from session.restart()
        elif kind == "attachment":
            words = plain(dig(raw, "attachment", "content"))
            if words:
                session.commit()
                session.thread.add([_reminder(words)])
        if line and session.answer is None:
            session.ends[line] = len(session.thread.messages)
        elif line and session.answer is not None:
            session.answer.lines.append(line)
        yield from self._spare()

    def close(self) -> Iterator[Trace | Problem]:
        for session in self._sessions.values():
            session.commit()
            yield from session.thread.trace()
        self._sessions.clear()

    def _session(self, raw: Raw, line: str, place: Place) -> _Session:
        own = name_of(raw, "sessionId", "session_id") or place.path.stem
        side = name_of(raw, "agentId", "parent_tool_use_id") or ""
        if not side and raw.get("isSidechain") is True:
            side = self._side_chain(raw, line)
        key = (own, side)
        session = self._sessions.get(key)
        if session is None:
            agent = None
            if side:
                agent = _meta(place.path) or name_of(raw, "attributionAgent", "agentType")
                agent = agent or self._asked.get(side) or self._asked.get(plain(dig(raw, "message", "content")))
            identity = f"{own}/{side}" if side else own
            session = _Session(Thread("claude_code", identity, agent=agent, parent=own if side else None))
            session.thread.tools = tools_of(self._tools)
            self._sessions[key] = session
        elif side and session.thread.agent is None:
            session.thread.agent = name_of(raw, "attributionAgent")
        self._sessions.move_to_end(key)
        return session

    def _side_chain(self, raw: Raw, line: str) -> str:
        """The side chain a line of 2025 stands in: it goes on from its parent's, or begins at a line without one."""
        above = name_of(raw, "parentUuid")
        side = line if above is None else self._sides.get(above, self._side or above)
        self._side = self._sides[line] = side
        return side

    def _assistant(self, session: _Session, raw: Raw, line: str, place: Place) -> Iterator[Trace | Problem]:
        message = mapping(raw.get("message"))
        if raw.get("isApiErrorMessage") is True or message.get("model") == "<synthetic>":
            status = raw.get("apiErrorStatus")
            why = f": status {status}" if isinstance(status, int) else ""
            yield Problem(place.file, place.line, f"claude_code: a call that failed and has no answer{why}", True)
            return
        answer_id = name_of(message, "id") or name_of(raw, "requestId") or line
        if session.answer is None or session.answer.id != answer_id:
            session.commit()
            session.answer = _Answer(answer_id, at=time_of(raw.get("timestamp")))
        held = session.answer
        found = answer_of({"role": "assistant", "content": message.get("content")}, "message", session.pairing)
        known = {call.id for call in Message("assistant", tuple(held.parts)).tool_calls}
        held.parts += [part for part in found.parts if getattr(part, "id", None) not in known or part not in held.parts]
        for call in found.tool_calls:
            asked = mapping(call.arguments)
            kind = name_of(asked, "subagent_type")
            if kind is not None:
                self._asked[call.id] = self._asked[plain(asked.get("prompt"))] = kind
        usage = anthropic_usage(message.get("usage"))
        if usage is not None and (held.usage is None or (usage.output_tokens or 0) >= (held.usage.output_tokens or 0)):
            held.usage = usage
        held.model = name_of(message, "model") or held.model

    def _user(self, session: _Session, raw: Raw, line: str, place: Place) -> Iterator[Trace | Problem]:
        message = mapping(raw.get("message"))
        found = said({"role": "user", "content": message.get("content")}, "message", session.pairing)
        if raw.get("isMeta") is True:
            found = [_reminder(each.text) if each.role == "user" and each.text[:1] != "<" else each for each in found]
        if session.answer is not None and all(each.role == "tool" for each in found):
            session.answer.results += found
            return
        session.commit()
        if not any(each.role == "tool" for each in found):
            yield from session.rewind(raw.get("parentUuid"))
        session.thread.add(found)

    def _spare(self) -> Iterator[Trace]:
        """Closes the threads least lately spoken of, if all together are too large to hold."""
        if len(self._sessions) < 2:
            return
        size = sum(each.thread.size for each in self._sessions.values())  # few are open
        if len(self._sessions) <= _OPEN_SESSIONS and size < _OPEN_CHARS:
            return
        _, session = self._sessions.popitem(last=False)
        session.commit()
        yield from session.thread.trace()


def _reminder(words: str) -> Message:
    """What the harness tells the model between the turns."""
    return Message("user", (Text(f"<system-reminder>\n{words}\n</system-reminder>"),))


def _measured(usage: Usage | None, message: Message) -> Usage | None:
    """The usage without a count of output that cannot be: early lines of a stream carry a placeholder."""
    if usage is None or usage.output_tokens is None:
        return usage
    chars = len(message.text) + sum(len(call.arguments) for call in message.tool_calls)
    return replace(usage, output_tokens=None) if usage.output_tokens * _CHARS_A_TOKEN < chars else usage


def _meta(path: Path) -> str | None:
    """The kind of a sub-agent, from the file beside its own."""
    beside = path.with_suffix(".meta.json")
    try:
        if beside.stat().st_size < 1_000_000:
            return name_of(json.loads(beside.read_bytes()), "agentType")
    except (OSError, ValueError, RecursionError):
        pass
    return None
