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
    results, the counts of actions on 12 calls. `tool_overlap` is the share of the ask's words that name or describe a
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
            tool_overlap=_overlap(shape.plain, request.tools) if shape.script == "latin" else None,
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
                chars += len(part.name) + len(part.arguments)  # type: ignore[union-attr, arg-type]
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
    if current and messages[current - 1].role == "tool" and _answers_model(messages, current - 1):
        # A word thrown in between a result and the model's answer to it does not end the tool loop.
        turn = asks[-2] if len(asks) > 1 else users[0] if users[0] != current else -1
    return _Ask(_cap(text, _ASK_HEAD, _ASK_TAIL), len(text), _cap(first, 300, 100), turns, turn, last)


def _answers_model(messages: Sequence[Message], index: int) -> bool:
    """Whether the results that end at `index` answer the model (a simulated user may have tools of its own)."""
    while index > 0 and messages[index].role == "tool":
        index -= 1
    return messages[index].role == "assistant" and any(type(part) is ToolCall for part in messages[index].parts)


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
                    calls.append((part.name, part.arguments))  # type: ignore[union-attr, arg-type]
                    made += 1
                elif kind is Reasoning and (part.signature is not None or part.redacted):  # type: ignore[union-attr]
                    reasoning = True
            if made:
                groups.append(made)
    if batch:
        batches.append(batch[::-1])
        answered = answered or not seen_assistant
    actions = [_action(name, arguments) for name, arguments in calls[:_CALLS]]
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
        call_chars=sum(len(arguments) for _, arguments in calls[: groups[0]]) if groups else 0,
        reasoning=reasoning,
        answered=answered,
    )


def _repeats(calls: list[tuple[str, str]], latest: int) -> tuple[int, bool]:
    """How often the latest calls were made before with nothing changed in between; whether the loop goes in circles."""
    if not latest or len(calls) <= latest:
        return 0, False
    earlier = calls[latest:]
    if all(call in earlier for call in calls[:latest]):
        for place, (name, arguments) in enumerate(earlier):
            if _action(name, arguments) in _CHANGES:
                earlier = earlier[:place]
                break
        repeats = min(earlier.count(call) for call in calls[:latest])
    else:
        repeats = 0
    recent = calls[:8]
    circling = len(recent) >= 6 and len(set(recent)) * 2 <= len(recent)
    if circling:
        circling = not any(_action(name, arguments) in _CHANGES for name, arguments in recent)
    return repeats, circling or repeats >= 2


_CHANGES: frozenset[Action] = frozenset(("edit", "write", "message", "delegate"))

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_a-zA-Z]+")


def _by_word(table: dict[Action, str]) -> dict[str, Action]:
    return {word: action for action, words in table.items() for word in words.split()}


_VERBS: dict[str, Action] = _by_word(
    {
        "read": "read view cat open get fetch show describe retrieve load check inspect download visit browse navigate"
        " screenshot snapshot look status",
        "search": "search grep find glob list ls query lookup rg scan explore websearch",
        "edit": "edit replace patch str insert multiedit applypatch rewrite",
        "write": "write create update delete remove add set modify cancel book buy pay make save store upload move"
        " rename copy toggle enable disable reset submit schedule post put exchange return refund grant reboot resume suspend"
        " click type fill press todo commit push merge install deploy",
        "test": "test pytest verify validate lint",
        "run": "run exec execute bash shell terminal command python calculate compute eval process ipython code sql"
        " repl notebook",
        "message": "send message reply respond ask email notify final finish complete attempt done answer",
        "delegate": "transfer handoff delegate agent subagent task assign spawn dispatch forward",
    }
)
"""What the first telling word of a tool's name says it does. Names are identifiers, in practice English everywhere."""

_SHELLS = frozenset(("bash", "shell", "terminal", "exec", "execute", "command", "run", "process", "sh"))
_EDITORS = frozenset(("str_replace_editor", "str_replace_based_edit_tool", "text_editor", "edit_file"))


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


_PROGRAMS: dict[str, Action] = _by_word(
    {
        "read": "cat sed head tail less more nl wc file stat diff awk jq cut pwd echo printf date git",
        "search": "grep egrep rg ag ack find fd ls tree locate which whereis",
        "write": "rm mv cp mkdir touch chmod ln kill apt apt-get brew",
        "edit": "tee patch apply_patch ed",
        "test": "pytest py.test tox nox jest vitest mocha rspec phpunit ctest mypy ruff eslint tsc flake8",
        "run": "python python3 node ruby perl java bash sh go cargo make docker npm npx yarn pnpm bun pip pip3 uv curl"
        " wget mvn",
    }
)
_PREFIXES = frozenset(("sudo", "time", "env", "then", "do", "timeout", "nohup"))
_TESTERS = frozenset(("test", "pytest", "unittest", "check", "nextest", "vet"))
_CHANGERS = frozenset(
    ("commit", "push", "merge", "checkout", "reset", "stash", "add", "rebase", "pull", "install", "clone")
)
_RANK: dict[Action, int] = {"read": 0, "search": 1, "run": 2, "write": 3, "edit": 4, "test": 5}
_REDIRECT = re.compile(r"(?<![0-9&>=<-])>{1,2} ?(?!/dev/null|[&=])[\w./~$]")
_FILE_WRITES = ("write_text(", "writeFile", "*** Begin Patch", '", "w', "', 'w", ", 'a')")


