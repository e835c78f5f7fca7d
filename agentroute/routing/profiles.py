"""What outcomes have shown of a target in a role: read from a policy file, looked up at each step, taken back if it no
longer holds."""

from __future__ import annotations

import math
import re
import threading
import tomllib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, TypeAlias

from agentroute.decisions import Decision, StepContext, StepKind
from agentroute.errors import ConfigError, unknown_key
from agentroute.messages import ChatRequest
from agentroute.targets import Pool

from .roles import fingerprint
from .step import Step

__all__ = ["FORMS", "Drift", "Episodes", "Known", "Profile", "Profiles", "form_of"]

Day: TypeAlias = date

VERSION = 1

_OVER = 30
"""Runs with a right step that are held before the oldest counts as right: a later step of it may still fail."""

_REMEMBERED = 10_000
"""Conversations whose assigned target is remembered until an outcome comes."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One target in one role. `success` bounds the share of runs that end well from below, `mean` is what was seen in
    `n` of them; `hazard` is the chance per step that follows from the bound over `steps` steps.

    `licensed`: the promise of the file covers it; with `forms` only at steps of these forms. `up`: on failures and
    summaries its runs were served by the strongest, so they are again. `expires` and `model` (the model's version) say
    until when. `weight` and `limit` are those of the drift test (0: none).
    """

    role: str
    target: str
    success: float
    mean: float
    n: int
    source: str
    date: Day
    expires: Day
    steps: float = 1.0
    licensed: bool = False
    up: bool = False
    model: str | None = None
    weight: int = 0
    limit: int = 0
    forms: tuple[str, ...] = ()

    @property
    def hazard(self) -> float:
        return -math.log(max(self.success, 1e-6)) / max(self.steps, 1.0)

    @property
    def usual_hazard(self) -> float:
        return -math.log(max(self.mean, 1e-6)) / max(self.steps, 1.0)

    def said(self) -> str:
        """In words, as a decision's reason says it."""
        what = f"of its {' and '.join(self.forms)} steps are right" if self.forms else "of runs end well"
        return (
            f"role {self.role!r} on {self.target}: {100 * self.success:.1f} % or more {what} "
            f"(n {self.n}, {self.source}, {self.date.isoformat()})"
        )


@dataclass(frozen=True, slots=True)
class Known:
    """What the file says of a role: P(right) of a step by target, which targets its promise covers, which of them give
    way after failures and in summaries (`up`), which serve steps of some `forms` only, and why. `drawn`: a trial has
    drawn this run for the one that is licensed, so that the strongest does not compete."""

    role: str
    strongest: str
    sufficiency: Mapping[str, float] = field(default_factory=dict)
    licensed: frozenset[str] = frozenset()
    up: frozenset[str] = frozenset()
    reasons: tuple[str, ...] = ()
    forms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    drawn: bool = False

    def of(self, target: str, prior: float) -> float:
        """P of a target: what its runs have shown, else the prior's."""
        return self.sufficiency.get(target, prior)

    def leading(self, step: Step) -> frozenset[str]:
        """The targets that may serve this step. All others rank behind them: they take over if these are down."""
        form, raised = form_of(step), _raises(step)
        found = {
            target
            for target in self.licensed
            if form in self.forms.get(target, FORMS) and not (raised and target in self.up)
        }
        if not (self.drawn and found):
            found.add(self.strongest)
        return frozenset(found)


class Drift:
    """A sequential test for one role: its sum goes up by `weight` at a failure and down by 1 at a success. At `limit`
    the certificate is void, for good."""

    __slots__ = ("limit", "samples", "total", "void", "weight")

    def __init__(self, weight: int, limit: int) -> None:
        self.weight, self.limit = weight, limit
        self.total = self.samples = 0
        self.void = False

    def add(self, ok: bool) -> bool:
        """Counts an outcome; whether the certificate is void now."""
        self.samples += 1
        self.total = max(self.total - 1, 0) if ok else self.total + self.weight
        self.void = self.void or (self.limit > 0 and self.total >= self.limit)
        return self.void


