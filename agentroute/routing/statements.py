"""Says what the lines of a printed result state: an error, failing tests, a refusal, or that there is nothing.

The tables name kinds of lines, in the words of shells, compilers, test runners, editors, harnesses and servers;
`read_lines` asks them in turn, the strongest signs first.
"""

from __future__ import annotations

import re

from .verdicts import (
    CRASH,
    DENIED,
    HTTP,
    LINE_ERROR,
    NOT_EDITED,
    NOTHING,
    REFUSED,
    SHELL,
    TESTS,
    UNRUN,
    Evidence,
)

__all__ = ["HEAD_LINES", "LINE", "TAIL_LINES", "TEST_LINE", "read_lines"]

HEAD_LINES, TAIL_LINES = 4, 8
"""Lines that are looked at: failures are announced at the top or concluded at the bottom."""

LINE = 300
"""Characters read of one line."""

_STATED = re.compile(
    r"(?:(?i:uncaught|unhandled)\b.{0,40}?)?(?:[\w.]{1,100}\.)?\w{0,60}(?:Error|Exception)(?:\s?\[\w+\])?: \S"
    r"|(?:AssertionError|RecursionError|MemoryError|StopIteration)$|Exception in thread "
    r"|(?:(?!(?i:no|zero|without|any) )(?:[A-Z][A-Za-z/]{1,14} ){0,2}|(?!(?i:no|zero|any) )[a-z]{2,15} "
    r"|[A-Z/]{2,10} |#\d{1,4} |[\w./-]{1,20}: )?(?i:error|exception)"
    r"(?:\s?\[[\w-]{1,20}\]|\s?\([^()\n]{1,40}\)"
    r"|\s(?!handling|guide|messages?\b|logs?\b|codes\b|reports?\b|handlers?\b|rates?\b|budget)[\w./'`\"-]{1,40}){0,6}"
    r"\s?[:：]\s{0,2}(?!\s*\W{0,2}(?:0|none|null|false|nil|empty|n/a|no(?:\W*$| (?:errors?|issues?|problems?"
    r"|failures?)))\b)\S"
    r"|(?:[A-Z][a-z]{1,15} )?(?i:error) (?:near|at|on) line \d"
    r"|(?i:error (?:executing|running|calling|invoking|reading|writing|while|in|during|fetching|parsing|loading"
    r"|opening"
    r"|connecting)\b)"
    r"|(?i:(?:sorry, )?(?:an|the following|some) [\w ]{0,20}(?:error|exception) (?:occurred|was|has)\b)"
    r"|(?i:\[(?:\w{1,20} )?error\b[^\]\n]{0,60}\])|\W{0,3}\(\w{0,40}Error\) |\[!\] |error [A-Z][a-z]+ \S"
    r"|(?i:.{1,100}: line \d+, col(?:umn)? \d+, error\b)"
    r"|(?i:error (?!handling|logging|reporting|checking|monitoring|tracking|processing|correcting"
    r"|messag)\w{3,12}ing\b)"
    r"|(?:<\?xml[^>]{0,80}>\s*)?<(?:\w{1,10}:)?(?:Error|Fault|ErrorResponse)\b[^>/]{0,80}>"
    r"|(?i:error\s?$|<(?:.{0,200}<)?(?:tool_(?:use_)?)?error\b[^>/]{0,80}>\s*[^<\s])"
    r"|\W{0,3}(?i:found|with|generated) [1-9]\d* (?:\w{1,15} )?errors?(?!\.\w|[\w-]| in (?:the |\w+ )?logs?\b)"
    r"|[1-9]\d* errors? (?:found|generated|occurred)"
    r"|-- Configuring incomplete, errors occurred|CMake Error\b"
    r"|\S{1,200}?:\d+(?::\d+)?(?::| -) (?:fatal )?error\b[: ]|\S{1,200}?\(\d+(?:,\d+)?\): (?:fatal )?error\b"
    r"|npm (?:ERR!|error )|make(?:\[\d+\])?: \*\*\* "
    r"|(?:[A-Z]{2,5} |The following )?(?i:errors?) (?:detected|reported) in\b"
)
_STARTS = (
    "fatal:", "fatal error", "panic:", "failure:", "err:", "oh no! ", "e: ", "npm err!", "make: ***", "build failed",
    "build failure", "[info] build failure", "[error] ", "compilation failed", "compilation error", "conflict (",
    "automatic merge failed", "ninja: build stopped", "** build failed **", "execution timed out", "error in ",
    "segmentation fault", "bus error", "floating point exception", "illegal instruction", "terminate called",
    "aborted (core", "net::err_", "(error) ",
    "thread 'main' panicked", "<error>", "enoent", "eacces", "eperm", "econnrefused",
    "econnreset", "etimedout", "enotfound", "eisdir", "enotdir", "fehler:", "erreur :", "erreur:", "erro:", "errore:",
    "hata:", "fout:", "błąd:", "lỗi:", "ошибка:", "خطأ:", "त्रुटि:", "错误：", "错误:", "錯誤：", "錯誤:",
    "エラー:", "エラー：", "오류:",
)  # fmt: skip
"""How a line that states an error starts, in small letters."""

