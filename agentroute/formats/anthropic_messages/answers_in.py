"""Answers of a provider, whole and streamed, read into canonical values; its way of counting."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
from agentroute.formats.base import failed_finish, finish_reason, stream_warnings
from agentroute.formats.failures import decode_error, tells_failure
from agentroute.formats.reading import Raw, count, later_usage, load_event, place, show, sound, table, told_cost, word
from agentroute.formats.signatures import unwrap
from agentroute.messages import ChatResponse, Extra, FinishReason, Message, Part, Reasoning, Text, ToolCall, Usage
from agentroute.providers import CostField

from .fields import DIALECT
from .requests_in import decode_block

__all__ = ["ANSWER_FIELDS", "LAST_FIELDS", "StreamDecoder", "decode_finish", "decode_response", "decode_usage"]

ANSWER_FIELDS = frozenset({"id", "type", "role", "model", "content", "stop_reason", "usage"})
LAST_FIELDS = ("stop_sequence", "stop_details", "container", "context_management")
"""What a stream says with its last words, and a whole answer beside the others."""


def decode_response(
    body: Any, *, target: str | None = None, origin: str | None = None, cost: CostField | None = None
) -> ChatResponse:
    """Reads a whole answer (parsed JSON).

    Raises BadResponse where it is none, and the error it stands for where it is an error object with a success status.
    """
    if not isinstance(body, Mapping):
        raise BadResponse(f"the answer is {show(body)}, not an object", target=target)
    body = sound(body, target)
    if body.get("type") == "error" or tells_failure(body, ANSWER_FIELDS):
        raise decode_error(None, {}, body, target=target)
    failure = failed_finish(body.get("stop_reason"), target, said=bool(body.get("content")))
    if failure is not None:
        raise failure
    content = body.get("content")
    if not isinstance(content, list):
        raise BadResponse(f"the answer has no message: `content` is {show(content)}", target=target)
    parts: list[Part] = []
    problem = ""
    try:
        for position, block in enumerate(content):
            parts.extend(decode_block(block, f"content[{position}]", origin))
    except RequestError as error:
        problem = str(error)
    if problem:
        raise BadResponse(f"the answer cannot be read: {problem}", target=target)
    finish, native = decode_finish(body.get("stop_reason"))
    extra = {key: body[key] for key in body if key not in ANSWER_FIELDS and body[key] is not None}
    last = {key: extra.pop(key) for key in LAST_FIELDS if key in extra}
    answer_id, model = body.get("id"), body.get("model")
    return ChatResponse(
        message=Message(
            "assistant",
            tuple(filter(_says_something, parts)),
            extra=Extra(DIALECT, last, origin) if last else None,
        ),
        finish_reason=finish,
        usage=decode_usage(body.get("usage"), word(body.get("model")), cost),
        model=model if isinstance(model, str) else None,
        id=answer_id if isinstance(answer_id, str) else None,
        native_finish_reason=native,
        extra=Extra(DIALECT, extra, origin) if extra else None,
    )


def _says_something(part: Part) -> bool:
    return not isinstance(part, Text | Reasoning) or bool(part.text or part.extra or getattr(part, "signature", None))


def decode_finish(word: Any) -> tuple[FinishReason | None, str | None]:
    """Our word, and the provider's own where it is another."""
    if not isinstance(word, str) or not word:
        return None, None
    reason = finish_reason(word)
    return reason, None if word == reason else word


def decode_usage(raw: Raw | None, model: str | None = None, cost: CostField | None = None) -> Usage | None:
    """Anthropic counts what it read from the cache and wrote to it beside `input_tokens`; our input holds all three.

    The counts leave out what compaction and an adviser read and wrote: `iterations` holds all requests of the answer.
    """
    if not isinstance(raw, Mapping):
        return None
    whole = _counted(raw)
    told = told_cost({"usage": raw}, cost)
    if whole is None and told is None:
        return None
    used = table(raw.get("server_tool_use"))
    ran = {"web_search": used.get("web_search_requests"), "web_fetch": used.get("web_fetch_requests")}
    facts: dict[str, Any] = {
        "service_tier": word(raw.get("service_tier")),
        "speed": word(raw.get("speed")),
        "region": word(raw.get("inference_geo")),
        "server_tools": tuple((tool, calls) for tool, value in ran.items() if (calls := count(value))),
        "reported_cost": told,
    }
    if whole is None:
        return Usage(**facts)
    return replace(_with_iterations(whole, raw.get("iterations"), model), **facts)