class Episodes:
    """What runs were assigned to, until their outcomes come: the first candidate of a run's first step in a role. Safe
    in threads."""

    def __init__(self) -> None:
        self._began: OrderedDict[str, dict[str, str]] = OrderedDict()
        self._steps: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._right: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._lock = threading.Lock()

    def began(self, decision: Decision, role: str) -> None:
        """Notes a step; the first one of a run counts."""
        assigned = decision.candidates[0].target if decision.candidates else decision.target
        run = decision.context.conversation_id or decision.id
        with self._lock:
            self._began.setdefault(run, {}).setdefault(role, assigned)
            self._steps[decision.id] = (run, role)
            for held in (self._began, self._steps):
                while len(held) > _REMEMBERED:
                    held.popitem(last=False)

    def ended(self, subject: str, ok: bool, role: str | None) -> list[tuple[str, str, bool]]:
        """(role, target, ok) of the runs that are over now, each once: those of a conversation, and at its first
        failure that of a step. A step that is right does not end a run: it counts as right once many have begun
        since."""
        with self._lock:
            run, own = self._steps.get(subject, (subject, role))
            roles = self._began.get(run, {})
            found = [each for each in list(roles) if own in (None, each)]
            if not ok or run == subject:
                return [(each, roles.pop(each), ok) for each in found]
            self._right.update(dict.fromkeys((run, each) for each in found))
            over = []
            while len(self._right) > _OVER:
                (run, each), _ = self._right.popitem(last=False)
                target = self._began.get(run, {}).pop(each, None)
                if target is not None:
                    over.append((each, target, True))
            return over


