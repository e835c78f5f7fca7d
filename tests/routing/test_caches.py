"""What a provider's cache is taken to hold: how long, from which size on, under which settings; and what it costs."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from agentroute import ChatRequest, Router, Target, Usage, formats
from agentroute.catalog import build_pool
from agentroute.routing.affinity import Affinity, Kept, kept
from agentroute.routing.caches import asked_of, minimum, needs_markers
from agentroute.routing.economics import step_cost
from agentroute.routing.prefix import Prefix
from agentroute.targets import ModelRules, Price

POLICY = "policy " * 6000
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
HOUR = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}


def chat(n: int = 0, user: str = "hi", **more: Any) -> ChatRequest:
    """A conversation with `n` answered calls."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": POLICY}, {"role": "user", "content": user}]
    for i in range(n):
        call = {"id": f"c{i}", "type": "function", "function": {"name": "look", "arguments": "{}"}}
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        messages.append({"role": "tool", "tool_call_id": f"c{i}", "content": "row " * 200})
    return ChatRequest.from_openai({"messages": messages, "tools": [TOOL], **more})


def one(provider: str, model: str, **more: Any) -> Target:
    return next(iter(build_pool([Target(provider=provider, model=model, tier="standard", **more)])))


def warm_after(target: Target, first: ChatRequest, second: ChatRequest, usage: Usage, *, wait: float = 10.0) -> int:
    """Tokens expected in the cache for the second request, once the first was served and counted so."""
    affinity = Affinity()
    prefix = Prefix.of_request(first)
    asked, system = asked_of(first, target)
    tokens = usage.prompt_tokens or 0
    affinity.record(prefix, target, tokens, 0.0, kept=kept(target, tokens, usage, asked=asked, system=system))
    return affinity.recall(Prefix.of_request(second), (target,), wait).warm.get(target.name, 0)


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("google", "gemini-4-argon"),
        ("zai", "GLM-5.3"),
        ("xai", "grok-4.6"),
        ("mistral", "mistral-medium-2604"),
        ("fireworks", "accounts/fireworks/models/glm-5p3"),
        ("openrouter", "moonshotai/kimi-k3"),
    ],
)
def test_whoever_has_a_price_for_cached_input_keeps_prefixes(provider: str, model: str) -> None:
    target = one(provider, model)
    assert target.price is not None
    assert target.price.cache_read is not None
    assert target.cache_ttl_s == 300
    assert warm_after(target, chat(1), chat(2), Usage(9000, 100, 8500)) == 9000


def test_a_cache_of_which_nothing_is_known_is_believed_once_it_is_counted() -> None:
    target = Target(provider="mine", model="m", tier="mid")
    assert warm_after(target, chat(1), chat(2), Usage(9000, 100, 0)) == 0
    assert warm_after(target, chat(1), chat(2), Usage(9000, 100, 8500)) == 9000
    assert warm_after(target, chat(1), chat(2), Usage(9000, 100, 8500), wait=301) == 0


def test_where_markers_are_needed_only_what_was_read_or_written_is_kept() -> None:
    target = one("anthropic", "claude-opus-5-5")
    assert warm_after(target, chat(1), chat(2), Usage(9000, 100, 0, 0)) == 0
    assert warm_after(target, chat(1), chat(2), Usage(9000, 100, 2000, 6000)) == 8000
    assert warm_after(target, chat(1), chat(2), Usage(9000, 100)) == 9000


def test_reads_that_do_not_come_are_believed_too() -> None:
    target = one("openrouter", "moonshotai/kimi-k3")
    affinity = Affinity()
    seen = []
    for n in range(6):
        prefix = Prefix.of_request(chat(n))
        seen.append(affinity.recall(prefix, (target,), float(n)).warm.get(target.name, 0))
        read = 8000 if n == 4 else 0
        left = kept(target, 9000, Usage(9000, 10, read), asked=None, system=True)
        affinity.record(prefix, target, 9000, float(n), kept=left)
    assert seen == [0, 9000, 9000, 0, 0, 9000]


