"""One batch as one transaction: decisions, labels, the gap before them, and the writer's totals after them."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from agentroute.decisions import Decision

from .entries import COLUMNS, Entry, moment
from .labels import Label
from .totals import Gap, Totals

__all__ = ["write"]

logger = logging.getLogger("agentroute")

_INSERT = (
    f"INSERT INTO decisions (writer, {', '.join(COLUMNS)}, decision) VALUES ({', '.join('?' * (len(COLUMNS) + 2))})"
)
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
        for item in batch:
            try:
                if isinstance(item, Label):
                    connection.execute(_INSERT_LABEL, _label(writer, item))
                    continue
                connection.execute(_INSERT, _row(writer, item))
                totals += Totals.of(item)
            except _NOT_STORABLE as error:
                if isinstance(item, Label):
                    logger.warning("an outcome cannot be stored: %s", type(error).__name__)
                    continue
                logger.warning("decision %r cannot be stored: %s", item.id, type(error).__name__)
                gap = Gap.of(item) if gap is None else gap + Gap.of(item)
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


def _row(writer: str, decision: Decision) -> tuple[Any, ...]:
    entry = Entry.of(decision)
    values = (_text(getattr(entry, name)) if name in _MONEY else getattr(entry, name) for name in COLUMNS)
    return (writer, *values, json.dumps(decision.to_dict(), separators=(",", ":")))


def _label(writer: str, label: Label) -> tuple[Any, ...]:
    about = label.decision_id, label.conversation_id, label.role
    return (writer, moment(label.at), *about, label.ok, label.score, label.source, label.name)


def _sums(totals: Totals) -> tuple[int, int, str, str, str]:
    return totals.steps, totals.unpriced, str(totals.cost), str(totals.baseline_cost), str(totals.savings)


def _text(money: Decimal | None) -> str | None:
    return None if money is None else str(money)
