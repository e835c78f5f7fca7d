"""The router end to end: request, decision, call, response, record; sync and async, plain and streamed."""

from __future__ import annotations

import asyncio
import json
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from agentroute import (
    AgentRouteError,
    AllAttemptsFailed,
    AuthenticationFailed,
    Capabilities,
    ChatRequest,
    ChatResponse,
    ConfigError,
    Constraints,
    Decision,
    InvalidRequest,
    Message,
    NoCandidateError,
    Overloaded,
    Price,
    RequestError,
    Router,
    Secret,
    StepContext,
    StepKind,
    StreamInterrupted,
    Target,
    Text,
    Tier,
    ToolResult,
)
from agentroute.events import Finished
from agentroute.failover.breaker import Breakers
from agentroute.failover.effects import Done, Item, Try
from agentroute.ledger import MemoryLedger
from agentroute.messages import ToolChoice
from agentroute.routing.affinity import Affinity
from agentroute.targets import ABILITIES
from agentroute.testing import Fault, FrozenClock, ScriptedProvider, ScriptedReply, nth, tool_call

CHEAP = Price(Decimal("0.1"), Decimal("0.4"), cache_read=Decimal("0.01"))
DEAR = Price(Decimal(5), Decimal(25), cache_read=Decimal("0.5"))


def ask(text: str = "Who wrote it?", **body: Any) -> ChatRequest:
    return ChatRequest.from_openai({"messages": [{"role": "user", "content": text}], **body})


def pool(provider: ScriptedProvider) -> list[Target]:
    return [
        provider.target(name="small", model="small", tier="budget", price=CHEAP),
        provider.target(name="big", model="big", tier="premium", price=DEAR),
    ]


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider("It was Ada.") as server:
        yield server


def complete(router: Router, request: ChatRequest, **options: Any) -> ChatResponse:
    return router.complete(request, **options)


def acomplete(router: Router, request: ChatRequest, **options: Any) -> ChatResponse:
    async def run() -> ChatResponse:
        async with router:
            return await router.acomplete(request, **options)

    return asyncio.run(run())


def stream(router: Router, request: ChatRequest, **options: Any) -> ChatResponse:
    with router.stream(request, **options) as events:
        for _ in events:
            pass
    return events.response


def astream(router: Router, request: ChatRequest, **options: Any) -> ChatResponse:
    async def run() -> ChatResponse:
        async with router, router.astream(request, **options) as events:
            async for _ in events:
                pass
            return events.response

    return asyncio.run(run())


Way = Callable[..., ChatResponse]
WAYS = pytest.mark.parametrize("way", [complete, acomplete, stream, astream], ids=lambda way: way.__name__)


def decision_of(response: ChatResponse) -> Decision:
    assert response.decision is not None
    return response.decision


@WAYS
def test_an_answer_and_its_record(provider: ScriptedProvider, way: Way) -> None:
    with Router(targets=pool(provider)) as router:
        response = way(router, ask())
        decision = decision_of(response)
        assert response.text == "It was Ada."
        assert response.finish_reason == "stop"
        assert decision.outcome == "ok"
        assert decision.usage == response.usage
        assert decision.usage is not None
        assert decision.cost == router.pool[decision.target].price.cost(decision.usage)  # type: ignore[union-attr]
        assert decision.baseline_target == "big"
        assert decision.baseline_cost == DEAR.cost(decision.usage)
        assert decision.savings == decision.baseline_cost - decision.cost  # type: ignore[operator]
        assert [attempt.outcome for attempt in decision.attempts] == ["ok"]
        assert isinstance(router.ledger, MemoryLedger)
        assert router.ledger.decisions == (decision,)
        assert Decision.from_dict(json.loads(json.dumps(decision.to_dict()))) == decision


