"""A shadow over a planted world: what its server counts agrees with what we say, and no tool was called."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agentroute.cli import app
from agentroute.learning.shadow import State

pytestmark = pytest.mark.requires("shared")


@pytest.fixture
def provider(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    folder = shared / "world"
    if not (folder / "serve.py").is_file():
        pytest.skip("no planted world beside the checkout")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(folder))
    import serve  # type: ignore[import-not-found]
    from world import World, config  # type: ignore[import-not-found]

    traces = [sys.executable, str(folder / "world.py"), "traces", ".", "--regime", "two_roles", "--seed", "4"]
    subprocess.run([*traces, "--tasks", "25"], check=True, capture_output=True, env={**os.environ})
    held = serve.Provider(World("two_roles", 4), faults=0.05)
    http = serve.server(held)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    Path("agentroute.toml").write_text(config(http.server_address[1]))
    yield held
    http.shutdown()
    http.server_close()
    thread.join()


def shadow(*more: str) -> str:
    told = ["shadow", "traces.jsonl", "--config", "agentroute.toml", "--sample", "6", *more]
    result = CliRunner().invoke(app, told)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_server_and_the_state_agree(provider: Any) -> None:
    options = ("--against", "gpt-6-luna,claude-sonnet-5-5", "--max-spend", "0.30", "--yes")
    shadow(*options)
    shadow(*options)
    counted, state = provider.report(), State("shadow.jsonl")
    assert counted["usd"] <= 0.30
    assert counted["usd"] == pytest.approx(float(state.spent), abs=1e-5)
    assert (counted["executed"], counted["continued"], counted["foreign_prefix"]) == (0, 0, 0)
    asked = {name: each["requests"] for name, each in counted["models"].items()}
    assert asked["claude-opus-5-5"] == asked["gemini-3.8-flash"] == 0
    assert sum(asked.values()) == len(state.answered) > 40


def test_outcomes_of_the_world_are_read_and_too_few(provider: Any) -> None:
    told = ["calibrate", "outcomes.jsonl", "--config", "agentroute.toml", "--target", "gpt-6-luna", "--json"]
    found = json.loads(CliRunner().invoke(app, told).stdout)
    assert found["promise"] == ""
    assert {each["needed"] for each in found["refused"]} >= {99}
