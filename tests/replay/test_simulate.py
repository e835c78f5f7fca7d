"""Steps are routed as they would have been met, and the bills agree with sums done by hand."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agentroute import Capabilities, ChatRequest, ConfigError, Prediction, Router, StepKind, Target, Task
from agentroute.replay import replay
from agentroute.routing.step import Step

Write = Callable[..., Path]
MakeTarget = Callable[..., Target]


class Scripted:
    """Says by the number of messages which tiers suffice; a step not named is an easy one."""

    version = "scripted"

    def __init__(self, hard: Mapping[int, float]) -> None:
        self.hard = hard

    def predict(self, step: Step, request: ChatRequest) -> Prediction:
        p = self.hard.get(step.n_messages, 0.95)
        confidence = p if p < 0.5 else 0.9
        return Prediction((p, p, p, 0.99), Task.CHAT, StepKind.FIRST_ASK, confidence, ("scripted",))


def conversation(*usages: tuple[int, int] | None, **line: Any) -> dict[str, Any]:
    """A conversation of as many steps; step k is asked with 2k - 1 messages. Prompts are long enough to be cached."""
    messages: list[dict[str, Any]] = []
    for number, usage in enumerate(usages, 1):
        messages.append({"role": "user", "content": f"question {number}: " + "why is the sky blue? " * 300})
        answer: dict[str, Any] = {"role": "assistant", "content": f"answer {number}"}
        if usage is not None:
            answer["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
        messages.append(answer)
    return {"messages": messages, **line}


# --- the list bill ---------------------------------------------------------------------------------------------------

BY_HAND = {
    # airline, task 0, gpt-5.4: 24,286 tokens in, 608 out
    1: (
        [(3361, 55), (3456, 60), (4066, 155), (4291, 168), (4509, 75), (4603, 95)],
        "0.013359",  # 24,286 x $0.50 + 608 x $2 = 12,143 + 1,216
        "0.069835",  # 24,286 x $2.50 + 608 x $15 = 60,715 + 9,120
    ),
    # airline, task 27, azure/gpt-4o: 18,118 tokens in, 279 out
    102: (
        [(3295, 82), (3390, 62), (3510, 24), (3913, 48), (4010, 63)],
        "0.009617",  # 9,059 + 558
        "0.049480",  # 45,295 + 4,185
    ),
    # retail, task 60, gpt-4.1: 31,518 tokens in, 419 out
    163: (
        [(3611, 29), (3659, 22), (3863, 20), (4308, 19), (5014, 183), (5277, 50), (5786, 96)],
        "0.016597",  # 15,759 + 838
        "0.085080",  # 78,795 + 6,285
    ),
}


@pytest.mark.requires("shared")
@pytest.mark.parametrize("number", BY_HAND)
def test_list_bills_of_recorded_conversations_agree_with_a_sum_by_hand(
    shared: Path, tmp_path: Path, router: Router, number: int
) -> None:
    usages, on_small, on_large = BY_HAND[number]
    with gzip.open(shared / "data" / "tau2" / "traces.jsonl.gz", "rt", encoding="utf-8") as lines:
        line = next(line for position, line in enumerate(lines, 1) if position == number)
    path = tmp_path / "one.jsonl"
    path.write_text(line, encoding="utf-8")

    report = replay(path, router)

    assert (report.steps, report.measured, report.conversations) == (len(usages), len(usages), 1)
    assert report.singles["small"].input_tokens == sum(tokens for tokens, _ in usages)
    assert report.singles["small"].output_tokens == sum(tokens for _, tokens in usages)
    assert report.singles["small"].list_usd == Decimal(on_small)
    assert report.singles["large"].list_usd == Decimal(on_large)


@pytest.mark.requires("shared")
def test_whole_recorded_data_is_routed_to_the_step(shared: Path, router: Router) -> None:
    report = replay(shared / "data" / "step_tiers" / "steps.jsonl.gz", router)
    assert (report.steps, report.conversations, report.malformed, report.measured) == (177, 177, 0, 0)
    assert set(report.strategies) == {"cheapest", "balanced", "best"}
    assert all(bill.steps == 177 for bill in [*report.strategies.values(), *report.singles.values()])
    fit = report.singles["large"].fit
    assert fit is not None
    assert (fit.steps, fit.sufficient, fit.exact, fit.too_low) == (177, 177, 65, 0)


def test_a_strategy_is_billed_for_what_it_chose(write: Write, router: Router) -> None:
    own = Router(targets=router.pool, classifier=Scripted({3: 0.1}))
    report = replay(write(conversation((2000, 100), (4000, 100), (6000, 100))), own)
    bill = report.strategies["cheapest"]
    assert bill.targets == {"small": 2, "large": 1}
    # steps 1 and 3 on small: 8,000 x 0.5 + 200 x 2; step 2 on large: 4,000 x 2.5 + 100 x 15
    assert bill.list_usd == Decimal("0.0044") + Decimal("0.0115")
    assert bill.sufficiency == pytest.approx((0.95 + 0.99 + 0.95) / 3)


# --- the modelled bill -----------------------------------------------------------------------------------------------


def test_a_single_model_reads_its_own_prefix_from_the_cache(write: Write, router: Router) -> None:
    report = replay(write(conversation((2000, 100), (4000, 100), (6000, 100))), router)
    large = report.singles["large"]
    assert large.cached_tokens == 2000 + 4000
    # fresh 2,000 + 2,000 + 2,000 at 2.5; cached 6,000 at 0.25; output 300 at 15
    assert large.modelled_usd == Decimal("0.015") + Decimal("0.0015") + Decimal("0.0045")
    assert large.list_usd == Decimal("0.03") + Decimal("0.0045")
    small = report.singles["small"]
    assert small.modelled_usd == small.list_usd, "a target without a cache life has no cache"


def test_an_outlived_cache_is_cold(write: Write, router: Router) -> None:
    path = write(conversation((2000, 100), (4000, 100)))
    assert replay(path, router, gap_s=300.0).singles["large"].cached_tokens == 2000
    assert replay(path, router, gap_s=300.1).singles["large"].cached_tokens == 0


def test_recorded_times_decide_where_there_are_some(write: Write, router: Router) -> None:
    whole = conversation((2000, 100), (4000, 100))["messages"]
    body = {"response": {"content": "x", "usage": {"prompt_tokens": 4000, "completion_tokens": 9}}}
    first = {"request": {"messages": whole[:1]}, "timestamp": 1_000_000_000, **body}
    soon = {"request": {"messages": whole[:3]}, "timestamp": 1_000_000_200, **body}
    late = {"request": {"messages": whole[:3]}, "timestamp": 1_000_000_400, **body}
    report = replay(write(first, soon), router)
    assert (report.timed, report.singles["large"].cached_tokens) == (2, 4000)
    assert replay(write(first, late), router).singles["large"].cached_tokens == 0


def test_a_switch_costs_what_the_cold_prefix_costs(write: Write, make_target: MakeTarget) -> None:
    pool = [
        make_target("small", "budget", "0.5", "2", cache_read="0.05", cache_ttl_s=300),
        make_target("large", "premium", "2.5", "15", cache_read="0.25", cache_ttl_s=300),
    ]
    own = Router(targets=pool, classifier=Scripted({3: 0.1}))
    report = replay(write(conversation((2000, 100), (4000, 100), (6000, 100))), own)
    bill = report.strategies["cheapest"]
    assert (bill.targets, bill.switches) == ({"small": 2, "large": 1}, 2)
    # to large: 2,000 tokens at 2.5 that it would have had at 0.25, had it served step 1;
    # back to small: it holds the 2,000 of step 1, and would have had the 4,000 of step 2: 2,000 at 0.5 - 0.05
    assert bill.switch_usd == Decimal("0.0045") + Decimal("0.0009")
    assert bill.cached_tokens == 2000


def test_staying_is_no_switch(write: Write, router: Router) -> None:
    own = Router(targets=router.pool, classifier=Scripted({5: 0.1, 7: 0.1}))
    report = replay(write(conversation((1, 1), (1, 1), (1, 1), (1, 1))), own)
    assert report.strategies["cheapest"].targets == {"small": 2, "large": 2}
    assert report.strategies["cheapest"].switches == 1


def test_each_strategy_meets_the_caches_of_its_own_choices(write: Write, make_target: MakeTarget) -> None:
    pool = [
        make_target("small", "budget", "0.5", "2", cache_read="0.05", cache_ttl_s=300),
        make_target("large", "premium", "2.5", "15", cache_read="0.25", cache_ttl_s=300),
    ]
    own = Router(targets=pool, classifier=Scripted({}))
    report = replay(write(conversation((2000, 100), (4000, 100))), own, explain=2)
    assert report.explained is not None
    warm = {
        name: {candidate.target: candidate.cached_tokens for candidate in decision.candidates}
        for name, decision in report.explained.decisions.items()
    }
    assert warm["cheapest"] == {"small": 2000, "large": 0}
    assert warm["best"] == {"small": 0, "large": 2000}


def test_conversations_share_no_cache_and_switch_nothing(write: Write, router: Router) -> None:
    same = conversation((2000, 100))
    report = replay(write(same, same), router)
    assert report.conversations == 2
    assert report.singles["large"].cached_tokens == 0
    assert all(bill.switches == 0 for bill in report.strategies.values())


def test_calls_logged_line_by_line_are_one_conversation(write: Write, router: Router) -> None:
    whole = conversation((2000, 100), (4000, 100), (6000, 100))["messages"]
    lines = [
        {
            "request": {"messages": whole[:end]},
            "response": {"content": "x", "usage": {"prompt_tokens": tokens, "completion_tokens": 100}},
        }
        for end, tokens in ((1, 2000), (3, 4000), (5, 6000))
    ]
    report = replay(write(*lines), router)
    assert (report.steps, report.conversations) == (3, 1)
    assert report.singles["large"].cached_tokens == 6000
    apart = [line | {"conversation_id": f"c{index}"} for index, line in enumerate(lines)]
    assert replay(write(*apart), router).singles["large"].cached_tokens == 0


def test_step_rows_are_each_on_their_own(write: Write, router: Router) -> None:
    whole = conversation((1, 1), (1, 1))["messages"]
    rows = [{"id": f"s{end}", "messages": whole[:end], "target_tier": "low"} for end in (1, 3)]
    report = replay(write(*rows), router)
    assert (report.steps, report.conversations, report.singles["large"].cached_tokens) == (2, 2, 0)


# --- what is not known -----------------------------------------------------------------------------------------------


def test_tokens_without_a_record_are_estimated_and_counted_as_such(write: Write, router: Router) -> None:
    report = replay(write(conversation((10_000, 100), None)), router)
    assert (report.steps, report.measured, report.estimated) == (2, 1, 1)
    second = report.singles["small"].input_tokens - 10_000
    assert 11_000 < second < 12_500, "anchored on the recorded 10,000, with 6,300 characters more"
    assert 100 < report.singles["small"].output_tokens < 120, "the recorded answer is a few tokens long"


def test_an_unknown_price_makes_the_bill_unknown_and_not_small(write: Write, make_target: MakeTarget) -> None:
    unpriced = Target(name="mystery", provider="nobody", model="mystery-1", tier="mid")
    own = Router(targets=[make_target("large", "premium", "2.5", "15"), unpriced], classifier=Scripted({}))
    report = replay(write(conversation((2000, 100))), own)
    assert report.singles["mystery"].list_usd is None
    assert report.singles["mystery"].modelled_usd is None
    assert report.singles["mystery"].unpriced_steps == 1
    assert report.singles["mystery"].to_dict()["list_usd"] is None
    assert report.best_single == "large"


def test_a_step_too_long_for_every_target_is_in_no_bill(write: Write, make_target: MakeTarget) -> None:
    own = Router(targets=[make_target("tiny", "budget", "1", "1", context_window=1700)], classifier=Scripted({}))
    report = replay(write(conversation((500, 5)), conversation((500, 5), (9000, 5))), own)
    assert (report.steps, report.unroutable) == (2, 1)
    assert "traces.jsonl:2 step 2" in report.unroutable_reasons[0]
    assert "tiny" in report.unroutable_reasons[0]
    assert report.singles["tiny"].steps == report.strategies["best"].steps == 2


def test_a_single_model_that_cannot_serve_every_step_is_not_the_best(write: Write, make_target: MakeTarget) -> None:
    pool = [
        make_target("short", "premium", "0.1", "0.1", context_window=3000),
        make_target("long", "premium", "1", "1"),
    ]
    report = replay(write(conversation((1000, 5), (9000, 5))), Router(targets=pool, classifier=Scripted({})))
    assert report.singles["short"].unserved == 1
    assert report.best_single == "long"


@pytest.mark.parametrize(
    ("part", "facts"),
    [
        (
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
            {"capabilities": Capabilities(documents=False)},
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
            {"capabilities": Capabilities(audio=False)},
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
            {"dialect": "anthropic_messages"},
        ),
    ],
)
def test_a_single_model_that_cannot_take_a_file_serves_no_step_with_one(
    write: Write, make_target: MakeTarget, part: dict[str, Any], facts: dict[str, Any]
) -> None:
    pool = [make_target("short", "premium", "0.1", "0.1", **facts), make_target("long", "premium", "1", "1")]
    row = conversation((1000, 5))
    row["messages"] = [{"role": "user", "content": [{"type": "text", "text": "see"}, part]}, *row["messages"]]
    report = replay(write(row), Router(targets=pool, classifier=Scripted({})))
    assert (report.singles["short"].unserved, report.singles["long"].unserved) == (1, 0)


# --- what is shown ---------------------------------------------------------------------------------------------------


def test_the_best_single_model_is_as_good_as_the_routing(write: Write, make_target: MakeTarget) -> None:
    pool = [
        make_target("small", "budget", "0.5", "2"),
        make_target("fair", "premium", "2", "10"),
        make_target("dear", "premium", "4", "20"),
    ]
    whole = conversation((1, 1), (1, 1))["messages"]
    rows = [
        {"messages": whole[:1], "target_tier": "low"},
        {"messages": whole[:3], "target_tier": "high"},
    ]
    own = Router(targets=pool, strategy="best", classifier=Scripted({3: 0.1}))
    report = replay(write(*rows), own, strategy="cheapest")
    assert report.best_single == "fair"
    fit = report.strategies["cheapest"].fit
    assert fit is not None
    assert (fit.steps, fit.exact, fit.too_low) == (2, 2, 0)
    low = report.singles["small"].fit
    assert low is not None
    assert (low.sufficient, low.exact, low.too_low) == (1, 1, 1)


def test_the_least_sure_steps_come_first_and_can_be_found(write: Write, router: Router) -> None:
    own = Router(targets=router.pool, classifier=Scripted({3: 0.2, 7: 0.1}))
    path = write("not json", conversation((1, 1), (1, 1), (1, 1), (1, 1), id="c"))
    report = replay(path, own, least_sure=2)
    assert [(each.step, each.place, each.confidence) for each in report.least_sure] == [
        (4, "traces.jsonl:2 step 4", 0.1),
        (2, "traces.jsonl:2 step 2", 0.2),
    ]
    assert [(problem.file, problem.line) for problem in report.problems] == [("traces.jsonl", 1)]
    explained = replay(path, own, explain=4).explained
    assert explained is not None
    assert explained.place == "traces.jsonl:2 step 4"
    assert explained.decisions["best"].reasons[0] == "scripted"
    assert explained.decisions["best"].target == "large"


def test_steps_are_counted_by_kind_task_and_tier(write: Write, router: Router) -> None:
    own = Router(targets=router.pool, classifier=Scripted({3: 0.1}))
    report = replay(write(conversation((1, 1), (1, 1), (1, 1))), own, strategy="cheapest")
    assert report.by_kind == {"first_ask": {"budget": 2, "premium": 1}}
    assert report.by_task == {"chat": {"budget": 2, "premium": 1}}
    assert report.strategies["cheapest"].tiers == {"budget": 2, "premium": 1}


def test_a_limit_stops_in_the_middle_of_a_conversation(write: Write, router: Router) -> None:
    report = replay(write(conversation((1, 1), (1, 1), (1, 1))), router, limit=2)
    assert report.steps == 2
    with pytest.raises(ConfigError, match="no step 3"):
        replay(write(conversation((1, 1))), router, explain=3)
    with pytest.raises(ConfigError, match="limit is 0"):
        replay(write(conversation((1, 1))), router, limit=0)


def test_rewards_belong_to_the_recorded_model(write: Write, router: Router) -> None:
    def run(model: str, reward: float) -> dict[str, Any]:
        return conversation((1, 1), agent_llm=model, domain="d", task_id="1", reward=reward)

    report = replay(write(run("a", 1.0), run("a", 0.0), run("b", 1.0)), router)
    assert [(each.model, each.steps, each.conversations, each.mean_reward) for each in report.recorded] == [
        ("a", 2, 2, 0.5),
        ("b", 1, 1, 1.0),
    ]


def test_the_callers_router_is_left_alone(write: Write, router: Router) -> None:
    path = write(conversation((2000, 100), (4000, 100)))
    request = ChatRequest.from_openai({"messages": conversation((1, 1), (1, 1))["messages"][:3]})
    replay(path, router)
    assert all(candidate.cached_tokens == 0 for candidate in router.route(request).candidates)


def test_the_same_traces_give_the_same_report(write: Write, router: Router) -> None:
    path = write(conversation((2000, 100), None, (6000, 100)), conversation(None))
    assert json.dumps(replay(path, router).to_dict()) == json.dumps(replay(path, router).to_dict())
