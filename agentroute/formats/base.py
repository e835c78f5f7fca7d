"""What every wire dialect offers, in both directions: pure functions over parsed JSON, and the codecs of its streams.

A dialect is a package whose names are those of `Format`; `formats.of("anthropic_messages")` gives it. The client side
writes requests and reads answers, the server side (the gateway, the public doubles) reads requests and writes answers.
Errors are read by `failures.decode_error`, one table for all dialects.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from agentroute.errors import (
    AgentRouteError,
    AllAttemptsFailed,
    BadResponse,
    Overloaded,
    ProviderError,
    ProviderTimeout,
    QuotaExhausted,
    RateLimited,
    RequestError,
)
from agentroute.events import Event
from agentroute.messages import ChatRequest, ChatResponse, FinishReason, Message, Text, ToolCall, Usage
from agentroute.providers import CostField, Quirks
from agentroute.targets.model_rules import UNKNOWN, ModelRules

from .forms import takes_free_text

__all__ = [
    "PLAIN",
    "Encoded",
    "Format",
    "StreamDecoder",
    "StreamEncoder",
    "failed_finish",
    "finish_reason",
    "no_word",
    "response_warnings",
    "stream_warnings",
    "told_class",
]

PLAIN: Final = Quirks()


@dataclass(frozen=True, slots=True)
class Encoded:
    """A request as it goes on the wire: `path` is put behind the base URL, `headers` beside the key.

    `changes` says in words what the dialect (or this version of it) cannot hold and was left out. `names` has the
    caller's name of each tool that goes under another one, by that one.
    """

    body: dict[str, Any]
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    changes: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)


class StreamDecoder(Protocol):
    """Reads one streamed answer: feed it the data of each server-sent event, then close it.

    `usage` and `finish_reason` hold what the provider has said so far. `ended`: nothing more needs to be read.
    `finished`: the provider has said why it stopped, so that an answer that breaks off now is whole but for its usage.
    `thinking`: the model is known to think now, so that silence is no sign of sickness.
    """

    usage: Usage | None
    finish_reason: FinishReason | None
    native_finish_reason: str | None
    ended: bool

    @property
    def finished(self) -> bool: ...

    @property
    def thinking(self) -> bool: ...

    def feed(self, data: str, event: str = "message") -> list[Event]:
        """The events of one server-sent event. Raises the ProviderError that the stream reports, or BadResponse."""

    def close(self) -> list[Event]:
        """The end of the stream, Finished last. Raises BadResponse where the answer is not complete."""

    def warnings(self) -> tuple[str, ...]:
        """What `response_warnings` would say of the answer so far."""


class StreamEncoder(Protocol):
    """Writes one streamed answer for a client of the dialect: server-sent events, as bytes.

    Finished (which comes last) writes everything that ends a stream of the dialect.
    """

    def encode(self, event: Event) -> bytes: ...

    def error(self, error: AgentRouteError) -> bytes:
        """The event by which this dialect says that the answer broke off, and the end of the stream."""


class _NewDecoder(Protocol):
    def __call__(
        self, *, target: str | None = None, origin: str | None = None, cost: CostField | None = None
    ) -> StreamDecoder: ...


class _NewEncoder(Protocol):
    def __call__(self, *, model: str | None = None, created: int | None = None) -> StreamEncoder: ...


class Format(Protocol):
    """One dialect.

    `target` (a name) stands in errors; `origin` (`provider/model`) is put on every signature and unknown field of an
    answer; `cost` is where the provider tells its own bill. What a client got wrong raises RequestError, what a
    provider did, BadResponse.
    """

    @property
    def DIALECT(self) -> str: ...

    @property
    def StreamDecoder(self) -> _NewDecoder: ...

    @property
    def StreamEncoder(self) -> _NewEncoder: ...

    def encode_request(
        self,
        request: ChatRequest,
        *,
        model: str | None = None,
        stream: bool = False,
        quirks: Quirks = PLAIN,
        rules: ModelRules = UNKNOWN,
    ) -> Encoded:
        """The body of this dialect, fitted to what the server (`quirks`) and the model (`rules`) take."""

    def decode_response(
        self, body: Any, *, target: str | None = None, origin: str | None = None, cost: CostField | None = None
    ) -> ChatResponse: ...

    def decode_request(self, body: Mapping[str, Any]) -> ChatRequest: ...

    def encode_response(
        self, response: ChatResponse, *, model: str | None = None, created: int | None = None
    ) -> dict[str, Any]: ...

    def encode_error(self, error: AgentRouteError) -> tuple[int, dict[str, Any]]:
        """The HTTP status and the body."""


_FINISH_REASONS: Final[Mapping[str, FinishReason]] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "completed": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "max_output_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "content_filtered": "content_filter",
    "safety": "content_filter",
    "image_safety": "content_filter",
    "refusal": "content_filter",
    "sensitive": "content_filter",
    "recitation": "content_filter",
    "blocklist": "content_filter",
    "prohibited_content": "content_filter",
    "spii": "content_filter",
    "image_prohibited_content": "content_filter",
    "image_recitation": "content_filter",
    "jailbreak": "content_filter",
    "model_armor": "content_filter",
    "guardrail_intervened": "content_filter",
}


def finish_reason(word: str) -> FinishReason | None:
    """What a provider's word for the end means, in any case; None for a word that is not known, which stays as it is.

    One table for every dialect and framework: no word means two things.
    """
    return _FINISH_REASONS.get(word.lower())


_FAILED: Final[tuple[tuple[re.Pattern[str], type[ProviderError]], ...]] = (
    (re.compile("insufficient_system_resource|overloaded"), Overloaded),
    (re.compile("time_?out|deadline"), ProviderTimeout),
    (re.compile(r"(?:^|_)(?:error|fail(?:ed|ure)?|abort(?:ed)?|cancell?ed)(?:$|_)"), BadResponse),
)
"""Words for an end that is a failure: of DeepSeek (the first), of OpenRouter and Mistral (`error`), GLM
(`network_error`), vLLM and SGLang (`abort`), and whatever is said like them."""

_FAILED_CALLS: Final = frozenset(
    {
        "malformed_function_call",
        "malformed_tool_call",
        "malformed_response",
        "malformed_model_output",
        "malformed_tool_use",
        "unexpected_tool_call",
        "too_many_tool_calls",
        "missing_thought_signature",
        "no_image",
    }
)
"""Google's and Bedrock's words for what their own API could not read or carry out. Text or calls before them are an
answer still."""


def no_word(word: Any) -> bool:
    """Whether a word for the end says nothing yet: some servers put a placeholder into every chunk."""
    return not word or (isinstance(word, str) and word.lower().endswith(("null", "none", "unspecified")))


def failed_finish(word: Any, target: str | None, *, said: bool) -> ProviderError | None:
    """The error that a provider's word for the end stands for, or None if the answer ended, well or cut short.

    `said`: words or calls came before it.
    """
    if not isinstance(word, str) or no_word(word):
        return None
    name = word.lower()
    kind: type[ProviderError] | None = BadResponse if name in _FAILED_CALLS and not said else None
    if kind is None and name not in _FINISH_REASONS:
        kind = next((kind for pattern, kind in _FAILED if pattern.search(name)), None)
    return None if kind is None else kind(f"the answer failed: its reason for stopping is {word!r}", target=target)


_PASSING: Final = (RateLimited, QuotaExhausted, Overloaded, ProviderTimeout)


def told_class(error: AgentRouteError) -> type[AgentRouteError]:
    """The class by which a client is told of this error: its own; of AllAttemptsFailed that of the attempts, where all
    of them failed for one reason that may pass (limits of any kind count as one)."""
    if not isinstance(error, AllAttemptsFailed):
        return type(error)
    reasons = {attempt.error for attempt in error.attempts}
    if reasons == {RateLimited.__name__, QuotaExhausted.__name__}:
        return RateLimited
    return next((kind for kind in _PASSING if reasons == {kind.__name__}), AllAttemptsFailed)


def response_warnings(response: ChatResponse) -> tuple[str, ...]:
    """What is odd about an answer that is delivered all the same, as words for the record."""
    found = []
    if response.finish_reason is None:
        native = response.native_finish_reason
        found.append("provider_missing_finish_reason" if native is None else "unknown_finish_reason")
    if response.usage is None:
        found.append("provider_missing_usage")
    parts = response.message.parts
    if not any(isinstance(part, ToolCall) or (isinstance(part, Text) and part.text) for part in parts):
        found.append("empty_response")
    if any(not _is_object(call) for call in response.tool_calls):
        found.append("invalid_tool_arguments")
    return tuple(found)


def stream_warnings(stream: StreamDecoder, calls: Iterable[ToolCall], *, spoke: bool) -> tuple[str, ...]:
    """What `response_warnings` would say of a streamed answer so far: its calls, and whether it said any words."""
    said = (Text("..."),) if spoke else ()
    message = Message("assistant", (*calls, *said))
    reason, native = stream.finish_reason, stream.native_finish_reason
    return response_warnings(ChatResponse(message, reason, stream.usage, native_finish_reason=native))


def _is_object(call: ToolCall) -> bool:
    if takes_free_text(call):
        return True
    try:
        call.parsed()
    except RequestError:
        return False
    return True
