"""Checks: each kind says what it should, a failure is an outcome and keeps the turn on a higher tier, and no longer."""

from __future__ import annotations

import asyncio
import pickle
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agentroute import ChatRequest, ConfigError, Decision, Prediction, Price, Router, StepContext, Task, Tool
from agentroute.learning.outcomes import counted, sensitivities
from agentroute.ledger import MemoryLedger
from agentroute.messages import Message, ResponseSchema, Text, ToolCall, ToolResult
from agentroute.routing.checks import Checks
from agentroute.routing.step import Step
from agentroute.testing import ScriptedProvider, ScriptedReply, tool_call

CALL = ToolCall("c1", "pytest", "{}")
ASK = Message("user", (Text("fix it"),))
SHELL = ToolCall("c1", "bash", '{"command": "python -m pytest -q"}')
NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def asked(text: str, call: ToolCall = CALL, **flags: Any) -> ChatRequest:
    result = Message("tool", (ToolResult(call.id, (Text(text),), **flags),))
    return ChatRequest((ASK, Message("assistant", (call,)), result), tools=(Tool(call.name),))


def verdicts(checks: dict[str, Any], request: ChatRequest) -> list[tuple[str, bool]]:
    return [(each.name, each.ok) for each in Checks(checks).results(request, None)]


@pytest.mark.parametrize(
    ("check", "text", "ok"),
    [
        (0, '{"exit_code": 0, "output": "2 passed"}', True),
        (0, '{"exit_code": 1, "output": "1 failed"}', False),
        (0, "1 failed\nExit code: 1", False),
        (0, "2 passed\nExit code: 0", True),
        (0, "no code is told", None),
        (3, '{"returncode": 3}', True),
        (r"\d+ passed", "12 passed", True),
        (re.compile("PASSED", re.IGNORECASE), "1 passed", True),
        (r"\d+ passed", "1 failed", False),
        (NUMBER, '{"n": 1}', True),
        (NUMBER, '{"n": "one"}', False),
        (NUMBER, "no JSON", False),
        (True, "===== 1 failed, 3 passed in 0.1s =====", False),
        (True, "===== 4 passed in 0.1s =====", True),
        (lambda text: text == "fine", "fine", True),
        (lambda text: None, "fine", None),
    ],
)
def test_each_kind_of_check_reads_a_result(check: Any, text: str, ok: bool | None) -> None:
    expected = [] if ok is None else [("tool:pytest", ok)]
    assert verdicts({"tool:pytest": check}, asked(text)) == expected


def test_tests_are_known_by_what_the_call_does() -> None:
    failing = "===== 2 failed in 0.3s ====="
    assert verdicts({"tests": True}, asked(failing, SHELL)) == [("tests", False)]
    assert verdicts({"tests": True}, asked(failing, ToolCall("c1", "bash", '{"command": "ls"}'))) == []
    assert verdicts({"tests": True}, asked("fine", is_error=True)) == [("tests", False)]


def test_only_results_since_the_model_last_spoke_are_checked() -> None:
    first = asked("1 failed").messages
    later = ChatRequest((*first, *asked("2 passed", ToolCall("c2", "pytest", "{}")).messages[1:]))
    assert verdicts({"tool:pytest": "passed"}, later) == [("tool:pytest", True)]


def test_of_several_calls_of_one_tool_all_must_pass() -> None:
    calls = (CALL, ToolCall("c2", "pytest", "{}"), ToolCall("c3", "pytest", "{}"))
    texts = ("passed", "failed", "passed")
    results = tuple(ToolResult(call.id, (Text(text),)) for call, text in zip(calls, texts, strict=True))
    request = ChatRequest((ASK, Message("assistant", calls), Message("tool", results)))
    assert verdicts({"tool:pytest": "passed"}, request) == [("tool:pytest", False)]


