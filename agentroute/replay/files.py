"""The files that people name, folders and patterns too; and the rows of those that are no text (Parquet, zip, CSV)."""

from __future__ import annotations

import csv
import glob
import gzip
import io
import sqlite3
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

from agentroute.errors import ConfigError

from .logs.aider import is_aider
from .values import MAX_VALUE_BYTES, Unreadable, Value, opened, parse

__all__ = ["Kind", "database", "expand", "kind_of", "rows_of"]

Kind: TypeAlias = Literal["json", "parquet", "database", "zip", "csv", "aider chat", "aider llm"]

_SUFFIXES = frozenset(".json .jsonl .ndjson .gz .parquet .csv .eval .traj .db .sqlite .sqlite3 .history".split())
"""Files of a folder that are looked into; one that is named itself may be called anything."""

_NAMES = frozenset({".aider.chat.history.md", ".aider.llm.history"})
_SKIPPED = frozenset({".git", "node_modules", "__pycache__", ".venv"})
_MAX_ENTRIES = 100_000
_ROWS_AT_ONCE = 200


def expand(paths: Iterable[Path]) -> tuple[Path, ...]:
    """The files of folders (and theirs) and patterns, by name; a file as it is. Raises ConfigError for what is none."""
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = sorted(each for each in path.rglob("*") if _is_log(each, path))
            if not inside:
                raise ConfigError(
                    f"{str(path)!r} is a folder without a log in it; give files like *.jsonl, *.json, *.parquet"
                )
            found |= dict.fromkeys(_without_twins(inside))
        elif path.is_file():
            found[path] = None
        elif glob.has_magic(str(path)):
            named = sorted(Path(each) for each in glob.glob(str(path), recursive=True))
            if not named:
                raise ConfigError(f"no file is called like {str(path)!r}")
            found |= dict.fromkeys(expand(named))
        else:
            raise ConfigError(f"{str(path)!r} is not a file; give files, folders or patterns of traces, plain or gzip")
    return tuple(found)


def _is_log(path: Path, root: Path) -> bool:
    if not path.is_file() or _SKIPPED.intersection(path.relative_to(root).parts):
        return False
    return path.name in _NAMES or (path.suffix.lower() in _SUFFIXES and not path.name.startswith("."))


def _without_twins(paths: list[Path]) -> list[Path]:
    """Without aider's log of prompts if its chat stands beside it: both tell of the same calls, one with tokens."""
    chats = {path.parent for path in paths if path.name == ".aider.chat.history.md"}
    return [path for path in paths if not (path.name == ".aider.llm.history" and path.parent in chats)]


def kind_of(path: Path) -> Kind:
    """What a file is, by its first bytes."""
    with path.open("rb") as raw:
        head = raw.read(4096)
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"SQLite format 3\0"):
        return "database"
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if head.startswith(b"\x1f\x8b"):
        try:
            with gzip.open(path, "rb") as packed:
                head = packed.read(4096)
        except (OSError, EOFError):
            return "json"
    text = head.decode("utf-8", "replace")
    if (history := is_aider(text)) is not None:
        return "aider chat" if history == "chat" else "aider llm"
    first = text.lstrip("\ufeff").split("\n", 1)[0]
    if path.name.lower().removesuffix(".gz").endswith(".csv") and "," in first and first[:1] not in ("{", "["):
        return "csv"
    return "json"


def rows_of(path: Path, kind: Kind) -> Iterator[Value]:
    """The rows of a Parquet or CSV file, or the documents of a zip (an .eval file), as values."""
    try:
        match kind:
            case "parquet":
                yield from _parquet(path)
            case "csv":
                yield from _csv(path)
            case _:
                yield from _zip(path)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, csv.Error, NotImplementedError, MemoryError) as error:
        yield Value(1, Unreadable(f"the file cannot be read as {kind}: {type(error).__name__}"), path.stat().st_size, 1)


def _arrow(what: str) -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise ConfigError(f"{what} need the extra `traces`: pip install agentroute-llm[traces]") from None
    return pyarrow


def _parquet(path: Path) -> Iterator[Value]:
    arrow = _arrow("Parquet files")
    try:
        with arrow.parquet.ParquetFile(path) as file:
            pairs = {field.name for field in file.schema_arrow if arrow.types.is_map(field.type)}
            number, total, size = 0, max(file.metadata.num_rows, 1), path.stat().st_size
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    number += 1
                    for name in pairs:
                        row[name] = dict(row[name] or ())
                    kept = {key: value for key, value in row.items() if value is not None}
                    yield Value(number, kept, size * number // total, number)
    except arrow.ArrowException as error:
        yield Value(
            1, Unreadable(f"the file cannot be read as parquet: {type(error).__name__}"), path.stat().st_size, 1
        )


def _csv(path: Path) -> Iterator[Value]:
    csv.field_size_limit(MAX_VALUE_BYTES)
    with path.open("rb") as raw, io.TextIOWrapper(opened(raw), "utf-8-sig", "replace", newline="") as text:
        for number, row in enumerate(csv.DictReader(text), 1):
            kept = {key: value for key, value in row.items() if isinstance(key, str) and value}
            yield Value(number, kept, 0, number)


def _zip(path: Path) -> Iterator[Value]:
    """The samples of an .eval file, each a document of its own."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()[:_MAX_ENTRIES]
        size, done = path.stat().st_size, 0
        for number, entry in enumerate(entries, 1):
            done += entry.compress_size
            if not entry.filename.endswith(".json") or not entry.filename.startswith("samples/"):
                continue
            if entry.file_size > MAX_VALUE_BYTES:
                yield Value(number, Unreadable(f"longer than {MAX_VALUE_BYTES:,} bytes"), done, number)
                continue
            yield Value(number, parse(_entry(path, archive, entry)), min(done, size), number)


def _entry(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """The bytes of an entry. Python before 3.14 does not know zstd (method 93); pyarrow does."""
    try:
        with archive.open(entry) as stream:
            return stream.read(MAX_VALUE_BYTES + 1)
    except NotImplementedError:
        if entry.compress_type != 93:
            raise
    arrow = _arrow("Files packed with zstd")
    with path.open("rb") as raw:
        raw.seek(entry.header_offset + 26)
        name, extra = int.from_bytes(raw.read(2), "little"), int.from_bytes(raw.read(2), "little")
        raw.seek(entry.header_offset + 30 + name + extra)
        packed = raw.read(entry.compress_size)
    with arrow.CompressedInputStream(arrow.BufferReader(packed), "zstd") as stream:
        held: bytes = stream.read(min(entry.file_size, MAX_VALUE_BYTES))
    return held


def database(path: Path) -> tuple[sqlite3.Connection, set[str]]:
    """A database opened for reading (with what its -wal file holds), and the names of its tables."""
    rows = sqlite3.connect(f"file:{_quoted(path)}?mode=ro", uri=True)
    try:
        names = {name for (name,) in rows.execute("select name from sqlite_master where type = 'table'")}
    except sqlite3.OperationalError:
        rows.close()
        # A folder that cannot be written to has no room for the files that reading a -wal needs.
        rows = sqlite3.connect(f"file:{_quoted(path)}?immutable=1", uri=True)
        names = {name for (name,) in rows.execute("select name from sqlite_master where type = 'table'")}
    return rows, names


def _quoted(path: Path) -> str:
    return str(path.resolve()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
