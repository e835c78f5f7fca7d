"""Hostile requests: nothing they say becomes an address, a header, a key or a crash."""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import socket
import threading
from typing import Any

import httpx
import pytest

from agentroute.errors import RequestError
from agentroute.gateway import ClientKey, GatewaySettings
from agentroute.gateway.bodies import parse
from agentroute.gateway.settings import hash_key
from agentroute.testing import ScriptedProvider, ScriptedReply, tool_call

from .doors import DIALECTS, Client
from .served import Served

FUZZED = int(os.environ.get("AGENTROUTE_FUZZ", "500"))
"""Requests of each fuzz; 5,000 were run once (docs/security.md)."""


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
        settings = GatewaySettings(models={"*": "auto"}, own_keys=True)
        client = await opened([provider.target(model="m", tier="mid")], settings)
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
            if dice.random() < 0.3:
                headers["x-agentroute-key-scripted"] = "scripted-key"
            answer = await client.post(
                door.path(model=dice.choice(["auto", evil.replace("/", "%2f")])), json=body, headers=headers
            )
            assert answer.status_code < 500 or answer.status_code == 503, answer.text
    assert listener.calls == 0
    listener.close()
    assert len(provider.requests) > FUZZED / 4, "most of them would have reached a provider"


PATHS = (
    "/v1/chat/completions /v1/messages /v1/responses /v1/messages/count_tokens /v1/models /v1/models/m /metrics "
    "/v1/decisions/x /v1/decisions/x/outcome /v1beta/models /v1beta/models/auto:generateContent /models/a:countTokens "
    "/ /docs /openapi.json /admin /v1 /healthz/../metrics /readyz/x /metrics/ //metrics /%2e%2e/metrics /v1/models%2fm"
).split()
HOSTS = ("localhost", "127.0.0.1", "[::1]", "evil.example", "", "localhost@evil.example", "127.0.0.1:4180")
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "PROPFIND")
SHOWN = ("authorization", "x-api-key", "x-goog-api-key", "api-key", "cookie")
FORGED = ("x-forwarded-for", "x-real-ip", "x-original-url", "x-http-method-override")


async def test_no_request_comes_in_without_the_key(opened: Any) -> None:
    """Random routes, methods, hosts and things that look like the key: 401, and nothing of what is behind it."""
    dice = random.Random(71)
    key = "ar-the-one-key-0123456789"
    near = (key[:-1], key + "0", key.upper(), hash_key(key), "alice", "", " ", "null", key[::-1], f"{key},{key}")
    with ScriptedProvider("hello") as provider:
        settings = GatewaySettings(keys=(ClientKey("alice", hash_key(key)),))
        client = await opened([provider.target(model="m", tier="mid")], settings)
        for _ in range(FUZZED):
            path = dice.choice(PATHS) + dice.choice(["", "", "?", f"?key={dice.choice(near)}", "?alt=sse", "/", "//x"])
            wrong = dice.choice(near)
            shown = (wrong, f"Bearer {wrong}", f"Basic {wrong}", f"bearer  {wrong}", f"Bearer Bearer {key}")
            headers = {
                "host": dice.choice(HOSTS),
                dice.choice(SHOWN): dice.choice(shown),
                dice.choice(FORGED): "127.0.0.1",
            }
            body = Client("openai_chat").body()
            answer = await client.request(dice.choice(METHODS), path, headers=headers, json=body)
            assert answer.status_code == 401, f"{answer.request.method} {path} {headers}: {answer.status_code}"
            assert key not in answer.text
        alive = await client.get("/v1/models", headers={"x-api-key": key})
    assert alive.status_code == 200
    assert not provider.requests


STRANGERS = ("localhost", "127.0.0.1", "evil.example", "[::1]", "localhost.evil.example", "127.0.0.1.nip.io", "")
OURS = re.compile(r"(localhost|127(\.[0-9]{1,3}){3}|\[[0:]*1\]|[a-z0-9._-]*\.localhost)(:[0-9]+)?", re.IGNORECASE)


async def test_without_keys_no_stranger_s_host_comes_in(opened: Any) -> None:
    dice = random.Random(72)
    with ScriptedProvider("hello") as provider:
        client = await opened([provider.target(model="m", tier="mid")])
        for _ in range(FUZZED):
            host = dice.choice(STRANGERS)
            for _ in range(dice.randrange(3)):
                at = dice.randrange(len(host) + 1)
                host = host[:at] + dice.choice("abclostevil.127:0[]@/\\#?% -_x") + host[at:]
            answer = await client.get("/v1/models", headers={"host": host.strip()})
            if answer.status_code == 200:
                assert OURS.fullmatch(host.strip()), host
            else:
                assert answer.status_code in (400, 403)


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
    b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\ncontent-length: 2\r\n\r\n{}",
    b"POST http://evil.example/v1/messages HTTP/1.1\r\nhost: evil.example\r\ncontent-length: 2\r\n\r\n{}",
    b"POST /v1/messages HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}",
    b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\nx: a\nb\r\n\r\n{}",
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


def test_a_body_that_unpacks_to_much_more_is_refused() -> None:
    bomb = gzip.compress(b'{"model": "auto", "x": "' + b"a" * 100_000_000)
    with ScriptedProvider("hello") as provider, Served([provider.target(model="m", tier="mid")]) as gateway:
        sent = {"content-encoding": "gzip"}
        answer = httpx.post(gateway.url + "/v1/chat/completions", content=bomb, headers=sent, timeout=30)
    assert len(bomb) < 200_000
    assert answer.status_code == 413


def test_each_of_two_requests_in_a_row_is_asked_for_its_key() -> None:
    settings = GatewaySettings(port=0, keys=(ClientKey("alice", hash_key("ar-1")),))
    first = b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nx-api-key: ar-1\r\n\r\n"
    second = b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    found = b""
    with (
        ScriptedProvider("hello") as provider,
        Served([provider.target(model="m", tier="mid")], settings) as gateway,
        socket.create_connection(("127.0.0.1", gateway.port)) as client,
    ):
        client.sendall(first + second)
        client.settimeout(5)
        while piece := client.recv(65536):
            found += piece
    assert re.findall(rb"HTTP/1.1 [0-9]{3}", found) == [b"HTTP/1.1 200", b"HTTP/1.1 401"]


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
