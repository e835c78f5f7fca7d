"""Hostile requests: nothing they say becomes an address, a header, a key or a crash."""

from __future__ import annotations

import json
import os
import random
import socket
import threading
from typing import Any

import httpx
import pytest

from agentroute.errors import RequestError
from agentroute.gateway import GatewaySettings
from agentroute.gateway.bodies import parse
from agentroute.testing import ScriptedProvider, ScriptedReply, tool_call

from .doors import DIALECTS, Client
from .served import Served

FUZZED = int(os.environ.get("AGENTROUTE_FUZZ", "500"))
"""Requests of the fuzz; `make clients` asks for 5,000."""


class Listener:
    """Somebody who must never be called."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.calls = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.calls += 1
            connection.close()

    def close(self) -> None:
        self._socket.close()


ADDRESSED = (
    "model base_url api_base url endpoint proxy host image_url file_url server_url callback webhook source input "
    "metadata extra_body extra_headers settings provider target deployment azure_endpoint"
).split()


NAMING = (
    "x-forwarded-host x-base-url x-upstream openai-organization x-agentroute-target x-agentroute-key-scripted "
    "forwarded x-original-url x-rewrite-url"
).split()


async def test_no_field_of_a_request_is_an_address(opened: Any) -> None:
    """Requests whose fields, headers and paths name a listener: it hears nothing."""
    dice = random.Random(17)
    listener = Listener()
    evil = f"http://127.0.0.1:{listener.port}/v1"
    with ScriptedProvider("hello") as provider:
        client = await opened([provider.target(model="m", tier="mid")], GatewaySettings(models={"*": "auto"}))
        for _ in range(FUZZED):
            door = Client(dice.choice(DIALECTS))
            body = door.body("x")
            for name in dice.sample(ADDRESSED, 3):
                body[name] = dice.choice(
                    [evil, {"url": evil}, [{"type": "mcp", "server_url": evil}], {"base_url": evil}]
                )
            if dice.random() < 0.3:
                body["tools"] = [{"type": "mcp", "server_label": "x", "server_url": evil}]
            if dice.random() < 0.3 and door.dialect != "gemini":
                part = {
                    "type": dice.choice(["input_image", "image_url", "image"]),
                    "image_url": evil,
                    "source": {"type": "url", "url": evil},
                }
                body["messages" if door.dialect != "openai_responses" else "input"] = [
                    {"role": "user", "content": [part]}
                ]
            headers = {dice.choice(NAMING): evil}
            answer = await client.post(
                door.path(model=dice.choice(["auto", evil.replace("/", "%2f")])), json=body, headers=headers
            )
            assert answer.status_code < 500 or answer.status_code == 503, answer.text
    assert listener.calls == 0
    listener.close()


@pytest.mark.parametrize(
    "text",
    ["a\r\nx-evil: 1", "a\nx-evil: 1", "\x00", "é\u2028", "x" * 5_000],
    ids=["crlf", "lf", "nul", "unicode", "long"],
)
async def test_nothing_a_client_says_becomes_a_header(opened: Any, door: Client, text: str) -> None:
    with ScriptedProvider("hello") as provider:
        client = await opened([provider.target(model="m", tier="mid")], GatewaySettings(models={"*": "auto"}))
        said = {"agentroute_conversation": text, "agentroute_role": text, "user_id": text}
        body = door.body(text, metadata=said)
        if door.dialect != "gemini":
            body["model"] = text
        answer = await client.post(door.path(), json=body)
    assert "x-evil" not in answer.headers
    assert answer.status_code in (200, 400)


async def test_a_target_s_name_is_shown_in_ascii(opened: Any, door: Client) -> None:
    with ScriptedProvider("hello") as provider:
        client = await opened([provider.target(model="m", name="größe", tier="mid")])
        answer = await client.post(door.path(), json=door.body())
    assert answer.headers["x-agentroute-target"] == "gr??e"


SMUGGLED = [
    b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\ncontent-length: 40\r\n\r\n{}",
    b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n"
    b"0\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n",
    b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"POST /v1/messages HTTP/1.1\r\nhost : localhost\r\ncontent-length: 2\r\n\r\n{}",
    b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n{}",
    b"POST /v1/messages HTTP/1.1\nhost: localhost\ncontent-length: 2\n\n{}",
    b"POST /v1/messages HTTP/9.9\r\nhost: localhost\r\n\r\n",
    b"\x16\x03\x01\x02\x00",
]


@pytest.mark.parametrize("raw", SMUGGLED, ids=range(len(SMUGGLED)))
def test_a_smuggled_request_is_not_two(raw: bytes) -> None:
    with ScriptedProvider("hello") as provider, Served([provider.target(model="m", tier="mid")]) as gateway:
        with socket.create_connection(("127.0.0.1", gateway.port)) as client:
            client.sendall(raw)
            client.settimeout(1)
            found = b""
            try:
                while piece := client.recv(65536):
                    found += piece
            except TimeoutError:
                pass
        alive = httpx.get(gateway.url + "/healthz")
    assert found.count(b"HTTP/1.1 ") <= 1
    assert b" 200 " not in found
    assert alive.status_code == 200
    assert not provider.requests


def test_a_body_of_fifty_megabytes_is_not_read() -> None:
    with ScriptedProvider("hello") as provider, Served([provider.target(model="m", tier="mid")]) as gateway:
        try:
            answer = httpx.post(gateway.url + "/v1/chat/completions", content=b"x" * 50_000_000, timeout=30)
        except (httpx.WriteError, httpx.ReadError):  # the answer came while we were still sending
            return
    assert answer.status_code == 413


@pytest.mark.parametrize("deep", [99, 100, 101, 10_000])
def test_depth_is_counted_without_what_stands_in_texts(deep: int) -> None:
    inner = "[" * (deep - 1) + "]" * (deep - 1)
    raw = f'{{"a": {inner or 1}}}'.encode()
    if deep <= 100:
        assert parse(raw, 100)
    else:
        with pytest.raises(RequestError, match="100 deep"):
            parse(raw, 100)
    texts = json.dumps({"a": "[" * 10_000, "b": '"{' * 500}).encode()
    assert parse(texts, 100)["a"] == "[" * 10_000


async def test_canaries_of_three_kinds_show_nowhere(opened: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The provider's key, the client's key and the prompt stand in no header, log line, metric or decision."""
    from agentroute.gateway import ClientKey
    from agentroute.gateway.settings import hash_key

    caplog.set_level(0)
    ours, theirs, prompt = "sk-canary-provider-111111", "ar-canary-client-222222", "canary prompt 333333"
    with ScriptedProvider(ScriptedReply("fine", (tool_call("f"),)), api_key=ours) as provider:
        targets = [provider.target(model="m", tier="mid"), provider.target(model="gone", tier="budget")]
        client = await opened(targets, GatewaySettings(keys=(ClientKey("alice", hash_key(theirs), metrics=True),)))
        sent = {"authorization": f"Bearer {theirs}"}
        answer = await client.post("/v1/chat/completions", json=Client("openai_chat").body(prompt), headers=sent)
        kept = await client.get(f"/v1/decisions/{answer.headers['x-request-id']}", headers=sent)
        metrics = await client.get("/metrics", headers=sent)
        assert "agentroute_steps_total" in metrics.text
    shown = "\n".join([str(answer.headers), kept.text, metrics.text])
    ours_logged = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("agentroute"))
    for canary in (ours, theirs, prompt, hash_key(theirs)):
        assert canary not in shown
        assert canary not in ours_logged
