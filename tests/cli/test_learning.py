"""`agentroute shadow` and `agentroute trial` as people type them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agentroute.cli import app
from agentroute.learning.shadow import State
from agentroute.routing.profiles import Profiles
from agentroute.routing.trials import Tried, draw
from agentroute.testing import ScriptedProvider

RUNS = 30


def said(*arguments: str, keys: str | None = None) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments), input=keys)
    return result.exit_code, result.output if result.exception is None else result.output + str(result.exception)


@pytest.fixture
def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedProvider]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCRIPTED_KEY", "scripted-key")
    with ScriptedProvider('{"class": "bug", "score": 3}') as found:
        rows = []
        for name, tier, provider in (
            ("strong", "premium", "near"),
            ("small", "budget", "near"),
            ("far", "budget", "far"),
        ):
            price = "{ input = 5, output = 25 }" if name == "strong" else "{ input = 1, output = 5 }"
            rows.append(
                f'[[target]]\nname = "{name}"\nprovider = "{provider}"\nmodel = "{name}-1"\ntier = "{tier}"\n'
                f'base_url = "{found.base_url}"\napi_key = "env:SCRIPTED_KEY"\nprice = {price}\n'
            )
        (tmp_path / "agentroute.toml").write_text("\n".join(rows))
        schema = {"type": "json_schema", "json_schema": {"name": "verdict", "schema": {"type": "object"}}}
        lines = []
        for run in range(RUNS):
            messages = [{"role": "user", "content": f"Sort ticket {run}"}]
            answer = {"role": "assistant", "content": '{"score": 3, "class": "%s"}' % ("bug" if run % 10 else "wish")}
            lines.append(
                {
                    "conversation_id": f"run-{run}",
                    "role": "triage",
                    "request": {"messages": messages, "response_format": schema},
                    "response": {"model": "strong-1", "choices": [{"index": 0, "message": answer}]},
                }
            )
        (tmp_path / "traces.jsonl").write_text("\n".join(map(json.dumps, lines)))
        yield found


def shadow(*more: str) -> tuple[int, str]:
    return said("shadow", "traces.jsonl", "--config", "agentroute.toml", *more)


def test_the_price_and_the_companies_come_first_and_nothing_is_asked(provider: ScriptedProvider) -> None:
    code, shown = shadow()
    assert code == 0, shown
    for each in (
        f"small: {RUNS} calls",
        f"far: {RUNS} calls",
        "for the first time: far",
        "nothing was asked; --yes asks",
    ):
        assert each in shown
    assert provider.requests == ()
    assert not Path("shadow.jsonl").exists()


def test_from_traces_to_a_licence_for_structured_steps(provider: ScriptedProvider) -> None:
    code, shown = shadow("--allow-providers", "near", "--max-spend", "1", "--yes")
    assert code == 0, shown
    assert "far is not asked: provider 'far' is not among those allowed" in shown
    assert {request.model for request in provider.requests} == {"small-1"}
    assert "licensed" in shown
    shadow("--allow-providers", "near", "--max-spend", "1", "--yes")
    assert len(provider.requests) == RUNS

    code, shown = said("shadow", "review", "shadow.jsonl", keys="ynsq")
    assert code == 0, shown
    assert "1 of 3" in shown
    assert '"class": "wish"' in shown
    assert [each.ok for each in State("shadow.jsonl").answered.values()].count(True) == 1

    code, shown = said("calibrate", "--shadow", "shadow.jsonl", "--config", "agentroute.toml", "--out", "policy.toml")
    assert code == 0, shown
    assert "small is licensed at structured steps" in shown
    (licensed,) = [each for each in Profiles.load("policy.toml") if each.licensed]
    assert (licensed.role, licensed.target, licensed.forms) == ("triage", "small", ("structured",))


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--against", "smal"), "did you mean 'small'"),
        (("--max-spend", "much"), "--max-spend is 'much'"),
        (("--same", "a"), "--same is 'a'"),
        (("--sample", "0"), "--sample is 0"),
        (("--of", "other-1"), "no recorded step"),
    ],
)
def test_what_cannot_be_is_named(provider: ScriptedProvider, arguments: tuple[str, ...], why: str) -> None:
    assert why in shadow(*arguments)[1]
    assert provider.requests == ()


def test_a_review_of_no_file_is_named(provider: ScriptedProvider) -> None:
    assert "is no file" in said("shadow", "review", "nowhere.jsonl")[1]


def test_a_trial_from_its_file_to_the_licence(provider: ScriptedProvider) -> None:
    begin = ("trial", "triage", "--candidate", "small", "--share", "0.5", "--config", "agentroute.toml")
    code, shown = said(*begin)
    assert code == 0, shown
    assert "of the candidate: about" in shown
    assert "is there already" in said(*begin)[1]
    tried = Tried.load("trial-triage.toml")
    late = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    rows = []
    for run in range(1_500):
        cheap = draw(tried.salt, "triage", f"run-{run}") < 0.5
        rows.append({"episode": f"run-{run}", "role": "triage", "ok": run % (40 if cheap else 30) != 0, "at": late})
    Path("o.jsonl").write_text("\n".join(map(json.dumps, rows)))
    code, shown = said("trial", "trial-triage.toml", "o.jsonl")
    assert code == 0, shown
    assert "not inferior" in shown
    assert Tried.load("trial-triage.toml").stopped == "not inferior"
    more = ("--trial", "trial-triage.toml", "--target", "strong", "--config", "agentroute.toml", "--out", "policy.toml")
    code, shown = said("calibrate", "o.jsonl", *more)
    assert code == 0, shown
    assert "at most 5 points less often" in shown
    assert [each.target for each in Profiles.load("policy.toml") if each.licensed] == ["small"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("triage", "--config", "agentroute.toml"), "needs --candidate"),
        (("triage", "--candidate", "smal", "--config", "agentroute.toml"), "did you mean 'small'"),
        (("triage", "--candidate", "small", "--config", "agentroute.toml", "--share", "1"), "share is 1.0"),
        (("triage", "--candidate", "strong", "--config", "agentroute.toml"), "needs two targets"),
        (("nowhere.toml",), "cannot be read"),
        (("triage", "o.jsonl"), "is a role"),
    ],
)
def test_trials_that_cannot_be_are_named(provider: ScriptedProvider, arguments: tuple[str, ...], why: str) -> None:
    assert why in said("trial", *arguments)[1]
