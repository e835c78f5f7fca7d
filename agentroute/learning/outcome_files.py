"""Outcomes as JSON lines: what test runs, benchmarks and label exports write."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from agentroute.errors import ConfigError

from .outcomes import Outcome, Source

__all__ = ["read_outcomes"]

_EPISODES = ("episode", "task", "conversation_id", "run", "id")
_TARGETS = ("target", "model")
_SOURCES = {
    "check": "check",
    "test": "check",
    "truth": "check",
    "person": "person",
    "benchmark": "benchmark",
    "judge": "judge",
}


def read_outcomes(paths: Iterable[Path], target: str | None = None) -> Iterator[Outcome]:
    """The outcomes of JSONL files, one an object a line: an episode (`episode`, `task`, `conversation_id`), `ok` (true
    or false) or `score` (0 to 1), and if told `role` (or `agent`), `target` (or `model`), `source`, `at`.

    `target` holds for lines that name none. Raises ConfigError naming file, line and field.
    """
    for path in paths:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise ConfigError(f"the outcomes {str(path)!r} cannot be read: {error}") from None
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _outcome(line, f"{path}, line {number}", target)


def _outcome(line: str, where: str, target: str | None) -> Outcome:
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: not JSON ({error}); write one object a line") from None
    if not isinstance(row, dict):
        raise ConfigError(f"{where}: a {type(row).__name__}; write one object a line")
    episode = next((row[key] for key in _EPISODES if isinstance(row.get(key), str)), None)
    if episode is None:
        raise ConfigError(f"{where}: no episode; give one of {', '.join(_EPISODES)}")
    served = next((row[key] for key in _TARGETS if isinstance(row.get(key), str)), target)
    if served is None:
        raise ConfigError(f"{where}: no target; give `target` in the line, or --target if all runs had the same")
    ok, score = row.get("ok"), row.get("score", row.get("reward"))
    if ok is not None and not isinstance(ok, bool):
        raise ConfigError(f"{where}: ok is {ok!r}; give true or false, or a score")
    if score is not None and (isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1):
        raise ConfigError(f"{where}: score is {score!r}; give a number from 0 to 1")
    if ok is None and score is None:
        raise ConfigError(f"{where}: neither ok nor score; give one of them")
    told = row.get("source", "check")
    if told not in _SOURCES:
        raise ConfigError(f"{where}: source is {told!r}; use one of {', '.join(_SOURCES)}")
    role = row.get("role", row.get("agent"))
    if role is not None and not isinstance(role, str):
        raise ConfigError(f"{where}: role is {role!r}; give a name")
    return Outcome(
        episode=episode,
        role=role,
        target=served,
        ok=ok,
        score=None if score is None else float(score),
        source=cast("Source", _SOURCES[told]),
        at=_time(row.get("at"), where),
    )


def _time(value: Any, where: str) -> datetime | None:
    if value is None:
        return None
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ConfigError(f"{where}: at is {value!r}; give a time like 2026-11-28T10:00:00Z") from None
