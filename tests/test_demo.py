"""The demo: what it shows, that its accidents matter, and that the models' words do not depend on the routing."""

from __future__ import annotations

import html
import io
import re
import threading
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from agentroute import Attempt, Decision, Router, StepKind, Target, Tier, Usage
from agentroute.cli import demo as demo_command
from agentroute.errors import ConfigError
from agentroute.figures import usd
from agentroute.testing import ScriptedProvider

pytestmark = pytest.mark.requires("langchain")

DOCS = Path(__file__).resolve().parent.parent / "docs"


def run(*, width: int = 110, **accidents: bool) -> tuple[Any, str]:
    from langchain_agentroute.demo import run

    out = io.StringIO()
    return run(console=Console(file=out, width=width), **accidents), out.getvalue()


@pytest.fixture(scope="module")
def shown() -> tuple[Any, str]:
    return run()


def failures(decision: Decision) -> list[tuple[str, int | None]]:
    return [(attempt.target, attempt.status) for attempt in decision.attempts if attempt.outcome != "ok"]


def test_many_kinds_of_steps_go_to_several_tiers(shown: tuple[Any, str]) -> None:
    decisions = shown[0].decisions
    assert len(decisions) >= 10
    assert {StepKind.STRUCTURED, StepKind.FIRST_ASK, StepKind.AFTER_RESULT, StepKind.AFTER_ERROR} <= {
        decision.step_kind for decision in decisions
    }
    assert len({decision.task for decision in decisions}) >= 3
    assert len({decision.tier for decision in decisions}) >= 3
    assert {decision.outcome for decision in decisions} == {"ok"}


def test_evidence_takes_a_step_up_and_recovery_brings_a_later_one_down(shown: tuple[Any, str]) -> None:
    decisions = shown[0].decisions
    up = next(
        at
        for at, (before, after) in enumerate(pairwise(decisions), 1)
        if after.step_kind is StepKind.AFTER_ERROR and after.tier > before.tier
    )
    assert any(later.tier < decisions[up].tier for later in decisions[up:])
    assert re.search(
        rf"^Why step {up + 1} \(after_error, \w+\) went to {decisions[up].target}$", shown[1], re.MULTILINE
    )


def test_one_step_falls_over_after_a_503_to_another_provider(shown: tuple[Any, str]) -> None:
    fell = [decision for decision in shown[0].decisions if decision.fallbacks]
    assert len(fell) == 1
    ((target, status),) = failures(fell[0])
    assert status == 503
    assert fell[0].target != target
    assert f"{target} 503 > {fell[0].target}" in shown[1]


def test_every_step_is_a_row_and_the_bill_adds_up(shown: tuple[Any, str]) -> None:
    result, text = shown
    rows = [line for line in text.splitlines() if line[:3].strip().isdigit()]
    assert [int(row[:3]) for row in rows] == list(range(1, len(result.decisions) + 1))
    for row, decision in zip(rows, result.decisions, strict=True):
        assert decision.target in row
        assert f"{decision.usage.input_tokens:,}" in row
        assert f"${decision.cost:.5f}" in row
    assert result.bill.spent == sum(decision.cost for decision in result.decisions)
    assert result.bill.baseline == sum(decision.baseline_cost for decision in result.decisions)
    assert result.bill.savings == result.bill.baseline - result.bill.spent
    for amount in (result.bill.spent, result.bill.baseline, result.bill.savings):
        assert usd(amount, places=5) in text
    for said in ("models are scripted", "(list) are real", "estimate"):
        assert said in text


@pytest.mark.parametrize("width", [80, 110, 140])
def test_no_line_is_wrapped_or_too_long(width: int, shown: tuple[Any, str]) -> None:
    text = shown[1] if width == 110 else run(width=width)[1]
    assert max(len(line) for line in text.splitlines()) <= width
    steps = [line for line in text.splitlines() if line[:3].strip().isdigit()]
    assert len(steps) == len(shown[0].decisions)


