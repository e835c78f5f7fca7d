"""The user's own checks: what is held against them, whether it passes, and how long a failure keeps a turn on a higher
tier."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from agentroute.decisions import Decision, StepContext
from agentroute.errors import ConfigError
from agentroute.failover.forks import renew_in_child
from agentroute.messages import ChatRequest, ChatResponse, ToolCall, ToolResult
from agentroute.targets import Tier

from .actions import did
from .evidence import judge
from .frames import exit_codes
from .prefix import Prefix
from .step import Step

__all__ = ["Before", "Checks", "Escalation", "Memory", "Verdict"]

logger = logging.getLogger("agentroute")

Check: TypeAlias = (
    Callable[[Any], Any] | Mapping[str, Any] | re.Pattern[str] | Sequence[str] | str | int | Literal[True]
)

_LINES = 12
"""Lines at either end of a result in which an exit code may stand."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check says. `person`: it tells what somebody did with the model's call, which escalates nothing."""

    name: str
    ok: bool
    person: bool = False


@dataclass(frozen=True, slots=True)
class Escalation:
    """A check failed on `target`: until user turn `until` is over, steps go above its tier."""

    check: str
    target: str
    above: Tier
    until: int

    @property
    def reason(self) -> str:
        return f"check {self.check!r} failed on {self.target!r}: above {self.above.value} for the rest of the turn"


class Checks:
    """Checks by what they are held against, from a mapping of one key to one check each:

    * `tool:NAME`: each result of this tool; `tests`: each result of a call that runs tests, by whatever tool;
    * `role:NAME`: the answers of this role or agent that call no tool;
    * `structured`: the answers to requests that have a schema;
    * `person`: the names of tools whose calls somebody approves, edits or rejects before they run.

    A check is a function (of the text, or of what `structured` parsed; it returns whether it passes, None for no
    verdict), a JSON schema, a regular expression that must be found, an exit code, or True: as routing reads results,
    and as the request's schema reads answers. Raises ConfigError naming the key for anything else.
    """

    def __init__(self, given: Mapping[str, Check]) -> None:
        if not isinstance(given, Mapping):
            raise ConfigError(f"`checks` is a {type(given).__name__}; give a mapping like {{'tool:pytest': 0}}")
        self.tools: dict[str, Callable[[ToolResult, ToolCall], bool | None]] = {}
        self.roles: dict[str, Callable[[str], bool | None]] = {}
        self.tests: Callable[[ToolResult, ToolCall], bool | None] | None = None
        self.structured: Callable[[str, ChatRequest], bool | None] | None = None
        self.reviewed: frozenset[str] = frozenset()
        self.given = given
        self._broken: set[str] = set()
        for key, check in given.items():
            kind, _, name = key.partition(":") if isinstance(key, str) else ("", "", "")
            if kind == "tool" and name:
                self.tools[name] = _of_result(key, check)
            elif kind == "role" and name:
                self.roles[name] = _of_text(key, check)
            elif key == "tests":
                self.tests = _of_result(key, check)
            elif key == "structured":
                self.structured = _of_answer(key, check)
            elif key == "person":
                self.reviewed = _names(check)
            else:
                raise ConfigError(
                    f"checks: {key!r} is no place for a check; use 'tool:NAME', 'role:NAME', 'tests', 'structured' "
                    f"or 'person'"
                )

    def results(self, request: ChatRequest, known: Before | None) -> Iterator[Verdict]:
        """What the checks say of the results that came since the model last spoke."""
        calls: dict[str, ToolCall] = {}
        results: list[ToolResult] = []
        for message in reversed(request.messages):
            if message.role == "assistant":
                calls = {call.id: call for call in message.tool_calls}
                break
            results += message.tool_results[::-1]
        if self.reviewed and known is not None:
            yield from _by_person(calls, results, known, self.reviewed)
        if not (self.tools or self.tests is not None):
            return
        for result in reversed(results):
            call = calls.get(result.tool_call_id)
            if call is None:
                continue
            if (check := self.tools.get(call.name)) is not None:
                yield from self._verdict(f"tool:{call.name}", check, result, call)
            if self.tests is not None and did(call.name, call.arguments).action == "test":
                yield from self._verdict("tests", self.tests, result, call)

    def answer(self, request: ChatRequest, response: ChatResponse, context: StepContext) -> Iterator[Verdict]:
        """What the checks say of an answer."""
        if response.tool_calls and not _answers_by_tool(request):
            return
        if self.structured is not None and request.response_schema is not None:
            yield from self._verdict("structured", self.structured, response.text, request)
        for name in dict.fromkeys((context.role, context.agent)):
            if name is not None and (check := self.roles.get(name)) is not None:
                yield from self._verdict(f"role:{name}", check, response.text)

    def _verdict(self, name: str, check: Callable[..., bool | None], *given: Any) -> Iterator[Verdict]:
        try:
            ok = check(*given)
        except Exception as error:
            # It may quote what it was given, so its class alone is told.
            if name not in self._broken:
                self._broken.add(name)
                logger.warning("the check %r raised %s; it says nothing of this step", name, type(error).__name__)
            return
        if ok is not None:
            yield Verdict(name, bool(ok))


