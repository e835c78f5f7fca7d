"""What is in recorded traces, counted and not routed: conversations, steps, models, tokens, failures, outcomes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentroute.messages import Text, ToolResult
from agentroute.routing.evidence import judge
from agentroute.routing.prefix import Prefix
from agentroute.routing.protocols import spoken

from .conversations import Conversations
from .logs import printable
from .problems import Alike
from .records import Outcome, Problem, RecordedCall, Trace
from .traces import Traces

__all__ = ["Description", "describe"]

_KEPT_OUTCOMES = 1_000
_KEPT_NAMES = 200


@dataclass(frozen=True, slots=True)
class Description:
    """What was read. Tokens are sums over the steps that recorded them, None if none did.

    `format` is the one most steps are of. `tools_in_step_1` names the tools offered in the step that came first, None
    if they were not recorded; then `tools_inferred` names those that were called. `failed_results` counts tool results
    that failed by a flag, an exit code or their words; `failed_calls` the model calls without an answer;
    `sub_conversations` those that another conversation started; `duplicates` answers that stood in the logs twice.
    """

    files: tuple[str, ...]
    formats: Mapping[str, int]
    conversations: int
    sub_conversations: int
    steps: int
    first_model: str | None
    models: Mapping[str, int]
    agents: tuple[str, ...]
    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    measured: int
    tools_in_step_1: tuple[str, ...] | None
    tools_inferred: tuple[str, ...]
    failed_results: int
    failed_calls: int
    duplicates: int
    greetings: int
    outcomes: Mapping[str, Mapping[str, float]]
    malformed: int
    problems: tuple[Problem, ...]
    alike: str | None
    notes: tuple[str, ...]

    @property
    def format(self) -> str | None:
        return max(self.formats, key=lambda name: self.formats[name]) if self.formats else None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "files": list(self.files),
            "format": self.format,
            "formats": dict(self.formats),
            "conversations": self.conversations,
            "sub_conversations": self.sub_conversations,
            "steps": self.steps,
            "first_model": self.first_model,
            "models": dict(self.models),
            "agents": list(self.agents),
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cache_read_tokens": self.cache_read_tokens,
            "cache_write_tokens": self.cache_write_tokens,
            "measured": self.measured,
            "tools_in_step_1": None if self.tools_in_step_1 is None else list(self.tools_in_step_1),
            "tools_inferred": list(self.tools_inferred),
            "failed_results": self.failed_results,
            "failed_calls": self.failed_calls,
            "duplicates": self.duplicates,
            "greetings": self.greetings,
            "outcomes": {name: dict(values) for name, values in self.outcomes.items()},
            "malformed": self.malformed,
            "problems": [{"file": p.file, "line": p.line, "reason": p.reason} for p in self.problems],
            "alike": self.alike,
            "notes": list(self.notes),
        }


def describe(
    paths: str | Path | Iterable[str | Path],
    *,
    fmt: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Description:
    """Reads the traces and counts what is in them; routes nothing, and needs no pool.

    Raises ConfigError for a path that is nothing to read and for an unknown format.

    >>> describe("~/.claude/projects/my-project").steps  # doctest: +SKIP
    """
    paths = [paths] if isinstance(paths, str | Path) else paths
    traces = Traces(paths, fmt=fmt, on_progress=on_progress)
    tally = _Tally()
    for _, _, item in traces:
        if isinstance(item, Problem):
            tally.problems.note(item)
        else:
            tally.add(item)
    return tally.description(traces)


class _Tally:
    def __init__(self) -> None:
        self.problems = Alike()
        self._conversations = Conversations()
        self._formats: Counter[str] = Counter()
        self._models: Counter[str] = Counter()
        self._tokens: Counter[str] = Counter()
        self._counted: Counter[str] = Counter()
        self._agents: dict[str, None] = {}
        self._called: dict[str, None] = {}
        self._below: set[int] = set()
        self._failed: set[int] = set()
        self._outcomes: dict[str, Counter[str]] = {}
        self._labelled: set[int] = set()
        self._first: tuple[float, Trace, RecordedCall] | None = None
        self._steps = self._measured = self._greetings = self._untold = 0

    def add(self, trace: Trace) -> None:
        number = self._conversations.number(trace, lambda: _prefix(trace))
        self._formats[trace.format] += len(trace.calls)
        self._steps += len(trace.calls)
        self._greetings += trace.greetings
        self._untold += trace.failed_results
        if trace.agent is not None and len(self._agents) < _KEPT_NAMES:
            self._agents.setdefault(printable(trace.agent))
        if trace.parent is not None:
            self._below.add(number)
        for call in trace.calls:
            self._call(call, trace)
        messages = trace.request.messages
        for message in messages:
            for result in message.tool_results:
                self._result(number, result)
        if not any(message.tool_calls for message in messages):
            for said in spoken(messages, len(messages)).values():
                for text in said.results:
                    self._result(number, ToolResult("", (Text(text),)))
        if trace.tools_inferred and len(self._called) < _KEPT_NAMES:
            self._called |= dict.fromkeys(printable(tool.name) for tool in trace.request.tools)
        for name, value in trace.outcomes.items():
            self._outcome(number, name, value)
        if trace.reward is not None and not trace.outcomes:
            self._outcome(number, "reward", trace.reward)

    def _call(self, call: RecordedCall, trace: Trace) -> None:
        if call.model is not None and (call.model in self._models or len(self._models) < _KEPT_NAMES):
            self._models[call.model] += 1
        at = float("inf") if call.at is None else call.at
        if self._first is None or at < self._first[0]:
            self._first = (at, trace, call)
        usage = call.usage
        if usage is None:
            return
        self._measured += usage.input_tokens is not None and usage.output_tokens is not None
        for name in ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"):
            value = getattr(usage, name)
            if value is not None:
                self._tokens[name] += value
                self._counted[name] += 1

    def _result(self, number: int, result: ToolResult) -> None:
        """A prompt repeats the results before it: each counts once in its conversation."""
        key = hash((number, result.tool_call_id, result.text))
        if key not in self._failed and judge(result).failed:
            self._failed.add(key)

    def _outcome(self, number: int, name: str, value: Outcome) -> None:
        key = hash((number, name, value))
        if key in self._labelled or (name not in self._outcomes and len(self._outcomes) >= _KEPT_OUTCOMES):
            return
        self._labelled.add(key)
        held = self._outcomes.setdefault(name, Counter())
        shown = (
            str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, int | float) else value
        )
        if shown in held or len(held) < _KEPT_NAMES:
            held[printable(shown)[:60]] += 1

    def description(self, traces: Traces) -> Description:
        first = self._first
        recorded = first is not None and not first[1].tools_inferred and bool(first[1].request.tools)
        return Description(
            files=tuple(printable(str(path)) for path in traces.paths),
            formats=dict(self._formats.most_common()),
            conversations=self._conversations.total,
            sub_conversations=len(self._below),
            steps=self._steps,
            first_model=None if first is None else first[2].model,
            models=dict(self._models.most_common()),
            agents=tuple(self._agents),
            input_tokens=self._sum("input_tokens"),
            output_tokens=self._sum("output_tokens"),
            cache_read_tokens=self._sum("cache_read_tokens"),
            cache_write_tokens=self._sum("cache_write_tokens"),
            measured=self._measured,
            tools_in_step_1=tuple(tool.name for tool in first[1].request.tools) if first and recorded else None,
            tools_inferred=tuple(self._called),
            failed_results=len(self._failed) + self._untold,
            failed_calls=self.problems.failed_calls,
            duplicates=traces.duplicates,
            greetings=self._greetings,
            outcomes={name: dict(values) for name, values in self._outcomes.items()},
            malformed=self.problems.total,
            problems=tuple(self.problems.kept),
            alike=self.problems.sentence(self._steps),
            notes=tuple(traces.notes),
        )

    def _sum(self, name: str) -> int | None:
        return self._tokens[name] if self._counted[name] else None


def _prefix(trace: Trace) -> Prefix:
    last = trace.calls[-1]
    return Prefix.of(trace.request.messages[: last.n_messages], trace.request.tools)
