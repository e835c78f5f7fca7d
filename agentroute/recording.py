"""What calls asked and what was answered, written to files of your own if you say so: for replay and shadow.

Off unless a Router is given a Recorder. Prompts stand in no other file of agentroute's.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import logging
import os
import queue
import re
import secrets
import stat
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

from .decisions import Decision
from .errors import ConfigError
from .failover.forks import renew_in_child
from .formats import openai_chat
from .messages import ChatRequest, ChatResponse, Message
from .providers.keys import Secret, hide_keys

__all__ = ["Recorder"]

logger = logging.getLogger("agentroute")

VERSION: Final = 1

Redact: TypeAlias = Callable[[dict[str, Any]], dict[str, Any] | None]

_NAME: Final = re.compile(r"\d{4}-\d\d-\d\d\.[0-9a-f]{16}\.jsonl")
"""The names of our files: nothing else in the folder is ever touched."""

_MB: Final = 1_000_000
_FLUSH_S: Final = 0.2
_BATCH: Final = 100

_open: weakref.WeakSet[Recorder] = weakref.WeakSet()


@dataclass(frozen=True, slots=True)
class _Taken:
    decision: Decision
    request: ChatRequest
    response: ChatResponse


@dataclass(slots=True)
class _Asked:
    """Asks the writer to say when everything before is written; `last` ends it."""

    done: threading.Event
    last: bool = False


class Recorder:
    """Writes the requests and answers of calls that went well into a folder, as JSONL that `agentroute replay` reads.

    Args:
        folder: made if it is not there, for its owner only; every file in it has mode 0600. No link is followed.
        days: how long a file is kept.
        max_mb: how much the folder may hold; the oldest files go first.
        share: of conversations, 0 to 1; a conversation is recorded whole or not at all.
        redact: is given each line as a dict before it is written, and returns what may be written (None: nothing). A
            line of which it raises is not written.

    A call is queued and a thread writes, so no call ever waits; what does not fit into the queue of `queue_size` calls,
    or on the disk, is told as a gap. Keys of the router's targets, and what looks like a provider's key, are masked.
    Raises ConfigError for a setting or a folder that cannot be used.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        days: float = 30.0,
        max_mb: float = 1_000.0,
        share: float = 1.0,
        redact: Redact | None = None,
        queue_size: int = 1_000,
    ) -> None:
        for name, value in (("days", days), ("max_mb", max_mb), ("share", share), ("queue_size", queue_size)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
                raise ConfigError(f"recording: {name} is {value!r}; give a number above 0")
        if share > 1:
            raise ConfigError(f"recording: share is {share!r}; give the share of conversations, above 0 and up to 1")
        if redact is not None and not callable(redact):
            raise ConfigError(f"recording: redact is a {type(redact).__name__}; give a function of a line")
        self.folder = Path(folder)
        self.days, self.max_mb, self.share, self.redact = days, max_mb, share, redact
        self._queue_size = int(queue_size)
        self._secrets: dict[Secret, None] = {}
        _prepare(self.folder)
        self.begin_anew()
        renew_in_child(self)
        _open.add(self)
        logger.warning(
            "recording is on: prompts and answers of %g %% of conversations are written to %s, kept %g days and %g MB",
            100 * share,
            self.folder,
            days,
            max_mb,
        )

    @classmethod
    def of(cls, value: Recorder | str | Path | Mapping[str, Any]) -> Recorder:
        """A recorder from what a person writes: one, a folder, or its settings."""
        if isinstance(value, Recorder):
            return value
        if isinstance(value, str | Path):
            return cls(value)
        if isinstance(value, Mapping):
            return cls(**value)
        raise ConfigError(f"`recording` is a {type(value).__name__}; give a Recorder or a folder")

    def begin_anew(self) -> None:
        """The state of one process. A forked child begins a file of its own; what waits, its parent writes."""
        self.lost = 0
        self._queue: queue.SimpleQueue[_Taken | _Asked | None] = queue.SimpleQueue()
        self._gap: _Gap | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.RLock()
        self._complained = False

    def hide(self, keys: Iterable[Secret]) -> None:
        """Keys that no line may hold, whatever prompt quotes them."""
        self._secrets |= dict.fromkeys(keys)

    # -- on the call's path ------------------------------------------------------------------------------------------

    def take(self, decision: Decision, request: ChatRequest, response: ChatResponse) -> None:
        """Queues a call. Never blocks and raises nothing for what is wrong with the folder."""
        if self.share < 1 and not self._sampled(decision, request):
            return
        if self._queue.qsize() >= self._queue_size:
            self._lose(decision.created_at)
        else:
            self._queue.put(_Taken(decision, request, response))
        if self._thread is None:
            self._start()

    def _sampled(self, decision: Decision, request: ChatRequest) -> bool:
        """By the conversation's id, else by how it begins: the same in every process."""
        name = decision.context.conversation_id
        if name is None:
            opening: list[Message] = []
            for message in request.messages:
                if message.role == "assistant":
                    break
                opening.append(message)
            name = repr(opening)
        digest = hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=8).digest()
        return int.from_bytes(digest) < self.share * 2**64

    def _lose(self, at: datetime) -> None:
        with self._lock:
            self.lost += 1
            self._gap = _Gap(1, at, at) if self._gap is None else self._gap.and_at(at)
        if self.lost == 1:
            logger.warning("not every call is recorded in %s; what is lost is told there as a gap", self.folder)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                with suppress(RuntimeError):  # the interpreter is ending
                    thread = threading.Thread(target=self._run, name="agentroute-recording", daemon=True)
                    thread.start()
                    self._thread = thread

    # -- the writer's thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        # The file is a local of this frame: after a fork the child cannot reach it.
        file: _File | None = None
        last = False
        while not last:
            batch, asked = self._collect()
            last = any(token.last for token in asked)
            waiting = deque(batch)
            gap: _Gap | None = None
            try:
                while waiting:
                    line = self._line(waiting[0])
                    if line is not None:
                        file = self._fit(file, len(line))
                        file.write(line)
                    waiting.popleft()
                with self._lock:
                    gap, self._gap = self._gap, None
                if gap is not None:
                    line = gap.line()
                    file = self._fit(file, len(line))
                    file.write(line)
            except (OSError, ConfigError) as error:
                self._put_back(gap, waiting)
                if file is not None:
                    file.discard()
                    file = None
                if not self._complained:
                    self._complained = True
                    logger.warning("the recording in %s cannot be written (%s); calls go on", self.folder, error)
            else:
                self._complained = False
            for token in asked:
                token.done.set()
        if file is not None:
            file.close()

    def _fit(self, file: _File | None, size: int) -> _File:
        """A file that has room for a line of this size, in a folder that has room for the file."""
        if file is not None and not file.full(size, self._most) and not file.gone():
            return file
        if file is not None:
            file.close()
        _prepare(self.folder)
        _sweep(self.folder, self.days, self.max_mb * _MB - self._most)
        return _File(self.folder)

    def _put_back(self, gap: _Gap | None, lost: Iterable[_Taken]) -> None:
        with self._lock:
            if gap is not None:
                self._gap = gap if self._gap is None else self._gap.and_gap(gap)
        for each in lost:
            self._lose(each.decision.created_at)

    @property
    def _most(self) -> float:
        """Bytes of one file, at most: a few of them make up what the folder may hold."""
        return min(64 * _MB, self.max_mb * _MB / 4)

    def _collect(self) -> tuple[list[_Taken], list[_Asked]]:
        batch: list[_Taken] = []
        asked: list[_Asked] = []
        item: _Taken | _Asked | None = self._queue.get()
        until = time.monotonic() + _FLUSH_S
        while True:
            if isinstance(item, _Asked):
                asked.append(item)
            elif item is not None:
                batch.append(item)
            try:
                if len(batch) >= _BATCH:
                    return batch, asked
                wait = 0.0 if asked else max(0.0, until - time.monotonic())
                item = self._queue.get(timeout=wait) if wait else self._queue.get_nowait()
            except queue.Empty:
                return batch, asked

    def _line(self, taken: _Taken) -> bytes | None:
        """The line of one call, redacted and without keys; None if it may not be written."""
        try:
            line: dict[str, Any] | None = _body(taken)
            if self.redact is not None and line is not None:
                line = self.redact(line)
            if line is None:
                return None
            text = hide_keys(json.dumps(line, ensure_ascii=False, separators=(",", ":"), default=str), self._secrets)
        except Exception as error:
            # What went wrong may quote the prompt, so its class alone is told.
            self._lose(taken.decision.created_at)
            logger.debug("a call was not recorded: %s", type(error).__name__)
            return None
        data = (text + "\n").encode("utf-8", "backslashreplace")
        if len(data) > self._most:
            self._lose(taken.decision.created_at)
            return None
        return data

    # -- the owner's side --------------------------------------------------------------------------------------------

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Waits until what was taken before is written or lost; False if that took too long."""
        return self._ask(_Asked(threading.Event()), timeout_s)

    def close(self, timeout_s: float = 10.0) -> None:
        """Writes what is queued and ends the thread. A later call starts another one."""
        thread = self._thread
        if thread is None and self._queue.empty():
            return
        self._ask(_Asked(threading.Event(), last=True), timeout_s)
        if thread is not None:
            thread.join(timeout_s)
        self._thread = None

    def _ask(self, asked: _Asked, timeout_s: float) -> bool:
        if self._thread is None:
            if self._queue.empty():
                return True
            self._start()
        self._queue.put(asked)
        return asked.done.wait(timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        settings = {"folder": self.folder, "days": self.days, "max_mb": self.max_mb, "share": self.share}
        return _made, ({**settings, "redact": self.redact, "queue_size": self._queue_size},)

    def __repr__(self) -> str:
        return f"Recorder({str(self.folder)!r}, share={self.share})"


def _made(settings: dict[str, Any]) -> Recorder:
    return Recorder(**settings)


# -- lines -------------------------------------------------------------------------------------------------------------


def _body(taken: _Taken) -> dict[str, Any]:
    decision, context = taken.decision, taken.decision.context
    known = {name: getattr(context, name) for name in ("conversation_id", "parent_id", "agent", "role", "node")}
    failed = [
        result.tool_call_id
        for message in taken.request.messages
        for result in message.tool_results
        if result.is_error is True
    ]
    return {
        "agentroute_recording": VERSION,
        "id": decision.id,
        "created_at": decision.created_at.isoformat(),
        **{name: value for name, value in known.items() if value is not None},
        "target": decision.target,
        "tier": decision.tier.value,
        "task": decision.task.value,
        "step_kind": decision.step_kind.value,
        "cost": None if decision.cost is None else str(decision.cost),
        **({"failed_results": failed} if failed else {}),
        "request": _request(taken.request),
        "response": openai_chat.encode_response(taken.response),
    }


_FIELDS: Final = frozenset(
    "model messages tools tool_choice parallel_tool_calls response_format max_tokens max_completion_tokens "
    "temperature top_p stop seed reasoning_effort".split()
)
"""What is recorded of a request: a field that nobody knows here may be a header, and that a key."""

_OF_A_TOOL: Final = frozenset(("type", "name", "function", "custom", "parameters", "input_schema", "description"))
"""The same of a tool: one that the provider runs may carry the token of a server."""


def _request(request: ChatRequest) -> dict[str, Any]:
    body = openai_chat.encode_request(request).body
    kept = {name: value for name, value in body.items() if name in _FIELDS}
    if "tools" in kept:
        kept["tools"] = [{key: value for key, value in tool.items() if key in _OF_A_TOOL} for tool in kept["tools"]]
    return kept


@dataclass(frozen=True, slots=True)
class _Gap:
    calls: int
    since: datetime
    until: datetime

    def and_at(self, at: datetime) -> _Gap:
        return _Gap(self.calls + 1, min(self.since, at), max(self.until, at))

    def and_gap(self, other: _Gap) -> _Gap:
        return _Gap(self.calls + other.calls, min(self.since, other.since), max(self.until, other.until))

    def line(self) -> bytes:
        gap = {"calls": self.calls, "since": self.since.isoformat(), "until": self.until.isoformat()}
        return (json.dumps({"agentroute_recording": VERSION, "gap": gap}) + "\n").encode()


# -- files -------------------------------------------------------------------------------------------------------------


class _File:
    """One file of one process, made anew and never opened again."""

    def __init__(self, folder: Path) -> None:
        self._day = datetime.now(UTC).date()
        self.path = folder / f"{self._day}.{secrets.token_hex(8)}.jsonl"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
        self._fd = os.open(self.path, flags, 0o600)
        self._bytes = 0

    def full(self, more: int, most: float) -> bool:
        return self._bytes + more > most or self._day != datetime.now(UTC).date()

    def gone(self) -> bool:
        """Whether somebody moved or deleted it: what is written would be found by nobody."""
        try:
            facts = self.path.lstat()
        except OSError:
            return True
        mine = os.fstat(self._fd)
        return (facts.st_dev, facts.st_ino) != (mine.st_dev, mine.st_ino)

    def write(self, line: bytes) -> None:
        while line:
            written = os.write(self._fd, line)
            self._bytes += written
            line = line[written:]

    def close(self) -> None:
        with suppress(OSError):
            os.close(self._fd)

    def discard(self) -> None:
        """For one that could not be written; an empty one is taken away again."""
        if not self._bytes and not self.gone():
            with suppress(OSError):
                self.path.unlink()
        self.close()


def _prepare(folder: Path) -> None:
    """Makes the folder. Raises ConfigError for one that is a link, no folder, or cannot be used."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = folder.lstat()
    except OSError as error:
        problem = f"cannot be used ({type(error).__name__}: {error.strerror})"
    else:
        if stat.S_ISDIR(facts.st_mode):
            return
        problem = "is a link, which is not followed" if stat.S_ISLNK(facts.st_mode) else "is no folder"
    raise ConfigError(f"the recording {str(folder)!r} {problem}; name another folder")


def _sweep(folder: Path, days: float, most: float) -> None:
    """Deletes our files that are too old, and the oldest while the folder holds too much."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if _NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                facts = entry.stat(follow_symlinks=False)
                found.append((facts.st_mtime, facts.st_size, Path(entry.path)))
    held = sum(size for _, size, _ in found)
    oldest = time.time() - days * 86_400
    for modified, size, path in sorted(found):
        if modified < oldest or held > most:
            with suppress(FileNotFoundError):
                path.unlink()
            held -= size


def _close_all() -> None:
    for recorder in list(_open):
        recorder.close(timeout_s=5.0)


atexit.register(_close_all)
