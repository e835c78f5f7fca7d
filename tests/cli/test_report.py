"""`agentroute report`: the figures are those of the decisions, exact for programs, readable at 80 columns."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agentroute.cli import app, main
from agentroute.cli.options import ledger_path
from agentroute.decisions import Decision, StepContext
from agentroute.ledger import Label, SqliteLedger
from tests.ledger.test_sqlite import DONE, locked

Run = Callable[..., str]


def step(number: int, **facts: object) -> Decision:
    at = datetime(2026, 11, 20 + number % 3, 12, tzinfo=UTC)
    return replace(DONE, id=f"d{number}", created_at=at, **facts)  # type: ignore[arg-type]


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Three days: a cheap target, a dear one that costs more than the baseline, one without a price, one failure."""
    path = tmp_path / "ledger.db"
    with SqliteLedger(path) as ledger:
        for number in range(6):
            ledger.append(step(number, target="cheap", cost=Decimal("0.001") + Decimal(number) / 10**15))
        ledger.append(step(6, target="dear", cost=Decimal("0.05"), context=StepContext(agent="planner")))
        ledger.append(step(7, target="house", cost=None))
        ledger.append(step(8, target="cheap", cost=Decimal(0), outcome="failed", attempts=DONE.attempts[:1]))
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The output of a report that succeeds, in 80 columns, with nothing on standard error."""
    monkeypatch.setenv("COLUMNS", "80")

    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str | Path) -> str:
        monkeypatch.setattr("sys.argv", ["agentroute", "report", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        shown = capsys.readouterr()
        assert (caught.value.code, shown.err) == (0, "")
        return shown.out

    return run


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The one line of a report that fails, with nothing on standard output."""

    def refused(*arguments: str | Path) -> str:
        monkeypatch.setattr("sys.argv", ["agentroute", "report", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        shown = capsys.readouterr()
        assert (caught.value.code, shown.out, len(shown.err.splitlines())) == (1, "", 1)
        return shown.err

    return refused


def test_json_is_exact(ledger: Path, run: Run) -> None:
    found = json.loads(run("--ledger", ledger, "--json", "--by", "target", "--by", "agent"))
    all_ = found["all"]
    assert (all_["steps"], all_["failed"], all_["unpriced"], all_["compared"]) == (9, 1, 1, 7)
    assert all_["cost"] == "0.056000000000015"
    assert all_["baseline_cost"] == "0.07"
    assert all_["savings"] == "0.013999999999985"
    assert found["totals"]["savings"] == all_["savings"]
    by_target = {row["value"]: row for row in found["by"]["target"]}
    assert list(by_target) == ["dear", "cheap", "house"]
    assert by_target["dear"]["savings"] == "-0.04"
    assert (by_target["house"]["cost"], by_target["house"]["savings"], by_target["house"]["unpriced"]) == (
        None,
        None,
        1,
    )
    assert (by_target["cheap"]["fallbacks"], by_target["cheap"]["duplicates"]) == (6, 6)
    assert {row["value"]: row["steps"] for row in found["by"]["agent"]} == {"coder": 8, "planner": 1}
    assert (all_["duration_p50"], all_["first_content_p95"]) == (1.25, 0.75)


def test_csv_says_the_same(ledger: Path, run: Run) -> None:
    rows = list(csv.DictReader(io.StringIO(run("--ledger", ledger, "--csv"))))
    assert [(row["by"], row["value"]) for row in rows] == [
        ("all", ""),
        ("day", "2026-11-20"),
        ("day", "2026-11-21"),
        ("day", "2026-11-22"),
        ("target", "dear"),
        ("target", "cheap"),
        ("target", "house"),
    ]
    assert rows[0]["cost"] == "0.056000000000015"
    assert (rows[-1]["cost"], rows[-1]["unpriced"]) == ("", "1")


def test_for_people_at_80_columns(ledger: Path, run: Run) -> None:
    shown = run("--ledger", ledger)
    lines = [line.rstrip() for line in shown.splitlines()]
    assert max(map(len, lines[1:])) <= 80
    assert lines[1].startswith("9 steps, 2026-11-20T12:00 to 2026-11-22T12:00")
    assert "cost      $0.0560 and 1 step of unknown cost, in no sum" in lines
    assert "saved     ~$0.0140 (20.0 %)" in lines
    assert "          over 7 steps with both known" in lines
    assert any(line.split()[:5] == ["dear", "1", "$0.0500", "$0.0100", "-$0.0400"] for line in lines)
    assert any(line.split()[:5] == ["house", "1", "unknown*", "unknown", "unknown"] for line in lines)


def test_narrow_even_with_long_names_and_large_sums(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "ledger.db"
    with SqliteLedger(path) as ledger:
        for target in ("openrouter/anthropic/claude-opus-5-5-20260901:thinking", "evil\x1b[31m\nname"):
            ledger.append(step(1, target=target, cost=Decimal("12345.678"), baseline_cost=Decimal("98765.4321")))
    shown = run("--ledger", path)
    assert max(len(line) for line in shown.splitlines()[1:]) <= 80
    assert "\x1b" not in shown
    assert "-$" not in shown


def test_small_is_not_zero(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "ledger.db"
    with SqliteLedger(path) as ledger:
        ledger.append(step(1, cost=Decimal("0.00001"), baseline_cost=Decimal("0.000005")))
    shown = run("--ledger", path)
    assert "cost      <$0.0001" in shown
    assert "saved     ~-<$0.0001" in shown


def test_a_gap_is_shown_and_counted(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "ledger.db"
    ledger = SqliteLedger(path, queue_size=5)
    with locked(path):
        for number in range(50):
            ledger.append(step(number))
    ledger.close()
    found = json.loads(run("--ledger", path, "--json"))
    missing = 50 - found["all"]["steps"]
    assert missing > 0
    assert sum(gap["steps"] for gap in found["gaps"]) == missing
    assert found["totals"]["steps"] == 50
    assert Decimal(found["totals"]["cost"]) == 50 * Decimal("0.00012")
    shown = run("--ledger", path)
    assert f"gap: details of {missing} steps were dropped" in shown
    assert shown.splitlines()[1].startswith("50 steps")
    rows = list(csv.DictReader(io.StringIO(run("--ledger", path, "--csv"))))
    assert sum(int(row["steps"]) for row in rows if row["by"] in ("all", "gap")) == 50


def test_since_and_until(ledger: Path, run: Run, refused: Run) -> None:
    def steps(*arguments: str) -> int:
        return int(json.loads(run("--ledger", ledger, "--json", *arguments))["all"]["steps"])

    assert steps("--since", "2026-11-21") == 6
    assert steps("--since", "2026-11-21", "--until", "2026-11-22") == 3
    assert steps("--until", "2026-11-21T13:00:01+01:00") == 6
    long_ago = (datetime.now(UTC) - datetime(2026, 11, 1, tzinfo=UTC)) // timedelta(days=1) + 1
    if long_ago > 0:
        assert steps("--since", f"{long_ago}d") == 9
    assert "holds no decision in that time" in refused("--ledger", ledger, "--since", "2031-01-01", "--json")
    assert "--since is 'soon'; write a date" in refused("--ledger", ledger, "--since", "soon")


def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, ledger: Path, refused: Run) -> None:
    missing = tmp_path / "none.db"
    assert 'Router(ledger="ledger.db")' in refused("--ledger", missing)
    assert not missing.exists()
    empty = tmp_path / "empty.db"
    SqliteLedger(empty).close()
    assert "holds no decision yet" in refused("--ledger", empty, "--csv")
    text = tmp_path / "text.db"
    text.write_text("not a database, but long enough to be looked at " * 20)
    assert "cannot be used" in refused("--ledger", text)
    assert "'model'; use day, target" in refused("--ledger", ledger, "--by", "model")
    assert "give one of them" in refused("--ledger", ledger, "--json", "--csv")


def test_the_ledger_is_found_without_naming_it(
    ledger: Path, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AGENTROUTE_LEDGER", str(ledger))
    assert json.loads(run("--json"))["ledger"] == str(ledger)
    monkeypatch.delenv("AGENTROUTE_LEDGER")
    monkeypatch.setattr("platformdirs.user_data_dir", lambda name, **_: str(tmp_path / name))
    assert ledger_path() == tmp_path / "agentroute" / "ledger.db"


def test_help_teaches() -> None:
    shown = CliRunner().invoke(app, ["report", "--help"], env={"COLUMNS": "100"}).output
    for words in ("--ledger", "--since", "AGENTROUTE_LEDGER", "conversation_id", "agentroute report --by agent"):
        assert words in shown


def test_a_narrow_table_leaves_columns_out_and_names_them(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "ledger.db"
    with SqliteLedger(path) as ledger:
        ledger.append(step(1, target="anthropic/claude-sonnet-5-5"))
    shown = run("--ledger", path)
    assert any(line.startswith("anthropic/claude-sonnet-5-5 ") for line in map(str.strip, shown.splitlines()))
    assert "Left out at this width: dup" in shown


def test_outcomes_stand_by_role_and_the_target_assigned(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "ledger.db"
    with SqliteLedger(path) as ledger:
        for number in range(10):
            context = StepContext(conversation_id=f"c{number}", role="coder")
            ledger.append(step(number, context=context, cost=Decimal("0.01")))
            at = datetime(2026, 11, 25, tzinfo=UTC)
            ledger.append_label(Label(at, conversation_id=f"c{number}", ok=number > 1, source="person"))
            ledger.append_label(Label(at, decision_id=f"d{number}", ok=number != 1, source="check", name="tests"))
        ledger.append_label(Label(at, conversation_id="c3", ok=True, source="judge"))
        ledger.append_label(Label(at, decision_id="gone", ok=True))
    shown = run("--ledger", path)
    assert "coder small 10 80% 44%-97%" in " ".join(shown.split())
    assert "checks of coder: noticed 1 of 2 failures (95 %: 1%-99%)" in shown
    assert "1 label of steps or conversations that this ledger does not hold" in shown
    assert max(map(len, shown.splitlines()[1:])) <= 80  # the first line is the path
    told = json.loads(run("--ledger", path, "--json"))["outcomes"]
    (row,) = told["by_role_and_target"]
    assert (row["role"], row["target"], row["n"], row["ok"], row["judged"]) == ("coder", "small", 10, 8, 1)
    assert (row["cost"], row["cost_per_success"], told["unmatched"]) == ("0.10", "0.012500", 1)
    since = json.loads(run("--ledger", path, "--json", "--since", "2026-11-21"))["outcomes"]
    assert since["by_role_and_target"][0]["n"] == 6


def test_without_outcomes_nothing_is_said_of_them(ledger: Path, run: Run) -> None:
    assert "assigned to" not in run("--ledger", ledger)
