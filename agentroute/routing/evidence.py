"""Says what a tool result tells: that it worked, failed, shows failing tests, or brought nothing back."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from agentroute.messages import Image, ToolResult

__all__ = ["Evidence", "Verdict", "judge", "judge_text"]

Verdict: TypeAlias = Literal["ok", "error", "failing_test", "empty"]

_HEAD = _TAIL = 800
"""Characters read at either end of a result."""

_HEAD_LINES, _TAIL_LINES = 4, 8
"""Lines that are looked at: failures are announced at the top or concluded at the bottom."""

_SHORT = 300
"""A result up to this size, in at most three lines, is a status message: weaker signs count in it."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one tool result says. `severity` runs from 0 (fine) to 1 (a crash); `reason` is plain words."""

    verdict: Verdict
    severity: float
    reason: str

    @property
    def failed(self) -> bool:
        """Whether the call or the tests it ran failed (an empty result is no failure)."""
        return self.verdict == "error" or self.verdict == "failing_test"


_OK = Evidence("ok", 0.0, "the result shows no failure")
_FLAGGED = Evidence("error", 0.6, "the framework marks the result as an error")
_EMPTY = Evidence("empty", 0.1, "the result is empty")
_NOTHING = Evidence("empty", 0.1, "the result says that there is nothing")
_NO_MATCH = Evidence("empty", 0.1, "exit code 1 with no output: nothing was found")
_TESTS = Evidence("failing_test", 0.6, "the result counts failing tests")
_UNRUN = Evidence("error", 0.7, "the result says that the tests could not run")
_CRASH = Evidence("error", 0.8, "the result ends in a traceback")
_LINE = Evidence("error", 0.6, "a line of the result states an error")
_SHELL = Evidence("error", 0.5, "the shell could not run the command or find the file")
_HTTP = Evidence("error", 0.6, "the result carries an HTTP status of 400 or above")
_REFUSED = Evidence("error", 0.4, "the tool refused the call")
_JSON_ERROR = Evidence("error", 0.6, "the JSON result says that the call failed")


def judge(result: ToolResult) -> Evidence:
    """What `result` says. Reads at most 800 characters of its head and 800 of its tail.

    The flag `is_error=True` is certain. After False only strong signs in the text make a failure.
    """
    text = result.text
    if not text and any(type(part) is Image for part in result.content):
        return _OK
    return judge_text(text, result.is_error)


def judge_text(text: str, is_error: bool | None = None) -> Evidence:
    """What the text of a tool result says; `is_error` as in `ToolResult`."""
    if len(text) <= _HEAD + _TAIL:
        head = tail = text.strip()
    else:
        head, tail = text[:_HEAD].strip(), text[-_TAIL:].strip()
    evidence = _read(head, tail, weak=is_error is None)
    return _FLAGGED if is_error and not evidence.failed else evidence


def _read(head: str, tail: str, *, weak: bool) -> Evidence:
    whole = head is tail
    if head in _VOID and tail in _VOID:
        return _EMPTY
    if head[:1] in ("{", "["):
        found = _read_json(head, whole=whole)
        if found is not None:
            return found
    lines = [line for line in head.splitlines() if line and not line.isspace()]
    ending = lines if whole else [line for line in tail.splitlines() if line and not line.isspace()]
    code = _exit_code(lines, ending)
    if code is not None:
        lines = [line for line in lines if not _FRAME.match(line)]
        ending = lines if whole else [line for line in ending if not _FRAME.match(line)]
        if not ending and not lines:
            return _EMPTY if code == 0 else _NO_MATCH if code == 1 else _ended(code)
    found = _read_lines(lines, ending, whole=whole, weak=weak and code is None, calm=code == 0)
    if found is not None:
        return found
    return _ended(code) if code else _OK


_VOID = frozenset(("", '""', "''", "[]", "{}", "()", "null", "None", "undefined", "[[]]", "nil", "<empty>", "(empty)"))


def _ended(code: int) -> Evidence:
    return Evidence("error", 0.7 if code > 1 or code < 0 else 0.5, f"the command ended with exit code {code}")


# ---- exit codes ------------------------------------------------------------------------------------------------------

