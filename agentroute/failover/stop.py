"""The stop button of one call: any thread may press it, and whoever waits for the provider stops waiting."""

from __future__ import annotations

import socket
import threading

__all__ = ["Stop"]


class Stop:
    """Pressed once, it stays pressed. Pressing waits for nobody, so a signal handler may do it."""

    __slots__ = ("_connection", "_lock", "pressed")

    def __init__(self) -> None:
        self.pressed = False
        self._connection: socket.socket | None = None
        # Reentrant: a signal handler or a finalizer may press in the middle of `listen`.
        self._lock = threading.RLock()

    def press(self) -> None:
        """Ends the call: what is being read or written on its connection ends at once."""
        with self._lock:
            self.pressed = True
            if self._connection is not None:
                _shut(self._connection)

    def listen(self, connection: socket.socket | None) -> None:
        """The connection that the call waits on from now; None as soon as another call may have it."""
        with self._lock:
            self._connection = connection
            if self.pressed and connection is not None:
                _shut(connection)


def _shut(connection: socket.socket) -> None:
    """Wakes who waits on it. By a second name of the connection: the first one may be TLS, or an event loop's own."""
    try:
        with socket.fromfd(connection.fileno(), connection.family, connection.type) as same:
            same.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # It is closed already.
