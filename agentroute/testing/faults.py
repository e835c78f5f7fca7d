"""What a scripted provider does instead of answering: statuses, cuts, stalls, slowness."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from .provider import ScriptedRequest

__all__ = ["Fault", "FaultPlan", "nth"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way to fail; make it with one of the class methods.

    A stream sends `after_chunks` chunks with content (a piece of text or of a tool call each) before it fails; a plain
    answer sends half of its body where `after_chunks` is above 0 and none of it otherwise.
    """

    kind: Literal["error", "body", "cut", "stall", "drip", "drop", "slow"]
    status: int = 200
    code: str | None = None
    message: str = "injected by the test"
    retry_after: float | str | None = None
    body: bytes = b""
    content_type: str = "application/json"
    after_chunks: int = 0
    delay_s: float = 0.0

    @classmethod
    def error(
        cls, status: int, *, code: str | None = None, message: str | None = None, retry_after: float | str | None = None
    ) -> Fault:
        """An HTTP error in OpenAI's shape. `retry_after` goes into the header as it is: seconds, or any text."""
        said = message or f"injected status {status}"
        return cls(kind="error", status=status, code=code or _CODES.get(status), message=said, retry_after=retry_after)

    @classmethod
    def raw(cls, body: bytes, *, status: int = 200, content_type: str = "application/json") -> Fault:
        """These bytes instead of an answer: a login page, half a JSON text."""
        return cls(kind="body", body=body, status=status, content_type=content_type)

    @classmethod
    def drop(cls) -> Fault:
        """The connection is accepted and closed without a byte. (A provider that is closed refuses connections.)"""
        return cls(kind="drop")

    @classmethod
    def cut_before_content(cls) -> Fault:
        """The answer begins (a stream names its role), then the connection closes before any content."""
        return cls(kind="cut")

    @classmethod
    def cut_after(cls, chunks: int) -> Fault:
        """The connection closes after this many chunks with content."""
        return cls(kind="cut", after_chunks=chunks)

    @classmethod
    def stall(cls, *, after_chunks: int = 0, delay_s: float = 0.0) -> Fault:
        """Waits `delay_s`, sends that many chunks, then nothing more; the connection stays open."""
        return cls(kind="stall", after_chunks=after_chunks, delay_s=delay_s)

    @classmethod
    def drip(cls, *, every_s: float, after_chunks: int = 0) -> Fault:
        """Like `stall`, with a comment (`: keep-alive`) every `every_s` seconds: alive, and never an answer."""
        return cls(kind="drip", after_chunks=after_chunks, delay_s=every_s)

    @classmethod
    def slow(cls, seconds: float) -> Fault:
        """The right answer, `seconds` late."""
        return cls(kind="slow", delay_s=seconds)


_CODES = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}

FaultPlan: TypeAlias = Callable[["ScriptedRequest"], Fault | None]


def nth(number: int, fault: Fault, *, model: str | None = None) -> FaultPlan:
    """A plan that fails the `number`-th request (from 1) that `model` is asked; without a model, of each model."""

    def plan(request: ScriptedRequest) -> Fault | None:
        return fault if request.nth == number and model in (None, request.model) else None

    return plan