@pytest.mark.parametrize("keyword", ["$ref", "$dynamicRef"])
def test_a_schema_never_reaches_for_the_network(keyword: str, caplog: pytest.LogCaptureFixture) -> None:
    with ScriptedProvider("{}", provider="openai") as elsewhere:
        schema = {"properties": {"n": {keyword: f"{elsewhere.base_url}/schema.json"}}, "required": ["n"]}
        checks = Checks({"tool:pytest": schema})
        assert list(checks.results(asked('{"n": 1}'), None)) == []
        assert elsewhere.requests == ()
    assert "it says nothing of this step" in caplog.text


def test_a_schema_may_refer_to_its_own_parts() -> None:
    schema = {"$defs": {"n": {"type": "integer"}}, "properties": {"n": {"$ref": "#/$defs/n"}}}
    assert verdicts({"tool:pytest": schema}, asked('{"n": 1}')) == [("tool:pytest", True)]
    assert verdicts({"tool:pytest": schema}, asked('{"n": "x"}')) == [("tool:pytest", False)]


def test_a_check_that_raises_says_nothing_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    def broken(text: str) -> bool:
        raise ValueError(f"cannot read {text}")

    checks = Checks({"tool:pytest": broken})
    for _ in range(3):
        assert list(checks.results(asked("secret prompt"), None)) == []
    assert caplog.text.count("ValueError") == 1
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("checks", "names"),
    [
        ([], "`checks` is a list"),
        ({"pytest": 0}, "'pytest' is no place for a check"),
        ({"tool:": 0}, "'tool:' is no place"),
        ({7: 0}, "7 is no place"),
        ({"tool:x": "("}, "'tool:x' is no regular expression"),
        ({"tool:x": False}, "give a function, a JSON schema, a regular expression, an exit code or True"),
        ({"role:x": 0}, "'role:x' is 0; give a function, a JSON schema, a regular expression$"),
        ({"structured": "x"}, "'structured' is 'x'"),
        ({"structured": {"type": 7}}, "'structured' is no JSON schema"),
        ({"person": True}, "give the names of the tools"),
        ({"person": []}, "give the names of the tools"),
        ({"guardrails": 0}, "'guardrails' is no place"),
    ],
)
def test_what_is_no_check_is_refused_by_name(checks: Any, names: str) -> None:
    with pytest.raises(ConfigError, match=names):
        Router(["openai/gpt-4.1-nano"], checks=checks)
    with pytest.raises(ConfigError, match="success_when is a str"):
        Router(["openai/gpt-4.1-nano"], success_when="yes")  # type: ignore[arg-type]


def test_without_jsonschema_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "jsonschema", None)
    with pytest.raises(ConfigError, match=r"pip install agentroute-llm\[checks\]"):
        Checks({"tool:x": NUMBER})


# -- through a router --------------------------------------------------------------------------------------------------

Complete = Callable[[Router, ChatRequest, StepContext | None], Any]


def plain(router: Router, request: ChatRequest, context: StepContext | None) -> Any:
    return router.complete(request, context=context)


def streamed(router: Router, request: ChatRequest, context: StepContext | None) -> Any:
    with router.stream(request, context=context) as stream:
        for _ in stream:
            pass
    return stream.response


def plain_async(router: Router, request: ChatRequest, context: StepContext | None) -> Any:
    async def call() -> Any:
        answer = await router.acomplete(request, context=context)
        await router.aclose()
        return answer

    return asyncio.run(call())


def streamed_async(router: Router, request: ChatRequest, context: StepContext | None) -> Any:
    async def call() -> Any:
        async with router.astream(request, context=context) as stream:
            async for _ in stream:
                pass
        await router.aclose()
        return stream.response

    return asyncio.run(call())


EVERY_WAY = pytest.mark.parametrize("complete", [plain, streamed, plain_async, streamed_async])


class Sure:
    """Everything is easy, so that only checks move a step."""

    version = "sure"

    def predict(self, step: Step, request: ChatRequest) -> Prediction:
        return Prediction((0.99, 0.99, 0.99, 0.99), Task.CHAT, step.kind, 0.9, ())


