"""One HTTP exchange without the I/O: what is sent for an attempt, and what the bytes that come back mean."""

from __future__ import annotations

import json
import re
import zlib
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from agentroute import __version__, formats
from agentroute.catalog.checking import address_problem
from agentroute.errors import (
    AuthenticationFailed,
    BadResponse,
    ConfigError,
    ConnectionFailed,
    ProviderError,
    ProviderTimeout,
    RequestError,
)
from agentroute.events import (
    Event,
    ReasoningDelta,
    ReasoningSignature,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    UsageReported,
    is_content,
    unfold,
)
from agentroute.failover.effects import Clock, Done, Item, Try
from agentroute.formats import response_warnings
from agentroute.formats.failures import decode_error
from agentroute.formats.foreign import carried
from agentroute.formats.forms import CallsBack
from agentroute.formats.reading import money
from agentroute.formats.reasoning import fit, read, thinks
from agentroute.formats.sse import SseDecoder
from agentroute.history import keep_warm, repair
from agentroute.messages import ChatRequest, Extra, Reasoning, ToolCall, Usage
from agentroute.providers import NATIVE, PROVIDERS
from agentroute.providers.addresses import fill
from agentroute.providers.keys import Secret
from agentroute.targets import Target
from agentroute.targets.model_rules import REASONING_FIELDS

__all__ = ["MAX_BODY_BYTES", "MAX_STREAM_BYTES", "Answer", "Limits", "Outgoing"]

MAX_BODY_BYTES: Final = 32 * 1024 * 1024
"""What one answer may hold, decompressed: a whole one all in all, a streamed one of text, thoughts, calls and pictures.
128k tokens of text are under 1 MB; the rest is room for pictures."""

MAX_STREAM_BYTES: Final = 256 * 1024 * 1024
"""What all events of a stream may hold, decompressed. An event of one token is up to 500 bytes, and the longest answers
have 384,000 tokens."""

_PART_BYTES: Final = 1024
"""What a part of an answer (a call, a signature) takes of its room beside its text."""

_VALUE_BYTES: Final = 16

_GZIP: Final = b"\x1f\x8b"
"""How each member of a gzip file begins: one may have several, to be read one after the other (RFC 1952, 2.2)."""

_MAX_ERROR_BYTES: Final = 64 * 1024


