"""The strategy table: which floor, stakes and tiers hold for a task of some complexity. Data, read once."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from agentroute.decisions import Complexity, Task
from agentroute.errors import ConfigError, unknown_key
from agentroute.targets import Tier

__all__ = ["Row", "StrategyTable"]

_KEYS = ("task", "complexity", "floor", "stakes", "harm", "checks", "lost", "min_tier", "max_tier", "prefer")
_TASKS = {task.value: task for task in Task}
_COMPLEXITIES: tuple[Complexity, ...] = ("simple", "medium", "complex")


@dataclass(frozen=True, slots=True)
class Row:
    """What holds for one task and complexity: see the head of `strategy.toml` for each field."""

    floor: float = 0.8
    stakes: float = 0.05
    harm: float = 0.3
    checks: float = 0.0
    lost: float = 3.0
    min_tier: Tier | None = None
    max_tier: Tier | None = None
    prefer: tuple[str, ...] = ()


class StrategyTable:
    """A row for every task and complexity, and the version that decisions name as their policy.

    >>> from agentroute.decisions import Task
    >>> StrategyTable.default().row(Task.CODE_REPAIR, "complex").stakes
    1.0
    """

    __slots__ = ("_rows", "version")

    def __init__(self, rows: Mapping[tuple[Task, Complexity], Row], version: str) -> None:
        self._rows = dict(rows)
        self.version = version

    def row(self, task: Task, complexity: Complexity) -> Row:
        return self._rows[task, complexity]

    @classmethod
    def default(cls) -> StrategyTable:
        """The table that ships with agentroute."""
        return cls.parse(())

    @classmethod
    def load(cls, path: str | Path) -> StrategyTable:
        """The shipped table with the rows of a TOML file put after it. Raises ConfigError naming file, row and key."""
        try:
            data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError(f"the strategy table {str(path)!r} cannot be read: {error}") from None
        return cls.parse([(data, str(path))])

    @classmethod
    def parse(cls, tables: Iterable[tuple[Mapping[str, Any], str]]) -> StrategyTable:
        """The shipped table, then each (data, where it came from) in order."""
        text = resources.files(__package__).joinpath("strategy.toml").read_text(encoding="utf-8")
        shipped = tomllib.loads(text)
        rows = {(task, complexity): Row() for task in Task for complexity in _COMPLEXITIES}
        digest = hashlib.sha256(text.encode())
        for data, where in [(shipped, "strategy.toml"), *tables]:
            unknown = set(data) - {"row", "version"}
            if unknown:
                raise ConfigError(f"{where}: {unknown_key(min(unknown), ('row', 'version'))}")
            for index, entry in enumerate(data.get("row", ())):
                _apply(rows, entry, f"{where}, row {index + 1}")
                digest.update(repr(sorted(entry.items())).encode())
        return cls(rows, f"{shipped['version']}-{digest.hexdigest()[:8]}")


def _apply(rows: dict[tuple[Task, Complexity], Row], entry: Any, where: str) -> None:
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{where}: {entry!r} is no row; a row is a table of keys")
    unknown = set(entry).difference(_KEYS)
    if unknown:
        raise ConfigError(f"{where}: {unknown_key(min(unknown), _KEYS)}")
    tasks = _pick(entry.get("task", "*"), _TASKS, f"{where}: task")
    complexities = _pick(entry.get("complexity", "*"), {name: name for name in _COMPLEXITIES}, f"{where}: complexity")
    facts: dict[str, Any] = {}
    for key, top in (("floor", 1.0), ("harm", 1.0), ("checks", 1.0), ("lost", 1000.0), ("stakes", 1_000_000.0)):
        if key in entry:
            value = entry[key]
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= top:
                raise ConfigError(f"{where}: {key} is {value!r}; give a number from 0 to {top:g}")
            facts[key] = float(value)
    for key in ("min_tier", "max_tier"):
        if key in entry:
            try:
                facts[key] = Tier.parse(entry[key])
            except ConfigError as error:
                raise ConfigError(f"{where}: {key}: {error}") from None
    if "prefer" in entry:
        names = entry["prefer"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ConfigError(f"{where}: prefer is {names!r}; give a list of target names")
        facts["prefer"] = tuple(names)
    for task in tasks:
        for complexity in complexities:
            before = rows[task, complexity]
            merged = {name: getattr(before, name) for name in Row.__slots__} | facts
            rows[task, complexity] = Row(**merged)


def _pick(value: Any, known: Mapping[str, Any], where: str) -> list[Any]:
    if value == "*":
        return list(known.values())
    if not isinstance(value, str) or value not in known:
        raise ConfigError(f"{where} is {value!r}; use '*' or one of {', '.join(known)}")
    return [known[value]]