class Profiles:
    """The profiles of a policy file. Safe in threads.

    `strongest` is the target that the promise is relative to; roles that the file does not know start there if `others`
    is "strongest", and by the prior if it is "prior".
    """

    def __init__(
        self,
        profiles: Iterable[Profile],
        *,
        strongest: str,
        promise: str = "",
        others: str = "strongest",
        made: date | None = None,
    ) -> None:
        self.strongest, self.promise, self.others, self.made = strongest, promise, others, made
        self._roles: dict[str, dict[str, Profile]] = {}
        for profile in profiles:
            self._roles.setdefault(profile.role, {})[profile.target] = profile
        self._cache: dict[str, tuple[date, Known]] = {}
        self._episodes = Episodes()
        self._drifts: dict[str, Drift] = {}
        self._void: dict[str, str] = {}
        self._by_print = any(role.startswith("role-") for role in self._roles)
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """What the file says; what was counted since is of this process."""
        return _rebuilt, (list(self), self.strongest, self.promise, self.others, self.made)

    def __iter__(self) -> Iterator[Profile]:
        return (profile for role in self._roles.values() for profile in role.values())

    def __len__(self) -> int:
        return sum(map(len, self._roles.values()))

    @classmethod
    def load(cls, path: str | Path) -> Profiles:
        """Reads a policy file. Raises ConfigError naming file, profile and field."""
        try:
            text = Path(path).read_text(encoding="utf-8")
            data = _plain(text) or tomllib.loads(text)
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError(f"the policy file {str(path)!r} cannot be read: {error}") from None
        return cls.parse(data, str(path))

    @classmethod
    def parse(cls, data: Mapping[str, Any], where: str = "policy") -> Profiles:
        """The same from the values of a policy file."""
        known = ("version", "made", "promise", "strongest", "others", "profile")
        for key in data:
            if key not in known:
                raise ConfigError(f"{where}: {unknown_key(key, known)}")
        if data.get("version") != VERSION:
            raise ConfigError(f"{where}: version is {data.get('version')!r}; this release reads version {VERSION}")
        strongest, others = data.get("strongest"), data.get("others", "strongest")
        if not isinstance(strongest, str) or not strongest:
            raise ConfigError(f"{where}: strongest is {strongest!r}; give the name of a target")
        if others not in ("strongest", "prior"):
            raise ConfigError(f"{where}: others is {others!r}; use 'strongest' or 'prior'")
        rows = data.get("profile", [])
        if not isinstance(rows, list):
            raise ConfigError(f"{where}: profile is a {type(rows).__name__}; write [[profile]] tables")
        profiles = [_profile(row, f"{where}, profile {index}") for index, row in enumerate(rows, 1)]
        return cls(
            profiles,
            strongest=strongest,
            promise=str(data.get("promise", "")),
            others=others,
            made=data["made"] if isinstance(data.get("made"), date) else None,
        )

    def check(self, pool: Pool) -> None:
        """Raises ConfigError for a target of the file that the pool does not have."""
        for name in (self.strongest, *(profile.target for profile in self)):
            pool.check_named(name, "the policy file names the target")

    def role_of(self, context: StepContext, request: ChatRequest) -> str | None:
        """The role of the file that asks: by its role's or agent's name, else by the request's fingerprint."""
        for name in (context.role, context.agent):
            if name is not None and name in self._roles:
                return name
        if self._by_print and context.role is None and context.agent is None:
            own = fingerprint(request)
            return own if own in self._roles else None
        return None

    def known(self, role: str, today: date, models: Callable[[str], str | None]) -> Known:
        """What the file says for a step of this role. `models` gives the model of a target now, by its name.

        A void, expired or outdated licence licenses nothing: only the strongest target is left, and the reasons say so.
        """
        cached = self._cache.get(role)
        if cached is None or cached[0] != today:
            cached = self._cache[role] = (today, self._worked_out(role, today, models))
        return cached[1]

    def _worked_out(self, role: str, today: date, models: Callable[[str], str | None]) -> Known:
        held = self._roles[role]
        why = self._void.get(role)
        reasons = [] if why is None else [why]
        licensed: set[str] = set()
        sufficiency: dict[str, float] = {}
        up: set[str] = set()
        forms: dict[str, tuple[str, ...]] = {}
        for target, profile in held.items():
            usual = target == self.strongest
            sufficiency[target] = math.exp(-(profile.usual_hazard if usual else profile.hazard))
            if not profile.licensed or why is not None:
                continue
            problem = None
            if today > profile.expires:
                problem = f"expired on {profile.expires.isoformat()}"
            elif profile.model is not None and models(target) not in (None, profile.model):
                problem = f"was for {profile.model}, the target now has {models(target)}"
            if problem is not None:
                reasons.append(f"the licence of role {role!r} on {target} {problem}: the strongest serves")
                continue
            licensed.add(target)
            if profile.forms:
                forms[target] = profile.forms
            if profile.up:
                up.add(target)
            reasons.append(profile.said())
        return Known(role, self.strongest, sufficiency, frozenset(licensed), frozenset(up), tuple(reasons), forms)

    def of(
        self, context: StepContext, request: ChatRequest, today: date, models: Callable[[str], str | None]
    ) -> Known | None:
        """What the file says of this step; None if the prior decides.

        A role that the file does not know is left to the strongest target if it works with tools: a mistake goes on
        from there. One-shots are the prior's.
        """
        role = self.role_of(context, request)
        if role is not None:
            return self.known(role, today, models)
        if self.others == "prior" or not request.tools:
            return None
        name = context.role or context.agent or "?"
        reason = f"role {name!r} is not in the policy file: the strongest serves"
        return Known(name, self.strongest, reasons=(reason,))

    def began(self, decision: Decision) -> None:
        """Remembers what a run was assigned to, if its role is in the file."""
        context = decision.context
        role = next((name for name in (context.role, context.agent) if name in self._roles), None)
        if role is not None:
            self._episodes.began(decision, role)

    def ended(self, subject: str, ok: bool, role: str | None = None) -> str | None:
        """Counts the outcome of a run, once, by its conversation's id or one of its decisions'; of all roles that took
        part, if none is named. Returns what to say if that voids a licence."""
        said = [self.observe(*each) for each in self._episodes.ended(subject, ok, role)]
        return next((each for each in said if each is not None), None)

    def observe(self, role: str | None, target: str, ok: bool) -> str | None:
        """Counts the outcome of a run that this target was assigned to. Returns what to say if that voids the role's
        licence just now, else None. With it fall the target's licences in roles that told no outcome so far."""
        if role is None or role not in self._roles or role in self._void:
            return None
        profile = self._roles[role].get(target)
        if profile is None or not profile.licensed or not profile.limit:
            return None
        with self._lock:
            test = self._drifts.get(role)
            if test is None:
                test = self._drifts[role] = Drift(profile.weight, profile.limit)
            if not test.add(ok):
                return None
            why = (
                f"the licence of role {role!r} is void: runs on {target} fail more often than the "
                f"{100 * (1 - profile.mean):.1f} % seen in {profile.n} (noticed at sample {test.samples}); the "
                "strongest serves until it is calibrated anew"
            )
            self._void[role] = why
            for other, held in self._roles.items():
                same = held.get(target)
                if same is not None and same.licensed and other not in self._drifts:
                    self._void.setdefault(other, f"{why}; role {other!r} tells no outcomes of its own")
            self._cache.clear()
            return why

    @property
    def void(self) -> Mapping[str, str]:
        """Roles whose licence is void, and why."""
        return dict(self._void)


