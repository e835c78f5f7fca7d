"""A gateway in this process over scripted providers, and bare clients of each door."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from agentroute import Router, Target
from agentroute.gateway import GatewaySettings
from agentroute.gateway.app import Gateway

from .doors import DIALECTS, Client

Open = Callable[..., httpx.AsyncClient]


@pytest.fixture(params=DIALECTS)
def door(request: pytest.FixtureRequest) -> Client:
    return Client(request.param)


@pytest.fixture
async def opened() -> AsyncIterator[Callable[..., Any]]:
    """Opens a gateway over targets: `client = await opened(targets, settings=..., **router options)`.

    The gateway itself is `client.gateway`.
    """
    async with AsyncExitStack() as stack:

        async def open_gateway(
            targets: list[Target], settings: GatewaySettings | None = None, **options: Any
        ) -> httpx.AsyncClient:
            router = Router(targets, **options)
            gateway = Gateway(router, settings or GatewaySettings())
            stack.push_async_callback(router.aclose)
            transport = httpx.ASGITransport(gateway.app, raise_app_exceptions=True)
            client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:4180")
            client.gateway = gateway  # type: ignore[attr-defined]
            return await stack.enter_async_context(client)

        yield open_gateway
