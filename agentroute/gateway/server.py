"""Runs the gateway under uvicorn: where it listens, how it is told to reload, and how it ends."""

from __future__ import annotations

import asyncio
import gc
import logging
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import uvicorn

from agentroute.config import load_gateway
from agentroute.errors import ConfigError
from agentroute.router import Router

from .app import Gateway
from .checking import check
from .connections import bounded
from .settings import GatewaySettings

__all__ = ["demo_serve", "serve"]

logger = logging.getLogger("agentroute")


def serve(config: Path | None, given: Mapping[str, Any], ledger: Path, say: Callable[[str], None]) -> None:
    """Serves the config file, or what the keys in the environment give, until a signal ends it. A change of the file is
    in force within a second, without a restart. `say` is told where it listens, once it does."""
    if config is None:
        if _USUAL.exists():
            say(f"{_USUAL} is here and not named, so it is not read; `agentroute serve {_USUAL}` serves it")
        try:
            router = Router(ledger=ledger)
        except ConfigError as error:
            problem = str(error)
        else:
            _run(Gateway(router, GatewaySettings(**given)), say)
            return
        raise ConfigError(f"{problem}; `agentroute serve --demo` serves scripted models")
    if not config.exists():
        raise ConfigError(
            f"there is no file {str(config)!r}; name one (docs/configuration.md), or leave it out: `agentroute serve` "
            f"takes the provider keys of the environment, and `agentroute serve --demo` serves scripted models"
        )
    source = _Source(config, given)
    _run(Gateway(Router.from_config(config), source.settings(), background=source.watch), say)


def demo_serve(given: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """Serves scripted models."""
    from .demo import demo_router  # Its scripted provider is not loaded for others.

    with demo_router() as router:
        _run(Gateway(router, GatewaySettings(**given)), say)


class _Source:
    """A config file that may change while it is served."""

    def __init__(self, path: Path, given: Mapping[str, Any]) -> None:
        self._path = path
        self._given = given
        self._seen = self._stamp()
        self._routing = self._routing_part()

    def settings(self) -> GatewaySettings:
        return GatewaySettings.of({**load_gateway(self._path), **self._given})

    async def watch(self, gateway: Gateway) -> None:
        """Looks twice a second. A file that is wrong is told in the log, and what was in force stays so."""
        closing: set[asyncio.Task[None]] = set()
        while True:
            await asyncio.sleep(_LOOK_S)
            if self._stamp() == self._seen:
                continue
            self._seen = self._stamp()
            try:
                settings, router = self._changed(gateway.router)
            except ConfigError as error:
                logger.error("the config was not reloaded: %s", error)
                continue
            task = asyncio.create_task(gateway.reload(router, settings))
            closing.add(task)
            task.add_done_callback(closing.discard)
            logger.warning("the config %s was reloaded", self._path)

    def _changed(self, old: Router) -> tuple[GatewaySettings, Router | None]:
        settings, part = self.settings(), self._routing
        router = self._router(old)
        try:
            check(settings, router or old)
        except ConfigError:
            self._routing = part
            if router is not None:
                router.close()
            raise
        return settings, router

    def _router(self, old: Router) -> Router | None:
        """A new one if anything but the gateway's own part has changed. What is known of sick targets, of warm
        prefixes and of money spent goes on."""
        part = self._routing_part()
        if part == self._routing:
            return None
        router = Router.from_config(self._path, breakers=old.breakers, affinity=old.affinity, spending=old.spending)
        self._routing = part
        return router

    def _stamp(self) -> tuple[int, int] | None:
        try:
            facts = self._path.stat()
        except OSError:
            return None
        return facts.st_mtime_ns, facts.st_size

    def _routing_part(self) -> Any:
        try:
            read = tomllib.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return {key: value for key, value in read.items() if key != "gateway"}


_LOOK_S: Final = 0.5
_USUAL: Final = Path("agentroute.toml")


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
        http=bounded(settings),
    )


class _Server(uvicorn.Server):
    """Says where it listens once it does."""

    def __init__(self, config: uvicorn.Config, say: Callable[[str], None]) -> None:
        super().__init__(config)
        self._say = say

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        for server in self.servers:
            for socket in server.sockets:
                host, port = socket.getsockname()[:2]
                self._say(f"agentroute serves on http://{host}:{port} (docs/gateway.md)")


def _run(gateway: Gateway, say: Callable[[str], None]) -> None:
    # What is there now stays to the end. To look for garbage behind every 700 objects cost 15 % of a plain call.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    _Server(uvicorn_config(gateway), say).run()
