"""Reads one model call: who asks, what for, what the tools did and said. Cheap, pure, deterministic."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

from agentroute.decisions import StepContext, StepKind
from agentroute.messages import ChatRequest, Image, Message, Reasoning, Role, Text, Tool, ToolCall, ToolResult
from .evidence import Evidence, judge, judge_text

__all__ = ["Action", "Script", "Step"]

Action: TypeAlias = Literal["none", "read", "search", "edit", "write", "test", "run", "message", "delegate", "other"]
"""What a tool call does, as its name and command show. `edit` changes files, `write` changes anything else."""

Script: TypeAlias = Literal[
    "latin", "greek", "cyrillic", "hebrew", "arabic", "indic", "thai", "hangul", "kana", "han", "other", "none"
]

_ASK_HEAD = _ASK_TAIL = 1_000
"""Characters of the ask that text statistics read: 2,000 a request."""

_WINDOW = 48
"""Messages looked back on for calls, results and repeats."""

_BATCHES = 6
"""Latest batches of results that are judged, and how many results at most."""
_JUDGED = 12


@dataclass(frozen=True, slots=True)
class Step:
    """The features of one model call.

    Everything that starts with `ask`, and `code`, `maths`, `script`, `n_*` of the text, is read from the latest human ask
    alone: system prompts, tool schemas and harness blocks (docs/steps.md) never count. `ask` is its head and tail, at most
    2,000 characters; `ask_chars` its full size; `ask_tokens` a size that is about equal for the same ask in any script
    (not for billing). `steps_taken` counts assistant messages, `steps_in_turn` those since the ask.

    The counts of actions, `repeats`, `error_*` look back on at most 48 messages of this turn. `tool_overlap` is the share
    of the ask's words that name or describe a tool, None where that says nothing (no tools, not English).
    """

    kind: StepKind
    last_role: Role | None
    ask: str
    ask_chars: int
    ask_tokens: int
    first_ask: str
    n_messages: int
    n_user_turns: int
    steps_taken: int
    steps_in_turn: int
    n_tools: int
    tool_overlap: float | None
    forced_tool: bool
    wants_schema: bool
    needs_vision: bool
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
    def of(request: ChatRequest, context: StepContext | None = None) -> Step:
        """The features of `request`. Never raises on any messages; the same input gives the same features."""
        messages = request.messages
        size = _size(messages)
        ask = _find_ask(messages, size.users)
        loop = _look_back(messages, ask.turn)
        shape = _shape(ask.text)
        context = context or _NO_CONTEXT
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
            steps_taken=size.assistants,
            steps_in_turn=size.assistants_after(ask.turn),
            n_tools=len(request.tools),
            tool_overlap=_overlap(ask.text, request.tools) if shape.script == "latin" else None,
            forced_tool=forced,
            wants_schema=request.response_schema is not None,
            needs_vision=size.images > 0,
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


# ---- size of the whole prefix ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Size:
    chars: int
    images: int
    calls: int
    assistants: int
    users: list[int]
    places: list[int]

    def assistants_after(self, turn: int) -> int:
        """Assistant messages behind the message `turn`."""
        return sum(place > turn for place in self.places)


def _size(messages: Sequence[Message]) -> _Size:
    chars = images = calls = 0
    users: list[int] = []
    places: list[int] = []
    for index, message in enumerate(messages):
        role = message.role
        if role == "assistant":
            places.append(index)
        elif role == "user":
            users.append(index)
        for part in message.parts:
            kind = type(part)
            if kind is Text or kind is Reasoning:
                chars += len(part.text)  # type: ignore[union-attr]
            elif kind is ToolResult:
                for piece in part.content:  # type: ignore[union-attr]
                    if type(piece) is Text:
                        chars += len(piece.text)
                    else:
                        images += 1
            elif kind is ToolCall:
                calls += 1
                chars += len(part.name) + len(part.arguments)  # type: ignore[union-attr]
            else:
                images += 1
    return _Size(chars, images, calls, len(places), users, places)


# ---- the ask ---------------------------------------------------------------------------------------------------------

_HARNESS_TAGS = (
    # Claude Code
    "system-reminder|command-name|command-message|command-args|command-contents|local-command-stdout|local-command-stderr"
    "|local-command-caveat|bash-input|bash-stdout|bash-stderr|user-prompt-submit-hook|task-notification|new-diagnostics"
    "|ide_opened_file|ide_selection|ide_diagnostics"
    # Cline, Roo Code, Kilo Code
    "|environment_details|file_content|folder_content|explicit_instructions"
    # Codex
    "|environment_context|user_instructions|turn_aborted|user_shell_command|skill"
    # Cursor, Windsurf, Copilot, Zed
    "|user_info|user_information|project_layout|workspace_information|workspace_info|environment_info|git_status"
    "|open_and_recently_viewed_files|recently_viewed_files|additional_data|additional_metadata|attached_files|attachments"
    "|cursor_rules_context|linter_errors|editorContext|repoContext|reminderInstructions|reminder|todoList|agent_skills"
    "|ephemeral_message|session_context|conversation-summary"
    # OpenHands, OpenClaw, memory layers
    "|runtime_information|repository_info|repository_instructions|extra_info|uploaded_files|microagent|task_tracking"
    "|relevant[-_]memories|memories|memory"
    # retrieval wrappers
    "|context|retrieved_context|search_results"
)
_ASK_TAGS = (
    "task|user_query|user_request|userRequest|user_message|user_question|user_input|feedback|pr_description"
    "|issue_description|issue|problem_statement|question|query|answer"
)
_GUIDANCE_TAGS = "instructions|important|critical|rules|guidelines|format|output_format"
_TAG = re.compile(
    rf"<(?:(?P<harness>{_HARNESS_TAGS})|(?P<ask>{_ASK_TAGS})|(?P<guidance>{_GUIDANCE_TAGS}))(?:\s[^<>]{{0,300}})?>",
    re.IGNORECASE,
)
_SCANNED = 12_000
"""Characters at either end of a user message in which the opening of a harness block is looked for."""

_HARNESS_START = re.compile(
    r"\s*(?:Caveat: The messages below were generated by the user while running local commands"
    r"|This session is being continued from a previous conversation"
    r"|\[Request interrupted by user"
    r"|# AGENTS\.md instructions for "
    r"|\[ERROR\] You did not use a tool in your previous response"
    r"|This is the Gemini CLI\. We are setting up the context)"
)
_RESULT_START = re.compile(
    r"\s*(?:<(?:returncode|tool_response|tool_result|function_results?|observation|execution_result|command_output)\b"
    r"|\[[\w-]+(?: for '[^'\n]{0,300}')?\] Result:|EXECUTION RESULT of \[|OBSERVATION:|Observation:\s)"
)
"""A tool result that a harness without tool messages sends as the user's text."""


