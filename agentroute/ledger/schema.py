"""The ledger's file: its tables as numbered scripts, and how it is opened."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from agentroute.errors import ConfigError

__all__ = [
    "APPLICATION_ID",
    "BUSY_S",
    "MIGRATIONS",
    "connect",
    "connect_reading",
    "identity",
    "leave",
    "open_reading",
    "prepare",
]

logger = logging.getLogger("agentroute")

APPLICATION_ID = 0x61675274
"""`agRt` in the file's header: what tells a ledger from another program's database."""

BUSY_S = 2.0
"""How long a writer waits for another one: a batch takes a tenth of that."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE decisions (
             seq INTEGER PRIMARY KEY,
             writer TEXT NOT NULL,
             id TEXT NOT NULL,
             created_at TEXT NOT NULL,
             day TEXT NOT NULL,
             target TEXT NOT NULL,
             tier TEXT NOT NULL,
             task TEXT NOT NULL,
             step_kind TEXT NOT NULL,
             strategy TEXT NOT NULL,
             agent TEXT,
             role TEXT,
             node TEXT,
             conversation_id TEXT,
             outcome TEXT NOT NULL,
             cost TEXT,
             baseline_cost TEXT,
             savings TEXT,
             attempts INTEGER NOT NULL,
             fallbacks INTEGER NOT NULL,
             duplicates INTEGER NOT NULL,
             duration_s REAL,
             first_content_s REAL,
             decision TEXT NOT NULL)""",
        "CREATE INDEX decisions_created_at ON decisions (created_at)",
        """CREATE TABLE gaps (
             seq INTEGER PRIMARY KEY,
             writer TEXT NOT NULL,
             since TEXT NOT NULL,
             until TEXT NOT NULL,
             steps INTEGER NOT NULL,
             unpriced INTEGER NOT NULL,
             cost TEXT NOT NULL,
             baseline_cost TEXT NOT NULL,
             savings TEXT NOT NULL)""",
        """CREATE TABLE totals (
             writer TEXT PRIMARY KEY,
             steps INTEGER NOT NULL,
             unpriced INTEGER NOT NULL,
             cost TEXT NOT NULL,
             baseline_cost TEXT NOT NULL,
             savings TEXT NOT NULL) WITHOUT ROWID""",
    ),
    (
        "ALTER TABLE decisions ADD COLUMN cost_source TEXT",
        "ALTER TABLE decisions ADD COLUMN cost_problem TEXT",
    ),
    (
        """CREATE TABLE labels (
             seq INTEGER PRIMARY KEY,
             writer TEXT NOT NULL,
             at TEXT NOT NULL,
             decision_id TEXT,
             conversation_id TEXT,
             role TEXT,
             ok INTEGER,
             score REAL,
             source TEXT NOT NULL,
             name TEXT)""",
    ),
    ("ALTER TABLE decisions ADD COLUMN key TEXT",),
    (
        "ALTER TABLE decisions ADD COLUMN cache_broken TEXT",
        "ALTER TABLE decisions ADD COLUMN broken_cost TEXT",
    ),
)
"""Script n brings a file from version n to n + 1. A script that was released is never edited."""


def prepare(path: Path, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
    """Makes the file or brings an older one up to date. Only its owner may read it, also if it was there before, nor
    anybody else a folder that is made for it.

    Raises ConfigError that names the file and what to do, where it cannot be used.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make(path)
        connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        try:
            _version(connection, path, len(migrations))  # before anything is changed: it may be another program's
            _set_wal(connection)
            _migrate(connection, path, migrations)
            if os.name == "posix":
                for end in ("", "-wal", "-shm"):
                    _close_to_others(path.with_name(path.name + end))
        finally:
            connection.close()
    except (OSError, sqlite3.Error) as error:
        problem = f"{type(error).__name__}: {error}"
    else:
        return
    raise ConfigError(_unusable(path, problem))