class Outgoing:
    """What is sent for one attempt. Raises ConfigError for a target that cannot be called, naming the remedy."""

    __slots__ = (
        "_auth",
        "_headers",
        "_secret",
        "_tokens",
        "changes",
        "content",
        "cost",
        "format",
        "headers",
        "network",
        "origin",
        "stream",
        "target",
        "tool_names",
        "tools",
        "url",
    )

    def __init__(self, attempt: Try) -> None:
        target = _spoken(attempt.target, attempt.request)
        self.target: Final = target.name
        self.origin: Final = target.origin
        self.network: Final = target.network
        self.stream: Final = attempt.stream or target.endpoint.quirks.stream_only
        self.format: Final = _format(target)
        base_url = _base_url(target)
        self.cost: Final = target.endpoint.cost
        self._secret: Final = _secret(target)
        self._auth: Final = _auth(target, self._secret)
        self._tokens: list[Secret] = []
        repaired = repair(_with_settings(attempt.request, target), target)
        encoded = self.format.encode_request(
            keep_warm(repaired.request, target),
            model=target.model,
            stream=self.stream,
            quirks=target.endpoint.quirks,
            rules=target.rules,
        )
        self.tools: Final = attempt.request.tools
        self.tool_names: Final = encoded.names
        self.changes: Final = (*repaired.changes, *encoded.changes)
        self.url: Final = base_url + encoded.path
        self.content: Final = _dump(encoded.body)
        self.headers: Final = {
            "content-type": "application/json",
            "accept": "text/event-stream" if self.stream else "application/json",
            "accept-encoding": "identity",
            "user-agent": f"agentroute/{__version__}",
            **_joined(
                encoded.headers, {name: value for name, value in target.endpoint.headers if isinstance(value, str)}
            ),
        }
        self._headers: Final = tuple(
            (name, value) for name, value in target.endpoint.headers if isinstance(value, Secret)
        )

    @property
    def asked(self) -> Secret | None:
        """The secret whose function must be asked for the key (see `take`); None where no function gives it."""
        return self._secret if self._secret is not None and self._secret.function is not None else None

    @property
    def token(self) -> Secret | None:
        """The key from the function that is used now."""
        return self._tokens[-1] if self._tokens else None

    def take(self, token: Secret) -> bool:
        """Uses this key from the function. False for the one that was used before: it would be refused again."""
        same = bool(self._tokens) and self._tokens[-1].reveal() == token.reveal()
        self._tokens.append(token)
        return not same

    def secret_headers(self) -> dict[str, str]:
        """The key's header and all others that hold a secret, made at the moment of sending. Never keep them."""
        for name, secret in self._headers:
            if secret.env_name is not None and not secret.present:
                raise AuthenticationFailed(
                    f"target {self.target!r}: the environment variable {secret.env_name} is not set; it should hold "
                    f"the value of the header `{name}`",
                    target=self.target,
                )
            problem = _key(secret, spaces=True)[1]
            if problem is not None:
                raise ConfigError(f"target {self.target!r}: header `{name}`: {problem}")
        # Nothing is raised from here on: a traceback that shows locals would show a secret.
        key = self.key_header()
        found = {name: _key(secret, spaces=True)[0] for name, secret in self._headers}
        return found if key is None else {**found, key[0]: key[1]}

    def key_header(self) -> tuple[str, str] | None:
        """The header that holds the key, made at the moment of sending. Never keep it.

        Raises AuthenticationFailed for a variable that is not set: another target may have its key.
        """
        if self._secret is None or self._auth == "none":
            return None
        if self._secret.env_name is not None and not self._secret.present:
            raise AuthenticationFailed(
                f"target {self.target!r}: the environment variable {self._secret.env_name} is not set; it should hold "
                f"the key",
                target=self.target,
            )
        key, problem = _key(self._tokens[-1] if self._tokens else self._secret)
        if problem is not None:
            raise ConfigError(f"target {self.target!r}: {problem}")
        return ("authorization", f"Bearer {key}") if self._auth == "bearer" else (self._auth, key)

    def without_key(self, error: ProviderError) -> ProviderError:
        """The same error, should the provider or the client have quoted the key in it."""
        secrets = [self._secret, *self._tokens, *(value for _, value in self._headers)]
        for secret in secrets:
            if secret is None or secret.function is not None or not secret.present:
                continue
            key = secret.bare()
            error.args = tuple(_concealed(part, key) if isinstance(part, str) else part for part in error.args)
            for name in ("cause", "code", "request_id"):
                text = getattr(error, name)
                if text is not None:
                    setattr(error, name, _concealed(text, key))
        return error


_TELLING: Final = 12
"""So many first signs of a key are as good as the key: texts are cut off somewhere."""


def _concealed(text: str, key: str) -> str:
    """The text without the key, however it was encoded, and without a large part of it at a cut."""
    for spelling in _spellings(key):
        text = text.replace(spelling, "***")
        for length in range(len(spelling) - 1, _TELLING - 1, -1):
            text = text.replace(spelling[:length], "***")
    return text


