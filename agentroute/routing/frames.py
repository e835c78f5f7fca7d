"""What harnesses write around texts that are not theirs: blocks in a user's message, frames around a tool's output."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["EXIT", "HARNESS_TAGS", "RESULT_START", "Output", "exit_codes", "is_frame", "output", "without_fields"]

HARNESS_TAGS = (
    # Claude Code
    "system-reminder|command-name|command-message|command-args|command-contents|local-command-stdout"
    "|local-command-stderr"
    "|local-command-caveat|bash-input|bash-stdout|bash-stderr|user-prompt-submit-hook|task-notification|new-diagnostics"
    "|ide_opened_file|ide_selection|ide_diagnostics"
    # Cline, Roo Code, Kilo Code
    "|environment_details|file_content|folder_content|explicit_instructions"
    # Codex
    "|environment_context|user_instructions|turn_aborted|user_shell_command|skill"
    # Cursor, Windsurf, Copilot, Zed
    "|user_info|user_information|project_layout|workspace_information|workspace_info|environment_info|git_status"
    "|open_and_recently_viewed_files|recently_viewed_files|additional_data|additional_metadata|attached_files"
    "|attachments"
    "|cursor_rules_context|linter_errors|editorContext|repoContext|reminderInstructions|reminder|todoList|agent_skills"
    "|ephemeral_message|session_context|conversation-summary"
    # OpenHands, OpenClaw, memory layers
    "|runtime_information|repository_info|repository_instructions|extra_info|uploaded_files|microagent|task_tracking"
    "|relevant-memories|relevant_memories|memories|memory"
    # retrieval wrappers
    "|context|retrieved_context|search_results"
)
"""Tags of blocks that no human and no tool wrote."""

_BLOCK_END = re.compile(rf"</({HARNESS_TAGS})>$", re.IGNORECASE)
_LEAD = re.compile(
    r"\s{0,40}(?:OBSERVATION:|Observation:(?=\s)|EXECUTION RESULT of \[[\w.-]{1,80}\]:|Code output:|Output:(?=[ \t]*\n)"
    r"|\[[\w.-]{1,80}(?: for '[^'\n]{0,300}')?\] Result:|The output of the command was:|=+ (?:STDOUT|OUTPUT) =+"
    r"|Command executed in terminal\b(?![^\n]*(?:ode|tatus)\b)[^\n]{0,300}|<(?:tool_response|tool_result|observation"
    r"|function_results?|execution_result|command_output)>)[ \t]*\n?"
)
"""How a harness begins a result that it sends as text."""

RESULT_START = re.compile(
    r"\s{0,40}(?:<(?:returncode|tool_response|tool_result|function_results?|observation|execution_result|command_output)\b"
    r"|\[[\w.-]{1,80}(?: for '[^'\n]{0,300}')?\] Result:|EXECUTION RESULT of \[|OBSERVATION:|Observation:\s"
    r"|exit ?code: -?\d|\[File: [^\n]{1,300}\]|The last command <command>|Command executed in terminal\b)"
)
"""How a result begins that a harness without tool messages sends as the user's text."""

_TRAIL = re.compile(
    r"(?![^\n]*(?:ode|tatus|rror|ail|imed out))"
    r"(?:[(\[][A-Z][A-Za-z ]{2,40}: [^\n]{0,300}[)\]]"
    r"|(?:\([\w.-]{1,30}\) )?(?:[\w.-]{1,40}@[\w.-]{1,60}[: ][^\n]{0,100}?|bash[\d.-]*|sh[\d.-]*)?[$#%]"
    r"|>>>|PS [A-Z]:[^\n]{0,100}>"
    r"|\W{0,4}(?:\d[\d,]* )?(?:more )?(?:lines?|characters|chars|bytes|tokens|output)\b[^\n]{0,20}"
    r"(?:truncated|omitted|not shown|below)[^\n]{0,80})\s*$"
)
"""A last line that says where the shell is, which file is open, or what was cut: no part of the output."""

_LAST_LINE = 400
_BLOCK = 60_000
"""Characters of a harness block at the end of a result, at most."""

_TRAILS = 8
"""Frames taken off the end of a result, at most."""


@dataclass(frozen=True, slots=True)
class Output:
    """What is left of a result without its frames: its first and last characters, and whether they are all of it.

    `start` and `end` are its bounds in the text.
    """

    head: str
    tail: str
    whole: bool
    start: int
    end: int


