"""Who may come in: keys, rates, places, budgets, and strangers where there are no keys."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from agentroute import ConfigError, Price, Target
from agentroute.gateway import ClientKey, GatewaySettings
from agentroute.gateway.gate import Gate
from agentroute.gateway.headers import read_headers
from agentroute.gateway.refusals import Refused
from agentroute.gateway.settings import hash_key
from agentroute.targets import Tier
from agentroute.testing import Fault, FrozenClock, ScriptedProvider

from .doors import Client

KEY = "ar-test-key-of-a-client"
CLIENT = ClientKey("alice", hash_key(KEY))
SENT = {
    "openai_chat": {"authorization": f"Bearer {KEY}"},
    "openai_responses": {"authorization": f"Bearer {KEY}"},
    "anthropic_messages": {"x-api-key": KEY},
    "gemini": {"x-goog-api-key": KEY},
}


async def test_each_dialect_s_way_to_send_a_key(opened: Any, door: Client) -> None:
    with ScriptedProvider("hello") as provider:
        client = await opened([provider.target(model="m", tier="mid")], GatewaySettings(keys=(CLIENT,)))
        none = await client.post(door.path(), json=door.body())
        wrong = await client.post(door.path(), json=door.body(), headers={"x-api-key": "ar-wrong"})
        right = await client.post(door.path(), json=door.body(), headers=SENT[door.dialect])
    assert (none.status_code, wrong.status_code, right.status_code) == (401, 401, 200)
    assert KEY not in none.text + wrong.text
    (request,) = provider.requests
    assert KEY not in str(request.headers)


ROUTES = [
    ("POST", "/v1/chat/completions"),
    ("POST", "/chat/completions"),
    ("POST", "/v1/messages"),
    ("POST", "/v1/messages/count_tokens"),
    ("POST", "/v1/responses"),
    ("GET", "/v1/responses"),
    ("POST", "/v1beta/models/auto:generateContent"),
    ("POST", "/models/auto:streamGenerateContent"),
    ("POST", "/v1beta/models/auto:countTokens"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/m"),
    ("GET", "/v1beta/models"),
    ("GET", "/v1/decisions/x"),
    ("POST", "/v1/decisions/x/outcome"),
    ("GET", "/metrics"),
    ("GET", "/"),
    ("GET", "/unknown"),
    ("PUT", "/unknown"),
    ("GET", "/v1/../metrics"),
    ("GET", "//metrics"),
    ("GET", "/metrics/"),
    ("POST", "/V1/MESSAGES"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer "},
        {"authorization": "Basic " + KEY},
        {"authorization": KEY},
        {"x-api-key": hash_key(KEY)},
        {"x-api-key": KEY[:-1]},
        {"x-api-key": "alice"},
        {"host": "localhost"},
        {"x-forwarded-for": "127.0.0.1"},
    ],
    ids=str,
)
async def test_no_route_opens_without_a_key(opened: Any, method: str, path: str, headers: dict[str, str]) -> None:
    with ScriptedProvider("hello") as provider:
        client = await opened([provider.target(model="m", tier="mid")], GatewaySettings(keys=(CLIENT,)))
        answer = await client.request(method, path, json={}, headers=headers)
    assert answer.status_code in (401, 307)
    assert answer.status_code == 401 or answer.headers["location"].endswith(path.rstrip("/"))


async def test_health_is_open(opened: Any) -> None:
    with ScriptedProvider("hello") as provider:
        client = await opened([provider.target(model="m", tier="mid")], GatewaySettings(keys=(CLIENT,)))
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/readyz")).json() == {"ready": True}


async def test_without_keys_no_web_page_may_ask(opened: Any) -> None:
    with ScriptedProvider("hello") as provider:
        client = await opened([provider.target(model="m", tier="mid")])
        rebound = await client.get("/v1/models", headers={"host": "evil.example:4180"})
        page = await client.get("/v1/models", headers={"origin": "https://evil.example"})
        plain = await client.get("/v1/models")
    assert (rebound.status_code, page.status_code, plain.status_code) == (403, 403, 200)


async def test_cors_is_off_unless_set(opened: Any) -> None:
    page = {"origin": "https://app.example"}
    with ScriptedProvider("hello") as provider:
        targets = [provider.target(model="m", tier="mid")]
        closed = await (await opened(targets)).get("/v1/models", headers=page)
        client = await opened(targets, GatewaySettings(cors_origins=("https://app.example",)))
        open_ = await client.get("/v1/models", headers=page)
    assert "access-control-allow-origin" not in closed.headers
    assert open_.headers["access-control-allow-origin"] == "https://app.example"


ODD_HOSTS = (
    "", "[::1", "a b", "127.0.0.1@evil.example", "evil.example#@127.0.0.1", "evil.example\\@127.0.0.1",
    "localhost, evil", "localhost/evil", "localhost:port", "localhost:", ":4180", "lo\x00calhost", "localhost?x", "http://localhost",
)  # fmt: skip


@pytest.mark.parametrize("host", [*ODD_HOSTS, None])
def test_a_host_that_cannot_be_read_is_refused(host: str | None) -> None:
    with pytest.raises(Refused, match="cannot be read"):
        Gate(GatewaySettings()).admit(None, {} if host is None else {"host": host})


@pytest.mark.parametrize("host", ["0.0.0.0", "127.1", "2130706433", "0x7f000001", "localhost.evil.example", "a.b:80"])
def test_a_host_that_is_another_name_is_a_stranger_s(host: str) -> None:
    with pytest.raises(Refused, match="is not called"):
        Gate(GatewaySettings()).admit(None, {"host": host})


@pytest.mark.parametrize(
    "host", ["localhost", "LocalHost:4180", "127.0.0.1", "127.9.9.9:1", "[::1]:4180", "x.localhost"]
)
def test_a_host_of_this_machine_s_is_let_in(host: str) -> None:
    assert Gate(GatewaySettings()).admit(None, {"host": host}).key is None


def test_a_header_that_comes_twice_is_a_list() -> None:
    raw = [(b"host", b"localhost"), (b"anthropic-beta", b"a"), (b"host", b"evil"), (b"anthropic-beta", b"b")]
    assert read_headers(raw) == {"host": "localhost, evil", "anthropic-beta": "a, b"}


@pytest.mark.parametrize(
    ("method", "path", "use"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("GET", "/v1/messages", "POST"),
        ("PUT", "/v1/responses", "POST"),
        ("GET", "/v1/responses", "POST"),
        ("GET", "/v1/messages/count_tokens", "POST"),
        ("DELETE", "/v1beta/models/auto:generateContent", "POST"),
        ("POST", "/v1/models", "GET"),
        ("POST", "/v1/decisions/x", "GET"),
        ("POST", "/metrics", "GET"),
        ("POST", "/healthz", "GET"),
    ],
)
async def test_another_method_is_told_which_to_use(opened: Any, method: str, path: str, use: str) -> None:
    with ScriptedProvider("hello") as provider:
        client = await opened([provider.target(model="m", tier="mid")])
        answer = await client.request(method, path)
    assert answer.status_code == 405
    assert f"{use} to it" in answer.json()["error"]["message"]
    assert use in answer.headers["allow"]


async def test_metrics_are_for_keys_that_may_see_them(opened: Any) -> None:
    keys = (CLIENT, ClientKey("prometheus", hash_key("ar-metrics"), metrics=True))
    with ScriptedProvider("hello") as provider:
        client = await opened([provider.target(model="m", tier="mid")], GatewaySettings(keys=keys))
        others = await client.get("/metrics", headers={"authorization": f"Bearer {KEY}"})
        own = await client.get("/metrics", headers={"authorization": "Bearer ar-metrics"})
        alone = await (await opened([provider.target(model="m", tier="mid")])).get("/metrics")
    assert (others.status_code, own.status_code, alone.status_code) == (403, 200, 200)
    assert "metrics = true" in others.json()["error"]["message"]
    assert "agentroute_steps_total" in own.text


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "gateway.example"])
def test_another_bind_without_keys_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="no client key"):
        GatewaySettings(host=host)
    assert GatewaySettings(host=host, keys=(CLIENT,)).host == host


def test_a_key_is_in_no_repr() -> None:
    assert hash_key(KEY) not in repr(GatewaySettings(keys=(CLIENT,)))


async def test_a_key_s_bounds(opened: Any, door: Client) -> None:
    bound = replace(CLIENT, strategies=("cheapest",), max_tier=Tier.MID)
    sent = SENT[door.dialect]
    with ScriptedProvider("hello") as provider:
        targets = [provider.target(model="m", tier="mid"), provider.target(model="p", tier="premium")]
        client = await opened(targets, GatewaySettings(keys=(bound,)))
        plain = await client.post(door.path(), json=door.body(), headers=sent)
        best = await client.post(door.path(), json=door.body(), headers={**sent, "x-agentroute-strategy": "best"})
        pinned = await client.post(door.path(model="p"), json=door.body(model="p"), headers=sent)
        wider = await client.post(door.path(), json=door.body(), headers={**sent, "x-agentroute-max-tier": "premium"})
    assert plain.headers["x-agentroute-target"] == "m"
    assert plain.headers["x-agentroute-strategy"] == "cheapest"
    assert best.status_code == 400
    assert pinned.status_code == 400
    assert wider.headers["x-agentroute-target"] == "m"


def test_a_rate_is_counted_in_any_minute() -> None:
    clock = FrozenClock()
    gate = Gate(GatewaySettings(keys=(replace(CLIENT, rate_per_minute=2),)), monotonic=clock.monotonic)
    gate.admit(KEY, {})
    clock.advance(30)
    gate.admit(KEY, {})
    with pytest.raises(Refused) as refused:
        gate.admit(KEY, {})
    assert (refused.value.status, refused.value.retry_after) == (429, 30)
    clock.advance(30)
    gate.admit(KEY, {})
    with pytest.raises(Refused):
        gate.admit(KEY, {})


def test_places_are_given_back() -> None:
    gate = Gate(GatewaySettings(keys=(replace(CLIENT, concurrency=1),)))
    first = gate.admit(KEY, {})
    with pytest.raises(Refused):
        gate.admit(KEY, {})
    first.leave()
    first.leave()
    gate.admit(KEY, {})
    with pytest.raises(Refused):
        gate.admit(KEY, {})


def test_a_revoked_key_is_refused_at_once() -> None:
    gate = Gate(GatewaySettings(keys=(CLIENT,)))
    gate.admit(KEY, {})
    gate.reload(GatewaySettings(keys=(replace(CLIENT, sha256=hash_key("another")),)))
    with pytest.raises(Refused):
        gate.admit(KEY, {})


async def test_two_hundred_at_once_against_a_budget_for_ten(opened: Any) -> None:
    door = Client("openai_chat")
    with ScriptedProvider("hello", fault=Fault.slow(0.2)) as provider:
        price = Price(input=Decimal(100), output=Decimal(100))
        targets = [provider.target(model="m", tier="mid", price=price)]
        probe = await opened(targets)
        expected = Decimal((await probe.post(door.path(), json=door.body())).headers["x-agentroute-estimated-cost-usd"])
        before = len(provider.requests)
        poor = replace(CLIENT, daily_usd=expected * Decimal("10.5"))
        client = await opened(targets, GatewaySettings(keys=(poor,)))
        calls = [client.post(door.path(), json=door.body(), headers=SENT[door.dialect]) for _ in range(200)]
        answers = await asyncio.gather(*calls)
    served = [answer for answer in answers if answer.status_code == 200]
    assert len(served) == 10
    assert {answer.status_code for answer in answers} == {200, 403}
    assert len(provider.requests) - before == 10


async def test_keys_of_the_client_s_own(opened: Any, door: Client) -> None:
    with ScriptedProvider("hello", api_key="sk-of-the-client") as provider:
        target = replace(provider.target(model="m", tier="mid"), api_key="sk-of-the-gateway")
        own = {"x-agentroute-key-scripted": "sk-of-the-client"}
        closed = await opened([target])
        refused = await closed.post(door.path(), json=door.body(), headers=own)
        client = await opened([target], GatewaySettings(own_keys=True))
        served = await client.post(door.path(), json=door.body(), headers=own)
        without = await client.post(door.path(), json=door.body())
    assert refused.status_code == 403
    assert served.status_code == 200
    assert without.status_code == 400
    assert "sk-of" not in refused.text + served.text + without.text


async def test_a_key_of_the_client_s_own_goes_to_its_provider_s_address_alone(opened: Any, door: Client) -> None:
    """A target at another address is the operator's: nobody gave a key of `openai` for it."""
    with ScriptedProvider("hello") as provider:
        proxied = Target(
            name="proxied", provider="openai", model="m", tier="mid", base_url=provider.base_url, api_key="k"
        )
        client = await opened([proxied], GatewaySettings(own_keys=True))
        for name, status in (("openai", 403), ("opneai", 400)):
            own = {f"x-agentroute-key-{name}": "sk-of-the-client"}
            refused = await client.post(door.path(), json=door.body(), headers=own)
            assert refused.status_code == status
            assert "sk-of" not in refused.text
    assert not provider.requests
