"""Answers of a provider, whole and streamed, read into canonical values; its way of counting, and what is odd."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from agentroute.errors import BadResponse, ProviderError, RequestError
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
from agentroute.formats.base import failed_finish, finish_reason, no_word, stream_warnings
from agentroute.formats.failures import decode_error, tells_failure
from agentroute.formats.reading import (
    Raw,
    count,
    json_object,
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
from agentroute.messages import ChatResponse, Extra, FinishReason, Message, Part, Reasoning, Text, ToolCall, Usage
from agentroute.providers import CostField

from .fields import CUSTOM, DIALECT, REASONING, REFUSAL, digest, kept, said
from .requests_in import ASSISTANT_FIELDS, decode_assistant, decode_content

__all__ = [
    "RESPONSE_FIELDS",
    "StreamDecoder",
    "decode_finish",
    "decode_response",
    "decode_usage",
    "find_usage",
    "spare_id_of",
    "with_origin",
]

RESPONSE_FIELDS = frozenset({"id", "object", "model", "choices", "usage", "error"})
_SAID = frozenset({"content", "tool_calls", "reasoning", "reasoning_content", "refusal", "function_call"})
_ANSWER = ("choices", "usage", "id", "model", "object")
_CHOICE_FIELDS = frozenset({"index", "message", "finish_reason", "native_finish_reason"})


def decode_response(
    body: Any, *, target: str | None = None, origin: str | None = None, cost: CostField | None = None
) -> ChatResponse:
    """Reads a whole answer (parsed JSON).

    Raises BadResponse where it is none, and the error it stands for where it is an error object with a success status.
    """
    if not isinstance(body, Mapping):
        raise BadResponse(f"the answer is {show(body)}, not an object", target=target)
    body = sound(body, target)
    if tells_failure(body, _ANSWER):
        raise decode_error(None, {}, body, target=target)
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    raw = choice.get("message") if isinstance(choice, Mapping) else None
    if not isinstance(choice, Mapping) or not isinstance(raw, Mapping):
        raise BadResponse(f"the answer has no message: `choices` is {show(choices)}", target=target)
    if choice.get("error"):
        raise decode_error(None, {}, choice, target=target)
    answer_id, model = body.get("id"), body.get("model")
    problem = ""
    try:
        parts, spare = decode_assistant(raw, "choices[0].message", spare_id_of(body))
    except RequestError as error:
        problem = str(error)
    if problem:
        raise BadResponse(f"the answer cannot be read: {problem}", target=target)
    failure = _failure(choice, target, said=any(isinstance(part, ToolCall) or _is_text(part) for part in parts))
    if failure is not None:
        raise failure
    finish, native = decode_finish(choice)
    extra = said({key: body[key] for key in body if key not in RESPONSE_FIELDS})
    beside = said({key: choice[key] for key in choice if key not in _CHOICE_FIELDS})
    if beside:
        extra["choice"] = beside
    return ChatResponse(
        message=Message(
            "assistant", with_origin(filter(_says_something, parts), origin), None, kept(said(spare), origin)
        ),
        finish_reason=finish,
        usage=find_usage(body, cost),
        model=model if isinstance(model, str) else None,
        id=answer_id if isinstance(answer_id, str) else None,
        native_finish_reason=native,
        extra=kept(extra, origin),
    )


def with_origin(parts: Iterable[Part], origin: str | None) -> tuple[Part, ...]:
    """The parts with `origin` on every unknown field; what is only the form of a part belongs to no model."""
    return tuple(
        part if part.extra is None or part.extra in _FORMS else replace(part, extra=replace(part.extra, origin=origin))
        for part in parts
    )


_FORMS = (REFUSAL, REASONING, CUSTOM)


def _says_something(part: Part) -> bool:
    return not isinstance(part, Text | Reasoning) or bool(part.text) or part.extra not in (None, REASONING)


def spare_id_of(body: Raw) -> str:
    """What begins the id of a call that came without one: the same for the same answer, another for another."""
    return f"call_{digest(repr((body.get('id'), body.get('created'), body.get('model'))))}"


def _failure(choice: Raw, target: str | None, *, said: bool) -> ProviderError | None:
    for name in ("finish_reason", "native_finish_reason"):
        failure = failed_finish(choice.get(name), target, said=said)
        if failure is not None:
            return failure
    return None


def _is_text(part: Part) -> bool:
    return isinstance(part, Text) and bool(part.text)


def decode_finish(choice: Raw) -> tuple[FinishReason | None, str | None]:
    """Our word, and the provider's own where it is another."""
    word, native = choice.get("finish_reason"), choice.get("native_finish_reason")
    if not isinstance(native, str) or not native:
        native = None
    if not isinstance(word, str) or no_word(word):
        return None, native
    reason = finish_reason(word)
    native = native or word
    return reason, None if native == reason else native


