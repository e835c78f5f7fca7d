"""Circuit breakers: which targets are sick now, so that they are left alone until one probe finds them well.

A breaker puts calls into another order; it never refuses one. Where every circuit is open, the chain calls the targets
all the same (`force`), the one that comes back first before the others: a provider's error says more than ours would.
"""

from __future__ import annotations

import logging
import random as _random
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from agentroute.errors import (
    AllAttemptsFailed,
    AuthenticationFailed,
    ContentFiltered,
    ContextTooLong,
    InvalidRequest,
    ModelNotFound,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    Unsupported,
)
from agentroute.failover.forks import renew_in_child
from agentroute.providers import NATIVE
from agentroute.providers.keys import Secret
from agentroute.targets import Target

__all__ = ["Breakers", "Open", "Permit", "key_of"]

logger = logging.getLogger("agentroute")

FAILURES_IN_A_ROW: Final = 3
"""One failure is a blip and two may be; at a usual error rate of 1 %, three in a row are chance once in a million."""

WINDOW: Final = 20
WINDOW_LEAST: Final = 10
"""Half of the last 20 calls failed, of at least 10: catches what answers now and then, and so never fails in a row."""

COOLDOWN_S: Final = 5.0
MAX_COOLDOWN_S: Final = 120.0
"""Doubled at every reopening. A restart behind a load balancer takes seconds; an outage takes minutes to hours, in
which one probe in 2 minutes costs nothing and recovery is still noticed soon."""

PROBATION: Final = 10
"""Successes in a row after the probe before a circuit is trusted again. A target that fails half of its calls gets that
far once in 1,024 times, so that it sees about two calls for each cooldown."""

RATE_LIMIT_S: Final = 5.0
"""A rate limit without a Retry-After: 5 to 10 s, jittered, so that those who were refused together do not return
together. Limits by the minute refill continuously at the large providers, so that seconds help."""

MAX_RETRY_AFTER_S: Final = 600.0
"""A provider may say 3600; the limits of its users change sooner than that (another key, a higher plan)."""

KEY_S: Final = 600.0
"""A key that is refused or out of credit stays so until somebody acts; ten minutes is how soon that is noticed."""

MODEL_S: Final = 600.0
"""A model that the provider does not know; it is there again once a deployment is done, or never."""

PROBE_S: Final = 120.0
"""How long a probe keeps others out. A caller may hold a stream open for hours without reading it; longer than most
answers take, another call may try."""

_Level: TypeAlias = Literal["target", "key", "model"]

_UNCHANGED: Final = (InvalidRequest, ContentFiltered, ContextTooLong, Unsupported, AllAttemptsFailed)
"""What the request brought about says nothing of the target's health, nor does what a target does not take."""

_LEVELS: Final[Mapping[type[ProviderError], tuple[_Level, float]]] = {
    AuthenticationFailed: ("key", KEY_S),
    QuotaExhausted: ("key", KEY_S),
    ModelNotFound: ("model", MODEL_S),
}


_ONE_FAILURE: Final[tuple[_Level, float | None]] = ("target", None)

_DOUBTFUL: Final = frozenset({402, 404})
"""A firewall sends these too, to one prompt, and a gateway a 402 to one large request: alone they say nothing of other
calls. What only the words of a text tell may be a quoted prompt, so it counts as one failure and opens nothing at once.
"""


@dataclass(frozen=True, slots=True)
class Open:
    """A circuit that is open: seconds until it may be tried, and why. 0 s where a probe is under way."""

    seconds: float
    why: str

    def __str__(self) -> str:
        return f"{self.why}, back in {self.seconds:.1f} s"


def key_of(target: Target) -> Hashable:
    """What two targets have in common that use the same key. A native model holds its own, which nobody can compare."""
    return _key_of(target, target.api_key)


def _key_of(target: Target, key: Secret | None) -> Hashable:
    if target.dialect == NATIVE:
        return (target.provider, target.name)
    return (target.provider, _address(target) if key is None else key)


def _address(target: Target) -> str | None:
    return target.base_url or target.endpoint.base_url


