"""Says what a tool result tells: that it worked, failed, shows failing tests, or brought nothing back."""

from __future__ import annotations

import json
import re
from typing import Any

from agentroute.messages import Text, ToolResult

from .actions import Did
from .frames import exit_codes, is_frame, output, without_fields
from .statements import HEAD_LINES, LINE, TAIL_LINES, TEST_LINE, read_lines
from .verdicts import (
    EMPTY,
    FLAGGED,
    HTTP,
    JSON_ERROR,
    NO_MATCH,
    NOTHING,
    OK,
    REFUSED,
    TESTS,
    TOLD,
    Evidence,
    Verdict,
)

__all__ = ["TOLD", "Evidence", "Verdict", "judge", "judge_text"]

_HEAD = _TAIL = 600
"""Characters read at either end of a result."""

_SHORT = 300
"""A result up to this size, in at most three lines, is a status message: weaker signs count in it."""


def judge(result: ToolResult, did: Did | None = None) -> Evidence:
    """What `result` says. Reads at most 600 characters of its head and 600 of its tail; of a test run, all lines.

    The flag `is_error=True` is certain, unless it repeats the exit code 1 of a search that found nothing. After False
    only strong signs in the text make a failure. `did` is what the call did: what it read or found is content, in which
    a line about an error is no failure of the call.
    """
    # Blocks are lines of their own, as tools of MCP give them.
    text = result.text if len(result.content) < 2 else "\n".join(p.text for p in result.content if type(p) is Text)
    if not text and any(type(part) is not Text for part in result.content):
        return OK
    return judge_text(text, result.is_error, did)


def judge_text(text: str, is_error: bool | None = None, did: Did | None = None) -> Evidence:
    """What the text of a tool result says; `is_error` and `did` as in `judge`."""
    evidence = _judge(text, is_error is None, did)
    if not is_error or evidence.failed:
        return evidence
    answered = evidence is NO_MATCH and did is not None and did.quiet
    return evidence if answered else FLAGGED


def _judge(text: str, weak: bool, did: Did | None, code: int | None = None) -> Evidence:
    """`code` is the exit code, if what stands around the text has told it."""
    bare = output(text, _HEAD)
    head, tail = bare.head, bare.tail
    if len(head) <= 9 and head in _VOID and tail in _VOID:
        return EMPTY
    content = did is not None and did.content
    shell = did is not None and did.shell
    evidence = None
    if head[:1] in ("{", "[", '"') and not (content and shell and len(text) > _SHORT):
        evidence = _read_json(text[bare.start : bare.end], head, tail, whole=bare.whole, did=did)
    if evidence is None and content and not shell:
        return OK if len(text) > _SHORT else _read_status(head, weak)
    if evidence is None:
        evidence = _read(head, tail, bare.whole, weak, did, code)
    if did is not None and did.action == "test" and not evidence.failed and not bare.whole and _fails_inside(text):
        return TESTS
    return evidence


def _read_status(text: str, weak: bool) -> Evidence:
    """What a short text says in its first line: all below it is content."""
    first = [line[:LINE] for line in text.splitlines()[:1] if line]
    return read_lines(first, first, counted=False, short=True, weak=weak, calm=False) or OK


def _read(head: str, tail: str, whole: bool, weak: bool, did: Did | None, code: int | None = None) -> Evidence:
    if head[:1] == "<" and len(head) < 60 and _ONLY_TAGS.match(head):
        return EMPTY
    lines = head.splitlines()
    top = [line[:LINE] for line in lines[: HEAD_LINES * 3] if line and not line.isspace()]
    if not whole:
        lines = tail.splitlines()
    end = [line[:LINE] for line in lines[-TAIL_LINES * 2 :] if line and not line.isspace()]
    if "ode" in head or "ode" in tail or "tatus" in head or "tatus" in tail:
        framed, kept = without_fields(end)
        if framed is not None:
            code = framed
            top = [line for line in top if line in kept or line not in end]
            end = kept
        elif codes := exit_codes(top, end):
            # Output may print a code too: the worst one counts.
            code = next((each for each in codes if each), 0)
    if code is not None:
        top = [line for line in top[:6] if not is_frame(line)] + top[6:]
        end = end[:-4] + [line for line in end[-4:] if not is_frame(line)]
        if code == 1 and did is not None and did.quiet:
            if not top and not end:
                return NO_MATCH
            code = 0
        if not top and not end:
            if "<" not in head and code in (0, 1):
                return _ended(code) if code else OK
            return EMPTY if code == 0 else NO_MATCH if code == 1 else _ended(code)
    short = whole and len(head) <= _SHORT
    if did is not None and did.content and not short:
        return _ended(code) if code else OK
    counted = "ail" in tail or "AIL" in tail or "rror" in tail or "✖" in tail or "not ok" in tail
    found = read_lines(top, end, counted=counted, short=short, weak=weak and code is None, calm=code == 0)
    if found is not None:
        return found
    return _ended(code) if code else OK


