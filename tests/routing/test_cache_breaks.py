"""Where a prompt ceased to be what its provider had kept: the kind, the place and the price, without a text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentroute import ChatRequest, Price, Target, Usage
from agentroute.decisions import CacheBreak
from agentroute.messages import Message, ReasoningSetting, Text, ToolChoice
from agentroute.routing.affinity import kept
from agentroute.routing.cache_breaks import CacheBreaks, paid_again, with_read
from agentroute.routing.prefix import Prefix
from agentroute.targets import ModelRules

PRICE = Price(Decimal(4), Decimal(20), Decimal("0.2"), Decimal(5), cache_write_1h=Decimal(8))
CLAUDE = Target(
    provider="anthropic",
    model="m",
    tier="premium",
    price=PRICE,
    cache_ttl_s=300,
    rules=ModelRules(cache_markers=("anthropic_messages",), cache_minimum=512),
)
OTHER = Target(
    provider="openai", model="o", tier="mid", price=Price(Decimal(1), Decimal(4), Decimal("0.1")), cache_ttl_s=300
)


def tool(name: str, text: str = "d") -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": text, "parameters": {"type": "object"}}}


def chat(
    steps: int, *, system: str = "careful", results: str = "row", user: str = "go", tools: str = "abc"
) -> ChatRequest:
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    for at in range(steps):
        call = {"id": f"c{at}", "type": "function", "function": {"name": "a", "arguments": "{}"}}
        messages += [
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"c{at}", "content": f"{results} {at}"},
        ]
    return ChatRequest.from_openai({"messages": messages, "tools": [tool(name) for name in tools]})


def without(request: ChatRequest, start: int, stop: int) -> ChatRequest:
    return replace(request, messages=request.messages[:start] + request.messages[stop:])


def edited(request: ChatRequest, at: int) -> ChatRequest:
    changed = Message(request.messages[at].role, (Text("changed"),))
    return replace(request, messages=(*request.messages[:at], changed, *request.messages[at + 1 :]))


class Steps:
    """Calls of one router, one after the other."""

    def __init__(self, target: Target = CLAUDE) -> None:
        self.cache_breaks, self.target, self.now = CacheBreaks(), target, 0.0

    def __call__(
        self,
        request: ChatRequest,
        read: int | None,
        prompt: int = 10_000,
        *,
        after: float = 10.0,
        on: Target | None = None,
    ) -> CacheBreak | None:
        self.now += after
        target = self.target if on is None else on
        usage = Usage(prompt, 100, read, None if read is None else prompt - read)
        left = kept(target, prompt, usage, asked=None, system=True)
        return self.cache_breaks.served(Prefix.of_request(request), request.messages, target, usage, left, self.now)


CHANGES: dict[str, tuple[Callable[[], ChatRequest], int | None]] = {
    "tool_order": (lambda: chat(4, tools="acb"), 2),
    "tools_changed": (lambda: chat(4, tools="abcd"), 4),
    "system_changed": (lambda: chat(4, system="careful at 10:05"), 1),
    "message_changed": (lambda: edited(chat(4), 3), 3),
    "history_cut": (lambda: without(chat(4), 2, 6), 3),
    "effort_toggled": (lambda: replace(chat(4), reasoning=ReasoningSetting("low")), None),
    "tool_choice_toggled": (lambda: replace(chat(4), tool_choice=ToolChoice("required")), None),
    "unexplained": (lambda: chat(4), None),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_what_changed_is_named(kind: str) -> None:
    make, position = CHANGES[kind]
    step = Steps()
    assert step(chat(2), 0, 9_000) is None
    assert step(chat(3), 9_000) is None
    found = step(make(), 0, 11_000)
    assert found == CacheBreak(kind, position, 10_000, Decimal("0.048"))  # type: ignore[arg-type]
    assert step(replace(make(), messages=(*make().messages, *chat(5).messages[-2:])), 11_000, 11_500) is None


def test_a_pause_that_outlives_the_cache() -> None:
    step = Steps()
    step(chat(2), 0)
    assert step(chat(3), 0, after=301) == CacheBreak("expired", None, 10_000, Decimal("0.048"))
    assert step(chat(4), 10_000, after=299) is None


def test_what_the_provider_read_all_the_same_is_not_broken() -> None:
    step = Steps()
    step(chat(2), 0)
    assert step(chat(3, system="careful at 10:05"), 10_000) is None
    assert step(chat(4, tools="cba"), 9_800) is None


def test_without_a_count_nothing_is_said() -> None:
    step = Steps()
    step(chat(2), 0)
    assert step(chat(3, tools="cba"), None) is None


def test_each_target_is_compared_with_what_it_was_sent_itself() -> None:
    step = Steps()
    step(chat(2), 0)
    assert step(chat(3), 0, on=OTHER) is None, "a switch is no break"
    assert step(chat(4), 10_000) is None
    found = step(chat(5, tools="cba"), 0, on=OTHER)
    assert found == CacheBreak("tool_order", 1, 10_000, Decimal("0.009"))


def test_tool_choice_matters_only_where_markers_do() -> None:
    step = Steps(OTHER)
    step(chat(2), 0)
    assert step(replace(chat(3), tool_choice=ToolChoice("required")), 0) == CacheBreak(
        "unexplained", None, 10_000, Decimal("0.009")
    )


def test_other_conversations_do_not_mix() -> None:
    step = Steps()
    step(chat(0, user="one"), 0)
    step(chat(0, user="two"), 0)
    assert step(chat(1, user="one"), 10_000) is None
    assert step(chat(0, user="two", system="other"), 0) is None, "an ask of its own, not this one gone on"
    assert step(chat(1, user="three"), 0) is None


def test_branches_go_on_from_where_they_left() -> None:
    step = Steps()
    step(chat(3), 0, 10_000)
    step(chat(4), 10_000, 50_000)
    branch = replace(chat(4, results="other"), messages=(*chat(3).messages, *chat(4, results="other").messages[-2:]))
    assert step(branch, 10_000, 30_000) is None


def test_a_provider_that_kept_nothing_broke_nothing() -> None:
    step = Steps()
    request, usage = chat(2), Usage(10_000, 100, 0, 0)
    left = kept(CLAUDE, 10_000, usage, asked=None, system=True)
    step.cache_breaks.served(Prefix.of_request(request), request.messages, CLAUDE, usage, left, 0.0)
    assert step(chat(3), 0) is None


def test_short_prompts_are_not_kept() -> None:
    step = Steps()
    step(chat(2), 0, 400)
    assert step(chat(3, tools="cba"), 0, 500) is None


def test_memory_is_bounded() -> None:
    step = Steps()
    step.cache_breaks = CacheBreaks(max_steps=3)
    for number in range(50):
        step(chat(1, user=f"ask {number}"), 0)
    assert len(step.cache_breaks._ends) == 6


def test_writes_for_an_hour_are_priced_as_such() -> None:
    usage = Usage(10_000, 0, 0, 10_000, cache_write_1h_tokens=10_000)
    assert paid_again(PRICE, usage, 9_000) == Decimal(9_000 * (8 - Decimal("0.2"))) / 1_000_000
    assert paid_again(PRICE, Usage(10_000, 0, 0, 0), 9_000) == Decimal(9_000 * (4 - Decimal("0.2"))) / 1_000_000
    assert paid_again(Price(Decimal(1), Decimal(1)), usage, 9_000) is None


@given(st.integers(0, 9_000), st.integers(0, 9_000), st.integers(0, 9_000))
def test_reading_more_keeps_the_prompt(read: int, written: int, more: int) -> None:
    usage = with_read(Usage(30_000, 1, read, written, cache_write_1h_tokens=written // 2), more)
    assert usage.input_tokens == 30_000
    assert usage.cache_read_tokens == read + more
    assert 0 <= (usage.cache_write_1h_tokens or 0) <= (usage.cache_write_tokens or 0) <= written
