"""A stream's bytes read as a client reads them: split into server-sent events, then decoded, then closed."""

from __future__ import annotations

from agentroute.events import Event
from agentroute.formats import StreamDecoder
from agentroute.formats.sse import SseDecoder


def read(decoder: StreamDecoder, raw: bytes, size: int | None = None) -> list[Event]:
    """All events, the bytes fed in pieces of `size`, or whole. Raises what the decoder raises."""
    lines = SseDecoder()
    step = size or len(raw) or 1
    found: list[Event] = []
    for at in range(0, len(raw), step):
        for event, data in lines.feed(raw[at : at + step]):
            found += decoder.feed(data, event)
    return found + decoder.close()
