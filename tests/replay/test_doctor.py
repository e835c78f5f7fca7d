"""The doctor names every planted fault with what the simulator says it cost, and nothing in sessions without any."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from agentroute import Pool, Target
from agentroute.catalog import resolve
from agentroute.replay.doctor import DoctorReport, Finding, doctor
from tests.replay import planted
from tests.replay.planted import Agent, Provider

ROOT = Path(__file__).resolve().parent.parent.parent
Write = Callable[..., Path]


@pytest.fixture(scope="module")
def simulator() -> Iterator[ModuleType]:
    path = ROOT / "evals" / "simulator.py"
    spec = importlib.util.spec_from_file_location("simulator", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["simulator"] = module
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("simulator", None)


def opus() -> Target:
    return resolve(Target(provider="anthropic", model=planted.OPUS))


def bill(simulator: ModuleType, agent: Agent, on: Target, *cold: int) -> float:
    """USD of the agent's steps; nothing is held before those of the numbers `cold`."""
    steps = [{**step, "cold": number in cold} for number, step in enumerate(agent.steps, 1)]
    return float(simulator.bill({"steps": steps}, simulator.always(on), as_recorded=True).usd)


def by_kind(report: DoctorReport, agent: str) -> dict[str, Finding]:
    return {each.kind: each for each in report.findings if each.agent == agent}


def near(found: Finding, usd: float) -> bool:
    return found.usd is not None and abs(float(found.usd) - usd) <= 0.05 * usd


def test_ten_planted_faults_are_named_with_their_dollars(write: Write, simulator: ModuleType) -> None:
    provider = Provider()
    coder, clerk, reviewer = (make(provider) for make in (planted.coder, planted.clerk, planted.reviewer))
    report = doctor(write(*planted.log(coder, clerk, reviewer)))

    intact = bill(simulator, coder, opus())
    found = by_kind(report, "coder")
    assert set(found) == set(coder.faults.values())
    for number, fault in coder.faults.items():
        assert near(found[fault], bill(simulator, coder, opus(), number) - intact), fault
        assert found[fault].steps == 1

    [unmarked] = by_kind(report, "clerk").values()
    plain = sum(step["p"] * 4 + step["o"] * 20 for step in clerk.steps) / 1e6
    assert unmarked.kind == "no_markers"
    assert near(unmarked, plain - bill(simulator, clerk, opus()))

    [short] = by_kind(report, "reviewer").values()
    price = opus().price
    assert price is not None
    hour = replace(opus(), cache_ttl_s=3600.0, price=replace(price, cache_write=price.cache_write_1h))
    assert short.kind == "short_lifetime"
    assert near(short, bill(simulator, reviewer, opus()) - bill(simulator, reviewer, hour))
    assert short.seconds == 1_220


def test_other_faults_are_named_with_their_dollars(write: Write, simulator: ModuleType) -> None:
    provider = Provider()
    titlers = planted.titler(provider)
    sleeper, half, window, switcher, novelist = (
        make(provider) for make in (planted.sleeper, planted.half, planted.window, planted.switcher, planted.novelist)
    )
    report = doctor(write(*planted.log(*titlers, sleeper, half, window, switcher, novelist)))

    [useless] = by_kind(report, "titler").values()
    assert (useless.kind, useless.steps) == ("useless_markers", 30)
    assert near(useless, sum(agent.steps[0]["p"] for agent in titlers) * (5 - 4) / 1e6)

    price = opus().price
    assert price is not None
    hour = replace(opus(), cache_ttl_s=3600.0, price=replace(price, cache_write=price.cache_write_1h))
    [long] = by_kind(report, "sleeper").values()
    assert long.kind == "long_lifetime"
    assert near(long, bill(simulator, sleeper, hour) - bill(simulator, sleeper, opus()))

    [unmarked] = by_kind(report, "half").values()
    assert unmarked.kind == "unmarked_end"
    paid = sum(price_of(line) for line in half.lines)
    assert near(unmarked, paid - bill(simulator, half, opus()))

    [cut] = by_kind(report, "window").values()
    assert (cut.kind, cut.position) == ("history_cut", 3)
    lost = sum(
        min(before["p"], step["p"]) - line["response"]["usage"]["cache_read_input_tokens"]
        for before, step, line in zip(window.steps[4:], window.steps[5:], window.lines[5:], strict=False)
    )
    assert near(cut, lost * (5 - 0.2) / 1e6)

    [switch] = by_kind(report, "switcher").values()
    assert (switch.kind, switch.model, switch.advice) == ("model_switch", planted.SONNET, True)
    assert near(switch, switcher.steps[5]["p"] * (2.5 - 0.1) / 1e6)

    [long_prompt] = by_kind(report, "novelist").values()
    assert (long_prompt.kind, long_prompt.advice) == ("long_prompts", True)
    assert near(long_prompt, sum(step["p"] - 75_000 for step in novelist.steps[:-1]) * 0.2 / 1e6)


