"""The clients of providers' SDKs on event loops: each loop has connections of its own, which end with it.

For the integrations, which call a framework's ready model and get the SDK below it.
"""

from __future__ import annotations

import ssl
import sys
from functools import cache
from typing import Any

from agentroute.failover.per_loop import PerLoop

__all__ = ["Clients", "close_on_this_loop", "on_every_loop"]


def on_every_loop(client: Any) -> Any:
    """The client of OpenAI's or Anthropic's SDK, or of one made from these, with connections for each event loop.

    The frameworks' integrations share one pool of connections in the whole process, whichever loop opened them: each
    second `asyncio.run` finds a connection of a dead one and fails, or their own retries hide it
    (langchain-ai/langchain#35783).
    """
    sdk = sys.modules.get(type(client).__module__.partition(".")[0])
    http_client = getattr(sdk, "DefaultAsyncHttpxClient", None)
    return client if http_client is None else client.with_options(http_client=_of(http_client)())


async def close_on_this_loop(client: Any) -> None:
    """Closes what a client of `on_every_loop` keeps open on this event loop; does nothing for any other."""
    http_client: Any = getattr(client, "_client", None)
    if http_client is not None and isinstance(getattr(http_client, "loops", None), PerLoop):
        await http_client.aclose()


@cache
def _of(http_client: Any) -> Any:
    """The SDK's own kind of HTTP client, but what it is given to send goes out by a client of the running loop."""

    class LoopsClient(http_client):  # type: ignore[misc]
        def __init__(self) -> None:
            # Nothing goes out from this one itself. Without a transport to make it reads no certificates.
            super().__init__(transport=object(), trust_env=False)
            self.loops = PerLoop(Clients(http_client).make, http_client.aclose)

        async def send(self, request: Any, **options: Any) -> Any:
            return await (await self.loops.get()).send(request, **options)

        async def aclose(self) -> None:
            """Closes the connections of this event loop."""
            await self.loops.aclose()

    return LoopsClient


class Clients:
    """Makes the HTTP clients, which share one reading of the machine's certificates."""

    def __init__(self, http_client: Any) -> None:
        self._new = http_client
        self._certificates: ssl.SSLContext | None = None

    def make(self) -> Any:
        if self._certificates is None:
            # Of the httpx that this SDK stands on: there are two by now.
            httpx = sys.modules[self._new.__mro__[1].__module__.partition(".")[0]]
            self._certificates = httpx.create_ssl_context()
        return self._new(verify=self._certificates)
