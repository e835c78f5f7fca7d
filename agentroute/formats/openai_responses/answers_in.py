"""Answers of a provider, whole and streamed, read into canonical values; its way of counting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from agentroute.errors import BadResponse, RequestError
from agentroute.events import (
    Event,
    Finished,
    ReasoningDelta,
    ReasoningSignature,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    UsageReported,
)
from agentroute.formats.base import finish_reason, stream_warnings
from agentroute.formats.failures import decode_error, tells_failure
from agentroute.formats.reading import (
    Raw,
    count,
    later_usage,
    load_event,
    most,
    place,
    show,
    sound,
    table,
    told_cost,
    word,
)
from agentroute.messages import ChatResponse, Extra, FinishReason, ToolCall, Usage
from agentroute.providers import CostField

from .fields import DIALECT, INPUT_OF, REFUSAL, id_of
from .requests_in import Assistant, call_rest, called, read_reasoning

__all__ = ["StreamDecoder", "decode_finish", "decode_response", "decode_usage"]


def decode_response(
    body: Any, *, target: str | None = None, origin: str | None = None, cost: CostField | None = None
) -> ChatResponse:
    """Reads a whole answer (parsed JSON).

    Raises BadResponse where it is none, and the error it stands for where it failed. The many fields that repeat the
    request are not kept.
    """
    if not isinstance(body, Mapping):
        raise BadResponse(f"the answer is {show(body)}, not an object", target=target)
    body = sound(body, target)
    if body.get("status") == "failed" or tells_failure(body, _ANSWER):
        raise decode_error(None, {}, body, target=target)
    if body.get("status") in _UNFINISHED:
        raise BadResponse(f"the answer is {show(body['status'])}, not complete", target=target)
    output = body.get("output")
    if not isinstance(output, list):
        raise BadResponse(f"the answer has no items: `output` is {show(output)}", target=target)
    said = Assistant(origin)
    problem = ""
    try:
        for index, item in enumerate(output):
            if not isinstance(item, Mapping):
                raise RequestError(f"`output[{index}]` is {show(item)}, not an object")
            said.take(item, f"output[{index}]")
    except RequestError as error:
        problem = str(error)
    if problem:
        raise BadResponse(f"the answer cannot be read: {problem}", target=target)
    message = said.message()
    finish, native = decode_finish(body, calls=bool(message.tool_calls))
    answer_id, model = body.get("id"), body.get("model")
    return ChatResponse(
        message=message,
        finish_reason=finish,
        usage=find_usage(body, cost),
        model=model if isinstance(model, str) else None,
        id=answer_id if isinstance(answer_id, str) else None,
        native_finish_reason=native,
    )


_ANSWER = ("output", "status", "id", "object", "type")
_UNFINISHED = ("in_progress", "queued", "cancelled")


def decode_finish(body: Raw, *, calls: bool) -> tuple[FinishReason | None, str | None]:
    """Our word, and the provider's own: its status, or why it is incomplete. With calls it is complete for now."""
    status, details = body.get("status"), body.get("incomplete_details")
    why = details.get("reason") if isinstance(details, Mapping) else None
    native = why if isinstance(why, str) and why else status
    if not isinstance(native, str):
        return None, None
    if native == "completed" and calls:
        return "tool_calls", native
    reason = finish_reason(native)
    return reason, None if native == reason else native


_TOOLS = {
    "web_search_call": "web_search",
    "file_search_call": "file_search",
    "code_interpreter_call": "code_interpreter",
    "image_generation_call": "image_generation",
}
"""Items by which the provider's own tools show that they ran, those that cost something beside their tokens."""


def find_usage(body: Raw, cost: CostField | None = None) -> Usage | None:
    """The count of a whole answer, and what the answer tells of its price beside it."""
    usage, told = decode_usage(body.get("usage")), told_cost(body, cost)
    if usage is None and told is None:
        return None
    usage = usage or Usage()
    ttl = table(body.get("prompt_cache_options")).get("ttl")
    return replace(
        usage,
        cache_write_12h_tokens=usage.cache_write_tokens if ttl == "12h" else None,
        service_tier=word(body.get("service_tier")),
        server_tools=_server_tools(body.get("output")),
        reported_cost=told,
    )


def _server_tools(output: Any) -> tuple[tuple[str, int], ...]:
    """How often each ran. Of a web search only the action `search` costs, not the reading of a page it found
    (https://developers.openai.com/api/docs/guides/tools-web-search)."""
    ran: Counter[str] = Counter()
    for item in output if isinstance(output, list) else ():
        tool = _TOOLS.get(str(table(item).get("type")))
        if tool is not None and table(table(item).get("action")).get("type", "search") == "search":
            ran[tool] += 1
    return tuple(sorted(ran.items()))


