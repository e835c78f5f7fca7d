"""Reads a ledger's file: decisions and entries one by one, gaps, totals. Never writes, and may run beside a writer."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, overload

from agentroute.decisions import Decision
from agentroute.errors import ConfigError

from .entries import COLUMNS, KEYS, Entry, moment
from .schema import connect_reading
from .totals import Gap, Totals

__all__ = ["StoredDecisions", "is_ledger", "read_decisions", "read_entries", "read_gaps", "read_totals"]


def is_ledger(path: str | Path) -> bool:
    """Whether the file begins as an SQLite database does."""
    with Path(path).open("rb") as file:
        return file.read(16) == b"SQLite format 3\0"


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
        yield Decision.from_dict(json.loads(text))


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
            return Decision.from_dict(json.loads(text))
        raise IndexError(f"the ledger {str(self._path)!r} has no decision {index}")


def read_entries(path: str | Path, *, since: datetime | None = None, until: datetime | None = None) -> Iterator[Entry]:
    """What a report needs of each decision from `since` to before `until`, oldest first."""
    chosen, values = _where(since, until, {})
    for row in _rows(path, f"SELECT {', '.join(COLUMNS)} FROM decisions{chosen} ORDER BY created_at, seq", values):
        facts = dict(zip(COLUMNS, row, strict=True))
        for name in ("cost", "baseline_cost", "savings"):
            if facts[name] is not None:
                facts[name] = Decimal(facts[name])
        yield Entry(**facts)


def read_gaps(path: str | Path, *, since: datetime | None = None, until: datetime | None = None) -> Iterator[Gap]:
    """Gaps that reach into the time from `since` to before `until`, each whole."""
    query = "SELECT since, until, steps, unpriced, cost, baseline_cost, savings FROM gaps ORDER BY since, seq"
    first, last = None if since is None else moment(since), None if until is None else moment(until)
    for begin, end, *sums in _rows(path, query, []):
        if (first is None or end >= first) and (last is None or begin < last):
            yield Gap(datetime.fromisoformat(begin), datetime.fromisoformat(end), _totals(sums))


def read_totals(path: str | Path) -> Totals:
    """Over every step ever appended by anyone, exact, whatever was dropped or deleted since."""
    total = Totals()
    for sums in _rows(path, "SELECT steps, unpriced, cost, baseline_cost, savings FROM totals", []):
        total += _totals(sums)
    return total


def _totals(sums: Any) -> Totals:
    steps, unpriced, *money = sums
    return Totals(steps, unpriced, *map(Decimal, money))


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


def _rows(path: str | Path, query: str, values: list[Any]) -> Iterator[tuple[Any, ...]]:
    try:
        with closing(connect_reading(Path(path))) as connection:
            yield from connection.execute(query, values)
        return
    except sqlite3.Error as error:
        problem = f"{type(error).__name__}: {error}"
    raise ConfigError(f"the ledger {str(path)!r} cannot be read: {problem}")