@dataclass(slots=True)
class _Ask:
    text: str
    chars: int
    first: str
    turns: int
    turn: int
    """Index of the message that opened this turn; -1 without any."""
    last: bool
    """Whether a human ask is what the model was sent last."""


def _without_harness(text: str) -> str:
    """`text` with harness blocks taken out and the tags around an ask taken off."""
    if "<" not in text:
        return text
    spans: list[tuple[int, int]] = []
    guidance: list[tuple[int, int]] = []
    unwrapped = False
    end = 0
    matches = list(_TAG.finditer(text, 0, _SCANNED))
    if len(text) > _SCANNED:
        matches += _TAG.finditer(text, max(_SCANNED, len(text) - _SCANNED))
    for match in matches:
        start = match.start()
        if start < end:
            continue
        name = match[match.lastgroup or 0]
        close = text.find(f"</{name}>", match.end())
        if close < 0:
            continue
        after = close + len(name) + 3
        if match.lastgroup == "harness":
            spans.append((start, after))
            end = after
        elif match.lastgroup == "ask":
            spans += (start, match.end()), (close, after)
            unwrapped = True
        else:
            guidance.append((start, after))
    if unwrapped:
        spans += guidance
    if not spans:
        return text
    pieces = []
    position = 0
    for start, after in sorted(spans):
        if start > position:
            pieces.append(text[position:start])
        position = max(position, after)
    pieces.append(text[position:])
    return "".join(pieces)