def _spellings(key: str) -> list[str]:
    """The key as it is, in URLs and JSON, hexadecimal and in base64 (where neighbours shift it by 0 to 2 bytes)."""
    raw = key.encode()
    quoted = quote(key, safe="")
    found = {key, quoted, quote(key), re.sub("%..", lambda sign: sign[0].lower(), quoted), json.dumps(key)[1:-1]}
    found |= {raw.hex(), raw.hex().upper()}
    for shift, first in enumerate((0, 2, 3)):
        coded = b64encode(bytes(shift) + raw)[first : (shift + len(raw)) * 8 // 6].decode()
        found |= {coded, coded.replace("+", "-").replace("/", "_")}
    return sorted((spelling for spelling in found if spelling), key=len, reverse=True)


def _key(secret: Secret, *, spaces: bool = False) -> tuple[str, str | None]:
    """The key, or what is wrong: nothing is raised where it stands in a frame. Only other headers may hold `spaces`."""
    try:
        key = secret.reveal()
    except ConfigError as error:
        return "", str(error)
    if not key.isascii() or not key.isprintable() or (" " in key and not spaces):
        return "", "the key holds a space or a sign that no header can carry"
    return key, None


def _joined(ours: Mapping[str, str], theirs: Mapping[str, str]) -> dict[str, str]:
    """The endpoint's headers over ours; betas of both are named."""
    both = {**ours, **theirs}
    if _BETAS in ours and _BETAS in theirs:
        named = [each.strip() for value in (ours[_BETAS], theirs[_BETAS]) for each in value.split(",")]
        both[_BETAS] = ",".join(dict.fromkeys(named))
    return both


_BETAS: Final = "anthropic-beta"


def _spoken(target: Target, request: ChatRequest) -> Target:
    """The target in the dialect that this request needs: the one that its model's rules name is there for tools and
    reasoning; a request with neither is said in the provider's usual one."""
    known = PROVIDERS.get(target.provider)
    rules = target.rules
    if target.dialect_given or known is None or rules.dialect != target.dialect or rules.dialects or request.tools:
        return target
    setting = request.reasoning or read(target.settings_dialect, target.settings)
    if thinks(fit(setting, rules, target.dialect, {}), rules):
        return target
    if request.extra is not None and request.extra.dialect == target.dialect:
        return target
    if any(isinstance(part, Reasoning | ToolCall) for message in request.messages for part in message.parts):
        return target
    usual = known.endpoint()
    return replace(target, endpoint=usual, dialect=usual.dialect)


def _with_settings(request: ChatRequest, target: Target) -> ChatRequest:
    """With the target's settings, before which the request's own go, and what its endpoint wants added."""
    added = dict(target.endpoint.quirks.added)
    if not target.settings and not added:
        return request
    given = target.settings_dialect
    settings = dict(target.settings)
    reasoning = request.reasoning
    if given != target.dialect:
        reasoning = reasoning or read(given, settings)
        settings = carried(settings, given, target.dialect)
    elif reasoning is not None:
        settings = {key: value for key, value in settings.items() if key not in REASONING_FIELDS.get(given, ())}
    extra = request.extra
    own = {} if extra is None else extra.fields
    if extra is not None and extra.dialect != target.dialect:
        own = carried(own, extra.dialect, target.dialect)
    return replace(request, reasoning=reasoning, extra=Extra(target.dialect, {**added, **settings, **own}))


def _format(target: Target) -> formats.Format:
    if target.dialect == NATIVE:
        raise ConfigError(
            f"target {target.name!r} speaks 'native', which is not called over HTTP; "
            f"use the integration that this target was made for"
        )
    return formats.of(target.dialect)


def _base_url(target: Target) -> str:
    """Raises ConnectionFailed where no address can be made: other targets may have theirs."""
    base = target.base_url or target.endpoint.base_url
    known = PROVIDERS.get(target.provider)
    like = f", like {known.address!r}" if known is not None and known.address else ""
    try:
        if base is not None:
            return fill(base, target.endpoint.parts).rstrip("/")
        problem = address_problem(target)
    except ConfigError as error:
        problem = f"{error}{like}"
    raise ConnectionFailed(f"target {target.name!r}: {problem}", target=target.name)


def _auth(target: Target, secret: Secret | None) -> str:
    """Where the key goes: one that a function gives may be a token of another kind."""
    endpoint = target.endpoint
    by_function = secret is not None and secret.function is not None
    return endpoint.token_auth if by_function and endpoint.token_auth is not None else endpoint.auth


def _secret(target: Target) -> Secret | None:
    """The target's own key, else the first of its usual ones that is set."""
    if target.api_key is not None or not target.usual_keys:
        return target.api_key
    return next((secret for secret in target.usual_keys if secret.present), target.usual_keys[0])


def _dump(body: Mapping[str, Any]) -> bytes:
    """Compact UTF-8 JSON. A lone surrogate, which UTF-8 cannot hold, becomes U+FFFD."""
    problem = ""
    text = ""
    try:
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        problem = f"{type(error).__name__}: {error}"
    if problem:
        raise RequestError(f"the request cannot be written as JSON: {problem}")
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} has no place in JSON")


