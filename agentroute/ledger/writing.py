"""One batch as one transaction: decisions, labels, the gap before them, and the writer's totals after them."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from agentroute.decisions import Decision

from .entries import COLUMNS, Entry, moment
from .labels import Label
from .totals import Gap, Totals

__all__ = ["write"]

logger = logging.getLogger("agentroute")

_INSERT = f"INSERT INTO decisions (writer, {', '.join(COLUMNS)}, decision) VALUES "
_VALUES = f"({', '.join('?' * (len(COLUMNS) + 2))})"
_TOGETHER = 32
"""Rows of one statement: with each, the interpreter goes to the threads that make the calls and has to come back. The
oldest SQLite takes 999 values."""
_INSERT_LABEL = (
    "INSERT INTO labels (writer, at, decision_id, conversation_id, role, ok, score, source, name) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_NOT_STORABLE = (
    AttributeError,
    OverflowError,
    TypeError,
    ValueError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
)
"""What the decision itself is to blame for, such as an agent's name that is half of a surrogate pair."""
_ENCODE = json.JSONEncoder(separators=(",", ":")).encode
_MONEY = frozenset({"cost", "baseline_cost", "savings", "broken_cost"})


def write(
    connection: sqlite3.Connection, writer: str, batch: Iterable[Decision | Label], gap: Gap | None, before: Totals
) -> Totals:
    """Commits all of it or nothing, and returns the writer's totals, which were `before`.

    The totals are the writer's own row, set and never read: several processes do not meet there, and a batch that is
    tried again counts once. A decision that cannot be stored goes into the gap. Raises sqlite3.Error.
    """
    totals = before
    connection.execute("BEGIN IMMEDIATE")
    try:
        decisions: list[Decision] = []
        for item in batch:
            if not isinstance(item, Label):
                decisions.append(item)
                continue
            try:
                connection.execute(_INSERT_LABEL, _label(writer, item))
            except _NOT_STORABLE as error:
                logger.warning("an outcome cannot be stored: %s", type(error).__name__)
        for at in range(0, len(decisions), _TOGETHER):
            some = decisions[at : at + _TOGETHER]
            for decision, told in zip(some, _store(connection, writer, some), strict=True):
                if isinstance(told, Totals):
                    totals += told
                    continue
                logger.warning("decision %r cannot be stored: %s", decision.id, type(told).__name__)
                gap = Gap.of(decision) if gap is None else gap + Gap.of(decision)
        if gap is not None:
            connection.execute(
                "INSERT INTO gaps (writer, since, until, steps, unpriced, cost, baseline_cost, savings) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (writer, moment(gap.since), moment(gap.until), *_sums(gap.totals)),
            )
            totals += gap.totals
        connection.execute("INSERT OR REPLACE INTO totals VALUES (?, ?, ?, ?, ?, ?)", (writer, *_sums(totals)))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return totals


def _store(connection: sqlite3.Connection, writer: str, decisions: Sequence[Decision]) -> Sequence[Totals | Exception]:
    """Inserts them in one statement, or, if that fails, each by itself. Of each, what it adds to the totals, or why it
    cannot be stored."""
    try:
        told = [Totals.of(decision) for decision in decisions]
        values = [value for decision in decisions for value in _row(writer, decision)]
        connection.execute(_INSERT + ", ".join([_VALUES] * len(decisions)), values)
        return told
    except _NOT_STORABLE as error:
        if len(decisions) == 1:
            return [error]
    return [each for decision in decisions for each in _store(connection, writer, [decision])]


def _row(writer: str, decision: Decision) -> tuple[Any, ...]:
    entry = Entry.of(decision)
    values = (_text(getattr(entry, name)) if name in _MONEY else getattr(entry, name) for name in COLUMNS)
    return (writer, *values, _ENCODE(decision.to_dict()))


def _label(writer: str, label: Label) -> tuple[Any, ...]:
    about = label.decision_id, label.conversation_id, label.role
    return (writer, moment(label.at), *about, label.ok, label.score, label.source, label.name)


def _sums(totals: Totals) -> tuple[int, int, str, str, str]:
    return totals.steps, totals.unpriced, str(totals.cost), str(totals.baseline_cost), str(totals.savings)


def _text(money: Decimal | None) -> str | None:
    return None if money is None else str(money)
