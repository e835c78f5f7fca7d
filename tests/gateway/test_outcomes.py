"""Outcomes over HTTP: what a client says of a step is kept, and nobody speaks of another client's steps."""

from __future__ import annotations

import hashlib
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from agentroute.gateway import GatewaySettings
from agentroute.gateway.settings import ClientKey
from agentroute.ledger import MemoryLedger
from agentroute.testing import ScriptedProvider
from tests.gateway.served import Served

BODY = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


def post(url: str, body: Any, key: str | None = None) -> tuple[int, dict[str, str], Any]:
    headers = {"content-type": "application/json"} | ({} if key is None else {"authorization": f"Bearer {key}"})
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, dict(answer.headers), json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), json.load(error)


@pytest.fixture(scope="module")
def provider() -> Any:
    with ScriptedProvider("hi", provider="openai") as provider:
        yield provider


def test_a_step_is_labelled_by_the_id_of_its_answer(provider: ScriptedProvider) -> None:
    with Served([provider.target(model="m", tier="mid")]) as gateway:
        _, headers, _ = post(f"{gateway.url}/v1/chat/completions", BODY)
        step = headers["x-agentroute-decision-id"]
        told = {"ok": False, "score": 0.25, "source": "person", "name": "thumb"}
        assert post(f"{gateway.url}/v1/decisions/{step}/outcome", told)[::2] == (200, {"noted": True})
        assert post(f"{gateway.url}/v1/decisions/of-yesterday/outcome", {"ok": True})[0] == 200
        ledger = gateway.router.ledger
        assert isinstance(ledger, MemoryLedger)
        first, second = ledger.labels
        assert (first.decision_id, first.ok, first.score, first.source, first.name) == (
            step,
            False,
            0.25,
            "person",
            "thumb",
        )
        assert second.decision_id == "of-yesterday"


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({}, "`ok`, `score` or both"),
        ({"ok": "yes"}, "ok is 'yes'"),
        ({"ok": True, "source": "me"}, "no source is named 'me'"),
        ({"ok": True, "okay": True}, "unknown key 'okay'"),
        ({"ok": True, "conversation_id": "c"}, "unknown key 'conversation_id'"),
    ],
)
def test_what_cannot_be_meant_is_a_400_that_names_it(provider: ScriptedProvider, body: Any, names: str) -> None:
    with Served([provider.target(model="m", tier="mid")]) as gateway:
        status, _, told = post(f"{gateway.url}/v1/decisions/x/outcome", body)
    assert status == 400
    assert names in told["error"]["message"]


def test_the_gateway_records_and_checks_through_its_router(provider: ScriptedProvider, tmp_path: Path) -> None:
    checks = {"structured": True}
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}
    target = provider.target(model="m", tier="mid")
    with Served([target], recording=tmp_path / "r", checks=checks) as gateway:
        status, headers, _ = post(f"{gateway.url}/v1/chat/completions", {**BODY, "response_format": form})
        assert status == 200
        ledger = gateway.router.ledger
        assert isinstance(ledger, MemoryLedger)
        (label,) = ledger.labels
        assert (label.decision_id, label.ok, label.name) == (headers["x-agentroute-decision-id"], False, "structured")
    (path,) = (tmp_path / "r").iterdir()
    (line,) = (json.loads(line) for line in path.read_bytes().splitlines())
    assert (line["id"], line["request"]["messages"][0]["content"]) == (label.decision_id, "hello")
    assert line["response"]["choices"][0]["message"]["content"] == "hi"


def test_a_key_speaks_of_its_own_steps_only(provider: ScriptedProvider) -> None:
    keys = tuple(ClientKey(name, hashlib.sha256(name.encode()).hexdigest()) for name in ("ann", "ben"))
    with Served([provider.target(model="m", tier="mid")], GatewaySettings(port=0, keys=keys)) as gateway:
        _, headers, _ = post(f"{gateway.url}/v1/chat/completions", BODY, "ann")
        url = f"{gateway.url}/v1/decisions/{headers['x-agentroute-decision-id']}/outcome"
        assert [post(url, {"ok": True}, key)[0] for key in ("ann", "ben", None)] == [200, 404, 401]
        assert post(f"{gateway.url}/v1/decisions/unknown/outcome", {"ok": True}, "ann")[0] == 404
        ledger = gateway.router.ledger
        assert isinstance(ledger, MemoryLedger)
        assert len(ledger.labels) == 1
