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
from agentroute.targets import Target, Tier

from .actions import did
from .evidence import judge
from .frames import exit_codes
from .prefix import Prefix
from .step import Step

__all__ = ["Before", "Checked", "Checks", "Escalation", "Memory", "Verdict"]

logger = logging.getLogger("agentroute")

Check: TypeAlias = (
    Callable[[Any], Any] | Mapping[str, Any] | re.Pattern[str] | Sequence[str] | str | int | Literal[True]
)

_LONGEST_NAME = 256
"""Characters of a name that an outcome keeps."""

_LINES = 12
"""Lines at either end of a result in which an exit code may stand."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check says. `person`: it tells what somebody did with the model's call, which escalates nothing."""

    name: str
    ok: bool
    person: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name[:_LONGEST_NAME])


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
    * `structured`: the answers to requests that have a schema, or must call one tool: its arguments;
    * `person`: the names of tools whose calls somebody approves, edits or rejects before they run;
    * `guardrails` (True): what a framework's own guardrails say, where an integration hears it.

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
        self.structured: Callable[[str, Mapping[str, Any]], bool | None] | None = None
        self.reviewed: frozenset[str] = frozenset()
        self.guardrails = False
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
            elif key == "guardrails" and check is True:
                self.guardrails = True
            else:
                raise ConfigError(
                    f"checks: {key!r} is no place for a check; use 'tool:NAME', 'role:NAME', 'tests', 'structured', "
                    f"'person' or 'guardrails' (True)"
                )

    def results(self, request: ChatRequest, before: Before | None) -> tuple[Verdict, ...]:
        """What the checks say of the results that came since the model last spoke: of several calls of one tool, that
        it passes if all do."""
        found: dict[str, Verdict] = {}
        for each in self._results(request, before):
            held = found.get(each.name)
            found[each.name] = each if held is None or held.ok else held
        return tuple(found.values())

    def _results(self, request: ChatRequest, before: Before | None) -> Iterator[Verdict]:
        calls: dict[str, ToolCall] = {}
        results: list[ToolResult] = []
        for message in reversed(request.messages):
            if message.role == "assistant":
                calls = {call.id: call for call in message.tool_calls}
                break
            results += message.tool_results[::-1]
        if self.reviewed and before is not None:
            yield from _by_person(calls, results, before, self.reviewed)
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
        form = None if self.structured is None else _form(request, response)
        if self.structured is not None and form is not None:
            yield from self._verdict("structured", self.structured, *form)
        if response.tool_calls:
            return
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


def _form(request: ChatRequest, response: ChatResponse) -> tuple[str, Mapping[str, Any]] | None:
    """The text that must have a form, and the schema of that; None if none was asked for."""
    choice, tools = request.tool_choice, request.tools
    only = choice is not None and choice.mode == "required" and len(tools) == 1
    if choice is not None and (choice.mode == "tool" or (only and not any(m.tool_calls for m in request.messages))):
        wanted = tools[0].name if only else choice.name
        schema = next((tool.parameters for tool in tools if tool.name == wanted), None)
        call = next((call for call in response.tool_calls if call.name == wanted), None)
        return ("" if call is None else call.arguments or "{}"), schema or {}
    if request.response_schema is None or response.tool_calls:
        return None
    return response.text, request.response_schema.schema or {}


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


def _of_answer(key: str, check: Check) -> Callable[[str, Mapping[str, Any]], bool | None]:
    if isinstance(check, Mapping):
        fits = _schema(key, check)
        return lambda text, _: fits(_parsed(text))
    if check is True:
        _schema(key, {})
        return lambda text, schema: _validator(schema)(_parsed(text))
    if callable(check):
        function = check

        def parsed(text: str, _: Mapping[str, Any]) -> bool | None:
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
    """Raises ConfigError if it is no schema, or nothing here can read one."""
    try:
        from jsonschema import exceptions, validators  # type: ignore[import-untyped]
    except ImportError:
        raise ConfigError(
            f"checks: {key!r} needs the extra `checks` for JSON schemas: pip install agentroute-llm[checks]"
        ) from None
    try:
        validators.validator_for(schema, default=validators.Draft202012Validator).check_schema(schema)
    except exceptions.SchemaError as error:
        raise ConfigError(f"checks: {key!r} is no JSON schema ({error.message})") from None
    return _validator(schema)


def _validator(schema: Mapping[str, Any]) -> Callable[[Any], bool]:
    """Looks nothing up: a schema that refers to an address cannot be held against anything, and raises."""
    from jsonschema import validators
    from referencing import Registry

    kind = validators.validator_for(schema, default=validators.Draft202012Validator)
    validator = kind(schema, registry=Registry())
    return lambda value: value is not _NO_JSON and bool(validator.is_valid(value))


def _ended_with(text: str, wanted: int) -> bool | None:
    """None if no exit code is told: that is no verdict."""
    value = _parsed(text) if text[:1] == "{" else None
    if isinstance(value, Mapping):
        for key in ("exit_code", "exitCode", "returncode", "return_code"):
            if isinstance(value.get(key), int) and not isinstance(value.get(key), bool):
                return bool(value[key] == wanted)
    lines = text.splitlines()
    codes = exit_codes(lines[:_LINES], lines[-_LINES:])
    return all(code == wanted for code in codes) if codes else None


# -- what somebody did with the answer ---------------------------------------------------------------------------------

_REFUSED = re.compile(
    r"\s*(?:note: )?(?:(?:the|a) )?(?:human )?(?:user|human|operator|person|reviewer) (?:has )?"
    r"(?:rejected|denied|declined|refused|cancell?ed|replaced|edited|did(?: not|n't) approve|does(?: not|n't) want)\b",
    re.IGNORECASE,
)
"""How the results of calls begin that somebody did not let through as they were: LangChain's HumanInTheLoopMiddleware
(1.5: "User rejected the tool call for ...", "Note: a human reviewer replaced this tool call ..."), Claude Code ("The
user doesn't want to proceed with this tool use"), and others like them."""


def _by_person(
    calls: Mapping[str, ToolCall], results: list[ToolResult], before: Before, reviewed: frozenset[str]
) -> Iterator[Verdict]:
    """Approved as the model wrote it is right; edited or rejected is not."""
    said = {result.tool_call_id: result.text for result in results}
    for call_id, name, made in before.calls:
        call = calls.get(call_id)
        if name in reviewed and call is not None:
            approved = _canonical(call) == made and not _REFUSED.match(said.get(call_id, ""))
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


@dataclass(frozen=True, slots=True)
class Checked:
    """The step before, what the checks say of its results, and what follows for this step."""

    before: Before | None
    verdicts: tuple[Verdict, ...]
    escalation: Escalation | None

    @classmethod
    def of(
        cls, checks: Checks, request: ChatRequest, step: Step, before: Before | None, served: Target | None
    ) -> Checked:
        """`served` is the target of the step before, as far as it is known."""
        verdicts = checks.results(request, before)
        failed = next((each.name for each in verdicts if not each.ok and not each.person), None)
        if failed is None:
            return cls(before, verdicts, None if before is None else before.active(step))
        if served is None:
            return cls(before, verdicts, None)
        return cls(before, verdicts, Escalation(failed, served.name, served.tier or Tier.BUDGET, step.n_user_turns))


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
