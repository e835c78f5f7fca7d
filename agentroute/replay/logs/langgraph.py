"""LangGraph checkpoints (SQLite): the messages of the last one of each thread. Nothing is imported or unpickled."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

from agentroute.errors import RequestError
from agentroute.replay.records import Problem, Trace

from .base import Place
from .fields import Raw, json_of, mapping, name_of, printable
from .langchain import conversation
from .msgpack import Extension, unpack
from .thread import Thread

__all__ = ["from_database", "is_langgraph", "read"]

_DEPTH = 30
_MAX_BLOB = 256 * 1024 * 1024


def is_langgraph(raw: Raw) -> bool:
    return isinstance(raw.get("checkpoints"), list) and "thread_id" in raw


def read(raw: Raw) -> Iterator[Trace]:
    """A dump of one thread: its last checkpoint holds all messages."""
    held = [mapping(item) for item in raw["checkpoints"]]
    last: Any = held[-1] if held else {}
    messages = last.get("messages", mapping(mapping(last.get("checkpoint")).get("channel_values")).get("messages"))
    if not isinstance(messages, list):
        raise RequestError("no `messages` in the last checkpoint")
    yield from conversation([_message(item) for item in messages], Thread("langgraph", name_of(raw, "thread_id")))


def from_database(rows: sqlite3.Connection, place: Place) -> Iterator[Trace | Problem]:
    """The threads of a table `checkpoints`; a namespace of its own is a graph within the graph."""
    columns = {row[1] for row in rows.execute("pragma table_info(checkpoints)")}
    space = "checkpoint_ns" if "checkpoint_ns" in columns else "''"
    kind = "type" if "type" in columns else "null"
    query = (
        f"select thread_id, {space}, {kind}, checkpoint, max(checkpoint_id) from checkpoints "
        f"group by thread_id, {space} order by thread_id, {space}"
    )
    told: dict[str, list[Any]] = {}
    for thread_id, namespace, form, blob, _ in rows.execute(query):
        name = printable(str(thread_id))
        try:
            messages = _channel(blob, form)
            if messages is None:
                continue
            if namespace and messages == told.get(name):
                continue  # a graph within the graph that shares its messages
            told.setdefault(name, messages)
            own = f"{name}/{printable(str(namespace))}" if namespace else name
            agent = str(namespace).split(":")[0].split("|")[-1] if namespace else None
            thread = Thread("langgraph", own, agent=agent, parent=name if namespace else None)
            yield from conversation([_message(item) for item in messages], thread)
        except (RequestError, ValueError, RecursionError) as error:
            yield Problem(place.file, 1, f"langgraph: thread {name}: {error}")


def _channel(blob: Any, form: Any) -> list[Any] | None:
    if isinstance(blob, bytes) and len(blob) <= _MAX_BLOB and form in (None, "msgpack"):
        document = _plain(unpack(blob))
    elif isinstance(blob, str | bytes) and form in (None, "json"):
        document = json_of(blob if isinstance(blob, str) else blob.decode("utf-8", "replace"))
    else:
        raise ValueError(f"a checkpoint of the type {printable(str(form))!r} is not read")
    messages = mapping(mapping(document).get("channel_values")).get("messages")
    return messages if isinstance(messages, list) else None


def _plain(value: Any, depth: int = 0) -> Any:
    """Extensions as what they hold: [module, class, fields, method], whose fields are plain values."""
    if depth > _DEPTH:
        raise ValueError("nested too deeply")
    if isinstance(value, Extension):
        try:
            return _plain(unpack(value.data), depth + 1)
        except ValueError:
            return None
    if isinstance(value, Mapping):
        return {key: _plain(held, depth + 1) for key, held in value.items() if isinstance(key, str)}
    if isinstance(value, list):
        return [_plain(held, depth + 1) for held in value]
    return value if not isinstance(value, bytes) else None


def _message(item: Any) -> Any:
    """A message out of its `[module, class, fields, ...]`."""
    if isinstance(item, list) and len(item) >= 3 and isinstance(item[0], str) and isinstance(item[2], Mapping):
        return item[2]
    return item
