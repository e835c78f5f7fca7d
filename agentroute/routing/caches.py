"""How a prompt cache is asked for: the markers a request carries, the time they ask for, and who needs them.

Anthropic, MiniMax and resellers of Claude keep a prompt only up to blocks that carry a `cache_control`; all others
cache by themselves. Facts: `cache_markers` and `cache_minimum` of a model's rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from agentroute.messages import ChatRequest, Extra, ToolResult
from agentroute.targets import Target

__all__ = ["HOUR", "MARKER", "MIN_CACHED_TOKENS", "asked_of", "is_loop", "markers", "minimum", "needs_markers"]

MARKER: Final = "cache_control"

HOUR: Final = 3600.0
"""Seconds that a prefix lives which was marked with `ttl: "1h"`
(https://platform.claude.com/docs/en/build-with-claude/prompt-caching)."""

MIN_CACHED_TOKENS: Final = 1024
"""Shorter prefixes are not cached, where a model's rules say nothing: the documented minimum of OpenAI."""


def needs_markers(target: Target) -> bool:
    """Whether this target keeps a prompt only up to marked blocks.

    A model without rules of its own is taken for what its provider's models are: Anthropic's need them.
    """
    dialects = target.rules.cache_markers
    if dialects is None:
        return target.provider == "anthropic" and target.dialect in ("anthropic_messages", "native")
    return target.dialect in dialects or (target.dialect == "native" and bool(dialects))


def minimum(target: Target) -> int:
    """The shortest prefix in tokens that this target's cache keeps."""
    least = target.rules.cache_minimum
    return MIN_CACHED_TOKENS if least is None else least


def is_loop(request: ChatRequest) -> bool:
    """Whether more steps are likely, so that keeping the prefix pays: it has tools, or an answer in it."""
    return bool(request.tools) or any(message.role == "assistant" for message in request.messages)


_SYSTEM: Final = ("system", "developer")


def markers(request: ChatRequest, dialect: str) -> Iterator[tuple[bool, Mapping[str, Any]]]:
    """Every cache marker the caller set in a dialect, and whether it ends the tools or the system messages."""
    for tool in request.tools:
        if (found := _marker(tool.extra, dialect)) is not None:
            yield True, found
    for message in request.messages:  # long, and hardly ever marked
        extra = message.extra
        if extra is not None and (found := _marker(extra, dialect)) is not None:
            yield message.role in _SYSTEM, found
        for part in message.parts:
            extra = part.extra
            if extra is not None and (found := _marker(extra, dialect)) is not None:
                yield message.role in _SYSTEM, found
            if type(part) is ToolResult:
                for held in part.content:
                    if held.extra is not None and (found := _marker(held.extra, dialect)) is not None:
                        yield False, found
    if (found := _marker(request.extra, dialect)) is not None:
        yield False, found


def asked_of(request: ChatRequest | None, target: Target) -> tuple[float | None, bool]:
    """What a request asks of this target's cache, as it is sent: seconds that the prefix shall live (None: what the
    target's usually do), and whether tools and system messages may be read from it without the rest.

    Our own markers (`history.keep_warm`) mark both; a ready model is called by its own package, which marks the end of
    the conversation only.
    """
    if request is None or not needs_markers(target):
        return None, True
    own = list(markers(request, target.dialect))
    setting = target.settings.get(MARKER)
    if isinstance(setting, Mapping):
        own.append((False, setting))
    if not own:
        return None, target.dialect != "native" and MARKER not in target.settings and is_loop(request)
    hour = any(found.get("ttl") == "1h" for _, found in own)
    return (HOUR if hour else None), any(system for system, _ in own)


def _marker(extra: Extra | None, dialect: str) -> Mapping[str, Any] | None:
    found = None if extra is None or extra.dialect != dialect else extra.fields.get(MARKER)
    return found if isinstance(found, Mapping) else None
