"""Says what a tool result tells: that it worked, failed, shows failing tests, or brought nothing back."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from agentroute.messages import Text, ToolResult

from .actions import Did
from .frames import exit_codes, is_frame, output, without_fields

__all__ = ["TOLD", "Evidence", "Verdict", "judge", "judge_text"]

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
TOLD = Evidence("error", 0.6, "the caller says that the latest call or answer failed")
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
_DENIED = Evidence("error", 0.4, "a person refused the call")
_NOT_EDITED = Evidence("error", 0.6, "the edit was not made")
_JSON_ERROR = Evidence("error", 0.6, "the JSON result says that the call failed")


def judge(result: ToolResult, did: Did | None = None) -> Evidence:
    """What `result` says. Reads at most 600 characters of its head and 600 of its tail; of a test run, all lines.

    The flag `is_error=True` is certain. After False only strong signs in the text make a failure. `did` is what the
    call did: what it read or found is content, in which a line about an error is no failure of the call.
    """
    text = result.text
    if not text and any(type(part) is not Text for part in result.content):
        return _OK
    return judge_text(text, result.is_error, did)


def judge_text(text: str, is_error: bool | None = None, did: Did | None = None) -> Evidence:
    """What the text of a tool result says; `is_error` and `did` as in `judge`."""
    evidence = _judge(text, is_error is None, did)
    return _FLAGGED if is_error and not evidence.failed else evidence


def _judge(text: str, weak: bool, did: Did | None) -> Evidence:
    bare = output(text, _HEAD)
    head, tail = bare.head, bare.tail
    if len(head) <= 9 and head in _VOID and tail in _VOID:
        return _EMPTY
    content = did is not None and did.content
    shell = did is not None and did.shell
    evidence = None
    if head[:1] in ("{", "[", '"') and not (content and shell and len(text) > _SHORT):
        evidence = _read_json(text[bare.start : bare.end], head, tail, whole=bare.whole, did=did)
    if evidence is None and content and not shell:
        return _OK if len(text) > _SHORT else _read_status(head, weak)
    if evidence is None:
        evidence = _read(head, tail, bare.whole, weak, did)
    if did is not None and did.action == "test" and not evidence.failed and not bare.whole and _fails_inside(text):
        return _TESTS
    return evidence


def _read_status(text: str, weak: bool) -> Evidence:
    """What a short text says in its first line: all below it is content."""
    first = [line[:_LINE] for line in text.splitlines()[:1] if line]
    return _read_lines(first, first, counted=False, short=True, weak=weak, calm=False) or _OK


def _read(head: str, tail: str, whole: bool, weak: bool, did: Did | None) -> Evidence:
    if head[:1] == "<" and len(head) < 60 and _ONLY_TAGS.match(head):
        return _EMPTY
    lines = head.splitlines()
    top = [line[:_LINE] for line in lines[: _HEAD_LINES * 3] if line and not line.isspace()]
    if not whole:
        lines = tail.splitlines()
    end = [line[:_LINE] for line in lines[-_TAIL_LINES * 2 :] if line and not line.isspace()]
    code = None
    if "ode" in head or "ode" in tail or "tatus" in head or "tatus" in tail:
        code, kept = without_fields(end)
        if code is not None:
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
                return _NO_MATCH
            code = 0
        if not top and not end:
            if "<" not in head and code in (0, 1):
                return _ended(code) if code else _OK
            return _EMPTY if code == 0 else _NO_MATCH if code == 1 else _ended(code)
    short = whole and len(head) <= _SHORT
    if did is not None and did.content and not short:
        return _ended(code) if code else _OK
    counted = "ail" in tail or "AIL" in tail or "rror" in tail or "✖" in tail or "not ok" in tail
    found = _read_lines(top, end, counted=counted, short=short, weak=weak and code is None, calm=code == 0)
    if found is not None:
        return found
    return _ended(code) if code else _OK


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
                line = part[max(0, at - _LINE) : at + _LINE].replace("\\n", "\n")
                start = line.rfind("\n", 0, line.find(sign)) + 1
                if _TEST_LINE.match(line[start:].partition("\n")[0]):
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
                return _JSON_ERROR if _judge(said[2], True, None).failed else None
    block = _BLOCK_START.match(head)
    if block is not None:
        if did is not None and did.content:
            return _OK
        return _read(_unescaped(head[block.end() :]), _unescaped(_BLOCK_END.sub("", tail)), False, False, did)
    if not _JSON_START.match(head):
        return None
    if head[0] == "{" and ("rror" in head or "tatus" in head or '": false' in head or "ode" in head):
        match = _JSON_SIGN.search(head)
        if match is not None:
            before = head[: match.start()]
            if before.count("{") - before.count("}") == 1 and before.count("[") == before.count("]"):
                return _JSON_ERROR
    if head[0] == "{" and "\\n" in tail and (did is None or not did.content):
        printed = _unescaped(tail).rstrip('"}] \n')
        lines = [line[:_LINE] for line in printed.splitlines() if line and not line.isspace()]
        return _read_lines([], lines, counted=True, short=False, weak=False, calm=True) or _OK
    return _OK


_MESSAGE = re.compile(r"\{'(?:message|error|detail)': (['\"])(.{1,400}?)\1\}")
"""A dict of Python with nothing but a message, as some servers print it."""


def _unescaped(part: str) -> str:
    return part.replace("\\n", "\n").replace('\\"', '"')


def _read_value(value: Any, did: Did | None = None) -> Evidence:
    if type(value) is list:
        if value and all(type(item) is dict and type(item.get("text")) is str for item in value[:_BLOCKS]):
            return _worst([_read_value(item, did) for item in value[:_BLOCKS]])
        return _OK if any(item not in _NIL for item in value) else _EMPTY
    if type(value) is str:
        return _judge(value, True, did)
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
            quiet = number == 1 and (silent or (did is not None and did.quiet))
            return _NO_MATCH if quiet else _ended(number)
    if type(get("message")) is str and _ENVELOPE.issuperset(value) and judge_text(value["message"]).failed:
        return _JSON_ERROR
    if get("type") in ("text", "output_text") and type(get("text")) is str:
        return _judge(value["text"], True, did)
    told = {key: inner for key, inner in value.items() if key not in _ECHOED and not _is_nil(inner)}
    if len(told) == 1:
        ((key, inner),) = told.items()
        if key == "detail" and type(inner) in (str, list) and inner:
            return _REFUSED
        if key in _TEXTS and (type(inner) is str or _is_blocks(inner)):
            return _read_value(inner, did)
    for key in _LOGS:
        log = get(key)
        if type(log) is str and log and (found := _judge(log, False, did)).failed:
            return found
    if not told and not _ONLY_COMPLAINTS.issuperset(value):
        return _NOTHING
    return _OK


_BLOCKS = 12
"""Content blocks of one result that are read."""


def _is_blocks(value: Any) -> bool:
    return type(value) is list and bool(value) and type(value[0]) is dict and type(value[0].get("text")) is str


def _worst(found: list[Evidence]) -> Evidence:
    """The verdict on a result in several blocks: the gravest failure; empty only if every block is."""
    failed = [each for each in found if each.failed]
    if failed:
        return max(failed, key=lambda each: each.severity)
    return found[0] if all(each.verdict == "empty" for each in found) else _OK


def _is_nil(value: Any) -> bool:
    return value in _NIL or (type(value) is dict and all(item in _NIL for item in value.values()))


_NIL: tuple[Any, ...] = (None, False, 0, "", [], {})
_FALSE: tuple[Any, ...] = ("false", "False", False)
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


# ---- lines -----------------------------------------------------------------------------------------------------------

_STATED = re.compile(
    r"(?:(?i:uncaught|unhandled)\b.{0,40}?)?(?:[\w.]{1,100}\.)?\w{0,60}(?:Error|Exception)(?:\s?\[\w+\])?: \S"
    r"|(?:AssertionError|RecursionError|MemoryError|StopIteration)$|Exception in thread "
    r"|(?:(?!(?i:no|zero|without|any) )(?:[A-Z][A-Za-z/]{1,14} ){0,2}|(?!(?i:no|zero|any) )[a-z]{2,15} "
    r"|[A-Z/]{2,10} |#\d{1,4} |[\w./-]{1,20}: )?(?i:error|exception)"
    r"(?:\s?\[[\w-]{1,20}\]|\s?\([^()\n]{1,40}\)"
    r"|\s(?!handling|guide|messages?\b|logs?\b|codes\b|reports?\b|handlers?\b|rates?\b|budget)[\w./'`\"-]{1,40}){0,6}"
    r"\s?[:：]\s{0,2}(?!\s*\W{0,2}(?:0|none|null|no|false|nil|empty|n/a)\b)\S"
    r"|(?:[A-Z][a-z]{1,15} )?(?i:error) (?:near|at|on) line \d"
    r"|(?i:error (?:executing|running|calling|invoking|reading|writing|while|in|during|fetching|parsing|loading|opening"
    r"|connecting)\b)"
    r"|(?i:(?:sorry, )?(?:an|the following|some) [\w ]{0,20}(?:error|exception) (?:occurred|was|has)\b)"
    r"|(?i:\[(?:\w{1,20} )?error\])"
    r"|(?i:error\s?$|<(?:tool_(?:use_)?)?error\b[^>]{0,80}>)"
    r"|\W{0,3}(?i:found|with|generated) [1-9]\d* (?:\w{1,15} )?errors?(?!\.\w|[\w-])"
    r"|[1-9]\d* errors? (?:found|generated|occurred)"
    r"|-- Configuring incomplete, errors occurred|CMake Error\b"
    r"|\S{1,200}?:\d+(?::\d+)?(?::| -) (?:fatal )?error\b[: ]|\S{1,200}?\(\d+(?:,\d+)?\): (?:fatal )?error\b"
    r"|npm (?:ERR!|error )|make(?:\[\d+\])?: \*\*\* "
)
_STARTS = (
    "fatal:", "fatal error", "panic:", "failure:", "err:", "oh no! ", "e: ", "npm err!", "make: ***", "build failed",
    "build failure", "[info] build failure", "[error] ", "compilation failed", "compilation error", "conflict (",
    "automatic merge failed", "ninja: build stopped", "** build failed **", "execution timed out", "error in ",
    "segmentation fault", "thread 'main' panicked", "<error>", "enoent", "eacces", "eperm", "econnrefused",
    "econnreset", "etimedout", "enotfound", "eisdir", "enotdir", "fehler:", "erreur :", "erreur:", "erro:", "errore:",
    "hata:", "fout:", "błąd:", "lỗi:", "ошибка:", "خطأ:", "त्रुटि:", "错误：", "错误:", "錯誤：", "錯誤:",
    "エラー:", "エラー：", "오류:",
)  # fmt: skip
"""How a line that states an error starts, in small letters."""

_FAILED = re.compile(
    r"\W{0,3}(?:the |your |this )?(?:\w{1,20} ){1,3}(?:timed out|has timed out)\b"
    r"|\W{0,3}(?:the |your |this )?(?:last |previous )?(?:tool|command|execution|process|call|request|operation|script"
    r"|query|test|build|action|session|connection|job|task|step)\b.{0,250}?"
    r"\b(?:timed out|exceeded the time(?:out| limit))\b"
    r"|\W{0,3}(?:the |your )?(?:tool|command|request|operation|query|build|test|script|call|execution|connection"
    r"|\w{1,12} test|\w{1,12} check)(?: \S{1,40})? failed(?::| to | with |\W*$)"
    r"|.{0,60}\b(?:script|hook|command|job|task|step|checks?|build|compilation) failed"
    r"(?: \((?:code|exit|status)|\W*$)"
)
_EDIT_FAILED = re.compile(
    r"\W{0,4}(?:(?:the|your|this) )?(?:proposed )?(?:edits?|changes?|patch|diff|replacements?)\b.{0,60}?"
    r"\b(?:introduced? new|not (?:been )?applied|(?:could|did|does|was|were) not|cannot|failed|rejected)\b"
    r"|.{0,60}\b(?:failed to|could not|cannot|unable to|did not)"
    r" (?:apply|edit|replace|patch|find (?:the )?(?:expected|exact|old))"
    r"|\W{0,4}no (?:exact|sufficiently similar) match|\W{0,4}no replacement was performed"
    r"|.{0,200}\bdid not appear verbatim"
    r"|.{0,60}\b(?:old_?(?:str(?:ing)?|text)|search (?:block|content|text|string)|string to replace|hunk #?\d+)\b"
    r".{0,200}?\b(?:not (?:found|unique|match)|no(?:t| exact)? match|failed|multiple (?:times|occurrences|matches)"
    r"|(?:does|did)(?: not|n't) (?:exist|match|appear|occur)|identical)"
    r"|.{0,40}\b(?:0|zero|no|multiple) occurrences? (?:of .{1,200} )?(?:were |was )?found\b"
    r"|\W{0,4}(?:error: )?(?:patch failed|corrupt patch|(?:.{1,120}: )?patch does not apply)"
    r"|.{0,40}\bsearch/replace blocks? failed"
)
"""An edit that was not made, in the words of editors and patch tools (small letters)."""

_EDIT_WORDS = ("edit", "patch", "replace", "match", "occurrence", "hunk", "diff", "verbatim", "applied", "old_str")

_CALLED = r"operation|action|command|tool(?: use| call)?|call|exec(?:ution)?|request|patch|edit|changes?|permission|run"
_SAID_NO = r"denied|rejected|declined|refused|cancell?ed|interrupted|aborted|skipped"
_HUMAN = re.compile(
    r"\W{0,4}(?:\w{1,20}\W{1,3}){0,6}?(?:user|human|operator)\b.{0,20}?\b(?:(?:does|did)(?: not|n't) want"
    rf"|(?:(?:has |have )?(?:{_SAID_NO}|disallowed)"
    r"|chose (?:not to|to (?:reject|deny|skip|cancel|decline))"
    r"|(?:did|does|would)(?: not|n't) (?:allow|approve|permit|confirm|accept|grant))\b.{0,30}?"
    rf"(?:\b(?:{_CALLED}|it|this)\b|\W*$))"
    rf"|\W{{0,4}}(?:\w{{1,20}}\W{{1,3}}){{0,3}}?(?:{_CALLED})\b.{{0,40}}?\b(?:{_SAID_NO})"
    r" by (?:the )?(?:human|user|operator)"
    r"|\[(?:request|operation|tool use)\b.{0,20}(?:interrupted|cancell?ed|aborted|rejected)"
)
"""A person said no (small letters)."""

_NO_TOOL = re.compile(
    r"\W{0,4}(?:error: )?(?:the |requested |no |unknown )?(?:tool|function|method|command|agent|action)\b"
    r".{0,80}?\b(?:not (?:found|available|registered|defined|supported)|does not exist|is unknown)\b"
)
_ELSEWHERE = re.compile(
    r"no se (?:pudo|puede|encontr|ha podido)|no existe|imposible |impossible d|échec d|n'existe pas|introuvable"
    r"|не удалось|невозможно|не найден|не существует|отказано|запрещ"
    r"|konnte nicht|kann nicht|nicht gefunden|fehlgeschlagen"
    r"|não foi possível|não encontrad|falha ao|impossibile |non (?:è stato possibile|trovat)|niet gevonden|kan niet"
    r"|nie można|nie znaleziono|不存在|无法|失败|拒绝|無法|失敗|できません|見つかりません|없습니다|실패|تعذر|فشل|विफल"
)
"""Something could not be done or found, in other languages (small letters): read only where nothing else is said."""

_HTTP_LINE = re.compile(
    r"HTTP(?:/\d(?:\.\d)?)?(?: error| status(?: code)?)?[: ]{1,2}[45]\d\d\b"
    r"|(?:response )?status(?: code)?\s?[:=]\s?[45]\d\d\b|(?:http )?[45]\d\d (?:client|server) error"
    r"|[45]\d\d:? (?:bad request|unauthorized|forbidden|not found|method not allowed|conflict|gone|unprocessable"
    r"|too many requests|internal server error|bad gateway|service unavailable|gateway time)"
    r"|<(?:title|h1)>\s*(?:error )?[45]\d\d\b",
    re.IGNORECASE,
)
_SHELL_LINE = re.compile(
    r"[\w./~+*-]{1,60}: .{0,250}?(?:no such file\b|permission denied|command not found|no matches found|is a directory"
    r"|not a directory|cannot access|unrecognized option|invalid option|operation not permitted|no module named \S+"
    r"|can(?:'t|not) open|could not resolve|connection refused|syntax error|unexpected token|unexpected end of file"
    r"|broken pipe|no space left|: not found)(?:\W|$)"
    r"|'[^'\n]{1,80}' is not recognized as an internal|curl: \(\d+\) ",
    re.IGNORECASE,
)
_TEST_LINE = re.compile(
    r"=+ .{0,120}?(?<![\w.])[1-9]\d* failed\b.{0,120}=+$"
    r"|\W{0,4}(?:\d+ \w{1,20}, ){0,4}[1-9]\d* (?:tests? |specs? )?fail(?:ed|ing|ures?)\b(?:\W*$|[,;]| in | out of | \()"
    r"|\s*(?:Tests?|Test Suites?|Suites|test result|Results?)\b[^\n]{0,60}?(?<![\w.])[1-9]\d* failed\b"
    r"|\d+ (?:examples?|tests?|specs?|scenarios?|runs?)(?:, \d+ [a-z]{1,20}){0,4}, [1-9]\d* (?:failures?|errors?)\b"
    r"|\W{0,4}Tests? failed: [1-9]|\d+ \w{1,20} \((?:\d+ \w{1,20}, ){0,4}[1-9]\d* failed"
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
    r"|time(?:d )?out(?!: ?\d)|bad request|internal server error|rejected|denied|too many requests|rate limit"
    r"|insufficient|not enough|killed$|aborted$"
    r"|(?:invalid|unknown|unsupported|missing|illegal)(?-i: [a-z'`\"]| [A-Z]{2,}\b|:))"
    r"|[❌✗✘]\W{1,3}.{0,60}\bfail|[\w ]{1,40} failed(?:: .*|\W*$)"
    r"|.{0,80}\b(?:could not|cannot|can't|couldn't) be \w{2,20}|.{0,80}\brate limit exceeded"
    r"|.{0,80}\b(?:do(?:es)? not|don't|doesn't) have (?:permission|access)\b"
    r"|.{0,80}\bnot (?:allowed|permitted|authori[sz]ed|supported)\b"
    r"|.{0,30}\b(?:blocked|rejected|denied|terminated) by\b"
    r"|.{0,120}\b(?:connection|was) refused\b|.{0,80}\boutside (?:of )?the (?:allowed|permitted|workspace|sandbox)\b"
    r"|rate limit reached|[\w.]{1,40}: net::err_\w+|\d{1,6} files? would be reformatted"
    r"|.{0,200}\b(?:not found|does(?: not|n't) exist)(?:[.,;:(].*)?$"
    r"|.{0,200}\b(?:is(?: not|n't) (?:valid|recognized|available|a valid \w+.*)|no such file or directory"
    r"|(?:is|are) required|access denied|timed out|must be (?:a|an|one|between|at least|in|of)\b.{0,60}|was rejected"
    r"|validation errors? for .*|invalid (?:arguments?|parameters?|input).{0,80}|has not been read.{0,60}"
    r"|process terminated.{0,60})\W*$",
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
    first = top[0].lower() if top else ""
    if first:
        if ("user" in first or "human" in first or first[0] == "[") and _HUMAN.match(first):
            return _DENIED
        for line in top[:3]:
            small = line.lower()
            if any(word in small for word in _EDIT_WORDS) and _EDIT_FAILED.match(small):
                return _NOT_EDITED
    if brief and top and _NOTHING_LINE.match(top[0]) and not _NEGATED.search(top[0]):
        return _NOTHING
    looked = last[-2:] if calm else (*top[:_HEAD_LINES], *last)
    for place, line in enumerate(looked):
        if line[0].isspace():
            continue
        small = line.lower()
        if ("http" in small or "status" in small or line[0] in "45<") and _HTTP_LINE.match(line):
            return _HTTP
        if line[0] in _DRAWN:
            line = line.lstrip(_DRAWN)
            small = line.lower()
        if small.startswith(_STARTS) or (("rror" in small or "xception" in small) and _STATED.match(line)):
            return _CRASH if _has_traceback(top, end) else _LINE_ERROR
        if small[:7].strip() in _ALONE and place + 1 < len(looked) and _NIL_LINE.match(looked[place + 1]) is None:
            return _LINE_ERROR
        if ("failed" in small or "time" in small) and _FAILED.match(small):
            return _LINE_ERROR
    if not calm and top and top[0].startswith("Traceback (most recent call last)"):
        return _CRASH
    if end and ": " in end[-1] and _SHELL_LINE.match(end[-1]):
        return _SHELL
    if short and top:
        complaints = sum(": " in line and _SHELL_LINE.match(line) is not None for line in top)
        if complaints * 2 >= len(top):
            return _SHELL
    if brief and weak and top and not _NEGATED.search(top[0]) and _refused(top[0], first):
        return _REFUSED
    return None


def _refused(line: str, small: str) -> bool:
    if _LOGGED.match(line) is not None:
        return False
    elsewhere = ";" not in small and _ELSEWHERE.search(small) is not None
    return elsewhere or _REFUSAL.match(line) is not None or _NO_TOOL.match(small) is not None


_LOGGED = re.compile(r"\W?\d{4}-\d\d-\d\d|\W?\d\d:\d\d:\d\d")
"""A line of a log tells of something that happened, not of the call."""


_DRAWN = "│┃▌ "
"""What some tools draw at the left of their messages."""

_ALONE = frozenset(("error:", "errors:", "ошибка:", "fehler:", "erreur:"))
"""A line that is nothing else announces what the next one says."""

_NIL_LINE = re.compile(r"\W*(?:none|null|nil|empty|no errors?|0)?\W*$", re.IGNORECASE)


def _has_traceback(top: list[str], end: list[str]) -> bool:
    return any(line.startswith("Traceback (most recent") for line in (*top, *end))