FORMS = ("one-shot", "side call", "structured", "loop")
"""What follows from a step: nothing but its answer (the first three), or more steps that build on it."""


def form_of(step: Step) -> str:
    """One of FORMS."""
    if step.kind is StepKind.HOUSEKEEPING:
        return "side call"
    if step.kind is StepKind.STRUCTURED:
        return "structured"
    alone = not step.n_tools and not step.steps_taken and step.kind is not StepKind.SUMMARISE
    return "one-shot" if alone else "loop"


def _raises(step: Step) -> bool:
    """Whether a target that was tried out with `up` gives way to the strongest at this step."""
    return step.errors_last > 0 or step.repeated_call or step.kind is StepKind.SUMMARISE


def _rebuilt(profiles: list[Profile], strongest: str, promise: str, others: str, made: date | None) -> Profiles:
    return Profiles(profiles, strongest=strongest, promise=promise, others=others, made=made)


_LINE = re.compile(
    r'(\w+) = (?:"([^"\\\x00-\x1f\x7f]*)"|(true|false)|(\d{4}-\d\d-\d\d)|(\d+\.\d+)|(0|[1-9]\d*))(?: +#.*)?'
)


def _plain(text: str) -> dict[str, Any] | None:
    """The values of a file in which every line is as `agentroute calibrate` writes it; None for any other, which is
    TOML's to read. A quarter of the time: 1,000 roles are 24,000 lines."""
    data: dict[str, Any] = {}
    table, rows = data, []
    for line in text.split("\n"):
        if not line or line[0] == "#":
            continue
        if line == "[[profile]]":
            table = {}
            rows.append(table)
            continue
        found = _LINE.fullmatch(line)
        if found is None or found[1] in table:
            return None
        name, word, flag, day, real, whole = found.groups()
        try:
            if word is not None:
                table[name] = word
            elif flag is not None:
                table[name] = flag == "true"
            elif day is not None:
                table[name] = date.fromisoformat(day)
            else:
                table[name] = float(real) if real is not None else int(whole)
        except ValueError:
            return None
    return None if "profile" in data else {**data, "profile": rows}


_TEXTS = ("role", "target", "source")
_NUMBERS = {"success": (0.0, 1.0), "mean": (0.0, 1.0), "steps": (0.0, 1e6)}
_COUNTS = ("n", "weight", "limit")
_DATES = ("date", "expires")
_FLAGS = ("licensed", "up")
_FIELDS = (*_TEXTS, *_NUMBERS, *_COUNTS, *_DATES, *_FLAGS, "model", "forms")
_NEEDED = ("role", "target", "success", "n", "source", "date", "expires")


def _profile(row: Any, where: str) -> Profile:
    if not isinstance(row, dict):
        raise ConfigError(f"{where} is a {type(row).__name__}; write [[profile]] tables")
    for key in row:
        if key not in _FIELDS:
            raise ConfigError(f"{where}: {unknown_key(key, _FIELDS)}")
    for key in _NEEDED:
        if key not in row:
            raise ConfigError(f"{where}: {key} is missing")
    for key, value in row.items():
        if key in _TEXTS or key == "model":
            fine, wanted = isinstance(value, str) and bool(value), "a name"
        elif key == "forms":
            fine = isinstance(value, list) and all(each in FORMS for each in value)
            wanted = f"a list of {', '.join(FORMS)}"
        elif key in _DATES:
            fine, wanted = type(value) is date, "a date, like 2026-11-28"
        elif key in _FLAGS:
            fine, wanted = isinstance(value, bool), "true or false"
        elif key in _COUNTS:
            fine, wanted = type(value) is int and value >= 0, "a whole number"
        else:
            low, high = _NUMBERS[key]
            fine = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
            wanted = f"a number from {low:g} to {high:g}"
        if not fine:
            raise ConfigError(f"{where}: {key} is {value!r}; give {wanted}")
    forms = tuple(row.get("forms", ()))
    return Profile(**{"mean": float(row["success"]), **row, "forms": forms})
