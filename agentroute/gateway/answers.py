"""Runs one decided call for a client: a whole answer, or a stream that begins with the winner's first content."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

from agentroute import formats
from agentroute.call import Call
from agentroute.decisions import Decision
from agentroute.events import Event, Finished, fold
from agentroute.formats.sse import encode_event
from agentroute.targets import Pool

from .doors import Asked, Door
from .errors import Told, tell
from .headers import decision_headers, notice_headers
from .performing import Witness
from .settings import GatewaySettings

__all__ = ["Answer", "Receive", "Scope", "Send", "error_headers", "send_json"]

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
RawHeaders: TypeAlias = list[tuple[bytes, bytes]]

logger = logging.getLogger("agentroute")

_ENCODE = json.JSONEncoder(separators=(",", ":"), default=dict).encode
_JSON = (b"content-type", b"application/json")
_SSE = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


async def send_json(send: Send, status: int, body: Any, headers: RawHeaders | None = None) -> None:
    """One JSON answer, in ASCII: what no encoding can hold stays an escape."""
    raw = _ENCODE(body).encode()
    length = (b"content-length", str(len(raw)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [_JSON, length, *(headers or ())]})
    await send({"type": "http.response.body", "body": raw})


def error_headers(told: Told, decision: Decision | None = None) -> RawHeaders:
    """When to come back, and that the client's SDK shall not repeat what the router has tried everywhere."""
    headers: RawHeaders = [] if decision is None else decision_headers(decision, None, len(decision.attempts))
    headers.append((b"x-should-retry", b"false"))
    if told.retry_after is not None:
        headers.append((b"retry-after", str(max(1, round(told.retry_after))).encode()))
    return headers


def figures(decision: Decision) -> dict[str, Any]:
    """What a step was in the end, as it stands in an answer's usage."""
    return {
        "decision_id": decision.id,
        "target": decision.target,
        "tier": decision.tier.value,
        "attempts": len(decision.attempts),
        "cost_usd": _money(decision.cost),
        "baseline_cost_usd": _money(decision.baseline_cost),
        "savings_usd": _money(decision.savings),
    }


