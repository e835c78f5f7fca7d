"""Says what a tool result tells: that it worked, failed, shows failing tests, or brought nothing back."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from agentroute.messages import Text, ToolResult

__all__ = ["Evidence", "Verdict", "judge", "judge_text"]

Verdict: TypeAlias = Literal["ok", "error", "failing_test", "empty"]

_HEAD = _TAIL = 600
"""Characters read at either end of a result."""

_HEAD_LINES, _TAIL_LINES = 4, 8
"""Lines that are looked at: failures are announced at the top or concluded at the bottom."""

_LINE = 300
"""Characters read of one line."""

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
_LINE_ERROR = Evidence("error", 0.6, "a line of the result states an error")
_SHELL = Evidence("error", 0.5, "the shell could not run the command or find the file")
_HTTP = Evidence("error", 0.6, "the result carries an HTTP status of 400 or above")
_REFUSED = Evidence("error", 0.4, "the tool refused the call")
_JSON_ERROR = Evidence("error", 0.6, "the JSON result says that the call failed")


def judge(result: ToolResult) -> Evidence:
    """What `result` says. Reads at most 600 characters of its head and 600 of its tail.

    The flag `is_error=True` is certain. After False only strong signs in the text make a failure.
    """
    text = result.text
    if not text and any(type(part) is not Text for part in result.content):
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
    if len(head) <= 9 and head in _VOID and tail in _VOID:
        return _EMPTY
    if head[:1] == "<" and len(head) < 60 and _ONLY_TAGS.match(head):
        return _EMPTY
    if head[:1] in ("{", "[", '"'):
        found = _read_json(head, whole=whole)
        if found is not None:
            return found
    lines = head.splitlines()
    top = [line[:_LINE] for line in lines[: _HEAD_LINES * 3] if line and not line.isspace()]
    if not whole:
        lines = tail.splitlines()
    end = [line[:_LINE] for line in lines[-_TAIL_LINES * 2 :] if line and not line.isspace()]
    code = _exit_code(top, end)
    if code is not None:
        top = [line for line in top[:6] if not _is_frame(line)] + top[6:]
        end = end[:-4] + [line for line in end[-4:] if not _is_frame(line)]
        if not top and not end:
            if "<" not in head and code in (0, 1):
                return _ended(code) if code else _OK
            return _EMPTY if code == 0 else _NO_MATCH if code == 1 else _ended(code)
    short = whole and len(head) <= _SHORT
    counted = "ail" in tail or "AIL" in tail or "rror" in tail or "✖" in tail or "not ok" in tail
    found = _read_lines(top, end, counted=counted, short=short, weak=weak and code is None, calm=code == 0)
    if found is not None:
        return found
    return _ended(code) if code else _OK


_VOID = frozenset(("", '""', "''", "[]", "{}", "()", "null", "None", "undefined", "[[]]", "nil", "<empty>", "(empty)"))


_ONLY_TAGS = re.compile(r"(?:</?\w{1,20}>\s*){2,}$")


def _ended(code: int) -> Evidence:
    return Evidence("error", 0.5 if code == 1 else 0.7, f"the command ended with exit code {code}")


# ---- exit codes ------------------------------------------------------------------------------------------------------

_EXIT = re.compile(
    r"\s*<(?:return_?code|exit_?(?:code|status))>\s*(-?\d{1,10})\s*<"
    r"|\W{0,4}(?:\w{1,20} ){0,4}?(?:exit|return)(?:ed)?[ _-]?(?:with )?(?:non-?zero )?(?:exit |return )?"
    r"(?:code|status)\b\W{0,4}?(-?\d{1,10})\b(?=\W*$|[:,;] | after | in )",
    re.IGNORECASE,
)
_FRAME_TAGS = frozenset(
    f"<{slash}{name}>"
    for slash in ("", "/")
    for name in ("output", "stdout", "stderr", "result", "output_head", "output_tail")
)
_FRAME_STARTS = (
    "wall time", "duration:", "chunk id", "stdout:", "stderr:", "output:", "total output lines", "original token count",
)  # fmt: skip
"""Lines that a harness puts around the output of a command: they are no output."""


def _exit_code(top: list[str], end: list[str]) -> int | None:
    for line in (*top[:3], *end[-3:]):
        if ("ode" in line or "tatus" in line or "ODE" in line) and (match := _EXIT.match(line)) is not None:
            return int(match[1] or match[2])
    return None


def _is_frame(line: str) -> bool:
    if line[0] == "<" and line.rstrip().lower() in _FRAME_TAGS:
        return True
    if ("ode" in line or "tatus" in line) and _EXIT.match(line) is not None:
        return True
    return len(line) < 60 and line.lower().startswith(_FRAME_STARTS)


# ---- JSON ------------------------------------------------------------------------------------------------------------

_FAILED_WORDS = frozenset(("error", "failed", "failure", "fail", "exception", "timeout", "rejected", "denied"))
_JSON_SIGN = re.compile(
    r'"(?:(?:isError|is_error|hasError)"\s*:\s*true|(?:success|ok|succeeded)"\s*:\s*false'
    r'|status"\s*:\s*"(?:error|failed|failure|fail)"|error"\s*:\s*(?:"[^"]|\{\s*"|true)'
    r'|(?:status|statusCode|status_code)"\s*:\s*[45]\d\d\b|(?:exit_?code|returncode|exitCode)"\s*:\s*-?[1-9])',
)
_JSON_START = re.compile(r'\{\s*"[^"\n]{0,100}"\s*:|\[\s*(?:[\[{"]|-?\d|true|false|null)')
_ECHOED = frozenset(("success", "ok", "status", "query", "page", "limit", "offset", "took", "exit_code", "exitCode"))
"""Keys that say nothing about whether something came back."""

_COMPLAINTS = ("error", "errors", "exception", "error_message", "errorMessage")


def _read_json(head: str, *, whole: bool) -> Evidence | None:
    """What a JSON text says; None where it is none after all. A longer one is judged by the signs in its head."""
    if whole:
        try:
            return _read_value(json.loads(head))
        except (ValueError, RecursionError):
            pass
    if not _JSON_START.match(head):
        return None
    if head[0] == "{" and ("rror" in head or "tatus" in head or '": false' in head or "ode" in head):
        match = _JSON_SIGN.search(head)
        if match is not None:
            before = head[: match.start()]
            if before.count("{") - before.count("}") == 1 and before.count("[") == before.count("]"):
                return _JSON_ERROR
    return _OK


def _read_value(value: Any) -> Evidence:
    if type(value) is list:
        if len(value) == 1 and type(value[0]) is dict and type(value[0].get("text")) is str:
            return judge_text(value[0]["text"])
        return _OK if any(item not in _NIL for item in value) else _EMPTY
    if type(value) is str:
        return judge_text(value)
    if type(value) is not dict:
        return _OK
    get = value.get
    if get("isError") is True or get("is_error") is True or get("hasError") is True:
        return _JSON_ERROR
    if get("success") in _FALSE or get("ok") in _FALSE or get("succeeded") in _FALSE:
        return _JSON_ERROR
    for key in _COMPLAINTS:
        if get(key) not in _NIL:
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
            silent = any(name in value for name in _STREAMS) and not any(get(name) for name in _STREAMS)
            return _NO_MATCH if number == 1 and silent else _ended(number)
    if type(get("message")) is str and _ENVELOPE.issuperset(value) and judge_text(value["message"]).failed:
        return _JSON_ERROR
    if len(value) == 1:
        ((key, inner),) = value.items()
        if key == "detail" and type(inner) in (str, list) and inner:
            return _REFUSED
        if type(inner) is str and key in ("output", "result", "content", "text", "stdout", "message", "response"):
            return judge_text(inner)
    if all(_is_nil(item) or key in _ECHOED for key, item in value.items()) and not _ONLY_COMPLAINTS.issuperset(value):
        return _NOTHING
    return _OK


def _is_nil(value: Any) -> bool:
    return value in _NIL or (type(value) is dict and all(item in _NIL for item in value.values()))


_NIL: tuple[Any, ...] = (None, False, 0, "", [], {})
_FALSE: tuple[Any, ...] = ("false", "False", False)
_ENVELOPE = frozenset(
    ("message", "documentation_url", "code", "status", "timestamp", "path", "request_id", "requestId")
)
"""Keys of an answer that carries a message and nothing else."""

_STREAMS = ("stdout", "stderr", "output")
_ONLY_COMPLAINTS = _ECHOED.union(_COMPLAINTS)


# ---- lines -----------------------------------------------------------------------------------------------------------

_STATED = re.compile(
    r"(?:(?i:uncaught|unhandled)\b.{0,40}?)?(?:[\w.]{1,100}\.)?\w{0,60}(?:Error|Exception)(?:\s?\[\w+\])?: \S"
    r"|(?:AssertionError|RecursionError|MemoryError|StopIteration)$|Exception in thread "
    r"|(?:(?i:fatal|internal|unexpected|tool|runtime) |[A-Z/]{2,10} |[\w./-]{1,20}: )?(?i:error|exception)"
    r"(?:\s?\[[\w-]{1,20}\]|\s?\([^()\n]{1,40}\)"
    r"|\s(?!handling|guide|messages?\b|logs?\b|codes\b|reports?\b|handlers?\b|rates?\b|budget)[\w./'`\"-]{1,40}){0,6}"
    r"\s?[:：]\s?(?!\s*(?:0|none|null|no|false|nil)\b)\S"
    r"|(?i:error (?:executing|running|calling|invoking|reading|writing|while|in|during|fetching|parsing|loading|opening"
    r"|connecting)\b)"
    r"|(?i:(?:sorry, )?(?:an|the following|some) [\w ]{0,20}(?:error|exception) (?:occurred|was|has)\b)"
    r"|(?i:error\s?$|<(?:tool_(?:use_)?)?error\b[^>]{0,80}>)"
    r"|\S{1,200}?:\d+(?::\d+)?(?::| -) (?:fatal )?error\b[: ]|\S{1,200}?\(\d+(?:,\d+)?\): (?:fatal )?error\b"
    r"|npm (?:ERR!|error )|make(?:\[\d+\])?: \*\*\* "
)
_STARTS = (
    "fatal:", "fatal error", "panic:", "failure:", "err:", "e: ", "npm err!", "make: ***", "build failed",
    "segmentation fault", "thread 'main' panicked", "<error>", "enoent", "eacces", "eperm", "econnrefused",
    "econnreset", "etimedout", "enotfound", "eisdir", "enotdir", "fehler:", "erreur :", "erreur:", "erro:", "errore:",
    "hata:", "fout:", "błąd:", "lỗi:", "ошибка:", "خطأ:", "त्रुटि:", "错误：", "错误:", "錯誤：", "錯誤:",
    "エラー:", "エラー：", "오류:",
)  # fmt: skip
"""How a line that states an error starts, in small letters."""

_FAILED = re.compile(
    r"\W{0,3}(?:the |your )?(?:\w{1,20} ){1,3}(?:timed out|has timed out)\b"
    r"|\W{0,3}(?:the |your )?(?:tool|command|request|operation|query|build|test|script|call|execution|connection"
    r"|\w{1,12} test|\w{1,12} check)(?: \S{1,40})? failed(?::| to | with |\W*$)"
)
_HTTP_LINE = re.compile(
    r"HTTP(?:/\d(?:\.\d)?)?(?: error| status(?: code)?)?[: ]{1,2}[45]\d\d\b"
    r"|(?:response )?status(?: code)?\s?[:=]\s?[45]\d\d\b|(?:http )?[45]\d\d (?:client|server) error"
    r"|[45]\d\d:? (?:bad request|unauthorized|forbidden|not found|method not allowed|conflict|gone|unprocessable"
    r"|too many requests|internal server error|bad gateway|service unavailable|gateway time)"
    r"|<(?:title|h1)>\s*(?:error )?[45]\d\d\b",
    re.IGNORECASE,
)
_SHELL_LINE = re.compile(
    r"[\w./~+-]{1,60}: .{0,250}?(?:no such file or directory|permission denied|command not found|is a directory"
    r"|not a directory|cannot access|unrecognized option|invalid option|operation not permitted|no module named \S+"
    r"|can't open file|could not resolve|connection refused|syntax error|unexpected token|unexpected end of file"
    r"|broken pipe|no space left|: not found)(?:\W|$)"
    r"|'[^'\n]{1,80}' is not recognized as an internal|curl: \(\d+\) ",
    re.IGNORECASE,
)
_TEST_LINE = re.compile(
    r"=+ .{0,120}?(?<![\w.])[1-9]\d* failed\b.{0,120}=+$"
    r"|\W{0,4}(?:\d+ \w{1,20}, ){0,4}[1-9]\d* (?:tests? |specs? )?fail(?:ed|ing|ures?)\b(?:\W*$|[,;]| in | out of | \()"
    r"|\s*(?:Tests?|Test Suites?|Suites|test result|Results?)\b[^\n]{0,60}?(?<![\w.])[1-9]\d* failed\b"
    r"|\d+ (?:examples?|tests?|specs?|scenarios?|runs?)(?:, \d+ [a-z]{1,20}){0,4}, [1-9]\d* (?:failures?|errors?)\b"
    r"|\W{0,4}Tests? failed: [1-9]"
    r"|FAILED \((?:failures|errors|unexpected)|FAILED \S+::|--- FAIL: |FAIL(?:\s+\S+[/.]\S+|\s*$|: \S+ \()|FAILURES!"
    r"|.{0,20}Tests run: \d+, Failures: (?:[1-9]|0, Errors: [1-9])|Failed!\s+-\s+Failed:\s+[1-9]"
    r"|\d+% tests passed, [1-9]\d* tests? failed|✖ [1-9]\d* |test result: FAILED"
)
_UNRUN_LINE = re.compile(
    r"=+ (?:\d+ (?:passed|skipped|warnings?|deselected|xfailed), ){0,5}[1-9]\d* errors?\b.{0,60} in .{0,40}=+$"
)

_REFUSAL = re.compile(
    r"(?:(?:sorry|unfortunately|oops)[,!.]? (?:i |we )?|[\w./-]{1,20}: |\[error\] )?"
    r"(?:failed to|could not|couldn't|cannot|can't|unable to|unauthori[sz]ed|forbidden|permission denied"
    r"|access (?:is )?denied|no replacement was performed|not (?:found|allowed|permitted|authori[sz]ed|supported)"
    r"|time(?:d )?out|bad request|internal server error|rejected|denied|too many requests|rate limit|insufficient"
    r"|not enough|killed$|aborted$|(?:invalid|unknown|unsupported|missing|illegal)(?-i: [a-z'`\"]| API|:))"
    r"|[❌✗✘]\W{1,3}.{0,60}\bfail|[\w ]{1,40} failed\W*$"
    r"|.{0,80}\b(?:could not|cannot|can't|couldn't) be \w{2,20}|.{0,80}\brate limit exceeded"
    r"|.{0,80}\b(?:do(?:es)? not|don't|doesn't) have (?:permission|access)\b"
    r"|.{0,80}\bnot (?:allowed|permitted|authori[sz]ed|supported)\b"
    r"|.{0,60}\b(?:blocked|rejected|denied|terminated) by\b"
    r"|.{0,200}\b(?:not found|does(?: not|n't) exist)(?:[.,;:(].*)?$"
    r"|.{0,200}\b(?:is(?: not|n't) (?:valid|recognized|available|a valid \w+.*)|no such file or directory"
    r"|(?:is|are) required|access denied|timed out|must be (?:a|an|one|between|at least|in|of)\b.{0,60}|was rejected"
    r"|validation errors? for .*|invalid (?:arguments?|parameters?|input).{0,80}|has not been read.{0,60}"
    r"|want to proceed.{0,80})\W*$",
    re.IGNORECASE,
)
_NOTHING_LINE = re.compile(
    r"\W*(?:no (?:[\w-]+ ){0,4}?(?:output|results?|match(?:es)?|matching|files?|data|rows?|records?|entries|items?"
    r"|content|documents?|hits|lines?|reservations?|orders?|users?|events?|emails?|messages?|tasks?|issues?"
    r"|\w+ found)\b"
    r"|(?:0|zero) (?:[\w-]+ )?(?:results?|match(?:es)?|rows?|records?|items?|hits|files?|documents?|entries|found)\b"
    r"|nothing\b|none(?: found)?\W*$|empty (?:result|list|response|output|set|file)"
    r"|keine (?:\w+ )?(?:ergebnisse|treffer|daten)|aucun|sin resultados|no se encontr|nessun|nenhum"
    r"|没有(?:找到)?|未找到|無結果|結果なし|該当なし|ничего не найдено|нет (?:результатов|данных)|결과 없음"
    r"|لا (?:توجد )?نتائج|कोई परिणाम नहीं)"
    r"|.{0,120}\b(?:returned|found|produced?|with|without|has|gave) (?:(?:no|0|zero|any) )?"
    r"(?:output|results?|match(?:es)?|rows?|data)\W*(?:$|or errors?\W*$)",
    re.IGNORECASE,
)
_NEGATED = re.compile(
    r"\b(?:no|0|zero|without(?: any)?) (?:errors?|failures?|problems?|issues?|warnings?)\b", re.IGNORECASE
)


def _read_lines(
    top: list[str], end: list[str], *, counted: bool, short: bool, weak: bool, calm: bool
) -> Evidence | None:
    """Failure or emptiness as the lines say it, or None.

    `counted`: there may be a count of failures; `calm`: exit code 0 says fine, so only the end may object.
    """
    last = end[-_TAIL_LINES:]
    if counted:
        for line in last:
            if line.startswith("not ok ") or _TEST_LINE.match(line):
                return _TESTS
            if line[0] == "=" and _UNRUN_LINE.match(line):
                return _UNRUN
    brief = short and len(top) <= 3
    if brief and top and _NOTHING_LINE.match(top[0]) and not _NEGATED.search(top[0]):
        return _NOTHING
    for line in last[-2:] if calm else (*top[:_HEAD_LINES], *last):
        if line[0].isspace():
            continue
        small = line.lower()
        if ("http" in small or "status" in small or line[0] in "45<") and _HTTP_LINE.match(line):
            return _HTTP
        if small.startswith(_STARTS) or (("rror" in small or "xception" in small) and _STATED.match(line)):
            return _CRASH if _has_traceback(top, end) else _LINE_ERROR
        if ("failed" in small or "timed out" in small) and _FAILED.match(small):
            return _LINE_ERROR
    if not calm and top and top[0].startswith("Traceback (most recent call last)"):
        return _CRASH
    if end and ": " in end[-1] and _SHELL_LINE.match(end[-1]):
        return _SHELL
    if short and top:
        complaints = sum(": " in line and _SHELL_LINE.match(line) is not None for line in top)
        if complaints * 2 >= len(top):
            return _SHELL
    if brief and weak and top and _REFUSAL.match(top[0]) and not _NEGATED.search(top[0]):
        return _REFUSED
    return None


def _has_traceback(top: list[str], end: list[str]) -> bool:
    return any(line.startswith("Traceback (most recent") for line in (*top, *end))