def _is_ask(message: Message, *, opened: bool) -> bool:
    """Whether a user message holds a human ask; `opened` where a model has already spoken before it."""
    text = message.text
    first = text.lstrip()[:1]
    if first in "<[EOTC#" and first:
        if opened and _RESULT_START.match(text):
            return False
        if _HARNESS_START.match(text):
            return False
        if first == "<":
            text = _without_harness(text)
    return not (not text or text.isspace()) or any(type(part) is Image for part in message.parts)


def _find_ask(messages: Sequence[Message], users: list[int]) -> _Ask:
    asks: list[int] = []
    recent = users[-_WINDOW:]
    opened = bool(users) and any(message.role == "assistant" for message in messages[: recent[0]])
    for place, index in enumerate(recent):
        if not opened and place:
            opened = any(message.role == "assistant" for message in messages[recent[place - 1] : index])
        if _is_ask(messages[index], opened=opened):
            asks.append(index)
    turns = len(asks) + len(users) - len(recent)
    if not asks:
        if not users:
            return _Ask("", 0, "", 0, -1, last=False)
        text = messages[users[0]].text.strip()
        asks = [users[0]]
        turns = max(turns, 1)
    else:
        text = _without_harness(messages[asks[-1]].text).strip()
    current = asks[-1]
    first = text
    if users[0] != current:
        first = _without_harness(messages[users[0]].text).strip()
    last = not any(message.role in ("assistant", "tool") for message in messages[current + 1 :][:_WINDOW])
    turn = current
    if current and messages[current - 1].role == "tool":
        # A word thrown in between a result and the model's answer to it does not end the tool loop.
        turn = asks[-2] if len(asks) > 1 else users[0] if users[0] != current else -1
    return _Ask(_cap(text, _ASK_HEAD, _ASK_TAIL), len(text), _cap(first, 300, 100), turns, turn, last)


def _cap(text: str, head: int, tail: int) -> str:
    return text if len(text) <= head + tail else text[:head] + text[-tail:]


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
    call_chars: int
    reasoning: bool
    answered: bool
    """Whether results stand at the end, waiting for the model."""


def _look_back(messages: Sequence[Message], turn: int) -> _Loop:
    """The calls and results of this turn, the latest first."""
    batches: list[list[ToolResult | str]] = []
    calls: list[tuple[str, str]] = []
    groups: list[int] = []
    batch: list[ToolResult | str] = []
    reasoning = False
    answered = False
    seen_assistant = False
    for index in range(len(messages) - 1, max(turn, len(messages) - 1 - _WINDOW), -1):
        message = messages[index]
        role = message.role
        if role == "tool":
            batch += message.tool_results[::-1]
        elif role == "user":
            text = message.text
            if _RESULT_START.match(text):
                batch.append(text)
        elif role == "assistant":
            if batch:
                batches.append(batch[::-1])
                answered = answered or not seen_assistant
                batch = []
            seen_assistant = True
            made = 0
            for part in message.parts[::-1]:
                kind = type(part)
                if kind is ToolCall:
                    calls.append((part.name, part.arguments))  # type: ignore[union-attr]
                    made += 1
                elif kind is Reasoning and (part.signature is not None or part.redacted):  # type: ignore[union-attr]
                    reasoning = True
            if made:
                groups.append(made)
    if batch:
        batches.append(batch[::-1])
        answered = answered or not seen_assistant
    actions = [_action(name, arguments) for name, arguments in calls]
    judged: list[tuple[Evidence, ...]] = []
    left = _JUDGED
    for results in batches[:_BATCHES]:
        taken = results[-left:] if left < len(results) else results
        judged.append(tuple(judge(each) if type(each) is ToolResult else judge_text(str(each)) for each in taken))
        left -= len(taken)
        if left <= 0:
            break
    failed = [any(each.failed for each in one) for one in judged]
    streak = failed.index(False) if False in failed else len(failed)
    repeats, spinning = _repeats(calls, actions, groups[0] if groups else 0)
    return _Loop(
        n_results=len(batches[0]) if batches else 0,
        evidence=judged[0] if judged else (),
        streak=streak,
        failures=sum(each.failed for one in judged for each in one),
        recovered=len(failed) > 1 and failed[1] and not failed[0],
        repeats=repeats,
        spinning=spinning,
        actions=actions,
        call_chars=sum(len(arguments) for _, arguments in calls[: groups[0]]) if groups else 0,
        reasoning=reasoning,
        answered=answered,
    )


