"""One parsed line of a log becomes a Trace: OpenAI, Anthropic, tau2-bench or step rows, told apart by their keys."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from agentroute.errors import RequestError
from agentroute.formats import openai_chat
from agentroute.formats.anthropic_messages.requests_in import decode_document
from agentroute.messages import (
    ChatRequest,
    Document,
    Image,
    Message,
    Part,
    Reasoning,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Usage,
)
from agentroute.targets import Tier

from .records import LogFormat, RecordedCall, Trace

__all__ = ["Beside", "detect", "printable", "read"]

_STEP_TIERS = {"low": Tier.BUDGET, "mid": Tier.MID, "mid_high": Tier.STANDARD, "high": Tier.PREMIUM}
"""Names of the tiers in step rows; our own names are understood too."""

_OPENAI_FIELDS = (
    "messages",
    "tools",
    "functions",
    "tool_choice",
    "function_call",
    "response_format",
    "parallel_tool_calls",
    "max_tokens",
    "max_completion_tokens",
)
"""What bears on routing. The model that was asked for is left out: it would be a pin."""

_ANTHROPIC_BLOCKS = frozenset({"tool_use", "tool_result", "thinking", "redacted_thinking"})
_TIMES = ("timestamp", "created_at", "time", "ts", "start_time", "startTime")
_YEAR_9999 = 253_370_764_800.0
_CONVERSATIONS = ("conversation_id", "session_id", "thread_id", "trace_id")


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
            tools = tuple(_tau2_tool(raw) for raw in raw_tools)
            system = Message("system", (Text(_text(policy, "policy")),))
        except (OSError, ValueError, TypeError, KeyError):
            file = printable(path.name)
            self.notes[f"no readable {file} beside the traces: its steps are routed without policy and tools"] = None
            return (), ()
        return (system,), tools


def detect(line: Mapping[str, Any]) -> LogFormat:
    """The format of a line, from its keys. Raises RequestError for one that fits none."""
    if "policy_version" in line and "request_digest" in line:
        raise RequestError("a decision of a ledger among traces: it holds no prompt; replay ledgers on their own")
    if "target_tier" in line and "messages" in line:
        return "steps"
    if "agent_llm" in line or ("domain" in line and "task_id" in line):
        return "tau2"
    body, response = _split(line)
    if not isinstance(body.get("messages"), list):
        raise RequestError("no list of `messages` here or under `request`")
    return "anthropic" if _is_anthropic(body, response) else "openai"


def read(line: Mapping[str, Any], fmt: LogFormat | None, beside: Beside) -> Trace:
    """The trace of one line. Raises RequestError that says what is wrong with it."""
    match fmt or detect(line):
        case "openai":
            return _openai(line)
        case "anthropic":
            return _anthropic(line)
        case "tau2":
            return _tau2(line, beside)
        case "steps":
            return _step_row(line)


# --- OpenAI ----------------------------------------------------------------------------------------------------------


def _openai(line: Mapping[str, Any]) -> Trace:
    body, response = _split(line)
    raw = body.get("messages")
    answers: list[Any] = []
    usage = None
    if response is not None:
        _refuse_error(response)
        answers, usage = [_openai_answer(response)], _openai_usage(_first(response, line, "usage"))
    request = _openai_request(body, [*raw, *answers] if isinstance(raw, list) else raw)
    messages = request.messages
    usages = [_openai_usage(item.get("usage")) for item in raw or () if isinstance(item, Mapping)]
    return _trace("openai", line, body, response, request, messages, usages, answered=bool(answers), usage=usage)


def _openai_request(body: Mapping[str, Any], messages: Any) -> ChatRequest:
    kept = {name: body[name] for name in _OPENAI_FIELDS if body.get(name) is not None}
    return openai_chat.decode_request({**kept, "messages": messages})


def _openai_answer(response: Mapping[str, Any]) -> Any:
    choices = response.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], Mapping):
        message = choices[0].get("message")
        if isinstance(message, Mapping):
            return {**message, "role": "assistant"}
    elif isinstance(response.get("content"), str) or "tool_calls" in response:
        return {name: response[name] for name in ("content", "tool_calls") if name in response} | {"role": "assistant"}
    raise RequestError("`response` has no `choices` with a message in it")


def _openai_usage(raw: Any) -> Usage | None:
    if not isinstance(raw, Mapping):
        return None
    entry, exit_ = _count(raw, "prompt_tokens"), _count(raw, "completion_tokens")
    if entry is None and exit_ is None:
        return None
    return Usage(
        input_tokens=entry,
        output_tokens=exit_,
        cache_read_tokens=_count(raw.get("prompt_tokens_details"), "cached_tokens"),
        reasoning_tokens=_count(raw.get("completion_tokens_details"), "reasoning_tokens"),
    )


# --- Anthropic -------------------------------------------------------------------------------------------------------


def _is_anthropic(body: Mapping[str, Any], response: Mapping[str, Any] | None) -> bool:
    if "system" in body or "anthropic_version" in body:
        return True
    if response is not None and ("stop_reason" in response or isinstance(response.get("content"), list)):
        return True
    tools = body.get("tools")
    if isinstance(tools, list) and any(isinstance(tool, Mapping) and "input_schema" in tool for tool in tools):
        return True
    for message in body["messages"]:
        content = message.get("content") if isinstance(message, Mapping) else None
        if isinstance(content, list):
            for block in content:
                kind = block.get("type") if isinstance(block, Mapping) else None
                if isinstance(kind, str) and kind in _ANTHROPIC_BLOCKS:
                    return True
    return False


def _anthropic(line: Mapping[str, Any]) -> Trace:
    body, response = _split(line)
    raw = body.get("messages")
    if not isinstance(raw, list) or not raw:
        _wrong("messages", raw, "a list of messages")
    messages: list[Message] = []
    usages: list[Usage | None] = []
    system = body.get("system")
    if system:
        messages.append(Message("system", tuple(_blocks(system, "system"))))
        usages.append(None)
    for index, item in enumerate(raw):
        for message in _anthropic_message(item, f"messages[{index}]"):
            messages.append(message)
            usages.append(_anthropic_usage(item.get("usage")))
    usage = None
    if response is not None:
        _refuse_error(response)
        content = response.get("content")
        if content is None:
            raise RequestError("`response` has no `content`")
        messages.append(Message("assistant", tuple(_blocks(content, "response.content"))))
        usage = _anthropic_usage(_first(response, line, "usage"))
    tools = body.get("tools") or []
    if not isinstance(tools, list):
        _wrong("tools", tools, "a list of tools")
    request = ChatRequest(
        messages=tuple(messages),
        tools=tuple(_anthropic_tool(tool, index) for index, tool in enumerate(tools)),
        tool_choice=_anthropic_choice(body.get("tool_choice")),
        sampling=Sampling(max_output_tokens=_count(body, "max_tokens")),
    )
    return _trace(
        "anthropic",
        line,
        body,
        response,
        request,
        request.messages,
        usages,
        answered=response is not None,
        usage=usage,
    )


def _anthropic_message(raw: Any, where: str) -> list[Message]:
    """One message of ours, or two: tool results stand in a message of their own, before what the user adds."""
    if not isinstance(raw, Mapping):
        _wrong(where, raw, "an object with `role` and `content`")
    role = raw.get("role")
    if role not in ("user", "assistant", "system"):
        _wrong(f"{where}.role", role, "user, assistant or system")
    parts = _blocks(raw.get("content"), f"{where}.content")
    if role != "user":
        return [Message(role, tuple(parts))]
    results = tuple(part for part in parts if isinstance(part, ToolResult))
    others = tuple(part for part in parts if not isinstance(part, ToolResult))
    found = [Message("tool", results)] if results else []
    return [*found, Message("user", others)] if others or not found else found


def _blocks(raw: Any, where: str) -> list[Part]:
    if isinstance(raw, str):
        return [Text(raw)]
    if not isinstance(raw, list):
        _wrong(where, raw, "a text or a list of blocks")
    return [part for index, block in enumerate(raw) for part in _block(block, f"{where}[{index}]")]


def _block(raw: Any, where: str) -> list[Part]:
    if isinstance(raw, str):
        return [Text(raw)]
    if not isinstance(raw, Mapping):
        _wrong(where, raw, "an object with `type`")
    match raw.get("type"):
        case "text":
            return [Text(_text(raw.get("text"), f"{where}.text"))]
        case "tool_use" | "server_tool_use":
            arguments = json.dumps(raw.get("input") or {}, ensure_ascii=False)
            return [ToolCall(_text(raw.get("id"), f"{where}.id"), _text(raw.get("name"), f"{where}.name"), arguments)]
        case "tool_result":
            content = _blocks(raw.get("content") or "", f"{where}.content")
            flag = raw.get("is_error")
            return [
                ToolResult(
                    _text(raw.get("tool_use_id"), f"{where}.tool_use_id"),
                    tuple(part for part in content if isinstance(part, Text | Image | Document)),
                    flag if isinstance(flag, bool) else None,
                )
            ]
        case "thinking":
            return [Reasoning(_text(raw.get("thinking", ""), f"{where}.thinking"))]
        case "redacted_thinking":
            return [Reasoning("", redacted=True)]
        case "image":
            source = raw.get("source")
            return [_image(source if isinstance(source, Mapping) else {})]
        case "document":
            return [decode_document(raw)]
        case str():
            # A search result, a server tool's own block: it has a size, and nothing else we route by.
            return [Text(json.dumps(raw, ensure_ascii=False))]
        case kind:
            return _wrong(f"{where}.type", kind, "the name of a kind of block")


def _image(source: Mapping[str, Any]) -> Image:
    url, data, media_type = (source.get(key) for key in ("url", "data", "media_type"))
    return Image(
        url if isinstance(url, str) else None,
        data if isinstance(data, str) else None,
        media_type if isinstance(media_type, str) else None,
    )


def _anthropic_tool(raw: Any, index: int) -> Tool:
    if not isinstance(raw, Mapping):
        _wrong(f"tools[{index}]", raw, "an object with `name` and `input_schema`")
    description, schema = raw.get("description"), raw.get("input_schema")
    return Tool(
        _text(raw.get("name"), f"tools[{index}].name"),
        description if isinstance(description, str) else "",
        schema if isinstance(schema, Mapping) else {},
    )


def _anthropic_choice(raw: Any) -> ToolChoice | None:
    match raw.get("type") if isinstance(raw, Mapping) else None:
        case "auto":
            return ToolChoice("auto")
        case "none":
            return ToolChoice("none")
        case "any":
            return ToolChoice("required")
        case "tool":
            return ToolChoice("tool", _text(raw.get("name"), "tool_choice.name"))
        case _:
            return None


def _anthropic_usage(raw: Any) -> Usage | None:
    """Anthropic's `input_tokens` leaves out what was cached; ours counts it in."""
    if not isinstance(raw, Mapping):
        return None
    fresh, output = _count(raw, "input_tokens"), _count(raw, "output_tokens")
    read, written = _count(raw, "cache_read_input_tokens"), _count(raw, "cache_creation_input_tokens")
    if fresh is None and output is None:
        return None
    total = None if fresh is None else fresh + (read or 0) + (written or 0)
    return Usage(input_tokens=total, output_tokens=output, cache_read_tokens=read, cache_write_tokens=written)


