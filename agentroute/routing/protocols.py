"""Reads tool calls and results that stand as text: fenced commands, XML tags, ReAct, JSON actions.

A conversation without native calls is recognised by its shape: the model ends in one command, the user side answers.
A written tag or `Action:` is a call by itself; a fenced block is one only where the answers look printed, since people
are shown fenced commands too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from agentroute.messages import Message

from .actions import PROGRAMS, named
from .evidence import judge_text
from .frames import RESULT_START, output

__all__ = ["Spoken", "declares", "spoken"]

_WINDOW = 96
"""Messages that are looked at, the latest."""

_TAIL = 4_000
"""Characters of a model's text in which its call is looked for."""


class Spoken(NamedTuple):
    """What stands as text in one message: the calls a model wrote, the results that came back.

    `ask_chars` is where the ask ends in a message that holds ask, calls and results in one (ReAct's scratchpad).
    """

    calls: tuple[tuple[str, str], ...] = ()
    results: tuple[str, ...] = ()
    ask_chars: int | None = None


def spoken(messages: Sequence[Message], window: int = _WINDOW) -> Mapping[int, Spoken]:
    """Calls and results of a conversation without native ones, by the place of their message; of the latest `window`
    messages."""
    found: dict[int, Spoken] = {}
    fenced: list[tuple[int, tuple[str, str]]] = []
    printed = framed = 0
    first = max(0, len(messages) - window)
    for index in range(first, len(messages)):
        message = messages[index]
        if message.role == "assistant":
            calls, results, fence = _written(message.text)
            if calls:
                found[index] = Spoken(calls, results)
            answered = index + 1 < len(messages) and messages[index + 1].role == "user"
            if not answered:
                continue
            reply = messages[index + 1].text
            if calls:
                if not results and _returns(calls) and not _SAYS.search(reply, 0, _TAIL):
                    found[index + 1] = Spoken(results=(reply,))
            elif fence is not None and (not fence[2] or _is_framed(reply)):
                fenced.append((index, (fence[0], fence[1])))
                if _is_framed(reply):
                    framed += 1
                elif _looks_printed(reply):
                    printed += 1
        elif message.role == "user" and index == len(messages) - 1:
            scratch = _scratchpad(message.text)
            if scratch is not None:
                found[index] = scratch
    if framed or (len(fenced) > 1 and printed == len(fenced)):
        for index, call in fenced:
            found[index] = Spoken((call,))
            reply = messages[index + 1].text
            if not _SAYS.search(reply, 0, _TAIL):
                found[index + 1] = Spoken(results=(reply,))
    return found


_SAYS = re.compile(r"<(?:feedback|user_message|user_query|task|answer)>")
"""Tags around what a person says in an answer of a harness."""


def _returns(calls: tuple[tuple[str, str], ...]) -> bool:
    """Whether the calls bring results back: a question to the user or a last word does not."""
    return any(named(name)[0] != "message" for name, _ in calls)


def _is_framed(text: str) -> bool:
    if RESULT_START.match(text) is not None:
        return True
    bare = output(text, 1)
    return bare.start > 0 or text[bare.end :].rstrip()[-1:] in ("$", "#", "%", ">", ")", "]")


def _looks_printed(text: str) -> bool:
    return (text.count("\n", 0, _TAIL) > 1 and text.rstrip()[-1:] not in "?!") or judge_text(text).failed


# ---- what a model wrote ----------------------------------------------------------------------------------------------

_ACTION = re.compile(
    r"(?:^|\n)[ \t*]*Action(?: \d+)?:[ \t*]*(?:(\w{1,60})\[([^\n]{0,2000})\]"
    r"|([^\n]{1,120}?)[ \t*]*\n+[ \t*]*Action[ _]?Input(?: \d+)?:[ \t*]*)"
)
_OBSERVATION = re.compile(r"\n[ \t*]*Observation(?: \d+)?:[ \t*]*")
_CLOSING = re.compile(r"</([\w.:-]{2,60})>\s*$")
_NAMED = re.compile(r"(?:function=|\bname=\"|\"name\"\s*:\s*\"|<(?:tool_)?name>\s*)([\w.:/-]{1,80})")
_WRAPPERS = frozenset(
    ("function", "invoke", "tool_call", "tool_use", "function_call", "function_calls", "tool_calls", "use_mcp_tool")
)
_MARKS = re.compile(r"</?[a-z][\w=:. \"-]{0,60}>")
_PLAIN = frozenset(("bash", "shell", "python", "terminal", "execute", "run", "search", "read", "edit", "write"))
_COMMAND = re.compile(r"\s*<(?:command|cmd|code|script)>(.*?)</", re.DOTALL)
_SHELLS = frozenset(("", "bash", "sh", "shell", "zsh", "console", "terminal", "powershell", "cmd"))
_PYTHONS = frozenset(("python", "py", "python3", "ipython"))
_TOOL_KEYS = ("action", "tool", "tool_name", "name", "function")
_INPUT_KEYS = ("action_input", "args", "arguments", "input", "parameters", "tool_input", "kwargs")

_Written = tuple[tuple[tuple[str, str], ...], tuple[str, ...], tuple[str, str, bool] | None]


