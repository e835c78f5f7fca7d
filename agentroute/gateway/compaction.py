"""Compaction for Codex: its trigger becomes a request for a summary, and the summary one item that we can read back.

Codex with OpenAI's own provider settings ends such a call in `{"type": "compaction_trigger"}` and wants exactly one
item of the type `compaction`; what is in it is the server's business.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

from agentroute.errors import BadResponse
from agentroute.events import Event, Finished, Started, TextDelta, UsageReported
from agentroute.formats import openai_responses
from agentroute.messages import Extra

__all__ = ["as_request", "asks", "compacted", "read_back"]

_HEAD: Final = "agentroute.compaction."

_PROMPT: Final = """Summarise the conversation above, so that you can go on with the work from the summary alone.
Write down:
- what the user asked for, in their own words where it matters, and every constraint they gave;
- what has been done and found so far, with exact file paths, names, commands, numbers and error texts;
- decisions taken, and why; what was tried and did not work;
- what is unfinished, and the next step.
Write only the summary."""

_READ: Final = "The conversation so far was compacted. This is its summary; go on from it:\n\n"


def asks(body: Mapping[str, Any]) -> bool:
    """Whether the request ends in the trigger."""
    items = body.get("input")
    return isinstance(items, list) and bool(items) and _kind(items[-1]) == "compaction_trigger"


def as_request(body: dict[str, Any]) -> dict[str, Any]:
    """The same conversation with a request for a summary. The tools stay, unused: calls of the history need them."""
    items = [item for item in body["input"] if _kind(item) != "compaction_trigger"]
    found = {**body, "input": [*items, {"role": "user", "content": _PROMPT}]}
    found.pop("text", None)
    if found.get("tools"):
        found["tool_choice"] = "none"
    return found


def read_back(body: dict[str, Any]) -> dict[str, Any]:
    """The body with each compaction item of ours as the summary that is in it."""
    items = body.get("input")
    if not isinstance(items, list) or not any(_kind(item) == "compaction" for item in items):
        return body
    return {**body, "input": [_summary(item) for item in items]}


def _summary(item: Any) -> Any:
    if _kind(item) != "compaction":
        return item
    sealed = item.get("encrypted_content")
    if not isinstance(sealed, str) or not sealed.startswith(_HEAD):
        return item
    try:
        text = json.loads(urlsafe_b64decode(sealed.removeprefix(_HEAD)))
    except ValueError:
        return item
    return {"role": "user", "content": f"{_READ}{text}"}


async def compacted(events: AsyncGenerator[Any, None]) -> AsyncGenerator[Event, None]:
    """The events of a summary as those of one compaction item. Raises BadResponse for an answer without words."""
    texts: list[str] = []
    try:
        async for event in events:
            match event:
                case TextDelta():
                    texts.append(event.text)
                case Started() | UsageReported():
                    yield event
                case Finished():
                    text = "".join(texts).strip()
                    if not text:
                        raise BadResponse("the summary of the conversation is empty")
                    sealed = _HEAD + urlsafe_b64encode(json.dumps(text).encode()).decode()
                    item = {"type": "compaction", "encrypted_content": sealed}
                    yield TextDelta("", Extra(openai_responses.DIALECT, item))
                    yield Finished("stop")
    finally:
        await events.aclose()


def _kind(item: Any) -> Any:
    return item.get("type") if isinstance(item, Mapping) else None