def find_usage(body: Raw, cost: CostField | None = None) -> Usage | None:
    """The count of a whole answer or a chunk, wherever it stands, and what the answer tells of its price beside it.

    Moonshot streams it inside a choice, some servers in its message or delta, Groq in `x_groq`.
    """
    found: Usage | None = None
    choices = body.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        for holder in (table(choice), table(table(choice).get("delta")), table(table(choice).get("message"))):
            if "usage" in holder:
                found = later_usage(found, decode_usage(holder["usage"]))
    if "x_groq" in body:
        found = later_usage(found, decode_usage(table(body["x_groq"]).get("usage")))
    found = later_usage(found, decode_usage(body.get("usage")))
    told, tier = told_cost(body, cost), word(body.get("service_tier"))
    if found is None and told is None:
        return None
    found = found or Usage()
    if tier is None and told is None:
        return found
    return replace(found, service_tier=tier or found.service_tier, reported_cost=told)


def decode_usage(raw: Any) -> Usage | None:
    """The provider's count, or None where it gave none.

    xAI leaves reasoning tokens out of `completion_tokens`; its own total shows it, so the sum is made whole here.
    Cached tokens stand in the details (OpenAI), at the top (Moonshot, DeepSeek, Mistral) or by Anthropic's names
    (LiteLLM); a server that gives two of them says the same twice, or a 0 in the one that it does not use.
    """
    if not isinstance(raw, Mapping):
        return None
    sent, written = count(raw.get("prompt_tokens")), count(raw.get("completion_tokens"))
    if sent is None and "cache_read_input_tokens" not in raw:
        # By the names of Responses. By Anthropic's, which have one more for the cache, it would be a part of the input.
        sent, written = count(raw.get("input_tokens")), count(raw.get("output_tokens", raw.get("completion_tokens")))
    inputs = table(raw.get("prompt_tokens_details", raw.get("input_tokens_details")))
    outputs = table(raw.get("completion_tokens_details", raw.get("output_tokens_details")))
    lives = table(raw.get("cache_creation")) or table(inputs.get("cache_creation_token_details"))
    reasoning = most(outputs.get("reasoning_tokens"), raw.get("reasoning_tokens"))
    if sent is not None and written is not None and reasoning and raw.get("total_tokens") == sent + written + reasoning:
        written += reasoning
    usage = Usage(
        sent,
        written,
        most(
            inputs.get("cached_tokens"),
            raw.get("cached_tokens"),
            raw.get("prompt_cache_hit_tokens"),
            raw.get("cache_read_input_tokens"),
            raw.get("num_cached_tokens"),
        ),
        most(
            inputs.get("cache_write_tokens"),
            inputs.get("cache_creation_tokens"),
            raw.get("cache_creation_input_tokens"),
            lives.get("ephemeral_1h_input_tokens"),
        ),
        reasoning,
        cache_write_1h_tokens=count(lives.get("ephemeral_1h_input_tokens")),
    )
    if usage == _NO_USAGE:
        return None
    tier, tools = word(raw.get("service_tier")), _server_tools(raw)
    return replace(usage, service_tier=tier, server_tools=tools) if tier is not None or tools else usage


def _server_tools(raw: Raw) -> tuple[tuple[str, int], ...]:
    """How often the provider's own tools ran: Anthropic's name for it (LiteLLM, OpenRouter), and xAI's sources."""
    used = table(raw.get("server_tool_use"))
    told = {
        "web_search": used.get("web_search_requests"),
        "web_fetch": used.get("web_fetch_requests"),
        "live_search_source": raw.get("num_sources_used"),
    }
    return tuple((tool, calls) for tool, value in told.items() if (calls := count(value)))


_NO_USAGE = Usage()


