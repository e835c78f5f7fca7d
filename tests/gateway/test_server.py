"""On a real socket: clients that leave, slow bodies, keep-alives, draining, and a config that changes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from agentroute.gateway import GatewaySettings
from agentroute.gateway.settings import hash_key
from agentroute.testing import Fault, ScriptedProvider
from tests.loopback import HELLO, ROLE, SSE_HEAD, Loopback, chunk, event

from .doors import Client, events
from .served import Served


def patiently(found: Any, seconds: float = 5.0) -> bool:
    """Whether it becomes true before long."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found():
            return True
        time.sleep(0.02)
    return bool(found())


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_client_that_leaves_ends_the_call(door: Client, stream: bool) -> None:
    head = [SSE_HEAD + chunk(ROLE) + chunk(HELLO)] if stream else [b""]
    with Loopback([*head, "hang"]) as upstream, Served([upstream.target()]) as gateway:
        raw = json.dumps(door.body(stream=stream)).encode()
        with socket.create_connection(("127.0.0.1", gateway.port)) as client:
            head = f"POST {door.path(stream)} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(raw)}\r\n\r\n"
            client.sendall(head.encode() + raw)
            assert patiently(lambda: upstream.requests)
            if stream and door.dialect != "gemini":
                assert b"hello" in _read_until(client, b"hello")
        assert upstream.gone.wait(5)
        assert patiently(lambda: gateway.router.ledger.totals.steps == 1)  # type: ignore[attr-defined]
        (decision,) = gateway.router.ledger.decisions  # type: ignore[attr-defined]
        assert decision.outcome in ("cancelled", "abandoned", "interrupted")


def _read_until(client: socket.socket, wanted: bytes) -> bytes:
    client.settimeout(5)
    found = b""
    while wanted not in found:
        piece = client.recv(65536)
        if not piece:
            break
        found += piece
    return found


@pytest.mark.parametrize("early", [True, False], ids=["before the first content", "between events"])
def test_keep_alives_where_the_client_survives_them(door: Client, early: bool) -> None:
    rest = chunk(HELLO) + chunk(event(finish="stop") + b"data: [DONE]\n\n") + b"0\r\n\r\n"
    script = [SSE_HEAD + chunk(ROLE if early else HELLO), 0.6, rest]
    settings = GatewaySettings(port=0, hold_s=0.1, keep_alive_s=0.1)
    with Loopback(script) as upstream, Served([upstream.target()], settings) as gateway:
        answer = httpx.post(gateway.url + door.path(True), json=door.body(stream=True))
    comments = answer.content.count(b": keep-alive\n\n")
    assert "hello" in door.streamed(answer.content)
    if door.dialect == "gemini":
        assert comments == 0
    elif door.dialect == "openai_responses" and early:
        assert answer.content.startswith(b"event: response.created")
    else:
        assert comments >= 2