def _action(name: str, arguments: str) -> Action:
    """What a call does: by the name of the tool, and for a shell by its command."""
    action, shell = _named(name)
    if shell:
        return _commanded(arguments)
    if name in _EDITORS:
        return "read" if '"view"' in arguments[:80] else "edit"
    return action


def _commanded(arguments: str) -> Action:
    """The weightiest thing a command line does (a test above an edit above a write, a run, a search, a read)."""
    text = arguments if len(arguments) <= 500 else arguments[:300] + arguments[-200:]
    line = text[text.find(":") + 1 :].replace('"', " ").replace("$(", " ")
    document = line.find("<<")
    if document >= 0:
        # What stands in a here-document is no command.
        line = line[: line.find("\\n", document) + 1 or len(line)]
    best: Action = "run"
    rank = -1
    for part in line.replace("&&", ";").replace("|", ";").replace("\\n", ";").split(";", 10):
        words = part.split(None, 5)
        while words and ("=" in words[0] or words[0] in _PREFIXES):
            del words[0]
        if not words:
            continue
        program = words[0]
        action = _PROGRAMS.get(program) or _PROGRAMS.get(program.rsplit("/", 1)[-1])
        if action is None:
            if "test" in program:
                action = "test"
            elif program[:2] == "./":
                action = "run"
            else:
                continue
        elif action == "run":
            if "test" in part or not _TESTERS.isdisjoint(words):
                action = "test"
            elif not _CHANGERS.isdisjoint(words):
                action = "write"
        elif program == "git":
            if not _CHANGERS.isdisjoint(words[1:3]):
                action = "write"
        elif program == "sed" and " -i" in part:
            action = "edit"
        if _RANK[action] > rank:
            best, rank = action, _RANK[action]
    if rank < 4 and (document >= 0 or rank == 2) and any(sign in text for sign in _FILE_WRITES):
        return "edit"
    if rank < 3 and ">" in line and _REDIRECT.search(line):
        return "edit" if document >= 0 else "write"
    return best


# ---- the text of the ask ---------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Shape:
    plain: bytes
    """The text in ASCII, a question mark for each other character."""
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
"""Blocks of Unicode by the high byte of UTF-16, and how many tokens of English one character is worth: chosen so that the
same asks in a dozen languages come out near each other (tests/routing/test_step.py)."""

_SCRIPTS: tuple[Script, ...] = tuple(block[0] for block in _BLOCKS)
_WEIGHTS = tuple(block[2] for block in _BLOCKS)
_BLOCK_OF = bytes(
    next(place for place, (_, ranges, _) in enumerate(_BLOCKS) if any(low <= high <= top for low, top in ranges))
    for high in range(256)
)
_NO_LETTERS = bytes(byte for byte in range(256) if not (65 <= byte <= 90 or 97 <= byte <= 122))
_CODE_SIGNS = b"{}[]();=<>_\\|&#$@^~`*+"
_DIGITS = bytes(byte if 48 <= byte <= 57 else 32 for byte in range(256))
_SUMS = bytes(48 if 48 <= byte <= 57 else 43 if byte in b"+-*/=^" else byte for byte in range(256))
_LETTERS = bytes(byte if 97 <= byte <= 122 else byte + 32 if 65 <= byte <= 90 else 32 for byte in range(256))
_CODE_STARTS = (
    *(
        "def ",
        "class ",
        "import ",
        "from ",
        "func ",
        "fn ",
        "public ",
        "private ",
        "const ",
        "let ",
        "var ",
        "return ",
        "for ",
    ),
    *(
        "if (",
        "if __",
        "#include",
        "SELECT ",
        "CREATE ",
        "diff --git",
        "@@ ",
        "+++ ",
        "--- ",
        ">>> ",
        "$ ",
        "Traceback (most",
    ),
    *("async ", "package ", "using ", "<?", "<div", "<html", "//", "/*", "@"),
)
_CODE_ENDS = (";", "{", "}", "):", "];", ",)", "=>", "\\")
_BULLETS = ("- ", "* ", "• ", "· ", "– ", "‣ ", "-\t", "*\t", "•")
_LINES = 64
"""Lines of the ask that are looked at one by one."""