@dataclass(slots=True)
class _Call:
    """A tool call as far as it has come. `wire_id` is the provider's, None where it gave none."""

    position: int
    wire_id: str | None
    name: str | None
    extra: Extra | None
    started: bool = False
    arguments: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether the arguments so far are an object: more of them would belong to another call."""
        ends = bool(self.arguments) and self.arguments[-1].rstrip().endswith("}")
        return ends and json_object("".join(self.arguments)) is not None


class StreamDecoder:
    """Reads one streamed answer: feed it the data of each server-sent event, then close it.

    Text comes out as it goes in; a refusal, which is a part of its own, as a whole. `usage` and `finish_reason` hold
    what the provider has said so far. Calls are told apart by index and id (some providers give every call the index 0)
    and numbered anew.
    """

    def __init__(self, *, target: str | None = None, origin: str | None = None, cost: CostField | None = None) -> None:
        self.usage: Usage | None = None
        self.finish_reason: FinishReason | None = None
        self.native_finish_reason: str | None = None
        self.ended = False
        self._target = target
        self._origin = origin
        self._cost = cost
        self._service_tier: str | None = None
        self._refusal: list[str] = []
        self._thinking: list[str] = []
        self._seen = False
        self._id: str | None = None
        self._model: str | None = None
        self._head: Extra | None = None
        self._started = False
        self._answered = False
        self._spoke = False
        self._thinks = False
        self._spare_id = ""
        self._extra: dict[str, Any] = {}
        self._pieces = 0
        self._details = _Details()
        self._calls: list[_Call] = []
        self._by_index: dict[int | None, _Call] = {}
        self._by_id: dict[str, _Call] = {}

    @property
    def finished(self) -> bool:
        """Whether the provider has said why it stopped: what may follow is its usage."""
        return self.finish_reason is not None or self.native_finish_reason is not None

    @property
    def thinking(self) -> bool:
        """Whether the model's last words were thoughts."""
        return self._thinks

    def feed(self, data: str, event: str = "message") -> list[Event]:
        """The events of one chunk. Raises the error that the stream reports, and BadResponse for what is no chunk."""
        if self.ended:
            return []
        if data.startswith("[DONE]"):
            self.ended = True
            return []
        chunk = load_event(data, self._target)
        if not isinstance(chunk, dict):
            return []
        if event == "error" or tells_failure(chunk, _ANSWER):
            raise decode_error(None, {}, chunk, target=self._target)
        found: list[Event] = []
        if not self._id or not self._model:
            self._named(chunk, found)
        choices = chunk.get("choices")
        if isinstance(choices, list):
            for choice in choices:
                if isinstance(choice, dict) and not place(choice, "index", self._target):
                    self._read_choice(choice, found)
        if self._may_count(chunk, data):
            self._count(chunk, found)
        if found:
            self._begin(found)
        return found

    def _may_count(self, chunk: Raw, data: str) -> bool:
        """Whether the chunk tells more than the null and the tier that OpenAI puts into each."""
        null = "usage" in chunk and chunk["usage"] is None
        return data.count("usage") > null or chunk.get("service_tier") not in (None, self._service_tier)

    def _count(self, chunk: Raw, found: list[Event]) -> None:
        """The tier may stand in every chunk, and the count in the last."""
        self._service_tier = word(chunk.get("service_tier")) or self._service_tier
        told = find_usage(chunk, self._cost)
        usage = later_usage(self.usage, told)
        if usage is not None and self._service_tier is not None:
            usage = replace(usage, service_tier=self._service_tier)
        if usage is not None and usage != self.usage:
            self.usage = usage
            found.append(UsageReported(usage))

    def close(self) -> list[Event]:
        """The end of the stream. Raises BadResponse where the answer is not complete.

        `[DONE]` without a reason for stopping is an end, and the reason stays unknown.
        """
        if not self.finished and not (self.ended and self._answered):
            raise BadResponse("the stream ended before the answer was complete", target=self._target)
        found: list[Event] = []
        self._begin(found)
        self._close_thinking(found)
        self._close_refusal(found)
        for call in self._calls:
            if not call.started:
                self._start_call(call, found)
        if self._details:
            self._extra["reasoning_details"] = self._details.whole()
        extra = kept(said(self._extra), self._origin)
        found.append(Finished(self.finish_reason, self.native_finish_reason, extra))
        return found

    def warnings(self) -> tuple[str, ...]:
        """What `response_warnings` would say of the answer so far."""
        calls = [
            ToolCall(call.wire_id or "", call.name or "", "".join(call.arguments), call.extra) for call in self._calls
        ]
        return stream_warnings(self, calls, spoke=self._spoke)

    def _named(self, chunk: Raw, found: list[Event]) -> None:
        """What the first chunk says of itself, and who speaks: some servers leave that to a later one."""
        if not self._seen:
            self._seen = True
            self._spare_id = spare_id_of(chunk)
            self._head = kept(said({key: chunk[key] for key in chunk if key not in RESPONSE_FIELDS}), self._origin)
        answer_id, model = chunk.get("id"), chunk.get("model")
        before = self._id, self._model
        self._id = self._id or (answer_id if isinstance(answer_id, str) and answer_id else None)
        self._model = self._model or (model if isinstance(model, str) and model else None)
        if (self._id and self._model) or (self._started and (self._id, self._model) != before):
            self._started = True
            found.append(Started(self._id, self._model, self._head))

    def _begin(self, found: list[Event]) -> None:
        """Nothing is said before Started, which waits for a name as long as nothing is."""
        if not self._started:
            self._started = True
            found.insert(0, Started(self._id, self._model, self._head))

    def _read_choice(self, choice: Raw, found: list[Event]) -> None:
        self._answered = True
        if choice.get("error"):
            raise decode_error(None, {}, choice, target=self._target)
        delta = choice.get("delta")
        if isinstance(delta, dict):
            for key, value in delta.items():
                if value is None or value == "":
                    continue
                if key in _SAID:
                    self._thinks = key in ("reasoning", "reasoning_content")
                if key == "content":
                    self._spoke = True
                    self._close_refusal(found)
                    self._read_content(value, found)
                elif key == "tool_calls":
                    self._close_thinking(found)
                    self._close_refusal(found)
                    for raw in value if isinstance(value, list) else ():
                        self._read_call(raw, found)
                elif key == "reasoning_content" or (key == "reasoning" and not delta.get("reasoning_content")):
                    if isinstance(value, str):
                        found.append(ReasoningDelta(value))
                elif key == "refusal":
                    if isinstance(value, str):
                        self._spoke = True
                        self._refusal.append(value)
                elif key == "function_call":
                    self._read_call({"index": 0, "function": value}, found)
                elif key not in ASSISTANT_FIELDS:
                    self._keep(key, value)
        if not choice.get("finish_reason") and not choice.get("native_finish_reason"):
            return
        failure = _failure(choice, self._target, said=self._spoke or bool(self._calls))
        if failure is not None:
            raise failure
        if not no_word(choice.get("finish_reason")) and not self.finished:
            self.finish_reason, self.native_finish_reason = decode_finish(choice)

    def _read_content(self, value: Any, found: list[Event]) -> None:
        if isinstance(value, str):
            self._close_thinking(found)
            found.append(TextDelta(value))
            return
        problem = ""
        parts: tuple[Part, ...] = ()
        try:
            parts = decode_content(value, "delta.content")
        except RequestError as error:
            problem = str(error)
        if problem:
            raise BadResponse(f"the answer cannot be read: {problem}", target=self._target)
        for part in parts:
            if isinstance(part, Reasoning):
                self._thinks = True
                if part.text:
                    self._thinking.append(part.text)
                    found.append(ReasoningDelta(part.text))
                continue
            self._close_thinking(found)
            if isinstance(part, Text) and (part.text or part.extra is not None):
                (whole,) = with_origin((part,), self._origin)
                found.append(TextDelta(part.text, whole.extra))

    def _close_thinking(self, found: list[Event]) -> None:
        """Mistral's reasoning is a part of the content and goes back as one, so it is closed as the whole part."""
        if self._thinking:
            part = {"type": "thinking", "thinking": [{"type": "text", "text": "".join(self._thinking)}]}
            found.append(ReasoningSignature(None, extra=Extra(DIALECT, part, self._origin)))
            self._thinking.clear()

    def _close_refusal(self, found: list[Event]) -> None:
        if self._refusal:
            found.append(TextDelta("".join(self._refusal), REFUSAL))
            self._refusal.clear()

    def _read_call(self, raw: Any, found: list[Event]) -> None:
        if not isinstance(raw, Mapping):
            return
        kind = "custom" if raw.get("type") == "custom" or "custom" in raw else "function"
        function = raw.get(kind)
        function = function if isinstance(function, Mapping) else {}
        wire_id = raw.get("id")
        wire_id = wire_id if isinstance(wire_id, str) and wire_id else None
        name = function.get("name")
        name = name if isinstance(name, str) and name else None
        arguments = function.get("input" if kind == "custom" else "arguments")
        if isinstance(arguments, Mapping):
            arguments = json.dumps(arguments, ensure_ascii=False)
        index = place(raw, "index", self._target)
        call = self._known_call(index, wire_id, name)
        if call is None:
            spare = said({key: raw[key] for key in raw if key not in ("index", "id", "type", kind)})
            inner = said({key: function[key] for key in function if key not in ("name", "arguments", "input")})
            if inner:
                spare[kind] = inner
            if kind == "custom":
                extra = kept({**spare, "type": "custom"}, self._origin) if spare else CUSTOM
            else:
                extra = kept(spare, self._origin)
            call = _Call(len(self._calls), wire_id, name, extra)
            self._calls.append(call)
            self._by_index[index] = call
            if wire_id is not None:
                self._by_id.setdefault(wire_id, call)
        if call.name is None:
            call.name = name
        if isinstance(arguments, str) and arguments:
            call.arguments.append(arguments)
            if call.started:
                found.append(ToolCallDelta(call.position, arguments))
        if not call.started and call.name is not None:
            self._start_call(call, found)

    def _known_call(self, index: int | None, wire_id: str | None, name: str | None) -> _Call | None:
        """The call that a piece belongs to, or None where it begins another one."""
        call = self._by_index.get(index) if index is not None else None
        if call is None and index is None:
            if wire_id is not None:
                return self._by_id.get(wire_id)
            call = self._calls[-1] if self._calls else None
        last = self._calls[-1] if self._calls else None
        only_arguments = wire_id is None and name is None
        if only_arguments and last is not None and last is not call and last.name is not None and not last.whole:
            # An index that does not fit: the call that was begun last lacks these arguments, unless another one does.
            call = last if call is None or call.whole else call
        if call is None:
            return None
        if wire_id is not None and wire_id != call.wire_id and (call.wire_id is not None or name is not None):
            return None
        if wire_id is None and name is not None and call.name is not None and (name != call.name or call.whole):
            return None
        return call

    def _start_call(self, call: _Call, found: list[Event]) -> None:
        if call.name is None:
            raise BadResponse("the answer has a tool call without a name", target=self._target)
        call.started = True
        call_id = call.wire_id or f"{self._spare_id}_{call.position}"
        found.append(ToolCallStarted(call.position, call_id, call.name, call.extra))
        if call.arguments:
            found.append(ToolCallDelta(call.position, "".join(call.arguments)))

    def _keep(self, key: str, value: Any) -> None:
        """A field we do not know: pieces of a list are put together, of anything else the last one holds."""
        before = self._extra.get(key)
        if key == "reasoning_details" and isinstance(value, list):
            for piece in value:
                self._details.take(piece)
        elif isinstance(before, list) and isinstance(value, list):
            before += value
            self._pieces += len(value)
        else:
            self._pieces += key not in self._extra
            self._extra[key] = value
        if self._pieces + len(self._details) > _MOST_PIECES or self._details.size > _MOST_TEXT:
            raise BadResponse("the answer has too many or too large unknown fields", target=self._target)