# --- tau2-bench ------------------------------------------------------------------------------------------------------


def _tau2(line: Mapping[str, Any], beside: Beside) -> Trace:
    raw = line.get("messages")
    if not isinstance(raw, list) or not raw:
        _wrong("messages", raw, "a list of messages")
    domain, task, model = line.get("domain"), line.get("task_id"), line.get("agent_llm")
    system, tools = beside.domain(domain) if isinstance(domain, str) else ((), ())
    messages = list(system)
    calls: list[RecordedCall] = []
    greetings = 0
    for index, item in enumerate(raw):
        message = _tau2_message(item, f"messages[{index}]")
        if message is None:
            continue
        if message.role == "assistant":
            usage = _openai_usage(item.get("usage"))
            if index == 0 and usage is None:
                greetings += 1
            else:
                at = _time(item.get("timestamp"))
                calls.append(RecordedCall(len(messages), message, usage, _name(line, ("agent_llm",)), at))
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
        reward=_number(line.get("reward")),
    )


def _tau2_message(raw: Any, where: str) -> Message | None:
    """None for what the agent's model does not see: the simulated user's own tool calls and their results."""
    if not isinstance(raw, Mapping):
        _wrong(where, raw, "an object with `role`")
    role, content = raw.get("role"), raw.get("content")
    if content is not None and not isinstance(content, str):
        _wrong(f"{where}.content", content, "a text or null")
    match role:
        case "system":
            return Message("system", (Text(content or ""),))
        case "user":
            return None if raw.get("tool_calls") else Message("user", (Text(content or ""),))
        case "tool":
            if raw.get("requestor") == "user":
                return None
            flag = raw.get("error")
            call_id = _text(raw.get("id"), f"{where}.id")
            held = (Text(content or ""),)
            return Message("tool", (ToolResult(call_id, held, flag if isinstance(flag, bool) else None),))
        case "assistant":
            calls = raw.get("tool_calls") or ()
            if not isinstance(calls, Sequence) or isinstance(calls, str):
                _wrong(f"{where}.tool_calls", calls, "a list of calls")
            asked = [_tau2_call(call, f"{where}.tool_calls[{index}]") for index, call in enumerate(calls)]
            said: list[Part] = [Text(content)] if content else []
            return Message("assistant", (*said, *asked))
        case _:
            return _wrong(f"{where}.role", role, "system, user, assistant or tool")