def output(text: str, size: int) -> Output:
    """`text` without the frames of its harness, `size` characters of either end."""
    start, end = 0, len(text)
    first = text[:1]
    if first and first in "\nOECT=<[ ":
        for _ in range(3):
            lead = _LEAD.match(text, start)
            if lead is None:
                break
            start = lead.end()
    for _ in range(_TRAILS):
        bound = max(start, end - _LAST_LINE)
        window = text[bound:end].rstrip()
        end = bound + len(window)
        if not window or window[-1] not in ")]$#%>":
            break
        if window[-1] == ">" and (block := _BLOCK_END.search(window)) is not None:
            opening = text.rfind(f"<{block[1]}", max(start, end - _BLOCK), end)
            if opening < 0:
                opening = bound + block.start()
            end = opening
            continue
        line = window.rfind("\n") + 1
        if (line == 0 and bound > start) or _TRAIL.match(window, line) is None:
            break
        end = bound + line
    whole = end - start <= 2 * size
    if whole:
        head = tail = text[start:end].strip()
    else:
        head, tail = text[start : start + size].strip(), text[end - size : end].strip()
    return Output(head, tail, whole, start, end)


# ---- exit codes and the lines around them ----------------------------------------------------------------------------

EXIT = re.compile(
    r"\s*<(?:return_?code|exit_?(?:code|status))>\s*(-?\d{1,10})\s*<"
    r"|\W{0,4}(?:\w{1,20} ){0,4}?(?:exit|return)(?:ed)?[ _-]?(?:with )?(?:non-?zero )?(?:exit |return )?"
    r"(?:code|status)\b\W{0,4}?(-?\d{1,10})\b(?=\W*$|[:,;] | after | in | \()"
    r"|.{0,280}(?:[.;,(] |\bwith (?:an? )?(?:non-?zero )?)(?:exit|return)[ _-]?(?:code|status):? (-?\d{1,10})\b"
    r"(?=\W*$|, std(?:out|err)\b)",
    re.IGNORECASE,
)
_FRAME_TAGS = frozenset(
    f"<{slash}{name}>"
    for slash in ("", "/")
    for name in ("output", "stdout", "stderr", "result", "output_head", "output_tail", "command_output")
)
_FRAME_STARTS = (
    "wall time", "duration:", "chunk id", "stdout:", "stderr:", "output:", "total output lines", "original token count",
    "command executed in terminal",
)  # fmt: skip
"""Lines that a harness puts around the output of a command: they are no output."""


def exit_codes(top: list[str], end: list[str]) -> list[int]:
    """The exit codes that the first and the last lines state."""
    found = []
    for line in (*top[:3], *end[-3:]):
        if ("ode" in line or "tatus" in line or "ODE" in line) and (match := EXIT.match(line)) is not None:
            found.append(int(match[1] or match[2] or match[3]))
    return found


def is_frame(line: str) -> bool:
    """Whether a line stands around the output of a command."""
    if line[0] == "<" and line.rstrip().lower() in _FRAME_TAGS:
        return True
    if ("ode" in line or "tatus" in line) and EXIT.match(line) is not None:
        return True
    return len(line) < 60 and line.lower().startswith(_FRAME_STARTS)


_FIELD = re.compile(r"[A-Z][\w ()/-]{0,30}: ?(.*)$|=+ [A-Z ]{3,40} =+$")
_SAID = ("output", "stdout", "stderr", "error")
_NIL_VALUE = re.compile(r"\W*(?:none|empty|null|nil|n/a|0)?\W*$", re.IGNORECASE)


def without_fields(end: list[str]) -> tuple[int | None, list[str]]:
    """The exit code of a frame of `Key: value` lines at the end, and the lines without it; None without such a frame.

    What the frame calls output or error stays, unless it says that there is none.
    """
    place = len(end)
    while place and _FIELD.match(end[place - 1]) is not None:
        place -= 1
    fields = end[place:]
    codes = [int(match[2] or match[3] or 0) for line in fields if (match := EXIT.match(line)) is not None]
    if len(fields) < 3 or not codes:
        return None, end
    kept = end[:place]
    for line in fields:
        key, _, value = line.partition(":")
        if key.lower() in _SAID and _NIL_VALUE.match(value) is None:
            kept.append(line if key.lower() == "error" else value.strip())
    return codes[0], kept