class Limits:
    """How many seconds the next operation may take, asked anew each time.

    The clock of an answer runs from the request to its first content, then from one event to the next; what is no event
    (a comment, half a line) does not wind it up. The deadline holds throughout.
    """

    __slots__ = ("_attempt", "_begun", "_clock", "_connect_by", "_silence", "_started", "_until")

    def __init__(self, attempt: Try, clock: Clock) -> None:
        timeouts = attempt.timeouts
        self._attempt = attempt
        self._clock = clock
        self._started = False
        now = clock.monotonic()
        self._begun = now
        self._connect_by = now + timeouts.connect
        self._silence = timeouts.first_content if attempt.stream else timeouts.whole_answer
        self._until = now + self._silence

    @property
    def target(self) -> str:
        return self._attempt.target.name

    def now(self) -> float:
        return self._clock.monotonic()

    def connect_anew(self) -> None:
        """A second request of this attempt has the whole time to connect again."""
        self._connect_by = self._clock.monotonic() + self._attempt.timeouts.connect

    def connecting(self) -> float:
        """Seconds left to connect; 0 or less where there are none."""
        return self._left(min(self._connect_by, self._until))

    def reading(self) -> float:
        """Seconds left until something must have come; 0 or less where there are none."""
        return self._left(self._until)

    def content_came(self) -> None:
        """From here on the clock runs from event to event."""
        self._started = True

    def event_came(self, *, thinking: bool) -> None:
        """To be called before the next read, so that the time which the caller takes does not count.

        A model that is seen to think may be silent for as long as a model that reasons.
        """
        timeouts = self._attempt.timeouts
        if self._started:
            self._silence = max(timeouts.between_events, timeouts.reasoning if thinking else 0.0)
            self._until = self._clock.monotonic() + self._silence
        elif thinking and timeouts.reasoning > self._silence:
            self._silence = timeouts.reasoning
            self._until = self._begun + self._silence

    def drain(self, seconds: float) -> None:
        """Allows so much, and no more, for the end of a stream whose answer is complete."""
        self._until = self._clock.monotonic() + seconds

    def listen(self, connection: Any) -> None:
        """What the stop button of the call, if it has one, ends: this socket, or None."""
        if self._attempt.stop is not None:
            self._attempt.stop.listen(connection)

    def _left(self, until: float) -> float:
        if self._attempt.stop is not None and self._attempt.stop.pressed:
            return 0.0
        deadline = self._attempt.deadline
        return (until if deadline is None else min(until, deadline)) - self._clock.monotonic()

    @property
    def overdue(self) -> bool:
        """Whether the deadline of the call has passed."""
        deadline = self._attempt.deadline
        return deadline is not None and deadline <= self._clock.monotonic()

    def expired(self, *, connecting: bool = False, cause: str | None = None) -> ProviderTimeout:
        """The error for a limit that was reached."""
        timeouts, name = self._attempt.timeouts, self._attempt.target.name
        if self.overdue:
            what = "the deadline of the call passed"
        elif connecting:
            what = f"no connection within {timeouts.connect:g} s"
        elif self._started:
            what = f"nothing for {self._silence:g} s in the middle of the answer"
        elif self._attempt.stream:
            what = f"no content within {self._silence:g} s"
        else:
            what = f"no answer within {self._silence:g} s"
        return ProviderTimeout(f"{name!r}: {what}", target=name, cause=cause)


