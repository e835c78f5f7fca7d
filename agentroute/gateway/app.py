"""The ASGI application: routes, who may use them, and the one path of a model call through the gateway."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route

from agentroute import __version__
from agentroute.call import Call
from agentroute.decisions import Decision
from agentroute.errors import AgentRouteError, RequestError, UnknownTarget, unknown_key
from agentroute.ledger import Budget
from agentroute.providers.keys import Secret
from agentroute.router import Router
from agentroute.routing.prefix import Prefix
from agentroute.routing.tokens import estimate

from . import compaction
from .answers import Answer, Receive, Scope, Send, error_headers, send_json
from .bodies import bound_size, parse, read_body
from .checking import check, elsewhere
from .context_edits import edited
from .doors import Asked, Door
from .doors.anthropic_messages import DOOR as MESSAGES
from .doors.gemini import DOOR as GEMINI
from .doors.openai_chat import DOOR as CHAT
from .doors.openai_responses import DOOR as RESPONSES
from .errors import tell
from .gate import Gate, Pass
from .headers import client_key, constraints_of, context_from, read_headers
from .memory import Memory
from .metrics import Metrics
from .names import listed, meaning
from .performing import Witness
from .refusals import Refused
from .settings import ClientKey, GatewaySettings

__all__ = ["Gateway", "create_app"]

logger = logging.getLogger("agentroute")

_OWN_KEY: Final = "x-agentroute-key-"


def create_app(router: Router, settings: GatewaySettings | None = None) -> Starlette:
    """The gateway over this router, for `agentroute serve` or an ASGI server of your own.

    >>> app = create_app(Router())  # doctest: +SKIP
    """
    gateway = Gateway(router, settings or GatewaySettings())
    return gateway.app


class Gateway:
    """One router behind all doors. `reload` puts others in their place; calls that run keep theirs."""

    def __init__(
        self,
        router: Router,
        settings: GatewaySettings,
        *,
        background: Callable[[Gateway], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        check(settings, router)
        self.router = router
        self.settings = settings
        self._background = background
        self._running: Counter[Router] = Counter()
        self.gate = Gate(settings)
        self._budget = self._kept(settings)
        self.metrics = Metrics()
        self.memory = Memory(settings.kept_answers)
        self.ready = True
        self._decisions: OrderedDict[str, tuple[str | None, Decision]] = OrderedDict()
        self.app = Starlette(routes=self._routes(), lifespan=self._lifespan, middleware=_cors(settings))

    def _routes(self) -> list[Route]:
        door, get = self._door, self._get
        return [
            door("/v1/chat/completions", CHAT),
            door("/chat/completions", CHAT),
            door("/v1/messages", MESSAGES),
            Route("/v1/messages/count_tokens", _Endpoint(self, MESSAGES, self._count_messages)),
            Route("/v1/responses", _Endpoint(self, RESPONSES, self._responses, methods=("POST", "GET"))),
            Route("/v1beta/models/{call:path}", _Endpoint(self, GEMINI, self._gemini, methods=("POST", "GET"))),
            Route("/v1alpha/models/{call:path}", _Endpoint(self, GEMINI, self._gemini, methods=("POST", "GET"))),
            Route("/models/{call:path}", _Endpoint(self, GEMINI, self._gemini)),
            get("/v1/models", self._models),
            Route("/v1/models/{call:path}", _Endpoint(self, GEMINI, self._gemini), methods=["POST"]),
            get("/v1/models/{name:path}", self._model),
            get("/v1beta/models", self._gemini_models),
            get("/v1/decisions/{id}", self._decision),
            Route("/v1/decisions/{id}/outcome", _Endpoint(self, CHAT, self._outcome)),
            get("/metrics", self._metrics),
            Route("/healthz", _Endpoint(self, CHAT, self._health, methods=_GET, open_to_all=True)),
            Route("/readyz", _Endpoint(self, CHAT, self._readiness, methods=_GET, open_to_all=True)),
            Route("/{path:path}", _Endpoint(self, CHAT, self._unknown, methods=())),
        ]

    def _door(self, path: str, door: Door) -> Route:
        async def call(request: _Request) -> int:
            return await self.call(request, door)

        return Route(path, _Endpoint(self, door, call))

    def _get(self, path: str, handle: Callable[[_Request], Awaitable[int]]) -> Route:
        return Route(path, _Endpoint(self, CHAT, handle, methods=_GET))

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        task = None if self._background is None else asyncio.create_task(self._background(self))
        yield
        self.ready = False
        if task is not None:
            task.cancel()
        await self.router.aclose()

    async def reload(self, router: Router | None, settings: GatewaySettings) -> None:
        """Puts other settings in force, and another router if there is one; the old one is closed when its last call
        has ended. Where it listens and how much it keeps stay as they were."""
        self.settings = settings
        self.gate.reload(settings)
        old, self.router = self.router, router or self.router
        self._budget = self._kept(settings)
        if router is not None:
            while self._running[old]:
                await asyncio.sleep(0.1)
            await old.aclose()

    def _kept(self, settings: GatewaySettings) -> Budget | None:
        """What the keys may spend, counted by the router from now on."""
        budget = settings.budget
        if budget is not None:
            self.router.keep(budget)
        return budget

    # -- a model call ----------------------------------------------------------------------------------------------

    async def call(self, request: _Request, door: Door, *, model: str | None = None, stream: bool | None = None) -> int:
        """One request of a client, from its bytes to its answer."""
        router, settings = self.router, self.settings
        raw = await read_body(request.receive, request.headers, settings)
        sent = body = parse(raw, settings.max_depth)
        owner = None if request.passed.key is None else request.passed.key.name
        compacting = False
        try:
            if door is RESPONSES:
                sent = self.memory.resolve(body, owner)
                body = compaction.read_back(self.memory.continued(sent, owner))
                compacting = compaction.asks(body)
                body = compaction.as_request(body) if compacting else body
            asked = door.read(body, request.headers)
            if door is MESSAGES:
                asked = replace(asked, request=edited(asked.request, router.pool))
            if model is not None or stream is not None:
                chat = replace(asked.request, model=model if model is not None else asked.request.model)
                asked = replace(asked, request=chat, stream=bool(stream))
            if compacting:
                asked = replace(asked, metadata={**(asked.metadata or {}), "request_kind": "compaction"})
            call, codex = self._decide(router, asked, request)
        except RecursionError:
            raise RequestError("the body is nested too deep; flatten it") from None
        del body, raw
        witness = Witness(router.async_performer, self._own_keys(router, request.headers))
        self._running[router] += 1
        try:
            answer = Answer(call, asked, door, witness, router.pool, settings, codex)
            if door is RESPONSES:
                answer.keep = partial(self.memory.keep, sent, owner=owner)
                answer.rewrite = compaction.compacted if compacting else None
            return await answer(request.receive, request.send)
        finally:
            self._running[router] -= 1
            self.metrics.told(call.notices)
            self._keep(call.decision, request.passed.key)

    def _decide(self, router: Router, asked: Asked, request: _Request) -> tuple[Call, bool]:
        context = context_from(request.headers, asked.metadata)
        key = request.passed.key
        if key is not None:
            context = replace(context, key=key.name)
        model, words = meaning(asked.request.model, self.settings.models, router)
        constraints = constraints_of(request.headers, asked.metadata, words, key)
        chat = asked.request if model == asked.request.model else replace(asked.request, model=model)
        call = router.prepare(chat, context=context, constraints=constraints, stream=asked.stream, budget=self._budget)
        return call, (context.agent or "").startswith("codex")

    def _own_keys(self, router: Router, headers: Mapping[str, str]) -> dict[str, Secret] | None:
        found = {
            name.removeprefix(_OWN_KEY): Secret(value)
            for name, value in headers.items()
            if name.startswith(_OWN_KEY) and value
        }
        if found and not self.settings.own_keys:
            raise Refused(
                403, "own_keys_not_allowed", "keys of your own are not taken here (own_keys = true allows it)"
            )
        for provider in found:
            targets = [target for target in router.pool if target.provider == provider]
            if not targets:
                known = ", ".join(sorted({target.provider for target in router.pool}))
                raise RequestError(f"no target here is of the provider {provider[:60]!r}; the pool has {known}")
            if any(elsewhere(target) for target in targets):
                message = f"a key of {provider!r} is not taken: a target here has another address than its provider"
                raise Refused(403, "own_keys_not_allowed", message)
        return found or None

    def _keep(self, decision: Decision, key: ClientKey | None) -> None:
        if decision.outcome != "planned":
            self.metrics.count(decision)
        self._decisions[decision.id] = (None if key is None else key.name, decision)
        while len(self._decisions) > self.settings.kept_decisions:
            self._decisions.popitem(last=False)

    async def _gemini(self, request: _Request) -> int:
        if request.scope["method"] == "GET":
            return await self._gemini_model(request)
        name, _, verb = unquote(str(request.params.get("call", ""))).rpartition(":")
        if verb == "countTokens":
            return await self._count_gemini(request)
        if not name or verb not in ("generateContent", "streamGenerateContent"):
            raise Refused(
                404, "not_found", f"there is no {verb[:60]!r} here; use generateContent or streamGenerateContent"
            )
        return await self.call(request, GEMINI, model=name, stream=verb == "streamGenerateContent")

    # -- beside the calls ------------------------------------------------------------------------------------------

    async def _tokens(self, request: _Request, door: Door, body: Mapping[str, Any]) -> int:
        chat = door.read(body, request.headers).request
        return estimate(Prefix.of(chat.messages, chat.tools), None).input_tokens

    async def _count_messages(self, request: _Request) -> int:
        body = await request.body(self.settings)
        return await request.answer({"input_tokens": await self._tokens(request, MESSAGES, body)})

    async def _count_gemini(self, request: _Request) -> int:
        body = await request.body(self.settings)
        inner = body.get("generateContentRequest")
        counted = await self._tokens(request, GEMINI, inner if isinstance(inner, dict) else body)
        return await request.answer({"totalTokens": counted})

    async def _responses(self, request: _Request) -> int:
        if request.scope["method"] == "POST":
            return await self.call(request, RESPONSES)
        if request.headers.get("upgrade", "").lower() == "websocket":
            raise Refused(426, "upgrade_required", "there is no websocket here; POST to this address")
        raise _not_allowed(request, ("POST",))

    async def _models(self, request: _Request) -> int:
        names = listed(self.router, self.settings.models)
        if "anthropic-version" in request.headers:
            data = [{"type": "model", "id": name, "display_name": name, "created_at": _EPOCH} for name in names]
            return await request.answer({"data": data, "has_more": False, "first_id": names[0], "last_id": names[-1]})
        return await request.answer({"object": "list", "data": [_model(name) for name in names]})

    async def _model(self, request: _Request) -> int:
        name = self._listed(str(request.params["name"]))
        if "anthropic-version" in request.headers:
            return await request.answer({"type": "model", "id": name, "display_name": name, "created_at": _EPOCH})
        return await request.answer(_model(name))

    async def _gemini_models(self, request: _Request) -> int:
        names = listed(self.router, self.settings.models)
        return await request.answer({"models": [_gemini_model(name) for name in names]})

    async def _gemini_model(self, request: _Request) -> int:
        return await request.answer(_gemini_model(self._listed(unquote(str(request.params["call"])))))

    def _listed(self, name: str) -> str:
        if name not in listed(self.router, self.settings.models):
            raise UnknownTarget(f"no target is named {name!r}, and none has that model; GET /v1/models lists them")
        return name

    async def _decision(self, request: _Request) -> int:
        owner, decision = self._decisions.get(str(request.params["id"]), (None, None))
        key = request.passed.key
        if decision is None or owner != (None if key is None else key.name):
            raise Refused(404, "decision_not_found", "this decision is not kept (any more); the ledger has every one")
        return await request.answer(decision.to_dict())

    async def _outcome(self, request: _Request) -> int:
        """What the client says of a step: `ok`, `score`, `source` and `name`, as `Router.outcome` takes them."""
        told = await request.body(self.settings)
        for field in told:
            if field not in _OUTCOME:
                raise RequestError(unknown_key(field, _OUTCOME))
        found, key = str(request.params["id"]), request.passed.key
        owner, decision = self._decisions.get(found, (None, None))
        if (decision is None and self.settings.keys) or owner != (None if key is None else key.name):
            raise Refused(404, "decision_not_found", "this decision is not kept (any more)")
        self.router.outcome(found, **told)
        return await request.answer({"noted": True})

    async def _metrics(self, request: _Request) -> int:
        key = request.passed.key
        if key is not None and not key.metrics:
            raise Refused(403, "metrics_not_allowed", f"the key {key.name!r} may not; metrics = true lets it")
        text = self.metrics.text().encode()
        kind = (b"content-type", b"text/plain; version=0.0.4")
        await request.send({"type": "http.response.start", "status": 200, "headers": [kind]})
        await request.send({"type": "http.response.body", "body": text})
        return 200

    async def _health(self, request: _Request) -> int:
        return await request.answer({"status": "ok", "version": __version__})

    async def _readiness(self, request: _Request) -> int:
        return await request.answer({"ready": self.ready}, 200 if self.ready else 503)

    async def _unknown(self, request: _Request) -> int:
        path = str(request.scope["path"])
        remedy = next((remedy for start, remedy in _REFUSED.items() if path.startswith(start)), None)
        raise Refused(
            404, "not_found", remedy or f"there is nothing at {path[:100]!r}; see GET /v1/models for what is here"
        )


_OUTCOME: Final = ("ok", "score", "source", "name")
_EPOCH: Final = "1970-01-01T00:00:00Z"

_REFUSED: Final = {
    "/v1/embeddings": "embeddings are not routed: two models' vectors cannot be compared; send them to their provider",
    "/v1/completions": "the old completions are not served; use /v1/chat/completions",
    "/v1/batches": "batches are not served: a batch is one provider's; send it there, or the calls one by one here",
    "/v1/messages/batches": "batches are not served: send them to Anthropic, or the calls one by one here",
    "/v1/files": "files are not kept here; send a file's data inside the message",
    "/v1/assistants": "assistants are not served; use /v1/responses or /v1/chat/completions",
    "/v1/threads": "threads are not served; send the conversation with each request",
    "/v1/audio": "audio is not served; send it to its provider",
    "/v1/images": "images are not made here; send this to their provider",
    "/v1/realtime": "realtime sessions are not served; use /v1/responses",
    "/v1/responses/": "answers are not kept here; read the answer of the POST, as a stream if it takes long",
}


_GET: Final = ("GET", "HEAD")


def _not_allowed(request: _Request, methods: tuple[str, ...]) -> Refused:
    method, path = str(request.scope["method"]), str(request.scope["path"])
    return Refused(405, "method_not_allowed", f"{method[:20]} does nothing at {path[:100]!r}; {methods[0]} to it")


def _gemini_model(name: str) -> dict[str, Any]:
    methods = ["generateContent", "streamGenerateContent", "countTokens"]
    return {"name": f"models/{name}", "displayName": name, "supportedGenerationMethods": methods}


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "agentroute"}


def _cors(settings: GatewaySettings) -> list[Middleware]:
    if not settings.cors_origins:
        return []
    told = ("decision-id", "target", "savings-usd", "notices")
    exposed = ["x-request-id", *(f"x-agentroute-{name}" for name in told)]
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=exposed,
        )
    ]


class _Request:
    """What an endpoint is given: the headers of the request, what its path holds, and who asks."""

    __slots__ = ("headers", "params", "passed", "query", "receive", "scope", "send")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.headers = read_headers(scope["headers"])
        self.params: Mapping[str, Any] = scope.get("path_params", {})
        self.query = dict(parse_qsl(scope["query_string"].decode("latin-1"))) if scope["query_string"] else {}
        self.passed = Pass(None)

    async def body(self, settings: GatewaySettings) -> dict[str, Any]:
        return parse(await read_body(self.receive, self.headers, settings), settings.max_depth)

    async def answer(self, body: Any, status: int = 200) -> int:
        await send_json(self.send, status, body)
        return status


class _Endpoint:
    """An ASGI application around one handler: the gate before it, and errors in the words of its door. No `methods` are
    all."""

    def __init__(
        self,
        gateway: Gateway,
        door: Door,
        handle: Callable[[_Request], Awaitable[int]],
        *,
        methods: tuple[str, ...] = ("POST",),
        open_to_all: bool = False,
    ) -> None:
        self._gateway = gateway
        self._door = door
        self._handle = handle
        self._methods = methods
        self._open = open_to_all

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = _Request(scope, receive, send)
        gateway = self._gateway
        try:
            bound_size(scope, gateway.settings)
            if not self._open:
                request.passed = gateway.gate.admit(client_key(request.headers, request.query), request.headers)
            if self._methods and scope["method"] not in self._methods:
                raise _not_allowed(request, self._methods)
            status = await self._handle(request)
        except AgentRouteError as error:
            status = await self._refuse(request, error)
        except Exception as error:
            logger.exception("the gateway failed at %s", scope["path"])
            status = await self._refuse(request, error)
        finally:
            request.passed.leave()
        gateway.metrics.answered(self._door.dialect, status)

    async def _refuse(self, request: _Request, error: Exception) -> int:
        agent = request.headers.get("user-agent", "") + request.headers.get("originator", "")
        told = tell(error, self._gateway.router.pool, codex=agent.lower().startswith("codex"))
        status, body = self._door.error(told)
        headers = error_headers(told)
        if status == 405:
            headers.append((b"allow", ", ".join(self._methods).encode()))
        await send_json(request.send, status, body, headers)
        return status
