"""`agentroute replay` on the command line: the tables, JSON, one step in full, and what goes wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from agentroute.cli import app
from agentroute.errors import ConfigError

Write = Callable[..., Path]

TURN = [
    {"role": "user", "content": "Translate 'good morning' to Norwegian."},
    {
        "role": "assistant",
        "content": "God morgen.",
        "usage": {"prompt_tokens": 1_000_000, "completion_tokens": 100_000},
    },
]
CONFIG = """
[[target]]
provider = "house"
model = "small"
tier = "budget"
price = { input = 0.5, output = 2 }
[[target]]
provider = "house"
model = "large"
tier = "premium"
price = { input = 2.5, output = 15 }
"""


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["replay", *map(str, arguments)])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "agentroute.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


def test_json_has_the_count_and_a_bill_for_each_strategy(write: Write, config: Path) -> None:
    result = run(write({"messages": TURN}, "oops"), "--config", config, "--json")
    assert result.exit_code == 0, result.output
    data: dict[str, Any] = json.loads(result.stdout)
    assert data["steps"] == 1
    assert set(data["strategies"]) == {"cheapest", "balanced", "best"}
    assert data["malformed"] == 1
    assert data["problems"][0]["line"] == 2
    assert Decimal(data["singles"]["small"]["list_usd"]) == Decimal("0.7")
    assert Decimal(data["singles"]["large"]["list_usd"]) == Decimal("4.0")
    assert set(data["strategies"]["best"]) == {
        *(
            "name",
            "steps",
            "list_usd",
            "modelled_usd",
            "unpriced_steps",
            "input_tokens",
            "cached_tokens",
            "output_tokens",
        ),
        *("switches", "switch_usd", "targets", "tiers", "sufficiency", "fit", "unserved"),
    }


def test_tables_fit_100_columns(write: Write, config: Path) -> None:
    row = {"messages": TURN[:1], "target_tier": "low", "id": "a-very-long-identifier-" * 5}
    result = run(write({"messages": TURN}, row, "oops"), "--config", config)
    assert result.exit_code == 0, result.output
    assert max(len(line) for line in result.stdout.splitlines()) <= 100
    for text in (
        "2 steps in 2 conversations",
        "modelled",
        "P suffices",
        "least sure",
        "too low",
        "traces.jsonl:3: not JSON",
    ):
        assert text in result.stdout


def test_without_a_pool_the_example_is_used_and_named(write: Write) -> None:
    result = run(write({"messages": TURN}))
    assert result.exit_code == 0, result.output
    assert "the example pool" in result.stdout


def test_targets_name_a_pool(write: Write) -> None:
    data = json.loads(
        run(write({"messages": TURN}), "--targets", "openai/gpt-4.1, openai/gpt-4.1-nano", "--json").stdout
    )
    assert set(data["singles"]) == {"gpt-4.1", "gpt-4.1-nano"}


def test_explain_shows_the_decisions_of_one_step_and_no_report(write: Write, config: Path) -> None:
    path = write({"messages": TURN}, {"messages": TURN})
    result = run(path, "--config", config, "--explain", "2", "--strategy", "cheapest")
    assert result.exit_code == 0, result.output
    assert "step 2, traces.jsonl:2" in result.stdout
    assert "what would change it" in result.stdout
    assert "modelled" not in result.stdout
    data = json.loads(run(path, "--config", config, "--explain", "2", "--json").stdout)
    assert data["steps"] == 2
    assert data["explained"]["decisions"]["best"]["candidates"]


def test_out_writes_the_page(write: Write, config: Path, tmp_path: Path) -> None:
    result = run(write({"messages": TURN}), "--config", config, "--out", tmp_path / "report.html")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_traces_without_a_step_fail_and_say_why(write: Write, config: Path) -> None:
    page = config.with_name("report.html")
    result = run(write("oops", "{}"), "--config", config, "--out", page)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert re.match(r"no step in '.*traces\.jsonl' \(line 1: .*\); read are", str(result.exception))
    assert not page.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--format", "csv"], "csv"),
        (["--strategy", "fastest"], "fastest"),
        (["--targets", "gpt-4.1"], "provider/model"),
        (["--targets", "openai/gpt-4.1", "--config", "x.toml"], "use one of them"),
        (["--config", "missing.toml"], "missing.toml"),
    ],
)
def test_wrong_options_are_named(write: Write, arguments: list[str], words: str) -> None:
    result = run(write({"messages": TURN}), *arguments)
    assert isinstance(result.exception, ConfigError)
    assert words in str(result.exception)


def test_describe_counts_and_routes_nothing(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    def route_nothing(*_: object, **__: object) -> None:
        raise AssertionError("a pool was made")

    monkeypatch.setattr("agentroute.cli.replay.Router", route_nothing)
    path = write({"messages": TURN}, "oops")
    result = run(path, "--describe", "--json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert (data["format"], data["conversations"], data["steps"], data["malformed"]) == ("openai", 1, 1, 1)
    assert (data["input_tokens"], data["output_tokens"], data["tools_in_step_1"]) == (1_000_000, 100_000, None)
    shown = run(path, "--describe").stdout
    assert max(len(line) for line in shown.splitlines()) <= 100
    for words in ("openai (1 step)", "1,000,000 input, 100,000 output", "not recorded", "traces.jsonl:2: not JSON"):
        assert words in shown


def test_describe_of_nothing_fails_and_says_why_in_one_sentence(write: Write) -> None:
    result = run(write(*["{}"] * 20), "--describe")
    assert isinstance(result.exception, ConfigError)
    assert "20 of 20 values failed alike, the first at traces.jsonl:1" in str(result.exception)