_FAILED = re.compile(
    r"\W{0,3}(?:the |your |this )?(?:\w{1,20} ){1,3}(?:timed out|has timed out)\b"
    r"|\W{0,3}(?:the |your |this )?(?:last |previous |\w{1,12} )?(?:tool|command|execution|process|call|request"
    r"|operation|script"
    r"|query|test|build|action|session|connection|job|task|step)\b.{0,250}?"
    r"\b(?:timed out|exceed(?:ed|ing) (?:the |its |a )?(?:\w{1,12} )?(?:time\w*|deadline|limit)"
    r"|(?:took|takes|taking|ran|running)(?: for)? (?:more|longer) than)\b"
    r"|\W{0,3}(?:the |your )?(?:tool|command|request|operation|query|build|test|script|call|execution|connection"
    r"|\w{1,12} test|\w{1,12} check)(?: \S{1,40})? failed(?::| to | with |\W*$)"
    r"|\W{0,8}(?:\w{1,8}\W{1,3})?(?:code style|style|lint(?:ing)?|format(?:ting)?|type) (?:issues|errors"
    r"|problems) found"
    r"|.{0,60}\b(?:script|hook|command|job|task|step|checks?|build|compilation) failed"
    r"(?: \((?:code|exit|status)|\W*$)"
)
_FAILED_SIGNS = ("failed", "time", " than", "exceed", " found")
_DIAGNOSTIC = re.compile(
    r"\S{1,200}?:\d+: (?:[A-Z]{1,4}\d{2,5}:? |undefined reference )"
    r"|\S{1,200}?\.\w{1,5}:\d+:\d+: (?!(?:warning|note|info|remark|hint|style|convention|refactor)\b)\S"
    r"|Msg \d+, Level (?:1[1-9]|2\d), State \d"
    r"|\w+(?:\.\w+)?: line \d+: \S{1,80}: |(?:ba|z|da|k|fi)?sh(?::\d+|: \d+)?: \S{1,80}: [^\x00-\x7f]*\w"
)
"""What compilers, linters and shells say of a place or a command, in any language."""

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
    r"|.{0,40}\bfound (?:[2-9]\d*|multiple|several) (?:matches|occurrences) (?:of|for) .{0,40}(?:string|text|str)\b"
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
    rf"|(?:{_SAID_NO}) by (?:the )?(?:human|user|operator)\b"
    r"|\[(?:request|operation|tool use)\b.{0,20}(?:interrupted|cancell?ed|aborted|rejected)"
)
"""A person said no (small letters)."""

_MISFORMED = re.compile(
    r".{0,80}\b(?:did(?: not|n't) (?:use|call|contain|include) (?:a|any) (?:valid )?(?:tool|action|command)"
    r"|no (?:valid )?(?:tool calls?|actions?|commands?|tool use)\b.{0,20}? (?:found|detected|provided)"
    r"|exactly one (?:action|command|tool|code block|bash)"
    r"|(?:could not|cannot|failed to|unable to) (?:parse|decode) (?:the |your )?(?:\w{1,12} )?"
    r"(?:arguments?|action|command|response|output|tool call|llm output|input))"
)
"""A harness could not read the call (small letters)."""