def test_eighty_columns_are_enough_for_who_asked_and_what_was_cached(shown: tuple[Any, str]) -> None:
    text = run(width=80)[1]
    head = next(line for line in text.splitlines() if line.split()[:1] == ["#"])
    assert head.split() == ["#", "who", "step", "target", "in", "out", "cached", "cost"]
    rows = [line.split() for line in text.splitlines() if line[:3].strip().isdigit()]
    for row, decision in zip(rows, shown[0].decisions, strict=True):
        context = decision.context
        assert row[1] == (context.agent or context.role or context.node)
        assert row[-2] == f"{decision.usage.cache_read_tokens:,}"
    assert any(row[-2] != "0" for row in rows)


@pytest.mark.parametrize(
    ("width", "hidden"),
    [
        (56, ["out 61", "who 70", "why 100", "task 124"]),
        (80, ["why 100", "task 124"]),
        (110, ["task 124"]),
        (124, []),
    ],
)
def test_a_column_that_finds_no_room_is_named_with_the_width_that_shows_it(width: int, hidden: list[str]) -> None:
    from langchain_agentroute.demo.display import Board

    def head(columns: int) -> tuple[str, str]:
        out = io.StringIO()
        board = Board(Console(file=out, width=columns))
        board.show_head()
        titles, *_ = out.getvalue().splitlines()
        board.show_hidden()
        return titles, out.getvalue()

    said = head(width)[1]
    assert ("A wider terminal shows" in said) is bool(hidden)
    assert re.findall(r"(\w+)\s+\(from\s+(\d+)\s+columns", said) == [tuple(column.split()) for column in hidden]
    for title, least in map(str.split, hidden):
        assert title in head(int(least))[0].split()
        assert title not in head(int(least) - 1)[0].split()


def test_one_step_is_not_called_steps(shown: tuple[Any, str]) -> None:
    from langchain_agentroute.demo.display import Bill, show_bill

    assert re.search(r"^terra +4 steps  ", shown[1], re.MULTILINE)
    first, out = shown[0].decisions[0], io.StringIO()
    with Router([Target(name=first.target, provider="p", model="m", tier="budget")]) as router:
        show_bill(Console(file=out, width=110), [first], Bill.of([first]), list(router.pool))
    assert re.search(rf"^{first.target} +1 step  ", out.getvalue(), re.MULTILINE)


def test_the_picture_in_the_docs_shows_what_the_demo_prints_now(shown: tuple[Any, str]) -> None:
    svg = (DOCS / "img" / "demo.svg").read_text(encoding="utf-8")
    drawn = " ".join(html.unescape(re.sub(r"<[^>]*>", " ", svg[svg.index("<text") :])).split())
    result, text = shown
    bill = result.bill
    for target in {decision.target for decision in result.decisions}:
        (count,) = re.findall(rf"^{target} +(\d+ steps?) ", text, re.MULTILINE)
        assert re.search(rf"\b{target} {count} ", drawn)
    # The engineer's failing tests print a traceback, whose length depends on the Python that runs them.
    for word, amount in (("spent", bill.spent), ("saved", bill.savings)):
        (sign, pictured), *_ = re.findall(rf"{word} (-?)\$([\d.]+)", drawn)
        assert float(sign + pictured) == pytest.approx(float(amount), rel=0.03)


def test_the_page_about_the_demo_shows_a_fallback_as_the_demo_does(shown: tuple[Any, str]) -> None:
    quoted = re.findall(r"`([^`]* > [^`]*)`", (DOCS / "demo.md").read_text(encoding="utf-8"))
    assert quoted
    for example in quoted:
        assert example in shown[1]


def test_the_case_is_settled(shown: tuple[Any, str]) -> None:
    case = shown[0].case
    assert case["ticket"].may_be_our_bug
    assert "CN-88" in case["finding"]
    assert "all five tests pass" in case["repair"]
    assert "4.01" in case["letter"]
    assert case["summary"]


