"""The ledger in a file: decisions are queued by the call and written by one thread, batch by batch."""

from __future__ import annotations

import atexit
import logging
import os
import queue
import secrets
import sqlite3
import threading
import weakref
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Self

from agentroute.decisions import Decision
from agentroute.errors import ConfigError

from .base import Spent
from .labels import Assignment, Label
from .reading import (
    StoredDecisions,
    read_assignments,
    read_decisions,
    read_gaps,
    read_labels,
    read_spent,
    read_totals,
)
from .schema import connect, identity, leave, prepare
from .totals import Gap, Tally, Totals
from .writing import write

__all__ = ["SqliteLedger"]

logger = logging.getLogger("agentroute")

_BATCH = 1_000
"""Decisions in one transaction: about a tenth of a second, which is how long another process may have to wait."""

_open: weakref.WeakSet[SqliteLedger] = weakref.WeakSet()


class _Token:
    """Asks the writer to say when everything queued before has been written; `last` ends it."""

    def __init__(self, *, last: bool = False) -> None:
        self.last = last
        self.written = False
        self.answered = threading.Event()

    def answer(self, written: bool) -> None:
        self.written = written
        self.answered.set()


class SqliteLedger:
    """Keeps every decision in an SQLite file (WAL); several processes may share one.

    `append` queues and returns. A daemon thread commits what is queued every `flush_s` seconds, so that a killed
    process loses no more than that and one batch. Where more than `queue_size` decisions wait (a locked or full disk, a
    rate above what the disk takes), further ones keep their place in `totals` alone and leave a row in `gaps`. A file
    that cannot be written is logged once, counted in `failures`, and tried again for as long as the process lives.

    Close it, or use it as a context manager: a forked worker ends without the flush that others get at exit.
    Raises ConfigError for a file that cannot be used.
    """

    def __init__(self, path: str | Path, *, queue_size: int = 10_000, flush_s: float = 0.2) -> None:
        if queue_size < 1:
            raise ConfigError(f"queue_size is {queue_size!r}; give at least 1")
        if not 0 < flush_s <= 0.25:
            raise ConfigError(f"flush_s is {flush_s!r}; give seconds above 0 and up to 0.25")
        self.path = Path(path)
        self._queue_size = queue_size
        self._flush_s = flush_s
        prepare(self.path)
        self._begin()
        _open.add(self)

    def _begin(self) -> None:
        """The state of one process. A forked child begins anew: what the parent queued, the parent will write."""
        self.failures = 0
        self.lost_labels = 0
        self._writer = secrets.token_hex(8)
        self._written = Totals()
        self._file: tuple[int, int] | None = None
        # Not a Condition: an append may interrupt another one of its own thread, from the finalizer of a stream that
        # was given up, and must not wait for it. Both queues let it in. Looked up at
        # this moment, since gevent puts its own there.
        self._queue: queue.SimpleQueue[Decision | Label | _Token | None] = queue.SimpleQueue()
        self._hurry: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._dropped: Tally[Gap] = Tally()
        self._starting = False
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._complained = False

    # -- on the call's path ------------------------------------------------------------------------------------------

    def append(self, decision: Decision) -> None:
        """Queues a decision. Never blocks, never raises for what is wrong with the file."""
        waiting = self._queue.qsize()
        if waiting < self._queue_size:
            self._queue.put(decision)
            if waiting == self._queue_size // 2:
                self._hurry.put(None)
        else:
            self._dropped.add(Gap.of(decision))
            if self._queue.empty():
                self._queue.put(None)
        if self._thread is None:
            self._start()

    def append_label(self, label: Label) -> None:
        """Queues what is said of a step or a conversation. Where the queue is full it is lost, counted in
        `lost_labels` and logged once."""
        if self._queue.qsize() >= self._queue_size:
            self.lost_labels += 1
            if self.lost_labels == 1:
                logger.warning("the ledger %s has no room for outcomes; `lost_labels` counts them", self.path)
        else:
            self._queue.put(label)
        if self._thread is None:
            self._start()

    def _start(self) -> None:
        with self._lock:
            if self._thread is not None or self._starting:
                return
            self._starting = True
            try:
                thread = threading.Thread(target=self._run, name="agentroute-ledger", daemon=True)
                thread.start()
                self._thread = thread
            except RuntimeError as error:
                self._complain(error)
            finally:
                self._starting = False

    # -- the writer's thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        # The connection is a local of this frame: after a fork the child cannot reach it, and so cannot close it.
        connection: sqlite3.Connection | None = None
        batch: list[Decision | Label] = []
        tokens: list[_Token] = []
        last = False
        while not (last and self._queue.empty()):
            self._collect(batch, tokens)
            last = last or any(token.last for token in tokens)
            gap = self._dropped.take()
            try:
                if batch or gap is not None:
                    if connection is not None and identity(self.path) != self._file:
                        # SQLite would go on writing to a file that nobody will find.
                        logger.warning("the ledger %s was moved or deleted; it is begun anew", self.path)
                        leave(connection)
                        connection = None
                        self._begin_file()
                    connection = connection or self._connect()
                    self._written = write(connection, self._writer, batch, gap, self._written)
            except Exception as error:
                self._complain(error)
                if gap is not None:
                    self._dropped.add(gap)
                if connection is not None:
                    connection.close()
                    connection = None
                _answer(tokens, False)
                if last:
                    self._give_up(batch)
                    return
                self._pause()
            else:
                self._complained = False
                batch.clear()
                _answer(tokens, True)
        if connection is not None:
            connection.close()

    def _connect(self) -> sqlite3.Connection:
        prepare(self.path)
        connection = connect(self.path)
        file = identity(self.path)
        if self._file is not None and file != self._file:
            self._begin_file()
        self._file = file
        return connection

    def _begin_file(self) -> None:
        """Another file: what was written before is in the totals of that one."""
        self._writer, self._written, self._file = secrets.token_hex(8), Totals(), None

    def _collect(self, batch: list[Decision | Label], tokens: list[_Token]) -> None:
        """Waits for the first decision, then for a while, then takes what is there. A failed batch is still there."""
        if not batch:
            self._keep(self._queue.get(), batch, tokens)
            if not tokens:
                self._pause()
        while len(batch) < _BATCH:
            try:
                self._keep(self._queue.get_nowait(), batch, tokens)
            except queue.Empty:
                return

    def _keep(
        self, item: Decision | Label | _Token | None, batch: list[Decision | Label], tokens: list[_Token]
    ) -> None:
        if isinstance(item, _Token):
            tokens.append(item)
        elif item is not None:
            batch.append(item)

    def _pause(self) -> None:
        try:
            self._hurry.get(timeout=self._flush_s)
        except queue.Empty:
            pass

    def _give_up(self, batch: list[Decision | Label]) -> None:
        """The ledger is being closed and the file cannot be written: what waits is a gap, should it go on."""
        for item in batch:
            if isinstance(item, Label):
                self.lost_labels += 1
            else:
                self._dropped.add(Gap.of(item))
        gap = self._dropped.sum
        steps = 0 if gap is None else gap.totals.steps
        logger.error("the ledger %s was closed with decisions that could not be written: %d", self.path, steps)

    def _complain(self, error: Exception) -> None:
        self.failures += 1
        if not self._complained:
            self._complained = True
            logger.warning(
                "the ledger %s cannot be written (%s: %s); calls go on, totals are kept and it is tried again",
                self.path,
                type(error).__name__,
                error,
            )

    # -- the owner's side --------------------------------------------------------------------------------------------

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Waits until everything appended before is in the file; False where it could not be written in that time."""
        if self._thread is None and self._queue.empty() and self._dropped.sum is None:
            return True
        return self._ask(_Token(), timeout_s)

    def close(self, timeout_s: float = 10.0) -> None:
        """Writes what is queued and ends the thread. A later `append` starts another one."""
        if self._thread is None and self._queue.empty() and self._dropped.sum is None:
            return
        written = self._ask(_Token(last=True), timeout_s)
        thread = self._thread
        if thread is None:
            return
        thread.join(timeout_s)
        if thread.is_alive():
            logger.error("the ledger %s did not end within %s s", self.path, timeout_s)
            return
        self._thread = None
        if written and not self._queue.empty():  # an append that still saw the thread
            self._start()

    def _ask(self, token: _Token, timeout_s: float) -> bool:
        self._queue.put(token)
        self._hurry.put(None)
        if self._thread is None:
            self._start()
        return self._thread is not None and token.answered.wait(timeout_s) and token.written

    @property
    def decisions(self) -> Sequence[Decision]:
        """What the file holds, also from other processes, oldest first. Iterating holds one decision at a time."""
        self.flush()
        return StoredDecisions(self.path)

    def select(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        newest_first: bool = False,
        **equal: str | None,
    ) -> Iterator[Decision]:
        """Some of `decisions`, by time or by any key of a report: `select(target="small")`."""
        self.flush()
        return read_decisions(self.path, since=since, until=until, newest_first=newest_first, **equal)

    def spent(self, after: int | None, since: datetime) -> Iterator[tuple[int, Spent | None]]:
        """What a budget reads: see `SpendingLedger`. What is still queued is not waited for."""
        return read_spent(self.path, after, since)

    @property
    def labels(self) -> tuple[Label, ...]:
        """What was said of steps and conversations, also by other processes, in the order in which it came."""
        self.flush()
        return tuple(read_labels(self.path))

    @property
    def assignments(self) -> Iterator[Assignment]:
        """Which target each step was meant for, oldest first."""
        self.flush()
        return read_assignments(self.path)

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Steps whose details were dropped."""
        self.flush()
        return tuple(read_gaps(self.path))

    @property
    def totals(self) -> Totals:
        """Over every step ever appended to this file, by any process."""
        self.flush()
        return read_totals(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"SqliteLedger({str(self.path)!r})"


def _answer(tokens: list[_Token], written: bool) -> None:
    for token in tokens:
        token.answer(written)
    tokens.clear()


def _close_all() -> None:
    for ledger in list(_open):
        ledger.close(timeout_s=5.0)


def _begin_all() -> None:
    for ledger in list(_open):
        ledger._begin()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_all)