@WAYS
def test_fallback_before_the_first_content(way: Way) -> None:
    limited = nth(1, Fault.error(429), model="small")
    with ScriptedProvider("fine", fault=limited) as provider, Router(targets=pool(provider)) as router:
        decision = decision_of(way(router, ask("hello")))
    assert [(a.target, a.outcome, a.status) for a in decision.attempts] == [
        ("small", "failed", 429),
        ("big", "ok", None),
    ]
    assert (decision.target, decision.tier, decision.fallbacks) == ("big", Tier.PREMIUM, 1)


@WAYS
def test_nothing_answers(way: Way) -> None:
    with ScriptedProvider("", fault=Fault.error(503)) as provider, Router(targets=pool(provider)) as router:
        with pytest.raises(AllAttemptsFailed) as caught:
            way(router, ask())
        assert [attempt.target for attempt in caught.value.attempts] == ["small", "big", "big"]
        assert caught.value.decision is not None
        assert caught.value.decision.outcome == "failed"
        assert caught.value.decision.cost == 0
        assert router.ledger.decisions == (caught.value.decision,)  # type: ignore[attr-defined]


@WAYS
def test_a_wrong_request_comes_back_unchanged(way: Way) -> None:
    with ScriptedProvider("", fault=Fault.error(400)) as provider, Router(targets=pool(provider)) as router:
        with pytest.raises(InvalidRequest):
            way(router, ask())
        assert len(provider.requests) == 1


@pytest.mark.parametrize("way", [stream, astream], ids=lambda way: way.__name__)
def test_a_cut_after_content_is_an_error_with_the_part(way: Way) -> None:
    with ScriptedProvider("one two three four", fault=Fault.cut_after(2)) as provider:
        with Router(targets=pool(provider)) as router, pytest.raises(StreamInterrupted) as caught:
            way(router, ask())
        assert len(provider.requests) == 1
    partial = caught.value.partial
    assert partial is not None
    assert "one two three four".startswith(partial.text)
    assert partial.text
    assert partial.finish_reason is None
    assert decision_of(partial).outcome == "interrupted"


@WAYS
def test_a_deadline_holds_for_the_whole_call(way: Way) -> None:
    silent = Fault.stall(after_chunks=0)
    with (
        ScriptedProvider("late", fault=silent) as provider,
        Router(targets=pool(provider)) as router,
        pytest.raises(AllAttemptsFailed) as caught,
    ):
        way(router, ask(), constraints=Constraints(deadline_s=0.4))
    assert {attempt.error for attempt in caught.value.attempts} == {"ProviderTimeout"}
    assert caught.value.decision is not None
    assert caught.value.decision.outcome == "failed"


def test_an_abandoned_stream_leaves_a_record(provider: ScriptedProvider) -> None:
    with Router(targets=pool(provider)) as router:
        with router.stream(ask()) as events:
            next(iter(events))
        assert events.decision.outcome == "abandoned"
        assert [d.outcome for d in router.ledger.decisions] == ["abandoned"]  # type: ignore[attr-defined]


async def test_a_cancelled_call_leaves_a_record() -> None:
    with ScriptedProvider("late", fault=Fault.stall(after_chunks=0)) as provider:
        async with Router(targets=pool(provider)) as router:
            task = asyncio.create_task(router.acomplete(ask()))
            while not provider.requests:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert [d.outcome for d in router.ledger.decisions] == ["cancelled"]  # type: ignore[attr-defined]
        assert len(provider.requests) == 1


@WAYS
def test_a_sick_target_is_left_alone_and_the_record_says_so(way: Way) -> None:
    clock, breakers = FrozenClock(), Breakers(random=lambda: 0.0)
    limited = nth(1, Fault.error(429), model="small")
    with ScriptedProvider("fine", fault=limited) as provider:
        router = Router(targets=pool(provider), clock=clock, breakers=breakers)
        assert router.breakers is breakers
        first = decision_of(way(router, ask("hello")))
        assert [a.target for a in first.attempts] == ["small", "big"]
        clock.advance(2.0)
        second = decision_of(way(router, ask("hello")))
        assert [a.target for a in second.attempts] == ["big"]
        assert [(d.target, d.reason) for d in second.dropped] == [
            ("small", "circuit open: RateLimited 429, back in 3.0 s")
        ]
        other = Router(targets=router.pool, clock=clock, breakers=breakers)
        assert other.route(ask("hello")).target == "big", "routers that share them know of it too"
        clock.advance(3.0)
        assert [a.target for a in decision_of(way(router, ask("hello"))).attempts] == ["small"]
        router.close()