class TestOtherConversations:
    def test_the_system_prompt_is_shared_where_our_marker_ends_it(self) -> None:
        found = warm_after(
            one("anthropic", "claude-opus-5-5"), chat(user="one"), chat(user="two"), Usage(9000, 9, 0, 9000)
        )
        assert 8000 < found < 9000

    @pytest.mark.parametrize("dialect", ["native"])
    def test_not_where_another_package_marks_the_end_only(self, dialect: str) -> None:
        target = one("anthropic", "claude-opus-5-5", dialect=dialect)
        assert warm_after(target, chat(user="one"), chat(user="two"), Usage(9000, 9, 0, 9000)) == 0

    def test_not_where_the_callers_markers_leave_it_out(self) -> None:
        body = {"model": "x", "max_tokens": 9, "system": POLICY}
        requests = [
            ChatRequest.of({**body, "messages": [{"role": "user", "content": text}]}) for text in ("one", "two")
        ]
        target = one("anthropic", "claude-opus-5-5", settings={"cache_control": {"type": "ephemeral"}})
        assert warm_after(target, requests[0], requests[1], Usage(9000, 9, 0, 9000)) == 0


class TestLifetimes:
    START: dict[str, Any] = {  # noqa: RUF012
        "model": "auto",
        "max_tokens": 9,
        "system": [{"type": "text", "text": POLICY, **HOUR}],
        "messages": [{"role": "user", "content": "hi"}],
    }
    LATER: dict[str, Any] = {  # noqa: RUF012
        **START,
        "messages": [*START["messages"], {"role": "assistant", "content": "yes"}, {"role": "user", "content": "go on"}],
    }

    def requests(self) -> tuple[ChatRequest, ChatRequest]:
        claude = formats.of("anthropic_messages")
        return claude.decode_request(self.START), claude.decode_request(self.LATER)

    def test_the_caller_may_ask_for_an_hour(self) -> None:
        first, second = self.requests()
        target = one("anthropic", "claude-opus-5-5")
        assert warm_after(target, first, second, Usage(9000, 9, 0, 9000), wait=900) == 9000
        assert warm_after(target, first, second, Usage(9000, 9, 0, 9000), wait=3700) == 0

    @pytest.mark.parametrize(
        ("usage", "after", "later"),
        [
            (Usage(9000, 9, 0, 9000, cache_write_1h_tokens=9000), 3500, 3700),
            (Usage(9000, 9, 0, 9000, cache_write_12h_tokens=9000), 43_000, 43_300),
            (Usage(9000, 9, 0, 9000), 299, 301),
        ],
    )
    def test_what_was_counted_as_written_for_hours_lives_for_hours(
        self, usage: Usage, after: float, later: float
    ) -> None:
        target = one("anthropic", "claude-opus-5-5")
        assert warm_after(target, chat(0), chat(1), usage, wait=after) == 9000
        assert warm_after(target, chat(0), chat(1), usage, wait=later) == 0

    def test_reading_renews_it_for_the_same_time(self) -> None:
        target = one("anthropic", "claude-opus-5-5")
        affinity = Affinity()
        affinity.record(Prefix.of_request(chat(0)), target, 9000, 0.0, kept=Kept(9000, 3600.0))
        affinity.record(Prefix.of_request(chat(1)), target, 9300, 3000.0, kept=Kept(9300))
        assert affinity.recall(Prefix.of_request(chat(2)), (target,), 6000.0).warm == {target.name: 9300}


