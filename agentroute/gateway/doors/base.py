"""What a front door is: the values that differ between the dialects' clients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agentroute.errors import RequestError
from agentroute.gateway.errors import Told
from agentroute.messages import ChatRequest

__all__ = ["Asked", "Door", "asked_stream", "metadata_of"]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as a door has read it. `metadata` is what the body says of who asks; `include_usage`
    False keeps the usage chunk out of a stream whose client did not ask for it."""

    request: ChatRequest
    stream: bool
    metadata: Mapping[str, Any] | None = None
    include_usage: bool = True


@dataclass(frozen=True, slots=True)
class Door:
    """The clients of one dialect.

    `read(body, headers)` makes the request of a parsed body (Gemini's model and verb stand in the path, and are put in
    by the app). `error` writes an error's status and body; `failed(told, first, last)` the events that end a stream
    which broke off, given the first and the last bytes that the client got. `keep_alive` is what may be sent in a
    silence, `early` whether also before the first event. `usage_path` is where an answer holds its usage.
    """

    dialect: str
    read: Callable[[Mapping[str, Any], Mapping[str, str]], Asked]
    error: Callable[[Told], tuple[int, dict[str, Any]]]
    keep_alive: bytes | None
    early: bool
    usage_path: tuple[str, ...]
    failed: Callable[[Told, bytes, bytes], bytes]


def asked_stream(body: Mapping[str, Any]) -> bool:
    stream = body.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise RequestError(f"`stream` is {stream!r}; give true or false")
    return stream is True


def metadata_of(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the body says of who asks."""
    found: dict[str, Any] = {}
    for name in ("metadata", "client_metadata"):
        if isinstance(body.get(name), Mapping):
            found |= body[name]
    return found or None