def _repeats(calls: list[tuple[str, str]], actions: list[Action], latest: int) -> tuple[int, bool]:
    """How often the latest calls were made before with nothing changed in between, and whether the loop goes in circles."""
    if not latest:
        return 0, False
    unchanged = len(calls)
    for place in range(latest, len(calls)):
        if actions[place] in _CHANGES:
            unchanged = place
            break
    earlier = calls[latest:unchanged]
    repeats = min(earlier.count(call) for call in calls[:latest])
    recent = calls[: min(unchanged, 8)]
    return repeats, repeats >= 2 or (len(recent) >= 6 and len(set(recent)) * 2 <= len(recent))


_CHANGES: frozenset[Action] = frozenset(("edit", "write", "message", "delegate"))

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_a-zA-Z]+")
_VERBS: dict[str, Action] = {
    **dict.fromkeys(("read", "view", "cat", "open", "get", "fetch", "show", "describe", "retrieve", "load", "check", "inspect",
                     "download", "visit", "browse", "navigate", "screenshot", "snapshot", "look", "status"), "read"),
    **dict.fromkeys(("search", "grep", "find", "glob", "list", "ls", "query", "lookup", "rg", "scan", "explore", "websearch"),
                    "search"),
    **dict.fromkeys(("edit", "replace", "patch", "str", "insert", "multiedit", "applypatch", "rewrite"), "edit"),
    **dict.fromkeys(("write", "create", "update", "delete", "remove", "add", "set", "modify", "cancel", "book", "buy", "pay",
                     "make", "save", "store", "upload", "move", "rename", "copy", "toggle", "enable", "disable", "reset",
                     "submit", "schedule", "post", "put", "exchange", "return", "refund", "grant", "reboot", "resume",
                     "suspend", "click", "type", "fill", "press", "todo", "commit", "push", "merge", "install", "deploy"),
                    "write"),
    **dict.fromkeys(("test", "pytest", "verify", "validate", "lint"), "test"),
    **dict.fromkeys(("run", "exec", "execute", "bash", "shell", "terminal", "command", "python", "calculate", "compute",
                     "eval", "process", "ipython", "code", "sql", "repl", "notebook"), "run"),
    **dict.fromkeys(("send", "message", "reply", "respond", "ask", "email", "notify", "final", "finish", "complete", "attempt",
                     "done", "answer"), "message"),
    **dict.fromkeys(("transfer", "handoff", "delegate", "agent", "subagent", "task", "assign", "spawn", "dispatch", "forward"),
                    "delegate"),
}  # fmt: skip
"""What the first telling word of a tool's name says it does. Names are identifiers: English in practice, in any language."""

_SHELLS = frozenset(("bash", "shell", "terminal", "exec", "execute", "command", "run", "process", "sh"))


