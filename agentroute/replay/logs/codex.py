"""Codex rollouts, of today and of the older ones that hold the bare items of Responses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agentroute.messages import Message, Part, Text, Usage
from agentroute.replay.records import Problem, Trace

from .base import Place
from .fields import Raw, count_of, dig, json_of, mapping, name_of, plain, time_of, usage_of
from .messages import Pairing, answer_of, said, tools_of
from .thread import Thread

__all__ = ["Codex", "is_codex"]

_LINES = frozenset(
    "session_meta response_item event_msg turn_context compacted token_usage_record world_state".split(),
)
_OF_THE_MODEL = frozenset({"reasoning", "function_call", "custom_tool_call", "local_shell_call", "web_search_call"})
_RESULTS = frozenset({"function_call_output", "custom_tool_call_output", "local_shell_call_output"})


def is_codex(raw: Raw) -> bool:
    if raw.get("type") in _LINES and isinstance(raw.get("payload"), Mapping):
        return True
    if "record_type" in raw:
        return True
    return (
        "id" in raw and "timestamp" in raw and "instructions" in raw and "messages" not in raw and "output" not in raw
    )


class Codex:
    """Reads one rollout. What the model says between two results is one answer."""

    def __init__(self) -> None:
        self._thread: Thread | None = None
        self._system: list[Message] = []
        self._pairing = Pairing()
        self._said: list[Part] = []
        self._at: float | None = None
        self._model: str | None = None
        self._recorded = False
        self._last_count: Any = None

    def read(self, raw: Raw, place: Place) -> Iterator[Trace | Problem]:
        payload, at = mapping(raw.get("payload")), time_of(raw.get("timestamp"))
        match raw.get("type"):
            case "session_meta":
                yield from self._session(payload, place)
            case "turn_context":
                self._model = name_of(payload, "model") or self._model
            case "response_item":
                self._item(payload, at, place)
            case "token_usage_record":
                self._recorded = True
                self._measure(_usage(mapping(payload.get("usage"))), name_of(payload, "response_id"))
            case "event_msg" if payload.get("type") == "token_count":
                self._count(mapping(payload.get("info")))
            case "compacted":
                yield from self._compacted(payload, place)
            case None if "instructions" in raw:
                yield from self._session(raw, place)
            case "event_msg" | "world_state" | None:
                return
            case _:
                self._item(raw, at, place)

    def close(self) -> Iterator[Trace | Problem]:
        self._commit()
        if self._thread is not None:
            yield from self._thread.trace()
        self._thread = None

    def _session(self, meta: Raw, place: Place) -> Iterator[Trace | Problem]:
        own = name_of(meta, "id") or place.path.stem
        if self._thread is not None and self._thread.answered == 0 and self._thread.conversation_id != own:
            return  # the parent's, whose history is copied in front of a sub-agent's own
        yield from self.close()
        spawn = mapping(dig(meta, "source", "subagent", "thread_spawn"))
        parent = name_of(meta, "parent_thread_id") or name_of(spawn, "parent_thread_id")
        if parent is None and (spawn or meta.get("thread_source") == "subagent"):
            parent = name_of(meta, "session_id", "forked_from_id")
        agent = name_of(spawn, "agent_role", "agent_nickname") or name_of(meta, "agent_role", "agent_nickname")
        if agent is None and isinstance(dig(meta, "source", "subagent"), str):
            agent, parent = name_of(dig(meta, "source"), "subagent"), parent or name_of(meta, "session_id")
        self._thread = Thread("codex", own, agent=agent, parent=parent if parent != own else None)
        words = dig(meta, "base_instructions", "text") or meta.get("instructions") or meta.get("base_instructions")
        self._system = [Message("system", (Text(words),))] if isinstance(words, str) and words else []
        self._thread.add(self._system)
        self._model = name_of(meta, "model") or self._model
        self._pairing, self._last_count = Pairing(), None

    def _open(self, place: Place) -> Thread:
        if self._thread is None:
            self._thread = Thread("codex", place.path.stem)
        return self._thread

    def _item(self, item: Raw, at: float | None, place: Place) -> None:
        thread, kind = self._open(place), item.get("type")
        if kind in _OF_THE_MODEL or (kind == "message" and item.get("role") == "assistant"):
            self._said += answer_of(_plain_item(item), "response_item", self._pairing).parts
            self._at = at
            return
        if kind == "additional_tools":
            thread.tools = (*thread.tools, *tools_of(item.get("tools") or item.get("additional_tools")))
            return
        if kind not in _RESULTS and kind != "message":
            return
        self._commit()
        thread.add(said(_plain_item(item), "response_item", self._pairing))

    def _commit(self) -> None:
        if self._said and self._thread is not None:
            message = Message("assistant", tuple(self._said))
            # An answer without an id of its own is known again by its calls'.
            known = next((call.id for call in message.tool_calls), None)
            self._thread.answer(message, None, self._model, self._at, known)
        self._said = []

    def _measure(self, usage: Usage | None, response_id: str | None = None) -> None:
        self._commit()
        if self._thread is not None:
            self._thread.measure(usage, response_id)

    def _count(self, info: Raw) -> None:
        """The count of older rollouts, written twice or more, and without any after a compaction."""
        last = mapping(info.get("last_token_usage"))
        if self._recorded or not last or info == self._last_count or not (count_of(last, "output_tokens") or 0):
            return
        self._last_count = info
        self._measure(_usage(last))

    def _compacted(self, payload: Raw, place: Place) -> Iterator[Trace | Problem]:
        self._commit()
        thread, history = self._open(place), payload.get("replacement_history")
        messages: list[Message] = []
        for item in history if isinstance(history, list) else ():
            messages += said(_plain_item(mapping(item)), "replacement_history", self._pairing)
        if not isinstance(history, list) and payload.get("message"):
            messages = [Message("user", (Text(plain(payload["message"])),))]
        yield from thread.restart([*self._system, *messages])


def _plain_item(item: Raw) -> Raw:
    """An item of Responses, with calls and results of Codex's own kinds written like functions'."""
    match item.get("type"):
        case "custom_tool_call":
            return {**item, "type": "function_call", "arguments": plain(item.get("input"))}
        case "local_shell_call" | "web_search_call" as kind:
            return {
                "type": "function_call",
                "call_id": item.get("call_id") or item.get("id"),
                "name": name_of(item, "name") or str(kind).removesuffix("_call"),
                "arguments": plain(item.get("action") or {}),
            }
        case "custom_tool_call_output" | "local_shell_call_output" | "function_call_output":
            output = json_of(item.get("output"))
            if isinstance(output, Mapping):
                code = dig(output, "metadata", "exit_code")
                flag = output.get("success")
                words = output.get("output", output.get("content", ""))
                if isinstance(code, int) and isinstance(words, str):
                    words = f"Exit code: {code}\n{words}"
                failed = {"is_error": not flag} if isinstance(flag, bool) else {}
                return {"type": "function_call_output", "call_id": item.get("call_id"), "output": words, **failed}
            return {**item, "type": "function_call_output"}
        case _:
            return item


def _usage(raw: Raw) -> Usage | None:
    return usage_of(
        count_of(raw, "input_tokens"),
        count_of(raw, "output_tokens"),
        read=count_of(raw, "cached_input_tokens"),
        written=count_of(raw, "cache_write_input_tokens"),
        reasoning=count_of(raw, "reasoning_output_tokens"),
    )