def _shape(text: str) -> _Shape:
    """Statistics of the ask that mean the same in every language, of at most 2,000 characters."""
    if not text:
        return _Shape(b"", 0, "none", 0.0, 0.0, 0, 0, 0, 0)
    ascii_only = text.isascii()
    plain = text.encode("ascii", "replace")
    letters = len(plain.translate(None, _NO_LETTERS))
    questions = text.count("? ") + text.count("?\n") + text.count('?"') + (text[-1] == "?")
    stops = text.count(". ") + text.count(".\n") + text.count("! ") + text.count("!\n") + questions
    signs_of_maths = 0
    script: Script = "latin" if letters else "none"
    if ascii_only:
        worth = len(text) * 0.25
    else:
        wide = text.encode("utf-16-be", "surrogatepass")[::2]
        blocks = wide.translate(_BLOCK_OF)
        marks = text.count("。") + text.count("、") + text.count("「") + text.count("」")
        counts = [blocks.count(place) for place in range(len(_BLOCKS))]
        counts[_KANA] -= min(marks, counts[_KANA])
        parts = [count * weight for count, weight in zip(counts, _WEIGHTS, strict=True)]
        worth = sum(parts) + marks * 0.25
        script = _dominant(parts, letters, len(text) - plain.count(b"?") - letters)
        wider = text.count("？") + text.count("؟")
        questions += wider
        stops += wider + text.count("。") + text.count("！") + text.count("।") + text.count("؟ ")
        signs_of_maths = wide.count(0x22) + text.count("×") + text.count("÷")
    items = codes = ended = 0
    if "\n" in text:
        for line in text.splitlines()[:_LINES]:
            bare = line.strip()
            if not bare:
                continue
            ended += bare[-1] not in ".!?。！？।؟,;:"
            if bare.startswith(_BULLETS) or (bare[0].isdigit() and bare[:4].lstrip("0123456789")[:1] in _NUMBERING):
                items += 1
            elif bare.startswith(_CODE_STARTS) or bare.endswith(_CODE_ENDS):
                codes += 1
    size = max(worth * 4, 1.0)
    signs = len(plain) - len(plain.translate(None, _CODE_SIGNS))
    fences = text.count("```")
    code = max(0.0, signs / size - 0.02) * 6 + (codes * 25 + fences * 40) / size
    sums = plain.translate(_SUMS)
    signs_of_maths += (
        sums.count(b"0 + 0") + sums.count(b"0+ 0") + plain.count(b"^") + sums.count(b"0+0") - _dates(plain)
    )
    if "$" in text or "\\(" in text or "\\[" in text or "\\frac" in text:
        signs_of_maths += text.count("\\")
    return _Shape(
        plain=plain,
        tokens=max(1, round(worth)),
        script=script,
        code=round(min(1.0, code), 4),
        maths=round(min(1.0, max(0, signs_of_maths) * 20 / size), 4),
        numbers=len(plain.translate(_DIGITS, b".,").split()),
        sentences=max(1, stops + ended + (text[-1] in ".!")),
        questions=questions,
        intents=max(1, questions, items),
    )


_KANA, _HAN, _OTHER = _SCRIPTS.index("kana"), _SCRIPTS.index("han"), _SCRIPTS.index("other")
_NUMBERING = (".", ")", "、", "．", "）")


def _dates(plain: bytes) -> int:
    """How many of the unspaced sums are dates, ranges, paths or versions: those with a dash or slash."""
    dashed = plain.translate(_DASHED)
    return dashed.count(b"0-0")


_DASHED = bytes(48 if 48 <= byte <= 57 else 45 if byte in b"-/" else byte for byte in range(256))


def _dominant(parts: list[float], letters: int, other_ascii: int) -> Script:
    """The script that carries the most of the text; ASCII signs and blanks count for none."""
    parts = list(parts)
    parts[0] = max(0.0, parts[0] - other_ascii * _WEIGHTS[0])
    parts[_OTHER] = 0.0
    if parts[_KANA] * 6 > parts[_HAN]:
        # Japanese mixes both; Chinese has no kana.
        parts[_KANA] += parts[_HAN]
    best = max(parts)
    return _SCRIPTS[parts.index(best)] if best > 0 else "latin" if letters else "none"


_COMMON = frozenset(
    b"the and for you your with that this from are was can could would should have has will not but all any what which"
    b" who how when where why please its our their them then than into about there some get use".split()
)
"""Common English words: they overlap with every tool, and an ask of some length without any of them is not English."""


def _overlap(plain: bytes, tools: Sequence[Tool]) -> float | None:
    if not tools:
        return None
    found = set(plain.translate(_LETTERS).split())
    words = {word for word in found if len(word) > 2} - _COMMON
    if not words or (len(words) >= 8 and found.isdisjoint(_COMMON)):
        return None
    known: set[bytes] = set()
    for tool in tools[:64]:
        known |= _tool_words(tool.name, tool.description[:200])
    return round(len(words & known) / len(words), 4)


@lru_cache(maxsize=4096)
def _tool_words(name: str, description: str) -> frozenset[bytes]:
    text = " ".join(_WORD.findall(name)) + " " + description
    words = text.encode("ascii", "replace").translate(_LETTERS).split()
    return frozenset(word for word in words if len(word) > 2) - _COMMON


# ---- the kind --------------------------------------------------------------------------------------------------------

_SUMMARISE = re.compile(
    r"\b(?:summar(?:y|i[sz]e|i[sz]ing)|compact(?:ion)?|condense|handoff)\b.{0,120}?"
    r"\b(?:conversation|session|chat|dialogue|history|context window|messages above)\b"
    r"|\b(?:conversation|session|chat history|context)\b.{0,80}?"
    r"\b(?:summary|summari[sz]ed?|compact(?:ion|ed)?|condensed?)\b",
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