def _tau2_call(raw: Any, where: str) -> ToolCall:
    if not isinstance(raw, Mapping):
        _wrong(where, raw, "an object with `name` and `arguments`")
    arguments = raw.get("arguments")
    text = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False)
    return ToolCall(_text(raw.get("id"), f"{where}.id"), _text(raw.get("name"), f"{where}.name"), text)


def _tau2_tool(raw: Mapping[str, Any]) -> Tool:
    """tau2-bench gives a Python signature in place of a schema; it stands in the description, where it is read."""
    signature = raw.get("signature")
    about = [text for text in (raw.get("description"), signature) if isinstance(text, str) and text]
    parameters = raw.get("parameters")
    return Tool(raw["name"], "\n".join(about), parameters if isinstance(parameters, Mapping) else {})


# --- step rows -------------------------------------------------------------------------------------------------------


def _step_row(line: Mapping[str, Any]) -> Trace:
    request = _openai_request(line, line.get("messages"))
    label = line.get("target_tier")
    needed = _STEP_TIERS.get(label) if isinstance(label, str) else None
    if needed is None and label is not None:
        names = {tier.value: tier for tier in Tier}
        needed = names.get(label) if isinstance(label, str) else None
        if needed is None:
            _wrong("target_tier", label, "one of " + ", ".join([*_STEP_TIERS, *names]))
    return Trace(
        format="steps",
        request=request,
        calls=(RecordedCall(len(request.messages)),),
        whole=False,
        id=_name(line, ("id",)),
        **_who(line),
        needed=needed,
    )