@lru_cache(maxsize=2048)
def _named(name: str) -> tuple[Action, bool]:
    """What a tool does by its name, and whether it runs commands that have to be read."""
    words = [word.lower() for word in _WORD.findall(name.rsplit("__", 1)[-1].rsplit(".", 1)[-1])[:8]]
    if "transfer" in words[:1] or ("hand" in words and "off" in words):
        return "delegate", False
    for word in words:
        action = _VERBS.get(word)
        if action is not None:
            return action, action == "run" and any(each in _SHELLS for each in words)
    return "other", False


_COMMAND = re.compile(
    r"(?P<test>\b(?:pytest|py\.test|unittest|nosetests|tox|nox|jest|vitest|mocha|rspec|phpunit|ctest|runtests\.py|bin/test"
    r"|(?:npm|yarn|pnpm|bun|deno|go|cargo|make|swift|dotnet|mvn|mix|zig|rake|manage\.py)(?: -?[\w:=-]+)? test"
    r"|gradlew? \S*test|make check|cargo nextest|ruff|mypy|eslint|tsc|flake8)\b)"
    r"|(?P<edit>\bsed (?:-[a-zA-Z]+ )*-i|apply_patch|\*\*\* Begin Patch|\bpatch -p|\bgit apply\b|\bperl -[a-z]*i|write_text\("
    r"|open\([^()]{1,80}, ?\\?['\"][wa]|(?<![0-9&>])>{1,2} ?(?!/dev/null|&|[0-9])[\w./~$-]+\.\w+ ?<<|<<[^\n]{0,20}> ?[\w./~-]+|\btee )"
    r"|(?P<write>\b(?:git (?:commit|push|merge|checkout|reset|stash|add)|rm|mv|cp|mkdir|touch|chmod|ln"
    r"|(?:pip3?|npm|apt(?:-get)?|yarn|brew|cargo|uv|conda)(?: pip)? (?:install|add|i)) |(?<![0-9&>=-])> ?(?!/dev/null|&|[0-9=])[\w./~$-]*\w)"
    r"|(?P<run>\b(?:python3?|node|ruby|perl|java|bash|sh|go run|cargo run|make|docker|npm|npx|curl|wget|uv|\./\S+) )"
    r"|(?P<search>\b(?:grep|rg|ag|ack|find|fd|ls|tree|locate|which)\b)"
    r"|(?P<read>\b(?:cat|sed|head|tail|less|more|nl|wc|file|stat|git|diff|awk|jq|cut|pwd|echo|env|date)\b)"
)
_RANK: dict[str, Action] = {"test": "test", "edit": "edit", "write": "write", "run": "run", "search": "search", "read": "read"}


def _action(name: str, arguments: str) -> Action:
    """What a call does: by the name of the tool, and for a shell by its command."""
    action, shell = _named(name)
    if shell:
        found = {match.lastgroup for match in _COMMAND.finditer(arguments, 0, 400)}
        for key, value in _RANK.items():
            if key in found:
                return value
        return "run"
    if name == "str_replace_editor" or name == "str_replace_based_edit_tool" or name == "text_editor":
        return "read" if '"view"' in arguments[:80] else "edit"
    return action


# ---- the text of the ask ---------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Shape:
    tokens: int
    script: Script
    code: float
    maths: float
    numbers: int
    sentences: int
    questions: int
    intents: int


_BLOCKS: tuple[tuple[Script, tuple[tuple[int, int], ...], float], ...] = (
    ("latin", ((0x00, 0x02), (0x1E, 0x1E)), 0.25),
    ("greek", ((0x03, 0x03), (0x1F, 0x1F)), 0.25),
    ("cyrillic", ((0x04, 0x04),), 0.25),
    ("hebrew", ((0x05, 0x05),), 0.3),
    ("arabic", ((0x06, 0x08), (0xFB, 0xFD)), 0.3),
    ("indic", ((0x09, 0x0D),), 0.25),
    ("thai", ((0x0E, 0x0E),), 0.25),
    ("hangul", ((0x11, 0x11), (0xAC, 0xD7)), 0.5),
    ("kana", ((0x30, 0x31),), 0.5),
    ("han", ((0x34, 0x9F), (0xF9, 0xFA)), 0.75),
    ("other", ((0x0F, 0x10), (0x12, 0x1D), (0x20, 0x2F), (0x32, 0x33), (0xA0, 0xAB), (0xD8, 0xF8), (0xFE, 0xFF)), 0.25),
)
"""Blocks of Unicode by the high byte of UTF-16, and how many words' pieces one character is worth: chosen so that the same
sentences in thirteen languages come out within a third of each other (tests/routing/test_step.py)."""