@WAYS
def test_a_pinned_target_is_called_however_sick(provider: ScriptedProvider, way: Way) -> None:
    with Router(targets=pool(provider)) as router:
        for _ in range(3):
            router.breakers.force(router.pool["small"], router.clock.monotonic()).failure(
                Overloaded("busy"), router.clock.monotonic()
            )
        assert router.route(ask("hello")).target == "big"
        decision = decision_of(way(router, ask("hello", model="small")))
        assert (decision.target, decision.warnings) == ("small", ("circuit_open: small",))
        assert router.route(ask("hello")).target == "small", "and its answer closes the circuit"


@WAYS
def test_filtered_content_goes_to_those_allowed_for_it(way: Way) -> None:
    filtered = nth(1, Fault.error(400, code="content_filter"), model="small")
    with ScriptedProvider("fine", fault=filtered) as provider, Router(targets=pool(provider)) as router:
        allowed = Constraints(target="small", content_filter_fallback=("big",))
        decision = decision_of(way(router, ask("hello"), constraints=allowed))
    assert [(a.target, a.error) for a in decision.attempts] == [("small", "ContentFiltered"), ("big", None)]


@WAYS
def test_the_baseline_with_several_keys_saves_and_loses_nothing(way: Way) -> None:
    with ScriptedProvider("fine", fault=nth(1, Fault.error(401))) as provider:
        keys = tuple(Secret(provider.api_key) for _ in range(2))
        target = provider.target(name="only", model="only", tier="premium", price=DEAR)
        target = replace(target, api_key=keys[0], spare_keys=keys[1:])
        with Router(targets=[target]) as router:
            decision = decision_of(way(router, ask("hello")))
    assert [(a.target, a.status) for a in decision.attempts] == [("only", 401), ("only", None)]
    assert decision.savings == 0
    assert provider.api_key not in repr(decision)


def test_a_stream_left_at_its_end_is_a_whole_answer(provider: ScriptedProvider) -> None:
    with Router(targets=pool(provider)) as router:
        with router.stream(ask()) as events:
            for event in events:
                if isinstance(event, Finished):
                    break
        assert (events.decision.outcome, events.response.text) == ("ok", "It was Ada.")
        assert events.decision.usage is not None


async def test_so_it_is_on_a_loop(provider: ScriptedProvider) -> None:
    async with Router(targets=pool(provider)) as router:
        async with router.astream(ask()) as events:
            async for event in events:
                if isinstance(event, Finished):
                    break
        assert (events.decision.outcome, events.response.text) == ("ok", "It was Ada.")


def test_route_writes_no_state_and_makes_no_call(provider: ScriptedProvider) -> None:
    with Router(targets=pool(provider)) as router:
        first, second = router.route(ask()), router.route(ask())
        assert (first.candidates, first.request_digest) == (second.candidates, second.request_digest)
        assert first.id != second.id
        assert first.outcome == "planned"
        assert first.savings is not None
        assert not provider.requests
        assert router.ledger.decisions == ()  # type: ignore[attr-defined]