# --- what all of them share ------------------------------------------------------------------------------------------


def _split(line: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any] | None]:
    """The request body and the response of a line; the line itself is the body where it has none inside."""
    body = next((line[key] for key in ("request", "body") if isinstance(line.get(key), Mapping)), line)
    if "messages" not in body and isinstance(body.get("body"), Mapping):
        body = body["body"]
    response = line.get("response")
    if isinstance(response, str):
        return body, {"content": response}
    if not isinstance(response, Mapping):
        return body, None
    inner = response.get("body")
    return body, inner if isinstance(inner, Mapping) else response


def _trace(
    fmt: LogFormat,
    line: Mapping[str, Any],
    body: Mapping[str, Any],
    response: Mapping[str, Any] | None,
    request: ChatRequest,
    messages: tuple[Message, ...],
    usages: Sequence[Usage | None],
    *,
    answered: bool,
    usage: Usage | None,
) -> Trace:
    """A line that logs one call is that call; a bare conversation is a call for each of its assistant messages."""
    at = next((time for key in _TIMES if (time := _time(line.get(key))) is not None), None)
    model = _name(response or {}, ("model",)) or _name(body, ("model",))
    logged = response is not None or "response" in line or body is not line
    greetings = 0
    if logged:
        end = len(messages) - answered
        calls = [
            RecordedCall(
                end, messages[-1] if answered else None, usage, model, at if at is not None else _made(response)
            )
        ]
    else:
        spoken = [index for index, message in enumerate(messages) if message.role == "assistant"]
        greetings = spoken[:1] == [0]
        calls = [RecordedCall(index, messages[index], usages[index], model) for index in spoken[greetings:]]
        if not spoken:
            calls = [RecordedCall(len(messages), model=model, at=at)]
    if not calls or calls[0].n_messages == 0:
        raise RequestError("a conversation without a model call")
    return Trace(
        format=fmt,
        request=request,
        calls=tuple(calls),
        whole=not logged,
        id=_name(line, ("id", "custom_id")) or _name(response or {}, ("id",)),
        conversation_id=_name(line, _CONVERSATIONS) or _name(body, _CONVERSATIONS),
        greetings=int(greetings),
        **_who(line),
    )


