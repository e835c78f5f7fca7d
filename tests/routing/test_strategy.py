"""The strategy table: what ships, what may be overridden, and what is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentroute.decisions import Task
from agentroute.errors import ConfigError
from agentroute.routing.strategy import StrategyTable
from agentroute.targets import Tier


def test_every_task_has_a_row() -> None:
    table = StrategyTable.default()
    for task in Task:
        for complexity in ("simple", "medium", "complex"):
            assert 0 < table.row(task, complexity).floor < 1
    assert table.row(Task.CODE_REPAIR, "simple").stakes > table.row(Task.CHAT, "simple").stakes


def test_later_rows_win_and_change_the_version(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[[row]]\ntask = "qa"\ncomplexity = "complex"\nmin_tier = "standard"\nprefer = ["big"]\n')
    table, shipped = StrategyTable.load(path), StrategyTable.default()
    assert table.row(Task.QA, "complex").min_tier is Tier.STANDARD
    assert table.row(Task.QA, "complex").prefer == ("big",)
    assert table.row(Task.QA, "complex").floor == shipped.row(Task.QA, "complex").floor
    assert table.row(Task.QA, "simple") == shipped.row(Task.QA, "simple")
    assert table.version != shipped.version


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[[row]]\ntask = 'cooking'", "task is 'cooking'"),
        ("[[row]]\ncomplexity = 'huge'", "complexity is 'huge'"),
        ("[[row]]\nstakes = -1", "stakes is -1"),
        ("[[row]]\nharm = nan", "harm is nan"),
        ("[[row]]\nchecks = 2", "checks is 2"),
        ("[[row]]\nfloor = 1.5", "floor is 1.5"),
        ("[[row]]\nfloor = true", "floor is True"),
        ("[[row]]\nmin_tier = 'giant'", "'giant' is no tier"),
        ("[[row]]\nprefer = 'big'", "prefer is 'big'"),
        ("[[row]]\ncost = 3", "unknown key 'cost'"),
        ("rows = 3", "unknown key 'rows'"),
        ("row = [3]", "row 1: 3 is no row"),
        ("[[row", "cannot be read"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, names: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        StrategyTable.load(path)
    assert names in str(caught.value)
    assert "mine.toml" in str(caught.value)


@pytest.mark.parametrize(("key", "meant"), [("flor", "floor"), ("max_teir", "max_tier"), ("complexty", "complexity")])
def test_an_unknown_key_names_the_nearest(key: str, meant: str) -> None:
    with pytest.raises(
        ConfigError, match=f"unknown key '{key}'; did you mean '{meant}'.* known are checks, complexity, floor"
    ):
        StrategyTable.parse([({"row": [{key: 1}]}, "house.toml")])
