"""Reads one model call: who asks, what for, what the tools did and said. Cheap, pure, deterministic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agentroute.decisions import StepContext, StepKind
from agentroute.messages import ChatRequest, Message, Reasoning, Role, Tool, ToolCall, ToolResult
from agentroute.routing.prefix import Bulk, Prefix

from .actions import CHANGES, Action, Did, action, did, named
from .ask import Ask, find_ask, is_result_text
from .evidence import TOLD, Evidence, judge, judge_text
from .kinds import side_call
from .protocols import Spoken, declares, spoken
from .sources import lists_source, source_weight
from .textstats import Script, TextStats, measure, overlap

__all__ = ["Action", "Script", "Step"]

_WINDOW = 48
"""Messages looked back on for calls, results and repeats."""

_BATCHES, _JUDGED = 6, 10
"""Latest batches of results that are judged, and how many results at most."""

_CALLS = 12
"""Latest calls whose actions are counted."""


@dataclass(frozen=True, slots=True)
class Step:
    """The features of one model call.

    What starts with `ask`, and `code`, `maths`, `script`, `n_numbers`, `n_sentences`, `n_questions`, `n_intents`, is
    read from the latest human ask alone: system prompts, tool schemas and harness blocks (docs/steps.md) never count.
    `ask` is its head and tail, at most 2,000 characters; `ask_chars` its full size; `ask_tokens` a size that is about
    equal for the same ask in any script (not for billing). `steps_taken` counts assistant messages, `steps_in_turn`
    those since the ask.

    `repeats` looks back on at most 48 messages of this turn, `error_streak` and `errors_recent` on 6 batches of
    results, the counts of actions and `on_source` (their share on source code) on 12 calls. Calls and results that
    stand as text count like native ones. `tool_overlap` is the share of the ask's words that name or describe a
    tool, None where that says nothing (no tools, not English). `prefix_chars` counts the text of all messages, without
    tool schemas.
    """

    kind: StepKind
    last_role: Role | None
    ask: str
    ask_chars: int
    ask_tokens: int
    first_ask: str
    n_messages: int
    n_user_turns: int
    continued: bool
    steps_taken: int
    steps_in_turn: int
    n_tools: int
    tool_overlap: float | None
    forced_tool: bool
    wants_schema: bool
    needs_vision: bool
    needs_documents: bool
    needs_audio: bool
    prefix_chars: int
    n_results_last: int
    evidence: tuple[Evidence, ...]
    errors_last: int
    error_streak: int
    errors_recent: int
    recovered: bool
    repeated_call: bool
    repeats: int
    spinning: bool
    reads: int
    searches: int
    edits: int
    writes: int
    runs: int
    tests: int
    last_action: Action
    on_source: float
    last_call_chars: int
    code: float
    maths: float
    script: Script
    n_numbers: int
    n_sentences: int
    n_questions: int
    n_intents: int
    has_reasoning_state: bool
    agent: str | None
    role: str | None
    node: str | None
    is_subagent: bool

    @staticmethod
    def of(request: ChatRequest, context: StepContext | None = None, bulk: Bulk | None = None) -> Step:
        """The features of `request`. Never raises on any messages; the same input gives the same features.

        `bulk` is the size of its messages, where the caller has measured it already (`Prefix.whole.bulk`).
        """
        messages = request.messages
        size = bulk if bulk is not None else Prefix.of(messages).whole.bulk
        roles = [message.role for message in messages]
        n_assistants = roles.count("assistant")
        written = spoken(messages) if not size.calls and (n_assistants or len(messages) == 1) else {}
        ask = find_ask(messages, _places(roles, "user"), written)
        loop = _look_back(messages, ask.turn, written)
        shape = measure(ask.text)
        context = context or _NO_CONTEXT
        if context.failed and not any(each.failed for each in loop.evidence):
            loop.fail()
        choice = request.tool_choice
        forced = choice is not None and (choice.mode == "tool" or choice.mode == "required")
        kind = _kind(request, context, ask, loop, used_tools=size.calls > 0)
        return Step(
            kind=kind,
            last_role=messages[-1].role if messages else None,
            ask=ask.text,
            ask_chars=ask.chars,
            ask_tokens=shape.tokens if ask.chars <= len(ask.text) else shape.tokens * ask.chars // len(ask.text),
            first_ask=ask.first,
            n_messages=len(messages),
            n_user_turns=ask.turns,
            continued=ask.continued,
            steps_taken=n_assistants,
            steps_in_turn=roles[ask.turn + 1 :].count("assistant") if ask.turn >= 0 else n_assistants,
            n_tools=len(request.tools),
            tool_overlap=_overlap(shape, request.tools),
            forced_tool=forced,
            wants_schema=request.response_schema is not None,
            needs_vision=size.images > 0,
            needs_documents=size.documents > 0,
            needs_audio=size.recordings > 0,
            prefix_chars=size.chars,
            n_results_last=loop.n_results,
            evidence=loop.evidence,
            errors_last=sum(each.failed for each in loop.evidence),
            error_streak=loop.streak,
            errors_recent=loop.failures,
            recovered=loop.recovered,
            repeated_call=loop.repeats > 0,
            repeats=loop.repeats,
            spinning=loop.spinning,
            reads=loop.actions.count("read"),
            searches=loop.actions.count("search"),
            edits=loop.actions.count("edit"),
            writes=loop.actions.count("write"),
            runs=loop.actions.count("run"),
            tests=loop.actions.count("test"),
            last_action=loop.actions[0] if loop.actions else "none",
            on_source=loop.on_source,
            last_call_chars=loop.call_chars,
            code=shape.code,
            maths=shape.maths,
            script=shape.script,
            n_numbers=shape.numbers,
            n_sentences=shape.sentences,
            n_questions=shape.questions,
            n_intents=shape.intents,
            has_reasoning_state=loop.reasoning,
            agent=context.agent,
            role=context.role,
            node=context.node,
            is_subagent=context.parent_id is not None,
        )


_NO_CONTEXT = StepContext()


def _places(roles: list[Role], wanted: Role) -> list[int]:
    found, place = [], -1
    for _ in range(roles.count(wanted)):
        place = roles.index(wanted, place + 1)
        found.append(place)
    return found


def _overlap(shape: TextStats, tools: Sequence[Tool]) -> float | None:
    """None also where one of the tools is a shell: it fits every ask."""
    if shape.script != "latin" or any(named(tool.name)[1] for tool in tools[:64]):
        return None
    return overlap(shape.plain, tools)


# ---- the tool loop ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Loop:
    n_results: int
    evidence: tuple[Evidence, ...]
    streak: int
    failures: int
    recovered: bool
    repeats: int
    spinning: bool
    actions: list[Action]
    on_source: float
    call_chars: int
    reasoning: bool
    answered: bool
    """Whether results stand at the end, waiting for the model."""

    def fail(self) -> None:
        """Takes the latest result for a failure, or what was answered last if there is none."""
        self.evidence = (*self.evidence[:-1], TOLD)
        self.streak, self.failures, self.recovered = self.streak + 1, self.failures + 1, False


def _look_back(messages: Sequence[Message], turn: int, written: Mapping[int, Spoken]) -> _Loop:
    """The calls and results of this turn, the latest first; `written` are those that stand as text."""
    batches: list[list[tuple[ToolResult | str, int]]] = []
    calls: list[tuple[str, str]] = []
    groups: list[int] = []
    batch: list[ToolResult | str] = []
    reasoning = False
    answered = False
    seen_assistant = False
    stop = max(turn, len(messages) - 1 - _WINDOW)
    for index in range(len(messages) - 1, -1 if written.get(turn) else stop, -1):
        message = messages[index]
        role = message.role
        text = written.get(index)
        if text is not None and text.results:
            batch += text.results[::-1]
        if role == "tool":
            batch += [part for part in message.parts[::-1] if type(part) is ToolResult]
        elif role == "user" and text is None:
            said = message.text
            if is_result_text(said):
                batch.append(said)
        elif role == "assistant" or text is not None:
            made = [(part.name, part.arguments) for part in message.parts if type(part) is ToolCall]
            if text is not None:
                made += text.calls
            if batch:
                batches.append(_matched(batch[::-1], message, made, len(calls)))
                answered = answered or not seen_assistant
                batch = []
            if role == "assistant":
                seen_assistant = True
            calls += made[::-1]
            if made:
                groups.append(len(made))
            for part in message.parts:
                if type(part) is Reasoning and (part.signature is not None or part.redacted):
                    reasoning = True
    if batch:
        batches.append([(each, -1) for each in batch[::-1]])
        answered = answered or not seen_assistant
    dids = [did(name, arguments) for name, arguments in calls[:_CALLS]]
    actions = [each.action for each in dids]
    judged: list[tuple[Evidence, ...]] = []
    left = _JUDGED
    for results in batches[:_BATCHES]:
        taken = results[-left:] if left < len(results) else results
        judged.append(tuple(_judged(each, dids[place] if 0 <= place < len(dids) else None) for each, place in taken))
        left -= len(taken)
        if left <= 0:
            break
    failed = [any(each.failed for each in one) for one in judged]
    streak = failed.index(False) if False in failed else len(failed)
    repeats, spinning = _repeats(calls, groups[0] if groups else 0)
    return _Loop(
        n_results=len(batches[0]) if batches else 0,
        evidence=judged[0] if judged else (),
        streak=streak,
        failures=sum(each.failed for one in judged for each in one),
        recovered=len(failed) > 1 and failed[1] and not failed[0],
        repeats=repeats,
        spinning=spinning,
        actions=actions,
        on_source=_on_source(calls, dids, batches),
        call_chars=sum(len(arguments) for _, arguments in calls[: groups[0]]) if groups else 0,
        reasoning=reasoning,
        answered=answered,
    )


def _on_source(
    calls: list[tuple[str, str]], dids: list[Did], batches: list[list[tuple[ToolResult | str, int]]]
) -> float:
    """The share of the latest calls that work on source code."""
    weights = [source_weight(*call, act) for call, act in zip(calls, dids, strict=False)]
    for batch in batches:
        for result, place in batch:
            if 0 <= place < len(dids) and not weights[place] and dids[place].action == "search":
                text = result.text if type(result) is ToolResult else str(result)
                weights[place] = float(lists_source(calls[place][0], text, dids[place]))
    if any(weights):
        # An edit that names no file is one of the file that is open.
        for place, act in enumerate(dids):
            if act.action == "edit" and not weights[place] and "." not in calls[place][1][:200]:
                weights[place] = 1.0
    return round(sum(weights) / len(weights), 4) if weights else 0.0


def _matched(
    batch: list[ToolResult | str], message: Message, made: list[tuple[str, str]], before: int
) -> list[tuple[ToolResult | str, int]]:
    """Each result with the place of its call among all calls, the latest first; -1 where it answers none of `made`."""
    last = before + len(made) - 1
    if len(batch) == 1 and len(made) == 1:
        return [(batch[0], last)]
    ids = {call.id: place for place, call in enumerate(message.tool_calls)}
    found = []
    for place, result in enumerate(batch):
        at = ids.get(result.tool_call_id, -1) if type(result) is ToolResult else place if place < len(made) else -1
        found.append((result, last - at if at >= 0 else -1))
    return found


def _judged(result: ToolResult | str, act: Did | None) -> Evidence:
    return judge(result, act) if type(result) is ToolResult else judge_text(str(result), None, act)


def _repeats(calls: list[tuple[str, str]], latest: int) -> tuple[int, bool]:
    """How often the latest calls were made before with nothing changed in between; whether the loop goes in circles."""
    if not latest or len(calls) <= latest:
        return 0, False
    earlier = calls[latest:]
    if all(call in earlier for call in calls[:latest]):
        for place, (name, arguments) in enumerate(earlier):
            if action(name, arguments) in CHANGES:
                earlier = earlier[:place]
                break
        repeats = min(earlier.count(call) for call in calls[:latest])
    else:
        repeats = 0
    recent = calls[:8]
    circling = len(recent) >= 6 and len(set(recent)) * 2 <= len(recent)
    if circling:
        circling = not any(action(name, arguments) in CHANGES for name, arguments in recent)
    return repeats, circling or repeats >= 2


# ---- the kind --------------------------------------------------------------------------------------------------------

_SUPERVISORS = frozenset(("supervisor", "orchestrator", "manager", "coordinator", "dispatcher", "router", "triage"))


def _kind(request: ChatRequest, context: StepContext, ask: Ask, loop: _Loop, *, used_tools: bool) -> StepKind:
    """The first that holds, in the order of docs/steps.md."""
    tools = request.tools
    mode = request.tool_choice.mode if request.tool_choice is not None else "auto"
    side = side_call(request, context, ask, used_tools=used_tools)
    if side is not None:
        return side
    if request.response_schema is not None and (not tools or mode == "none"):
        return StepKind.STRUCTURED
    if (mode == "tool" or (mode == "required" and len(tools) == 1)) and not loop.actions:
        return StepKind.STRUCTURED
    if mode == "none" and (tools or used_tools):
        return StepKind.FORCED_FINAL
    if not tools and loop.answered and request.messages[-1].role != "tool" and ask.last:
        return StepKind.FORCED_FINAL
    if tools and not loop.answered and all(named(tool.name)[0] == "delegate" for tool in tools[:32]):
        return StepKind.DELEGATE
    if (tools or declares(request.messages)) and any(
        name is not None and name.lower() in _SUPERVISORS for name in (context.role, context.agent, context.node)
    ):
        return StepKind.DELEGATE
    if context.failed:
        return StepKind.AFTER_ERROR
    if ask.last or not loop.answered:
        return StepKind.FIRST_ASK
    if any(each.failed for each in loop.evidence):
        return StepKind.AFTER_ERROR
    return StepKind.REPEATED_CALL if loop.repeats else StepKind.AFTER_RESULT