_open: list[Router] = []


@pytest.fixture(autouse=True)
def close_routers() -> Iterator[None]:
    yield
    while _open:
        _open.pop().close()


class World:
    """A cheap, a mid and a premium model that answer by script, and a conversation that grows."""

    def __init__(self, provider: ScriptedProvider, **settings: Any) -> None:
        tiers = {"cheap": "budget", "mid": "mid", "strong": "premium"}
        price = Price(Decimal(1), Decimal(2))
        targets = [provider.target(name=name, model=name, tier=tier, price=price) for name, tier in tiers.items()]
        self.router = Router(targets, strategy="cheapest", classifier=Sure(), **settings)
        _open.append(self.router)
        self.messages: tuple[Message, ...] = ()
        self.decisions: list[Decision] = []

    def say(self, *messages: Message, way: Complete = plain, context: StepContext | None = None, **facts: Any) -> str:
        self.messages += messages
        answer = way(self.router, ChatRequest(self.messages, **facts), context)
        self.messages += (answer.message,)
        assert answer.decision is not None
        self.decisions.append(answer.decision)
        return str(answer.decision.target)

    def result(self, text: str) -> Message:
        (call,) = self.messages[-1].tool_calls
        return Message("tool", (ToolResult(call.id, (Text(text),)),))

    @property
    def labels(self) -> list[tuple[str, str | None, bool | None, str]]:
        ledger = self.router.ledger
        assert isinstance(ledger, MemoryLedger)
        ids = [each.id for each in self.decisions]
        return [
            (f"d{ids.index(label.decision_id or '')}", label.name, label.ok, label.source) for label in ledger.labels
        ]


@pytest.fixture
def caller() -> Iterator[ScriptedProvider]:
    """Calls the tool until it is told that it is done."""

    def script(request: ChatRequest) -> ScriptedReply:
        if request.messages[-1].text.startswith("thanks") or "done" in str(request.messages[-1].tool_results):
            return ScriptedReply("all is well")
        return ScriptedReply(tool_calls=(tool_call("pytest", n=len(request.messages)),))

    with ScriptedProvider(script, provider="openai") as provider:
        yield provider


TOOLS = {"tools": (Tool("pytest"),)}


@EVERY_WAY
def test_a_failed_check_is_an_outcome_and_keeps_the_turn_up(complete: Complete, caller: ScriptedProvider) -> None:
    world = World(caller, checks={"tool:pytest": r"passed"})
    served = [world.say(ASK, way=complete, **TOOLS)]
    for text in ("1 failed", "1 passed", "1 passed", "done, passed"):
        served.append(world.say(world.result(text), way=complete, **TOOLS))
    assert served == ["cheap", "mid", "mid", "mid", "mid"], "up at once, and up for the rest of the turn"
    assert world.say(Message("user", (Text("thanks, now say bye"),)), way=complete, **TOOLS) == "cheap"
    assert world.labels == [
        ("d0", "tool:pytest", False, "check"),
        ("d1", "tool:pytest", True, "check"),
        ("d2", "tool:pytest", True, "check"),
        ("d3", "tool:pytest", True, "check"),
    ]
    assert any("check 'tool:pytest' failed on 'cheap'" in reason for reason in world.decisions[1].reasons)


def test_who_fails_again_goes_higher_and_stays_on_top(caller: ScriptedProvider) -> None:
    world = World(caller, checks={"tool:pytest": r"passed"})
    served = [world.say(ASK, **TOOLS)]
    served += [world.say(world.result("failed"), **TOOLS) for _ in range(4)]
    assert served == ["cheap", "mid", "strong", "strong", "strong"]


def test_without_checks_nothing_changes(caller: ScriptedProvider) -> None:
    world = World(caller)
    assert [world.say(ASK, **TOOLS), *(world.say(world.result(t), **TOOLS) for t in ("ok", "ok"))] == ["cheap"] * 3
    assert world.labels == []