_NO_TOOL = re.compile(
    r"\W{0,4}(?:error: )?(?:the |requested |no |unknown )?(?:tool|function|method|command|agent|action)\b"
    r".{0,80}?\b(?:not (?:found|available|registered|defined|supported)|does not exist|is unknown)\b"
)
_ELSEWHERE = re.compile(
    r"no se (?:pudo|puede|encontr|ha podido)|rechaz[aó]|falló|no encontrad|no existe|imposible |impossible d"
    r"|échec d|a échoué|n'existe pas|introuvable"
    r"|не удалось|невозможно|не найден|не существует|отказано|запрещ"
    r"|konnte nicht|kann nicht|nicht gefunden|fehlgeschlagen|abgebrochen|zeitüberschreitung"
    r"|não foi possível|não encontrad|falha ao|impossibile |non (?:è stato possibile|trovat)|niet gevonden|kan niet"
    r"|nie można|nie znaleziono|不存在|无法|失败|拒绝|無法|失敗|找不到|未找到命令|超时|超時|タイムアウト"
    r"|エラー\s?[:：]|できません|見つかりません|없습니다|찾을 수 없|실패|تعذر|فشل|विफल"
)
"""Something could not be done or found, in other languages (small letters): read only where nothing else is said."""

_HTTP_LINE = re.compile(
    r"HTTP(?:/\d(?:\.\d)?)?(?: error| status(?: code)?)?[: ]{1,2}[45]\d\d\b"
    r"|(?:response )?status(?: code)?\s?[:=]\s?[45]\d\d\b|(?:http )?[45]\d\d (?:client|server) error"
    r"|[45]\d\d:? (?:bad request|unauthorized|forbidden|not found|method not allowed|conflict|gone|unprocessable"
    r"|too many requests|internal server error|bad gateway|service unavailable|gateway time)"
    r"|<.{0,120}?<?(?:title|h1)>\s*(?:error )?[45]\d\d\b",
    re.IGNORECASE,
)
_SHELL_LINE = re.compile(
    r"[\w./~+*-]{1,60}: .{0,250}?(?:no such file\b|permission denied|command not found|no matches found"
    r"|is a directory"
    r"|not a directory|cannot access|unrecognized option|invalid option|operation not permitted|no module named \S+"
    r"|can(?:'t|not) open|could not resolve|name or service not known|no such host"
    r"|connection refused|syntax error|unexpected token|unexpected end of file"
    r"|broken pipe|no space left|: not found)(?:\W|$)"
    r"|'[^'\n]{1,80}' is not recognized as an internal|curl: \(\d+\) "
    r"|(?:cat|ls|cp|mv|rm|mkdir|rmdir|touch|chmod|chown|ln|tar|unzip|sed|awk|grep|egrep|find|sort|wc|ssh|scp"
    r"|rsync|tee)"
    r": [^:\n]{1,200}: \S",
    re.IGNORECASE,
)
TEST_LINE = re.compile(
    r"=+ .{0,120}?(?<![\w.])[1-9]\d* failed\b.{0,120}=+$"
    r"|# fail [1-9]|> Task \S{1,80} FAILED$"
    r"|\W{0,4}(?:\d+ (?:\w{1,20} )?\w{1,20}, ){0,4}[1-9]\d* (?:tests? |specs? )?fail(?:ed|ing|ures?)\b(?:\W*$"
    r"|[,;]| in | out of | \()"
    r"|\s*(?:Tests?|Test Suites?|Suites|test result|Results?)\b[^\n]{0,60}?(?<![\w.])[1-9]\d* failed\b"
    r"|\d+ (?:examples?|tests?|specs?|scenarios?|runs?)(?:, \d+ [a-z]{1,20}){0,4}, [1-9]\d* (?:failures?|errors?)\b"
    r"|\W{0,4}Tests? failed: [1-9]|\d+ \w{1,20} \((?:\d+ \w{1,20}, ){0,4}[1-9]\d* failed"
    r"|FAILED \((?:failures|errors|unexpected)|FAILED \S+::|--- FAIL: |FAIL(?:\s+\S+[/.]\S+|\s*$|: \S+ \()|FAILURES!"
    r"|.{0,20}Tests run: \d+, Failures: (?:[1-9]|0, Errors: [1-9])|Failed!\s+-\s+Failed:\s+[1-9]"
    r"|\d+% tests passed, [1-9]\d* tests? failed|✖ [1-9]\d* (?!problems? \(0 errors)|test result: FAILED"
)
_UNRUN_LINE = re.compile(
    r"=+ (?:\d+ (?:passed|skipped|warnings?|deselected|xfailed), ){0,5}[1-9]\d* errors?\b.{0,60} in .{0,40}=+$"
)

