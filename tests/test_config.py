"""Configuration: what a file or the environment gives, and what is refused by name."""

from __future__ import annotations

import io
from decimal import Decimal
from pathlib import Path

import pytest
from rich.console import Console
from rich.traceback import Traceback

from agentroute import ConfigError, Router, Tier
from agentroute.config import load, targets_from_environment
from agentroute.providers import DIALECTS

GOOD = """
strategy = "cheapest"
baseline = "big"
deadline_s = 90
table = "table.toml"

[timeouts]
connect = 2.5

[[target]]
name = "big"
provider = "anthropic"
model = "claude-opus-5-5"
api_key = "env:ANTHROPIC_API_KEY"

[[target]]
name = "house"
provider = "house"
model = "llama"
tier = "budget"
base_url = "http://127.0.0.1:9/v1"
context_window = 8192
price = { input = 0.1, output = "0.2", cache_read = 0.01 }
capabilities = { tools = true, vision = false, documents = true, audio = false }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "table.toml").write_text('[[row]]\ntask = "qa"\nk = 9\n')
    return tmp_path


def test_a_whole_file(folder: Path) -> None:
    (folder / "agentroute.toml").write_text(GOOD)
    router = Router.from_config(folder / "agentroute.toml")
    house, big = router.pool["house"], router.pool["big"]
    assert (router.strategy, router.baseline.name) == ("cheapest", "big")
    assert house.price is not None
    assert (house.price.input, house.price.output, house.tier) == (Decimal("0.1"), Decimal("0.2"), Tier.BUDGET)
    assert (house.capabilities.vision, house.context_window) == (False, 8192)
    assert (house.capabilities.documents, house.capabilities.audio) == (True, False)
    assert big.tier is Tier.PREMIUM
    assert "ANTHROPIC_API_KEY" in repr(big.api_key)
    assert Router.from_config(folder / "agentroute.toml", strategy="best").strategy == "best"


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (("strategy = ", "stratgy = "), "unknown key 'stratgy'"),
        (('"cheapest"', '"magic"'), "strategy: Input should be 'cheapest'"),
        (("deadline_s = 90", "deadline_s = -1"), "deadline_s"),
        (("deadline_s = 90", "deadline_s = nan"), "deadline_s"),
        (("input = 0.1", "input = -0.1"), "target.2.price.input"),
        (("input = 0.1", "input = nan"), "target.2.price.input"),
        (("input = 0.1", "inptu = 0.1"), "target.2.price.inptu"),
        (("8192", "0"), "target.2.context_window"),
        (("8192", "true"), "target.2.context_window"),
        (('tier = "budget"', 'tier = "tiny"'), "target.2.tier"),
        (('"env:ANTHROPIC_API_KEY"', '"sk-canary-0123"'), "keys do not belong in a file"),
        (('"env:ANTHROPIC_API_KEY"', '["env:A", "sk-canary-0123"]'), "target.1.api_key: keys do not belong in a file"),
        (('"env:ANTHROPIC_API_KEY"', "[]"), "target.1.api_key"),
        (('tier = "budget"', 'tier = "budget"\ndialect = "smoke"'), "target.2.dialect"),
        (('tier = "budget"', 'tier = "budget"\ndialect = "native"'), "target.2.dialect"),
        (('tier = "budget"', 'tier = "budget"\nsettings = 3'), "target.2.settings"),
        (
            ('"http://127.0.0.1:9/v1"', '"http://127.0.0.1:9/v1?key=sk-canary-0123"'),
            "target.2: target 'house': `base_url`",
        ),
        (('baseline = "big"', 'baseline = "huge"'), "no target is named 'huge'"),
        (('name = "house"', 'name = "big"'), "two targets are named 'big'"),
        (('"table.toml"', '"gone.toml"'), "gone.toml"),
        (("[timeouts]", "[timeouts"), "cannot be read"),
    ],
)
def test_what_is_wrong_is_named(folder: Path, change: tuple[str, str], names: str) -> None:
    assert change[0] in GOOD
    (folder / "agentroute.toml").write_text(GOOD.replace(*change))
    with pytest.raises(ConfigError) as caught:
        Router.from_config(folder / "agentroute.toml")
    assert names in str(caught.value)
    assert "agentroute.toml" in str(caught.value) or "gone.toml" in str(caught.value)
    shown = io.StringIO()
    Console(file=shown, width=200).print(
        Traceback.from_exception(
            caught.type, caught.value, caught.tb, show_locals=True, locals_max_string=9999, suppress=[__file__]
        )
    )
    assert "canary" not in str(caught.value)
    assert "canary" not in shown.getvalue().replace(repr(change), "")
    assert "canary" not in repr(caught.value.__context__)


def test_an_empty_pool_and_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "empty.toml").write_text("target = []")
    with pytest.raises(ConfigError, match=r"empty\.toml: target"):
        load(tmp_path / "empty.toml")
    with pytest.raises(ConfigError, match=r"none\.toml.*cannot be read"):
        load(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="the pool is empty"):
        Router(targets=[])


def test_the_dialects_of_a_target_are_those_of_the_formats(tmp_path: Path) -> None:
    for dialect in DIALECTS:
        entry = f'[[target]]\nprovider = "p"\nmodel = "m"\ndialect = "{dialect}"\nsettings = {{ a = 1 }}\n'
        (tmp_path / "a.toml").write_text(entry)
        (target,) = load(tmp_path / "a.toml")["targets"]
        assert (target.dialect, target.settings) == (dialect, {"a": 1})


def test_the_environment() -> None:
    targets = targets_from_environment({"OPENAI_API_KEY": "sk-canary", "GOOGLE_API_KEY": "g"})
    assert {target.provider for target in targets} == {"openai", "google"}
    assert len({target.model for target in targets if target.provider == "openai"}) >= 3
    assert "canary" not in repr(targets)
    tiers = {target.tier for target in Router(targets=targets).pool}
    assert tiers == set(Tier)


def test_no_key_at_all_names_what_to_set() -> None:
    with pytest.raises(ConfigError, match="OPENAI_API_KEY") as caught:
        targets_from_environment({})
    assert "ANTHROPIC_API_KEY" in str(caught.value)
    assert "HF_TOKEN" not in str(caught.value), "no default model is known there, so its key alone gives no pool"