_VOID = frozenset(("", '""', "''", "[]", "{}", "()", "null", "None", "undefined", "[[]]", "nil", "<empty>", "(empty)"))


_ONLY_TAGS = re.compile(r"(?:</?\w{1,20}>\s*){2,}$")


def _ended(code: int) -> Evidence:
    return Evidence("error", 0.5 if code == 1 else 0.7, f"the command ended with exit code {code}")


_SEARCHED = 100_000
"""Characters of a test run's output that are searched for a count of failures, at either end."""

_COUNTS = (" failed", " failing", "FAILED (", "--- FAIL: ", "FAILED ", " failures", " failure")


def _fails_inside(text: str) -> bool:
    """Whether a line of a test run counts failing tests, wherever it stands."""
    parts = (text,) if len(text) <= 2 * _SEARCHED else (text[:_SEARCHED], text[-_SEARCHED:])
    for part in parts:
        for sign in _COUNTS:
            at = part.find(sign)
            for _ in range(8):
                if at < 0:
                    break
                line = part[max(0, at - LINE) : at + LINE].replace("\\n", "\n")
                start = line.rfind("\n", 0, line.find(sign)) + 1
                if TEST_LINE.match(line[start:].partition("\n")[0]):
                    return True
                at = part.find(sign, at + 1)
    return False


# ---- JSON ------------------------------------------------------------------------------------------------------------

_FAILED_WORDS = frozenset(("error", "failed", "failure", "fail", "exception", "timeout", "rejected", "denied"))
_JSON_SIGN = re.compile(
    r'"(?:(?:isError|is_error|hasError)"\s*:\s*true|(?:success|ok|succeeded)"\s*:\s*false'
    r'|status"\s*:\s*"(?:error|failed|failure|fail)"|error"\s*:\s*(?:"[^"]|\{\s*"|true)'
    r'|(?:status|statusCode|status_code)"\s*:\s*[45]\d\d\b|(?:exit_?code|returncode|exitCode)"\s*:\s*-?[1-9])',
)
_JSON_START = re.compile(r'\{\s*"[^"\n]{0,100}"\s*:|\[\s*(?:[\[{"]|-?\d[\d.]*\s*[,\]]|true|false|null)')
_ECHOED = frozenset(("success", "ok", "status", "query", "page", "limit", "offset", "took", "exit_code", "exitCode"))
"""Keys that say nothing about whether something came back."""

_COMPLAINTS = ("error", "errors", "exception", "error_message", "errorMessage")


_ROOTS = ("Error", "Fault", "fault", "Exception", "ErrorResponse", "errorResponse")
"""What the only key of an object is called that is an error and nothing else."""

_PARSED = 4_000
"""Characters of a JSON result up to which it is parsed; a longer one is judged by its ends."""

_BLOCK_START = re.compile(r'\[?\s*\{\s*"type"\s*:\s*"(?:text|output_text)"\s*,\s*"text"\s*:\s*"')

_BLOCK_END = re.compile(r'"\s*(?:,\s*"\w+"\s*:\s*(?:null|true|false|\{\})\s*){0,4}\}\s*\]?$')


def _read_json(text: str, head: str, tail: str, *, whole: bool, did: Did | None) -> Evidence | None:
    """What a JSON text says; None where it is none after all."""
    if len(text) <= _PARSED:
        try:
            return _read_value(json.loads(head if whole else text), did)
        except (ValueError, RecursionError):
            if text.startswith("{'") and (said := _MESSAGE.match(text)) is not None:
                return JSON_ERROR if _judge(said[2], True, None).failed else None
    block = _BLOCK_START.match(head)
    if block is not None:
        if did is not None and did.content:
            return OK
        return _read(_unescaped(head[block.end() :]), _unescaped(_BLOCK_END.sub("", tail)), False, False, did)
    if not _JSON_START.match(head):
        return None
    if head[0] == "{" and ("rror" in head or "tatus" in head or '": false' in head or "ode" in head):
        match = _JSON_SIGN.search(head)
        if match is not None:
            before = head[: match.start()]
            if before.count("{") - before.count("}") == 1 and before.count("[") == before.count("]"):
                return JSON_ERROR
    if head[0] == "{" and "\\n" in tail and (did is None or not did.content):
        printed = _unescaped(tail).rstrip('"}] \n')
        lines = [line[:LINE] for line in printed.splitlines() if line and not line.isspace()]
        return read_lines([], lines, counted=True, short=False, weak=False, calm=True) or OK
    return OK


_MESSAGE = re.compile(r"\{'(?:message|error|detail)': (['\"])(.{1,400}?)\1\}")
"""A dict of Python with nothing but a message, as some servers print it."""