def test_a_pin_and_a_ceiling_hold_against_a_check(caller: ScriptedProvider) -> None:
    world = World(caller, checks={"tool:pytest": r"passed"}, roles={"low": {"max_tier": "budget"}})
    low = StepContext(role="low")
    assert [world.say(ASK, context=low, **TOOLS), world.say(world.result("failed"), context=low, **TOOLS)] == [
        "cheap",
        "cheap",
    ]
    pinned = ChatRequest((*world.messages, world.result("failed")), model="cheap", **TOOLS)  # type: ignore[arg-type]
    assert world.router.complete(pinned).decision.target == "cheap"  # type: ignore[union-attr]


def test_route_writes_no_state(caller: ScriptedProvider) -> None:
    world = World(caller, checks={"tool:pytest": r"passed"})
    world.say(ASK, **TOOLS)
    request = ChatRequest((*world.messages, world.result("failed")), **TOOLS)  # type: ignore[arg-type]
    for _ in range(2):
        assert world.router.route(request).target == "mid"
    assert world.labels == []


STRUCTURED = {"response_schema": ResponseSchema(NUMBER)}


@EVERY_WAY
def test_a_structured_answer_that_does_not_fit_escalates_the_next_try(complete: Complete) -> None:
    def script(request: ChatRequest) -> ScriptedReply:
        return ScriptedReply('{"n": 1}' if request.model == "mid" else '{"n": "one"}')

    with ScriptedProvider(script, provider="openai") as provider:
        world = World(provider, checks={"structured": True})
        again = Message("user", (Text("that does not fit the schema, try again"),))
        served = [world.say(ASK, way=complete, **STRUCTURED), world.say(again, way=complete, **STRUCTURED)]
        assert served == ["cheap", "mid"]
        assert world.labels == [("d0", "structured", False, "check"), ("d1", "structured", True, "check")]
        assert world.say(Message("user", (Text("and another"),)), way=complete, **STRUCTURED) == "cheap"


def test_a_prompt_that_is_written_anew_is_known_by_its_conversation() -> None:
    """CrewAI's guardrails ask again with a prompt of their own; the same request again is known too."""
    with ScriptedProvider("too short", provider="openai") as provider:
        world = World(provider, checks={"role:writer": lambda text: len(text) > 100})
        context = StepContext(conversation_id="task-1", agent="writer", role="writer")
        other = StepContext(conversation_id="task-2", agent="writer", role="writer")
        first = ChatRequest.of("write")
        assert world.router.complete(first, context=context).decision.target == "cheap"  # type: ignore[union-attr]
        anew = ChatRequest.of("write. Your last answer was too short")
        assert world.router.route(anew, context=context).target == "mid"
        assert world.router.route(anew, context=other).target == "cheap"
        assert world.router.route(first, context=context).target == "mid"
        reader = StepContext(conversation_id="task-1", agent="reader", role="reader")
        assert world.router.route(anew, context=reader).target == "cheap"


@pytest.mark.parametrize(
    ("edit", "text", "ok"),
    [
        (None, "sent", True),
        ('{"to": "b@x"}', "sent", False),
        ('{ "to":  "a@x" }', "sent", True),
        (None, "User rejected the tool call for `send` with id c1", False),
        (None, "The user doesn't want to proceed with this tool use.", False),
        (None, "the users rejected list is empty", True),
    ],
)
def test_what_a_person_edits_or_rejects_is_an_outcome(edit: str | None, text: str, ok: bool) -> None:
    reply = ScriptedReply(tool_calls=(tool_call("send", to="a@x"), tool_call("look", at="b")))
    with ScriptedProvider(reply, provider="openai") as provider:
        world = World(provider, checks={"person": ["send"]})
        tools = {"tools": (Tool("send"), Tool("look"))}
        world.say(ASK, **tools)
        made, look = world.messages[-1].tool_calls
        if edit is not None:
            changed = ToolCall(made.id, made.name, edit)
            world.messages = (*world.messages[:-1], Message("assistant", (changed, look)))
        results = Message("tool", (ToolResult(made.id, (Text(text),)), ToolResult(look.id, (Text("seen"),))))
        world.say(results, **tools)
        assert world.labels == [("d0", "person:send", ok, "person")]
        assert not any("check" in reason for reason in world.decisions[1].reasons)