def _written(text: str) -> _Written:
    """The calls that certainly stand in a model's text, results that were put behind them, and a fenced command.

    The last says whether other text stands behind the fence.
    """
    bare = text[-_TAIL:].rstrip()
    last = bare[-1:]
    if "Action" in bare and (match := _last(_ACTION, bare)) is not None:
        name, given = (match[1], match[2]) if match[1] else (match[3], bare[match.end() :])
        after = _OBSERVATION.search(bare, match.end())
        results: tuple[str, ...] = ()
        if after is not None:
            given = match[2] if match[1] else bare[match.end() : after.start()]
            seen = bare[after.end() :].partition("\nThought:")[0].strip()
            results = (seen,) if seen else ()
        if name.strip().lower() not in ("none", "n/a", "final answer"):
            return ((name.strip(), given.strip()),), results, None
    if last == ">" and (call := _tagged(bare)) is not None:
        return (call,), (), None
    if last == "}" and (call := _as_json(bare[bare.find("{") :])) is not None:
        return (call,), (), None
    if "```" in bare:
        closing = bare.rfind("```")
        opening = bare.rfind("```", 0, closing)
        if opening >= 0:
            language, _, body = bare[opening + 3 : closing].partition("\n")
            if (call := _as_json(body.strip())) is not None:
                return (call,), (), None
            fence = _command(language.strip().lower(), body.strip())
            if fence is not None:
                return (), (), (*fence, closing + 3 < len(bare))
    return (), (), None


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    match = None
    for match in pattern.finditer(text):  # noqa: B007 - the last one is wanted
        pass
    return match


def _tagged(text: str) -> tuple[str, str] | None:
    """The call in the XML tag that a text ends with."""
    closing = _CLOSING.search(text)
    if closing is None:
        return None
    name = closing[1]
    opening = text.rfind(f"<{name}", 0, closing.start())
    if opening < 0:
        return None
    block = text[opening : closing.start()]
    if name in _WRAPPERS:
        inner = block.partition(">")[2].strip()
        if inner[:1] == "{":
            return _as_json(inner)
        told = _NAMED.search(block)
        return None if told is None else (told[1], _MARKS.sub(" ", block[told.end() :]).strip('"> \n'))
    if ("_" in name or name in _PLAIN) and (opening == 0 or text[opening - 1] in "\n >"):
        inner = block.partition(">")[2]
        command = _COMMAND.match(inner)
        return name, (command[1] if command is not None else inner).strip()
    return None


def _as_json(text: str) -> tuple[str, str] | None:
    if text[:1] != "{" or len(text) > _TAIL:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if type(value) is not dict:
        return None
    name = next((value[key] for key in _TOOL_KEYS if type(value.get(key)) is str), None)
    given = next((value[key] for key in _INPUT_KEYS if key in value), None)
    if name is None or given is None or name.lower() == "final answer":
        return None
    return name, given if type(given) is str else json.dumps(given)


def _command(language: str, body: str) -> tuple[str, str] | None:
    """A fenced block as a call: a shell's, Python's, or a command of the harness's own (`open a.py 12`)."""
    if not body:
        return None
    if language in _PYTHONS:
        return "python", body
    word = body.split(None, 1)[0]
    if language in _SHELLS or "bash" in language:
        if word not in PROGRAMS and language == "" and named(word)[0] != "other":
            return word, body[len(word) :].strip()
        return "bash", body
    return None


# ---- all in one message ----------------------------------------------------------------------------------------------


def _scratchpad(text: str) -> Spoken | None:
    """Ask, calls and results in one message, as older ReAct agents send them. The template's own example does not
    count: what is read stands behind the last `Question:` or `Begin!`."""
    if "\nAction Input:" not in text or "\nObservation:" not in text:
        return None
    start = max(text.rfind("\nQuestion:"), text.rfind("\nBegin!"))
    if start < 0:
        return None
    first = _ACTION.search(text, start, start + 10 * _PAD)
    if first is None:
        return None
    calls: list[tuple[str, str]] = []
    results: list[str] = []
    for match in _ACTION.finditer(text, max(first.start(), len(text) - _PAD)):
        after = _OBSERVATION.search(text, match.end())
        if after is None:
            break
        end = text.find("\nThought:", after.end())
        name, given = (match[1], match[2]) if match[1] else (match[3], text[match.end() : after.start()])
        calls.append((name.strip(), given.strip()))
        results.append(text[after.end() : end if end >= 0 else len(text)].strip())
    if not results:
        return None
    thought = text.find("\nThought:", start, first.start())
    return Spoken(tuple(calls), tuple(results), thought if thought >= 0 else first.start())


_PAD = 20_000
"""Characters of such a message that are read for calls, the latest."""

_TAGS = ("Action Input:", "<execute_", "<function=", "<tool_call>", "<use_mcp_tool>", "</command>", "<invoke name=")
_FENCES = ("```bash", "```sh", "```mswea")


def declares(messages: Sequence[Message]) -> bool:
    """Whether a first message shows how calls are written: an agent is at work, though no tools are declared."""
    for message in messages[:2]:
        text = message.text[:20_000]
        if any(sign in text for sign in _TAGS):
            return True
        if message.role != "user" and any(sign in text for sign in _FENCES):
            return True
    return False
