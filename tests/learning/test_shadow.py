"""A shadow asks, compares and executes nothing; it pays for nothing twice, and never more than it may."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agentroute import Router
from agentroute.errors import ConfigError
from agentroute.learning.agreement import Level
from agentroute.learning.samples import sampled
from agentroute.learning.screening import disagreements, screened
from agentroute.learning.shadow import Answered, Shadow, State, offer
from agentroute.ledger import MemoryLedger
from agentroute.messages import ChatRequest, ToolCall
from agentroute.testing import Fault, ScriptedProvider, ScriptedReply

DIALECTS = ("openai_chat", "openai_responses", "anthropic_messages", "gemini")
TOOL = {
    "type": "function",
    "function": {
        "name": "read_file",
        "parameters": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
    },
}


def traces(folder: Path, conversations: int = 6, model: str = "opus-1") -> Path:
    """Conversations of three steps: two reads, an answer."""
    rows = []
    for number in range(conversations):
        messages: list[dict[str, Any]] = [
            {"role": "system", "content": "You look things up."},
            {"role": "user", "content": f"What do the notes of day {number} say?"},
        ]
        for step in range(2):
            call = {"name": "read_file", "arguments": json.dumps({"path": f"notes/{number}-{step}.txt"})}
            messages.append(
                {"role": "assistant", "tool_calls": [{"id": f"c{step}", "type": "function", "function": call}]}
            )
            messages.append({"role": "tool", "tool_call_id": f"c{step}", "content": "nothing of note"})
        messages.append({"role": "assistant", "content": "They say 7."})
        rows.append({"id": f"run-{number}", "role": "scout", "model": model, "messages": messages, "tools": [TOOL]})
    path = folder / "traces.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def same_as_recorded(request: ChatRequest) -> ScriptedReply | str:
    """What the recorded model did, in its own spelling."""
    number = request.messages[1].text.split("day ")[1].split(" ")[0]
    step = sum(message.role == "tool" for message in request.messages)
    if step == 2:
        return "7, they say."
    return ScriptedReply(tool_calls=(ToolCall("x", "read_file", json.dumps({"path": f"./notes/{number}-{step}.txt"})),))


def pool(provider: ScriptedProvider, dialect: str = "openai_chat", **more: Any) -> Router:
    price = {"input": 1.0, "output": 5.0}
    small = provider.target(name="small", model="small-1", tier="budget", dialect=dialect, price=price, **more)
    strong = provider.target(name="strong", model="opus-1", tier="premium", price={"input": 5.0, "output": 25.0})
    return Router([small, strong])


def shadow(router: Router, state: State, limit: str | None = None, **more: Any) -> Shadow:
    def ask(request: ChatRequest, target: Any) -> Any:
        return router.complete(request, constraints={"target": target.name, "max_attempts": 1})

    return Shadow(router.pool, ask, state, None if limit is None else Decimal(limit), **more)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_same_action_in_another_spelling_agrees_in_every_dialect(tmp_path: Path, dialect: str) -> None:
    found = sampled([traces(tmp_path)])
    with ScriptedProvider(same_as_recorded) as provider, pool(provider, dialect) as router:
        state = State(tmp_path / "s.jsonl")
        assert shadow(router, state).run(found.samples, ["small"])["answered"] == 18
        assert {each.level for each in state.answered.values()} == {Level.SAME}
        asked = [request.asked for request in provider.requests]
    assert all(request.model == "small-1" for request in asked)
    # Each prompt is a recorded one: nobody went on from an answer of this provider, so nothing was executed.
    assert not any(call.id == "x" for request in asked for each in request.messages for call in each.tool_calls)
    assert (tmp_path / "s.jsonl").stat().st_mode & 0o777 == 0o600


def test_samples_come_from_as_many_conversations_as_there_are(tmp_path: Path) -> None:
    found = sampled([traces(tmp_path, 30)], per_cell=20)
    assert (found.steps, found.conversations, found.models) == (90, 30, frozenset({"opus-1"}))
    for kind in ("first_ask", "after_result"):
        mine = [each for each in found.samples if each.kind == kind]
        assert len(mine) == len({each.conversation for each in mine}) == 20
    assert found.samples == sampled([tmp_path / "traces.jsonl"], per_cell=20).samples


def test_a_model_is_not_asked_about_its_own_steps(tmp_path: Path) -> None:
    found = sampled([traces(tmp_path, model="small-1")])
    with ScriptedProvider("x") as provider, pool(provider) as router:
        told = offer(found.samples, router.pool, ["small", "strong"], models=found.models)
    assert told.steps == {"small": 0, "strong": 18}
    assert sampled([tmp_path / "traces.jsonl"], of="opus-1").samples == ()


def test_the_offer_names_companies_that_have_not_seen_the_prompts(tmp_path: Path) -> None:
    found = sampled([traces(tmp_path)])
    with ScriptedProvider("x", provider="acme") as one, ScriptedProvider("x", provider="other") as two:
        targets = [
            one.target(name="strong", model="opus-1", tier="premium", price={"input": 5, "output": 25}),
            one.target(name="near", model="m1", tier="mid", price={"input": 1, "output": 5}),
            two.target(name="far", model="m2", tier="mid", price={"input": 1, "output": 5}),
            two.target(name="unpriced", model="m3", tier="mid"),
        ]
        with Router(targets) as router:
            names = ["near", "far", "unpriced"]
            told = offer(found.samples, router.pool, names, models=found.models)
            assert told.fresh == ("other",)
            assert told.usd == told.expected["near"] + told.expected["far"] > 0
            assert "price is unknown" in told.refused["unpriced"]
            told = offer(found.samples, router.pool, names, models=found.models, allowed=["acme"])
            assert (told.fresh, list(told.steps)) == ((), ["near"])
            assert "not among those allowed" in told.refused["far"]


class Killed(BaseException):
    """The process dies."""


@pytest.mark.parametrize("at", ["before", "during", "after"])
@pytest.mark.parametrize("nth", [1, 7, 18])
def test_killed_at_any_point_nothing_is_paid_twice(tmp_path: Path, at: str, nth: int) -> None:
    found = sampled([traces(tmp_path)])
    with ScriptedProvider(same_as_recorded) as provider, pool(provider) as router:
        dying = shadow(router, State(tmp_path / "s.jsonl"), parallel=1)
        original, calls = dying.ask, 0

        def ask(request: ChatRequest, target: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == nth and at == "before":
                raise Killed
            answer = original(request, target)
            if calls == nth and at == "during":
                raise Killed
            return answer

        dying.ask = ask
        if at == "after":
            dying.state.end = _dying(dying.state.end, nth)  # type: ignore[method-assign]
        with pytest.raises(Killed):
            dying.run(found.samples, ["small"])
        state = State(tmp_path / "s.jsonl")
        assert state.spent >= Decimal(0)
        shadow(router, state).run(found.samples, ["small"])
        prompts = [json.dumps(request.body, sort_keys=True) for request in provider.requests]
    assert len(prompts) == len(set(prompts)) == (17 if at == "before" else 18)
    assert state.cut_off == (0 if at == "after" else 1)
    assert len(state.answered) == 18 - state.cut_off


def _dying(end: Callable[[Answered], None], nth: int) -> Callable[[Answered], None]:
    calls = 0

    def ending(one: Answered) -> None:
        nonlocal calls
        calls += 1
        end(one)
        if calls == nth:
            raise Killed

    return ending


@pytest.mark.parametrize("limit", ["0.0005", "0.03", "0.07"])
@pytest.mark.parametrize("parallel", [1, 6])
def test_the_limit_is_never_exceeded_whatever_the_calls_cost(tmp_path: Path, limit: str, parallel: int) -> None:
    found = sampled([traces(tmp_path)])
    with ScriptedProvider(lambda _: "word " * 2_000) as provider, pool(provider) as router:
        state = State(tmp_path / "s.jsonl")
        for _ in range(3):
            counts = shadow(router, state, limit, parallel=parallel).run(found.samples, ["small"])
        assert isinstance(router.ledger, MemoryLedger)
        billed = sum((entry.cost or Decimal(0) for entry in router.ledger.decisions), Decimal(0))
    assert billed <= state.spent <= Decimal(limit)
    assert counts["over the limit"] > 0


def test_what_failed_without_being_paid_may_be_asked_again(tmp_path: Path) -> None:
    found = sampled([traces(tmp_path, 2)])
    with ScriptedProvider(same_as_recorded, fault=Fault.error(503)) as provider, pool(provider) as router:
        state = State(tmp_path / "s.jsonl")
        assert shadow(router, state).run(found.samples, ["small"])["failed"] == 6
        assert state.spent == 0
    with ScriptedProvider(same_as_recorded) as provider, pool(provider) as router:
        assert shadow(router, State(tmp_path / "s.jsonl")).run(found.samples, ["small"])["answered"] == 6


def test_a_line_that_a_kill_cut_off_costs_nobody_the_next_one(tmp_path: Path) -> None:
    found = sampled([traces(tmp_path)])
    path = tmp_path / "s.jsonl"
    with ScriptedProvider(same_as_recorded) as provider, pool(provider) as router:
        shadow(router, State(path), parallel=1).run(found.samples[:4], ["small"])
        path.write_text(path.read_text()[:-40])
        again = State(path)
        assert (len(again.answered), again.cut_off) == (3, 1)
        shadow(router, again).run(found.samples, ["small"])
    assert len(State(path).answered) == 17


def test_another_file_is_refused(tmp_path: Path) -> None:
    for text in ('{"id": "x"}\n', "hello\n"):
        path = tmp_path / "s.jsonl"
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"s\.jsonl"):
            State(path)


def answer(number: int, agrees: bool, form: str = "loop", ok: bool | None = None, role: str = "scout") -> Answered:
    level = 3 if agrees else 0
    return Answered(
        f"{role}{number}{form}", "small", f"c{number}", role, "x", form, level, agrees, "0.001", "", "", "", ok
    )


@pytest.mark.parametrize("form", ["one-shot", "side call", "structured"])
def test_agreement_licenses_what_nothing_follows_from_and_never_a_loop(form: str) -> None:
    assert screened(answer(n, True, form) for n in range(40))[0].word == "licensed"
    assert screened(answer(n, True, form) for n in range(19))[0].word == "too few"
    assert screened(answer(n, n % 2 == 0, form) for n in range(40))[0].word == "trial"
    assert screened(answer(n, True) for n in range(4_000))[0].word == "trial"


def test_a_target_is_out_by_reviews_only() -> None:
    unreviewed = screened(answer(n, n % 2 == 0) for n in range(100))[0]
    assert (unreviewed.word, unreviewed.open) == ("trial", 50)
    wrong = screened(answer(n, n % 2 == 0, ok=False) for n in range(100))[0]
    assert (wrong.word, wrong.open) == ("excluded", 0)
    own_way = screened(answer(n, n % 2 == 0, ok=True) for n in range(100))[0]
    assert own_way.agreed == 1.0
    assert own_way.low > 0.96


def test_steps_of_one_conversation_are_no_evidence_of_many() -> None:
    rows = [answer(n % 5, True, "structured") for n in range(200)]
    assert screened(rows)[0].word == "too few"


def test_reviews_are_kept(tmp_path: Path) -> None:
    state = State(tmp_path / "s.jsonl")
    for number in range(3):
        state.begin(f"scout{number}loop", Decimal("0.01"), None)
        state.end(answer(number, False))
    first, second, _ = disagreements(state.answered.values())
    state.review(first.key, ok=True, by="me")
    state.review(second.key, ok=False, by="me")
    again = State(tmp_path / "s.jsonl")
    assert [again.answered[each.key].ok for each in (first, second)] == [True, False]
    assert len(disagreements(again.answered.values())) == 1
