"""Who may come in: keys, rates, places, budgets, and strangers where there are no keys."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agentroute import ConfigError, Limit, Price, Router, Target, Usage
from agentroute.config import load_gateway
from agentroute.gateway import ClientKey, GatewaySettings
from agentroute.gateway.gate import Gate
from agentroute.gateway.headers import read_headers
from agentroute.gateway.refusals import Refused
from agentroute.gateway.settings import hash_key
from agentroute.targets import Tier
from agentroute.testing import Fault, FrozenClock, ScriptedProvider, ScriptedReply

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
    ("POST", "/v1/models/auto:generateContent"),
    ("POST", "/v1alpha/models/auto:generateContent"),
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


PRICE = Price(input=Decimal(0), output=Decimal(100))
COST = Decimal("0.0115")
ANSWER = ScriptedReply("hello", usage=Usage(10, 115))
"""What is expected of "hello", too."""


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_two_hundred_at_once_against_a_budget_for_ten(opened: Any, stream: bool) -> None:
    door = Client("openai_chat")
    with ScriptedProvider(ANSWER, fault=Fault.slow(0.2)) as provider:
        poor = replace(CLIENT, budget=Limit(day=COST * Decimal("10.5")))
        targets = [provider.target(model="m", tier="mid", price=PRICE)]
        client = await opened(targets, GatewaySettings(keys=(poor,)))
        sent = {"json": door.body(stream=stream), "headers": SENT[door.dialect]}
        answers = await asyncio.gather(*(client.post(door.path(), **sent) for _ in range(200)))
        last = await client.post(door.path(), json=door.body(), headers=SENT[door.dialect])
    served = [answer for answer in answers if answer.status_code == 200]
    assert len(served) == len(provider.requests) == 10
    waiting = next(answer for answer in answers if answer.status_code == 429)
    assert (waiting.headers["retry-after"], waiting.headers["x-should-retry"]) == ("2", "false")
    assert {answer.status_code for answer in answers} <= {200, 429, 403}
    assert (last.status_code, last.json()["error"]["code"]) == (403, "budget_exceeded")
    assert "of $0.1208 spent" in last.json()["error"]["message"]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_a_key_s_budget_at_each_door(opened: Any, door: Client, stream: bool) -> None:
    other = ClientKey("bob", hash_key("ar-another-key-of-a-client"))
    clock = FrozenClock(datetime(2026, 11, 28, 12, tzinfo=UTC))
    with ScriptedProvider(ANSWER) as provider:
        poor = replace(CLIENT, budget=Limit(month=COST))
        targets = [provider.target(model="m", tier="mid", price=PRICE)]
        client = await opened(targets, GatewaySettings(keys=(poor, other)), clock=clock)

        async def status(key: str) -> int:
            sent = {name: value.replace(KEY, key) for name, value in SENT[door.dialect].items()}
            answer = await client.post(door.path(stream), json=door.body(stream=stream), headers=sent)
            return int(answer.status_code)

        assert [await status(KEY) for _ in range(2)] == [200, 403]
        clock.advance(2 * 24 * 3600)
        assert await status(KEY) == 403
        assert await status("ar-another-key-of-a-client") == 200
        clock.advance(24 * 3600)
        assert await status(KEY) == 200
        assert [d.context.key for d in client.gateway.router.ledger.decisions] == ["alice", "bob", "alice"]


async def test_a_key_s_budget_stands_beside_the_router_s(opened: Any) -> None:
    door = Client("openai_chat")
    with ScriptedProvider(ANSWER) as provider:
        rich = replace(CLIENT, budget=Limit(day=COST * 10, conversation=COST * 3))
        targets = [provider.target(model="m", tier="mid", price=PRICE)]
        client = await opened(targets, GatewaySettings(keys=(rich,)), budget={"day": COST * 5, "agent": COST * 4})
        said = []
        for number in range(7):
            headers = {**SENT[door.dialect], "x-agentroute-conversation": str(number // 4)}
            said.append((await client.post(door.path(), json=door.body(), headers=headers)).status_code)
    assert said == [200, 200, 200, 403, 200, 403, 403]


async def test_notices_are_named_in_a_header_and_counted(opened: Any, door: Client) -> None:
    def plan(request: Any) -> Fault | None:
        return Fault.error(503) if request.model == "a" else None

    with ScriptedProvider(ANSWER, fault=plan) as provider:
        dear = Price(input=Decimal(0), output=Decimal(200))
        targets = [
            provider.target(model="a", tier="mid", price=PRICE),
            provider.target(model="b", tier="mid", price=dear),
        ]
        client = await opened(targets, budget={"day": 1})
        fell = await client.post(door.path(), json=door.body())
        whole = await client.post(door.path(model="b"), json=door.body(model="b"))
        metrics = (await client.get("/metrics")).text
    assert fell.headers["x-agentroute-notices"] == "fallback"
    assert "x-agentroute-notices" not in whole.headers
    assert 'agentroute_notices_total{kind="fallback"} 1' in metrics


async def test_what_a_budget_refused_is_no_step(opened: Any, door: Client) -> None:
    with ScriptedProvider(ANSWER) as provider:
        client = await opened([provider.target(model="m", tier="mid", price=PRICE)], budget={"day": 0})
        assert (await client.post(door.path(), json=door.body())).status_code == 403
        metrics = (await client.get("/metrics")).text
    assert "agentroute_steps_total{" not in metrics
    assert "agentroute_steps_of_unknown_cost_total 0" in metrics
    assert 'agentroute_notices_total{kind="budget"} 1' in metrics


async def test_a_reload_keeps_what_was_spent(opened: Any) -> None:
    door = Client("openai_chat")
    with ScriptedProvider(ANSWER) as provider:
        targets = [provider.target(model="m", tier="mid", price=PRICE)]
        client = await opened(targets, GatewaySettings(keys=(replace(CLIENT, budget=Limit(day=COST)),)))
        gateway = client.gateway

        async def status() -> int:
            return int((await client.post(door.path(), json=door.body(), headers=SENT[door.dialect])).status_code)

        assert [await status(), await status()] == [200, 403]
        await gateway.reload(Router(targets, spending=gateway.router.spending), gateway.settings)
        assert await status() == 403
        await gateway.reload(None, GatewaySettings(keys=(replace(CLIENT, budget=Limit(day=COST * 2)),)))
        assert [await status(), await status()] == [200, 403]
        await gateway.router.aclose()


def test_a_key_s_budget_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "agentroute.toml"
    begin = '[[target]]\nprovider = "openai"\nmodel = "m"\ntier = "mid"\n[[gateway.key]]\nname = "a"\n'
    begin += f'sha256 = "{hash_key(KEY)}"\n'
    path.write_text(begin + "budget = { day = 5, month = 100.5 }\n")
    (key,) = GatewaySettings.of(load_gateway(path)).keys
    assert key.budget == Limit(day=Decimal(5), month=Decimal("100.5"))
    for wrong, said in (
        ("budget = { day = -1 }", r"gateway.key.1.budget.day: give USD, 0 or more"),
        ("budget = { daily = 1 }", r"unknown key 'gateway.key.1.budget.daily'"),
        ("budget = 'much'", r"gateway.key.1.budget: give a table"),
    ):
        path.write_text(begin + wrong + "\n")
        with pytest.raises(ConfigError, match=said):
            load_gateway(path)


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
