"""A request as one model takes it: settings left out, clipped or replaced by its rules, each change named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from agentroute.messages import (
    ChatRequest,
    Message,
    ReasoningSetting,
    Sampling,
    Text,
    ToolChoice,
)
from agentroute.targets.model_rules import REASONING_FIELDS, ModelRules

from . import reasoning
from .foreign import foreign_tool

__all__ = ["Fitted", "can_be_forced", "fit", "output_limit"]

_SAMPLING: Final = tuple(field.name for field in fields(Sampling) if field.name not in ("max_output_tokens", "stop"))


@dataclass(frozen=True, slots=True)
class Fitted:
    """A request as the model takes it.

    `own`: the caller's unknown fields that may go out, without those of reasoning, for which `reasoning` has the fields
    to send. `thinks`: whether the model will think.
    """

    request: ChatRequest
    own: dict[str, Any]
    reasoning: dict[str, Any]
    thinks: bool


def fit(
    request: ChatRequest,
    own: Mapping[str, Any],
    rules: ModelRules,
    dialect: str,
    changes: dict[str, None],
    *,
    stream: bool = False,
) -> Fitted:
    """The request and the caller's `own` fields of this dialect, fitted to the rules of the model that is called."""
    raw = {name: own[name] for name in REASONING_FIELDS[dialect] if name in own}
    said = reasoning.read(dialect, raw) if raw else None
    asked = said if request.reasoning is None else request.reasoning
    request, asked = _with_tools(request, asked, rules, dialect, changes)
    fitted = reasoning.fit(asked, rules, dialect, changes)
    thinks = reasoning.thinks(fitted, rules)
    same = asked == said
    verbatim = same and fitted == asked and not reasoning.is_known(rules) and rules.chat_reasoning == _USUAL
    told = reasoning.write(dialect, reasoning.Thinking(fitted, raw, same, verbatim), rules)
    kept = {name: value for name, value in own.items() if name not in raw}
    if rules.refused or rules.refused_while_reasoning or rules.ignored:
        request, kept = _without_refused(request, kept, rules, thinks, changes)
    request = _within_limits(request, rules, changes, stream=stream)
    if rules.prefill is not None:
        request = _with_begun_answer(request, rules, thinks, changes)
    return Fitted(request, kept, told, thinks)


_USUAL: Final = ("reasoning_effort",)
_NO_EFFORT: Final = "`reasoning_effort` set to `none`: beside tools the model takes no other in chat completions"


def _with_tools(
    request: ChatRequest,
    asked: ReasoningSetting | None,
    rules: ModelRules,
    dialect: str,
    changes: dict[str, None],
) -> tuple[ChatRequest, ReasoningSetting | None]:
    """With the effort that chat completions take beside tools, and a choice of tools that the model takes."""
    tools = any(not foreign_tool(tool, dialect) for tool in request.tools)
    if tools and dialect == "openai_chat" and rules.chat_tools in ("none", "unset"):
        off = asked is not None and asked.effort == "none"
        if not off and (asked is not None or rules.chat_tools == "none"):
            changes[_NO_EFFORT] = None
            asked = ReasoningSetting("none")
    choice = request.tool_choice
    if choice is None or choice.mode not in ("required", "tool") or not tools:
        return request, asked
    modes = rules.tool_choices
    if choice.mode in modes and not _refused_while_thinking(choice, rules, asked):
        return request, asked
    if choice.mode in modes and asked is None and reasoning.can_be_off(rules):
        changes["reasoning switched off: the model cannot be forced to call a tool while it thinks"] = None
        return request, ReasoningSetting("none")
    if choice.mode == "tool" and "required" in modes:
        required = ToolChoice("required")
        if not _refused_while_thinking(required, rules, asked):
            changes["the named tool asked for in words, a call of any tool required: the model takes no name"] = None
            return replace(request, tool_choice=required, messages=_told(request, choice)), asked
    changes["the forced tool choice replaced by `auto` and a sentence: the model refuses it"] = None
    return replace(request, tool_choice=ToolChoice("auto"), messages=_told(request, choice)), asked


def _refused_while_thinking(choice: ToolChoice, rules: ModelRules, asked: ReasoningSetting | None) -> bool:
    modes = rules.tool_choices_while_reasoning
    return modes is not None and choice.mode not in modes and reasoning.thinks(asked, rules)


def can_be_forced(request: ChatRequest, rules: ModelRules) -> bool:
    """Whether the model can be made to call a tool as the request demands, if it demands that."""
    choice = request.tool_choice
    if choice is None or choice.mode not in ("required", "tool") or not request.tools:
        return True
    if choice.mode not in rules.tool_choices:
        return False
    refused = _refused_while_thinking(choice, rules, request.reasoning)
    return not refused or (request.reasoning is None and reasoning.can_be_off(rules))


