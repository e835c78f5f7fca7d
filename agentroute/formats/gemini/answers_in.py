"""Answers of the dialect, whole and streamed: a whole one is a stream of one chunk."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

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
    fold,
)
from agentroute.formats.base import failed_finish, finish_reason, no_word, stream_warnings
from agentroute.formats.failures import decode_error, tells_failure
from agentroute.formats.reading import Raw, later_usage, load_event, place, show, sound, told_cost
from agentroute.messages import ChatResponse, Extra, FinishReason, ToolCall, Usage
from agentroute.providers import CostField

from .fields import DIALECT, camel, rest_of
from .parts import call_fields, kept_whole
from .usage import decode_usage, web_searches

__all__ = ["StreamDecoder", "decode_response"]

_RESPONSE_FIELDS: Final = ("candidates", "usageMetadata", "modelVersion", "responseId", "error")
_ANSWER: Final = ("candidates", "usageMetadata", "promptFeedback", "modelVersion", "responseId")
_CANDIDATE_FIELDS: Final = ("content", "finishReason", "index")


def decode_response(
    body: Any, *, target: str | None = None, origin: str | None = None, cost: CostField | None = None
) -> ChatResponse:
    """Reads a whole answer (parsed JSON), or the list of chunks that a stream without `alt=sse` is.

    Raises BadResponse where it is none, and the error it stands for where it is an error object with a success status.
    A prompt that was blocked is an answer without parts that finished by `content_filter`.
    """
    decoder = StreamDecoder(target=target, origin=origin, cost=cost)
    body = sound(body, target)
    if isinstance(body, list) and body:
        events = [event for chunk in body for event in decoder.read(chunk)]
        return fold(events + decoder.close())
    events = decoder.read(body)
    if not decoder.answered:
        raise BadResponse(f"the answer has no message: `candidates` is {show(body.get('candidates'))}", target=target)
    return fold([*events, decoder.end()])


class StreamDecoder:
    """Reads one streamed answer: feed it the data of each server-sent event, then close it.

    A stream of this dialect has no terminator, so `ended` stays False; it is `finished` once a reason for stopping
    came. Where the model stopped by itself and asks for tools the reason is `tool_calls`: Google's own word for both is
    STOP. A call without an id gets one made of the answer's id, its place and what it says.
    """

    def __init__(self, *, target: str | None = None, origin: str | None = None, cost: CostField | None = None) -> None:
        self.usage: Usage | None = None
        self.finish_reason: FinishReason | None = None
        self.native_finish_reason: str | None = None
        self.ended = False
        self.answered = False
        """Whether there is a candidate, or a reason why there is none."""
        self._target = target
        self._origin = origin
        self._cost = cost
        self._seen = False
        self._started = False
        self._model: str | None = None
        self._head: Extra | None = None
        self._thinks = False
        self._blocked = False
        self._spoke = False
        self._answer_id = ""
        self._beside: dict[str, Any] = {}
        self._calls: list[ToolCall] = []

    @property
    def finished(self) -> bool:
        """Whether the provider has said why it stopped: what may follow is its usage."""
        return self.native_finish_reason is not None

    @property
    def thinking(self) -> bool:
        """Whether the model's last words were thoughts."""
        return self._thinks

    def feed(self, data: str, event: str = "message") -> list[Event]:
        """The events of one chunk. Raises the error that the stream reports, and BadResponse for what is no chunk."""
        if data.startswith("[DONE]"):  # from a proxy; Google sends none
            return []
        chunk = load_event(data, self._target)
        if isinstance(chunk, list):
            return [found for each in chunk for found in self.read(each)]
        if chunk in (None, ""):
            return []
        if event == "error" and isinstance(chunk, Mapping):
            raise decode_error(None, {}, chunk, target=self._target)
        return self.read(chunk)

    def read(self, chunk: Any) -> list[Event]:
        """The events of one parsed chunk."""
        if not isinstance(chunk, Mapping):
            raise BadResponse(f"the answer is {show(chunk)}, not an object", target=self._target)
        chunk = camel(chunk)
        if tells_failure(chunk, _ANSWER):
            raise decode_error(None, {}, chunk, target=self._target)
        found: list[Event] = []
        self._named(chunk, found)
        feedback = chunk.get("promptFeedback")
        word = camel(feedback).get("blockReason") if isinstance(feedback, Mapping) else None
        if isinstance(word, str) and not no_word(word):
            self.answered = self._blocked = True
            self.native_finish_reason = word
        candidates = chunk.get("candidates")
        for candidate in candidates if isinstance(candidates, list) else ():
            if isinstance(candidate, Mapping) and not place(candidate, "index", self._target):
                self._read_candidate(camel(candidate), found)
        self._decide()
        self._count(chunk, found)
        if found and not self._started:
            self._started = True
            found.insert(0, Started(self._answer_id or None, self._model, self._head))
        return found

    def _count(self, chunk: Raw, found: list[Event]) -> None:
        """Counts are cumulative; searches stand beside the words of a candidate, and may come before or after them."""
        told = decode_usage(chunk.get("usageMetadata"), complete=self.finished)
        if told is not None:
            told = replace(told, reported_cost=told_cost(chunk, self._cost))
        usage = later_usage(self.usage, told)
        searches = web_searches(self._beside)
        if usage is not None and searches:
            usage = replace(usage, server_tools=(("web_search", searches),))
        if usage is not None and usage != self.usage:
            self.usage = usage
            found.append(UsageReported(usage))

    def close(self) -> list[Event]:
        """The end of the stream. Raises BadResponse where no reason for stopping came: it was cut off."""
        if not self.finished:
            raise BadResponse("the stream ended before the answer was complete", target=self._target)
        begun = () if self._started else (Started(self._answer_id or None, self._model, self._head),)
        return [*begun, self.end()]

    def end(self) -> Finished:
        """The last event of an answer that is whole."""
        beside = Extra(DIALECT, {"candidate": self._beside}, self._origin) if self._beside else None
        return Finished(self.finish_reason, self.native_finish_reason, beside)

    def warnings(self) -> tuple[str, ...]:
        """What `response_warnings` would say of the answer so far."""
        return stream_warnings(self, self._calls, spoke=self._spoke)

    def _named(self, chunk: Raw, found: list[Event]) -> None:
        """What the first chunk says of itself, and who speaks: that may come with a later one."""
        if not self._seen:
            self._seen = True
            spare = rest_of(chunk, *_RESPONSE_FIELDS)
            self._head = Extra(DIALECT, spare, self._origin) if spare else None
        if self._answer_id and self._model:
            return
        answer_id, model = chunk.get("responseId"), chunk.get("modelVersion")
        before = self._answer_id, self._model
        self._answer_id = self._answer_id or (answer_id if isinstance(answer_id, str) else "")
        self._model = self._model or (model if isinstance(model, str) and model else None)
        if (self._answer_id and self._model) or (self._started and (self._answer_id, self._model) != before):
            self._started = True
            found.append(Started(self._answer_id or None, self._model, self._head))

    def _decide(self) -> None:
        word = self.native_finish_reason
        if word is None:
            return
        reason: FinishReason | None = "content_filter" if self._blocked else finish_reason(word)
        self.finish_reason = "tool_calls" if reason == "stop" and self._calls else reason

    def _read_candidate(self, candidate: Raw, found: list[Event]) -> None:
        self.answered = True
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, Mapping) else None
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, Mapping) and part:
                self._read_part(camel(part), found)
        self._beside.update(rest_of(candidate, *_CANDIDATE_FIELDS))
        word = candidate.get("finishReason")
        failure = failed_finish(word, self._target, said=self._spoke or bool(self._calls))
        if failure is not None:
            raise failure
        if isinstance(word, str) and not no_word(word) and not self._blocked:
            self.native_finish_reason = word

    def _read_part(self, part: Raw, found: list[Event]) -> None:
        text = part.get("text")
        self._thinks = part.get("thought") is True
        if "functionCall" in part:
            self._read_call(part, found)
        elif not isinstance(text, str):
            found.append(TextDelta("", kept_whole(part, self._origin).extra))
        elif part.get("thought") is True:
            signature = part.get("thoughtSignature")
            spare = rest_of(part, "text", "thought", "thoughtSignature")
            if text:
                found.append(ReasoningDelta(text))
            if signature is not None or spare:
                signed = signature if isinstance(signature, str) else None
                found.append(ReasoningSignature(signed, self._origin, extra=Extra(DIALECT, spare, self._origin)))
        else:
            spare = rest_of(part, "text")
            self._spoke = self._spoke or bool(text)
            if text or spare:
                found.append(TextDelta(text, Extra(DIALECT, spare, self._origin) if spare else None))

    def _read_call(self, part: Raw, found: list[Event]) -> None:
        problem = ""
        try:
            call_id, name, arguments, spare = call_fields(part, "content.parts")
        except RequestError as error:
            problem = str(error)
        if problem:
            raise BadResponse(f"the answer cannot be read: {problem}", target=self._target)
        position = len(self._calls)
        if call_id is None:
            seed = repr((self._answer_id, name, arguments)).encode("utf-8", "replace")
            call_id = f"call_{hashlib.blake2b(seed, digest_size=8).hexdigest()}_{position}"
        extra = Extra(DIALECT, spare, self._origin) if spare else None
        self._calls.append(ToolCall(call_id, name, arguments, extra))
        found += (ToolCallStarted(position, call_id, name, extra), ToolCallDelta(position, arguments))
