"""Broken answers of a provider through each door: the next target's answer, or an error of the dialect."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from agentroute.testing import Fault, ScriptedProvider

from .doors import Client

PAGE = b"<html><body>Please log in to your corporate network</body></html>"
EVENTS = "text/event-stream"
BROKEN = {
    "a login page with 200": Fault.raw(PAGE, content_type="text/html"),
    "a login page with 502": Fault.raw(PAGE, status=502, content_type="text/html"),
    "a firewall's 403": Fault.raw(PAGE, status=403, content_type="text/html"),
    "an error with 200": Fault.raw(json.dumps({"error": {"message": "Provider returned error", "code": 502}}).encode()),
    "no choices": Fault.raw(b'{"id": "x", "object": "chat.completion", "choices": []}'),
    "choices of null": Fault.raw(b'{"choices": null}'),
    "half a body": Fault.raw(b'{"choices": [{"message": {"content": "hel'),
    "no bytes": Fault.raw(b""),
    "a list": Fault.raw(b"[]"),
    "JSON 100,000 deep": Fault.raw(b"[" * 100_000),
    "bytes that are no text": Fault.raw(b"\xff\xfe\x00"),
    "gzip that is none": Fault.raw(gzip.compress(b"x")[:10]),
    "an event stream of errors": Fault.raw(b'data: {"error": {"message": "overloaded"}}\n\n', content_type=EVENTS),
    "an empty event stream": Fault.raw(b"data: [DONE]\n\n", content_type=EVENTS),
    "a redirect": Fault.raw(b"", status=302),
    "a dropped connection": Fault.drop(),
    "a cut before any content": Fault.cut_before_content(),
    "404": Fault.error(404),
    "405": Fault.raw(b"", status=405),
    "424": Fault.error(424),
    "429": Fault.error(429, retry_after=7),
    "500": Fault.error(500),
    "529": Fault.error(529),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("kind", BROKEN)
async def test_a_broken_answer(opened: Any, door: Client, kind: str, stream: bool) -> None:
    with (
        ScriptedProvider("hello", fault=BROKEN[kind], provider="sick") as sick,
        ScriptedProvider("hello from the second", provider="well") as well,
    ):
        first, second = sick.target(model="a", tier="mid"), well.target(model="b", tier="mid")
        alone = await opened([first])
        failed = await alone.post(door.path(stream), json=door.body(stream=stream))
        client = await opened([first, second])
        answers = [await client.post(door.path(stream), json=door.body(stream=stream)) for _ in range(2)]
    assert 400 <= failed.status_code < 600, "no answer of the provider's may be shown as one"
    assert failed.status_code != 500
    assert failed.headers["content-type"] == "application/json"
    assert failed.headers["x-should-retry"] == "false"
    assert door.error(failed.json())["message"]
    assert "corporate network" not in failed.text
    for answer in answers:
        assert answer.status_code == 200, answer.text
        said = door.streamed(answer.content) if stream else door.text(answer.json())
        assert said == "hello from the second"
        assert answer.headers["x-agentroute-target"] == "b"
    if kind == "429" and door.dialect != "anthropic_messages":
        assert failed.headers["retry-after"] == "7"