def _answers_by_tool(request: ChatRequest) -> bool:
    return False if request.tool_choice is None else request.tool_choice.mode == "tool"


def _of_result(key: str, check: Check) -> Callable[[ToolResult, ToolCall], bool | None]:
    if check is True:
        return lambda result, call: not judge(result, did(call.name, call.arguments)).failed
    if isinstance(check, int) and not isinstance(check, bool):
        return lambda result, _: _ended_with(result.text, check)
    of_text = _of_text(key, check)
    return lambda result, _: of_text(result.text)


def _of_text(key: str, check: Check) -> Callable[[str], bool | None]:
    if isinstance(check, str):
        try:
            check = re.compile(check)
        except re.error as error:
            raise ConfigError(f"checks: {key!r} is no regular expression ({error})") from None
    if isinstance(check, re.Pattern):
        pattern = check
        return lambda text: pattern.search(text) is not None
    if isinstance(check, Mapping):
        fits = _schema(key, check)
        return lambda text: fits(_parsed(text))
    if callable(check):
        return check
    raise ConfigError(
        f"checks: {key!r} is {check!r}; give a function, a JSON schema, a regular expression"
        f"{', an exit code or True' if key.startswith('tool:') or key == 'tests' else ''}"
    )


def _of_answer(key: str, check: Check) -> Callable[[str, ChatRequest], bool | None]:
    if isinstance(check, Mapping):
        fits = _schema(key, check)
        return lambda text, _: fits(_parsed(text))
    if check is True:
        _schema(key, {})

        def own(text: str, request: ChatRequest) -> bool:
            schema = None if request.response_schema is None else request.response_schema.schema
            return _schema(key, schema or {})(_parsed(text))

        return own
    if callable(check):
        function = check

        def parsed(text: str, _: ChatRequest) -> bool | None:
            value = _parsed(text)
            return False if value is _NO_JSON else function(value)

        return parsed
    raise ConfigError(f"checks: {key!r} is {check!r}; give True (the request's own schema), a schema or a function")