def _unescaped(part: str) -> str:
    return part.replace("\\n", "\n").replace('\\"', '"')


def _read_value(value: Any, did: Did | None = None) -> Evidence:
    if type(value) is list:
        if value and all(type(item) is dict and type(item.get("text")) is str for item in value[:_BLOCKS]):
            return _worst([_read_value(item, did) for item in value[:_BLOCKS]])
        return OK if any(item not in _NIL for item in value) else EMPTY
    if type(value) is str:
        return _judge(value, True, did)
    if type(value) is not dict:
        return OK
    get = value.get
    if get("isError") is True or get("is_error") is True or get("hasError") is True:
        return JSON_ERROR
    # `0 == False`, but a count of 0 successes is no verdict.
    if any(get(key) is False or get(key) in ("false", "False") for key in ("success", "ok", "succeeded")):
        return JSON_ERROR
    for key in _COMPLAINTS:
        said = get(key)
        if not _is_nil(said) and not (type(said) is str and said.strip(" .").lower() in _NO_COMPLAINT):
            return JSON_ERROR
    if len(value) == 1 and next(iter(value)) in _ROOTS and type(next(iter(value.values()))) in (dict, str):
        return JSON_ERROR
    for key in ("status", "type", "result", "state"):
        word = get(key)
        if (
            type(word) is str
            and word.lower() in _FAILED_WORDS
            and (key == "status" or (len(value) <= 4 and "id" not in value))
        ):
            return JSON_ERROR
    for key in ("status", "statusCode", "status_code", "code", "http_status"):
        number = get(key)
        if key != "code" and type(number) is str and number.isdecimal() and len(number) == 3:
            number = int(number)
        if type(number) is int and 400 <= number < 600 and (key != "code" or len(value) <= 4):
            return HTTP
    code = _exit_of(value)
    if code:
        silent = any(name in value for name in _STREAMS) and not any(get(name) for name in _STREAMS)
        quiet = code == 1 and (silent or (did is not None and did.quiet))
        return NO_MATCH if quiet else _ended(code)
    if type(get("message")) is str and _ENVELOPE.issuperset(value) and judge_text(value["message"]).failed:
        return JSON_ERROR
    if get("type") in ("text", "output_text") and type(get("text")) is str:
        return _judge(value["text"], True, did)
    told = {key: inner for key, inner in value.items() if key not in _ECHOED and not _is_nil(inner)}
    if len(told) == 1:
        ((key, inner),) = told.items()
        if key == "detail" and type(inner) in (str, list) and inner:
            return REFUSED
        if key in _TEXTS and (type(inner) is str or _is_blocks(inner)):
            return _read_value(inner, did)
    for key in _LOGS:
        log = get(key)
        if type(log) is str and log and (found := _judge(log, False, did, code)).failed:
            return found
    if not told and not _ONLY_COMPLAINTS.issuperset(value):
        return NOTHING
    return OK


def _exit_of(value: dict[str, Any]) -> int | None:
    """The exit code that an object states, itself or in what it says about the run."""
    about = value.get("metadata")
    for place in (value, about if type(about) is dict else {}):
        for key in ("exit_code", "exitCode", "returncode", "return_code", "exit_status", "exit"):
            number = place.get(key)
            if type(number) is int:
                return number
    return None


_BLOCKS = 12
"""Content blocks of one result that are read."""


def _is_blocks(value: Any) -> bool:
    return type(value) is list and bool(value) and type(value[0]) is dict and type(value[0].get("text")) is str


def _worst(found: list[Evidence]) -> Evidence:
    """The verdict on a result in several blocks: the gravest failure; empty only if every block is."""
    failed = [each for each in found if each.failed]
    if failed:
        return max(failed, key=lambda each: each.severity)
    return found[0] if all(each.verdict == "empty" for each in found) else OK


def _is_nil(value: Any) -> bool:
    return value in _NIL or (type(value) is dict and all(item in _NIL for item in value.values()))


_NIL: tuple[Any, ...] = (None, False, 0, "", [], {})
_NO_COMPLAINT = frozenset(("none", "null", "nil", "no error", "no errors", "n/a", "false", "0"))
_ENVELOPE = frozenset(
    ("message", "documentation_url", "code", "status", "timestamp", "path", "request_id", "requestId")
)
"""Keys of an answer that carries a message and nothing else."""

_STREAMS = ("stdout", "stderr", "output")
_TEXTS = frozenset(
    ("output", "result", "content", "text", "stdout", "stderr", "message", "response", "log", "logs", "observation")
)
_LOGS = ("output", "stdout", "stderr", "log", "logs", "response")
"""Keys under which a text stands that a tool printed."""

_ONLY_COMPLAINTS = _ECHOED.union(_COMPLAINTS)
