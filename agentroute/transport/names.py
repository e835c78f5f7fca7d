"""Names of hosts, looked up within the time that a call has: the system's own resolver knows no limit."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeAlias

from agentroute.failover.forks import renew_in_child

from .waiting import afound_by, found_by

__all__ = ["Names"]

_Found: TypeAlias = tuple[str, ...] | OSError


class Names:
    """Looks names up, each in a thread of its own that ends with the answer of the resolver.

    Who asks for a name that is being looked up waits for the same answer, so that a resolver that hangs holds one
    thread for each name. Threads and tasks may share one object. Raises OSError for a name that does not exist and
    TimeoutError once `left` gives no more seconds.
    """

    def __init__(self) -> None:
        self.begin_anew()
        renew_in_child(self)

    def begin_anew(self) -> None:
        # A child has none of the threads that were looking names up.
        self._lock = threading.Lock()
        self._running: dict[tuple[str, int], Future[_Found]] = {}

    def addresses(self, host: str, port: int, left: Callable[[], float]) -> tuple[str, ...]:
        """The addresses of the host, in the order in which the system would try them."""
        return (host,) if _is_address(host) else _taken(found_by(self._begin(host, port), left))

    async def aaddresses(self, host: str, port: int, left: Callable[[], float]) -> tuple[str, ...]:
        """`addresses`, without keeping the event loop waiting."""
        if _is_address(host):
            return (host,)
        return _taken(await afound_by(self._begin(host, port), left))

    def _begin(self, host: str, port: int) -> Future[_Found]:
        with self._lock:
            running = self._running.get((host, port))
            if running is None:
                asking = threading.Thread(target=self._look_up, args=(host, port), daemon=True, name="agentroute-names")
                running = self._running[host, port] = Future()
                try:
                    asking.start()
                except RuntimeError as error:
                    # No thread can be had now. The next call finds none running, and tries again.
                    del self._running[host, port]
                    raise OSError(str(error)) from None
            return running

    def _look_up(self, host: str, port: int) -> None:
        found: _Found
        try:
            rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found = tuple(dict.fromkeys(str(row[4][0]) for row in rows))
        except BaseException as error:
            # Whoever waits is told, whatever a resolver that was put in its place raises.
            found = error if isinstance(error, OSError) else OSError(f"{type(error).__name__}: {error}")
        with self._lock:
            done = self._running.pop((host, port))
        done.set_result(found)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _taken(found: _Found) -> tuple[str, ...]:
    if isinstance(found, OSError):
        raise OSError(*found.args)
    return found