_NO_JSON = object()
_FENCED = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n?```\s*", re.DOTALL)


def _parsed(text: str) -> Any:
    found = _FENCED.fullmatch(text)
    try:
        return json.loads(text if found is None else found[1])
    except (ValueError, RecursionError):
        return _NO_JSON


def _schema(key: str, schema: Mapping[str, Any]) -> Callable[[Any], bool]:
    try:
        from jsonschema import exceptions, validators  # type: ignore[import-untyped]
    except ImportError:
        raise ConfigError(
            f"checks: {key!r} needs the extra `checks` for JSON schemas: pip install agentroute-llm[checks]"
        ) from None
    kind = validators.validator_for(schema, default=validators.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except exceptions.SchemaError as error:
        raise ConfigError(f"checks: {key!r} is no JSON schema ({error.message})") from None
    validator = kind(schema)
    return lambda value: value is not _NO_JSON and validator.is_valid(value)


def _ended_with(text: str, wanted: int) -> bool | None:
    """None if no exit code is told: that is no verdict."""
    value = _parsed(text) if text[:1] == "{" else None
    if isinstance(value, Mapping):
        for key in ("exit_code", "exitCode", "returncode", "return_code", "code", "status"):
            if isinstance(value.get(key), int) and not isinstance(value.get(key), bool):
                return bool(value[key] == wanted)
    lines = text.splitlines()
    codes = exit_codes(lines[:_LINES], lines[-_LINES:])
    return all(code == wanted for code in codes) if codes else None


# -- what somebody did with the answer ---------------------------------------------------------------------------------

_REJECTED = re.compile(
    r"\s*(?:the )?(?:user|human|operator|person|reviewer) (?:has )?"
    r"(?:rejected|denied|declined|refused|cancell?ed|did(?: not|n't) approve|does(?: not|n't) want|doesn't want)\b",
    re.IGNORECASE,
)
"""How the results of rejected calls begin: LangChain's HumanInTheLoopMiddleware ("User rejected the tool call for ...",
1.5), Claude Code ("The user doesn't want to proceed with this tool use"), Codex and others."""


def _by_person(
    calls: Mapping[str, ToolCall], results: list[ToolResult], known: Before, reviewed: frozenset[str]
) -> Iterator[Verdict]:
    """Approved as the model wrote it is right; edited or rejected is not."""
    said = {result.tool_call_id: result.text for result in results}
    for call_id, name, made in known.calls:
        call = calls.get(call_id)
        if name in reviewed and call is not None:
            approved = _canonical(call) == made and not _REJECTED.match(said.get(call_id, ""))
            yield Verdict(f"person:{name}", approved, person=True)


def _names(given: Any) -> frozenset[str]:
    if isinstance(given, list | tuple | set | frozenset) and given and all(isinstance(name, str) for name in given):
        return frozenset(given)
    raise ConfigError(f"checks: 'person' is {given!r}; give the names of the tools whose calls somebody reviews")


def _canonical(call: ToolCall) -> int:
    try:
        arguments = json.dumps(json.loads(call.arguments or "{}"), sort_keys=True)
    except (ValueError, RecursionError):
        arguments = call.arguments
    return hash((call.name, arguments))


# -- from step to step -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Before:
    """The step before: its decision, who served it, its calls (id, name, hash), and what holds since a failure."""

    decision_id: str
    target: str
    tier: Tier
    calls: tuple[tuple[str, str, int], ...] = ()
    escalation: Escalation | None = None

    def active(self, step: Step) -> Escalation | None:
        found = self.escalation
        return None if found is None or step.n_user_turns > found.until else found


class Memory:
    """What is known of the steps before: at most `max_entries`, the latest used. Found by the conversation's prefix,
    else, for frameworks that write the prompt anew, by its id and who asks."""

    def __init__(self, *, max_entries: int = 20_000) -> None:
        self._max_entries = max_entries
        self._known: OrderedDict[object, Before] = OrderedDict()
        self.begin_anew()
        renew_in_child(self)

    def begin_anew(self) -> None:
        """For a forked child: another thread of its parent may have held the lock."""
        self._lock = threading.RLock()

    def before(self, prefix: Prefix, context: StepContext) -> Before | None:
        with self._lock:
            for mark in (prefix.whole, *prefix.earlier):
                if (found := self._known.get(mark.key)) is not None:
                    return found
            return self._known.get(_name(context))

    def keep(self, prefix: Prefix, context: StepContext, known: Before) -> None:
        with self._lock:
            for key in (prefix.whole.key, _name(context)):
                if key is not None:
                    self._known[key] = known
                    self._known.move_to_end(key)
            while len(self._known) > self._max_entries:
                self._known.popitem(last=False)

    def heard(self, prefix: Prefix, step: Step, decision: Decision, response: ChatResponse, failed: str | None) -> None:
        """The answer of a step that is kept already: its calls, and whether a check failed on it.

        The user's next turn is then the one that asks for it again, so the failure lasts until that is over.
        """
        with self._lock:
            known = self._known.get(prefix.whole.key)
            if known is None or known.decision_id != decision.id:
                return
            calls = tuple((call.id, call.name, _canonical(call)) for call in response.tool_calls if call.id)
            escalation = known.escalation
            if failed is not None:
                escalation = Escalation(failed, decision.target, decision.tier, step.n_user_turns + 1)
            elif not calls:
                escalation = None
            self.keep(prefix, decision.context, replace(known, calls=calls, escalation=escalation))


def _name(context: StepContext) -> object:
    if context.conversation_id is None:
        return None
    return context.conversation_id, context.agent, context.role