_MOST_PIECES = 100_000
_MOST_TEXT = 32 * 1024 * 1024


class _Details:
    """OpenRouter's `reasoning_details`, which come in pieces of one text and must go back as the whole one."""

    def __init__(self) -> None:
        self.size = 0
        self._found: list[tuple[Any, dict[str, list[str]]]] = []

    def __len__(self) -> int:
        return len(self._found)

    def take(self, piece: Any) -> None:
        last = self._found[-1][0] if self._found else None
        if isinstance(last, dict) and isinstance(piece, Mapping) and _is_same_detail(last, piece):
            piece = said(piece)
        else:
            self._found.append(({} if isinstance(piece, Mapping) else piece, {}))
        detail, texts = self._found[-1]
        for name, value in piece.items() if isinstance(piece, Mapping) else ():
            if name in ("text", "summary", "data") and isinstance(value, str):
                texts.setdefault(name, []).append(value)
                self.size += len(value)
                value = ""
            detail[name] = value

    def whole(self) -> list[Any]:
        return [
            {**detail, **{name: "".join(pieces) for name, pieces in texts.items()}} if texts else detail
            for detail, texts in self._found
        ]


def _is_same_detail(last: Raw, piece: Raw) -> bool:
    return last.get("type") == piece.get("type") and last.get("index", 0) == piece.get("index", 0)