def _told(request: ChatRequest, choice: ToolChoice) -> tuple[Message, ...]:
    """The messages, the last of which asks for the call. It stands last, so that a cached prefix stays as it is."""
    words = "one of the tools" if choice.name is None else f"the tool `{choice.name}`"
    sentence = Text(f"Answer by calling {words}.")
    last = request.messages[-1]
    if last.role == "user":
        return (*request.messages[:-1], replace(last, parts=(*last.parts, sentence)))
    return (*request.messages, Message("user", (sentence,)))


def _without_refused(
    request: ChatRequest, own: dict[str, Any], rules: ModelRules, thinks: bool, changes: dict[str, None]
) -> tuple[ChatRequest, dict[str, Any]]:
    sampling = request.sampling
    given: dict[str, Any] = {name: value for name in _SAMPLING if (value := getattr(sampling, name)) is not None}
    if sampling.stop:
        given["stop"] = sampling.stop
    if request.parallel_tool_calls is not None:
        given["parallel_tool_calls"] = request.parallel_tool_calls
    lost: set[str] = set()
    for name in (*given, *own):
        spelled = _CANONICAL.get(name, name)
        if spelled in rules.refused:
            lost.add(name)
            if given.get(name) is not True:
                changes[f"`{spelled}` left out: the model refuses it"] = None
        elif thinks and spelled in rules.refused_while_reasoning:
            lost.add(name)
            changes[f"`{spelled}` left out: the model refuses it while it thinks"] = None
        elif spelled in rules.ignored:
            changes[f"`{spelled}` has no effect: the model ignores it"] = None
    if not lost:
        return request, own
    emptied: dict[str, Any] = {name: None for name in _SAMPLING if name in lost}
    if "stop" in lost:
        emptied["stop"] = ()
    parallel = None if "parallel_tool_calls" in lost else request.parallel_tool_calls
    changed = replace(request, sampling=replace(sampling, **emptied), parallel_tool_calls=parallel)
    return changed, {name: value for name, value in own.items() if name not in lost}


_CANONICAL: Final = {"topK": "top_k", "candidateCount": "n", "responseLogprobs": "logprobs", "logprobs": "logprobs"}
"""What a dialect calls a setting that has no canonical name, by the name that rules use."""


def _within_limits(request: ChatRequest, rules: ModelRules, changes: dict[str, None], *, stream: bool) -> ChatRequest:
    sampling = request.sampling
    changed: dict[str, Any] = {}
    limit = output_limit(rules, stream=stream)
    asked = sampling.max_output_tokens
    if asked is not None and limit is not None and asked > limit:
        changed["max_output_tokens"] = limit
        changes[f"`max_tokens` {limit:,} instead of {asked:,}: the model writes no more"] = None
    if sampling.temperature is not None and rules.temperature is not None:
        low, high = rules.temperature
        value = min(max(sampling.temperature, low), high)
        if value != sampling.temperature:
            changed["temperature"] = value
            changes[f"`temperature` {value:g} instead of {sampling.temperature:g}: the model takes no other"] = None
    stop = sampling.stop
    if rules.max_stop_bytes is not None:
        stop = tuple(text for text in stop if len(text.encode("utf-8", "replace")) <= rules.max_stop_bytes)
    if rules.max_stops is not None:
        stop = stop[: rules.max_stops]
    if stop != sampling.stop:
        changed["stop"] = stop
        lost = len(sampling.stop) - len(stop)
        changes[f"{lost} of the stop sequences left out: the model takes fewer or shorter ones"] = None
    return replace(request, sampling=replace(sampling, **changed)) if changed else request


def output_limit(rules: ModelRules, *, stream: bool) -> int | None:
    """The most that one answer of the model may hold."""
    unstreamed = None if stream else rules.max_output_unstreamed
    return min((limit for limit in (rules.max_output_tokens, unstreamed) if limit is not None), default=None)


def _with_begun_answer(request: ChatRequest, rules: ModelRules, thinks: bool, changes: dict[str, None]) -> ChatRequest:
    """With a begun answer as the model takes it: marked as one, or with a user's message behind it."""
    last = request.messages[-1] if request.messages else None
    if last is None or last.role != "assistant" or last.tool_calls or rules.prefill == "yes":
        return request
    if rules.prefill == "without_reasoning" and not thinks:
        return request
    if rules.prefill in ("prefix", "partial"):
        return request
    changes["a user's message put behind the begun answer: the model does not go on with one"] = None
    return replace(request, messages=(*request.messages, Message("user", (Text(_GO_ON),))))


_GO_ON: Final = "Go on exactly where your last message ends, without repeating it."