_EXIT = re.compile(
    r"\s*<(?:return_?code|exit_?(?:code|status))>\s*(-?\d{1,10})\s*<"
    r"|\W{0,4}(?:\w+ ){0,4}?(?:exit|return)(?:ed)?[ _-]?(?:with )?(?:non-?zero )?(?:exit |return )?(?:code|status)\b"
    r"\W{0,4}?(-?\d{1,10})\b(?=\W*$|[:,;] | after | in )",
    re.IGNORECASE,
)
_FRAME = re.compile(
    _EXIT.pattern
    + r"|\s*</?(?:return_?code|exit_?code|output|output_head|output_tail|stdout|stderr|result|response|system)>\s*$"
    r"|\s*(?:wall time|duration|chunk id|stdout|stderr|output|process running|total output lines)\b[^:\n]{0,30}:[\s\d.a-z]{0,30}$",
    re.IGNORECASE,
)
"""Lines that a harness puts around the output of a command: they are no output."""


def _exit_code(lines: list[str], ending: list[str]) -> int | None:
    for line in (*lines[:3], *ending[-3:]):
        if len(line) < 200 and (match := _EXIT.match(line)) is not None:
            return int(match[1] or match[2])
    return None


# ---- JSON ------------------------------------------------------------------------------------------------------------

_FAILED_WORDS = frozenset(("error", "failed", "failure", "fail", "exception", "timeout", "rejected", "denied"))
_JSON_SIGN = re.compile(
    r'"(?:isError|is_error|hasError)"\s*:\s*true|"(?:success|ok|succeeded)"\s*:\s*false'
    r'|"status"\s*:\s*"(?:error|failed|failure|fail)"|"error"\s*:\s*(?:"[^"]|\{\s*"|true)'
    r'|"(?:status|statusCode|status_code)"\s*:\s*[45]\d\d\b|"(?:exit_?code|returncode|exitCode)"\s*:\s*-?[1-9]',
)


def _read_json(head: str, *, whole: bool) -> Evidence | None:
    """None where the text is no JSON after all."""
    if whole:
        try:
            value = json.loads(head)
        except (ValueError, RecursionError):
            pass
        else:
            return _read_value(value)
    match = _JSON_SIGN.search(head)
    if match is not None and head[0] == "{":
        before = head[: match.start()]
        if before.count("{") - before.count("}") == 1 and before.count("[") == before.count("]"):
            return _JSON_ERROR
    return _OK if _JSON_START.match(head) else None


_JSON_START = re.compile(r'\{\s*"[^"\n]{0,100}"\s*:|\[\s*(?:[\[{"]|-?\d|true|false|null)')


def _read_value(value: Any) -> Evidence:
    if type(value) is list:
        if len(value) == 1 and type(value[0]) is dict and type(value[0].get("text")) is str:
            return judge_text(value[0]["text"])
        return _OK if any(item not in (None, "", [], {}) for item in value) else _EMPTY
    if type(value) is not dict:
        return _OK
    get = value.get
    for key in ("isError", "is_error", "hasError"):
        if get(key) is True:
            return _JSON_ERROR
    for key in ("success", "ok", "succeeded"):
        if get(key) is False:
            return _JSON_ERROR
    for key in ("error", "errors", "exception", "error_message", "errorMessage"):
        if get(key) not in (None, False, "", 0, [], {}) and type(get(key)) in (str, dict, list, bool):
            return _JSON_ERROR
    for key in ("status", "type", "result", "state"):
        word = get(key)
        if type(word) is str and word.lower() in _FAILED_WORDS and (key == "status" or len(value) <= 4):
            return _JSON_ERROR
    for key in ("status", "statusCode", "status_code", "code", "http_status"):
        number = get(key)
        if type(number) is int and 400 <= number < 600 and (key != "code" or len(value) <= 4):
            return _HTTP
    for key in ("exit_code", "exitCode", "returncode", "return_code", "exit_status"):
        number = get(key)
        if type(number) is int and number:
            output = (get("stdout") or get("output") or "", get("stderr") or "")
            return _NO_MATCH if number == 1 and not any(output) else _ended(number)
    if len(value) == 1:
        ((key, inner),) = value.items()
        if key == "detail" and type(inner) in (str, list) and inner:
            return _REFUSED
        if type(inner) is str and key in ("output", "result", "content", "text", "stdout", "message", "response"):
            return judge_text(inner)
    empty = (None, "", 0, [], {}, False)
    if value and all(item in empty or key in _ECHOED for key, item in value.items()):
        return _NOTHING
    return _OK


_ECHOED = frozenset(("success", "ok", "status", "query", "page", "limit", "offset", "took", "exit_code", "exitCode"))
"""Keys that say nothing about whether something came back."""


# ---- lines -----------------------------------------------------------------------------------------------------------