def test_the_next_step_knows_what_is_warm() -> None:
    policy = {"role": "system", "content": "be precise. " * 800}
    user = {"role": "user", "content": "What is the weather in Lisbon?"}

    def script(request: ChatRequest) -> ScriptedReply:
        if request.messages[-1].tool_results:
            return ScriptedReply("21 degrees.")
        return ScriptedReply(tool_calls=(tool_call("weather", city="Lisbon"),))

    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    with ScriptedProvider(script) as provider:
        targets = [
            provider.target(name="small", model="small", tier="budget", price=CHEAP, cache_ttl_s=300),
            provider.target(name="big", model="big", tier="premium", price=DEAR, cache_ttl_s=300),
        ]
        clock = FrozenClock()
        with Router(targets=targets, clock=clock) as router:
            first = router.complete(ChatRequest.from_openai({"messages": [policy, user], "tools": tools}))
            call = first.tool_calls[0]
            loop = [
                policy,
                user,
                {
                    "role": "assistant",
                    "tool_calls": [
                        {
                            "id": call.id,
                            "type": "function",
                            "function": {"name": call.name, "arguments": call.arguments},
                        }
                    ],
                },
                {"role": "tool", "tool_call_id": call.id, "content": "21 C"},
            ]
            request = ChatRequest.from_openai({"messages": loop, "tools": tools})
            planned = router.route(request)
            warm = {candidate.target: candidate.cached_tokens for candidate in planned.candidates}
            served = decision_of(first).target
            assert warm[served] == first.usage.input_tokens  # type: ignore[union-attr]
            assert all(tokens == 0 for name, tokens in warm.items() if name != served)
            estimated = planned.estimated_usage.input_tokens
            assert estimated is not None
            real = decision_of(router.complete(request)).usage
            assert real is not None
            assert abs(estimated - real.input_tokens) <= 30  # type: ignore[operator]
            clock.advance(301)
            assert {c.cached_tokens for c in router.route(request).candidates} == {0}


def test_missing_usage_stays_unknown() -> None:
    with ScriptedProvider(lambda request: ScriptedReply("hi", usage=None)) as provider:
        unpriced = [provider.target(name="house", model="house", tier="budget")]
        with Router(targets=unpriced) as router:
            decision = decision_of(router.complete(ask()))
    assert decision.cost is None
    assert decision.savings is None
    assert decision.estimated_usage.input_tokens


def test_constraints_and_context_are_recorded(provider: ScriptedProvider) -> None:
    context = StepContext(conversation_id="c1", agent="coder", role="reviewer")
    with Router(targets=pool(provider)) as router:
        decision = decision_of(
            router.complete(ask("hello"), context=context, constraints=Constraints(target="big", strategy="best"))
        )
        assert (decision.target, decision.strategy, decision.context) == ("big", "best", context)
        assert router.route(ask(model="small")).target == "small"
        with pytest.raises(ConfigError, match="no target is named 'huge'"):
            router.route(ask(model="huge"))
        with pytest.raises(NoCandidateError, match=r"small: .*; big: "):
            router.route(ask(), constraints=Constraints(max_cost=1e-9))


@pytest.mark.parametrize(
    ("denied", "says"),
    [
        ("opnai", r"no provider is named 'opnai'; did you mean 'openai'\?"),
        ("OpenAI", r"no provider is named 'OpenAI'; did you mean 'openai'\?"),
        ("hose", r"no provider is named 'hose'; did you mean 'house'\?"),
        ("???", r"known are .*house.*openai"),
        ("house", None),
        ("deepseek", None),
    ],
)
def test_a_denied_provider_that_nobody_knows_is_named(denied: str, says: str | None) -> None:
    router = Router(
        targets=[
            Target(name="ours", provider="house", model="x", tier="mid"),
            Target(name="theirs", provider="openai", model="gpt-4.1-nano"),
        ]
    )
    constraints = Constraints(deny_providers=("openai", denied) if denied == "deepseek" else (denied,))
    if says is None:
        dropped = {one.target for one in router.route(ask(), constraints=constraints).dropped}
        assert dropped == {"ours" if denied == "house" else "theirs"}
        return
    with pytest.raises(ConfigError, match=says):
        router.route(ask(), constraints=constraints)


def test_the_prompt_is_not_in_the_record(provider: ScriptedProvider) -> None:
    with Router(targets=pool(provider)) as router:
        decision = decision_of(router.complete(ask("the canary sings at dawn")))
    assert "canary" not in json.dumps(decision.to_dict())
    assert "canary" not in repr(decision)