_REFUSAL = re.compile(
    r"(?:(?:sorry|unfortunately|oops)[,!.]? (?:i |we )?|[\w./-]{1,20}:\s{1,2}|\[error\] )?"
    r"(?:failed to|could not|couldn't|cannot|can't|unable to|unauthori[sz]ed|forbidden|permission denied"
    r"|access (?:is )?denied|no replacement was performed|not (?:found|allowed|permitted|authori[sz]ed|supported)"
    r"|time(?:d )?out(?!: ?\d)|bad request|internal server error|rejected|denied|too many requests|rate limit"
    r"|insufficient|not enough|killed$|aborted$"
    r"|(?:invalid|unknown|unsupported|missing|illegal)(?-i: [a-z'`\"]| [A-Z]{2,}\b| [A-Z][a-z]+:|:))"
    r"|(?:-?\d{1,6}: )?[\w ]{1,40} failed(?:: (?!0\b).*| (?:because|due to|after)\b.*|\W*$)"
    r"|.{0,40}\bpermissions? (?:to|for)\b.{0,160}\b(?:denied|refused|(?:not|\w{1,6}n't) (?:been )?granted)\b"
    r"|.{0,80}\b(?:was|were|has|have)(?: not|n't) (?:been )?(?:executed|performed|run|saved|applied|created"
    r"|processed|sent"
    r"|completed|changed|updated|deleted)\b|.{0,80}\bhas been modified since\b"
    r"|.{0,80}\bexceed(?:s|ed) (?:the )?(?:maximum|max|limit|allowed|quota|size)\b|no such \w"
    r"|(?:[A-Z]\w{1,20} ){1,2}(?:could not|couldn't|cannot|can't|unable to|failed to) \w"
    r"|.{0,40}\bconnect(?:ion)? (?:error|failure|failed|reset|closed|aborted)\b"
    r"|.{0,80}\bis(?: not|n't) (?:mergeable|possible|accessible|reachable|installed|configured|executable)\b"
    r"|(?:[❌✗✘⨯]|X(?-i: [A-Z][a-z]))"
    r"|.{0,80}\b(?:could not|cannot|can't|couldn't) be \w{2,20}|.{0,80}\brate limit exceeded"
    r"|.{0,80}\b(?:do(?:es)? not|don't|doesn't) have (?:permission|access)\b"
    r"|.{0,80}\bnot (?:allowed|permitted|authori[sz]ed|supported)\b"
    r"|.{0,30}\b(?:blocked|rejected|denied|terminated) by\b"
    r"|.{0,120}\b(?:connection|was) refused\b|.{0,80}\boutside (?:of )?the (?:allowed|permitted|workspace|sandbox)\b"
    r"|rate limit reached|[\w.]{1,40}: net::err_\w+|\d{1,6} files? would be reformatted"
    r"|.{0,200}\b(?:not found|does(?: not|n't) exist)(?:(?:[.,;:(]| - ).*)?$"
    r"|.{0,200}\b(?:is(?: not|n't) (?:valid|recognized|available|a valid \w+.*)|no such file or directory"
    r"|(?:is|are) (?:a )?required(?: (?:for|when|if|by|to|property|field|parameter|argument)\b.{0,80})?"
    r"|access denied|timed out|must be (?:a|an|one|between|at least|in|of|within|under|inside|less|greater|set"
    r"|given|read)\b.{0,80}|was rejected"
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


def read_lines(
    top: list[str], end: list[str], *, counted: bool, short: bool, weak: bool, calm: bool
) -> Evidence | None:
    """Failure or emptiness as the lines say it, or None.

    `counted`: there may be a count of failures; `calm`: exit code 0 says fine, so only the end may object.
    """
    last = end[-TAIL_LINES:]
    if counted:
        for line in last:
            if line.startswith("not ok ") or TEST_LINE.match(line):
                return TESTS
            if line[0] == "=" and _UNRUN_LINE.match(line):
                return UNRUN
    brief = short and len(top) <= 3
    first = top[0].lower() if top else ""
    if first:
        if ("user" in first or "human" in first or first[0] == "[") and _HUMAN.match(first):
            return DENIED
        if any(word in first for word in ("tool", "action", "command", "parse", "decode")) and _MISFORMED.match(first):
            return REFUSED
        for line in top[:3]:
            small = line.lower()
            if any(word in small for word in _EDIT_WORDS) and _EDIT_FAILED.match(small):
                return NOT_EDITED
    if brief and top and _NOTHING_LINE.match(top[0]) and not _NEGATED.search(top[0]):
        return NOTHING
    looked = last[-2:] if calm else (*top[:HEAD_LINES], *last)
    for place, line in enumerate(looked):
        if line[0].isspace():
            continue
        small = line.lower()
        if ("http" in small or "status" in small or line[0] in "45<") and _HTTP_LINE.match(line):
            return HTTP
        if line[0] in _DRAWN:
            line = line.lstrip(_DRAWN)
            small = line.lower()
        if small.startswith(_STARTS) or (("rror" in small or "xception" in small) and _STATED.match(line)):
            return CRASH if _has_traceback(top, end) else LINE_ERROR
        if (
            len(small) < 12
            and small.strip() in _ALONE
            and place + 1 < len(looked)
            and _NIL_LINE.match(looked[place + 1]) is None
        ):
            return LINE_ERROR
        if any(word in small for word in _FAILED_SIGNS) and _FAILED.match(small):
            return LINE_ERROR
        if (":" in line or line.startswith("Msg ")) and _DIAGNOSTIC.match(line):
            return LINE_ERROR
    if not calm and top and top[0].startswith("Traceback (most recent call last)"):
        return CRASH
    if end and ": " in end[-1] and _SHELL_LINE.match(end[-1]):
        return SHELL
    if short and top:
        complaints = sum(": " in line and _SHELL_LINE.match(line) is not None for line in top)
        if complaints * 2 >= len(top):
            return SHELL
    if brief and weak and top and not _NEGATED.search(top[0]) and _refused(top[0], first):
        return REFUSED
    return None


def _refused(line: str, small: str) -> bool:
    if _LOGGED.match(line) is not None:
        return False
    elsewhere = ";" not in small and _ELSEWHERE.search(small) is not None
    return elsewhere or _REFUSAL.match(line) is not None or _NO_TOOL.match(small) is not None


_LOGGED = re.compile(r"\W?\d{4}-\d\d-\d\d|\W?\d\d:\d\d:\d\d")
"""A line of a log tells of something that happened, not of the call."""


_DRAWN = "│┃▌✘✖✗×❌⨯ "
"""What some tools draw at the left of their messages."""

_ALONE = frozenset(("error:", "errors:", "ошибка:", "fehler:", "erreur:"))
"""A line that is nothing else announces what the next one says."""

_NIL_LINE = re.compile(r"\W*(?:none|null|nil|empty|no errors?|0)?\W*$", re.IGNORECASE)


def _has_traceback(top: list[str], end: list[str]) -> bool:
    return any(line.startswith("Traceback (most recent") for line in (*top, *end))
