"""What each model accepts, read from `model_rules.toml`: the first row that matches its provider and name counts."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from agentroute.errors import ConfigError
from agentroute.targets.model_rules import UNKNOWN, ModelRules

__all__ = ["RuleRow", "covers", "read_rows", "rows", "rules_of"]

_TOLD: Final = ("provider", "models", "like", "source", "date")


@dataclass(frozen=True, slots=True)
class RuleRow:
    """A row of `model_rules.toml`: the rules of every model that one of its patterns matches at one of its providers.

    `sources` are its own and those of the facts it shares with others, each with its date.
    """

    providers: tuple[str, ...]
    patterns: tuple[str, ...]
    rules: ModelRules
    sources: tuple[tuple[str, str], ...]

    def matches(self, provider: str, model: str) -> bool:
        """Whether this row is of the model (a name in lower case)."""
        return provider in self.providers and any(covers(pattern, model) for pattern in self.patterns)


def rules_of(provider: str, model: str) -> ModelRules:
    """The rules of this model at this provider: those of the first row that matches, else UNKNOWN.

    >>> rules_of("anthropic", "claude-opus-5-5").tool_choices
    ('auto', 'none')
    """
    name = model.lower().removeprefix("models/")
    return next((row.rules for row in rows() if row.matches(provider.lower(), name)), UNKNOWN)


@cache
def rows() -> tuple[RuleRow, ...]:
    """Every row of `model_rules.toml`, in its order."""
    return read_rows(Path(__file__).with_name("model_rules.toml").read_text(encoding="utf-8"))


def read_rows(text: str) -> tuple[RuleRow, ...]:
    """The rows of such a file. Raises ConfigError naming the row and what is wrong with it."""
    data = tomllib.loads(text)
    shared: Mapping[str, Mapping[str, Any]] = data.get("shared", {})
    return tuple(_row(number, raw, shared) for number, raw in enumerate(data["rules"], 1))


def _row(number: int, raw: Mapping[str, Any], shared: Mapping[str, Mapping[str, Any]]) -> RuleRow:
    where = f"row {number} ({raw.get('models')})"
    providers, patterns = (_texts(raw.get(key)) for key in ("provider", "models"))
    if not providers or not patterns:
        raise ConfigError(f"{where}: `provider` or `models` is missing")
    facts: dict[str, Any] = {}
    sources = []
    for part in reversed(list(_chain(raw, shared, where))):
        source, date = part.get("source"), part.get("date")
        if not source or not date:
            raise ConfigError(f"{where}: `source` or `date` is missing, in it or in what it is like")
        sources.append((source, date))
        facts.update({key: value for key, value in part.items() if key not in _TOLD})
    try:
        rules = ModelRules(**facts)
    except (ConfigError, TypeError) as error:
        problem = str(error)
    else:
        return RuleRow(providers, patterns, rules, tuple(reversed(sources)))
    raise ConfigError(f"{where}: {problem}")


def _chain(raw: Mapping[str, Any], shared: Mapping[str, Mapping[str, Any]], where: str) -> Iterator[Mapping[str, Any]]:
    """The row, what it is like, what that is like, and so on."""
    part: Mapping[str, Any] | None = raw
    while part is not None:
        yield part
        name = part.get("like")
        if name is not None and name not in shared:
            raise ConfigError(f"{where}: there is no [shared.{name}]")
        part = None if name is None else shared[name]


def _texts(value: object) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else ()


def covers(pattern: str, name: str) -> bool:
    """Whether the name is what the pattern says, where `*` stands for anything."""
    return _compiled(pattern).fullmatch(name) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(piece) for piece in pattern.split("*")), re.DOTALL)