def price_of(line: Mapping[str, Any]) -> float:
    usage = line["response"]["usage"]
    counts = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
    return sum(usage[name] * rate for name, rate in zip(counts, (4, 0.2, 5, 20), strict=True)) / 1e6


def test_a_model_that_costs_more_than_one_of_no_lower_tier(write: Write, make_target: Callable[..., Target]) -> None:
    usage = {"prompt_tokens": 20_000, "completion_tokens": 500, "prompt_tokens_details": {"cached_tokens": 0}}
    lines = [
        {"agent": "clerk", "request": openai("dear-1", n, f"question {n} " * 400), "response": openai_answer(n, usage)}
        for n in range(10)
    ]
    dear, cheap = make_target("dear", "mid", "2", "8"), make_target("cheap", "mid", "1", "4")
    lower, better = make_target("lower", "budget", "0.1", "0.4"), make_target("better", "premium", "5", "20")
    report = doctor(write(*lines), Pool([dear, cheap, lower, better]))
    [found] = report.findings
    assert (found.kind, found.model, found.by, found.steps) == ("dominated_model", "dear", "cheap", 10)
    assert found.usd == Decimal(10 * (20_000 * (2 - 1) + 500 * (8 - 4))) / 1_000_000
    assert report.thrown_away == 0


# -- clean sessions ----------------------------------------------------------------------------------------------------


