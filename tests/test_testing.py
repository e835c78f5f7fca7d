"""The doubles that users' suites rely on: what they promise, over real sockets."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from agentroute import Constraints, Router, Target, formats
from agentroute.decisions import Candidate, Decision, Dropped, StepContext, StepKind, Task
from agentroute.errors import AuthenticationFailed, RateLimited, RequestError
from agentroute.messages import ChatRequest, Usage
from agentroute.targets import Tier
from agentroute.testing import (
    Fault,
    FrozenClock,
    ScriptedProvider,
    ScriptedReply,
    assert_route,
    count_tokens,
    nth,
    tool_call,
)

TESTING_PAGE = Path(__file__).resolve().parent.parent / "docs" / "testing.md"
USER = {"role": "user", "content": "what is in the cart?"}
LOOKUP = ScriptedReply("Let me look.", (tool_call("read_cart", owner="Ada", limit=2),))


def ask(provider: ScriptedProvider, *messages: dict[str, Any], model: str = "m", key: str | None = None, **more: Any):
    return httpx.post(
        f"{provider.base_url}/chat/completions",
        json={"model": model, "messages": list(messages or (USER,)), **more},
        headers={"authorization": f"Bearer {key or provider.api_key}"},
        timeout=5,
    )


def chunks(body: str) -> Iterator[dict[str, Any]]:
    for line in body.splitlines():
        if line.startswith("data: ") and line != "data: [DONE]":
            yield json.loads(line[6:])


def test_a_plain_answer_has_openais_shape() -> None:
    with ScriptedProvider(LOOKUP) as provider:
        body = ask(provider).json()
    (choice,) = body["choices"]
    assert (body["object"], body["model"], choice["finish_reason"]) == ("chat.completion", "m", "tool_calls")
    assert choice["message"]["content"] == "Let me look."
    (call,) = choice["message"]["tool_calls"]
    assert call["type"] == "function"
    assert json.loads(call["function"]["arguments"]) == {"owner": "Ada", "limit": 2}
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + body["usage"]["completion_tokens"]


def test_a_stream_adds_up_to_the_plain_answer() -> None:
    with ScriptedProvider(LOOKUP, chunk_characters=5) as provider:
        plain = ask(provider).json()
        streamed = ask(provider, stream=True, stream_options={"include_usage": True})
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert streamed.text.endswith("data: [DONE]\n\n")
    *parts, last = chunks(streamed.text)
    deltas = [part["choices"][0]["delta"] for part in parts]
    assert "".join(delta.get("content") or "" for delta in deltas) == "Let me look."
    calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
    assert [calls[0]["id"], calls[0]["function"]["name"]] == [
        plain["choices"][0]["message"]["tool_calls"][0]["id"],
        "read_cart",
    ]
    assert "".join(call["function"]["arguments"] for call in calls) == LOOKUP.tool_calls[0].arguments
    assert parts[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == plain["usage"]["completion_tokens"]
    assert len(deltas) > 5


def test_a_stream_says_no_usage_unless_asked() -> None:
    with ScriptedProvider("hello") as provider:
        assert all("usage" not in chunk for chunk in chunks(ask(provider, stream=True).text))


def test_usage_is_counted_by_the_documented_rule_or_given() -> None:
    with ScriptedProvider(ScriptedReply("12345")) as provider:
        usage = ask(provider, {"role": "user", "content": "abcd"}).json()["usage"]
    assert usage["prompt_tokens"] == 4 + -(-len("role" + "user" + "content" + "abcd") // 4)
    assert usage["completion_tokens"] == 2
    with ScriptedProvider(ScriptedReply("x", usage=Usage(100, 7, cache_read_tokens=64))) as provider:
        given = ask(provider).json()["usage"]
    assert (given["prompt_tokens"], given["completion_tokens"]) == (100, 7)
    assert given["prompt_tokens_details"]["cached_tokens"] == 64


def test_images_count_without_their_data() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 4000}}
    assert count_tokens([{"type": "text", "text": "hi"}, picture]) == 85 + -(-len("typetexttexthi") // 4)


def test_the_cache_is_warm_for_a_served_prefix_of_the_same_model_only() -> None:
    later = [USER, {"role": "assistant", "content": "two shirts"}, {"role": "user", "content": "remove one"}]

    def cached(reply: httpx.Response) -> int:
        return reply.json()["usage"]["prompt_tokens_details"]["cached_tokens"]

    with ScriptedProvider("ok") as provider:
        first = ask(provider)
        second = ask(provider, *later)
        other_model = ask(provider, *later, model="other")
        other_tools = ask(provider, *later, tools=[{"type": "function", "function": {"name": "f"}}])
    assert (cached(first), cached(other_model), cached(other_tools)) == (0, 0, 0)
    assert cached(second) == first.json()["usage"]["prompt_tokens"]
    with ScriptedProvider("ok", cache_from_tokens=1000) as provider:
        ask(provider)
        assert cached(ask(provider, *later)) == 0


def test_a_provider_that_bills_cache_writes_reports_the_rest_of_the_prompt() -> None:
    with ScriptedProvider("ok", cache_writes=True) as provider:
        first, second = (ask(provider, *messages).json()["usage"] for messages in ([USER], [USER, USER]))
    assert first["prompt_tokens_details"]["cache_write_tokens"] == first["prompt_tokens"]
    assert second["prompt_tokens_details"]["cached_tokens"] == first["prompt_tokens"]
    assert second["prompt_tokens_details"]["cache_write_tokens"] == second["prompt_tokens"] - first["prompt_tokens"]


def test_call_ids_depend_on_the_conversation_and_not_on_the_model() -> None:
    with ScriptedProvider(LOOKUP) as provider:
        ids = [
            ask(provider, *messages, model=model).json()["choices"][0]["message"]["tool_calls"][0]["id"]
            for model, messages in (("a", [USER]), ("b", [USER]), ("a", [USER, USER]))
        ]
    assert ids[0] == ids[1] != ids[2]


def test_the_reply_may_depend_on_the_request() -> None:
    def shout(request: ChatRequest) -> str:
        return request.messages[-1].text.upper()

    with ScriptedProvider(shout) as provider:
        assert ask(provider).json()["choices"][0]["message"]["content"] == "WHAT IS IN THE CART?"


def test_requests_are_recorded_in_order_with_keys_masked() -> None:
    with ScriptedProvider("ok") as provider:
        ask(provider, model="a")
        ask(provider, model="b", stream=True)
        assert ask(provider, model="a", key="sk-wrong").status_code == 401
        seen = provider.requests
    assert [(r.index, r.model, r.nth, r.stream, r.key_arrived) for r in seen] == [
        (0, "a", 1, False, True),
        (1, "b", 1, True, True),
        (2, "a", 2, False, False),
    ]
    assert seen[0].body["messages"] == [USER]
    assert seen[0].headers["authorization"] == "***"
    assert provider.api_key not in repr(seen)
    assert "sk-wrong" not in repr(seen)


def test_unknown_models_paths_and_bodies_are_refused() -> None:
    with ScriptedProvider("ok", models=["known"]) as provider:
        assert ask(provider, model="known").status_code == 200
        missing = ask(provider, model="other")
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")
        assert httpx.post(f"{provider.base_url}/embeddings", json={}).status_code == 404
        assert ask(provider, model="known", messages=[]).status_code == 400
        for junk in (b"{", b"[]", b"\xff"):
            assert httpx.post(f"{provider.base_url}/chat/completions", content=junk).status_code == 400


@pytest.mark.parametrize("dialect", formats.DIALECTS)
class TestDialects:
    @pytest.mark.parametrize("stream", [False, True])
    def test_each_is_spoken_whole_and_in_pieces(self, dialect: str, stream: bool) -> None:
        with (
            ScriptedProvider(LOOKUP, chunk_characters=5, cache_from_tokens=1) as provider,
            Router(targets=[provider.target(model="m", tier="mid", dialect=dialect)]) as router,
        ):
            asked = ChatRequest.from_openai({"messages": [USER]})
            for _ in range(2):
                if stream:
                    with router.stream(asked) as answer:
                        list(answer)
                    response = answer.response
                else:
                    response = router.complete(asked)
        assert response.text == "Let me look."
        assert [(call.name, call.parsed()) for call in response.tool_calls] == [
            ("read_cart", {"owner": "Ada", "limit": 2})
        ]
        assert response.finish_reason == "tool_calls"
        assert response.usage is not None
        assert response.usage.cache_read_tokens == response.usage.input_tokens
        assert [(request.dialect, request.stream, request.model) for request in provider.requests] == [
            (dialect, stream, "m")
        ] * 2

    def test_a_wrong_key_and_an_error_are_told_in_it(self, dialect: str) -> None:
        with ScriptedProvider("hi", fault=nth(2, Fault.error(429, retry_after=7))) as provider:
            target = provider.target(model="m", tier="mid", dialect=dialect)
            stranger = Target(**{**_facts(target), "api_key": "another"})
            with Router(targets=[stranger]) as router, pytest.raises(AuthenticationFailed):
                router.complete(ChatRequest.from_openai({"messages": [USER]}))
            with Router(targets=[target], deadline_s=5) as router, pytest.raises(RateLimited) as caught:
                router.complete(ChatRequest.from_openai({"messages": [USER]}))
        assert caught.value.retry_after == 7
        assert "another" not in repr(provider.requests)


def _facts(target: Target) -> dict[str, Any]:
    return {name: getattr(target, name) for name in ("provider", "model", "tier", "base_url", "dialect")}


def test_the_official_clients_are_answered() -> None:
    import anthropic
    import openai

    with ScriptedProvider("hello you") as provider:
        root = provider.base_url.removesuffix("/v1")
        with anthropic.Anthropic(base_url=root, api_key=provider.api_key, max_retries=0) as client:
            asked: Any = {"model": "m", "max_tokens": 9, "messages": [USER]}
            assert client.messages.create(**asked).content[0].text == "hello you"
            with client.messages.stream(**asked) as stream:
                assert stream.get_final_message().content[0].text == "hello you"
        with openai.OpenAI(base_url=provider.base_url, api_key=provider.api_key, max_retries=0) as sdk:
            assert sdk.responses.create(model="m", input="hello").output_text == "hello you"
            with sdk.responses.stream(model="m", input="hello") as events:
                assert events.get_final_response().output_text == "hello you"


def test_a_target_carries_what_a_call_needs() -> None:
    with ScriptedProvider("ok", provider="openai") as provider:
        target = provider.target(model="gpt-4.1-nano", tier="budget")
        assert (target.name, target.provider, target.base_url, target.tier) == (
            "gpt-4.1-nano",
            "openai",
            provider.base_url,
            Tier.BUDGET,
        )
        assert target.api_key is not None
        assert target.api_key.reveal() == provider.api_key
    with pytest.raises(RuntimeError, match="with ScriptedProvider"):
        _ = ScriptedProvider("ok").base_url


def test_statuses_come_with_their_code_and_retry_after() -> None:
    with ScriptedProvider("ok", fault=nth(1, Fault.error(429, retry_after=1), model="a")) as provider:
        limited, other, again = (ask(provider, model=model) for model in "aba")
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "1")
    assert limited.json()["error"]["code"] == "rate_limit_exceeded"
    assert (other.status_code, again.status_code) == (200, 200)


@pytest.mark.parametrize(
    ("fault", "arrives"),
    [(Fault.cut_before_content(), 0), (Fault.cut_after(2), 2), (Fault.stall(after_chunks=1), 1)],
)
def test_a_broken_stream_brings_exactly_so_much(fault: Fault, arrives: int) -> None:
    received: list[str] = []

    def read(url: str, key: str) -> None:
        body = {"model": "m", "messages": [USER], "stream": True}
        headers = {"authorization": f"Bearer {key}"}
        with httpx.stream("POST", url, json=body, headers=headers, timeout=0.2) as response:
            received.extend(response.iter_lines())

    with (
        ScriptedProvider("a text of more than a few chunks", fault=fault, chunk_characters=4) as provider,
        pytest.raises(httpx.TransportError),
    ):
        read(f"{provider.base_url}/chat/completions", provider.api_key)
    pieces = [chunk["choices"][0]["delta"].get("content") for chunk in chunks("\n".join(received))]
    assert len([piece for piece in pieces if piece]) == arrives


@pytest.mark.parametrize("fault", [Fault.drop(), Fault.cut_before_content(), Fault.cut_after(1), Fault.stall()])
def test_a_broken_plain_answer_never_looks_whole(fault: Fault) -> None:
    with ScriptedProvider("ok", fault=fault) as provider, pytest.raises(httpx.TransportError):
        httpx.post(
            f"{provider.base_url}/chat/completions",
            json={"model": "m", "messages": [USER]},
            headers={"authorization": f"Bearer {provider.api_key}"},
            timeout=0.2,
        )


def test_a_drip_sends_comments_and_no_content() -> None:
    with (
        ScriptedProvider("ok", fault=Fault.drip(every_s=0.01)) as provider,
        httpx.stream(
            "POST",
            f"{provider.base_url}/chat/completions",
            json={"model": "m", "messages": [USER], "stream": True},
            headers={"authorization": f"Bearer {provider.api_key}"},
        ) as response,
    ):
        lines = [line for line, _ in zip(filter(None, response.iter_lines()), range(4), strict=False)]
    assert lines[1:] == [": keep-alive"] * 3
    assert not next(chunks(lines[0]))["choices"][0]["delta"]["content"]


def test_slow_and_raw_answers() -> None:
    plan: dict[int, Fault] = {0: Fault.slow(0.05), 1: Fault.raw(b"<html>", content_type="text/html", status=200)}
    with ScriptedProvider("ok", fault=lambda request: plan.get(request.index)) as provider:
        assert ask(provider, stream=True).text.endswith("data: [DONE]\n\n")
        assert ask(provider).text == "<html>"


def test_a_client_that_hangs_up_frees_the_connection() -> None:
    with ScriptedProvider("ok", fault=Fault.stall()) as provider:
        with (
            pytest.raises(httpx.ReadTimeout),
            httpx.Client(timeout=0.1) as client,
        ):
            client.post(
                f"{provider.base_url}/chat/completions",
                json={"model": "m", "messages": [USER]},
                headers={"authorization": f"Bearer {provider.api_key}"},
            )
        for _ in range(500):
            if not provider.open_connections:
                break
            time.sleep(0.01)
        assert provider.open_connections == 0


def test_leaving_ends_every_thread_and_refuses_connections() -> None:
    before = threading.active_count()
    with ScriptedProvider("ok", fault=nth(2, Fault.stall())) as provider, httpx.Client() as client:
        url = f"{provider.base_url}/chat/completions"
        headers = {"authorization": f"Bearer {provider.api_key}"}
        client.post(url, json={"model": "m", "messages": [USER]}, headers=headers)
        with pytest.raises(httpx.ReadTimeout):
            client.post(url, json={"model": "m", "messages": [USER]}, headers=headers, timeout=0.05)
        client.post(url, json={"model": "m", "messages": [USER]}, headers=headers)
        assert threading.active_count() > before
        provider.close()
        assert threading.active_count() == before
        with pytest.raises(httpx.ConnectError):
            httpx.post(url, json={})


@pytest.mark.parametrize("error", [KeyError("no such scene"), RequestError("no such scene")])
def test_what_a_script_raises_reaches_the_test(error: Exception) -> None:
    def broken(request: ChatRequest) -> str:
        raise error

    with pytest.raises(type(error), match="no such scene"), ScriptedProvider(broken) as provider:
        assert ask(provider).status_code == 500


def test_what_a_script_raises_does_not_hide_the_tests_own_failure() -> None:
    def broken(request: ChatRequest) -> str:
        raise KeyError("no such scene")

    def fail() -> None:
        with ScriptedProvider(broken) as provider:
            assert ask(provider).status_code == 200

    with pytest.raises(AssertionError) as caught:
        fail()
    assert any("no such scene" in note for note in caught.value.__notes__)


@pytest.mark.requires("langchain_openai")
@pytest.mark.parametrize("streaming", [False, True])
async def test_the_openai_sdk_takes_it_for_real(streaming: bool) -> None:
    from langchain_openai import ChatOpenAI

    with ScriptedProvider(LOOKUP) as provider:
        model = ChatOpenAI(
            model="gpt-4.1-nano", base_url=provider.base_url, api_key=provider.api_key, stream_usage=True, max_retries=0
        )
        if streaming:
            sync = model.stream("hi")
            message = next(sync)
            for chunk in sync:
                message = message + chunk
        else:
            message = await asyncio.to_thread(model.invoke, "hi")
        model.root_client.close()
        await model.root_async_client.close()
    assert message.text == "Let me look."
    assert [(call["name"], call["args"]) for call in message.tool_calls] == [
        ("read_cart", {"owner": "Ada", "limit": 2})
    ]
    assert message.usage_metadata is not None
    assert message.usage_metadata["output_tokens"] > 0
    assert message.response_metadata["finish_reason"] == "tool_calls"


async def test_the_frozen_clock_moves_only_when_told() -> None:
    clock = FrozenClock(datetime(2026, 3, 1, tzinfo=UTC))
    assert (clock.monotonic(), clock.now()) == (0.0, datetime(2026, 3, 1, tzinfo=UTC))
    clock.sleep(30)
    await clock.asleep(15)
    clock.advance(15)
    assert (clock.monotonic(), clock.now()) == (60.0, datetime(2026, 3, 1, 0, 1, tzinfo=UTC))
    assert clock.slept == [30, 15]
    with pytest.raises(ValueError, match="-1"):
        clock.advance(-1)
    with pytest.raises(ValueError, match="time zone"):
        FrozenClock(datetime(2026, 1, 1))


DECISION = Decision(
    id="d1",
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    policy_version="1",
    context=StepContext(),
    request_digest="0" * 16,
    request_chars=5,
    target="strong",
    tier=Tier.PREMIUM,
    task=Task.CODE_REPAIR,
    step_kind=StepKind.AFTER_ERROR,
    complexity="complex",
    strategy="balanced",
    sufficiency={"budget": 0.2, "mid": 0.4, "standard": 0.7, "premium": 0.9},
    confidence=0.6,
    reasons=("the last result is a failing test",),
    candidates=(
        Candidate("strong", Tier.PREMIUM, 0.9, Decimal("0.0123"), 812, 0.02, "its prefix is warm"),
        Candidate("other", Tier.STANDARD, 0.7, None, 0, None, "fallback"),
    ),
    dropped=(Dropped("small", "the conversation does not fit its context window"),),
    estimated_usage=Usage(1000, 100),
    expected_cost=Decimal("0.0123"),
    baseline_target="strong",
    baseline_cost=Decimal("0.0123"),
)


def test_a_decision_that_is_as_expected_passes() -> None:
    decision = assert_route(
        DECISION,
        target="strong",
        tier="premium",
        min_tier=Tier.STANDARD,
        max_tier="premium",
        step_kind="after_error",
        task=Task.CODE_REPAIR,
        because=["Failing test", "prefix is warm"],
        dropped={"small": "context window"},
    )
    assert decision is DECISION


@pytest.mark.parametrize(
    ("expected", "complaint"),
    [
        ({"target": "other"}, "target is 'strong', expected 'other'"),
        ({"tier": "mid"}, "tier is 'premium', expected 'mid'"),
        ({"max_tier": "standard"}, "tier is 'premium', expected at most 'standard'"),
        ({"step_kind": "first_ask"}, "step_kind is 'after_error', expected 'first_ask'"),
        ({"task": "chat"}, "task is 'code_repair', expected 'chat'"),
        ({"because": "greeting"}, "no reason says 'greeting'"),
        ({"dropped": "other"}, "'other' was not dropped"),
        ({"dropped": {"small": "vision"}}, "'small' was dropped for another reason than 'vision'"),
    ],
)
def test_a_failed_assertion_shows_what_is_wrong_and_the_whole_decision(
    expected: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(AssertionError) as caught:
        assert_route(DECISION, **expected)
    text = str(caught.value)
    assert complaint in text
    for fact in ("failing test", "about $0.012300", "812 cached", "price unknown", "context window", "budget 0.20"):
        assert fact in text


def test_a_lower_bound_can_fail_too() -> None:
    with pytest.raises(AssertionError, match="expected at least 'premium'"):
        assert_route(replace(DECISION, tier=Tier.MID), min_tier="premium")


@pytest.mark.parametrize("request_", ["hello!", {"messages": [{"role": "user", "content": "hello!"}]}])
def test_a_router_is_asked_and_nothing_is_sent(request_: Any) -> None:
    targets = [Target(name=name, provider="p", model=name, tier=name) for name in ("budget", "premium")]
    with Router(targets=targets) as router:
        assert_route(router, request_, step_kind="first_ask", max_tier="premium")
        assert_route(
            router,
            ChatRequest.from_openai({"messages": [USER]}),
            constraints=Constraints(max_tier="mid"),
            context=StepContext(agent="desk"),
            target="budget",
            dropped={"premium": "max_tier"},
        )
        with pytest.raises(AssertionError, match="expected 'nobody'"):
            assert_route(router, request_, target="nobody")
        with pytest.raises(TypeError, match="needs a request"):
            assert_route(router, target="budget")


@pytest.mark.parametrize(
    "snippet", re.findall(r"```python\n(.+?)```", TESTING_PAGE.read_text(encoding="utf-8"), re.DOTALL)
)
def test_the_documentation_runs_as_it_stands(snippet: str) -> None:
    names: dict[str, Any] = {}
    exec(snippet, names)
    for name in [name for name in names if name.startswith("test_")]:
        names[name]()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: assert_route(DECISION), "nothing to assert"),
        (lambda: assert_route(DECISION, "hi", tier="mid"), "give no request"),
    ],
)
def test_wrong_use_is_a_type_error(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()
