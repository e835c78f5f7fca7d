"""The door of OpenAI Responses: Codex, the Agents SDK, the Vercel AI SDK. What is not kept anywhere is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from agentroute.errors import RequestError
from agentroute.formats import openai_responses
from agentroute.formats.sse import encode_event
from agentroute.gateway.errors import Told

from .base import Asked, Door, asked_stream, metadata_of
from .openai_chat import error, error_object

__all__ = ["DOOR"]

_NOT_KEPT: Final[Mapping[str, str]] = {
    "conversation": "nothing is kept at a provider; send the conversation as `input`",
    "prompt": "stored prompts lie with one provider; send their text as `instructions` and `input`",
    "background": "answers are not kept for later; leave it out and read the answer, as a stream if it takes long",
}


def read(body: Mapping[str, Any], headers: Mapping[str, str]) -> Asked:
    """The request. Raises RequestError for what only a provider that keeps state could do."""
    for name, remedy in _NOT_KEPT.items():
        if body.get(name):
            raise RequestError(f"`{name}` cannot be served here: {remedy}")
    return Asked(openai_responses.decode_request(body), asked_stream(body), metadata_of(body))


def failed(told: Told, first: bytes, last: bytes) -> bytes:
    """`response.failed` under the id of `response.created`: a bare `error` event goes unseen by half the clients."""
    shown = error_object(told)
    begun = _data(first)
    if begun is None or not isinstance(begun.get("response"), dict):
        return encode_event({"type": "error", "sequence_number": 0, **shown}, "error")
    number = max((int(found) for found in _NUMBER.findall(last or first)), default=0) + 1
    response = {**begun["response"], "status": "failed", "error": {"code": shown["code"], "message": shown["message"]}}
    return encode_event({"type": "response.failed", "sequence_number": number, "response": response}, "response.failed")


_NUMBER: Final = re.compile(rb'"sequence_number":(\d+)')


def _data(events: bytes) -> dict[str, Any] | None:
    """The data of the first event."""
    line = next((line for line in events.split(b"\n") if line.startswith(b"data: ")), None)
    data = None if line is None else json.loads(line[6:])
    return data if isinstance(data, dict) else None


DOOR: Final = Door(
    openai_responses.DIALECT,
    read,
    error,
    # A comment or event before `response.created` breaks the Node SDK's stream.
    keep_alive=b": keep-alive\n\n",
    early=False,
    usage_path=("response", "usage"),
    failed=failed,
)