def decode_usage(raw: Any) -> Usage | None:
    """The provider's count, or None where it gave none. Input holds what was cached, output what was thought.

    Servers that took the dialect over may count by the names of chat completions.
    """
    if not isinstance(raw, Mapping):
        return None
    inputs = table(raw.get("input_tokens_details", raw.get("prompt_tokens_details")))
    outputs = table(raw.get("output_tokens_details", raw.get("completion_tokens_details")))
    usage = Usage(
        count(raw.get("input_tokens", raw.get("prompt_tokens"))),
        count(raw.get("output_tokens", raw.get("completion_tokens"))),
        most(inputs.get("cached_tokens"), raw.get("cached_tokens")),
        count(inputs.get("cache_write_tokens")),
        count(outputs.get("reasoning_tokens")),
    )
    return None if usage.input_tokens is None and usage.output_tokens is None else usage


_ENDS = frozenset({"response.completed", "response.incomplete"})


@dataclass(slots=True)
class _Item:
    """An item as far as it has come: how much of its words, thoughts or arguments has been passed on."""

    kind: str
    call: int | None = None
    seen: int = 0
    parts: int = 0
    thoughts: str = ""
    closed: bool = False


class StreamDecoder:
    """Reads one streamed answer: feed it the data of each server-sent event, then close it.

    Words are passed on as they come; what an item says at its end and no piece had said is added then. Events of kinds
    we do not know are never an error.
    """

    def __init__(self, *, target: str | None = None, origin: str | None = None, cost: CostField | None = None) -> None:
        self.usage: Usage | None = None
        self.finish_reason: FinishReason | None = None
        self.native_finish_reason: str | None = None
        self.ended = False
        self._target = target
        self._origin = origin
        self._cost = cost
        self._ran: dict[str | int | None, Raw] = {}
        self._items: dict[str | int | None, _Item] = {}
        self._calls: list[tuple[ToolCall, list[str]]] = []
        self._ids: list[str | None] = []
        self._spoke = False
        self._started = False

    @property
    def finished(self) -> bool:
        """Whether the provider has said that the answer is complete, or why it is not."""
        return self.finish_reason is not None or self.native_finish_reason is not None

    @property
    def thinking(self) -> bool:
        """Whether a reasoning item is open."""
        return any(item.kind == "reasoning" and not item.closed for item in self._items.values())

    def feed(self, data: str, event: str = "message") -> list[Event]:
        """The events of one server-sent event. Raises the error it reports, and BadResponse for what is no JSON."""
        if self.ended or data.startswith("[DONE]"):
            return []
        raw = load_event(data, self._target)
        if not isinstance(raw, Mapping):
            return []
        found: list[Event] = []
        match raw.get("type", event):
            case "response.created" | "response.in_progress" | "response.queued":
                self._start(raw.get("response"), found)
            case "response.output_item.added":
                self._open(raw, found)
            case "response.output_text.delta":
                self._words(raw, found)
            case "response.reasoning_summary_part.added":
                self._next_thought(raw, found)
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" as kind:
                self._thought(kind, raw, found)
            case "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta":
                self._arguments(raw, found)
            case "response.output_item.done":
                self._close_item(raw, found)
            case "response.failed":
                raise decode_error(None, {}, _failed(raw), target=self._target)
            case "error":
                raise decode_error(None, {}, raw, target=self._target)
            case str() as kind if kind in _ENDS:
                self._end(kind, raw.get("response"), found)
            case _ if event == "error" or tells_failure(raw, _ANSWER):
                raise decode_error(None, {}, raw, target=self._target)
        return found

    def close(self) -> list[Event]:
        """The end of the stream. Raises BadResponse where the answer is not complete."""
        if not self.finished:
            raise BadResponse("the stream ended before the answer was complete", target=self._target)
        fields = {"message_ids": self._ids} if any(self._ids) else {}
        extra = Extra(DIALECT, fields, self._origin) if fields else None
        return [Finished(self.finish_reason, self.native_finish_reason, extra)]

    def warnings(self) -> tuple[str, ...]:
        """What `response_warnings` would say of the answer so far."""
        calls = [replace(call, arguments="".join(pieces)) for call, pieces in self._calls]
        return stream_warnings(self, calls, spoke=self._spoke)

    def _start(self, response: Any, found: list[Event]) -> None:
        if isinstance(response, Mapping) and not self._started:
            self._started = True
            answer_id, model = response.get("id"), response.get("model")
            found.append(
                Started(answer_id if isinstance(answer_id, str) else None, model if isinstance(model, str) else None)
            )

    def _names(self, raw: Raw) -> list[str | int | None]:
        """What the item of an event goes by, the surest first: some servers count places differently, or not at all."""
        item = table(raw.get("item"))
        named = (raw.get("item_id"), item.get("id"), item.get("call_id"))
        return [*(name for name in named if isinstance(name, str) and name), place(raw, "output_index", self._target)]

    def _known(self, raw: Raw) -> _Item | None:
        """The item that an event speaks of, if it has been heard of."""
        kind = table(raw.get("item")).get("type")
        found = (self._items.get(name) for name in (*self._names(raw), None))
        return next((item for item in found if item is not None and kind in (None, item.kind)), None)

    def _open(self, raw: Raw, found: list[Event]) -> _Item:
        item = table(raw.get("item"))
        known = _Item(str(item.get("type", "message")))
        self._items |= dict.fromkeys(self._names(raw), known)
        if known.kind in INPUT_OF:
            call_id, name = item.get("call_id"), item.get("name")
            if not isinstance(call_id, str) or not isinstance(name, str) or not name:
                raise BadResponse("the answer has a tool call without an id or name", target=self._target)
            known.call = len(self._calls)
            extra = call_rest(item, self._origin)
            self._calls.append((ToolCall(call_id, name, "", extra), []))
            found.append(ToolCallStarted(known.call, call_id, called(item, name), extra))
        return known

    def _words(self, raw: Raw, found: list[Event]) -> None:
        text = raw.get("delta")
        if isinstance(text, str) and text:
            item = self._known(raw) or self._open(raw, found)
            item.seen += len(text)
            self._spoke = True
            found.append(TextDelta(text))

    def _next_thought(self, raw: Raw, found: list[Event]) -> None:
        item = self._known(raw)
        if item is not None:
            item.parts += 1
            if item.parts > 1:
                found.append(ReasoningDelta("\n\n"))

    def _thought(self, kind: str, raw: Raw, found: list[Event]) -> None:
        """A piece of a summary, or of the thoughts themselves, whichever comes first: the other says it again."""
        text, item = raw.get("delta"), self._known(raw)
        if isinstance(text, str) and text:
            if item is not None:
                if item.thoughts not in ("", kind):
                    return
                item.thoughts = kind
                item.seen += len(text)
            found.append(ReasoningDelta(text))

    def _arguments(self, raw: Raw, found: list[Event]) -> None:
        piece, item = raw.get("delta"), self._known(raw)
        if isinstance(piece, str) and piece and item is not None and item.call is not None:
            self._calls[item.call][1].append(piece)
            found.append(ToolCallDelta(item.call, piece))

    def _close_item(self, raw: Raw, found: list[Event]) -> None:
        item = raw.get("item")
        if not isinstance(item, Mapping):
            return
        known = self._known(raw) or self._open(raw, found)
        known.closed = True
        if str(item.get("type")) in _TOOLS:
            self._ran[self._names(raw)[0]] = item
        match item.get("type"):
            case "message":
                self._ids.append(id_of(item))
                self._whole_words(item, known, found)
            case "function_call" | "custom_tool_call" as kind:
                whole = item.get(INPUT_OF[kind])
                if known.call is not None and isinstance(whole, str) and whole and not self._calls[known.call][1]:
                    self._calls[known.call][1].append(whole)
                    found.append(ToolCallDelta(known.call, whole))
            case "reasoning":
                part = read_reasoning(item, self._origin)
                if part.text and not known.seen:
                    found.append(ReasoningDelta(part.text))
                found.append(ReasoningSignature(part.signature, part.origin, part.redacted, part.extra))
            case str():
                found.append(TextDelta("", Extra(DIALECT, dict(item), self._origin)))

    def _whole_words(self, item: Raw, known: _Item, found: list[Event]) -> None:
        content = item.get("content")
        for part in content if isinstance(content, list) else ():
            match part:
                case {"type": "output_text", "text": str(text)} if text and not known.seen:
                    self._spoke = True
                    found.append(TextDelta(text))
                case {"type": "refusal", "refusal": str(text)} if text:
                    self._spoke = True
                    found.append(TextDelta(text, REFUSAL))

    def _end(self, kind: str, response: Any, found: list[Event]) -> None:
        response = response if isinstance(response, Mapping) else {}
        if response.get("error") or response.get("status") in ("failed", *_UNFINISHED):
            raise decode_error(None, {}, response, target=self._target)
        self._start(response, found)
        output = response.get("output")
        for index, item in enumerate(output if isinstance(output, list) else ()):
            event = {"output_index": index, "item": item}
            known = self._known(event)
            if known is None or not known.closed:
                self._close_item(event, found)
        if not isinstance(response.get("status"), str):
            response = {**response, "status": kind.removeprefix("response.")}
        self.finish_reason, self.native_finish_reason = decode_finish(response, calls=bool(self._calls))
        self.ended = self.finished
        told = find_usage({**response, "output": list(self._ran.values())}, self._cost)
        usage = later_usage(self.usage, told)
        if usage is not None:
            self.usage = usage
            found.append(UsageReported(usage))


def _failed(raw: Raw) -> Mapping[str, Any]:
    response = raw.get("response")
    return response if isinstance(response, Mapping) else raw