_SCRIPTS: tuple[Script, ...] = tuple(block[0] for block in _BLOCKS)
_WEIGHTS = tuple(block[2] for block in _BLOCKS)
_BLOCK_OF = bytes(
    next(place for place, (_, ranges, _) in enumerate(_BLOCKS) if any(low <= high <= top for low, top in ranges))
    for high in range(256)
)
_NO_LETTERS = bytes(byte for byte in range(128) if not chr(byte).isalpha())
_CODE_SIGNS = b"{}[]();=<>_\\|&#$@^~`*+"
_QUESTION = re.compile(r"[?？؟;](?=[\s\"'”’)\]」』*]|$)|[？？؟]")
_ITEM = re.compile(r"^[ \t]*(?:[-*•·‣–]|\(?\d{1,2}[.)、．]|[a-zA-Z][.)])[ \t　]*\S", re.MULTILINE)
_SENTENCE = re.compile(r"[.!?](?=\s|$)|[。！？।؟…]|\n+(?=\S)")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_MATHS = re.compile(
    r"\\(?:frac|sqrt|sum|int|lim|log|sin|cos|tan|cdot|times|leq?|geq?|alpha|beta|theta|pi|mathbb?|begin|text|vec)\b"
    r"|\$[^$\n]{1,80}\$|[\d)a-zA-Z] ?[\^×÷·√∑∫∏≤≥≠≈] ?[\d(a-zA-Z]|[√∑∫∏∂∞≤≥≠]|(?<![\w.\-/:])\d+(?:\.\d+)? ?[-+*/=] ?\(?\d+(?![\w\-/:])"
)
_CODE = re.compile(
    r"```|^\s*(?:def|class|import|from|func|fn|public|private|const|let|var|return|if|for|while|#include|SELECT|CREATE)\b.*[:;({]\s*$"
    r"|^.*[;{}]\s*$|^(?:diff --git|@@|\+\+\+|---) |Traceback \(most recent|^\s*(?:>>>|\$) \S",
    re.MULTILINE,
)


def _shape(text: str) -> _Shape:
    """Statistics of the ask that mean the same in every language."""
    if not text:
        return _Shape(0, "none", 0.0, 0.0, 0, 0, 0, 0)
    if text.isascii():
        plain = text.encode("ascii")
        letters = len(plain.translate(None, _NO_LETTERS))
        tokens = len(text) * 0.25
        script: Script = "latin" if letters else "none"
    else:
        plain = text.encode("ascii", "ignore")
        blocks = text.encode("utf-16-be", "surrogatepass")[::2].translate(_BLOCK_OF)
        counts = [blocks.count(place) for place in range(len(_BLOCKS))]
        marks = text.count("。") + text.count("、") + text.count("「") + text.count("」") + text.count("《") + text.count("》")
        counts[8] -= min(marks, counts[8])
        tokens = sum(count * weight for count, weight in zip(counts, _WEIGHTS, strict=True)) + marks * 0.25
        counts[0] -= len(plain) - len(plain.translate(None, _NO_LETTERS))
        worth = [count * weight for count, weight in zip(counts, _WEIGHTS, strict=True)]
        worth[10] = 0.0
        if worth[8] * 6 > worth[9] and worth[8]:
            worth[8] += worth[9]
        best = max(worth)
        script = _SCRIPTS[worth.index(best)] if best > 0 else "none"
    size = max(tokens * 4, 1.0)
    signs = len(plain) - len(plain.translate(None, _CODE_SIGNS))
    marks_of_code = len(_CODE.findall(text)) if signs else 0
    code = min(1.0, max(0.0, signs / size - 0.015) * 10 + marks_of_code * 25 / size)
    maths = min(1.0, len(_MATHS.findall(text)) * 20 / size)
    questions = len(_QUESTION.findall(text))
    items = len(_ITEM.findall(text))
    sentences = len(_SENTENCE.findall(text)) + (text[-1] not in ".!?。！？।؟…")
    return _Shape(
        tokens=max(1, round(tokens)),
        script=script,
        code=round(code, 4),
        maths=round(maths, 4),
        numbers=len(_NUMBER.findall(text)),
        sentences=max(1, sentences),
        questions=questions,
        intents=max(1, questions, items),
    )