def _counted(raw: Raw) -> Usage | None:
    """The tokens of one request."""
    fresh, written = count(raw.get("input_tokens")), count(raw.get("output_tokens"))
    if fresh is None and written is None:
        return None
    cache_read = count(raw.get("cache_read_input_tokens"))
    lives = table(raw.get("cache_creation"))
    hour, short = count(lives.get("ephemeral_1h_input_tokens")), count(lives.get("ephemeral_5m_input_tokens"))
    cache_write = count(raw.get("cache_creation_input_tokens"))
    if hour or short:
        cache_write = max(cache_write or 0, (hour or 0) + (short or 0))
    return Usage(
        None if fresh is None else fresh + (cache_read or 0) + (cache_write or 0),
        written,
        cache_read,
        cache_write,
        count(table(raw.get("output_tokens_details")).get("thinking_tokens")),
        cache_write_1h_tokens=hour,
    )


_SUMMED = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
)


def _with_iterations(whole: Usage, raw: Any, model: str | None) -> Usage:
    """The sums over all requests of the answer, where there were others than the one that the counts are of."""
    parts: list[Usage] = []
    last: int | None = None
    for entry in raw if isinstance(raw, list) else ():
        part = _counted(table(entry))
        if part is None:
            continue
        own, kind = word(table(entry).get("model")), table(entry).get("type")
        foreign = own is not None and (own != model if model is not None else kind != "message")
        parts.append(replace(part, model=own if foreign else None))
        if kind == "message" or kind == "fallback_message":
            last = part.input_tokens
    if not parts or parts == [whole]:
        return whole
    sums: dict[str, Any] = {name: _sum(parts, name) for name in _SUMMED}
    short = (sums["input_tokens"] or 0) < (whole.input_tokens or 0)
    if short or (sums["output_tokens"] or 0) < (whole.output_tokens or 0):
        return whole
    return replace(whole, **sums, iterations=tuple(parts), last_input_tokens=last)


def _sum(parts: list[Usage], name: str) -> int | None:
    known = [value for part in parts if (value := getattr(part, name)) is not None]
    return sum(known) if known else None


_INPUT_COUNTS = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation")
_EVENT = ("type",)
_CALL_FIELDS = frozenset({"type", "id", "name", "input"})
_BEGINS = {
    "text_delta": "text",
    "citations_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "thinking",
}


@dataclass(slots=True)
class _Block:
    """A block that is open: as it began, and the pieces that came since."""

    begun: dict[str, Any]
    call: int | None = None
    pieces: list[str] = field(default_factory=list)
    citations: list[Any] = field(default_factory=list)