class Answer:
    """Reads one HTTP answer as it comes: feed it the raw bytes of the body, then end it.

    Takes an answer for what it is, not for what was asked: events where JSON was asked, and the reverse. Whatever is
    wrong with it is raised as a ProviderError.
    """

    def __init__(self, outgoing: Outgoing, status: int, headers: Mapping[str, str], now: datetime) -> None:
        self.complete = False
        """Nothing more needs to be read."""
        self.event_came = False
        """The last bytes ended an event."""
        self.content_came = False
        self._outgoing = outgoing
        self._status = status
        self._headers = headers
        self._now = now
        self._body = bytearray()
        self._received = 0
        self._content = 0
        self._sse: SseDecoder | None = None
        self._stream = outgoing.format.StreamDecoder(target=outgoing.target, origin=outgoing.origin, cost=outgoing.cost)
        self._calls = CallsBack(outgoing.tools, outgoing.tool_names)
        self._warnings: list[str] = []
        self._inflate = _inflater(headers.get("content-encoding", ""), outgoing.target)
        self._inflated = False
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        self._succeeded = 200 <= status < 300
        if self._succeeded and kind == "text/html":
            raise self._bad("the answer is a page of HTML")
        self._sniffed = not self._succeeded
        if self._succeeded and kind == "text/event-stream":
            self._sse = SseDecoder()
            self._sniffed = True

    @property
    def thinking(self) -> bool:
        """Whether the model is known to think now."""
        return self._stream.thinking

    @property
    def finished(self) -> bool:
        """Whether the model has said why it stopped: an answer that breaks off now is whole all the same."""
        return self._stream.finished

    @property
    def inflates(self) -> bool:
        """Whether a few bytes may bring very many events: ask the deadline between them."""
        return self._inflate is not None

    def feed(self, chunk: bytes) -> Iterator[Item]:
        """What these bytes of the body bring."""
        self.event_came = False
        for piece in self._decompress(chunk):
            if not self._sniffed:
                self._sniff(piece)
            if self._sse is None:
                self._body += piece
                self._check_size()
                if self.complete:
                    return
                continue
            self._received += len(piece)
            for event, data in self._sse.read(piece):
                self.event_came = True
                events = self._read_event(data, event)
                self._check_room(events)
                for told in self._calls.read_all(events):
                    yield self._item(told)
            if self._stream.ended or self.complete:
                self.complete = True
                return

    def _read_event(self, data: str, event: str) -> list[Event]:
        try:
            return self._stream.feed(data, event)
        except ProviderError as error:
            problem = error
        self.broke(problem)
        self.complete = True
        return []

    def _check_room(self, events: list[Event]) -> None:
        """An answer without an end is a bad one, however slowly it comes."""
        for event in events:
            self._content += _room(event)
        if self._content > MAX_BODY_BYTES or self._received > MAX_STREAM_BYTES:
            most = (
                f"{MAX_BODY_BYTES} bytes" if self._content > MAX_BODY_BYTES else f"{MAX_STREAM_BYTES} bytes of events"
            )
            self.broke(self._bad(f"the answer is larger than {most}"))
            self.complete = True

    def broke(self, error: ProviderError) -> None:
        """The connection or the stream failed. Raises that error, unless the answer was whole but for its count."""
        if not self.finished:
            raise error
        self._warnings.append(f"broke_off_after_finish: {type(error).__name__}")

    def end(self) -> Iterator[Item | Done]:
        """The rest of the answer, and that it is done."""
        if not self._succeeded:
            raise self._refused()
        if self._sse is not None:
            yield from map(self._item, self._calls.read_all(self._stream.close()))
            yield Done(
                self._billed(self._stream.usage),
                self._stream.finish_reason,
                (*self._stream.warnings(), *self._warnings),
            )
            return
        outgoing = self._outgoing
        response = outgoing.format.decode_response(
            self._json(), target=outgoing.target, origin=outgoing.origin, cost=outgoing.cost
        )
        usage = self._billed(response.usage)
        if usage is not response.usage:
            response = replace(response, usage=usage)
        yield from map(self._item, self._calls.read_all(unfold(response)))
        yield Done(response.usage, response.finish_reason, response_warnings(response))

    def _item(self, event: Event) -> Item:
        if isinstance(event, UsageReported):
            usage = self._billed(event.usage) or event.usage
            return Item(UsageReported(usage), False, usage)
        content = is_content(event)
        self.content_came = self.content_came or content
        return Item(event, content)

    def _billed(self, usage: Usage | None) -> Usage | None:
        """The usage with the bill that stands in a header of the answer, where the provider tells it there."""
        field = self._outgoing.cost
        told = None if field is None or not field.header else money(self._headers.get(field.header), field)
        return usage if told is None else replace(usage or Usage(), reported_cost=told)

    def _sniff(self, piece: bytes) -> None:
        """Some servers send events or JSON under any content type; the first sign tells."""
        start = (bytes(self._body[:16]) + piece[:16]).removeprefix(b"\xef\xbb\xbf").lstrip()
        if not start:
            return
        self._sniffed = True
        if start[:1] in (b"{", b"["):
            return
        if start[:1] != b":" and not b"data:".startswith(start[:5]) and not b"event:".startswith(start[:6]):
            raise self._bad("the answer is neither JSON nor a stream of events")
        self._sse = SseDecoder()

    def _decompress(self, chunk: bytes) -> Iterator[bytes]:
        """In pieces of bounded size, so that a small body cannot become a large one at once."""
        if self._inflate is None:
            yield chunk
            return
        problem = ""
        rest = chunk
        while rest:
            piece = b""
            try:
                piece = self._inflate.decompress(rest, 65536)
            except zlib.error as error:
                problem = str(error)
            if problem and not self._inflated:
                # Some servers send what they call deflate without its two bytes of a head (RFC 9110, 8.4.1.2).
                self._inflate, self._inflated, problem = zlib.decompressobj(-15), True, ""
                continue
            if problem:
                raise self._bad(f"the answer's compression is corrupt: {problem}")
            self._inflated = True
            rest = self._inflate.unconsumed_tail
            if self._inflate.eof and self._inflate.unused_data[:2] == _GZIP:
                rest, self._inflate = self._inflate.unused_data, zlib.decompressobj(47)
            if piece:
                yield piece

    def _check_size(self) -> None:
        if not self._succeeded:
            if len(self._body) > _MAX_ERROR_BYTES:
                self.complete = True
        elif len(self._body) > MAX_BODY_BYTES:
            raise self._bad(f"the answer is larger than {MAX_BODY_BYTES} bytes")

    def _refused(self) -> ProviderError:
        if 300 <= self._status < 400:
            return BadResponse(
                f"{self._outgoing.target!r}: the provider answered {self._status}, a redirect, which is not followed; "
                f"correct the target's base_url",
                target=self._outgoing.target,
                status=self._status,
            )
        return decode_error(self._status, self._headers, bytes(self._body), target=self._outgoing.target, now=self._now)

    def _json(self) -> Any:
        problem = ""
        try:
            return json.loads(self._body)
        except (ValueError, RecursionError) as error:
            problem = type(error).__name__
        raise self._bad("the answer is not JSON", cause=problem)

    def _bad(self, what: str, *, cause: str | None = None) -> BadResponse:
        name = self._outgoing.target
        return BadResponse(f"{name!r}: {what}", target=name, status=self._status, cause=cause)


def _room(event: Event) -> int:
    """What this piece of an answer takes, in characters."""
    match event:
        case TextDelta():
            return len(event.text) + (0 if event.extra is None else _extent(event.extra.fields))
        case ReasoningDelta():
            return len(event.text)
        case ToolCallDelta():
            return len(event.arguments)
        case ToolCallStarted() | ReasoningSignature():
            return _PART_BYTES + (0 if event.extra is None else _extent(event.extra.fields))
        case _:
            return 0


def _extent(value: Any) -> int:
    """The characters of all texts in parsed JSON, and a few for everything else."""
    found, left = 0, [value]
    while left:
        each = left.pop()
        found += len(each) if isinstance(each, str) else _VALUE_BYTES
        left.extend(each.values() if isinstance(each, Mapping) else each if isinstance(each, list | tuple) else ())
    return found


def _inflater(encoding: str, target: str) -> Any:
    """None for a body that is not compressed. We ask for none, but some servers compress all the same."""
    match encoding.strip().lower():
        case "" | "identity":
            return None
        case "gzip" | "x-gzip" | "deflate":
            return zlib.decompressobj(47)
        case other:
            raise BadResponse(f"{target!r}: the answer is compressed with {other!r}, unasked", target=target)