class TestSettings:
    @pytest.mark.parametrize(("provider", "model"), [("anthropic", "claude-opus-5-5"), ("openai", "gpt-6.1-sol")])
    def test_a_change_of_effort_is_a_cold_prefix(self, provider: str, model: str) -> None:
        target = one(provider, model)
        high, low = chat(1, reasoning_effort="high"), chat(2, reasoning_effort="low")
        assert warm_after(target, high, low, Usage(9000, 9, 0, 9000)) == 0
        assert warm_after(target, high, chat(2, reasoning_effort="high"), Usage(9000, 9, 0, 9000)) == 9000

    def test_both_efforts_stay_warm(self) -> None:
        target, affinity = one("openai", "gpt-6.1-sol"), Affinity()
        for effort in ("high", "low"):
            affinity.record(Prefix.of_request(chat(1, reasoning_effort=effort)), target, 9000, 0.0)
        recall = affinity.recall(Prefix.of_request(chat(2, reasoning_effort="high")), (target,), 1.0)
        assert recall.warm == {target.name: 9000}
        assert recall.last_target == target.name

    def test_a_change_of_tools_is_another_conversation(self) -> None:
        other = {"type": "function", "function": {"name": "write", "parameters": {"type": "object", "properties": {}}}}
        target = one("openai", "gpt-6.1-sol")
        assert warm_after(target, chat(1), chat(2, tools=[TOOL, other]), Usage(9000, 9)) == 0

    def test_at_anthropic_a_forced_choice_keeps_system_and_tools_only(self) -> None:
        usage = Usage(9000, 9, 0, 9000)
        claude = one("anthropic", "claude-sonnet-4-5")
        found = warm_after(claude, chat(4), chat(5, tool_choice="required"), usage)
        assert 0 < found < 9000
        assert warm_after(one("openai", "gpt-6.1-sol"), chat(4), chat(5, tool_choice="required"), usage) == 9000


@pytest.mark.parametrize(
    ("provider", "model", "least", "marked"),
    [
        ("google", "gemini-4-argon", 4096, False),
        ("anthropic", "claude-haiku-4-5", 4096, True),
        ("anthropic", "claude-opus-5-5", 512, True),
        ("anthropic", "claude-sonnet-5", 1024, True),
        ("openrouter", "anthropic/claude-sonnet-5", 1024, True),
        ("openai", "gpt-6-luna", 1024, False),
        ("mine", "unknown", 1024, False),
    ],
)
def test_minimums_and_markers_are_facts_of_a_model(provider: str, model: str, least: int, marked: bool) -> None:
    target = one(provider, model)
    assert (minimum(target), needs_markers(target)) == (least, marked)


class TestPrices:
    PRICE = Price(Decimal(4), Decimal(20), Decimal("0.2"), Decimal(5), cache_write_1h=Decimal(8))
    RULES = ModelRules(cache_markers=("anthropic_messages",), cache_minimum=512)

    def target(self, ttl: float = 300) -> Target:
        return Target(
            provider="anthropic", model="m", tier="premium", price=self.PRICE, cache_ttl_s=ttl, rules=self.RULES
        )

    def test_a_one_shot_writes_nothing(self) -> None:
        cost = step_cost(self.target(), 100_000, 0, loop=False)
        assert (cost.written_tokens, cost.cost) == (0, Decimal("0.4"))
        assert step_cost(self.target(), 100_000, 0).cost == Decimal("0.5")

    def test_writes_for_an_hour_cost_more(self) -> None:
        assert step_cost(self.target(3600), 100_000, 0).cost == Decimal("0.8")

    def test_the_models_own_minimum_counts(self) -> None:
        assert step_cost(self.target(), 600, 0, 600).cached_tokens == 600
        assert step_cost(self.target(), 500, 0, 500).cached_tokens == 0

    def test_a_provider_that_caches_by_itself_writes_one_shots_too(self) -> None:
        target = Target(provider="openai", model="m", tier="mid", price=self.PRICE, cache_ttl_s=1800)
        assert step_cost(target, 100_000, 0, loop=False).written_tokens == 100_000


def test_a_router_takes_what_it_has_served_for_warm() -> None:
    router = Router([Target(provider="google", model="gemini-4-argon", tier="premium")])
    first = chat(1)
    router.observe(Prefix.of_request(first), "gemini-4-argon", Usage(9000, 9, 8500), Usage(), request=first)
    assert router.route(chat(2)).candidates[0].cached_tokens == 9000
