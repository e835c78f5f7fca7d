"""Says what a tool call does (read, search, edit, test, ...) from the tool's name and, for a shell, its command."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias

__all__ = ["CHANGES", "PROGRAMS", "Action", "Did", "action", "did", "named"]

Action: TypeAlias = Literal["none", "read", "search", "edit", "write", "test", "run", "message", "delegate", "other"]
"""What a tool call does, as its name and command show. `edit` changes files, `write` changes anything else."""

CHANGES: frozenset[Action] = frozenset(("edit", "write", "message", "delegate"))
"""Actions after which the same call may bring something else."""


class Did(NamedTuple):
    """What one call did, as far as it tells how its result is to be read. `command` is what a shell was given, else
    None."""

    action: Action
    command: str | None = None

    @property
    def content(self) -> bool:
        """Whether its result is what it read or found: the words of somebody else."""
        return self.action == "read" or self.action == "search"

    @property
    def shell(self) -> bool:
        return self.command is not None

    @property
    def quiet(self) -> bool:
        """Whether exit code 1 says that nothing was found or that two things differ, not that the command failed."""
        return self.command is not None and _answers_by_code(self.command)


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
        " rename copy toggle enable disable reset submit schedule post put exchange return refund grant reboot resume"
        " suspend click type fill press todo commit push merge install deploy",
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
def named(name: str) -> tuple[Action, bool]:
    """What a tool does by its name, and whether it runs commands that have to be read."""
    words = [word.lower() for word in _WORD.findall(name.rsplit("__", 1)[-1].rsplit(".", 1)[-1])[:8]]
    if "transfer" in words[:1] or ("hand" in words and "off" in words):
        return "delegate", False
    for word in words:
        found = _VERBS.get(word)
        if found is not None:
            return found, found == "run" and any(each in _SHELLS for each in words)
    return "other", False


PROGRAMS: dict[str, Action] = _by_word(
    {
        "read": "cat sed head tail less more nl wc file stat diff awk jq cut pwd echo printf date git curl wget",
        "search": "grep egrep rg ag ack find fd ls tree locate which whereis",
        "write": "rm mv cp mkdir touch chmod ln kill apt apt-get brew",
        "edit": "tee patch apply_patch ed",
        "test": "pytest py.test tox nox jest vitest mocha rspec phpunit ctest mypy ruff eslint tsc flake8",
        "run": "python python3 node ruby perl java bash sh go cargo make docker npm npx yarn pnpm bun pip pip3 uv mvn",
    }
)
_PREFIXES = frozenset(("sudo", "time", "env", "then", "do", "timeout", "nohup"))
_TESTERS = frozenset(("test", "pytest", "unittest", "check", "nextest", "vet"))
_TEST_WORD = re.compile(r"(?<![a-zA-Z])(?:run)?tests?(?![a-zA-Z])")
_CHANGERS = frozenset(
    ("commit", "push", "merge", "checkout", "reset", "stash", "add", "rebase", "pull", "install", "clone")
)
_RANK: dict[Action, int] = {"read": 0, "search": 1, "run": 2, "write": 3, "edit": 4, "test": 5}
_REDIRECT = re.compile(r"(?<![0-9&>=<-])>{1,2} ?(?!/dev/null|[&=])[\w./~$]")
_FILE_WRITES = ("write_text(", "writeFile", "*** Begin Patch", '", "w', "', 'w", ", 'a')")


def action(name: str, arguments: str) -> Action:
    """What a call does: by the name of the tool, and for a shell by its command."""
    by_name, shell = named(name)
    if shell:
        return _commanded(arguments)
    if name in _EDITORS:
        return "read" if '"view"' in arguments[:80] else "edit"
    return by_name


def did(name: str, arguments: str) -> Did:
    """What a call does, and how its result is to be read."""
    return Did(action(name, arguments), arguments if named(name)[1] else None)


_QUIET = frozenset("grep egrep fgrep zgrep rg ag ack diff cmp test [ [[ pgrep pidof which type".split())
"""Programs whose exit code 1 is an answer."""

_QUOTED = re.compile(r"'[^']{0,500}'|\"(?:[^\"\\]|\\.){0,500}\"")
_SEPARATOR = re.compile(r"&&|\|\||[;|\n]")


def _answers_by_code(arguments: str) -> bool:
    """Whether the last command of a line, whose exit code is the line's, is one of _QUIET."""
    line = arguments
    try:
        value = json.loads(arguments)
    except (ValueError, RecursionError):
        pass
    else:
        found = [value] if isinstance(value, str) else value.values() if isinstance(value, dict) else value
        texts = [" ".join(map(str, each)) if isinstance(each, list) else each for each in found or ()]
        line = next((each for each in texts if isinstance(each, str)), "")
    words = _SEPARATOR.split(_QUOTED.sub("x", line[-2000:].strip()))[-1].split(None, 6)
    while words and ("=" in words[0] or words[0] in _PREFIXES):
        del words[0]
    if not words:
        return False
    return words[0].rsplit("/", 1)[-1] in _QUIET or (words[0] == "git" and not {"grep", "diff"}.isdisjoint(words[1:4]))


def _commanded(arguments: str) -> Action:
    """The weightiest thing a command line does (a test above an edit above a write, a run, a search, a read)."""
    text = arguments if len(arguments) <= 500 else arguments[:300] + arguments[-200:]
    # Arguments are JSON; a command that stood as text is bare.
    line = (
        (text[text.find(":") + 1 :] if text[:1] in "{[" else text.replace("\n", "\\n"))
        .replace('"', " ")
        .replace("$(", " ")
    )
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
        found = PROGRAMS.get(program) or PROGRAMS.get(program.rsplit("/", 1)[-1])
        if found is None:
            if "test" in program and _TEST_WORD.search(program):
                found = "test"
            elif program[:2] == "./":
                found = "run"
            else:
                continue
        elif found == "run":
            if not _TESTERS.isdisjoint(words) or ("test" in part and _TEST_WORD.search(part)):
                found = "test"
            elif not _CHANGERS.isdisjoint(words):
                found = "write"
        elif program == "git":
            if not _CHANGERS.isdisjoint(words[1:3]):
                found = "write"
        elif program == "sed" and " -i" in part:
            found = "edit"
        elif program == "curl" and (" -X P" in part or " -X D" in part or " -d " in part or " --data" in part):
            found = "write"
        if _RANK[found] > rank:
            best, rank = found, _RANK[found]
    if rank < 4 and (document >= 0 or rank == 2) and any(sign in text for sign in _FILE_WRITES):
        return "edit"
    if rank < 3 and ">" in line and _REDIRECT.search(line):
        return "edit" if document >= 0 else "write"
    return best
