"""Token counts by Gemini's convention, read and written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agentroute.formats.reading import Raw, count, word
from agentroute.messages import Usage

from .fields import camel

__all__ = ["decode_usage", "encode_usage", "web_searches"]


def decode_usage(raw: Any, *, complete: bool = True) -> Usage | None:
    """The provider's count, or None where it gave none.

    `promptTokenCount` includes cached tokens and leaves out what its own tools read (`toolUsePromptTokenCount`);
    `candidatesTokenCount` leaves out the thoughts. Google omits a count of 0, so of a `complete` answer that names no
    output the total tells. A total that leaves no room for the thoughts says that the candidates include them.
    """
    if not isinstance(raw, Mapping):
        return None
    raw = camel(raw)
    prompt, total = count(raw.get("promptTokenCount")), count(raw.get("totalTokenCount"))
    tools = count(raw.get("toolUsePromptTokenCount"))
    spoken, thought = count(raw.get("candidatesTokenCount")), count(raw.get("thoughtsTokenCount"))
    sent = prompt if tools is None else (prompt or 0) + tools
    written = spoken if thought is None else (spoken or 0) + thought
    if spoken and thought and sent is not None and total == sent + spoken:
        written = spoken
    if written is None and complete and sent is not None and total is not None and total >= sent:
        written = total - sent
    usage = Usage(
        sent,
        written,
        count(raw.get("cachedContentTokenCount")),
        None,
        thought,
    )
    if usage == _NO_USAGE:
        return None
    return replace(usage, service_tier=word(raw.get("serviceTier")) or word(raw.get("trafficType")))


_NO_USAGE = Usage()


def web_searches(candidate: Raw) -> int:
    """How many searches of Google's the answer rests on, by what it tells of its grounding."""
    grounding = candidate.get("groundingMetadata")
    queries = camel(grounding).get("webSearchQueries") if isinstance(grounding, Mapping) else None
    return sum(1 for query in queries if query) if isinstance(queries, list) else 0


_TIERS = ("flex", "priority", "standard", "unspecified")
_TRAFFIC = ("ON_DEMAND", "PROVISIONED_THROUGHPUT", "TRAFFIC_TYPE_UNSPECIFIED")
"""Google's words for how a request was served: the Gemini API's, then Vertex's (google-genai 3.6.1)."""


def encode_usage(usage: Usage) -> dict[str, Any]:
    """The count as a client of the dialect reads it. Tokens written to a cache are part of the prompt, unnamed."""
    sent, written, thought = usage.input_tokens, usage.output_tokens, usage.reasoning_tokens
    raw = {
        "promptTokenCount": sent,
        "cachedContentTokenCount": usage.cache_read_tokens,
        "candidatesTokenCount": None if written is None else max(written - (thought or 0), 0),
        "thoughtsTokenCount": thought,
        "totalTokenCount": None if sent is None or written is None else sent + written,
        "serviceTier": tier if (tier := usage.service_tier) in _TIERS else None,
        "trafficType": tier if tier is not None and tier.startswith(_TRAFFIC) else None,
    }
    return {key: told for key, told in raw.items() if told is not None}
