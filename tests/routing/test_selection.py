"""Selection: every filter with its reason, every strategy with its order, fallbacks from other providers first."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from agentroute.decisions import Constraints, Prediction, StepKind, Strategy, Task
from agentroute.errors import ConfigError, NoCandidateError, UnknownTarget
from agentroute.failover.breaker import Open
from agentroute.messages import (
    Audio,
    ChatRequest,
    Document,
    Extra,
    Image,
    Message,
    Part,
    ReasoningSetting,
    ResponseSchema,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from agentroute.routing.profiles import Known
from agentroute.routing.reasoning_state import LiveState
from agentroute.routing.runs import Run
from agentroute.routing.selection import Selection, Situation, select
from agentroute.routing.step import Step
from agentroute.routing.strategy import Row
from agentroute.targets import Capabilities, Pool, Price, Target, Tier
from agentroute.targets.model_rules import ModelRules

ALL = Capabilities(tools=True, vision=True, structured_output=True)


def target(name: str, provider: str, tier: str, usd: str | None, **facts: Any) -> Target:
    price = None if usd is None else Price(Decimal(usd), Decimal(usd) * 5)
    return Target(name=name, provider=provider, model=name, tier=tier, **{"price": price, "capabilities": ALL, **facts})


BUDGET = target("budget", "a", "budget", "0.1")
MID = target("mid", "b", "mid", "0.5")
STANDARD = target("standard", "a", "standard", "2")
PREMIUM = target("premium", "c", "premium", "5")
POOL = Pool([BUDGET, MID, STANDARD, PREMIUM])

EASY = (0.97, 0.98, 0.99, 0.995)
MEDIUM = (0.6, 0.8, 0.9, 0.96)
HARD = (0.1, 0.2, 0.4, 0.9)


def choose(
    sufficiency: tuple[float, float, float, float],
    *,
    pool: Pool = POOL,
    strategy: Strategy = "balanced",
    constraints: Constraints = Constraints(),  # noqa: B008
    row: Row = Row(),  # noqa: B008
    warm: dict[str, int] | None = None,
    tokens: int = 4_000,
    opened: dict[str, Open] | None = None,
    reasoning: LiveState | None = None,
    kind: StepKind | None = None,
    reasoning_setting: ReasoningSetting | None = None,
    run: Run | None = None,
    known: Known | None = None,
    **request: Any,
) -> Selection:
    said = (Message("user", (Text("do it"),)),)
    asked = ChatRequest(**{"messages": said, "reasoning": reasoning_setting, **request})
    step = Step.of(asked)
    step = step if kind is None else replace(step, kind=kind)
    situation = Situation(
        request=asked,
        step=step,
        prediction=Prediction(sufficiency, Task.TOOL_USE, step.kind, 0.5, ()),
        strategy=strategy,
        row=row,
        constraints=constraints,
        input_tokens=tokens,
        output_tokens=200,
        warm=warm or {},
        opened=opened or {},
        reasoning=reasoning,
        run=run,
        known=known,
    )
    return select(situation, pool)


def names(selection: Selection) -> list[str]:
    return [candidate.target for candidate in selection.candidates]


@pytest.mark.parametrize(
    ("sufficiency", "strategy", "first"),
    [
        (EASY, "balanced", "budget"),
        (MEDIUM, "balanced", "mid"),
        (HARD, "balanced", "premium"),
        (EASY, "cheapest", "budget"),
        (MEDIUM, "cheapest", "mid"),
        (EASY, "best", "standard"),
        (HARD, "best", "premium"),
    ],
)
def test_the_strategy_chooses(sufficiency: tuple[float, float, float, float], strategy: Strategy, first: str) -> None:
    assert names(choose(sufficiency, strategy=strategy))[0] == first


def test_cheapest_says_when_nothing_reaches_the_floor() -> None:
    selection = choose((0.1, 0.2, 0.3, 0.4), strategy="cheapest")
    assert names(selection)[0] == "premium"
    assert selection.note is not None
    assert "no target reaches" in selection.note


def test_fallbacks_come_from_other_providers_first() -> None:
    assert names(choose(EASY)) == ["budget", "mid", "premium", "standard"]


def test_at_most_three_fallbacks_and_the_rest_is_named() -> None:
    pool = Pool([*POOL, target("spare", "d", "mid", "0.6"), target("spare2", "e", "mid", "0.7")])
    selection = choose(EASY, pool=pool)
    assert len(selection.candidates) == 4
    assert any("not needed" in dropped.reason for dropped in selection.dropped)
    assert len(selection.candidates) + len(selection.dropped) == len(pool)


def test_a_warm_prefix_keeps_the_target() -> None:
    cached = Price(Decimal(1), Decimal(5), cache_read=Decimal("0.1"), cache_write=Decimal("1.25"))
    twins = [
        Target(name=name, provider=name, model=name, tier="mid", price=cached, cache_ttl_s=300) for name in ("x", "y")
    ]
    pool = Pool([*twins, PREMIUM])
    assert names(choose(MEDIUM, pool=pool, warm={"y": 3_900}))[0] == "y"
    assert names(choose(MEDIUM, pool=pool, warm={"x": 3_900}))[0] == "x"
    assert choose(MEDIUM, pool=pool, warm={"y": 3_900}).candidates[0].cached_tokens == 3_900


@pytest.mark.parametrize(
    ("constraints", "request_parts", "facts", "reason"),
    [
        (Constraints(deny_providers=("b",)), {}, {}, "provider 'b' is denied"),
        (Constraints(allow_providers=("a", "c")), {}, {}, "not among those allowed"),
        (Constraints(tier="premium"), {}, {}, "asked for tier premium"),
        (Constraints(max_tier="budget"), {}, {}, "above max_tier budget"),
        (Constraints(max_cost=0.0005), {}, {}, "above max_cost"),
        (Constraints(max_cost=1), {}, {"price": None}, "price is unknown"),
        (Constraints(), {"tools": (Tool("f"),)}, {"capabilities": Capabilities(tools=False)}, "cannot call tools"),
        (
            Constraints(),
            {"messages": (Message("user", (Image(url="http://127.0.0.1/a.png"),)),)},
            {"capabilities": Capabilities(vision=False)},
            "cannot see images",
        ),
        (
            Constraints(),
            {"response_schema": ResponseSchema({"type": "object"})},
            {"capabilities": Capabilities(structured_output=False)},
            "response schema",
        ),
        (Constraints(), {}, {"context_window": 2_000}, "do not fit its window"),
    ],
)
def test_filters_say_why(
    constraints: Constraints, request_parts: dict[str, Any], facts: dict[str, Any], reason: str
) -> None:
    changed = target("mid", "b", "mid", "0.5", **facts)
    selection = choose(EASY, pool=Pool([BUDGET, changed, PREMIUM]), constraints=constraints, **request_parts)
    assert "mid" not in names(selection)
    assert [reason in dropped.reason for dropped in selection.dropped if dropped.target == "mid"] == [True]


PDF = Document(data="JVBERi0=", media_type="application/pdf")
LINK = Document(url="https://example.org/a.pdf")
FILE = Document(extra=Extra("openai_responses", {"type": "input_file", "file_id": "f"}))
SOUND = Audio(data="UklGRg==", media_type="audio/wav")
SONG = Audio(url="https://example.org/a.mp3")


@pytest.mark.parametrize(
    ("part", "facts", "reason"),
    [
        (PDF, {"capabilities": Capabilities(documents=False)}, "cannot read documents"),
        (PDF, {"capabilities": Capabilities(audio=False)}, None),
        (PDF, {"dialect": "anthropic_messages"}, None),
        (LINK, {}, "cannot read documents by URL"),
        (LINK, {"dialect": "gemini"}, None),
        (FILE, {}, "cannot reach a file that is named as in openai_responses"),
        (FILE, {"dialect": "openai_responses"}, None),
        (SOUND, {"capabilities": Capabilities(audio=False)}, "cannot hear audio"),
        (SOUND, {"capabilities": Capabilities(documents=False)}, None),
        (SOUND, {"dialect": "anthropic_messages", "capabilities": Capabilities(audio=True)}, "cannot hear audio"),
        (SOUND, {"dialect": "openai_responses"}, "cannot hear audio"),
        (SOUND, {}, None),
        (SONG, {}, "cannot hear audio by URL"),
        (SONG, {"dialect": "gemini"}, None),
        (SONG, {"dialect": "native"}, None),
    ],
)
def test_files_keep_out_who_cannot_take_them(part: Part, facts: dict[str, Any], reason: str | None) -> None:
    changed = target("mid", "b", "mid", "0.5", **{"capabilities": Capabilities(), **facts})
    ready = target("ready", "r", "budget", "0.2", dialect="native", capabilities=Capabilities())
    said: list[tuple[Message, ...]] = [(Message("user", (Text("do it"), part)),)]
    if isinstance(part, Document):
        call = Message("assistant", (ToolCall("c", "look", "{}"),))
        said.append((Message("user", (Text("do it"),)), call, Message("tool", (ToolResult("c", (Text("see"), part)),))))
    for messages in said:
        selection = choose(EASY, pool=Pool([changed, ready]), messages=messages)
        assert [dropped.reason for dropped in selection.dropped] == ([] if reason is None else [reason])


HEIC = "AAAAGGZ0eXBoZWljAAAAAG1pZjFoZWlj"
TIFF = "SUkqAAgAAAAAAAAAAAAAAA=="
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
PICTURES = ModelRules(image_types=("image/jpeg", "image/png"), document_types=("application/pdf",), audio_types=())


@pytest.mark.parametrize(
    ("part", "rules", "reason"),
    [
        (Image(data=HEIC), PICTURES, "cannot read image/heic"),
        (Image(data=HEIC, media_type="image/jpeg"), PICTURES, "cannot read image/heic"),
        (Image(data=TIFF, media_type="image/tiff"), PICTURES, "cannot read image/tiff"),
        (Image(url="https://example.com/a.HEIC?x=1"), PICTURES, "cannot read image/heic"),
        (Image(url="https://example.com/a.svg"), PICTURES, "cannot read image/svg+xml"),
        (Image(data="/9j/4AAQSkZJRgABAQAA", media_type="image/jpg"), PICTURES, None),
        (Image(url="https://example.com/picture"), PICTURES, None),
        (Image(url="https://example.com/a.png"), ModelRules(image_urls=False), "takes no picture by its URL"),
        (Image(data="iVBORw0KGgo="), ModelRules(image_urls=False), None),
        (Image(data="iVBORw0KGgo="), ModelRules(image_types=()), "cannot read image/png"),
        (Image(data=HEIC), ModelRules(), None),
        (Document(data="UEsDBA==", media_type=DOCX, name="a.docx"), PICTURES, f"cannot read {DOCX}"),
        (Document(data="YSxi", media_type="text/csv", name="a.csv"), PICTURES, None),
        (Document(data="JVBERi0xLjQK", name="a.pdf"), PICTURES, None),
        (Document(data="JVBERi0xLjQK", name="a.pdf"), ModelRules(document_types=()), "cannot read application/pdf"),
        (Audio(data="UklGRg==", media_type="audio/wav"), PICTURES, "cannot read audio/wav"),
    ],
)
@pytest.mark.parametrize("inside", [False, True])
def test_files_keep_out_who_cannot_read_their_type(
    part: Part, rules: ModelRules, reason: str | None, inside: bool
) -> None:
    if inside and isinstance(part, Audio):
        pytest.skip("a result holds no recording")
    message = Message("user", (Text("see"), part))
    if inside:
        assert isinstance(part, Image | Document)
        message = Message("tool", (ToolResult("c", (part,)),))
    able = Capabilities(tools=True, vision=True, documents=True, audio=True)
    strict = replace(MID, capabilities=able, rules=rules)
    other = replace(PREMIUM, capabilities=able)
    messages = (Message("user", (Text("look"),)), message)
    selection = choose(EASY, pool=Pool([strict, other]), messages=messages)
    assert {each.target: each.reason for each in selection.dropped} == ({"mid": reason} if reason else {})


def test_unknown_abilities_are_not_held_against_a_target() -> None:
    vague = target("vague", "v", "budget", "0.01", capabilities=Capabilities())
    assert names(choose(EASY, pool=Pool([vague, PREMIUM]), tools=(Tool("read_f"),)))[0] == "vague"


def test_all_filtered_lists_each_target_and_why() -> None:
    with pytest.raises(NoCandidateError) as caught:
        choose(EASY, constraints=Constraints(allow_providers=()))
    assert {dropped.target for dropped in caught.value.dropped} == {"budget", "mid", "standard", "premium"}
    for name in ("budget", "mid", "standard", "premium"):
        assert name in str(caught.value)


def test_whether_a_shorter_conversation_could_be_served() -> None:
    """Length alone stands in the way of one target, or something else of all of them."""
    narrow = [target("narrow", "v", "budget", "0.01", context_window=1)]
    for constraints, too_long in ((Constraints(), True), (Constraints(deny_providers=("v",)), False)):
        with pytest.raises(NoCandidateError) as caught:
            choose(EASY, pool=Pool(narrow), constraints=constraints)
        assert caught.value.too_long is too_long
        assert caught.value.window == (1 if too_long else None)
        assert (caught.value.tokens is not None) is too_long


def test_a_pin_is_kept_and_has_no_fallback() -> None:
    assert names(choose(EASY, constraints=Constraints(target="premium"))) == ["premium"]
    assert names(choose(HARD, model="budget")) == ["budget"]
    assert names(choose(EASY, model="auto"))[0] == "budget"


def test_a_pin_that_cannot_do_it_is_refused() -> None:
    blind = target("blind", "v", "budget", "0.01", capabilities=Capabilities(tools=False))
    with pytest.raises(NoCandidateError, match="cannot call tools"):
        choose(EASY, pool=Pool([blind, PREMIUM]), model="blind", tools=(Tool("f"),))


def test_policy_holds_for_pins_too() -> None:
    for constraints in (Constraints(max_tier="mid"), Constraints(tier="budget"), Constraints(deny_providers=("c",))):
        with pytest.raises(NoCandidateError):
            choose(EASY, model="premium", constraints=constraints)


SHORT = target("short", "v", "budget", "0.01", max_output_tokens=4_096)
LONG = Sampling(max_output_tokens=100_000)


def test_a_target_that_writes_less_than_asked_for_may_serve() -> None:
    assert names(choose(EASY, pool=Pool([SHORT, PREMIUM]), sampling=LONG)) == ["short", "premium"]
    assert names(choose(EASY, pool=Pool([SHORT]), sampling=LONG)) == ["short"]


def test_but_not_if_another_of_its_tier_writes_as_much() -> None:
    selection = choose(EASY, pool=Pool([SHORT, BUDGET, PREMIUM]), sampling=LONG)
    assert names(selection) == ["budget", "premium"]
    assert selection.dropped[0].reason == (
        "writes at most 4,096 tokens, 100,000 are asked for, and another of its tier writes them"
    )


def test_nor_if_the_caller_is_strict() -> None:
    strict = Constraints(strict_max_tokens=True)
    selection = choose(EASY, pool=Pool([SHORT, PREMIUM]), sampling=LONG, constraints=strict)
    assert names(selection) == ["premium"]
    assert selection.dropped[0].reason == "writes at most 4,096 tokens, 100,000 are asked for"


def test_nor_if_it_is_native_and_nobody_can_clip() -> None:
    native = target("native", "v", "budget", "0.01", max_output_tokens=4_096, dialect="native")
    assert names(choose(EASY, pool=Pool([native, PREMIUM]), sampling=LONG)) == ["premium"]


TOOL = Tool("look")
NO_FORCE = ModelRules(tool_choices=("auto", "none"))
NOT_WHILE_THINKING = ModelRules(tool_choices_while_reasoning=("auto", "none"), thinking="always")
OFF_AT_WILL = replace(NOT_WHILE_THINKING, thinking="default", thinking_off="disabled")


@pytest.mark.parametrize("choice", [ToolChoice("required"), ToolChoice("tool", "look")])
@pytest.mark.parametrize(
    ("rules", "reasoning", "able"),
    [
        (NO_FORCE, None, False),
        (NOT_WHILE_THINKING, None, False),
        (OFF_AT_WILL, None, True),
        (OFF_AT_WILL, ReasoningSetting("none"), True),
        (OFF_AT_WILL, ReasoningSetting("high"), False),
        (ModelRules(tool_choices=("auto", "none", "tool", "required")), ReasoningSetting("high"), True),
    ],
)
def test_a_target_that_can_be_forced_comes_first(
    rules: ModelRules, reasoning: ReasoningSetting | None, able: bool, choice: ToolChoice
) -> None:
    pool = Pool([target("cheap", "v", "budget", "0.01", rules=rules), PREMIUM])
    selection = choose(EASY, pool=pool, tools=(TOOL,), tool_choice=choice, reasoning_setting=reasoning)
    assert names(selection) == (["cheap", "premium"] if able else ["premium", "cheap"])
    assert ("cannot be forced" in selection.candidates[-1].reason) is not able


@pytest.mark.parametrize("choice", [None, ToolChoice("auto"), ToolChoice("none")])
def test_which_counts_only_if_a_call_is_demanded(choice: ToolChoice | None) -> None:
    pool = Pool([target("cheap", "v", "budget", "0.01", rules=NO_FORCE), PREMIUM])
    assert names(choose(EASY, pool=pool, tools=(TOOL,), tool_choice=choice))[0] == "cheap"


def test_one_that_cannot_be_forced_serves_if_it_is_alone() -> None:
    pool = Pool([target("cheap", "v", "budget", "0.01", rules=NO_FORCE)])
    assert names(choose(EASY, pool=pool, tools=(TOOL,), tool_choice=ToolChoice("required"))) == ["cheap"]


@pytest.mark.parametrize(
    ("rules", "facts", "reason"),
    [
        (ModelRules(chat_tools="no"), {"tools": (TOOL,)}, "takes tools in the Responses dialect only"),
        (
            ModelRules(dialects=("openai_responses",)),
            {},
            "is not to be had in openai_chat, only in openai_responses",
        ),
        (ModelRules(max_tools=1), {"tools": (TOOL, Tool("other"))}, "takes at most 1 tools, the request has 2"),
    ],
)
def test_what_cannot_be_fitted_drops_the_target(rules: ModelRules, facts: dict[str, Any], reason: str) -> None:
    pool = Pool([target("strict", "v", "budget", "0.01", rules=rules), PREMIUM])
    selection = choose(EASY, pool=pool, **facts)
    assert names(selection) == ["premium"]
    assert selection.dropped[0].reason == reason


@pytest.mark.parametrize(
    ("rules", "facts"),
    [
        (ModelRules(chat_tools="no"), {}),
        (ModelRules(chat_tools="none"), {"tools": (TOOL,)}),
        (ModelRules(dialects=("openai_chat", "openai_responses")), {}),
        (ModelRules(max_tools=1), {"tools": (TOOL,)}),
    ],
)
def test_and_nothing_else_does(rules: ModelRules, facts: dict[str, Any]) -> None:
    pool = Pool([target("strict", "v", "budget", "0.01", rules=rules), PREMIUM])
    assert names(choose(EASY, pool=pool, **facts))[0] == "strict"


@pytest.mark.parametrize("backwards", [False, True])
def test_where_everything_is_free_the_likelier_target_comes_first(backwards: bool) -> None:
    free = [target("small", "x", "budget", "0"), target("big", "x", "premium", "0")]
    assert names(choose(HARD, pool=Pool(free[::-1] if backwards else free)))[0] == "big"


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        ConfigError,
        match="'gpt-9', and none has that model; use 'auto' to let the router choose, or budget, mid",
    ):
        choose(EASY, model="gpt-9")


def test_an_unknown_price_ranks_behind_known_ones_and_still_serves() -> None:
    unpriced = target("unpriced", "u", "budget", None)
    selection = choose(EASY, pool=Pool([unpriced, MID, PREMIUM]))
    assert names(selection)[0] == "mid"
    assert selection.candidates[-1].expected_cost is None
    assert names(choose(EASY, pool=Pool([unpriced]))) == ["unpriced"]


def test_the_table_bounds_tiers_and_breaks_ties() -> None:
    assert names(choose(EASY, row=Row(min_tier=Tier.STANDARD)))[0] == "standard"
    assert names(choose(HARD, row=Row(max_tier=Tier.MID)))[0] in ("budget", "mid")
    twins = Pool([target("x", "x", "mid", "0.5"), target("y", "y", "mid", "0.5")])
    assert names(choose(MEDIUM, pool=twins, row=Row(prefer=("y",))))[0] == "y"
    assert "preferred" in choose(MEDIUM, pool=twins, row=Row(prefer=("y",))).candidates[0].reason


def test_a_pool_of_one() -> None:
    selection = choose(HARD, pool=Pool([BUDGET]))
    assert names(selection) == ["budget"]
    assert selection.dropped == ()


class TestOpenCircuits:
    def test_they_are_dropped_with_the_reason(self) -> None:
        selection = choose(EASY, opened={"budget": Open(4.2, "Overloaded 503")})
        assert names(selection)[0] == "mid"
        assert "budget" not in names(selection)
        assert selection.dropped[0].reason == "circuit open: Overloaded 503, back in 4.2 s"

    def test_where_nothing_else_is_left_they_come_in_the_order_in_which_they_are_back(self) -> None:
        opened = {
            name: Open(s, "x") for name, s in (("budget", 9.0), ("mid", 3.0), ("standard", 5.0), ("premium", 4.0))
        }
        selection = choose(EASY, opened=opened)
        assert names(selection) == ["mid", "premium", "standard", "budget"]
        assert selection.dropped == ()
        assert "circuit open: x, back in 3.0 s" in selection.candidates[0].reason
        assert selection.note == "every circuit is open: the first to come back comes first"

    def test_a_pin_is_kept(self) -> None:
        assert names(choose(EASY, model="budget", opened={"budget": Open(9.0, "x")})) == ["budget"]

    def test_filters_come_first(self) -> None:
        """What may not serve at all is no reason to leave out one that is only sick."""
        selection = choose(EASY, constraints=Constraints(allow_providers=("b",)), opened={"mid": Open(9.0, "x")})
        assert names(selection) == ["mid"]


class TestLiveReasoning:
    def live(self, name: str, chars: int = 4_200) -> LiveState:
        return LiveState(POOL[name].origin, chars)

    def test_the_others_say_what_they_would_lose(self) -> None:
        selection = choose(EASY, reasoning=self.live("budget"))
        reasons = {candidate.target: candidate.reason for candidate in selection.candidates}
        assert "loses" not in reasons["budget"]
        # 1,000 tokens at the $2.50 a million that mid writes for.
        assert reasons["mid"].endswith("loses 1,000 tokens of reasoning, $0.00250")

    @pytest.mark.parametrize("strategy", ["balanced", "cheapest", "best"])
    def test_what_would_be_thought_again_can_outweigh_a_lower_price(self, strategy: Strategy) -> None:
        a, b = target("a", "x", "mid", "1.0"), target("b", "y", "mid", "0.5")
        pool = Pool([a, b])
        assert names(choose(EASY, pool=pool, strategy=strategy))[0] == "b"
        assert names(choose(EASY, pool=pool, strategy=strategy, reasoning=LiveState(a.origin, 20_000)))[0] == "a"

    @pytest.mark.parametrize(("usd", "first"), [("0.97", "a"), ("0.80", "b")])
    def test_a_near_tie_stays_even_for_a_little_reasoning(self, usd: str, first: str) -> None:
        a, b = target("a", "x", "mid", "1.0"), target("b", "y", "mid", usd)
        selection = choose(EASY, pool=Pool([a, b]), strategy="cheapest", reasoning=LiveState(a.origin, 1))
        assert names(selection)[0] == first

    @pytest.mark.parametrize("kind", [StepKind.AFTER_ERROR, StepKind.REPEATED_CALL])
    def test_escalation_on_evidence_wins(self, kind: StepKind) -> None:
        much = self.live("mid", 1_000_000)
        stays = choose(HARD, reasoning=much, kind=StepKind.AFTER_RESULT)
        assert names(stays)[0] == "mid"
        escalates = choose(HARD, reasoning=much, kind=kind)
        assert names(escalates)[0] == "premium"
        assert "loses 238,095 tokens of reasoning, not weighed after a failure" in escalates.candidates[0].reason

    def test_but_evidence_is_no_reason_to_step_down(self) -> None:
        much = self.live("premium", 1_000_000)
        assert names(choose(EASY, reasoning=much, kind=StepKind.AFTER_ERROR))[0] == "premium"

    def test_an_unknown_price_says_it_too(self) -> None:
        vague = target("vague", "v", "budget", None)
        selection = choose(EASY, pool=Pool([vague, PREMIUM]), reasoning=self.live("premium"))
        assert "loses 1,000 tokens of reasoning" in selection.candidates[1].reason


class TestFilteredContent:
    def test_the_targets_named_for_it(self) -> None:
        constraints = Constraints(content_filter_fallback=("premium", "mid"), deny_providers=("b",))
        selection = choose(EASY, constraints=constraints, model="budget")
        assert names(selection) == ["budget"]
        assert [t.name for t in selection.content_filter_fallback] == ["premium"], "policy holds for them too"

    def test_an_unknown_name_is_refused(self) -> None:
        with pytest.raises(UnknownTarget, match="no target is named 'gone'"):
            choose(EASY, constraints=Constraints(content_filter_fallback=("gone",)))
        with pytest.raises(ConfigError, match="content_filter_fallback is the text 'mid'; give a tuple of target"):
            Constraints(content_filter_fallback="mid")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("tools", "first"),
    [
        (("read_file", "search_docs"), "budget"),
        (("list_orders", "lookup"), "budget"),
        (("read_file", "edit_file"), "mid"),
        (("book_flight",), "mid"),
        (("bash",), "mid"),
        (("frobnicate",), "mid"),
    ],
)
def test_an_agent_that_may_change_something_is_not_left_to_the_weakest(tools: tuple[str, ...], first: str) -> None:
    selection = choose(EASY, tools=tuple(Tool(name) for name in tools))
    assert names(selection)[0] == first
    weakest = next(candidate for candidate in selection.candidates if candidate.target == "budget")
    assert ("not the weakest" in weakest.reason) is (first != "budget")


@pytest.mark.parametrize(
    ("pool", "first"),
    [
        ([BUDGET], "budget"),
        ([BUDGET, MID], "mid"),
        ([MID, PREMIUM], "premium"),
        ([STANDARD, PREMIUM], "standard"),
        ([BUDGET, target("unpriced", "c", "premium", None)], "budget"),
    ],
)
def test_the_weakest_serves_if_it_is_standard_or_nothing_stronger_is_there(pool: list[Target], first: str) -> None:
    assert names(choose(EASY, pool=Pool(pool), tools=(Tool("book"),)))[0] == first


@pytest.mark.parametrize(("licensed", "first"), [({"budget"}, "budget"), (set(), "premium")])
def test_the_weakest_serves_a_role_of_which_outcomes_have_licensed_it(licensed: set[str], first: str) -> None:
    known = Known("r", "premium", dict.fromkeys(("budget", "premium"), 0.99), frozenset(licensed))
    assert names(choose(EASY, tools=(Tool("book"),), known=known))[0] == first


def test_the_weakest_is_a_fallback_and_serves_once_the_others_are_down() -> None:
    assert "budget" in names(choose(EASY, tools=(Tool("book"),)))
    down = {name: Open(10.0, "down") for name in ("mid", "standard", "premium")}
    assert names(choose(EASY, tools=(Tool("book"),), opened=down))[0] == "budget"


@pytest.mark.parametrize(
    ("checks", "usd"),
    [(0.0, 2.0), (0.5, 0.5 * 4 * 0.02025 + 0.5 * 2.0), (1.0, 4 * 0.02025)],
    ids=["none", "half", "all"],
)
def test_a_failure_that_checks_notice_costs_lost_warm_steps_and_the_others_the_stakes(
    checks: float, usd: float
) -> None:
    """Premium has no cache here: it reads 4,000 tokens at $5 and writes 10 (or as many as are expected) at $25."""
    row = Row(stakes=2.0, harm=1.0, checks=checks, lost=4.0)
    selection = choose(MEDIUM, row=row, tools=(Tool("book"),))
    premium = next(candidate for candidate in selection.candidates if candidate.target == "premium")
    output = choose(MEDIUM, row=Row(), tools=(Tool("book"),)).costs["premium"].output_tokens
    usd += checks * 4 * 25 * (output - 10) / 1e6
    assert premium.risk == pytest.approx((1 - MEDIUM[3]) * usd)


@pytest.mark.parametrize(("sufficiency", "moves"), [(0.999, True), (0.9, False)])
def test_a_move_down_has_to_pay_for_coming_back(sufficiency: float, moves: bool) -> None:
    """The same spend and nearly the same risk: what differs is how soon a step would be too hard there."""
    price = {"input": 4, "output": 20, "cache_read": 0.2, "cache_write": 5}
    lower = {"input": 2, "output": 10, "cache_read": 0.1, "cache_write": 2.5}
    top = Target(name="top", provider="a", model="top", tier="premium", price=price, cache_ttl_s=300)
    below = Target(name="below", provider="a", model="below", tier="standard", price=lower, cache_ttl_s=300)
    likely = (0.5, 0.5, sufficiency, sufficiency + 0.0005)
    selection = choose(
        likely,
        pool=Pool([below, top]),
        tools=(Tool("book"),),
        tokens=150_000,
        warm={"top": 148_000},
        run=Run(likely, "top"),
    )
    assert names(selection)[0] == ("below" if moves else "top")
