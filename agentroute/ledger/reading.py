"""Reads a ledger's file: decisions, entries and labels one by one, gaps, totals.

Never writes, and may run beside a writer.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar, overload

from agentroute.decisions import Decision, StepKind
from agentroute.errors import ConfigError, printable

from .base import Spent
from .budget import counted
from .entries import COLUMNS, KEYS, Entry, moment
from .labels import Assignment, Label
from .schema import connect_reading, open_reading
from .totals import Gap, Totals

__all__ = [
    "StoredDecisions",
    "is_ledger",
    "read_assignments",
    "read_decisions",
    "read_entries",
    "read_gaps",
    "read_labels",
    "read_spent",
    "read_totals",
]


def is_ledger(path: str | Path) -> bool:
    """Whether the file is an SQLite database. Raises OSError for one that is not there.

    SQLite itself is asked: whoever opens and closes its file drops the locks that this process may hold on it.
    """
    if Path(path).stat().st_size < _HEADER_BYTES:
        return False
    try:
        with closing(open_reading(Path(path))) as connection:
            connection.execute("PRAGMA schema_version")
    except sqlite3.Error as error:
        return error.sqlite_errorcode != sqlite3.SQLITE_NOTADB  # locked or damaged: reading it says so
    return True


_HEADER_BYTES = 100


def read_decisions(
    path: str | Path,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    newest_first: bool = False,
    **equal: str | None,
) -> Iterator[Decision]:
    """Decisions from `since` to before `until`, oldest first, holding one at a time.

    `equal` narrows by any of the keys of a report: `target="small", agent=None`. Raises ConfigError for a file that
    cannot be read and a key that is none.
    """
    chosen, values = _where(since, until, equal)
    order = "DESC" if newest_first else "ASC"
    query = f"SELECT decision FROM decisions{chosen} ORDER BY created_at {order}, seq {order}"
    for (text,) in _rows(path, query, values):
        yield _decision(path, text)


class StoredDecisions(Sequence[Decision]):
    """The decisions in a ledger's file, oldest first: iterating reads one at a time, an index reads just that one."""

    def __init__(self, path: str | Path) -> None:
        self._path = path

    def __iter__(self) -> Iterator[Decision]:
        return read_decisions(self._path)

    def __len__(self) -> int:
        ((count,),) = _rows(self._path, "SELECT COUNT(*) FROM decisions", [])
        return int(count)

    @overload
    def __getitem__(self, index: int) -> Decision: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Decision]: ...
    def __getitem__(self, index: int | slice) -> Decision | Sequence[Decision]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        order, offset = ("DESC", -index - 1) if index < 0 else ("ASC", index)
        query = f"SELECT decision FROM decisions ORDER BY created_at {order}, seq {order} LIMIT 1 OFFSET ?"
        for (text,) in _rows(self._path, query, [offset]):
            return _decision(self._path, text)
        raise IndexError(f"the ledger {str(self._path)!r} has no decision {index}")


def read_entries(path: str | Path, *, since: datetime | None = None, until: datetime | None = None) -> Iterator[Entry]:
    """What a report needs of each decision from `since` to before `until`, oldest first."""
    chosen, values = _where(since, until, {})
    for row in _rows(path, f"SELECT {', '.join(COLUMNS)} FROM decisions{chosen} ORDER BY created_at, seq", values):
        yield _made(path, _entry, row)


def read_labels(path: str | Path) -> Iterator[Label]:
    """What was said of steps and conversations, in the order in which it came."""
    query = "SELECT at, decision_id, conversation_id, role, ok, score, source, name FROM labels ORDER BY seq"
    for row in _rows(path, query, []):
        yield _made(path, _label, row)


def read_assignments(path: str | Path) -> Iterator[Assignment]:
    """Which target each step was meant for, oldest first."""
    query = (
        "SELECT id, created_at, conversation_id, json_extract(decision, '$.context.previous_id'), "
        "COALESCE(role, agent), COALESCE(json_extract(decision, '$.candidates[0].target'), target), cost, step_kind "
        "FROM decisions ORDER BY created_at, seq"
    )
    for row in _rows(path, query, []):
        yield _made(path, _assignment, row)


def read_gaps(path: str | Path, *, since: datetime | None = None, until: datetime | None = None) -> Iterator[Gap]:
    """Gaps that reach into the time from `since` to before `until`, each whole."""
    query = "SELECT since, until, steps, unpriced, cost, baseline_cost, savings FROM gaps ORDER BY since, seq"
    first, last = None if since is None else moment(since), None if until is None else moment(until)
    for begin, end, *sums in _rows(path, query, []):
        if (first is None or str(end) >= first) and (last is None or str(begin) < last):
            yield _made(path, _gap, (begin, end, sums))


def read_totals(path: str | Path) -> Totals:
    """Over every step ever appended by anyone, exact, whatever was dropped or deleted since."""
    total = Totals()
    for sums in _rows(path, "SELECT steps, unpriced, cost, baseline_cost, savings FROM totals", []):
        total += _made(path, _totals, sums)
    return total


