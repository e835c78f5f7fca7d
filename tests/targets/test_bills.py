"""Bills of every provider, worked out by hand from its list: usages as they are told, tiers, lifetimes, fees, dates."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from agentroute import ChatRequest, Price, Router, Target, Usage, formats
from agentroute.catalog import resolve
from agentroute.decisions import Decision
from agentroute.errors import ConfigError
from agentroute.providers import CostField
from agentroute.targets.prices import Fee, Modifier, PriceStep, bill
from agentroute.testing import FrozenClock, ScriptedProvider, ScriptedReply

THEN = datetime(2026, 11, 28, 12, tzinfo=UTC)
DECEMBER = datetime(2026, 12, 1, 12, tzinfo=UTC)


def chat(sent: int, written: int, details: dict[str, Any] | None = None, **beside: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": sent, "completion_tokens": written, "total_tokens": sent + written}
    if details:
        usage["prompt_tokens_details"] = details  # type: ignore[assignment]
    usage |= beside.pop("usage", {})
    choice = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
    return {"id": "c", "model": "m", "choices": [choice], "usage": usage, **beside}


def responses(sent: int, written: int, *tools: Any, written_to_cache: int = 0, **beside: Any) -> dict[str, Any]:
    said = {"type": "message", "id": "m1", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}
    usage = {"input_tokens": sent, "output_tokens": written}
    usage["input_tokens_details"] = {"cached_tokens": 0, "cache_write_tokens": written_to_cache}  # type: ignore[assignment]
    return {"id": "r", "model": "m", "status": "completed", "output": [*tools, said], "usage": usage, **beside}


def claude(sent: int, written: int, **usage: Any) -> dict[str, Any]:
    return {
        "id": "msg",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [{"type": "text", "text": "hi"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": sent, "output_tokens": written, **usage},
    }


def gemini(sent: int, spoken: int, *, queries: int = 0, **usage: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": [{"text": "hi"}], "role": "model"}, "finishReason": "STOP"}
    if queries:
        candidate["groundingMetadata"] = {"webSearchQueries": [f"query {n}" for n in range(queries)]}
    counts = {"promptTokenCount": sent, "candidatesTokenCount": spoken, **usage}
    return {"candidates": [candidate], "usageMetadata": counts}


SEARCH = {"type": "web_search_call", "id": "w", "status": "completed", "action": {"type": "search", "query": "q"}}
OPENED = {**SEARCH, "action": {"type": "open_page", "url": "https://example.org"}}
PYTHON = {"type": "code_interpreter_call", "id": "p", "status": "completed"}

HOUR = {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 1_000_000}
BOTH = {"ephemeral_5m_input_tokens": 2_000, "ephemeral_1h_input_tokens": 3_000}
COMPACTED = [
    {"type": "compaction", "input_tokens": 180_000, "output_tokens": 3_500},
    {"type": "message", "input_tokens": 23_000, "output_tokens": 1_000},
]
LOOP = [{"type": "message", "input_tokens": 60_000, "output_tokens": 1_000}] * 2
ADVISED = [
    {"type": "message", "input_tokens": 1_000, "output_tokens": 100},
    {"type": "advisor_message", "model": "claude-opus-5-5", "input_tokens": 5_000, "output_tokens": 100},
]

OPENAI: list[tuple[str, str, dict[str, Any], str | None]] = [
    # luna .10/.50, cached .01: 2,000 x .10 + 8,000 x .01 + 500 x .50
    ("cached", "openai/gpt-6-luna", chat(10_000, 500, {"cached_tokens": 8_000}), "0.00053"),
    # terra above 272k 2/7.50, cached .10, write 2.50: 50,000 x 2 + 200,000 x .10 + 50,000 x 2.50 + 1,000 x 7.50
    (
        "long, written",
        "openai/gpt-6.1-terra",
        chat(300_000, 1_000, {"cached_tokens": 200_000, "cache_write_tokens": 50_000}),
        "0.2525",
    ),
    # terra 1/5: 100,000 x 1 + 1,000 x 5, then half, twice
    ("list", "openai/gpt-6.1-terra", chat(100_000, 1_000), "0.105"),
    ("default", "openai/gpt-6.1-terra", chat(100_000, 1_000, service_tier="default"), "0.105"),
    ("flex", "openai/gpt-6.1-terra", chat(100_000, 1_000, service_tier="flex"), "0.0525"),
    ("priority", "openai/gpt-6.1-terra", chat(100_000, 1_000, service_tier="priority"), "0.21"),
    ("fast", "openai/gpt-6.1-terra", chat(100_000, 1_000, service_tier="fast"), "0.21"),
    ("unknown tier", "openai/gpt-6.1-terra", chat(100_000, 1_000, service_tier="scale"), None),
    ("5.4 flex", "openai/gpt-5.4", chat(100_000, 1_000, service_tier="flex"), "0.1325"),
    ("5.4 priority", "openai/gpt-5.4", chat(100_000, 1_000, service_tier="priority"), "0.53"),
    # 6.2-sol 2/10, half; astra 10/50, six times
    ("6.2 flex", "openai/gpt-6.2-sol", chat(10_000, 1_000, service_tier="flex"), "0.015"),
    ("ultrafast", "openai/gpt-6-astra", chat(1_000, 100, service_tier="ultrafast"), "0.09"),
]
RESPONSES: list[tuple[str, str, dict[str, Any], str | None]] = [
    # 2,000 x 1 + 8,000 x 2.50 + 100 x 5
    (
        "12 h",
        "openai/gpt-6.1-terra",
        responses(10_000, 100, written_to_cache=8_000, prompt_cache_options={"ttl": "12h"}),
        "0.0225",
    ),
    # the same at 1.25
    ("30 min", "openai/gpt-6.1-terra", responses(10_000, 100, written_to_cache=8_000), "0.0125"),
    # 1,000 x 1 + 100 x 5, two searches at .01; a page opened costs nothing
    ("searches", "openai/gpt-6.1-terra", responses(1_000, 100, SEARCH, OPENED, SEARCH), "0.0215"),
    ("container", "openai/gpt-6.1-terra", responses(1_000, 100, PYTHON), None),
    ("tier", "openai/gpt-6.1-terra", responses(100_000, 1_000, service_tier="flex"), "0.0525"),
]
CLAUDE: list[tuple[str, str, dict[str, Any], str | None]] = [
    # opus-5-5: 4/20, read .20, write 5 (5 min), 8 (1 h)
    ("1 h", "anthropic/claude-opus-5-5", claude(0, 0, cache_creation_input_tokens=1_000_000, cache_creation=HOUR), "8"),
    # 100 x 4 + 10,000 x .20 + 2,000 x 5 + 3,000 x 8 + 400 x 20
    (
        "both lives",
        "anthropic/claude-opus-5-5",
        claude(100, 400, cache_read_input_tokens=10_000, cache_creation_input_tokens=5_000, cache_creation=BOTH),
        "0.0444",
    ),
    # 203,000 x 4 + 4,500 x 20
    ("compaction", "anthropic/claude-opus-5-5", claude(23_000, 1_000, iterations=COMPACTED), "0.902"),
    # haiku-5-5 .10/.50 up to 100k: each request by itself; one of 120k costs .50/2.50
    ("two short", "anthropic/claude-haiku-5-5", claude(120_000, 2_000, iterations=LOOP), "0.013"),
    ("one long", "anthropic/claude-haiku-5-5", claude(120_000, 1_000), "0.0625"),
    ("adviser", "anthropic/claude-sonnet-5-5", claude(1_000, 100, iterations=ADVISED), None),
    # 1,000 x 4 + 100 x 20 = .006
    ("standard", "anthropic/claude-opus-5-5", claude(1_000, 100, service_tier="standard", speed="standard"), "0.006"),
    ("fast", "anthropic/claude-opus-5-5", claude(1_000, 100, speed="fast"), "0.012"),
    ("us", "anthropic/claude-opus-5-5", claude(1_000, 100, inference_geo="us"), "0.0066"),
    ("fast, us", "anthropic/claude-opus-5-5", claude(1_000, 100, speed="fast", inference_geo="us"), "0.0132"),
    ("batch", "anthropic/claude-opus-5-5", claude(1_000, 100, service_tier="batch"), "0.003"),
    ("committed", "anthropic/claude-opus-5-5", claude(1_000, 100, service_tier="priority"), None),
    (
        "searches",
        "anthropic/claude-opus-5-5",
        claude(1_000, 100, server_tool_use={"web_search_requests": 3, "web_fetch_requests": 2}),
        "0.036",
    ),
]
THOUGHT = gemini(10_000, 300, cachedContentTokenCount=4_000, thoughtsTokenCount=700)
GEMINI: list[tuple[str, str, dict[str, Any], str | None]] = [
    # argon 2/10, cached .10 (until 30 November): 6,000 x 2 + 4,000 x .10 + 1,000 x 10
    (
        "thoughts",
        "google/gemini-4-argon",
        gemini(10_000, 300, cachedContentTokenCount=4_000, thoughtsTokenCount=700),
        "0.0224",
    ),
    ("flex", "google/gemini-4-argon", gemini(10_000, 1_000, serviceTier="flex"), "0.015"),
    ("priority", "google/gemini-4-argon", gemini(10_000, 1_000, serviceTier="priority"), "0.054"),
    ("on demand", "google/gemini-4-argon", gemini(10_000, 1_000, trafficType="ON_DEMAND"), "0.03"),
    ("bought", "google/gemini-4-argon", gemini(10_000, 1_000, trafficType="PROVISIONED_THROUGHPUT"), None),
    # 2.5: 1,000 x .30 + 100 x 2.50, and .035 for the prompt; 3.8: 1,000 x .75 + 100 x 3.75, and .014 for each of 3
    ("grounded 2.5", "google/gemini-2.5-flash", gemini(1_000, 100, queries=3), "0.03555"),
    ("grounded 3.8", "google/gemini-3.8-flash", gemini(1_000, 100, queries=3), "0.043125"),
]
OTHERS: list[tuple[str, str, dict[str, Any], str | None]] = [
    # kimi-k3 3/15, cached .30: 127 x 3 + 29,440 x .30 + 10 x 15
    ("top level", "moonshot/kimi-k3", chat(29_567, 10, usage={"cached_tokens": 29_440}), "0.009363"),
    # the details say 0, the top level what was cached
    ("twice", "moonshot/kimi-k3", chat(29_567, 10, {"cached_tokens": 0}, usage={"cached_tokens": 29_440}), "0.009363"),
    # deepseek-flash off peak .15/.60, cached .003: 1,000 x .15 + 9,000 x .003 + 500 x .60
    ("hits", "deepseek/deepseek-flash", chat(10_000, 500, usage={"prompt_cache_hit_tokens": 9_000}), "0.000477"),
    # mistral-large-4 .70/2.10, cached .07: 5,000 x .70 + 5,000 x .07 + 1,000 x 2.10
    ("mistral", "mistral/mistral-large-4", chat(10_000, 1_000, {"cached_tokens": 5_000}), "0.00595"),
    # grok-4.6 2/6: 377,560,000 ticks of 1e-10
    ("ticks", "xai/grok-4.6", chat(1_000, 100, usage={"cost_in_usd_ticks": 377_560_000}), "0.037756"),
    ("credits", "openrouter/openrouter/auto", chat(10_000, 1_000, usage={"cost": 0.0031}), "0.0031"),
    # input .75 and 5 minutes of storage .041666666666666664 for each of 12,000
    (
        "stored",
        "openrouter/google/gemini-3.8-flash",
        chat(12_000, 0, {"cache_write_tokens": 12_000}),
        "0.009499999999999999968",
    ),
    # Claude through OpenRouter: 1 h writes at 2 x 4
    (
        "resold 1 h",
        "openrouter/anthropic/claude-opus-5.5",
        chat(1_000_000, 0, {"cache_write_tokens": 1_000_000}, usage={"cache_creation": HOUR}),
        "8",
    ),
    ("local", "ollama/qwen3:8b", chat(10_000, 1_000), "0"),
    ("absurd", "moonshot/kimi-k3", chat(10**18, 10), None),
]
ALL = [
    *[("openai_chat", *row) for row in OPENAI],
    *[("openai_responses", *row) for row in RESPONSES],
    *[("anthropic_messages", *row) for row in CLAUDE],
    *[("gemini", *row) for row in GEMINI],
    *[("openai_chat", *row) for row in OTHERS],
]


def billed(dialect: str, name: str, body: dict[str, Any], at: datetime = THEN, **facts: Any) -> Any:
    provider, _, model = name.partition("/")
    target = resolve(Target(provider=provider, model=model, tier="mid", **facts), timestamp=at)
    usage = formats.of(dialect).decode_response(json.loads(json.dumps(body)), cost=target.endpoint.cost).usage
    assert usage is not None
    return bill(target.price, usage)


def test_there_are_forty() -> None:
    assert len(ALL) >= 40


@pytest.mark.parametrize(
    ("dialect", "name", "body", "usd"), [row[:1] + row[2:] for row in ALL], ids=[f"{row[2]} {row[1]}" for row in ALL]
)
def test_the_bill(dialect: str, name: str, body: dict[str, Any], usd: str | None) -> None:
    found = billed(dialect, name, body)
    assert found.usd == (None if usd is None else Decimal(usd))
    assert bool(found.problem) == (usd is None)
    if usd is not None:
        assert found.source == ("provider" if name in ("xai/grok-4.6", "openrouter/openrouter/auto") else "list")


def test_the_day_and_the_hour_count() -> None:
    whole = gemini(10_000, 300, cachedContentTokenCount=4_000, thoughtsTokenCount=700)
    assert billed("gemini", "google/gemini-4-argon", whole, DECEMBER).usd == Decimal("0.0448")
    hits = chat(10_000, 500, usage={"prompt_cache_hit_tokens": 9_000})
    peak = datetime(2026, 11, 27, 2, tzinfo=UTC)
    assert billed("openai_chat", "deepseek/deepseek-flash", hits, peak).usd == Decimal("0.000954")


def test_an_address_in_a_region_costs_a_tenth_more() -> None:
    there = {"base_url": "https://eu.api.openai.com/v1"}
    assert billed("openai_chat", "openai/gpt-6.1-terra", chat(100_000, 1_000), **there).usd == Decimal("0.1155")
    flex = chat(100_000, 1_000, service_tier="flex")
    assert billed("openai_chat", "openai/gpt-6.1-terra", flex, **there).usd == Decimal("0.05775")
    own = {**there, "price": Price(Decimal(1), Decimal(5))}
    assert billed("openai_chat", "openai/gpt-6.1-terra", chat(100_000, 1_000), **own).usd == Decimal("0.105")


def streamed(dialect: str, *events: Any, cost: CostField | None = None) -> Usage | None:
    decoder = formats.of(dialect).StreamDecoder(cost=cost)
    for event in events:
        decoder.feed(json.dumps(event), event.get("type", "message"))
    return decoder.usage


COUNTED = {"prompt_tokens": 1_336, "completion_tokens": 31, "cached_tokens": 1_280}
ZEROS = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


@pytest.mark.parametrize(
    "chunk",
    [
        {"choices": [], "usage": COUNTED},
        {"choices": [{"index": 0, "delta": {}, "usage": COUNTED}]},
        {"choices": [{"index": 0, "delta": {"usage": COUNTED}}]},
        {"choices": [{"index": 1, "delta": {}, "usage": COUNTED}]},
        {"choices": [], "x_groq": {"id": "r", "usage": COUNTED}},
    ],
)
def test_a_count_is_found_where_it_stands_and_zeros_after_it_are_none(chunk: dict[str, Any]) -> None:
    wanted = Usage(1_336, 31, 1_280)
    assert streamed("openai_chat", chunk) == wanted
    assert streamed("openai_chat", chunk, {"choices": [], "usage": ZEROS}) == wanted
    assert streamed("openai_chat", chunk, {"choices": [], "usage": {**ZEROS, "completion_tokens": 40}}) == Usage(
        1_336, 40, 1_280
    )


def test_zeros_after_counts_in_the_other_dialects() -> None:
    start = {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 8_834, "output_tokens": 1}}}
    end = {"type": "message_delta", "delta": {}, "usage": {"input_tokens": 0, "output_tokens": 426}}
    assert streamed("anthropic_messages", start, end) == Usage(8_834, 426)
    warm = {"type": "message_delta", "delta": {}, "usage": {**end["usage"], "cache_read_input_tokens": 8_834}}  # type: ignore[dict-item]
    assert streamed("anthropic_messages", start, warm) == Usage(8_834, 426, 8_834)
    counted, empty = {"promptTokenCount": 9, "candidatesTokenCount": 4}, {"promptTokenCount": 0}
    assert streamed("gemini", {"usageMetadata": counted}, {"usageMetadata": empty}) == Usage(9, 4)


def test_the_last_bill_of_a_stream_holds() -> None:
    def chunk(cost: Any) -> dict[str, Any]:
        return {"choices": [], "usage": {**COUNTED, "cost": cost}}

    field = CostField("usage.cost")
    usage = streamed("openai_chat", chunk({"total_cost": 0}), chunk({"total_cost": 0.006}), cost=field)
    assert usage is not None
    assert usage.reported_cost == Decimal("0.006")
    for absurd in (float("nan"), float("inf"), -1, True, "much", 1e300, [1], None, {"total_cost": {}}):
        usage = streamed("openai_chat", chunk(absurd), cost=field)
        assert usage is not None
        assert usage.reported_cost is None


@pytest.mark.parametrize("count", [float("nan"), float("inf"), 10**18, 10**3000, -5, "7", True, 7.5, [7]])
def test_what_is_no_number_of_tokens_is_no_count(count: Any) -> None:
    usage = streamed("openai_chat", {"choices": [], "usage": {"prompt_tokens": count, "completion_tokens": 3}})
    assert usage == Usage(None, 3)
    assert Price(Decimal(1), Decimal(1)).cost(Usage(None, 3)) is None


def test_a_price_of_ones_own_may_name_tiers_and_fees() -> None:
    own = Price(
        Decimal(1),
        Decimal(4),
        modifiers=(Modifier("service_tier", "Flex", Decimal("0.5")), Modifier("region", "eu", Decimal("1.2"))),
        fees=(Fee("web_search", Decimal("0.01")),),
    )
    usage = Usage(1_000_000, 0, service_tier="flex", region="eu", server_tools=(("web_search", 2),))
    assert own.cost(usage) == Decimal("0.62")
    assert own.bill(Usage(1, 1, speed="fast")).problem == "speed 'fast' has no known price"
    with pytest.raises(ConfigError, match="`times` is 'x'"):
        Modifier("speed", "fast", "x")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="`kind` is 'mood'"):
        Modifier("mood", "fast")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="names no place"):
        CostField()


def ask(text: str = "hello there") -> ChatRequest:
    return ChatRequest.from_openai({"messages": [{"role": "user", "content": text}]})


def test_a_process_that_runs_for_weeks_bills_at_the_days_price(caplog: pytest.LogCaptureFixture) -> None:
    clock = FrozenClock(datetime(2026, 11, 30, 23, 59, tzinfo=UTC))
    router = Router(targets=[Target(provider="google", model="gemini-4-argon")], clock=clock)
    assert router.pool["gemini-4-argon"].price.output == 10  # type: ignore[union-attr]
    before = router.route(ask())
    clock.advance(60)
    with caplog.at_level(logging.WARNING, "agentroute"):
        after = router.route(ask())
        assert caplog.messages == []
        assert before.expected_cost is not None
        assert (after.expected_cost, after.baseline_cost) == (before.expected_cost * 2, before.expected_cost * 2)
        assert router.baseline is router.pool["gemini-4-argon"]
        clock.advance(30 * 86_400)
        router.route(ask())
        router.route(ask())
    assert len([text for text in caplog.messages if "the price list is" in text]) == 1


def test_a_count_that_cannot_be_right_is_recorded_and_not_believed() -> None:
    for n, wanted in ((2_000_000, "above its limit of 128,000"), (0, "counted 0"), (90_000, "were expected")):
        with ScriptedProvider(ScriptedReply("hello", usage=Usage(n, 2))) as provider:
            target = provider.target(
                model="small", tier="mid", context_window=128_000, price=Price(Decimal(1), Decimal(4))
            )
            with Router(targets=[target]) as router:
                decision = router.complete(ask()).decision
                assert decision is not None
                assert (decision.usage.input_tokens, decision.counted_input) == (n, None)  # type: ignore[union-attr]
                assert any(text.startswith("implausible_usage") and wanted in text for text in decision.warnings)
                again = Decision.from_dict(json.loads(json.dumps(decision.to_dict())))
                assert (again, again.counted_input) == (decision, None)
                follow = ask_more("hello there", "hello", "and now a second question")
                assert (router.route(follow).estimated_usage.input_tokens or 0) < 100


def ask_more(*texts: str) -> ChatRequest:
    roles = ("user", "assistant", "user")
    messages = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)]
    return ChatRequest.from_openai({"messages": messages})


def test_a_bill_in_a_header_is_read() -> None:
    from agentroute.failover.effects import Done, SystemClock, Timeouts, Try
    from agentroute.transport.exchange import Answer, Outgoing

    target = Target(provider="litellm", model="m", tier="mid", base_url="https://proxy.example.org/v1", api_key="sk-x")
    outgoing = Outgoing(Try(target, ask(), False, Timeouts()))
    for told, usd in (("0.00123", Decimal("0.00123")), ("nan", None), ("", None), ("-1", None)):
        headers = {"content-type": "application/json", "x-litellm-response-cost": told}
        answer = Answer(outgoing, 200, headers, SystemClock().now())
        list(answer.feed(json.dumps(chat(10, 1)).encode()))
        *_, done = answer.end()
        assert isinstance(done, Done)
        assert done.usage is not None
        assert done.usage.reported_cost == usd


@pytest.mark.parametrize(("written", "odd"), [(10_000_000, True), (40_001, True), (39_999, False), (2, False)])
def test_output_far_above_the_limit_is_recorded(written: int, odd: bool) -> None:
    with ScriptedProvider(ScriptedReply("hello", usage=Usage(9, written))) as provider:
        target = provider.target(model="small", tier="mid", max_output_tokens=20_000)
        with Router(targets=[target]) as router:
            decision = router.complete(ask()).decision
    assert decision is not None
    assert any(text.startswith("implausible_usage") for text in decision.warnings) == odd


@pytest.mark.parametrize(
    ("told", "usd"),
    [
        ({"cost": 0.01, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.4}}, "0.41"),
        ({"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": "0.4"}}, "0.4"),
        ({"cost": 0.01, "is_byok": True}, None),
        ({"cost": 0.01, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.4}}, "0.01"),
        ({"cost": 0.01, "cost_details": {"upstream_inference_cost": 0.01}}, "0.01"),
    ],
)
def test_a_bill_with_your_own_key_has_two_parts(told: dict[str, Any], usd: str | None) -> None:
    body = chat(10, 1)
    body["usage"] = {**body["usage"], **told}
    usage = formats.of("openai_chat").decode_response(body, cost=CostField("usage.cost")).usage
    assert usage is not None
    assert usage.reported_cost == (None if usd is None else Decimal(usd))


class TestPricesFromMappings:
    """As a program that keeps prices in JSON or TOML has them."""

    def test_what_stands_inside_may_be_mappings_too(self) -> None:
        price = Price.of(
            {
                "input": "1.25",
                "output": 10,
                "steps": [{"above_input_tokens": 200_000, "input": "2.5", "output": 15}],
                "fees": [{"tool": "web_search", "usd": "0.01"}],
                "modifiers": [{"kind": "service_tier", "word": "Flex", "times": "0.5"}],
                "until": DECEMBER,
            }
        )
        assert price.steps == (PriceStep(200_000, Decimal("2.5"), Decimal(15)),)
        assert price.fees == (Fee("web_search", Decimal("0.01")),)
        assert price.modifiers[0].word == "flex"
        used = Usage(300_000, 1_000, service_tier="flex", server_tools=(("web_search", 2),))
        assert price.cost(used) == (Decimal("0.75") + Decimal("0.015")) / 2 + Decimal("0.02")
        target = Target(name="a", provider="acme", model="m", tier="mid", base_url="http://localhost/v1", price=price)
        assert target.price is price

    @pytest.mark.parametrize(
        ("given", "says"),
        [
            ({"steps": [{"input": 2, "output": 8}]}, "price `steps` lacks `above_input_tokens`"),
            ({"steps": [{"above_input_tokens": 5, "output": 8}]}, "price `steps` lacks `input`; give USD per million"),
            ({"steps": [{"above": 5, "input": 2, "output": 8}]}, "price `steps` has the unknown key 'above'"),
            ({"steps": [5]}, "price `steps` is 5; give a PriceStep or a mapping"),
            ({"steps": {"above_input_tokens": 5}}, "give a list of PriceStep"),
            ({"steps": "x"}, "price `steps` is 'x'; give a list"),
            ({"steps": None}, "price `steps` is None; give a list"),
            ({"steps": [{"above_input_tokens": 2.5, "input": 2, "output": 8}]}, "`above_input_tokens` is 2.5"),
            ({"fees": [{"tool": "x"}]}, "price `fees` lacks `usd`"),
            ({"fees": [{"tool": 5, "usd": 1}]}, "fee `tool` is 5; give a text"),
            ({"fees": [{"tool": "x", "usd": "much"}]}, "fee `usd` is 'much'"),
            ({"fees": [("x", 1)]}, "give a Fee or a mapping"),
            ({"modifiers": [{"kind": "speed", "word": None}]}, "modifier `word` is None; give a text"),
            (
                {"modifiers": [{"kind": "speed", "word": "fast", "price": {"input": 1}}]},
                "modifier `price` lacks `output`",
            ),
            ({"modifiers": [{"kind": "speed", "word": "fast", "price": 5}]}, "modifier `price` is 5; give a Price"),
            ({"until": "2026-12-01"}, "price `until` is '2026-12-01'; give datetime"),
            ({"until": 5}, "price `until` is 5"),
            ({"as_of": "today"}, "price `as_of` is 'today'; give a date"),
            ({"input": {}}, "price `input` is {}"),
            ({"inputs": 1}, "price has the unknown key 'inputs'; known are input"),
        ],
    )
    def test_what_is_none_is_a_config_error(self, given: dict[str, Any], says: str) -> None:
        facts: Any = {"input": 1, "output": 4, **given}
        for make in (Price.of, lambda facts: Target(provider="acme", model="m", tier="mid", price=facts)):
            with pytest.raises(ConfigError) as caught:
                make(facts)
            assert says in str(caught.value)

    @pytest.mark.parametrize("value", [5, "1/4", [1, 4], (1, 4)])
    def test_what_is_no_mapping(self, value: Any) -> None:
        with pytest.raises(ConfigError, match=r"price is .*; give a Price or a mapping of its fields"):
            Price.of(value)
