"""`agentroute models`: what is listed, and what a reader sees at 100 columns."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from agentroute import ConfigError, Price, Target, Tier
from agentroute.catalog import facts, iter_models
from agentroute.cli import models

THEN = datetime(2026, 11, 24, 12, tzinfo=UTC)

app = typer.Typer()
app.command()(models.command)


def shown(targets: list[Target], width: int = 100) -> str:
    out = io.StringIO()
    models.render(Console(file=out, width=width), targets)
    return out.getvalue()


def test_lists_the_whole_catalog() -> None:
    assert len(models.rows(timestamp=THEN)) == len(facts())


@pytest.mark.parametrize("tier", Tier)
def test_a_tier_alone(tier: Tier) -> None:
    found = models.rows(tier=tier.value, timestamp=THEN)
    assert found
    assert {target.tier for target in found} == {tier}


@pytest.mark.parametrize("name", ["xai", "x-ai", "XAI"])
def test_a_provider_under_any_of_its_names(name: str) -> None:
    found = models.rows(provider=name, timestamp=THEN)
    assert found
    assert {target.provider for target in found} == {"xai"}


def test_everything_reaches_providers_without_a_row() -> None:
    with pytest.raises(ConfigError, match=r"no model of 'cohere' is listed; providers are anthropic, .*zai"):
        models.rows(provider="cohere")
    assert models.rows(provider="cohere", everything=True)


def test_a_tier_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="'best' is no tier"):
        models.rows(tier="best")


@pytest.mark.parametrize("everything", [False, True])
def test_in_a_pipe_every_name_stands_whole_on_its_line(everything: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    listed = list(iter_models(everything=everything, timestamp=THEN))
    text = shown(listed)
    starts = {line.split()[0].rstrip("+*") for line in text.splitlines() if line.strip()}
    assert {target.model for target in listed if " " not in target.model} <= starts
    assert "…" not in text
    assert f"{len(listed)} models." in text


def test_the_table_fits_the_columns_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    text = shown(list(iter_models(timestamp=THEN)))
    assert max(len(line) for line in text.splitlines()) <= 100
    assert "…" not in text


def test_each_sign_is_explained_and_only_where_it_stands() -> None:
    plain = Target(provider="p", model="plain", tier="mid", price=Price(Decimal("12.50"), Decimal("1E+1")))
    assert "plain" in shown([plain])
    row = next(line for line in shown([plain]).splitlines() if line.startswith("plain"))
    assert row.split() == ["plain", "p", "mid", "12.5", "10", "unknown", "??????"]
    for sign in ("+ dearer", "* tier inferred", "Local models"):
        assert sign not in shown([plain])
    whole = shown(models.rows(timestamp=THEN) + models.rows(provider="cohere", everything=True, timestamp=THEN))
    for sign in ("10+", "+ dearer", "budget*", "* tier inferred", "Local models"):
        assert sign in whole


def test_an_unknown_price_is_called_unknown() -> None:
    text = shown([Target(provider="p", model="m", tier="mid")])
    assert text.count("unknown") == 4  # in, out, cached, context
    assert "$0" not in text


def test_nothing_found_says_what_to_do() -> None:
    assert "--all" in shown([])


def test_json_has_every_fact_with_its_source() -> None:
    result = CliRunner().invoke(app, ["--json", "--provider", "anthropic", "--tier", "mid"])
    assert result.exit_code == 0
    listed = json.loads(result.stdout)
    assert [entry["model"] for entry in listed] == ["claude-haiku-5-5", "claude-haiku-4-5"]
    first = listed[0]
    assert first["price"]["input"] == "0.1"
    assert first["price"]["steps"][0]["above_input_tokens"] == 100_000
    assert first["source"].startswith("models.dev via langchain-anthropic")
    assert (first["tier"], first["tier_inferred"], first["structured_output"]) == ("mid", False, True)
    assert first["tier_reason"]
    assert first["cache_ttl_s"] == 300


def test_the_command_prints_the_table() -> None:
    result = CliRunner().invoke(app, ["--provider", "deepseek"])
    assert result.exit_code == 0
    assert "deepseek-v4-pro" in result.stdout
    assert "2 models." in result.stdout


def test_at_80_columns_names_and_abilities_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    price = Price(Decimal("12.50"), Decimal("123.75"), Decimal("1.125"))
    name = "meta-llama/llama-5-maverick-instruct"
    text = shown([Target(provider="openrouter", model=name, tier="standard", price=price)], width=80)
    row = next(line for line in text.splitlines() if line.startswith(name))
    assert row.split()[1:3] == ["openrouter", "standard"]
    assert row.endswith("??????")
    assert "Left out at this width: cached" in text


def test_a_pipe_is_as_wide_as_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    name = "a-model-" * 12
    text = shown([Target(provider="openrouter", model=name, tier="standard")], width=100)
    assert any(line.startswith(name) and line.endswith("??????") for line in text.splitlines())
    assert "Left out" not in text
