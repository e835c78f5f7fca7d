"""Runs the gateway under uvicorn: where it listens, how it is told to reload, and how it ends."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import uvicorn

from agentroute.errors import ConfigError
from agentroute.router import Router

from .app import Gateway
from .demo import demo_router
from .settings import GatewaySettings

__all__ = ["demo_serve", "serve"]

logger = logging.getLogger("agentroute")


def serve(config: Path | None, given: Mapping[str, Any], ledger: Path) -> None:
    """Serves the config file, or what the keys in the environment give, until a signal ends it."""
    router, settings = _read(config, given, ledger)
    with router:
        _run(Gateway(router, settings))


def demo_serve(given: Mapping[str, Any]) -> None:
    """Serves scripted models."""
    with demo_router() as router:
        _run(Gateway(router, GatewaySettings(**given)))


def _read(config: Path | None, given: Mapping[str, Any], ledger: Path) -> tuple[Router, GatewaySettings]:
    if config is None:
        try:
            return Router(ledger=ledger), GatewaySettings(**given)
        except ConfigError as error:
            problem = str(error)
        raise ConfigError(f"{problem}; `agentroute serve --demo` serves scripted models")
    from agentroute.config import load_gateway

    return Router.from_config(config), GatewaySettings.of({**load_gateway(config), **given})


def uvicorn_config(gateway: Gateway) -> uvicorn.Config:
    """How uvicorn runs it: no access log (the ledger has every step), no name of its own, and bounded."""
    settings = gateway.settings
    return uvicorn.Config(
        gateway.app,
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        ws="none",
        lifespan="on",
        limit_concurrency=settings.max_connections,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=round(settings.drain_s),
        h11_max_incomplete_event_size=64 * 1024,
    )


class _Server(uvicorn.Server):
    """Says where it listens once it does."""

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        for server in self.servers:
            for socket in server.sockets:
                host, port = socket.getsockname()[:2]
                print(f"agentroute serves on http://{host}:{port} (docs/gateway.md)", flush=True)  # noqa: T201


def _run(gateway: Gateway) -> None:
    _Server(uvicorn_config(gateway)).run()