@dataclass(slots=True, eq=False)
class _Circuit:
    """Closed (`until` None), open, or half open (`until` has passed). `owed` successes are left of a probation.

    A call counts only in the `generation` it began in: of a hundred that fail together, three open the circuit and the
    others say nothing new.
    """

    until: float | None = None
    why: str = ""
    cooldown: float = 0.0
    owed: int = 0
    in_a_row: int = 0
    recent: deque[bool] = field(default_factory=lambda: deque(maxlen=WINDOW))
    probe: Permit | None = None
    probe_until: float = 0.0
    generation: int = 0

    def blocked(self, now: float) -> Open | None:
        if self.until is None:
            return None
        if now < self.until:
            return Open(self.until - now, self.why)
        if self.probe is not None and now < self.probe_until:
            return Open(0.0, f"{self.why} (a probe is under way)")
        return None

    def succeeded(self) -> None:
        if self.until is not None:
            self.until = self.probe = None
            self.owed = PROBATION
            return
        self.in_a_row = 0
        self.recent.append(True)
        if self.owed:
            self.owed -= 1
            if not self.owed:
                self.cooldown = 0.0

    def failed(self, why: str, now: float, pause: float | None, *, probe: bool) -> None:
        """`pause`: opens at once, for so many seconds; None: counts as one failure."""
        if self.until is not None and not probe:
            self.prolong(why, now, pause)
            return
        self.in_a_row += 1
        self.recent.append(False)
        half = len(self.recent) >= WINDOW_LEAST and self.recent.count(False) * 2 >= len(self.recent)
        if probe or self.owed or pause is not None or half or self.in_a_row >= FAILURES_IN_A_ROW:
            self._open(why, now, pause)

    def prolong(self, why: str, now: float, pause: float | None) -> None:
        """A call that began before, or was forced, was told to stay away for longer than we knew."""
        if self.until is not None and pause is not None and now + pause > self.until:
            self.until, self.why = now + pause, why

    def _open(self, why: str, now: float, pause: float | None) -> None:
        again = self.cooldown > 0
        self.cooldown = min(self.cooldown * 2, MAX_COOLDOWN_S) if again else COOLDOWN_S
        # A limit that holds on after the time it named is not asked again after that time alone.
        seconds = self.cooldown if pause is None else max(pause, self.cooldown) if again else pause
        self.until = now + seconds
        self.why = why
        self.owed = self.in_a_row = 0
        self.recent.clear()
        self.probe = None
        self.generation += 1


class Permit:
    """The right to make one call. Say what came of it, once: `success`, `failure` or `release` (nothing is known)."""

    __slots__ = ("_breakers", "_held", "_settled", "_target")

    def __init__(self, breakers: Breakers, target: Target, held: tuple[tuple[_Circuit, int], ...]) -> None:
        self._breakers = breakers
        self._target = target
        self._held = held
        self._settled = False

    def success(self, now: float) -> None:
        """The target gave a whole answer. After a probe (or a forced call) its circuit closes, on probation."""
        with self._breakers._lock:
            for circuit in self._give_back():
                circuit.succeeded()

    def failure(self, error: ProviderError, now: float) -> None:
        """The attempt failed. What the request itself brought about leaves the circuits as they were."""
        opened: Open | None = None
        with self._breakers._lock:
            probed = [circuit for circuit, _ in self._held if circuit.probe is self]
            current = self._give_back()
            verdict = self._breakers._verdict(error)
            if verdict is None:
                return
            level, pause = verdict
            why = type(error).__name__ if error.status is None else f"{type(error).__name__} {error.status}"
            circuit = self._breakers._circuit(_id(level, self._target, self._target.api_key))
            known = any(circuit is held for held, _ in self._held)
            if known and circuit not in current:
                circuit.prolong(why, now, pause)
            else:
                before = circuit.generation
                circuit.failed(why, now, pause, probe=circuit in probed)
                if circuit.generation != before and circuit.until is not None:
                    opened = Open(circuit.until - now, why)
        if opened is not None:
            logger.warning(
                "the circuit of %s %r opened for %.0f s after %s", level, self._target.name, opened.seconds, opened.why
            )

    def release(self) -> None:
        """The call was cancelled or abandoned, or failed for a reason of ours: the circuits stay as they are."""
        with self._breakers._lock:
            self._give_back()

    def _give_back(self) -> list[_Circuit]:
        """Ends the permit. The circuits that are still in the generation it was given in."""
        if self._settled:
            return []
        self._settled = True
        for circuit, _ in self._held:
            if circuit.probe is self:
                circuit.probe = None
        return [circuit for circuit, generation in self._held if circuit.generation == generation]


