"""A provider on loopback that speaks the OpenAI chat-completions dialect and says what a script tells it to."""

from __future__ import annotations

import hashlib
import json
import select
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar, Self, TypeAlias

from agentroute.errors import RequestError
from agentroute.messages import ChatRequest, ToolCall, Usage
from agentroute.targets import Capabilities, Price, Target, Tier

from .faults import Fault, FaultPlan
from .replies import TOKENS_PER_MESSAGE, ScriptedReply, count_tokens

__all__ = ["ScriptedProvider", "ScriptedRequest"]

Script: TypeAlias = Callable[[ChatRequest], ScriptedReply | str]

_CREATED = 1_767_225_600
"""2026-01-01, Unix seconds: the `created` of every answer; a double does not look at the time."""
_POLL_S = 0.02
_KEY_HEADERS = frozenset({"authorization", "x-api-key", "api-key"})


@dataclass(frozen=True, slots=True)
class ScriptedRequest:
    """One request that arrived. `index` counts all of them from 0, `nth` those of this model from 1.

    `headers` are lower-case, with keys masked; `key_arrived` says whether the right key was among them.
    """

    index: int
    nth: int
    model: str
    body: Mapping[str, Any]
    headers: Mapping[str, str]
    key_arrived: bool
    fault: Fault | None = None

    @property
    def stream(self) -> bool:
        return self.body.get("stream") is True


@dataclass(frozen=True, slots=True)
class _Answer:
    """One reply in the numbers and ids that the wire carries."""

    id: str
    model: str
    reply: ScriptedReply
    usage: dict[str, Any]

    @property
    def finish_reason(self) -> str:
        return self.reply.finish_reason or ("tool_calls" if self.reply.tool_calls else "stop")

    def body(self) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": self.reply.text or None, "refusal": None}
        if self.reply.tool_calls:
            message["tool_calls"] = [_call(call, call.arguments) for call in self.reply.tool_calls]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish_reason}
        return {**self._head("chat.completion"), "choices": [choice], "usage": self.usage}

    def opening(self) -> dict[str, Any]:
        return self._chunk({"role": "assistant", "content": ""})

    def content(self, characters: int) -> Iterator[dict[str, Any]]:
        for piece in _pieces(self.reply.text, characters):
            yield self._chunk({"content": piece})
        for index, call in enumerate(self.reply.tool_calls):
            yield self._chunk({"tool_calls": [{"index": index, **_call(call, "")}]})
            for piece in _pieces(call.arguments, characters):
                yield self._chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})

    def closing(self, include_usage: bool) -> Iterator[dict[str, Any]]:
        yield self._chunk({}, self.finish_reason)
        if include_usage:
            yield {**self._head("chat.completion.chunk"), "choices": [], "usage": self.usage}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": _CREATED, "model": self.model}

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return {**self._head("chat.completion.chunk"), "choices": [choice]}


def _call(call: ToolCall, arguments: str) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _pieces(text: str, characters: int) -> Iterator[str]:
    for at in range(0, len(text), characters):
        yield text[at : at + characters]


