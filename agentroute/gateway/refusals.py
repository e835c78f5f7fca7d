"""What the gateway itself refuses before a router is asked, each with its status, code and remedy."""

from __future__ import annotations

from agentroute.errors import AgentRouteError

__all__ = ["Refused"]


class Refused(AgentRouteError):
    """The gateway does not serve this request. `status` decides in which of its words a dialect says so."""

    def __init__(self, status: int, code: str, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after = retry_after