def _who(line: Mapping[str, Any]) -> dict[str, Any]:
    """Who asks, where the log says so: facts that a live router would be given as StepContext."""
    return {name: line[name] for name in ("agent", "role", "node") if isinstance(line.get(name), str)}


def _refuse_error(response: Mapping[str, Any]) -> None:
    error = response.get("error")
    if error or response.get("type") == "error":
        raise RequestError(f"the recorded call failed and has no answer: {_show(error)}")


def _made(response: Mapping[str, Any] | None) -> float | None:
    return None if response is None else _time(response.get("created"))


def _first(response: Mapping[str, Any], line: Mapping[str, Any], key: str) -> Any:
    return response[key] if key in response else line.get(key)


def _time(raw: Any) -> float | None:
    """Seconds since the epoch, from a number (milliseconds where it is too large for seconds) or an ISO date."""
    if isinstance(raw, str):
        try:
            seconds = datetime.fromisoformat(raw).timestamp()
        except (ValueError, OverflowError, OSError):
            return None
    else:
        number = None if isinstance(raw, bool) else _number(raw)
        if number is None:
            return None
        seconds = number / 1000 if number > 1e11 else number
    return seconds if 0 < seconds < _YEAR_9999 else None


def _number(raw: Any) -> float | None:
    try:
        number = float(raw) if isinstance(raw, int | float) else None
    except OverflowError:
        return None
    return number if number is not None and math.isfinite(number) else None


def _count(raw: Any, key: str) -> int | None:
    value = raw.get(key) if isinstance(raw, Mapping) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _name(raw: Mapping[str, Any], keys: tuple[str, ...]) -> str | None:
    """The first of these that is a text. Names are shown, so they hold nothing that a terminal or a file cannot."""
    return next((printable(value) for key in keys if isinstance(value := raw.get(key), str) and value), None)


def printable(text: str) -> str:
    """The text with a replacement sign for each control character and lone surrogate."""
    return text if text.isprintable() else "".join(each if each.isprintable() else "\ufffd" for each in text)


def _text(raw: Any, where: str) -> str:
    if not isinstance(raw, str):
        _wrong(where, raw, "a text")
    return raw


def _wrong(where: str, value: Any, expected: str) -> NoReturn:
    raise RequestError(f"`{where}` is {_show(value)}; give {expected}")


def _show(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