def test_a_ledger_that_fails_never_fails_the_call(provider: ScriptedProvider, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def append(self, decision: Decision) -> None:
            raise OSError("disk full")

    with Router(targets=pool(provider), ledger=Broken()) as router:
        assert router.complete(ask()).text == "It was Ada."
    assert "disk full" in caplog.text


def test_an_affinity_that_fails_never_fails_the_call(
    provider: ScriptedProvider, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Affinity):
        def __len__(self) -> int:
            return 0

        def record(self, *_: Any, **__: Any) -> None:
            raise OSError("shared store is down")

    with Router(targets=pool(provider), affinity=Broken()) as router:
        assert router.complete(ask()).text == "It was Ada."
        assert router.ledger.totals.steps == 1  # type: ignore[attr-defined]
    assert "shared store is down" in caplog.text


def test_the_baseline_serving_alone_saves_and_loses_nothing() -> None:
    with ScriptedProvider("It was Ada. " * 20, cache_from_tokens=10**9) as provider:
        price = Price(Decimal(5), Decimal(25), cache_read=Decimal("0.5"), cache_write=Decimal("6.25"))
        only = provider.target(name="only", model="only", tier="premium", price=price, cache_ttl_s=300)
        with Router(targets=[only]) as router:
            history: list[dict[str, Any]] = [{"role": "user", "content": "tell me more " * 600}]
            for _ in range(3):
                response = router.complete(ChatRequest.from_openai({"messages": history}))
                assert decision_of(response).savings == 0
                history += [{"role": "assistant", "content": response.text}, {"role": "user", "content": "more"}]


def test_a_call_runs_once(provider: ScriptedProvider) -> None:
    with Router(targets=pool(provider)) as router:
        call = router.prepare(ask())
        assert list(call.run())
        with pytest.raises(RuntimeError, match="has begun already"):
            list(call.run())
        assert len(provider.requests) == 1


async def test_a_close_that_fails_still_leaves_a_record(provider: ScriptedProvider) -> None:
    class Clumsy:
        async def perform(self, attempt: Try) -> AsyncIterator[Item | Done]:
            try:
                yield Item("a", is_content=True)
                yield Item("b", is_content=True)
            finally:
                raise RuntimeError("will not close")

    router = Router(targets=pool(provider))
    payloads = router.prepare(ask()).arun(Clumsy())
    assert await anext(payloads) == "a"
    with pytest.raises(RuntimeError, match="will not close"):
        await payloads.aclose()
    assert len(router.ledger.decisions) == 1  # type: ignore[attr-defined]


def test_a_record_holds_one_decision_before_it_and_no_more(provider: ScriptedProvider) -> None:
    with Router(targets=pool(provider)) as router:
        previous = None
        for _ in range(5):
            previous = router.route(ask(), context=StepContext(previous=previous))
        assert previous is not None
        before = previous.context.previous
        assert before is not None
        assert before.context.previous is None


def test_dominated_targets_are_named_when_the_pool_is_built(caplog: pytest.LogCaptureFixture) -> None:
    able = Capabilities(*[True] * len(ABILITIES))
    facts: dict[str, Any] = {"provider": "x", "capabilities": able, "context_window": 100_000}
    worse = Target(name="worse", model="a", tier="budget", price=Price(Decimal(2), Decimal(2)), **facts)
    better = Target(name="better", model="b", tier="mid", price=Price(Decimal(1), Decimal(1)), **facts)
    Router(targets=[worse, better])
    assert "'worse'" in caplog.text
    assert "'better'" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "options", "names"),
    [
        ((5,), {}, "`request` is a int; give a text, a list of messages or an OpenAI body"),
        (({"messages": []},), {}, "`messages` is empty"),
        (([],), {}, "`messages` is empty"),
        (([5],), {}, "`messages` holds a int; give a Message"),
        ((ChatRequest(messages=()),), {}, "`messages` is empty"),
        ((ask(),), {"context": {}}, "`context` is a dict; give a StepContext"),
    ],
)
def test_wrong_arguments_are_named(arguments: tuple[Any, ...], options: dict[str, Any], names: str) -> None:
    router = Router(targets=[Target(name="m", provider="x", model="x", tier="mid")])
    with pytest.raises(RequestError, match=names):
        router.route(*arguments, **options)