@dataclass(slots=True)
class _State:
    """What a provider remembers, behind one lock: requests, warm prefixes, connections, errors of the script."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    requests: list[ScriptedRequest] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    warm: dict[str, set[str]] = field(default_factory=dict)
    connections: set[socket.socket] = field(default_factory=set)
    errors: list[BaseException] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)


class ScriptedProvider:
    """A provider whose models answer by script: a real HTTP server on 127.0.0.1, plain and streamed.

    Use it as a context manager; on leaving, every thread has ended and every socket is closed, and an exception the
    script raised (it was answered with status 500) is raised again.

    Args:
        reply: the answer to every request, or a function from the request to it.
        models: the models it knows, any other is a 404; None knows them all.
        fault: what to do instead of answering: always, or as a plan says for each request (see `nth`).
        provider: the provider's name in the targets that `target()` makes.
        api_key: what it wants to see in `Authorization: Bearer ...`; another key is a 401.
        chunk_characters: the length of a streamed piece of text or arguments.
        cache_from_tokens: the smallest prefix that counts as cached.
        cache_writes: it bills what goes into the cache (as Anthropic and newer OpenAI models do): `cache_write_tokens`
            are the rest of a prompt of at least `cache_from_tokens`.

    Its prompt cache is simulated: `usage.prompt_tokens_details.cached_tokens` are the tokens of the longest run of
    messages, from the first one and with the same tools, that the same model was sent before.
    """

    def __init__(
        self,
        reply: Script | ScriptedReply | str,
        *,
        models: Iterable[str] | None = None,
        fault: Fault | FaultPlan | None = None,
        provider: str = "scripted",
        api_key: str = "scripted-key",
        chunk_characters: int = 16,
        cache_from_tokens: int = 0,
        cache_writes: bool = False,
    ) -> None:
        self.provider = provider
        self._reply = reply
        self._models = None if models is None else frozenset(models)
        self._fault = fault
        self._api_key = api_key
        self._chunk_characters = chunk_characters
        self._cache_from_tokens = cache_from_tokens
        self._cache_writes = cache_writes
        self._state = _State()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._base_url: str | None = None

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.provider = self
        self._base_url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_POLL_S,), name="scripted-provider")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        for raised in self._state.errors[:1]:
            if error is None:
                raise raised
            error.add_note(f"the script of {self!r} raised {type(raised).__name__}: {raised}")

    def close(self) -> None:
        """Ends every answer and connection; afterwards `base_url` refuses connections."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._thread.join()
        self._state.closing.set()
        with self._state.lock:
            for connection in self._state.connections:
                _cut(connection)
        self._server.server_close()
        self._server = self._thread = None

    @property
    def base_url(self) -> str:
        """Where it listens, as OpenAI clients want it (`http://127.0.0.1:PORT/v1`)."""
        if self._base_url is None:
            raise RuntimeError("the provider is not running; use it as `with ScriptedProvider(...) as provider:`")
        return self._base_url

    @property
    def api_key(self) -> str:
        return self._api_key

    @property
    def requests(self) -> tuple[ScriptedRequest, ...]:
        """Every request that arrived, in order."""
        with self._state.lock:
            return tuple(self._state.requests)

    @property
    def open_connections(self) -> int:
        """How many connections clients hold open now."""
        with self._state.lock:
            return len(self._state.connections)

    def target(
        self,
        *,
        model: str,
        name: str | None = None,
        tier: str | Tier | None = None,
        price: Price | None = None,
        context_window: int | None = None,
        max_output_tokens: int | None = None,
        capabilities: Capabilities | None = None,
        cache_ttl_s: float | None = None,
    ) -> Target:
        """A target that calls this provider. Facts left out come from the catalog, as for any target."""
        return Target(
            name=name,
            provider=self.provider,
            model=model,
            tier=tier,
            base_url=self.base_url,
            api_key=self._api_key,
            price=price,
            context_window=context_window,
            max_output_tokens=max_output_tokens,
            capabilities=capabilities,
            cache_ttl_s=cache_ttl_s,
        )

    def __repr__(self) -> str:
        return f"ScriptedProvider({self.provider!r}, {self._base_url or 'not running'})"

    def _record(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> ScriptedRequest:
        model = str(body.get("model"))
        with self._state.lock:
            count = self._state.counts[model] = self._state.counts.get(model, 0) + 1
            request = ScriptedRequest(
                index=len(self._state.requests),
                nth=count,
                model=model,
                body=body,
                headers={name: "***" if name in _KEY_HEADERS else value for name, value in headers.items()},
                key_arrived=headers.get("authorization") == f"Bearer {self._api_key}",
            )
            fault = self._fault if isinstance(self._fault, Fault) or self._fault is None else self._fault(request)
            request = replace(request, fault=fault)
            self._state.requests.append(request)
        return request

    def _refusal(self, request: ScriptedRequest) -> Fault | None:
        if not request.key_arrived:
            return Fault.error(401, message="Incorrect API key provided.")
        if self._models is not None and request.model not in self._models:
            return Fault.error(404, message=f"The model `{request.model}` does not exist.")
        return None

    def _answer(self, request: ScriptedRequest) -> _Answer:
        prefixes = _prefixes(request.body)
        reply = self._reply(ChatRequest.from_openai(request.body)) if callable(self._reply) else self._reply
        if isinstance(reply, str):
            reply = ScriptedReply(reply)
        digest = prefixes[-1][0]
        calls = tuple(
            call if call.id else replace(call, id=f"call_{digest[:20]}{index}")
            for index, call in enumerate(reply.tool_calls)
        )
        reply = replace(reply, tool_calls=calls)
        usage = reply.usage or self._count(reply, prefixes[-1][1], self._warm_tokens(request.model, prefixes))
        return _Answer(f"chatcmpl-{digest[:24]}", request.model, reply, _usage(usage))

    def _count(self, reply: ScriptedReply, input_tokens: int, warm_tokens: int) -> Usage:
        said = count_tokens(reply.text) + sum(count_tokens([call.name, call.arguments]) for call in reply.tool_calls)
        read = warm_tokens if warm_tokens >= self._cache_from_tokens else 0
        written = input_tokens - read if self._cache_writes and input_tokens >= self._cache_from_tokens else 0
        return Usage(input_tokens, max(said, 1), cache_read_tokens=read, cache_write_tokens=written)

    def _warm_tokens(self, model: str, prefixes: list[tuple[str, int]]) -> int:
        """Tokens of the longest prefix this model has seen; all prefixes of this request are seen from now on."""
        with self._state.lock:
            seen = self._state.warm.setdefault(model, set())
            warm = max((tokens for digest, tokens in prefixes if digest in seen), default=0)
            seen.update(digest for digest, _ in prefixes)
        return warm


def _prefixes(body: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Digest and tokens of each prefix of the conversation: the tools and the schema, then one message more each.

    Raises RequestError for a body without messages.
    """
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise RequestError(f"`messages` is {messages!r}; give a non-empty list")
    head = {key: body[key] for key in ("tools", "response_format") if body.get(key)}
    digest = hashlib.sha256(_canonical(head))
    tokens = count_tokens(list(head.values()))
    prefixes = []
    for message in messages:
        digest.update(_canonical(message))
        tokens += TOKENS_PER_MESSAGE + count_tokens(message)
        prefixes.append((digest.hexdigest(), tokens))
    return prefixes


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _usage(usage: Usage) -> dict[str, Any]:
    prompt, completion = usage.input_tokens or 0, usage.output_tokens or 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read_tokens or 0,
            "cache_write_tokens": usage.cache_write_tokens or 0,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0, "audio_tokens": 0},
    }


def _cut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


class _Server(ThreadingHTTPServer):
    """Threads that are joined on closing, and a way from a handler to its provider."""

    daemon_threads = False
    block_on_close = True
    provider: ScriptedProvider

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up in the middle is an everyday thing here; what the script raised is kept elsewhere."""


class _Handler(BaseHTTPRequestHandler):
    """One connection of a client, kept alive between requests."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm: ClassVar[bool] = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        state = self.server.provider._state
        with state.lock:
            state.connections.add(self.connection)
            if state.closing.is_set():
                _cut(self.connection)

    def finish(self) -> None:
        state = self.server.provider._state
        with state.lock:
            state.connections.discard(self.connection)
        super().finish()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Silence: what arrived is in `requests`."""

    def do_POST(self) -> None:
        provider = self.server.provider
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        if not self.path.rstrip("/").endswith("/chat/completions"):
            return self._fail(Fault.error(404, code="not_found", message=f"no such path: {self.path}"))
        try:
            body = json.loads(raw)
            request = provider._record(body, {name.lower(): value for name, value in self.headers.items()})
            fault = request.fault or provider._refusal(request)
            if fault is None or fault.kind in ("cut", "stall", "drip", "slow"):
                answer = provider._answer(request)
                return self._stream(request, answer, fault) if request.stream else self._plain(answer, fault)
        except RequestError as error:
            return self._fail(Fault.error(400, message=str(error)))
        except OSError:
            raise
        except Exception as error:
            with provider._state.lock:
                provider._state.errors.append(error)
            return self._fail(Fault.error(500, message=f"the script raised {type(error).__name__}"))
        return self._fail(fault)

    def _fail(self, fault: Fault) -> None:
        if fault.kind == "drop":
            return self._hang_up()
        if fault.kind == "body":
            return self._send(fault.status, fault.body, fault.content_type)
        kind = "invalid_request_error" if fault.status < 500 else "server_error"
        error = {"message": fault.message, "type": kind, "param": None, "code": fault.code}
        headers = {} if fault.retry_after is None else {"retry-after": f"{fault.retry_after}"}
        return self._send(fault.status, json.dumps({"error": error}).encode(), headers=headers)

    def _plain(self, answer: _Answer, fault: Fault | None) -> None:
        body = json.dumps(answer.body()).encode()
        if fault is None or fault.kind == "slow":
            if fault is not None and self._pause(fault.delay_s):
                return self._hang_up()
            return self._send(200, body)
        self._head(200, "application/json", {"content-length": str(len(body))})
        if fault.after_chunks:
            self.wfile.write(body[: len(body) // 2])
        return self._linger(fault)

    def _stream(self, request: ScriptedRequest, answer: _Answer, fault: Fault | None) -> None:
        self._head(200, "text/event-stream; charset=utf-8", {"transfer-encoding": "chunked"})
        late = fault is not None and fault.kind in ("stall", "slow")
        if fault is not None and late and fault.delay_s and self._pause(fault.delay_s):
            return self._hang_up()
        self._event(answer.opening())
        for sent, chunk in enumerate(answer.content(self.server.provider._chunk_characters)):
            if fault is not None and fault.kind != "slow" and sent == fault.after_chunks:
                return self._linger(fault)
            self._event(chunk)
        if fault is not None and fault.kind != "slow":
            return self._linger(fault)
        options = request.body.get("stream_options") or {}
        for chunk in answer.closing(options.get("include_usage") is True):
            self._event(chunk)
        self._chunk(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")
        return None

    def _linger(self, fault: Fault) -> None:
        """What follows the last thing sent: the cut itself, or silence until somebody hangs up."""
        if fault.kind == "stall":
            self._pause(None)
        elif fault.kind == "drip":
            while not self._pause(fault.delay_s):
                self._chunk(b": keep-alive\n\n")
        self._hang_up()

    def _pause(self, seconds: float | None) -> bool:
        """Waits; True where the client or the provider closed the connection meanwhile."""
        closing = self.server.provider._state.closing
        left = float("inf") if seconds is None else seconds
        while left > 0:
            if closing.wait(min(_POLL_S, left)) or self._client_is_gone():
                return True
            left -= _POLL_S
        return False

    def _client_is_gone(self) -> bool:
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)

    def _hang_up(self) -> None:
        self.close_connection = True
        _cut(self.connection)

    def _head(self, status: int, content_type: str, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("x-request-id", f"req_{len(self.server.provider.requests)}")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(
        self, status: int, body: bytes, content_type: str = "application/json", headers: Mapping[str, str] | None = None
    ) -> None:
        self._head(status, content_type, {**(headers or {}), "content-length": str(len(body))})
        self.wfile.write(body)

    def _event(self, data: Mapping[str, Any]) -> None:
        self._chunk(b"data: " + json.dumps(data).encode() + b"\n\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
