"""Puts rows that belong together beside each other, however many there are: in memory while few, else on disk."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

__all__ = ["Shelf"]


class Shelf:
    """Rows by group. The database is SQLite's private one: it lives in a temporary file that goes with it."""

    def __init__(self) -> None:
        self._rows = sqlite3.connect("", check_same_thread=False)
        self._rows.execute("create table held (name text, at real, line integer, light text, heavy text)")
        self._indexed = False

    def put(self, name: str, at: float | None, line: int, light: Any, heavy: Any = None) -> None:
        """Keeps a row in the group `name`: `light` is read with its group, `heavy` one at a time."""
        self._rows.execute(
            "insert into held values (?, ?, ?, ?, ?)",
            (_sound(name), at, line, _json(light), None if heavy is None else _json(heavy)),
        )

    def groups(self) -> Iterator[str]:
        """The groups, the one that began first first (those without times as they came)."""
        if not self._indexed:
            self._rows.execute("create index by_name on held (name, at)")
            self._indexed = True
        names = self._rows.execute("select name from held group by name order by min(at), min(rowid)").fetchall()
        for (name,) in names:
            yield name

    def rows(self, name: str) -> Iterator[tuple[int, int, Any]]:
        """(number of the row, its line, the light part) of a group, by time."""
        query = "select rowid, line, light from held where name = ? order by at, rowid"
        for number, line, light in self._rows.execute(query, (name,)).fetchall():
            yield number, line, json.loads(light)

    def heavy(self, number: int) -> Any:
        (text,) = self._rows.execute("select heavy from held where rowid = ?", (number,)).fetchone()
        return None if text is None else json.loads(text)

    def close(self) -> None:
        self._rows.close()


def _json(value: Any) -> str:
    return json.dumps(value, default=str)


def _sound(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