def openai(model: str, number: int, ask: str, *, system: str = "Be brief. " * 800, steps: int = 0) -> dict[str, Any]:
    """A body of chat completions, with so many calls and results in it."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}, {"role": "user", "content": ask}]
    for at in range(steps):
        call = {"name": "look", "arguments": json.dumps({"at": at})}
        messages += [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": f"c{number}_{at}", "type": "function", "function": call}],
            },
            {"role": "tool", "tool_call_id": f"c{number}_{at}", "content": f"row {at} " * 300},
        ]
    return {"model": model, "messages": messages}


def openai_answer(number: int, usage: Mapping[str, Any] | None = None, *, at: int = -1) -> dict[str, Any]:
    message: dict[str, Any] = {"content": "done"}
    if at >= 0:
        call = {"name": "look", "arguments": json.dumps({"at": at})}
        message = {"content": None, "tool_calls": [{"id": f"c{number}_{at}", "type": "function", "function": call}]}
    return {"choices": [{"message": message}], **({} if usage is None else {"usage": usage})}


TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def loop_of_openai(
    number: int, *, counted: bool, model: str = "gpt-5.4", ask: str = "count the rows " * 50
) -> list[Any]:
    """A loop whose provider caches by itself, in blocks of 128 tokens."""
    lines: list[Any] = []
    before = 0
    for at in range(12):
        body = {**openai(model, number, ask, steps=at), "tools": [TOOL]}
        prompt = len(json.dumps(body["messages"])) // 4
        usage = {
            "prompt_tokens": prompt,
            "completion_tokens": 40,
            "prompt_tokens_details": {"cached_tokens": before // 128 * 128},
        }
        before = prompt
        answer = openai_answer(number, usage if counted else None, at=at)
        lines.append({"timestamp": planted.START + 20 * at + number, "request": body, "response": answer})
    return lines


def clean_anthropic() -> list[Any]:
    agent = Agent("coder", Provider())
    agent.run(30)
    return list(planted.log(agent))


def clean_hour() -> list[Any]:
    """An hour is asked for, and half of the pauses need it."""
    agent = Agent("coder", Provider(), marks=planted.HOUR)
    for number in range(30):
        agent.step()
        agent.now += 900 if number % 2 else 0
    return list(planted.log(agent))


def clean_one_shots() -> list[Any]:
    """Questions over documents, without markers."""
    agents = [Agent("rag", Provider(), ask=3_000, loop=False, marks=None, now=planted.START + n) for n in range(20)]
    for number, agent in enumerate(agents):
        agent.messages[0]["content"][0]["text"] = planted.words(f"document {number}", 3_000)
        agent.step()
    return list(planted.log(*agents))


def clean_shared_head() -> list[Any]:
    """One-shots whose marked system prompt is read by the next."""
    provider = Provider()
    agents = [
        Agent(
            "judge",
            provider,
            ask=600,
            loop=False,
            system=planted.words("rule", 5_000),
            marked="head",
            now=planted.START + 20 * n,
        )
        for n in range(20)
    ]
    for number, agent in enumerate(agents):
        agent.messages[0]["content"][0]["text"] = planted.words(f"case {number}", 600)
        agent.step()
    return list(planted.log(*agents))


def unnamed(agents: list[Agent], steps: int) -> list[Any]:
    """The same ask of all of them, logged without their names."""
    for agent in agents:
        agent.messages[0]["content"][0]["text"] = planted.words("the same ask", 4_000)
        agent.run(steps)
    lines = list(planted.log(*agents))
    for line in lines:
        del line["agent"]
    return lines


def clean_trials() -> list[Any]:
    """The same task in five conversations at once, none with a name."""
    provider = Provider()
    return unnamed([Agent(f"t{n}", provider, ask=4_000, now=planted.START + n) for n in range(5)], 12)


def clean_compaction() -> list[Any]:
    """Once in 40 steps the history becomes a summary and its last steps."""
    agent = Agent("coder", Provider(), conversation="one")
    agent.run(20)
    agent.messages[1:-6] = [
        {"role": "assistant", "content": [{"type": "text", "text": "noted"}]},
        {"role": "user", "content": [{"type": "text", "text": planted.words("summary", 900)}]},
    ]
    agent.run(20)
    return list(planted.log(agent))


def clean_side_calls() -> list[Any]:
    """Titles and sub-agents under the id of the conversation that they belong to."""
    provider = Provider()
    main, helper = Agent("coder", provider, conversation="one"), Agent("explore", provider, conversation="one")
    title = Agent("coder", provider, conversation="one", loop=False, system="Give a title.", marks=None, ask=900)
    for _ in range(12):
        main.step()
        helper.step()
    title.step()
    return list(planted.log(main, helper, title))


def clean_retries() -> list[Any]:
    """A request that is sent twice, and an answer that is thrown away."""
    agent = Agent("coder", Provider())
    agent.run(6)
    del agent.messages[-2:]
    agent.run(6)
    del agent.messages[-4:]
    agent.run(6)
    return list(planted.log(agent))


def clean_branches() -> list[Any]:
    """Two branches of one conversation, each with a long text of its own, in turns."""
    provider = Provider()
    one = Agent("coder", provider)
    one.run(5)
    two = Agent("coder", provider, messages=[], now=one.now + 1)
    two.messages[:] = [*one.messages, {"role": "assistant", "content": [{"type": "text", "text": "on"}]}]
    two.messages.append({"role": "user", "content": [{"type": "text", "text": planted.words("branch", 20_000)}]})
    for _ in range(8):
        one.step()
        two.step()
    return list(planted.log(one, two))


def clean_whole() -> list[Any]:
    """A conversation on a line, with nothing but messages."""
    return [{"messages": openai("gpt-5.4", 0, "count", steps=20)["messages"], "model": "gpt-5.4"}]


def clean_few_shots() -> list[Any]:
    """Examples before the question, the same for all."""
    lines = []
    for number in range(20):
        body = openai("gpt-5.4", 0, "example", steps=3)
        body["messages"].append({"role": "user", "content": f"question {number} " * 60})
        lines.append({"request": body, "response": openai_answer(number)})
    return lines


CLEAN = {
    "anthropic": clean_anthropic,
    "an hour that is needed": clean_hour,
    "one-shots": clean_one_shots,
    "a shared system prompt": clean_shared_head,
    "parallel trials": clean_trials,
    "one compaction": clean_compaction,
    "side calls": clean_side_calls,
    "retries": clean_retries,
    "branches": clean_branches,
    "openai, counted": lambda: loop_of_openai(0, counted=True),
    "openai, modelled": lambda: loop_of_openai(0, counted=False),
    "two at once": lambda: sorted(
        [*loop_of_openai(0, counted=True), *loop_of_openai(1, counted=True, ask="look twice " * 50)],
        key=lambda line: float(line["timestamp"]),
    ),
    "gemini": lambda: loop_of_openai(0, counted=False, model="gemini-3.8-flash"),
    "an unknown model": lambda: loop_of_openai(0, counted=True, model="house-model"),
    "a whole conversation": clean_whole,
    "few-shot prompts": clean_few_shots,
}


@pytest.mark.parametrize("name", CLEAN)
def test_a_clean_session_has_no_finding(name: str, write: Write) -> None:
    report = doctor(write(*CLEAN[name]()))
    assert report.steps
    assert report.findings == ()
    assert report.thrown_away == 0


def clean_editing() -> list[Any]:
    """Old results are cleared, all at once."""
    agent = Agent("coder", Provider(), grows=2_000)
    agent.run(20)
    for message in agent.messages[2:-6:2]:
        message["content"][0]["content"] = "cleared"
    agent.run(20)
    return list(planted.log(agent))


def clean_at_once() -> list[Any]:
    """The same ask five times at once: none reads what the others are about to write."""
    return unnamed([Agent(f"t{n}", Provider(), ask=4_000, now=planted.START) for n in range(5)], 8)


def clean_inferred_tools() -> list[Any]:
    """Nobody logged the tools; those that were called come one after the other."""
    lines = loop_of_openai(0, counted=False)
    for at, line in enumerate(lines):
        del line["request"]["tools"]
        name = f"tool{at % 4}"
        line["response"]["choices"][0]["message"]["tool_calls"][0]["function"]["name"] = name
        for later in lines[at + 1 :]:
            later["request"]["messages"][2 + 2 * at]["tool_calls"][0]["function"]["name"] = name
    return lines


@pytest.mark.parametrize("make", [clean_editing, clean_at_once, clean_inferred_tools])
def test_what_looks_like_a_fault(make: Callable[[], list[Any]], write: Write) -> None:
    report = doctor(write(*make()))
    assert report.findings == ()


# -- other dialects, other models, other places ------------------------------------------------------------------------


def turned(lines: list[Any]) -> None:
    for line in lines[6:]:
        line["request"]["tools"] = line["request"]["tools"][::-1]


def clocked(lines: list[Any]) -> None:
    for at, line in enumerate(lines):
        line["request"]["messages"][0] = {"role": "system", "content": f"It is 10:{at:02}. " + "Be brief. " * 800}


def tried_harder(lines: list[Any]) -> None:
    for line in lines[6:]:
        line["request"]["reasoning_effort"] = "high"


def reminded(lines: list[Any]) -> None:
    """A memory is put in before the first ask."""
    for line in lines[6:]:
        line["request"]["messages"].insert(1, {"role": "user", "content": "remember " * 40})


def forgotten(lines: list[Any]) -> None:
    """One call and its result are left out, once."""
    for line in lines[6:]:
        del line["request"]["messages"][4:6]


OTHER: Mapping[str, tuple[Callable[[list[Any]], None], int | None, int]] = {
    "tool_order": (turned, 1, 1),
    "volatile_text": (clocked, 1, 11),
    "effort_toggled": (tried_harder, None, 1),
    "message_changed": (reminded, 2, 1),
    "history_cut": (forgotten, 5, 1),
}


@pytest.mark.parametrize("model", ["gpt-5.4", "gemini-3.8-flash", "deepseek-chat", "glm-5.3"])
@pytest.mark.parametrize("kind", OTHER)
def test_faults_of_models_that_cache_by_themselves(kind: str, model: str, write: Write) -> None:
    """Nobody counted: what a model was sent before is taken to be read."""
    plant, position, steps = OTHER[kind]
    lines = loop_of_openai(0, counted=False, model=model, ask="count the rows " * 2_000)
    for line in lines:
        line["request"]["tools"] = [TOOL, {**TOOL, "function": {**TOOL["function"], "name": "edit"}}]
    plant(lines)
    report = doctor(write(*lines))
    [found] = report.findings
    assert (found.kind, found.position, found.steps, report.counted) == (kind, position, steps, 0)
    assert found.usd is not None
    assert found.usd > 0


@pytest.mark.parametrize("kind", OTHER)
def test_without_a_price_the_tokens_are_told(kind: str, write: Write) -> None:
    plant, _, steps = OTHER[kind]
    lines = loop_of_openai(0, counted=True, model="house-model")
    for line in lines:
        line["request"]["tools"] = [TOOL, {**TOOL, "function": {**TOOL["function"], "name": "edit"}}]
    plant(lines)
    for line in lines if kind == "volatile_text" else lines[6:7]:
        line["response"]["usage"]["prompt_tokens_details"]["cached_tokens"] = 0
    report = doctor(write(*lines))
    [found] = report.findings
    assert (found.kind, found.usd, found.steps) == (kind, None, steps)
    assert found.tokens > 2_000 * steps
    assert (report.usd, report.thrown_away, report.unpriced) == (0, 0, 12)


def test_a_conversation_goes_on_under_its_id_also_if_a_tool_is_new(write: Write) -> None:
    """An agent without a name is called by its prompt and tools: by those it began with."""
    agent = planted.coder(Provider())
    lines = list(planted.log(agent))
    for line in lines:
        del line["agent"]
    report = doctor(write(*lines))
    assert len(report.agents) == report.conversations == 1
    assert {each.kind for each in report.findings} == set(agent.faults.values())


def loop_of_responses(*, effort_from: int) -> list[Any]:
    """A loop in OpenAI's Responses, whose effort changes at a step; the provider reads nothing then."""
    items: list[Any] = [{"role": "user", "content": "count the rows " * 2_000}]
    lines: list[Any] = []
    before = 0
    for at in range(12):
        effort = "high" if at >= effort_from else "low"
        prompt = len(json.dumps(items)) // 4
        body = {"model": "gpt-5.4", "instructions": "Be brief.", "input": list(items), "reasoning": {"effort": effort}}
        call = {"type": "function_call", "call_id": f"c{at}", "name": "look", "arguments": "{}", "id": f"fc{at}"}
        usage = {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": 0 if at == effort_from else before},
            "output_tokens": 40,
        }
        answer = {"object": "response", "id": f"r{at}", "status": "completed", "output": [call], "usage": usage}
        lines.append({"timestamp": planted.START + 20 * at, "request": body, "response": answer})
        items += [call, {"type": "function_call_output", "call_id": f"c{at}", "output": f"row {at} " * 200}]
        before = prompt
    return lines


