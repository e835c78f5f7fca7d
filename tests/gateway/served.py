"""A gateway on a real socket, in a thread of this process."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any, Self

import uvicorn

from agentroute import Router, Target
from agentroute.gateway import GatewaySettings
from agentroute.gateway.app import Gateway
from agentroute.gateway.server import uvicorn_config


class Served:
    """`with Served(targets) as gateway: gateway.url`."""

    def __init__(self, targets: list[Target], settings: GatewaySettings | None = None, **options: Any) -> None:
        self.router = Router(targets, **options)
        self.gateway = Gateway(self.router, settings or GatewaySettings(port=0))
        self.server = uvicorn.Server(uvicorn_config(self.gateway))
        self._thread = threading.Thread(target=self.server.run, daemon=True)

    @property
    def port(self) -> int:
        return int(self.server.servers[0].sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        until = time.monotonic() + 10
        while not self.server.started and time.monotonic() < until:
            time.sleep(0.01)
        assert self.server.started
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.server.should_exit = True
        self._thread.join(15)
        assert not self._thread.is_alive()
