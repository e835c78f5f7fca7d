"""`agentroute calibrate`: a promise in words, or a refusal with the n it takes; the file it writes is read back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agentroute.cli import app
from agentroute.routing.profiles import Profiles

POOL = """
[[target]]
name = "strong"
provider = "anthropic"
model = "claude-opus-4-6"
[[target]]
name = "small"
provider = "openai"
model = "gpt-4.1-nano"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "agentroute.toml").write_text(POOL)
    return tmp_path


def outcomes(folder: Path, small: int, failures: int = 0, target: str | None = "small") -> str:
    rows = [{"task": f"s{i}", "role": "triage", "ok": True, "target": "strong"} for i in range(400)]
    rows += [{"task": f"c{i}", "role": "triage", "ok": i >= failures, "target": target} for i in range(small)]
    text = "\n".join(json.dumps({key: value for key, value in row.items() if value is not None}) for row in rows)
    (folder / "o.jsonl").write_text(text)
    return "o.jsonl"


def said(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["calibrate", *arguments, "--config", "agentroute.toml"])
    return result.exit_code, result.output if result.exception is None else result.output + str(result.exception)


def test_it_promises_in_words_and_writes_the_file(folder: Path) -> None:
    code, shown = said(outcomes(folder, 500), "--out", "policy.toml")
    assert code == 0, shown
    for each in ("at least 97 %", "95 % confidence", "triage on small: licensed", "normal bound", "+ triage: small"):
        assert each in shown
    assert [p.target for p in Profiles.load("policy.toml") if p.licensed] == ["small"]
    assert "nothing changes" in said("o.jsonl", "--out", "policy.toml")[1]
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(("small", "failures", "least"), [(20, 0, "99"), (98, 0, "99"), (98, 1, "157")])
def test_it_refuses_below_its_n_and_says_how_many_it_takes(folder: Path, small: int, failures: int, least: str) -> None:
    code, shown = said(outcomes(folder, small, failures))
    assert code == 0
    assert "no promise can be made" in shown
    assert f"n {small}, it takes {least} or more" in shown
    assert "29 for 90 %, 59 for 95 %, 99 for 97 %" in shown


def test_a_licence_that_is_lost_shows_as_a_change(folder: Path) -> None:
    said(outcomes(folder, 500), "--out", "policy.toml")
    assert "- triage: small is no longer licensed" in said(outcomes(folder, 500, 40), "--out", "policy.toml")[1]


def test_json(folder: Path) -> None:
    result = CliRunner().invoke(app, ["calibrate", outcomes(folder, 500), "--config", "agentroute.toml", "--json"])
    data = json.loads(result.stdout)
    assert data["strongest"] == "strong"
    assert {row["target"] for row in data["profiles"] if row["licensed"]} == {"small"}


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--promise", "1.2"), "--promise is 1.2"),
        (("--confidence", "0"), "--confidence is 0"),
        (("--days", "0"), "--days is 0"),
        (("--strongest", "other"), "other"),
    ],
)
def test_what_cannot_be_is_named(folder: Path, arguments: tuple[str, ...], why: str) -> None:
    assert why in said(outcomes(folder, 100), *arguments)[1]


def test_outcomes_without_a_target_need_one(folder: Path) -> None:
    file = outcomes(folder, 300, target=None)
    assert "give `target` in the line, or --target" in said(file)[1]
    assert "triage on small" in said(file, "--target", "small")[1]
    assert "which is not in the pool" in said(file, "--target", "huge")[1]