_LATIN_WORD = re.compile(r"[a-z]{3,}")
_COMMON = frozenset(
    "the and for you your with that this from are was can could would should have has will not but all any what which who how"
    " when where why please its our their them then than into about there some get use".split()
)
"""Common English words: they overlap with every tool, and an ask of some length without any of them is not English."""


def _overlap(text: str, tools: Sequence[Tool]) -> float | None:
    if not tools:
        return None
    found = set(_LATIN_WORD.findall(text.lower()))
    words = found - _COMMON
    if not words or (len(words) >= 8 and len(words) == len(found)):
        return None
    known: set[str] = set()
    for tool in tools[:64]:
        known |= _tool_words(tool.name, tool.description[:200])
    return round(len(words & known) / len(words), 4)


@lru_cache(maxsize=4096)
def _tool_words(name: str, description: str) -> frozenset[str]:
    named = {word.lower() for word in _WORD.findall(name)}
    return frozenset(named | set(_LATIN_WORD.findall(description.lower()))) - _COMMON


# ---- the kind --------------------------------------------------------------------------------------------------------

_SUMMARISE = re.compile(
    r"\b(?:summar(?:y|i[sz]e|i[sz]ing)|compact(?:ion)?|condense|handoff)\b.{0,120}?\b(?:conversation|session|chat|dialogue|history|context window|messages above)\b"
    r"|\b(?:conversation|session|chat history|context)\b.{0,80}?\b(?:summary|summari[sz]ed?|compact(?:ion|ed)?|condensed?)\b",
    re.IGNORECASE | re.DOTALL,
)
_SUPERVISORS = frozenset(("supervisor", "orchestrator", "manager", "coordinator", "dispatcher", "router", "triage"))


def _kind(request: ChatRequest, context: StepContext, ask: _Ask, loop: _Loop, *, used_tools: bool) -> StepKind:
    """The first that holds, in the order of docs/steps.md."""
    tools = request.tools
    mode = request.tool_choice.mode if request.tool_choice is not None else "auto"
    if ask.last and len(request.messages) > 3 and _SUMMARISE.search(ask.text, 0, 400):
        return StepKind.SUMMARISE
    if request.response_schema is not None and (not tools or mode == "none"):
        return StepKind.STRUCTURED
    if (mode == "tool" or (mode == "required" and len(tools) == 1)) and not loop.actions:
        return StepKind.STRUCTURED
    if mode == "none" and (tools or used_tools):
        return StepKind.FORCED_FINAL
    if not tools and loop.answered and request.messages[-1].role != "tool" and ask.last:
        return StepKind.FORCED_FINAL
    if (tools and all(_named(tool.name)[0] == "delegate" for tool in tools[:32])) or any(
        name is not None and name.lower() in _SUPERVISORS for name in (context.role, context.agent, context.node)
    ):
        return StepKind.DELEGATE
    if ask.last or not loop.answered:
        return StepKind.FIRST_ASK
    if any(each.failed for each in loop.evidence):
        return StepKind.AFTER_ERROR
    return StepKind.REPEATED_CALL if loop.repeats else StepKind.AFTER_RESULT