def read_spent(path: str | Path, after: int | None, since: datetime) -> Iterator[tuple[int, Spent | None]]:
    """Each step written after the row `after` with its own row, in order; with None, each one since that time."""
    ((newest,),) = _rows(path, "SELECT COALESCE(MAX(seq), 0) FROM decisions", [])
    facts = "id, created_at, agent, key, conversation_id, cost, CASE WHEN cost IS NULL THEN decision END"
    if after is None:
        query = f"SELECT {facts} FROM decisions WHERE created_at >= ? AND seq <= ?"
        for row in _rows(path, query, [moment(since), newest]):
            yield newest, _made(path, _spent, row)
    elif newest > after:
        query = f"SELECT seq, {facts} FROM decisions WHERE seq > ? AND seq <= ? ORDER BY seq"
        for row in _rows(path, query, [after, newest]):
            yield row[0], _made(path, _spent, row[1:])
    yield newest, None


def _spent(facts: Any) -> Spent:
    decision_id, created_at, agent, key, conversation_id, cost, stored = facts
    if cost is not None:
        usd, estimated = _money(cost), Decimal(0)
    else:
        usd, estimated = counted(Decision.from_dict(json.loads(stored)))
    return Spent(decision_id, created_at, agent, key, conversation_id, usd, estimated)


_Made = TypeVar("_Made")


def _made(path: str | Path, make: Callable[[Any], _Made], row: Any) -> _Made:
    """What a row says. Raises ConfigError for one that no ledger writes: the file is damaged."""
    try:
        return make(row)
    except (ArithmeticError, AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError) as error:
        problem = f"{type(error).__name__}: {error}"
    raise ConfigError(
        f"the ledger {str(path)!r} is damaged, a row cannot be read ({printable(problem)}); "
        "`sqlite3 FILE .recover` may save the others"
    )


def _decision(path: str | Path, text: Any) -> Decision:
    return _made(path, lambda stored: Decision.from_dict(json.loads(stored)), text)


def _entry(row: Any) -> Entry:
    facts = dict(zip(COLUMNS, row, strict=True))
    for name in _MONEY:
        if facts[name] is not None:
            facts[name] = _money(facts[name])
    for name in _COUNTS:
        facts[name] = _number(facts[name], int)
    for name in _SECONDS:
        if facts[name] is not None:
            facts[name] = _number(facts[name], float)
    for name in _WORDS:
        if not isinstance(facts[name], str | None):
            raise TypeError(f"{name} is no text")
    return Entry(**facts)


_MONEY = ("cost", "baseline_cost", "savings", "broken_cost")
_COUNTS = ("attempts", "fallbacks", "duplicates")
_SECONDS = ("duration_s", "first_content_s")
_WORDS = tuple(name for name in COLUMNS if name not in (*_MONEY, *_COUNTS, *_SECONDS))


def _label(row: Any) -> Label:
    at, decision_id, conversation_id, role, ok, score, source, name = row
    return Label(
        datetime.fromisoformat(at), decision_id, conversation_id, role, None if ok is None else bool(ok), score, source,
        name,
    )  # fmt: skip


def _assignment(row: Any) -> Assignment:
    step, at, conversation_id, previous_id, role, target, cost, kind = row
    words = (step, conversation_id, previous_id, role, target)
    if not all(isinstance(word, str | None) for word in words) or step is None or target is None:
        raise TypeError("no text")
    when, spent = datetime.fromisoformat(at), None if cost is None else _money(cost)
    return Assignment(
        step, when, conversation_id, previous_id, role, target, spent, side=kind == StepKind.HOUSEKEEPING.value
    )


def _number(value: Any, kind: type[int] | type[float]) -> Any:
    if not isinstance(value, int | kind) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no number")
    return value


def _money(value: Any) -> Decimal:
    amount = Decimal(value)
    if not amount.is_finite():
        raise ValueError(f"{value!r} is no amount")
    return amount


def _gap(row: Any) -> Gap:
    begin, end, sums = row
    return Gap(datetime.fromisoformat(begin), datetime.fromisoformat(end), _totals(sums))


def _totals(sums: Any) -> Totals:
    steps, unpriced, *money = sums
    return Totals(_number(steps, int), _number(unpriced, int), *map(_money, money))


def _where(since: datetime | None, until: datetime | None, equal: Mapping[str, str | None]) -> tuple[str, list[Any]]:
    conditions: list[str] = []
    values: list[Any] = []
    for sign, time in ((">=", since), ("<", until)):
        if time is not None:
            conditions.append(f"created_at {sign} ?")
            values.append(moment(time))
    for key, value in equal.items():
        if key not in KEYS:
            raise ConfigError(f"decisions cannot be chosen by {key!r}; use {', '.join(KEYS)}")
        conditions.append(f"{key} IS ?")
        values.append(value)
    return (" WHERE " + " AND ".join(conditions) if conditions else ""), values


def _rows(path: str | Path, query: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    try:
        with closing(connect_reading(Path(path))) as connection:
            yield from connection.execute(query, values)
        return
    except sqlite3.Error as error:
        problem = f"{type(error).__name__}: {error}"
    raise ConfigError(f"the ledger {str(path)!r} cannot be read: {problem}")