def test_a_body_that_comes_too_slowly_or_too_large() -> None:
    settings = GatewaySettings(port=0, body_s=0.3, max_body=1000)
    with ScriptedProvider("hello") as provider, Served([provider.target(model="m", tier="mid")], settings) as gateway:
        with socket.create_connection(("127.0.0.1", gateway.port)) as client:
            client.sendall(b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{")
            assert b"408" in _read_until(client, b"\r\n")
        large = httpx.post(gateway.url + "/v1/messages", content=b"x" * 5000)
        chunked = httpx.post(gateway.url + "/v1/messages", content=iter([b"x" * 600] * 5))
    assert (large.status_code, chunked.status_code) == (413, 413)
    assert large.json()["error"]["type"] == "request_too_large"


@pytest.mark.parametrize("place", ["headers", "address"])
def test_headers_that_are_too_large(place: str) -> None:
    filler = "x" * 100_000
    path, more = ("/v1/models", f"x-filler: {filler}\r\n") if place == "headers" else (f"/v1/models?a={filler}", "")
    with ScriptedProvider("hello") as provider, Served([provider.target(model="m", tier="mid")]) as gateway:
        with socket.create_connection(("127.0.0.1", gateway.port)) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n{more}\r\n".encode())
            status = _read_until(client, b"\r\n").split(b" ")[1]
        well = httpx.get(gateway.url + "/v1/models", headers={"x-filler": filler[:60_000]})
    assert status in (b"431", b"400")  # of an address that is too long the parser itself says 400
    assert well.status_code == 200


def test_headers_without_an_end_are_neither_kept_nor_waited_for() -> None:
    settings = GatewaySettings(port=0, body_s=0.3)
    head = b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\n"
    with ScriptedProvider("hello") as provider, Served([provider.target(model="m", tier="mid")], settings) as gateway:
        with socket.create_connection(("127.0.0.1", gateway.port)) as client:
            client.sendall(head + b"x-filler: " + b"x" * 70_000)
            assert b" 431 " in _read_until(client, b"\r\n")
        with socket.create_connection(("127.0.0.1", gateway.port)) as client:
            client.sendall(head)
            assert b" 408 " in _read_until(client, b"\r\n")
        with socket.create_connection(("127.0.0.1", gateway.port)) as client:
            assert _read_until(client, b"\r\n") == b""  # nothing was sent, nothing is answered: closed
        with socket.create_connection(("127.0.0.1", gateway.port)) as client:  # kept, and slow at the second request
            client.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert b'"ok"' in _read_until(client, b"}")
            client.sendall(head)
            assert b" 408 " in _read_until(client, b"\r\n")


def test_streams_are_drained_before_the_end() -> None:
    door = Client("openai_chat")
    with (
        ScriptedProvider("hello " * 20, fault=Fault.slow(1.0)) as provider,
        Served([provider.target(model="m", tier="mid")]) as gateway,
        httpx.stream("POST", gateway.url + door.path(True), json=door.body(stream=True)) as answer,
    ):
        gateway.server.should_exit = True
        raw = answer.read()
    assert door.streamed(raw) == "hello " * 20
    assert events(raw)


CONFIG = """
ledger = "ledger.db"
[[target]]
name = "{name}"
provider = "scripted"
model = "m"
tier = "mid"
base_url = "{url}"
api_key = "env:SCRIPTED_TEST_KEY"
[gateway]
port = 0
[[gateway.key]]
name = "alice"
sha256 = "{key}"
"""


@contextmanager
def command(config: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`agentroute serve` as a process, and its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "agentroute", "serve", *([str(config)] if config.name else []), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "serves on http://" in line, process.stderr.read() if process.stderr else ""
        yield process, line.split()[3]
    finally:
        process.terminate()
        process.communicate(timeout=15)


def test_a_config_that_changes_is_in_force_without_a_restart(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "agentroute.toml"
    monkeypatch.setenv("SCRIPTED_TEST_KEY", "scripted-key")
    with ScriptedProvider("hello") as provider:
        path.write_text(CONFIG.format(name="first", url=provider.base_url, key=hash_key("one")))
        with command(path) as (_, url):

            def ask(key: str) -> httpx.Response:
                body = Client("openai_chat").body()
                return httpx.post(url + "/v1/chat/completions", json=body, headers={"x-api-key": key})

            assert ask("one").headers["x-agentroute-target"] == "first"
            config = CONFIG.format(name="second", url=provider.base_url, key=hash_key("two"))
            for wrong in ("broken [", f'{config}providers = ["scritped"]\n', f'{config}[gateway.models]\nx = "y"\n'):
                path.write_text(wrong)
                time.sleep(0.7)
                assert ask("one").headers["x-agentroute-target"] == "first"
            path.write_text(CONFIG.format(name="second", url=provider.base_url, key=hash_key("two")))
            assert patiently(lambda: ask("one").status_code == 401, 3)
            assert ask("two").headers["x-agentroute-target"] == "second"


def test_the_demo_serves_in_seconds() -> None:
    with command(Path(), "--demo", "--port", "0") as (_, url):
        answer = httpx.post(url + "/v1/chat/completions", json=Client("openai_chat").body())
    assert "scripted" in answer.json()["choices"][0]["message"]["content"]


def test_without_keys_and_config_it_says_what_to_set(tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.endswith(("_KEY", "_TOKEN"))}
    environ |= {"PYTHONPATH": os.pathsep.join(sys.path), "AGENTROUTE_LEDGER": str(tmp_path / "l.db")}
    run = subprocess.run(
        [sys.executable, "-m", "agentroute", "serve"], env=environ, capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 1
    assert "OPENAI_API_KEY" in run.stderr
    assert "--demo" in run.stderr


def test_a_file_that_is_not_there_is_told_what_else_works(tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.endswith(("_KEY", "_TOKEN"))}
    environ |= {"PYTHONPATH": os.pathsep.join(sys.path), "AGENTROUTE_LEDGER": str(tmp_path / "l.db")}

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "agentroute", "serve", *arguments]
        ran = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, cwd=tmp_path)
        assert ran.returncode == 1
        return " ".join(f"{ran.stdout} {ran.stderr}".split())

    assert "there is no file 'gone.toml'" in (said := run("gone.toml"))
    assert "--demo" in said
    (tmp_path / "agentroute.toml").write_text("")
    assert "`agentroute serve agentroute.toml` serves it" in run()


def test_importing_agentroute_loads_no_server() -> None:
    code = "import agentroute, agentroute.cli, sys; print([n for n in ('starlette', 'uvicorn') if n in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert run.stdout.strip() == "[]"