_STATED = re.compile(
    r"(?:(?:uncaught|unhandled)\b.{0,40}?)?(?:[\w.]+\.)?\w*(?:Error|Exception)(?:\s?\[\w+\])?: \S"
    r"|(?:AssertionError|KeyboardInterrupt|RecursionError|MemoryError|StopIteration)$"
    r"|(?i:fatal|panic|error|err|exception|failure|fehler|erreur|errore|erro|błąd|hata|fout|错误|錯誤|エラー|ошибка|오류|خطأ|त्रुटि|lỗi)"
    r"(?:\s?\[[\w-]{1,20}\]|\s?\([^()\n]{1,40}\)|\s(?!handling|guide|message|log|code|report|handler|rate|budget)[\w./'`\"-]{1,40}){0,6}"
    r"\s?[:：]\s?(?!\s*(?:0|none|null|no|false|nil)\b)\S"
    r"|(?i:error (?:executing|running|calling|invoking|reading|writing|while|in|during|fetching|parsing|loading|opening|connecting)\b)"
    r"|(?i:error\s?$|<(?:tool_(?:use_)?)?error\b[^>]{0,80}>)"
    r"|\S{1,200}?:\d+(?::\d+)?: (?:fatal )?error: |\S{1,200}?\(\d+(?:,\d+)?\): (?:fatal )?error\b"
    r"|npm (?:ERR!|error )|make(?:\[\d+\])?: \*\*\* |BUILD FAILED|FAILURE: |Segmentation fault|Killed$|panic: "
    r"|(?:Error: )?(?:ENOENT|EACCES|EPERM|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENOTFOUND|EISDIR|ENOTDIR)\b"
    r"|(?i:\W{0,3}(?:the |your )?(?:\w+ ){1,3}(?:timed out|has timed out)\b)"
    r"|(?i:\W{0,3}(?:the |your )?(?:tool|command|request|operation|query|build|test|script|call|execution|connection|speed test)"
    r"(?: \S{1,40})? failed(?::| to | with |\W*$))"
)
_HTTP_LINE = re.compile(
    r"(?i:HTTP(?:/\d(?:\.\d)?)?(?: error| status(?: code)?)?[: ]{1,2}[45]\d\d\b)"
    r"|(?i:(?:response )?status(?: code)?\s?[:=]\s?[45]\d\d\b|(?:http )?[45]\d\d (?:client|server) error)"
    r"|[45]\d\d:? (?:Bad Request|Unauthorized|Forbidden|Not Found|Method Not Allowed|Conflict|Gone|Unprocessable|Too Many"
    r"|Internal Server Error|Bad Gateway|Service Unavailable|Gateway Time)"
    r"|(?i:<(?:title|h1)>\s*(?:error )?[45]\d\d\b)"
)
_SHELL_LINE = re.compile(
    r"[\w./~+-]{1,60}: .{0,250}?(?i:no such file or directory|permission denied|command not found|is a directory"
    r"|not a directory|cannot access|unrecognized option|invalid option|operation not permitted|no module named \S+"
    r"|can't open file|could not resolve|connection refused|syntax error|unexpected token|unexpected end of file"
    r"|broken pipe|no space left|not found)(?:\W|$)"
    r"|'[^'\n]{1,80}' is not recognized as an internal|curl: \(\d+\) "
)
_TEST_LINE = re.compile(
    r"=+ .{0,120}?(?<![\w.])[1-9]\d* failed\b.{0,120}=+$"
    r"|\W{0,4}(?:\d+ \w+, ){0,4}[1-9]\d* (?:tests? |specs? )?fail(?:ed|ing|ures?)\b(?:\W*$|[,;]| in | out of | \()"
    r"|\s*(?:Tests?|Test Suites?|Suites|test result|Results?)\b[^\n]{0,60}?(?<![\w.])[1-9]\d* failed\b"
    r"|\d+ (?:examples?|tests?|specs?|scenarios?|runs?)(?:, \d+ [a-z]+)*, [1-9]\d* (?:failures?|errors?)\b"
    r"|FAILED \((?:failures|errors|unexpected)|FAILED \S+::|--- FAIL: |FAIL(?:\s+\S+[/.]\S+|\s*$|: \S+ \()|FAILURES!|not ok \d"
    r"|.{0,20}Tests run: \d+, Failures: (?:[1-9]|0, Errors: [1-9])|Failed!\s+-\s+Failed:\s+[1-9]"
    r"|\d+% tests passed, [1-9]\d* tests? failed|✖ [1-9]\d* |test result: FAILED"
)
_UNRUN_LINE = re.compile(r"=+ (?:\d+ (?:passed|skipped|warnings?|deselected|xfailed), )*[1-9]\d* errors?\b.{0,60} in .{0,40}=+$")