def test_without_its_accidents_the_decisions_and_the_bill_are_others(shown: tuple[Any, str]) -> None:
    with_both = shown[0]
    no_error, _ = run(tool_error=False)
    no_overload, _ = run(overload=False)
    neither, _ = run(tool_error=False, overload=False)

    def after_error(result: Any) -> int:
        return sum(decision.step_kind is StepKind.AFTER_ERROR for decision in result.decisions)

    assert after_error(no_error) == after_error(with_both) - 1
    assert len(no_error.decisions) == len(with_both.decisions) - 1
    assert [decision.fallbacks for decision in no_overload.decisions] == [0] * len(with_both.decisions)
    assert sum(decision.fallbacks for decision in neither.decisions) == 0
    assert [d.target for d in no_overload.decisions] != [d.target for d in with_both.decisions]
    assert [d.target for d in no_error.decisions] != [d.target for d in with_both.decisions]
    assert len({result.bill.spent for result in (with_both, no_error, no_overload, neither)}) == 4
    assert no_error.bill.baseline != with_both.bill.baseline


def test_the_models_say_the_same_whichever_target_serves(tmp_path: Path, shown: tuple[Any, str]) -> None:
    from langchain_agentroute import RoutedChatModel
    from langchain_agentroute.demo import FLEET, build
    from langchain_agentroute.demo.script import reply
    from langchain_agentroute.demo.workspace import TICKET, Workspace

    conversations = []
    for name, provider, model, tier in FLEET:
        folder = tmp_path / name
        folder.mkdir()
        with (
            ScriptedProvider(reply, provider=provider) as server,
            Router(targets=[server.target(name=name, model=model, tier=tier)]) as router,
        ):
            graph = build(RoutedChatModel(router=router), Workspace(folder, tool_error=True))
            assert graph.invoke({"text": TICKET}) == shown[0].case
        assert {request.model for request in server.requests} == {model}
        conversations.append([request.body["messages"] for request in server.requests])
    assert conversations[0] == conversations[1] == conversations[2] == conversations[3]


def test_the_estimate_of_always_premium_is_what_a_run_of_always_premium_costs(
    tmp_path: Path, shown: tuple[Any, str]
) -> None:
    from langchain_agentroute import RoutedChatModel
    from langchain_agentroute.demo import FLEET, build
    from langchain_agentroute.demo.script import reply
    from langchain_agentroute.demo.workspace import TICKET, Workspace

    name, provider, model, tier = FLEET[-1]
    with (
        ScriptedProvider(reply, provider=provider, cache_from_tokens=512, cache_writes=True) as server,
        Router(targets=[server.target(name=name, model=model, tier=tier)]) as router,
    ):
        graph = build(RoutedChatModel(router=router), Workspace(tmp_path, tool_error=True))
        graph.invoke({"text": TICKET})
    assert shown[0].bill.baseline_target == name
    assert router.ledger.totals.cost == shown[0].bill.baseline


def test_the_tools_do_real_work(tmp_path: Path) -> None:
    from langchain_agentroute.demo.workspace import Workspace

    tools = {tool.name: tool for tool in Workspace(tmp_path, tool_error=False).engineer_tools()}
    assert "FAILED (failures=2)\nexit code 1" in tools["run_tests"].invoke({})
    old = "if line.quantity > BULK_FROM:"
    edit = {"path": "shop/pricing.py", "old": old, "new": old.replace(">", ">=")}
    assert tools["edit_file"].invoke(edit).startswith("edited shop/pricing.py")
    assert "stands 0 times" in tools["edit_file"].invoke(edit)
    tests = tools["run_tests"].invoke({})
    assert "FAILED (failures=1)" in tests
    assert str(tmp_path) not in tests


def test_nothing_is_left_behind(shown: tuple[Any, str]) -> None:
    assert not [thread for thread in threading.enumerate() if "scripted" in thread.name]