class Breakers:
    """The circuits of all targets, shared by threads and tasks. Times are monotonic seconds, passed in.

    One circuit for each (provider, address, model, key); besides, one for a key (refused, out of credit) and one for a
    model (not found). Remembers up to `max_circuits` of them (about 500 bytes each), those used last. `random` gives
    numbers from 0 to 1.
    """

    def __init__(self, *, random: Callable[[], float] = _random.random, max_circuits: int = 4096) -> None:
        self._random = random
        self._max_circuits = max_circuits
        self._circuits: OrderedDict[Hashable, _Circuit] = OrderedDict()
        # Reentrant: the garbage collector may close a stream in the middle of what its thread is doing here.
        self.begin_anew()
        renew_in_child(self)

    def begin_anew(self) -> None:
        """For a forked child: another thread of its parent may have held the lock."""
        self._lock = threading.RLock()

    def acquire(self, target: Target, now: float) -> Permit | None:
        """The right to call this target with its first key, or None while its circuit is open.

        Of an open circuit whose cooldown is over one caller gets it: the probe.
        """
        with self._lock:
            return self._permit(target, now, forced=False)

    def force(self, target: Target, now: float) -> Permit:
        """The same where there is nobody else to call: success closes an open circuit, failure leaves it as it is."""
        with self._lock:
            permit = self._permit(target, now, forced=True)
        assert permit is not None
        return permit

    def open_until(self, target: Target, now: float) -> Open | None:
        """Why this target should not be called now, or None where it may be, with one of its keys. Changes nothing."""
        keys = (target.api_key, *target.spare_keys)
        with self._lock:
            views = [self._blocked(target, key, now) for key in keys]
        found = [view for view in views if view is not None]
        return min(found, key=lambda view: view.seconds) if len(found) == len(keys) else None

    def jittered(self, seconds: float) -> float:
        """Between this many seconds and twice as many."""
        return seconds * (1.0 + self._random())

    def __len__(self) -> int:
        return len(self._circuits)

    def _permit(self, target: Target, now: float, *, forced: bool) -> Permit | None:
        if not forced and self._blocked(target, target.api_key, now) is not None:
            return None
        self._circuit(_id("target", target, target.api_key))
        circuits = tuple(self._known(target, target.api_key))
        permit = Permit(self, target, tuple((circuit, circuit.generation) for circuit in circuits))
        for circuit in circuits:
            if circuit.until is not None and circuit.blocked(now) is None:
                circuit.probe = permit
                circuit.probe_until = now + PROBE_S
        return permit

    def _blocked(self, target: Target, key: Secret | None, now: float) -> Open | None:
        longest: Open | None = None
        for circuit in self._known(target, key):
            view = circuit.blocked(now)
            if view is not None and (longest is None or view.seconds > longest.seconds):
                longest = view
        return longest

    def _known(self, target: Target, key: Secret | None) -> Iterator[_Circuit]:
        for level in ("target", "key", "model"):
            circuit = self._circuits.get(_id(level, target, key))
            if circuit is not None:
                yield circuit

    def _circuit(self, name: Hashable) -> _Circuit:
        circuit = self._circuits.get(name)
        if circuit is None:
            circuit = self._circuits[name] = _Circuit()
            if len(self._circuits) > self._max_circuits:
                self._circuits.popitem(last=False)
        else:
            self._circuits.move_to_end(name)
        return circuit

    def _verdict(self, error: ProviderError) -> tuple[_Level, float | None] | None:
        """Whose circuit this error concerns, and for how long it opens it; None of seconds: it counts as a failure."""
        if isinstance(error, _UNCHANGED):
            return None
        if isinstance(error, RateLimited):
            given = error.retry_after
            return "target", self.jittered(RATE_LIMIT_S) if given is None else min(given, MAX_RETRY_AFTER_S)
        level, pause = next((_LEVELS[kind] for kind in type(error).__mro__ if kind in _LEVELS), _ONE_FAILURE)
        if error.status in _DOUBTFUL and error.told_by == "status":
            return None
        return level, None if error.told_by == "words" else pause


def _id(level: str, target: Target, key: Secret | None) -> Hashable:
    match level:
        case "key":
            return ("key", _key_of(target, key))
        case "model":
            return ("model", target.provider, _address(target), target.model)
        case _:
            return ("target", _key_of(target, key), _address(target), target.model)