T = Text("hello")
HELLO = Message("user", (T,))


def asks(*parts: Any, role: Any = "user", **settings: Any) -> ChatRequest:
    return ChatRequest((Message(role, parts),), **settings)


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        (lambda: ChatRequest([{"role": "user"}]), r"`messages\[0\]` is a dict; give a Message; ChatRequest.of reads"),
        (lambda: ChatRequest("hi"), "`messages` is a str; give a tuple of Message; ChatRequest.of"),
        (lambda: asks(T, role="usr"), r"`messages\[0\].role` is 'usr'; use one of assistant"),
        (lambda: ChatRequest((Message("user", "hi"),)), r"`messages\[0\].parts` is a str; give a tuple of parts"),
        (lambda: asks("hi"), r"`messages\[0\].parts\[0\]` is a str; give a part"),
        (lambda: asks(T, Text(5)), r"`messages\[0\].parts\[1\].text` is a int; give a str"),
        (lambda: asks(ToolResult("c", "42"), role="tool"), r"parts\[0\].content` is a str; give a tuple"),
        (lambda: asks(ToolResult("c", (Text(4),)), role="tool"), r"content\[0\].text` is a int"),
        (lambda: asks(ToolResult("c", ({},)), role="tool"), r"content\[0\]` is a dict; give a Text"),
        (lambda: asks(T, sampling={}), "`sampling` is a dict; give a Sampling"),
        (lambda: asks(T, tools=({},)), r"`tools\[0\]` is a dict; give a Tool"),
        (lambda: asks(T, tool_choice="auto"), "`tool_choice` is a str; give a ToolChoice"),
        (lambda: asks(T, tool_choice=ToolChoice("any")), "`tool_choice.mode` is a str; use one"),
        (lambda: asks(T, response_schema={}), "`response_schema` is a dict"),
    ],
)
def test_a_wrong_value_in_a_canonical_object_is_named(wrong: Callable[[], ChatRequest], names: str) -> None:
    router = Router(targets=[Target(name="m", provider="x", model="x", tier="mid")])
    with pytest.raises(RequestError, match=names):
        router.route(wrong())


@pytest.mark.parametrize(
    "request_",
    ["hello", [{"role": "user", "content": "hello"}], {"messages": [{"role": "user", "content": "hello"}]}, [HELLO]],
    ids=["text", "dicts", "body", "messages"],
)
def test_what_a_person_has_is_a_request(provider: ScriptedProvider, request_: Any) -> None:
    with Router([provider.target(name="m", model="x", tier="mid"), "openai/gpt-4.1-nano"]) as router:
        assert router.route(request_, constraints={"tier": "mid"}).target == "m"
        assert router.complete(request_, constraints={"target": "x"}).text == "It was Ada."
        with router.stream(request_, constraints={"target": "m"}) as stream:
            assert list(stream)


@pytest.mark.parametrize(
    ("model", "target"),
    [("m", "m"), ("x-1", "m"), ("gpt-4.1-nano", "openai/gpt-4.1-nano"), ("openai/gpt-4.1-nano", "openai/gpt-4.1-nano")],
)
def test_a_bodys_model_pins_by_name_or_model(model: str, target: str) -> None:
    pool = [
        Target(name="m", provider="x", model="x-1", tier="mid", price={"input": 5, "output": 9}),
        "openai/gpt-4.1-nano",
    ]
    assert Router(pool).route({"model": model, "messages": [{"role": "user", "content": "hi"}]}).target == target


def test_a_name_goes_before_a_model() -> None:
    pool = [Target(name=name, provider="x", model=model, tier="mid") for name, model in (("a", "b"), ("b", "c"))]
    assert Router(pool).route("hi", constraints={"target": "b"}).target == "b"