def _money(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def _told_figures(body: Any, path: tuple[str, ...], decision: Decision) -> bool:
    """Puts the figures into the usage of this body, if there is one."""
    for key in path:
        body = body.get(key) if isinstance(body, dict) else None
    if not isinstance(body, dict):
        return False
    body["agentroute"] = figures(decision)
    return True


@dataclass(slots=True)
class Answer:
    """One call, its client and its door. `keep` is shown the whole answer of the dialect, for doors with a memory;
    `rewrite` makes other events of the call's."""

    call: Call
    asked: Asked
    door: Door
    witness: Witness
    pool: Pool
    settings: GatewaySettings
    codex: bool = False
    keep: Callable[[Mapping[str, Any]], None] | None = None
    rewrite: Callable[[AsyncGenerator[Any, None]], AsyncGenerator[Any, None]] | None = None

    async def __call__(self, receive: Receive, send: Send) -> int:
        """Answers the client, and returns the HTTP status. A client that leaves ends the call."""
        task = asyncio.current_task()
        assert task is not None
        gone = asyncio.ensure_future(_leaves(receive, task))
        try:
            return await (self._stream(send) if self.asked.stream else self._whole(send))
        except asyncio.CancelledError:
            if not gone.done() or gone.cancelled():
                raise
            task.uncancel()
            return 499
        finally:
            gone.cancel()

    @property
    def _created(self) -> int:
        """Seconds since 1970, as OpenAI's dialects say when an answer was made."""
        return int(self.call.decision.created_at.timestamp())

    def _events(self) -> AsyncGenerator[Any, None]:
        payloads = self.call.arun(self.witness)
        return payloads if self.rewrite is None else self.rewrite(payloads)

    async def _whole(self, send: Send) -> int:
        payloads = self._events()
        events: list[Event] = []
        try:
            async for event in payloads:
                events.append(event)
        except Exception as error:
            return await self._refuse(send, error)
        finally:
            await payloads.aclose()
        decision = self.call.decision
        body = formats.of(self.door.dialect).encode_response(fold(events), created=self._created)
        if self.keep is not None:
            self.keep(body)
        _told_figures(body, self.door.usage_path[-1:], decision)
        headers = decision_headers(decision, self.witness.target, self.witness.attempts)
        await send_json(send, 200, body, [*headers, *notice_headers(self.call.notices)])
        return 200

    async def _refuse(self, send: Send, error: Exception) -> int:
        told = self._tell(error)
        status, body = self.door.error(told)
        await send_json(send, status, body, error_headers(told, self.call.decision))
        return status

    def _tell(self, error: Exception) -> Told:
        told = tell(error, self.pool, codex=self.codex)
        if told.word == "internal":
            logger.exception("the gateway failed in decision %s", self.call.decision.id, exc_info=error)
        return told

    async def _stream(self, send: Send) -> int:
        """Whatever comes before the first content is held back by the failover flow, so the first event is the winner's
        and the headers name it; a failure before it is an HTTP status."""
        out = _Stream(send, self)
        self.witness.before_wait = out.flush
        payloads = self._events()
        only_chat: dict[str, Any] = {} if self.asked.include_usage else {"include_usage": False}
        encoder = formats.of(self.door.dialect).StreamEncoder(created=self._created, **only_chat)
        last: Finished | None = None
        alive = asyncio.ensure_future(out.keep_alive())
        try:
            async for event in payloads:
                if isinstance(event, Finished):
                    last = event
                    continue
                out.write(encoder.encode(event))
            if last is not None:
                await out.end(self._ending(encoder.encode(last)))
            return 200
        except Exception as error:
            if not (out.begun or out.first):
                return await self._refuse(send, error)
            await out.end(self.door.failed(self._tell(error), out.first, out.last))
            return 200
        finally:
            alive.cancel()
            await payloads.aclose()

    def _ending(self, data: bytes) -> bytes:
        """The events that end the stream, with the real figures in the usage."""
        blocks = data.split(b"\n\n")
        for place, block in enumerate(blocks):
            head, found, raw = block.partition(b"data: {")
            if not found or b'"usage' not in raw:
                continue
            body = json.loads(b"{" + raw)
            if self.keep is not None and isinstance(body.get("response"), dict):
                self.keep(body["response"])
            if _told_figures(body, self.door.usage_path, self.call.decision):
                blocks[place] = head + encode_event(body)[:-2]
        return b"\n\n".join(blocks)


class _Stream:
    """The bytes of one streamed answer on their way: begun with the first of them, or when the hold is over.

    Events that come together leave together: sending each by itself costs more than all else that is done with it.
    """

    def __init__(self, send: Send, answer: Answer) -> None:
        self._send = send
        self._answer = answer
        self._spoke = False
        self._written: list[bytes] = []
        self.begun = False
        self.first = b""
        self.last = b""

    def write(self, data: bytes) -> None:
        """Keeps the bytes for the next `flush`, which comes before anything is waited for."""
        if data:
            self.first = self.first or data
            self.last = data
            self._written.append(data)

    async def flush(self) -> None:
        if self._written:
            if not self.begun:
                await self._begin()
            data = self._taken()
            self._spoke = True
            await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes) -> None:
        if not self.begun:
            await self._begin()
        self._written.append(data)
        await self._send({"type": "http.response.body", "body": self._taken()})

    def _taken(self) -> bytes:
        data = b"".join(self._written)
        self._written.clear()
        return data

    async def _begin(self) -> None:
        self.begun = True
        witness = self._answer.witness
        headers = decision_headers(self._answer.call.decision, witness.target, witness.attempts)
        await self._send({"type": "http.response.start", "status": 200, "headers": [*_SSE, *headers]})

    async def keep_alive(self) -> None:
        """Sends a comment after each silence; before the first event only when the hold is over, and if the client
        survives it there."""
        door, settings = self._answer.door, self._answer.settings
        if door.early:
            await asyncio.sleep(settings.hold_s)
            if not self.begun:
                await self._begin()
        while door.keep_alive is not None:
            self._spoke = False
            await asyncio.sleep(settings.keep_alive_s)
            if not self._spoke and self.begun and (door.early or self.first):
                await self._send({"type": "http.response.body", "body": door.keep_alive, "more_body": True})


async def _leaves(receive: Receive, task: asyncio.Task[Any]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    task.cancel()
