"""`agentroute check`: the pool as resolved, warnings with remedies, and an exit code; no key shown, no call made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agentroute.cli import app
from agentroute.errors import ConfigError
from agentroute.providers import PROVIDERS

POOL = """
[[target]]
name = "small"
provider = "openai"
model = "gpt-6-luna"
api_key = "env:HOUSE_KEY"

[[target]]
name = "house"
provider = "house"
model = "finetune"
tier = "mid"
base_url = "https://llm.example.com/v1"
price = { input = 0.4, output = 1.6 }
context_window = 32768

[role.writer]
max_tier = "mid"
deny_providers = ["openai"]
"""


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for provider in PROVIDERS.values():
        for name in provider.key_names:
            monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("AZURE_OPENAI_ENDPOINT", raising=False)
    monkeypatch.setenv("HOUSE_KEY", "sk-canary")
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def check(tmp_path: Path) -> Any:
    def run(text: str | None = POOL) -> Any:
        file = tmp_path / "agentroute.toml"
        if text is not None:
            file.write_text(text)
        return CliRunner().invoke(app, ["check", *([str(file)] if text is not None else [])])

    return run


def test_each_target_is_shown_as_resolved(check: Any) -> None:
    result = check()
    assert result.exit_code == 0
    small, house, *_ = result.stdout.split("\n\n")
    assert small.splitlines()[0] == "small  openai/gpt-6-luna"
    assert "address  https://api.openai.com/v1 (openai_responses)" in small
    assert "key      HOUSE_KEY, found" in small
    assert "tier     budget" in small
    assert "genai-prices" in small
    assert "window   1.05M tokens" in small
    assert "key      none is sent" in house
    assert "price    0.4 in, 1.6 out, USD per million tokens (config)" in house
    assert "window   32k tokens" in house
    assert "role writer: max_tier mid, deny_providers openai" in result.stdout
    assert "warning" not in result.output
    assert result.stdout.endswith("2 of 2 targets can be called\n")
    assert "canary" not in result.output


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("HOUSE_KEY", "NOPE"), "target 'small': the environment variable NOPE is not set, so calls go to the next"),
        (('"env:HOUSE_KEY"', '["env:NO1", "env:NO2"]'), "none of the environment variables NO1, NO2 is set"),
        (('api_key = "env:HOUSE_KEY"', ""), "the environment variable OPENAI_API_KEY is not set"),
        (("price = { input = 0.4, output = 1.6 }", ""), "target 'house': its price is unknown"),
        (('"gpt-6-luna"', '"gpt-6-lunna"\ntier = "mid"'), "did you mean 'gpt-6-luna'?"),
        (('"gpt-6-luna"', '"gpt-6-luna"\nbase_url = "https://p.example.com"'), "is '/v1' missing?"),
        (('"openai"\nmodel', '"azure"\nmodel'), "its address needs AZURE_OPENAI_ENDPOINT, not set; set it, or give"),
        (
            ('"openai"\nmodel', '"azure"\nbase_url = "https://r.openai.azure.com/"\nmodel'),
            "that of azure ends in '/openai/v1'",
        ),
    ],
)
def test_a_warning_names_the_target_and_the_remedy(check: Any, change: tuple[str, str], says: str) -> None:
    assert change[0] in POOL
    result = check(POOL.replace(*change, 1))
    assert result.exit_code == 0, "a warning is no error"
    (warning,) = [line for line in result.stdout.splitlines() if says in line]
    assert warning.startswith("warning: target ")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "there is none; give at least one: [[target]]"),
        (
            '[[target]]\nprovider = "azure"\nmodel = "gpt-5"\napi_key = "env:HOUSE_KEY"\n',
            "none can be called",
        ),
        (POOL + "[timeuots]\n", "unknown key 'timeuots'; did you mean 'timeouts'?"),
        (POOL + '[role.lead]\ntarget = "strongg"\n', "role 'lead': target: no target is named 'strongg'"),
        ('baseline = "strongg"\n' + POOL, "no target is named 'strongg'"),
        (POOL.split('[[target]]\nname = "house"')[0].replace("HOUSE_KEY", "NOPE"), "none can be called"),
        (None, "no provider key is set"),
    ],
)
def test_an_error_ends_with_one(check: Any, text: str | None, says: str) -> None:
    result = check(text)
    assert result.exit_code == 1
    assert isinstance(result.exception, ConfigError)
    assert says in str(result.exception)


def test_the_environment_alone_gives_a_pool(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    result = check(None)
    assert result.exit_code == 0
    assert "key      OPENAI_API_KEY, found" in result.stdout
    assert "canary" not in result.output


def test_nothing_is_said_twice(check: Any, caplog: pytest.LogCaptureFixture) -> None:
    check(POOL.replace("HOUSE_KEY", "NOPE"))
    assert caplog.records == []


KEY = f"""
[[gateway.key]]
name = "alice"
sha256 = "{"a" * 64}"
"""


def test_the_gateway_s_part_is_shown(check: Any) -> None:
    result = check(POOL + KEY)
    assert result.exit_code == 0
    assert "gateway http://127.0.0.1:4180; keys: alice" in result.output
    assert "aaaa" not in result.output
    assert "gateway" not in check().output


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ('[gateway]\nhost = "0.0.0.0"\n', "open to other machines"),
        (KEY + KEY, "two client keys are named 'alice'"),
        (f'{KEY}providers = ["opneai"]\n', "did you mean 'openai'"),
        ('[gateway.models]\n"gpt-4o" = "auto:chepest"\n', "did you mean 'auto:cheapest'"),
    ],
    ids=["host", "twice", "provider", "model"],
)
def test_what_serve_would_refuse_is_refused(check: Any, part: str, told: str) -> None:
    result = check(POOL + part)
    assert result.exit_code == 1
    assert told in str(result.exception)
    assert "agentroute.toml" in str(result.exception)


def test_what_is_doubtful_in_the_gateway_s_part_is_a_warning(check: Any) -> None:
    result = check(f'{POOL}{KEY}providers = ["anthropic"]\n')
    assert result.exit_code == 0
    assert "warning: gateway: no target of the pool is within the bounds of the key 'alice'" in result.output


def test_a_budget_is_shown_and_what_it_shuts_out_is_a_warning(check: Any) -> None:
    unpriced = POOL.replace("price = { input = 0.4, output = 1.6 }\n", "")
    result = check(unpriced + "[budget]\nday = 50\nagent = { writer = 2 }\n")
    assert result.exit_code == 0
    assert "budget: $50.00 a day for all steps; $2.0000 a day for the agent 'writer'" in result.output
    assert "warning: target 'house': it does not serve a step that has a budget" in " ".join(result.output.split())


def test_checks_and_a_recording_are_shown_and_nothing_is_recorded(check: Any, tmp_path: Path) -> None:
    text = f'{POOL}[checks]\n"tool:pytest" = 0\ntests = true\n[recording]\nfolder = "kept"\nshare = 0.1\n'
    shown = check(text).output
    assert "checks: tool:pytest, tests" in shown
    assert "recording: prompts and answers of 10.0 % of conversations, in " in shown
    assert not (tmp_path / "kept").exists()
