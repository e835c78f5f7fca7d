"""Which runs are tried on another target: drawn by their conversation's id, so that every step of a run, every process
and every restart draws the same."""

from __future__ import annotations

import hashlib
import threading
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from agentroute.decisions import Decision, StepContext
from agentroute.errors import ConfigError, unknown_key
from agentroute.targets import Pool

from .profiles import Drift, Episodes, Known

__all__ = ["Drawn", "LiveTrial", "Tried", "draw"]

VERSION = 1


def draw(salt: str, role: str, episode: str) -> float:
    """A number from 0 to below 1, the same one each time."""
    digest = hashlib.blake2b(f"{salt}/{role}/{episode}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A trial as its file says it: `share` of the runs of `role` start on `candidate`, the others on `strongest`.

    `up`: the strongest serves the candidate's steps after failures and its summaries. `margin` is how much lower its
    success may be. `usual` is the strongest target's success, as far as it was known when the trial began. `weight`
    and `limit` are those of the test that stops it for harm. `stopped` says why no more runs are drawn.
    """

    role: str
    candidate: str
    strongest: str
    began: datetime
    share: float = 0.1
    margin: float = 0.05
    usual: float = 0.9
    salt: str = ""
    up: bool = False
    weight: int = 0
    limit: int = 0
    stopped: str | None = None

    @classmethod
    def load(cls, path: str | Path) -> Tried:
        """Reads a trial's file. Raises ConfigError naming file and field."""
        try:
            data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError(f"the trial {str(path)!r} cannot be read: {error}") from None
        return cls.parse(data, str(path))

    @classmethod
    def parse(cls, data: Mapping[str, Any], where: str = "trial") -> Tried:
        """The same from the values of a trial's file."""
        names = ("version", *(each.name for each in fields(cls)))
        for key in data:
            if key not in names:
                raise ConfigError(f"{where}: {unknown_key(key, names)}")
        if data.get("version") != VERSION:
            raise ConfigError(f"{where}: version is {data.get('version')!r}; this release reads version {VERSION}")
        for key in ("role", "candidate", "strongest", "began"):
            if key not in data:
                raise ConfigError(f"{where}: {key} is missing")
        for key, value in data.items():
            _check(key, value, where)
        if data["candidate"] == data["strongest"]:
            raise ConfigError(f"{where}: {data['candidate']!r} is candidate and strongest; a trial needs two targets")
        return cls(**{key: value for key, value in data.items() if key != "version"})

    def check(self, pool: Pool) -> None:
        """Raises ConfigError for a target that the pool does not have."""
        for name in (self.candidate, self.strongest):
            pool.check_named(name, "the trial names the target")


def _check(key: str, value: Any, where: str) -> None:
    if key in ("share", "margin", "usual"):
        fine = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1
        wanted = "a number between 0 and 1"
    elif key in ("weight", "limit"):
        fine, wanted = type(value) is int and value >= 0, "a whole number"
    elif key == "up":
        fine, wanted = isinstance(value, bool), "true or false"
    elif key == "began":
        fine = isinstance(value, datetime) and value.tzinfo is not None
        wanted = "a time with its zone, like 2026-11-28T10:00:00Z"
    else:
        fine, wanted = isinstance(value, str | int) and (key in ("salt", "version") or bool(value)), "a text"
    if not fine:
        raise ConfigError(f"{where}: {key} is {value!r}; give {wanted}")


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a run was drawn for: what holds for its steps, and the chance with which it was."""

    known: Known
    propensity: float
    explored: bool


class LiveTrial:
    """A trial that a router takes part in. Safe in threads; off unless a trial is given."""

    def __init__(self, tried: Tried) -> None:
        self.tried = tried
        self.stopped = tried.stopped
        self._episodes = Episodes()
        self._drift = Drift(tried.weight, tried.limit)
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return LiveTrial, (self.tried,)

    def drawn(self, context: StepContext) -> Drawn | None:
        """What this run was drawn for; None for another role, a run without an id, and once the trial has stopped."""
        tried, episode = self.tried, context.conversation_id
        if self.stopped is not None or episode is None or tried.role not in (context.role, context.agent):
            return None
        explored = draw(tried.salt, tried.role, episode) < tried.share
        propensity = tried.share if explored else 1 - tried.share
        target = tried.candidate if explored else tried.strongest
        reason = f"trial of role {tried.role!r}: this run was drawn for {target}, with a chance of {propensity:g}"
        up = frozenset((target,)) if explored and tried.up else frozenset[str]()
        known = Known(tried.role, tried.strongest, licensed=frozenset((target,)), up=up, reasons=(reason,), drawn=True)
        return Drawn(known, propensity, explored)

    def began(self, decision: Decision) -> None:
        """Remembers the run, so that an outcome finds it."""
        if self.drawn(decision.context) is not None:
            self._episodes.began(decision, self.tried.role)

    def ended(self, subject: str, ok: bool, role: str | None = None) -> str | None:
        """Counts the outcome of a run of the candidate, once. Returns what to say if that stops the trial for harm."""
        for name, target, right in self._episodes.ended(subject, ok, role):
            if name != self.tried.role or target != self.tried.candidate:
                continue
            with self._lock:
                if self._drift.add(right) and self.stopped is None:
                    self.stopped = (
                        f"the trial of role {name!r} is stopped for harm: {target} fails more often than "
                        f"{100 * self.tried.margin:g} points above the strongest allow (run {self._drift.samples}); "
                        "the strongest serves"
                    )
                    return self.stopped
        return None