@pytest.mark.parametrize("effort_from", [5, 99])
def test_responses(effort_from: int, write: Write) -> None:
    report = doctor(write(*loop_of_responses(effort_from=effort_from)))
    assert [each.kind for each in report.findings] == (["effort_toggled"] if effort_from < 12 else [])
    assert report.conversations == 1


@pytest.mark.requires("shared")
def test_recorded_bills(simulator: ModuleType, shared: Path) -> None:
    """What the simulator calls thrown away: 58 and 21 % of two recorded bills."""
    for name in ("workloads", "doctor"):
        spec = importlib.util.spec_from_file_location(name, ROOT / "evals" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    evals, workloads = sys.modules.pop("doctor"), sys.modules.pop("workloads")
    on = simulator.TARGETS["opus-5.5"]
    sessions = {each["id"]: each for each in workloads.load(shared / "economics" / "coding.json.gz")}
    for name, share in (("pi_large", 0.580), ("pi_before_compaction", 0.209)):
        session = sessions.pop(name)
        intact = simulator.bill(session, simulator.always(on)).usd
        recorded = simulator.bill(session, simulator.always(on), as_recorded=True).usd
        report = evals.examined(session, on)
        found = next(each for each in report.findings if each.kind == "unexplained")
        assert report.share == pytest.approx(share, abs=0.002)
        assert near(found, recorded - intact)
        assert float(report.usd) == pytest.approx(recorded, rel=0.001)
        assert found.turns > 0.8 * found.steps
    for session in sessions.values():
        assert evals.examined(session, on).thrown_away == 0


@pytest.mark.requires("shared")
def test_recorded_logs_of_every_kind_are_read(shared: Path) -> None:
    """Small clean samples of what coding agents, tracers and gateways write."""
    for folder in sorted((shared / "cases" / "traces").iterdir()):
        if folder.is_dir():
            report = doctor([path for path in folder.rglob("*") if path.is_file() and path.name != "expected.json"])
            assert report.steps, folder
            assert {each.kind for each in report.findings} <= {"dominated_model"}, folder


def test_what_nobody_counted_is_modelled_by_the_markers(write: Write) -> None:
    """The same faults in a log without usage: found by what was sent and marked."""
    provider = Provider()
    coder, clerk, reviewer, half = (
        make(provider) for make in (planted.coder, planted.clerk, planted.reviewer, planted.half)
    )
    counted = doctor(write(*planted.log(coder, clerk, reviewer, half)))
    lines = list(planted.log(coder, clerk, reviewer, half))
    for line in lines:
        del line["response"]["usage"]
    modelled = doctor(write(*lines))
    assert (counted.counted, modelled.counted) == (counted.steps, 0)
    kinds = [{(each.agent, each.kind): each for each in report.findings} for report in (counted, modelled)]
    assert set(kinds[0]) == set(kinds[1])
    for key, found in kinds[0].items():
        assert kinds[1][key].steps == found.steps, key