def test_a_single_target_is_no_list_and_auto_is_no_name() -> None:
    only = Target(name="m", provider="x", model="x", tier="mid")
    with pytest.raises(ConfigError, match="give a list of targets"):
        Router(targets=only)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="named 'auto'"):
        Router(targets=[Target(name="auto", provider="x", model="x", tier="mid")])
    with pytest.raises(ConfigError, match="`name` is ''"):
        Target(name="", provider="x", model="x")


def test_a_missing_key_names_its_target(provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_THERE", raising=False)
    target = Target(name="m", provider="x", model="x", tier="mid", base_url=provider.base_url, api_key="env:NOT_THERE")
    with Router(targets=[target]) as router, pytest.raises(AuthenticationFailed, match=r"target 'm'.*NOT_THERE"):
        router.complete(ask())


@WAYS
def test_a_key_that_no_header_can_carry_is_in_no_frame(provider: ScriptedProvider, way: Way) -> None:
    key = Secret("sk-CANARY-7\n")
    target = Target(name="m", provider="x", model="x", tier="mid", base_url=provider.base_url, api_key=key)
    with Router(targets=[target]) as router, pytest.raises(ConfigError, match="target 'm': the key holds") as caught:
        way(router, ask())
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert "CANARY" not in "".join(shown.format())


def test_injected_time_and_ids(provider: ScriptedProvider) -> None:
    clock = FrozenClock()
    with Router(targets=pool(provider), clock=clock, new_id=lambda: "id-1") as router:
        decision = decision_of(router.complete(ask()))
    assert (decision.id, decision.created_at) == ("id-1", clock.now())


def test_threads_share_one_router(provider: ScriptedProvider) -> None:
    texts: list[str] = []
    with Router(targets=pool(provider)) as router:
        workers = [
            threading.Thread(target=lambda: texts.extend(router.complete(ask(f"q{i}")).text for i in range(5)))
            for _ in range(8)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert texts == ["It was Ada."] * 40
        assert router.ledger.totals.steps == 40  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("messages", "kind"),
    [
        ([{"role": "system", "content": "only rules"}], None),
        ([{"role": "tool", "tool_call_id": "ghost", "content": "orphan"}], StepKind.AFTER_RESULT),
        ([{"role": "user", "content": "\ud800 lone surrogate"}], StepKind.FIRST_ASK),
        (
            [
                {"role": "user", "content": "go"},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{not json"}}
                    ],
                },
                {"role": "tool", "tool_call_id": "a", "content": "x" * 1_000_000},
            ],
            StepKind.AFTER_RESULT,
        ),
        ([{"role": "user", "content": str(i)} for i in range(10_000)], StepKind.FIRST_ASK),
        ([{"role": "user", "content": "[" * 50_000 + "]" * 50_000}], StepKind.FIRST_ASK),
        ([{"role": "user", "content": ""}], StepKind.FIRST_ASK),
    ],
    ids=["only system", "orphan result", "surrogate", "1 MB result", "10,000 messages", "deep JSON", "empty ask"],
)
def test_odd_histories_are_routed(messages: list[dict[str, Any]], kind: StepKind | None) -> None:
    router = Router(targets=[Target(name="wide", provider="x", model="x", tier="mid", context_window=10_000_000)])
    decision = router.route(ChatRequest.from_openai({"messages": messages}))
    assert decision.target == "wide"
    assert kind is None or decision.step_kind is kind
    json.dumps(decision.to_dict())


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"messages": []}, "messages"),
        ({}, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "'wizard'"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "user", "content": 3}]}, "content"),
        ({"messages": [{"role": "user", "content": "x"}], "max_tokens": -1000}, "max_tokens.*-1000.*above 0"),
        (
            {"messages": [{"role": "user", "content": "x"}], "max_completion_tokens": 0},
            "max_completion_tokens.*above 0",
        ),
    ],
)
def test_malformed_requests_are_named(body: dict[str, Any], names: str) -> None:
    with pytest.raises(AgentRouteError, match=names):
        ChatRequest.from_openai(body)