class StreamDecoder:
    """Reads one streamed answer: feed it the data of each server-sent event, then close it.

    Pings, and events and blocks of kinds we do not know, are never an error; such a block is kept whole.
    """

    def __init__(self, *, target: str | None = None, origin: str | None = None, cost: CostField | None = None) -> None:
        self.usage: Usage | None = None
        self.finish_reason: FinishReason | None = None
        self.native_finish_reason: str | None = None
        self.ended = False
        self._target = target
        self._origin = origin
        self._cost = cost
        self._model: str | None = None
        self._counts: dict[str, Any] = {}
        self._blocks: dict[int | None, _Block] = {}
        self._calls: list[tuple[str, str, list[str]]] = []
        self._spoke = False
        self._extra: dict[str, Any] = {}

    @property
    def finished(self) -> bool:
        """Whether the provider has said why it stopped."""
        return self.finish_reason is not None or self.native_finish_reason is not None

    @property
    def thinking(self) -> bool:
        """Whether a thinking block is open."""
        return any("thinking" in str(block.begun.get("type")) for block in self._blocks.values())

    def feed(self, data: str, event: str = "message") -> list[Event]:
        """The events of one server-sent event. Raises the error it reports, and BadResponse for what is no JSON."""
        if self.ended:
            return []
        raw = load_event(data, self._target)
        if not isinstance(raw, Mapping):
            return []
        found: list[Event] = []
        match raw.get("type", event):
            case "error":
                raise decode_error(None, {}, raw, target=self._target)
            case "message_start":
                self._start(raw.get("message"), found)
            case "content_block_start":
                self._open(raw, found)
            case "content_block_delta":
                self._piece(raw, found)
            case "content_block_stop":
                self._close_block(place(raw, "index", self._target), found)
            case "message_delta":
                self._last_words(raw, found)
            case "message_stop":
                self.ended = True
            case _ if event == "error" or tells_failure(raw, _EVENT):
                raise decode_error(None, {}, raw, target=self._target)
        return found

    def close(self) -> list[Event]:
        """The end of the stream. Raises BadResponse where the answer is not complete."""
        if not self.ended and not self.finished:
            raise BadResponse("the stream ended before the answer was complete", target=self._target)
        found: list[Event] = []
        for index in list(self._blocks):
            self._close_block(index, found)
        extra = Extra(DIALECT, self._extra, self._origin) if self._extra else None
        found.append(Finished(self.finish_reason, self.native_finish_reason, extra))
        return found

    def warnings(self) -> tuple[str, ...]:
        """What `response_warnings` would say of the answer so far."""
        calls = [ToolCall(call_id, name, "".join(pieces)) for call_id, name, pieces in self._calls]
        return stream_warnings(self, calls, spoke=self._spoke)

    def _start(self, message: Any, found: list[Event]) -> None:
        if not isinstance(message, Mapping):
            return
        answer_id, model = message.get("id"), message.get("model")
        self._model = word(model)
        spare = {key: message[key] for key in message if key not in ANSWER_FIELDS and message[key] is not None}
        self._extra.update({key: spare.pop(key) for key in LAST_FIELDS if key in spare})
        found.append(
            Started(
                answer_id if isinstance(answer_id, str) else None,
                model if isinstance(model, str) else None,
                Extra(DIALECT, spare, self._origin) if spare else None,
            )
        )
        self._count(message.get("usage"), found)

    def _count(self, raw: Any, found: list[Event]) -> None:
        """Counts are cumulative; a later event says again only some of them, and zeros after a count are no count."""
        if not isinstance(raw, Mapping):
            return
        told = {key: value for key, value in raw.items() if value is not None}
        for names in (_INPUT_COUNTS, ("output_tokens",)):
            if not any(told.get(name) for name in names) and any(self._counts.get(name) for name in names):
                for name in names:
                    told.pop(name, None)
        self._counts.update(told)
        usage = later_usage(self.usage, decode_usage(self._counts, self._model, self._cost))
        if usage is not None and usage != self.usage:
            self.usage = usage
            found.append(UsageReported(usage))

    def _open(self, raw: Raw, found: list[Event]) -> None:
        begun = raw.get("content_block")
        if not isinstance(begun, Mapping):
            return
        block = self._blocks[place(raw, "index", self._target)] = _Block(dict(begun))
        match begun.get("type"):
            case "text" if begun.get("text"):
                self._text(begun["text"], found)
            case "thinking" if begun.get("thinking"):
                found.append(ReasoningDelta(str(begun["thinking"])))
            case "tool_use":
                call_id, name = begun.get("id"), begun.get("name")
                if not isinstance(call_id, str) or not isinstance(name, str) or not name:
                    raise BadResponse("the answer has a tool call without an id or name", target=self._target)
                block.call = len(self._calls)
                self._calls.append((call_id, name, []))
                spare = {key: begun[key] for key in begun if key not in _CALL_FIELDS and begun[key] is not None}
                found.append(
                    ToolCallStarted(block.call, call_id, name, Extra(DIALECT, spare, self._origin) if spare else None)
                )
                if begun.get("input"):
                    self._arguments(block.call, json.dumps(begun["input"], ensure_ascii=False), found)

    def _piece(self, raw: Raw, found: list[Event]) -> None:
        index, delta = place(raw, "index", self._target), raw.get("delta")
        if not isinstance(delta, Mapping):
            return
        block = self._blocks.get(index) or self._unsaid(index, delta)
        if block is None:
            return
        match delta:
            case {"type": "text_delta", "text": str(text)}:
                self._text(text, found)
            case {"type": "thinking_delta", "thinking": str(text)}:
                if text:
                    found.append(ReasoningDelta(text))
            case {"type": "signature_delta", "signature": str(signature)}:
                block.pieces.append(signature)
            case {"type": "input_json_delta", "partial_json": str(piece)}:
                if block.call is None:
                    block.pieces.append(piece)
                elif piece:
                    self._arguments(block.call, piece, found)
            case {"type": "citations_delta", "citation": citation}:
                block.citations.append(citation)

    def _unsaid(self, index: int | None, delta: Raw) -> _Block | None:
        """The block of a piece whose beginning was left out. A call's name would have stood there."""
        kind = word(delta.get("type")) or ""
        if kind == "input_json_delta" and delta.get("partial_json"):
            raise BadResponse("the answer has a tool call without an id or name", target=self._target)
        if kind not in _BEGINS:
            return None
        block = self._blocks[index] = _Block({"type": _BEGINS[kind]})
        return block

    def _text(self, text: Any, found: list[Event]) -> None:
        if isinstance(text, str) and text:
            self._spoke = True
            found.append(TextDelta(text))

    def _arguments(self, call: int, piece: str, found: list[Event]) -> None:
        self._calls[call][2].append(piece)
        found.append(ToolCallDelta(call, piece))

    def _close_block(self, index: int | None, found: list[Event]) -> None:
        block = self._blocks.pop(index, None)
        if block is None:
            return
        begun = block.begun
        match begun.get("type"):
            case "text":
                cited = [*(begun.get("citations") or ()), *block.citations]
                if cited:
                    found.append(TextDelta("", Extra(DIALECT, {"citations": cited}, self._origin)))
            case "tool_use":
                pass
            case "thinking":
                signature = "".join(block.pieces) or begun.get("signature")
                found.append(self._signature(signature))
            case "redacted_thinking" if isinstance(begun.get("data"), str):
                found.append(self._signature(begun["data"], redacted=True))
            case _:
                if block.pieces:
                    begun["input"] = _whole("".join(block.pieces))
                found.append(TextDelta("", Extra(DIALECT, begun, self._origin)))

    def _signature(self, signature: Any, *, redacted: bool = False) -> ReasoningSignature:
        given, origin = signature if isinstance(signature, str) else "", self._origin
        if origin is None:
            given, origin = unwrap(given)
        return ReasoningSignature(given or None, origin, redacted)

    def _last_words(self, raw: Raw, found: list[Event]) -> None:
        delta = raw.get("delta")
        if isinstance(delta, Mapping):
            failure = failed_finish(delta.get("stop_reason"), self._target, said=self._spoke or bool(self._calls))
            if failure is not None:
                raise failure
            if delta.get("stop_reason") and not self.finished:
                self.finish_reason, self.native_finish_reason = decode_finish(delta["stop_reason"])
            for key, value in delta.items():
                if key != "stop_reason" and value is not None:
                    self._extra[key] = value
        self._count(raw.get("usage"), found)


def _whole(text: str) -> Any:
    """The input of a call that the provider runs itself; one that was cut off stays a text."""
    try:
        return load_event(text, None)
    except BadResponse:
        return text
