"""Every door over every dialect of upstream: the words, the usage, the headers, the tools that come back."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from agentroute import Price, StepKind
from agentroute.gateway import GatewaySettings
from agentroute.messages import ChatRequest
from agentroute.testing import ScriptedProvider, ScriptedReply, tool_call

from .doors import DIALECTS, Client, events

HEADERS = ("target", "tier", "task", "strategy", "attempts", "fallback", "decision-id")


@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_an_answer_reaches_its_client(opened: Any, door: Client, upstream: str, stream: bool) -> None:
    with ScriptedProvider("hello from the script") as provider:
        client = await opened([provider.target(model="m", tier="mid", dialect=upstream)])
        answer = await client.post(door.path(stream), json=door.body(stream=stream))
    assert answer.status_code == 200, answer.text
    if stream:
        assert door.streamed(answer.content) == "hello from the script"
        assert answer.headers["content-type"].startswith("text/event-stream")
        (figures,) = [_figures(door, data) for data in events(answer.content) if _figures(door, data)]
    else:
        assert door.text(answer.json()) == "hello from the script"
        figures = door.usage(answer.json())["agentroute"]
    for name in HEADERS:
        assert answer.headers[f"x-agentroute-{name}"]
    assert answer.headers["x-request-id"] == answer.headers["x-agentroute-decision-id"] == figures["decision_id"]
    assert answer.headers["x-agentroute-target"] == figures["target"] == "m"
    assert len(provider.requests) == 1


def _figures(door: Client, data: dict[str, Any]) -> dict[str, Any] | None:
    held = data.get("response") if door.dialect == "openai_responses" else data
    usage = (held or {}).get("usageMetadata" if door.dialect == "gemini" else "usage") or {}
    return usage.get("agentroute")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_the_headers_name_who_answered(opened: Any, door: Client, stream: bool) -> None:
    with ScriptedProvider("late", models={"good"}) as provider:
        targets = [
            provider.target(model="gone", tier="budget", price=Price(input=Decimal(1), output=Decimal(1))),
            provider.target(model="good", tier="premium", price=Price(input=Decimal(9), output=Decimal(9))),
        ]
        client = await opened(targets, strategy="cheapest")
        answer = await client.post(door.path(stream), json=door.body(stream=stream))
    assert answer.headers["x-agentroute-target"] == "good"
    assert answer.headers["x-agentroute-tier"] == "premium"
    assert answer.headers["x-agentroute-fallback"] == "true"
    assert answer.headers["x-agentroute-attempts"] == "2"


async def test_the_decision_is_kept_under_its_id(opened: Any, door: Client) -> None:
    with ScriptedProvider("hello") as provider:
        client = await opened([provider.target(model="m", tier="mid")])
        answer = await client.post(door.path(), json=door.body())
        name = answer.headers["x-agentroute-decision-id"]
        kept = await client.get(f"/v1/decisions/{name}")
        other = await client.get("/v1/decisions/nothing")
    assert kept.json()["outcome"] == "ok"
    assert kept.json()["target"] == "m"
    assert other.status_code == 404


@pytest.mark.parametrize(
    ("model", "strategy", "target"),
    [
        ("auto", "balanced", None),
        ("agentroute-auto", "balanced", None),
        ("auto:best", "best", "strong"),
        ("auto:cheapest", "cheapest", None),
        ("tier:premium", "balanced", "strong"),
        ("strong", "balanced", "strong"),
        ("strong-1", "balanced", "strong"),
        ("gpt-4o", "balanced", "strong"),
    ],
)
async def test_the_words_a_client_may_put_into_model(
    opened: Any, door: Client, model: str, strategy: str, target: str | None
) -> None:
    with ScriptedProvider("hello") as provider:
        targets = [
            provider.target(model="small-1", name="small", tier="budget"),
            provider.target(model="strong-1", name="strong", tier="premium"),
        ]
        client = await opened(targets, GatewaySettings(models={"gpt-4o": "strong"}))
        answer = await client.post(door.path(model=model), json=door.body(model=model))
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-agentroute-strategy"] == strategy
    if target is not None:
        assert answer.headers["x-agentroute-target"] == target


async def test_an_unknown_model_is_a_404_that_names_the_known_ones(opened: Any, door: Client) -> None:
    with ScriptedProvider("hello") as provider:
        client = await opened([provider.target(model="small-1", name="small", tier="budget")])
        answer = await client.post(door.path(model="gpt-9"), json=door.body(model="gpt-9"))
    assert answer.status_code == 404
    assert "small" in door.error(answer.json())["message"]
    assert answer.headers["x-should-retry"] == "false"
    assert not provider.requests


@pytest.mark.parametrize(
    ("model", "near"),
    [("auto:chepest", "auto:cheapest"), ("agentroute:bets", "agentroute:best"), ("tier:midd", "tier:mid")],
)
@pytest.mark.parametrize("names", [{}, {"*": "auto"}], ids=["no names", "any name"])
async def test_a_misspelt_strategy_or_tier_is_told_the_nearest(
    opened: Any, door: Client, model: str, near: str, names: dict[str, str]
) -> None:
    with ScriptedProvider("hello") as provider:
        client = await opened([provider.target(model="m", tier="mid")], GatewaySettings(models=names))
        answer = await client.post(door.path(model=model), json=door.body(model=model))
    assert answer.status_code == 404
    assert f"did you mean {near!r}" in door.error(answer.json())["message"]


async def test_hints_bind_one_request(opened: Any, door: Client) -> None:
    with ScriptedProvider("hello") as provider:
        targets = [provider.target(model="s", tier="budget"), provider.target(model="p", tier="premium")]
        client = await opened(targets, strategy="best")
        free = await client.post(door.path(), json=door.body())
        bound = await client.post(door.path(), json=door.body(), headers={"x-agentroute-max-tier": "budget"})
        wrong = await client.post(door.path(), json=door.body(), headers={"x-agentroute-max-tier": "huge"})
    assert free.headers["x-agentroute-target"] == "p"
    assert bound.headers["x-agentroute-target"] == "s"
    assert wrong.status_code == 400
    assert "huge" in door.error(wrong.json())["message"]


async def test_metadata_may_say_what_headers_say(opened: Any) -> None:
    said = {"agentroute_strategy": "best", "agentroute_conversation": "c1", "agentroute_role": "critic"}
    with ScriptedProvider("hello") as provider:
        client = await opened([provider.target(model="m", tier="mid")])
        body = Client("openai_chat").body(metadata=said)
        answer = await client.post("/v1/chat/completions", json=body)
        kept = (await client.get(f"/v1/decisions/{answer.headers['x-request-id']}")).json()
    assert kept["strategy"] == "best"
    assert kept["context"]["conversation_id"] == "c1"
    assert kept["context"]["role"] == "critic"


async def test_who_asks_is_read_from_the_client_s_headers(opened: Any) -> None:
    sent = {
        "user-agent": "claude-cli/2.1",
        "x-claude-code-session-id": "s1",
        "x-claude-code-agent-id": "a7",
        "anthropic-beta": "context-management-2025-06-27, effort-2025-11-24",
    }
    with ScriptedProvider("hello") as provider:
        client = await opened([provider.target(model="m", tier="mid", dialect="anthropic_messages")])
        body = Client("anthropic_messages").body(context_management={"edits": []})
        answer = await client.post("/v1/messages?beta=true", json=body, headers=sent)
        kept = (await client.get(f"/v1/decisions/{answer.headers['x-request-id']}")).json()
    assert kept["context"]["conversation_id"] == "s1/a7"
    assert kept["context"]["agent"] == "claude-code/subagent"
    (request,) = provider.requests
    assert request.headers["anthropic-beta"].split(",") == ["context-management-2025-06-27", "effort-2025-11-24"]
    assert request.body["context_management"] == {"edits": []}


@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_codex_gets_its_namespaced_and_freeform_calls_back(opened: Any, upstream: str, stream: bool) -> None:
    def reply(request: ChatRequest) -> ScriptedReply:
        names = [tool.name for tool in request.tools]
        spawn = next(name for name in names if "spawn" in name)
        free = next(name for name in names if "patch" in name)
        return ScriptedReply(tool_calls=(tool_call(spawn, task="x"), tool_call(free, input="*** Begin")))

    tools = [
        {
            "type": "namespace",
            "name": "multi_agent_v1",
            "description": "d",
            "tools": [{"type": "function", "name": "spawn_agent", "parameters": {"type": "object", "properties": {}}}],
        },
        {"type": "web_search"},
    ]
    late = {
        "type": "additional_tools",
        "role": "developer",
        "tools": [{"type": "custom", "name": "apply_patch", "description": "Free text.", "format": {"type": "text"}}],
    }
    body = {"model": "auto", "stream": stream, "tools": tools, "input": [late, {"role": "user", "content": "go"}]}
    with ScriptedProvider(reply) as provider:
        client = await opened([provider.target(model="m", tier="mid", dialect=upstream)])
        answer = await client.post("/v1/responses", json=body)
    assert answer.status_code == 200, answer.text
    response = events(answer.content)[-1]["response"] if stream else answer.json()
    spawned, patched = response["output"]
    assert (spawned["type"], spawned["namespace"], spawned["name"]) == (
        "function_call",
        "multi_agent_v1",
        "spawn_agent",
    )
    if upstream != "openai_responses":  # there the double cannot call a custom tool with anything but JSON
        assert (patched["type"], patched["name"], patched["input"]) == ("custom_tool_call", "apply_patch", "*** Begin")


@pytest.mark.parametrize(
    "more",
    [{"conversation": "c"}, {"prompt": {"id": "p"}}, {"background": True}, {"previous_response_id": "resp_gone"}],
    ids=lambda more: next(iter(more)),
)
async def test_what_only_a_provider_could_keep_is_refused_with_the_way_out(opened: Any, more: dict[str, Any]) -> None:
    with ScriptedProvider("hello") as provider:
        client = await opened([provider.target(model="m", tier="mid")])
        answer = await client.post("/v1/responses", json={"model": "auto", "input": "hi", **more})
    assert answer.status_code in (400, 404)
    assert next(iter(more)).split("_")[0] in answer.text
    assert "`input`" in answer.text or "leave it out" in answer.text
    assert not provider.requests


async def test_a_compaction_of_codex_is_one_item_that_comes_back(opened: Any) -> None:
    def reply(request: ChatRequest) -> str:
        return "SUMMARY" if "Summarise" in request.messages[-1].text else request.messages[0].text[-7:]

    asked = [{"role": "user", "content": "a long talk"}, {"type": "compaction_trigger"}]
    tools = [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}]
    with ScriptedProvider(reply) as provider:
        client = await opened([provider.target(model="m", tier="mid")])
        for stream in (False, True):
            body = {"model": "auto", "input": asked, "tools": tools, "stream": stream, "store": False}
            answer = await client.post("/v1/responses", json=body)
            response = events(answer.content)[-1]["response"] if stream else answer.json()
            (item,) = response["output"]
            assert item["type"] == "compaction"
        kept = (await client.get(f"/v1/decisions/{answer.headers['x-request-id']}")).json()
        after = await client.post(
            "/v1/responses", json={"model": "auto", "input": [item, {"role": "user", "content": "go"}]}
        )
    assert kept["step_kind"] == StepKind.SUMMARISE.value
    assert provider.requests[0].body["tool_choice"] == "none"
    assert after.json()["output"][0]["content"][0]["text"] == "SUMMARY"


@pytest.mark.parametrize("version", ["v1", "v1alpha", "v1beta"])
async def test_each_version_of_gemini_s_addresses(opened: Any, version: str) -> None:
    """google-genai 2 asks at v1beta, 3 at v1."""
    with ScriptedProvider("hello") as provider:
        client = await opened([provider.target(model="m", tier="mid")])
        answer = await client.post(f"/{version}/models/auto:generateContent", json=Client("gemini").body())
        wrong = await client.post(f"/{version}/models/auto:predict", json=Client("gemini").body())
    assert answer.json()["candidates"][0]["content"]["parts"][0]["text"] == "hello"
    assert (wrong.status_code, wrong.json()["error"]["status"]) == (404, "NOT_FOUND")


async def test_counting_tokens(opened: Any) -> None:
    with ScriptedProvider("hello") as provider:
        client = await opened([provider.target(model="m", tier="mid")])
        messages = await client.post("/v1/messages/count_tokens", json=Client("anthropic_messages").body("hi " * 400))
        gemini = await client.post("/v1beta/models/auto:countTokens", json=Client("gemini").body("hi " * 400))
    assert 200 < messages.json()["input_tokens"] < 900
    assert gemini.json()["totalTokens"] == messages.json()["input_tokens"]
    assert not provider.requests


async def test_models_are_listed_as_each_client_reads_them(opened: Any) -> None:
    with ScriptedProvider("hello") as provider:
        client = await opened([provider.target(model="m", tier="mid")])
        plain = (await client.get("/v1/models")).json()
        anthropic = (await client.get("/v1/models", headers={"anthropic-version": "2023-06-01"})).json()
        gemini = (await client.get("/v1beta/models")).json()
        one = await client.get("/v1/models/m")
        none = await client.get("/v1/models/nothing")
        gemini_one = await client.get("/v1beta/models/m")
        gemini_none = await client.get("/v1beta/models/nothing")
    ids = [model["id"] for model in plain["data"]]
    assert ids[0] == "auto"
    assert "m" in ids
    assert [model["id"] for model in anthropic["data"]] == ids
    assert [model["name"] for model in gemini["models"]] == [f"models/{name}" for name in ids]
    assert one.json()["id"] == "m"
    assert gemini_one.json()["name"] == "models/m"
    assert none.status_code == gemini_none.status_code == 404


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/batches", "/v1/files", "/v1/assistants", "/v1/audio/speech"])
async def test_what_is_not_served_says_what_to_use(opened: Any, path: str) -> None:
    with ScriptedProvider("hello") as provider:
        client = await opened([provider.target(model="m", tier="mid")])
        answer = await client.post(path, json={})
    assert answer.status_code == 404
    assert len(answer.json()["error"]["message"]) > 30


async def test_a_websocket_is_told_to_post(opened: Any) -> None:
    with ScriptedProvider("hello") as provider:
        client = await opened([provider.target(model="m", tier="mid")])
        answer = await client.get("/v1/responses", headers={"upgrade": "websocket", "connection": "upgrade"})
    assert answer.status_code == 426