@EVERY_WAY
def test_success_when_says_of_each_answer_whether_it_is_right(complete: Complete) -> None:
    said: list[Any] = [True, 0.25, None, False]
    with ScriptedProvider("hello", provider="openai") as provider:
        world = World(provider, success_when=lambda answer: said.pop(0) if answer.text == "hello" else None)
        for number in range(4):
            world.messages = ()
            world.say(Message("user", (Text(f"ask {number}"),)), way=complete)
        ledger = world.router.ledger
        assert isinstance(ledger, MemoryLedger)
        assert [(each.ok, each.score) for each in ledger.labels] == [(True, None), (None, 0.25), (False, None)]


def test_a_success_when_that_raises_never_reaches_the_call(caplog: pytest.LogCaptureFixture) -> None:
    def broken(answer: Any) -> bool:
        raise RuntimeError(f"no verdict on {answer.text}")

    with ScriptedProvider("secret answer", provider="openai") as provider:
        world = World(provider, success_when=broken)
        world.say(ASK)
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text


def test_both_bills_count_and_the_checks_are_measured(caller: ScriptedProvider) -> None:
    world = World(caller, checks={"tool:pytest": r"passed"})
    context = StepContext(conversation_id="run", role="coder")
    world.say(ASK, context=context, **TOOLS)
    for text in ("failed", "done, passed"):
        world.say(world.result(text), context=context, **TOOLS)
    ledger = world.router.ledger
    assert isinstance(ledger, MemoryLedger)
    found = counted(ledger.assignments, ledger.labels)
    (outcome,) = found.outcomes
    assert (outcome.target, outcome.ok) == ("cheap", True), "repaired, for the target it began on"
    assert found.costs[outcome] == sum(each.cost or 0 for each in world.decisions)
    assert outcome in found.noticed
    world.router.outcome(conversation_id="run", ok=False, source="person")
    (row,) = sensitivities(counted(ledger.assignments, ledger.labels))
    assert (row.noticed, row.failed) == (1, 1)


def test_a_config_file_holds_all_but_functions(tmp_path: Path) -> None:
    config = tmp_path / "agentroute.toml"
    target = '[[target]]\nprovider = "openai"\nmodel = "gpt-4.1-nano"\n'
    config.write_text(
        f"""{target}[checks]
"tool:pytest" = 0
"tool:lint" = "no issues"
"tool:find" = {{ type = "array", minItems = 1 }}
tests = true
structured = true
person = ["send"]
"""
    )
    checks = Router.from_config(config).checks
    assert checks is not None
    assert (set(checks.tools), checks.reviewed) == ({"pytest", "lint", "find"}, {"send"})
    assert [each.ok for each in checks.results(asked("[]", ToolCall("c1", "find", "{}")), None)] == [False]
    config.write_text(f"{target}[checks]\npytest = 0\n")
    with pytest.raises(ConfigError, match="'pytest' is no place for a check"):
        Router.from_config(config)


def named(text: str) -> bool:
    return bool(text)


def test_checks_go_through_a_pickle_if_they_can() -> None:
    router = Router(["openai/gpt-4.1-nano"], checks={"role:x": named}, success_when=named)  # type: ignore[arg-type]
    again = pickle.loads(pickle.dumps(router))
    assert again.checks.given == {"role:x": named}
    with pytest.raises(ConfigError, match="its `checks` cannot"):
        pickle.dumps(Router(["openai/gpt-4.1-nano"], checks={"role:x": lambda _: True}))
