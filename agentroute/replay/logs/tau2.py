"""tau2-bench conversations: what the agent's model saw of them, with policy and tools from the file beside."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agentroute.errors import RequestError
from agentroute.messages import ChatRequest, Message, Part, Text, Tool, ToolCall, ToolResult
from agentroute.replay.records import RecordedCall, Trace

from .fields import Raw, name_of, number, openai_usage, printable, text_of, time_of, wrong

__all__ = ["Beside", "read"]


class Beside:
    """Files next to the traces: tau2-bench keeps a domain's policy and tools in `domain_<name>.json`. Read once."""

    def __init__(self, folder: Path, notes: dict[str, None]) -> None:
        self._folder = folder
        self._domains: dict[str, tuple[tuple[Message, ...], tuple[Tool, ...]]] = {}
        self.notes = notes

    def domain(self, name: str) -> tuple[tuple[Message, ...], tuple[Tool, ...]]:
        """The system message (none, or one) and the tools of a domain."""
        if name not in self._domains:
            self._domains[name] = self._load(name)
        return self._domains[name]

    def _load(self, name: str) -> tuple[tuple[Message, ...], tuple[Tool, ...]]:
        path = self._folder / f"domain_{name}.json"
        try:
            if path.parent != self._folder or not path.is_file():
                raise FileNotFoundError
            data = json.loads(path.read_bytes())
            policy, raw_tools = data["policy"], data["tools"]
            tools = tuple(_tool(raw) for raw in raw_tools)
            system = Message("system", (Text(text_of(policy, "policy")),))
        except (OSError, ValueError, TypeError, KeyError):
            file = printable(path.name)
            self.notes[f"no readable {file} beside the traces: its steps are routed without policy and tools"] = None
            return (), ()
        return (system,), tools


def read(line: Raw, beside: Beside) -> Trace:
    raw = line.get("messages")
    if not isinstance(raw, list) or not raw:
        wrong("messages", raw, "a list of messages")
    domain, task, model = line.get("domain"), line.get("task_id"), line.get("agent_llm")
    system, tools = beside.domain(domain) if isinstance(domain, str) else ((), ())
    messages = list(system)
    calls: list[RecordedCall] = []
    greetings = 0
    for index, item in enumerate(raw):
        message = _message(item, f"messages[{index}]")
        if message is None:
            continue
        if message.role == "assistant":
            usage = openai_usage(item.get("usage"))
            if index == 0 and usage is None:
                greetings += 1
            else:
                at = time_of(item.get("timestamp"))
                calls.append(RecordedCall(len(messages), message, usage, name_of(line, "agent_llm"), at))
        messages.append(message)
    if not calls:
        raise RequestError("a conversation without a model call")
    name = "/".join(part for part in (domain, task, model) if isinstance(part, str))
    return Trace(
        format="tau2",
        request=ChatRequest(tuple(messages), tools=tools),
        calls=tuple(calls),
        whole=True,
        id=printable(name) or None,
        greetings=greetings,
        reward=number(line.get("reward")),
    )


def _message(raw: Any, where: str) -> Message | None:
    """None for what the agent's model does not see: the simulated user's own tool calls and their results."""
    if not isinstance(raw, Mapping):
        wrong(where, raw, "an object with `role`")
    role, content = raw.get("role"), raw.get("content")
    if content is not None and not isinstance(content, str):
        wrong(f"{where}.content", content, "a text or null")
    match role:
        case "system":
            return Message("system", (Text(content or ""),))
        case "user":
            return None if raw.get("tool_calls") else Message("user", (Text(content or ""),))
        case "tool":
            if raw.get("requestor") == "user":
                return None
            flag = raw.get("error")
            call_id = text_of(raw.get("id"), f"{where}.id")
            held = (Text(content or ""),)
            return Message("tool", (ToolResult(call_id, held, flag if isinstance(flag, bool) else None),))
        case "assistant":
            calls = raw.get("tool_calls") or ()
            if not isinstance(calls, Sequence) or isinstance(calls, str):
                wrong(f"{where}.tool_calls", calls, "a list of calls")
            asked = [_call(call, f"{where}.tool_calls[{index}]") for index, call in enumerate(calls)]
            said: list[Part] = [Text(content)] if content else []
            return Message("assistant", (*said, *asked))
        case _:
            return wrong(f"{where}.role", role, "system, user, assistant or tool")


def _call(raw: Any, where: str) -> ToolCall:
    if not isinstance(raw, Mapping):
        wrong(where, raw, "an object with `name` and `arguments`")
    arguments = raw.get("arguments")
    text = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False)
    return ToolCall(text_of(raw.get("id"), f"{where}.id"), text_of(raw.get("name"), f"{where}.name"), text)


def _tool(raw: Raw) -> Tool:
    """tau2-bench gives a Python signature in place of a schema; it stands in the description, where it is read."""
    signature = raw.get("signature")
    about = [text for text in (raw.get("description"), signature) if isinstance(text, str) and text]
    parameters = raw.get("parameters")
    return Tool(raw["name"], "\n".join(about), parameters if isinstance(parameters, Mapping) else {})
