"""A provider on loopback that speaks every dialect and says what a script tells it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self, TypeAlias

from agentroute import formats
from agentroute.errors import RequestError
from agentroute.messages import ChatRequest, Usage
from agentroute.targets import Capabilities, Price, Target, Tier

from .faults import Fault, FaultPlan
from .replies import ScriptedReply, count_tokens
from .server import LoopbackServer, Response
from .wire import Answer, Prefix, Route, prefixes

__all__ = ["ScriptedProvider", "ScriptedRequest"]

Script: TypeAlias = Callable[[ChatRequest], ScriptedReply | str]

_KEY_HEADERS = frozenset({"authorization", "x-api-key", "x-goog-api-key", "api-key"})


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
    dialect: str = "openai_chat"
    stream: bool = False
    fault: Fault | None = None

    @property
    def asked(self) -> ChatRequest:
        """The request, read from its dialect. Raises RequestError for a body that is none."""
        return replace(formats.of(self.dialect).decode_request(self.body), model=self.model)


class ScriptedProvider:
    """A provider whose models answer by script: a real HTTP server on 127.0.0.1, plain and streamed.

    Use it as a context manager; on leaving, every thread has ended and every socket is closed, and an exception the
    script raised (it was answered with status 500) is raised again.

    Args:
        reply: the answer to every request, or a function from the request to it.
        models: the models it knows, any other is a 404; None knows them all.
        fault: what to do instead of answering: always, or as a plan says for each request (see `nth`).
        provider: the provider's name in the targets that `target()` makes.
        api_key: what it wants to see in the header of the dialect's key; another key is a 401.
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
        self.api_key = api_key
        self._reply = reply
        self._models = None if models is None else frozenset(models)
        self._fault = fault
        self._chunk_characters = chunk_characters
        self._cache_from_tokens = cache_from_tokens
        self._cache_writes = cache_writes
        self._lock = threading.Lock()
        self._requests: list[ScriptedRequest] = []
        self._counts: dict[str, int] = {}
        self._warm: dict[str, set[str]] = {}
        self._errors: list[Exception] = []
        self._server: LoopbackServer | None = None
        self._base_url: str | None = None

    def __enter__(self) -> Self:
        self._server = LoopbackServer(self._respond)
        self._base_url = f"http://127.0.0.1:{self._server.port}/v1"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        for raised in self._errors[:1]:
            if error is None:
                raise raised
            error.add_note(f"the script of {self!r} raised {type(raised).__name__}: {raised}")

    def close(self) -> None:
        """Ends every answer and connection; afterwards `base_url` refuses connections."""
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    @property
    def base_url(self) -> str:
        """Where it listens, as OpenAI clients want it (`http://127.0.0.1:PORT/v1`)."""
        if self._base_url is None:
            raise RuntimeError("the provider is not running; use it as `with ScriptedProvider(...) as provider:`")
        return self._base_url

    @property
    def requests(self) -> tuple[ScriptedRequest, ...]:
        """Every request that arrived, in order."""
        with self._lock:
            return tuple(self._requests)

    @property
    def open_connections(self) -> int:
        """How many connections clients hold open now."""
        return 0 if self._server is None else self._server.open_connections

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
        dialect: str = "openai_chat",
    ) -> Target:
        """A target that calls this provider in one of its dialects. Facts left out come from the catalog, as for any
        target."""
        return Target(
            name=name,
            provider=self.provider,
            model=model,
            tier=tier,
            base_url=self.base_url,
            api_key=self.api_key,
            price=price,
            context_window=context_window,
            max_output_tokens=max_output_tokens,
            capabilities=capabilities,
            cache_ttl_s=cache_ttl_s,
            dialect=dialect,
        )

    def __repr__(self) -> str:
        return f"ScriptedProvider({self.provider!r}, {self._base_url or 'not running'})"

    def _respond(self, route: Route, raw: bytes, headers: Mapping[str, str]) -> Response:
        dialect = route.dialect
        try:
            body = _object(raw)
        except RequestError as error:
            return _refused(error, dialect)
        try:
            request = self._record(route, body, headers)
            fault = request.fault or self._refusal(request)
            if fault is not None and fault.kind in ("error", "body", "drop"):
                return Response(None, fault, dialect)
            try:
                asked = request.asked
                known = prefixes(body if dialect == "openai_chat" else asked.to_openai())
            except RequestError as error:
                return _refused(error, dialect)
            reply = self._reply(asked) if callable(self._reply) else self._reply
            answer = self._answer(ScriptedReply(reply) if isinstance(reply, str) else reply, request, known)
        except Exception as error:
            with self._lock:
                self._errors.append(error)
            return Response(None, Fault.error(500, message=f"the script raised {type(error).__name__}"), dialect)
        options = body.get("stream_options") or {}
        include_usage = dialect != "openai_chat" or options.get("include_usage") is True
        return Response(answer, fault, dialect, request.stream, include_usage)

    def _record(self, route: Route, body: Mapping[str, Any], headers: Mapping[str, str]) -> ScriptedRequest:
        model = str(body.get("model") if route.model is None else route.model)
        with self._lock:
            count = self._counts[model] = self._counts.get(model, 0) + 1
            request = ScriptedRequest(
                index=len(self._requests),
                nth=count,
                model=model,
                body=body,
                headers={name: "***" if name in _KEY_HEADERS else value for name, value in headers.items()},
                key_arrived=any(headers.get(name, "").removeprefix("Bearer ") == self.api_key for name in _KEY_HEADERS),
                dialect=route.dialect,
                stream=body.get("stream") is True if route.stream is None else route.stream,
            )
            fault = self._fault if isinstance(self._fault, Fault) or self._fault is None else self._fault(request)
            request = replace(request, fault=fault)
            self._requests.append(request)
        return request

    def _refusal(self, request: ScriptedRequest) -> Fault | None:
        if not request.key_arrived:
            return Fault.error(401, message="Incorrect API key provided.")
        if self._models is not None and request.model not in self._models:
            return Fault.error(404, message=f"The model `{request.model}` does not exist.")
        return None

    def _answer(self, reply: ScriptedReply, request: ScriptedRequest, known: list[Prefix]) -> Answer:
        whole, model = known[-1], request.model
        calls = tuple(
            call if call.id else replace(call, id=f"call_{whole.digest[:20]}{index}")
            for index, call in enumerate(reply.tool_calls)
        )
        warm = self._warm_tokens(model, known)
        return Answer(
            dialect=request.dialect,
            id=f"chatcmpl-{whole.digest[:24]}",
            model=model,
            reply=replace(reply, tool_calls=calls),
            usage=reply.usage or self._count(reply, whole.tokens, warm),
            chunk_characters=self._chunk_characters,
        )

    def _count(self, reply: ScriptedReply, input_tokens: int, warm_tokens: int) -> Usage:
        said = count_tokens(reply.text) + sum(count_tokens([call.name, call.arguments]) for call in reply.tool_calls)
        thought = count_tokens(reply.reasoning)
        read = warm_tokens if warm_tokens >= self._cache_from_tokens else 0
        written = input_tokens - read if self._cache_writes and input_tokens >= self._cache_from_tokens else 0
        output = max(said + thought, 1)
        return Usage(input_tokens, output, read, written, reasoning_tokens=thought if reply.reasoning else None)

    def _warm_tokens(self, model: str, known: list[Prefix]) -> int:
        """Tokens of the longest prefix this model has seen; all prefixes of this request are seen from now on."""
        with self._lock:
            seen = self._warm.setdefault(model, set())
            warm = max((prefix.tokens for prefix in known if prefix.digest in seen), default=0)
            seen.update(prefix.digest for prefix in known)
        return warm


def _refused(error: RequestError, dialect: str) -> Response:
    return Response(None, Fault.error(400, message=str(error)), dialect)


def _object(raw: bytes) -> Mapping[str, Any]:
    """A JSON object, or RequestError."""
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise RequestError(f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise RequestError(f"the body is a {type(body).__name__}; give an object")
    return body
