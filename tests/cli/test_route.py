"""`agentroute route`: ten readable lines, JSON that reads back, errors in one line."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agentroute import Decision
from agentroute.cli import app, main

RUNNER = CliRunner()


def test_a_prompt_is_explained_in_about_ten_lines() -> None:
    result = RUNNER.invoke(app, ["route", "Why is the sky blue?"])
    assert result.exit_code == 0
    lines = result.stdout.strip().splitlines()
    assert len(lines) <= 10
    assert lines[0].startswith("-> ")
    assert any(line.startswith("because") for line in lines)


def test_json_reads_back() -> None:
    result = RUNNER.invoke(app, ["route", "--json", "--role", "editor", "Hello"])
    decision = Decision.from_dict(json.loads(result.stdout))
    assert decision.context.role == "editor"
    assert decision.outcome == "planned"


def test_a_request_from_standard_input() -> None:
    body = {
        "messages": [{"role": "user", "content": "Hello"}],
        "tools": [{"type": "function", "function": {"name": "f"}}],
    }
    result = RUNNER.invoke(app, ["route", "--json"], input=json.dumps(body))
    assert json.loads(result.stdout)["step_kind"] == "first_ask"


def test_a_config_and_constraints(tmp_path: Path) -> None:
    path = tmp_path / "agentroute.toml"
    path.write_text('[[target]]\nprovider = "ollama"\nmodel = "home"\ntier = "mid"\n')
    path.write_text('strategy = "cheapest"\n' + path.read_text())
    assert "cheapest (" in RUNNER.invoke(app, ["route", "--config", str(path), "Hello"]).stdout
    result = RUNNER.invoke(app, ["route", "--config", str(path), "--strategy", "best", "Hello"])
    assert "-> home" in result.stdout
    assert "best" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "text", "names"),
    [
        (["route"], "not json", "standard input is not JSON"),
        (["route"], "[1]", "holds a list"),
        (["route"], "", "standard input is empty"),
        (["route"], "[" * 100_000, "standard input is not JSON"),
        (["route", "  "], "", "the prompt is empty"),
        (["models", "--table", "--json"], "", "--table"),
        (["route"], '{"messages": []}', "messages"),
        (["route", "--strategy", "magic", "x"], "", "'magic'"),
        (["route", "--max-tier", "huge", "x"], "", "'huge'"),
        (["route", "--config", "/nowhere.toml", "x"], "", "nowhere.toml"),
        (["models", "--tier", "huge"], "", "'huge'"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str],
    text: str,
    names: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.argv", ["agentroute", *arguments])
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    shown = capsys.readouterr().err.strip()
    assert names in shown
    assert len(shown.splitlines()) == 1


def test_help_teaches() -> None:
    assert "demo" in RUNNER.invoke(app, ["--help"]).stdout
    assert "chat-completions" in RUNNER.invoke(app, ["route", "--help"]).stdout
    assert RUNNER.invoke(app, ["--version"]).stdout.startswith("agentroute ")


def test_the_strategy_table() -> None:
    result = RUNNER.invoke(app, ["models", "--table"])
    assert "code_repair" in result.stdout
    assert "version" in result.stdout