_REFUSAL = re.compile(
    r"(?:failed to|could not|couldn't|cannot|can't|unable to|invalid|unknown|unsupported|missing|unauthori[sz]ed|forbidden"
    r"|permission denied|access (?:is )?denied|not (?:found|allowed|permitted|authori[sz]ed|supported)|time(?:d )?out"
    r"|bad request|internal server error|rejected|denied|illegal|too many requests|rate limit)\b"
    r"|.{0,200}\b(?:not found|does(?: not|n't) exist|is(?: not|n't) (?:valid|allowed|supported|permitted|recognized|available"
    r"|a valid \w+.*)|not permitted|no such file or directory|is required|are required|access denied|timed out"
    r"|must be (?:a|an|one|between|at least|in|of)\b.{0,60}|was rejected|no replacement was performed|validation errors? for .*"
    r"|invalid (?:arguments?|parameters?|input).{0,80}|has not been read.{0,60}|want to proceed.{0,80})\W*$",
    re.IGNORECASE,
)
_NOTHING_LINE = re.compile(
    r"\W*(?:no (?:[\w-]+ ){0,4}?(?:output|results?|match(?:es)?|matching|files?|data|rows?|records?|entries|items?|content"
    r"|documents?|hits|lines?|reservations?|orders?|users?|events?|emails?|messages?|tasks?|issues?|\w+ found)\b"
    r"|(?:0|zero) (?:[\w-]+ )?(?:results?|match(?:es)?|rows?|records?|items?|hits|files?|documents?|entries|found)\b"
    r"|nothing (?:was |to |has )?\w*|none(?: found)?\W*$|empty (?:result|list|response|output|set|file)"
    r"|(?:keine (?:\w+ )?(?:ergebnisse|treffer|daten)|aucun|sin resultados|no se encontr|nessun|nenhum)"
    r"|没有(?:找到)?|未找到|無結果|結果なし|該当なし|ничего не найдено|нет (?:результатов|данных)|결과 없음|لا (?:توجد )?نتائج|कोई परिणाम नहीं)"
    r"|.{0,120}\b(?:returned|found|produced?|with|without|has|gave) (?:no|0|zero|any)? ?(?:output|results?|match(?:es)?|rows?|data)\b",
    re.IGNORECASE,
)
_NEGATED = re.compile(r"\b(?:no|0|zero|without(?: any)?) (?:errors?|failures?|problems?|issues?|warnings?)\b", re.IGNORECASE)
_HINTS = re.compile(r"(?i)err|fail|exception|denied|no such|no module|not |timed|4\d\d|5\d\d|ENO|EAC|EPE|ECON")


def _read_lines(lines: list[str], ending: list[str], *, whole: bool, weak: bool, calm: bool) -> Evidence | None:
    """Failure or emptiness as the lines say it, or None. `calm`: exit code 0 says fine, so only the end may object."""
    last = ending[-_TAIL_LINES:]
    for line in reversed(last):
        if "ail" in line or "AIL" in line or "rror" in line or line.startswith("not ok"):
            if _TEST_LINE.match(line):
                return _TESTS
            if line.startswith("=") and _UNRUN_LINE.match(line):
                return _UNRUN
    brief = whole and len(lines) <= 3 and sum(map(len, lines)) <= _SHORT
    if brief and lines and _NOTHING_LINE.match(lines[0]) and not _NEGATED.search(lines[0]):
        return _NOTHING
    looked = ending[-2:] if calm else (*lines[:_HEAD_LINES], *last)
    for line in looked:
        if _STATED.match(line):
            return _CRASH if any(each.startswith("Traceback (most") for each in (*lines, *ending)) else _LINE
        if _HTTP_LINE.match(line):
            return _HTTP
    if not calm and lines and lines[0].startswith("Traceback (most recent call last)"):
        return _CRASH
    if ending and _SHELL_LINE.match(ending[-1]):
        return _SHELL
    if lines and not calm and whole and sum(_SHELL_LINE.match(line) is not None for line in lines) * 2 >= len(lines):
        return _SHELL
    if brief and weak and lines and _REFUSAL.match(lines[0]) and not _NEGATED.search(lines[0]):
        return _REFUSED
    return None