def _make(path: Path) -> None:
    """Makes the file unless it is there. What lies behind a link may be anything, so none is followed.

    A file that is there is looked at and not opened: closing it again would drop the locks that this process may hold
    on it for another ledger (https://sqlite.org/howtocorrupt.html, 2.2).
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        return
    except FileExistsError:
        facts = path.lstat()
    if stat.S_ISLNK(facts.st_mode):
        raise ConfigError(f"the ledger {str(path)!r} is a link, which is not followed; name the file itself")
    if not stat.S_ISREG(facts.st_mode):
        raise ConfigError(f"the ledger {str(path)!r} is no regular file; name another one")
    if facts.st_nlink > 1:
        raise ConfigError(
            f"the ledger {str(path)!r} has {facts.st_nlink} names (hard links), which SQLite cannot keep together; "
            "copy it and name the copy"
        )
    if not os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise PermissionError("it cannot be written")


def _close_to_others(path: Path) -> None:
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISREG(facts.st_mode) and facts.st_mode & 0o077 and facts.st_uid == os.geteuid():
        path.chmod(0o600)
        logger.warning("others could open %s (mode %04o); it has mode 0600 now", path, facts.st_mode & 0o777)


def identity(path: Path) -> tuple[int, int] | None:
    """Which file this is, whatever its name; None if there is none."""
    try:
        facts = path.lstat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def connect(path: Path) -> sqlite3.Connection:
    """A connection for writing, in autocommit mode: transactions are begun by name."""
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
    try:
        _set_wal(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def leave(connection: sqlite3.Connection) -> None:
    """Closes a connection to a file that has another name now: what stands in its log is put into the file itself,
    since SQLite deletes a log that it finds beside a new file."""
    with contextlib.suppress(sqlite3.Error):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def connect_reading(path: Path) -> sqlite3.Connection:
    """A connection that cannot write. Raises ConfigError for a file that is missing, damaged, newer, or no ledger.

    A file of an older version is brought up to date first.
    """
    if not path.is_file():
        raise ConfigError(f"there is no ledger {str(path)!r}; is that the right path?")
    connection = None
    try:
        connection = open_reading(path)
        version = _version(connection, path, len(MIGRATIONS))
        if version < len(MIGRATIONS):
            connection.close()
            prepare(path)
            connection = open_reading(path)
    except sqlite3.Error as error:
        if connection is not None:
            connection.close()
        problem = f"{type(error).__name__}: {error}"
    except BaseException:
        if connection is not None:
            connection.close()
        raise
    else:
        return connection
    raise ConfigError(_unusable(path, problem))


def open_reading(path: Path) -> sqlite3.Connection:
    """A connection that cannot write, to whatever file this is."""
    address = f"file:{quote(str(path.absolute()))}?mode=ro"
    return sqlite3.connect(address, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False)


def _set_wal(connection: sqlite3.Connection) -> None:
    """Two processes that open a new file at once: SQLite does not wait by itself for this lock."""
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def _migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[Sequence[str]]) -> None:
    if _version(connection, path, len(migrations)) == len(migrations):
        return
    connection.execute("BEGIN IMMEDIATE")
    for number in range(_version(connection, path, len(migrations)), len(migrations)):
        for statement in migrations[number]:
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {len(migrations)}")
    connection.execute("COMMIT")


def _version(connection: sqlite3.Connection, path: Path, newest: int) -> int:
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application_id != APPLICATION_ID and (tables or version or application_id):
        raise ConfigError(f"{str(path)!r} is another program's database, not a ledger; name another file")
    if version > newest:
        raise ConfigError(
            f"the ledger {str(path)!r} has version {version}, this agentroute knows {newest}; upgrade agentroute "
            "(pip install -U agentroute-llm) or name another file"
        )
    return int(version)


def _unusable(path: Path, problem: str) -> str:
    return f"the ledger {str(path)!r} cannot be used ({problem}); move it away (a new one is made) or name another file"
