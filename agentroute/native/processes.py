"""The clients of providers' SDKs after a fork: each process has connections of its own.

For the integrations, which call a framework's ready model and get the SDK below it. Event loops (`loops.py`) part with
what a parent had by themselves.
"""

from __future__ import annotations

import sys
import threading
from functools import cache
from typing import Any

from agentroute.failover.forks import renew_in_child

from .loops import Clients

__all__ = ["in_every_process"]


def in_every_process(client: Any) -> Any:
    """The synchronous client of OpenAI's or Anthropic's SDK, or of one made from these, whose connections no forked
    child shares: two processes on one connection read each other's answers."""
    sdk = sys.modules.get(type(client).__module__.partition(".")[0])
    http_client = getattr(sdk, "DefaultHttpxClient", None)
    return client if http_client is None else client.with_options(http_client=_of(http_client)())


@cache
def _of(http_client: Any) -> Any:
    """The SDK's own kind of HTTP client, but what it is given to send goes out by a client of the running process."""
    make = Clients(http_client).make

    class ProcessClient(http_client):  # type: ignore[misc]
        def __init__(self) -> None:
            # Nothing goes out from this one itself. Without a transport to make it reads no certificates.
            super().__init__(transport=object(), trust_env=False)
            self._of_parents: list[Any] = []
            self._own: Any = None
            self.begin_anew()
            renew_in_child(self)

        def begin_anew(self) -> None:
            # What the parent had is kept out of the garbage collector's hands, which would close it.
            self._of_parents.append(self._own)
            self._lock = threading.Lock()
            self._own = None

        def send(self, request: Any, **options: Any) -> Any:
            with self._lock:
                if self._own is None:
                    self._own = make()
                own = self._own
            return own.send(request, **options)

        def close(self) -> None:
            """Closes the connections of this process; the next request opens others."""
            with self._lock:
                own, self._own = self._own, None
            if own is not None:
                own.close()

        def __del__(self) -> None:
            # As the client does that the SDK would have made. Of a parent's, nothing is closed.
            self.close()

    return ProcessClient