def test_a_bill_shows_losses_and_unknown_prices(shown: tuple[Any, str]) -> None:
    from langchain_agentroute.demo.display import Bill, show_bill

    def printed(decision: Decision) -> str:
        out = io.StringIO()
        show_bill(Console(file=out, width=110), [decision], Bill.of([decision]), [])
        return out.getvalue()

    one = replace(shown[0].decisions[0], cost=Decimal("0.03"), baseline_cost=Decimal("0.02"))
    assert "-$0.01000 (-50.0 %)" in printed(one)
    assert printed(replace(one, cost=None)).count("unknown") == 2


def test_unknown_usage_is_never_shown_as_zero(shown: tuple[Any, str]) -> None:
    from langchain_agentroute.demo.display import Board

    out = io.StringIO()
    attempt = Attempt("opus", "ok", 0.0, 0.1)
    board = Board(Console(file=out, width=110))
    unknown = replace(shown[0].decisions[0], usage=None, cost=None, tier=Tier.PREMIUM, attempts=(attempt,))
    board.append(unknown)
    board.append(replace(unknown, usage=Usage(10, 20)))
    first, second = (line for line in out.getvalue().splitlines() if line[:3].strip().isdigit())
    assert first.split()[-4:] == ["?", "?", "?", "unknown"]
    assert second.split()[-4:] == ["10", "20", "?", "unknown"]


@pytest.mark.parametrize("name", ["nonesuch", "lamaindex"])
def test_an_unknown_demo_names_those_there_are(name: str) -> None:
    from agentroute.cli import app

    result = CliRunner().invoke(app, ["demo", name])
    assert isinstance(result.exception, ConfigError)
    assert "there is langgraph, crewai, llamaindex" in str(result.exception)
    assert ("did you mean 'llamaindex'?" in str(result.exception)) is (name == "lamaindex")


def _missing(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    def load(module: str) -> Any:
        raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)

    monkeypatch.setattr(demo_command, "import_module", load)


@pytest.mark.parametrize(
    ("name", "missing", "extra"),
    [
        ("langgraph", "langchain", "langchain"),
        ("langgraph", "langgraph.graph", "langchain"),
        ("crewai", "crewai", "crewai"),
        ("llamaindex", "llama_index.core", "llama-index"),
    ],
)
def test_a_missing_framework_names_its_extra(
    name: str, missing: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _missing(monkeypatch, missing)
    monkeypatch.setattr(demo_command, "_is_there", lambda package: False)
    with pytest.raises(ConfigError, match=rf'pip install "agentroute-llm\[{extra}\]"') as caught:
        demo_command.command(name)
    assert missing in str(caught.value)


def test_a_broken_demo_is_not_taken_for_a_missing_framework(monkeypatch: pytest.MonkeyPatch) -> None:
    _missing(monkeypatch, "langchain_agentroute.gone")
    with pytest.raises(ModuleNotFoundError, match="gone"):
        demo_command.command("langgraph")


@pytest.mark.parametrize("installed", list(demo_command.DEMOS))
def test_what_is_installed_decides(installed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    framework = demo_command.DEMOS[installed].framework
    monkeypatch.setattr(demo_command, "_is_there", lambda package: package == framework)
    shown: list[str] = []
    monkeypatch.setattr(
        demo_command, "import_module", lambda name: SimpleNamespace(run=lambda console: shown.append(name))
    )
    demo_command.command()
    assert shown == [demo_command.DEMOS[installed].module]


@pytest.mark.filterwarnings("ignore")  # the frameworks' own, when they are imported
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("crewai", marks=pytest.mark.requires("crewai")),
        pytest.param("llamaindex", marks=pytest.mark.requires("llama_index")),
    ],
)
def test_crews_and_workflows_have_one_too(name: str) -> None:
    from agentroute.cli import app

    result = CliRunner().invoke(app, ["demo", name], env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    assert "terra 503 > luna" in result.stdout
    assert re.search(
        r"^spent \$0\.\d+; \d steps on astra alone: ~\$0\.\d+, \d\d\.\d % saved$", result.stdout, re.MULTILINE
    )
    assert max(map(len, result.stdout.splitlines()[:-1])) <= 80
