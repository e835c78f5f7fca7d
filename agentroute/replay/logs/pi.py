"""pi sessions: entries that form a tree by `parentId`; a compaction keeps the last of them."""

from __future__ import annotations

from collections.abc import Iterator

from agentroute.messages import Message, Text
from agentroute.replay.records import Problem, Trace

from .base import Place
from .fields import Raw, count_of, mapping, name_of, plain, time_of, usage_of
from .messages import Pairing, answer_of, said
from .thread import Thread

__all__ = ["Pi", "is_pi"]


def is_pi(raw: Raw) -> bool:
    return raw.get("type") == "session" and "cwd" in raw


class Pi:
    """Reads one file; an entry whose parent is not the last one goes back to it."""

    def __init__(self) -> None:
        self._thread: Thread | None = None
        self._pairing = Pairing()
        self._spans: dict[str, tuple[int, int]] = {}

    def read(self, raw: Raw, place: Place) -> Iterator[Trace | Problem]:
        kind, entry = raw.get("type"), name_of(raw, "id") or ""
        if kind == "session":
            yield from self.close()
            self._thread = Thread("pi", entry or place.path.stem, parent=name_of(raw, "parentSession"))
            self._pairing, self._spans = Pairing(), {}
            return
        thread = self._thread = self._thread or Thread("pi", place.path.stem)
        yield from self._go_back(thread, raw.get("parentId"))
        start = len(thread.messages)
        message = mapping(raw.get("message"))
        if kind == "compaction":
            kept = self._spans.get(plain(raw.get("firstKeptEntryId")), (start, start))[0]
            system = [each for each in thread.messages[:1] if each.role == "system"]
            summary = Message("user", (Text(plain(raw.get("summary"))),))
            yield from thread.restart([*system, summary, *thread.messages[kept:]])
            self._spans, start = {}, 0
        elif kind == "branch_summary":
            thread.add([Message("user", (Text(plain(raw.get("summary"))),))])
        elif message.get("role") == "assistant":
            if message.get("stopReason") in ("aborted", "error"):
                yield Problem(place.file, place.line, f"pi: a call that was ended by '{message['stopReason']}'", True)
            else:
                tokens = mapping(message.get("usage"))
                usage = usage_of(
                    count_of(tokens, "input"),
                    count_of(tokens, "output"),
                    read=count_of(tokens, "cacheRead"),
                    written=count_of(tokens, "cacheWrite"),
                    beside=True,
                )
                at = time_of(raw.get("timestamp")) or time_of(message.get("timestamp"))
                answer = answer_of(message, "message", self._pairing)
                thread.answer(answer, usage, name_of(message, "model"), at, name_of(message, "responseId") or entry)
        elif message.get("role") in ("user", "toolResult", "system", "custom"):
            role = "user" if message["role"] == "custom" else message["role"]
            thread.add(said({**message, "role": role}, "message", self._pairing))
        elif message.get("role") == "bashExecution":
            words = f"$ {plain(message.get('command'))}\n{plain(message.get('output'))}"
            thread.add([Message("user", (Text(words),))])
        self._spans[entry] = (start, len(thread.messages))

    def close(self) -> Iterator[Trace | Problem]:
        if self._thread is not None:
            yield from self._thread.trace()
        self._thread = None

    def _go_back(self, thread: Thread, above: object) -> Iterator[Trace]:
        end = self._spans.get(above, (0, -1))[1] if isinstance(above, str) else -1
        if 0 <= end < len(thread.messages):
            yield from thread.restart(thread.messages[:end])
            self._spans = {key: span for key, span in self._spans.items() if span[1] <= end}
