"""OpenHands: the SDK's folders of events with their state beside, and the histories of versions before 1.0."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agentroute.messages import Message, Part, Text, Tool, ToolCall, ToolResult, Usage
from agentroute.replay.records import Problem, Trace

from .base import Place, json_beside
from .fields import Raw, count_of, dig, failed_exit, mapping, name_of, openai_usage, plain, time_of, usage_of
from .messages import Pairing, answer_of, said, tools_of
from .shelf import Shelf
from .thread import Thread

__all__ = ["OpenHands", "history", "is_history", "is_openhands"]

_MAX_STATE = 64 * 1024 * 1024
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def is_openhands(raw: Raw) -> bool:
    if "stats" in raw and "agent" in raw and "execution_status" in raw:
        return True
    kind = raw.get("kind")
    known = isinstance(kind, str) and (kind.endswith("Event") or kind.startswith("Condensation"))
    return known and "source" in raw


class OpenHands:
    """Gathers the events of each conversation's folder, in the order of their files' names."""

    def __init__(self) -> None:
        self._shelf = Shelf()
        self._number = 0

    def read(self, raw: Raw, place: Place) -> Iterator[Trace | Problem]:
        folder = place.path.parent
        if "execution_status" in raw:
            return
        self._number += 1
        home = folder.parent if folder.name == "events" else folder
        self._shelf.put(str(home), float(self._number), place.line, raw)
        yield from ()

    def close(self) -> Iterator[Trace | Problem]:
        for name in self._shelf.groups():
            events = [event for _, _, event in self._shelf.rows(name)]
            yield from _conversation(Path(name), events)
        self._shelf.close()


def _conversation(home: Path, events: list[Raw]) -> Iterator[Trace | Problem]:
    usages, model, own = _state(home / "base_state.json")
    thread, pairing = Thread("openhands", own or home.name), Pairing()
    written: dict[str, list[Message]] = {}
    order: list[str] = []
    acting: tuple[str, list[Raw]] = ("", [])

    def act() -> None:
        """The actions gathered are one answer."""
        nonlocal acting
        response, actions = acting
        acting = ("", [])
        if not actions:
            return
        parts: list[Part] = []
        for event in actions:
            parts += answer_of({"role": "assistant", "content": event.get("thought")}, "thought").parts
            call = mapping(event.get("tool_call"))
            if call:
                arguments = plain(call.get("arguments") or dig(call, "function", "arguments") or {})
                call_id = plain(event.get("tool_call_id") or call.get("id"))
                parts.append(
                    ToolCall(
                        pairing.call(call_id, plain(event.get("tool_name"))), plain(event.get("tool_name")), arguments
                    )
                )
        answer = Message("assistant", tuple(parts))
        usage, served = usages.get(response, (None, None))
        thread.answer(answer, usage, served or model, time_of(actions[0].get("timestamp")), response or None)
        for event in actions:
            note(event, [])
        written[plain(actions[0].get("id"))] = [answer]

    def note(event: Raw, messages: list[Message]) -> None:
        key = plain(event.get("id"))
        written[key] = messages
        order.append(key)

    for event in events:
        kind = event.get("kind")
        if kind == "ActionEvent":
            response = plain(event.get("llm_response_id"))
            if acting[1] and acting[0] != response:
                act()
            acting = (response, [*acting[1], event])
            continue
        act()
        messages: list[Message] = []
        if kind == "SystemPromptEvent":
            thread.tools = _tools(event.get("tools"))
            messages = [Message("system", (Text(plain(dig(event, "system_prompt", "text"))),))]
        elif kind == "MessageEvent":
            message = mapping(event.get("llm_message"))
            if message.get("role") == "assistant":
                response = plain(event.get("llm_response_id"))
                usage, served = usages.get(response, (None, None))
                answer = answer_of(message, "llm_message", pairing)
                thread.answer(answer, usage, served or model, time_of(event.get("timestamp")), response or None)
                note(event, [answer])
                continue
            messages = said(message, "llm_message", pairing)
        elif kind in ("ObservationEvent", "UserRejectObservation", "AgentErrorEvent"):
            messages = [Message("tool", (_result(event),))]
        elif kind == "Condensation":
            forgotten = {plain(each) for each in event.get("forgotten_event_ids") or ()}
            kept = [message for key in order if key not in forgotten for message in written[key]]
            place = event.get("summary_offset")
            if event.get("summary"):
                summary = Message("user", (Text(plain(event["summary"])),))
                kept.insert(place if isinstance(place, int) and 0 <= place <= len(kept) else len(kept), summary)
            yield from thread.restart(kept)
            continue
        thread.add(messages)
        note(event, messages)
    act()
    yield from thread.trace()


def _result(event: Raw) -> ToolResult:
    held = mapping(event.get("observation"))
    if event.get("kind") == "AgentErrorEvent":
        return ToolResult(plain(event.get("tool_call_id")), (Text(plain(event.get("error"))),), True)
    body = held.get("content", held.get("output", event.get("rejection_reason", "")))
    parts = said({"role": "tool", "tool_call_id": "x", "content": body}, "observation", Pairing())[0].tool_results[0]
    code = held.get("exit_code", dig(held, "metadata", "exit_code"))
    flag = held.get("is_error")
    failed = True if flag is True or failed_exit(code, parts.text) else flag if isinstance(flag, bool) else None
    return ToolResult(plain(event.get("tool_call_id")), parts.content, failed, name_of(event, "tool_name"))


def _tools(raw: Any) -> tuple[Tool, ...]:
    """Tools hold no schema, and perhaps no name: a `TerminalTool` is called terminal."""
    found: list[Tool] = []
    for item in map(mapping, raw if isinstance(raw, list) else ()):
        if isinstance(item.get("function"), dict):
            found += tools_of([item])
            continue
        kind = name_of(item, "kind")
        name = name_of(item, "name") or (
            _WORDS.sub("_", kind.removesuffix("Tool")).lower() if kind else name_of(item, "title")
        )
        if name is not None:
            found.append(Tool(name, plain(item.get("description"))))
    return tuple(found)


def _state(path: Path) -> tuple[dict[str, tuple[Usage | None, str | None]], str | None, str | None]:
    """(usage and model of each response, the agent's model, the conversation's id) of the state beside the events."""
    usages: dict[str, tuple[Usage | None, str | None]] = {}
    raw = json_beside(path, _MAX_STATE)
    for metrics in mapping(dig(raw, "stats", "usage_to_metrics")).values():
        for told in dig(metrics, "token_usages") or ():
            usage = usage_of(
                count_of(told, "prompt_tokens"),
                count_of(told, "completion_tokens"),
                read=count_of(told, "cache_read_tokens"),
                written=count_of(told, "cache_write_tokens"),
                reasoning=count_of(told, "reasoning_tokens"),
            )
            usages[plain(dig(told, "response_id"))] = (usage, name_of(told, "model"))
    return usages, name_of(dig(raw, "agent", "llm"), "model"), name_of(raw, "id")


def is_history(raw: Raw) -> bool:
    return isinstance(raw.get("history"), list) and "instance_id" in raw


def history(raw: Raw) -> Iterator[Trace]:
    """A run of a version before 1.0: actions and observations, each with the whole answer it came from."""
    thread, pairing, told = Thread("openhands", name_of(raw, "instance_id")), Pairing(), set()
    model = name_of(dig(raw, "metadata", "llm_config"), "model")
    for item in raw["history"]:
        pair = item if isinstance(item, list) else [item]
        for event in map(mapping, pair):
            response = mapping(dig(event, "tool_call_metadata", "model_response"))
            answer_id = name_of(response, "id")
            if response and answer_id not in told:
                told.add(answer_id)
                choices = response.get("choices")
                message = dig(choices[0], "message") if isinstance(choices, list) and choices else None
                answer = answer_of({"role": "assistant", **mapping(message)}, "model_response", pairing)
                at = time_of(event.get("timestamp"))
                thread.answer(
                    answer, openai_usage(response.get("usage")), name_of(response, "model") or model, at, answer_id
                )
            if "observation" in event and response:
                words = plain(event.get("content"))
                call_id = plain(dig(event, "tool_call_metadata", "tool_call_id"))
                code = dig(event, "extras", "metadata", "exit_code")
                failed = True if event["observation"] == "error" else failed_exit(code, words)
                thread.add([Message("tool", (ToolResult(call_id, (Text(words),), failed),))])
            elif event.get("action") == "system":
                thread.add([Message("system", (Text(plain(dig(event, "args", "content"))),))])
                thread.tools = tools_of(dig(event, "args", "tools"))
            elif event.get("action") == "message" and event.get("source") == "user":
                thread.add([Message("user", (Text(plain(dig(event, "args", "content") or event.get("message"))),))])
            elif event.get("action") in ("message", "finish") and event.get("source") == "agent" and not response:
                words = plain(dig(event, "args", "content") or event.get("message"))
                thread.answer(Message("assistant", (Text(words),)), None, model, time_of(event.get("timestamp")))
    result = mapping(raw.get("test_result"))
    resolved = dig(result, "report", "resolved")
    if isinstance(resolved, bool):
        thread.outcomes["resolved"] = resolved
    yield from thread.trace()
