"""What a tool result can say: the verdicts, and the reason that is given with each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = [
    "CRASH",
    "DENIED",
    "EMPTY",
    "FLAGGED",
    "HTTP",
    "JSON_ERROR",
    "LINE_ERROR",
    "NOTHING",
    "NOT_EDITED",
    "NO_MATCH",
    "OK",
    "REFUSED",
    "SHELL",
    "TESTS",
    "TOLD",
    "UNRUN",
    "Evidence",
    "Verdict",
]

Verdict: TypeAlias = Literal["ok", "error", "failing_test", "empty"]


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


OK = Evidence("ok", 0.0, "the result shows no failure")
TOLD = Evidence("error", 0.6, "the caller says that the latest call or answer failed")
FLAGGED = Evidence("error", 0.6, "the framework marks the result as an error")
EMPTY = Evidence("empty", 0.1, "the result is empty")
NOTHING = Evidence("empty", 0.1, "the result says that there is nothing")
NO_MATCH = Evidence("empty", 0.1, "exit code 1 with no output: nothing was found")
TESTS = Evidence("failing_test", 0.6, "the result counts failing tests")
UNRUN = Evidence("error", 0.7, "the result says that the tests could not run")
CRASH = Evidence("error", 0.8, "the result ends in a traceback")
LINE_ERROR = Evidence("error", 0.6, "a line of the result states an error")
SHELL = Evidence("error", 0.5, "the shell could not run the command or find the file")
HTTP = Evidence("error", 0.6, "the result carries an HTTP status of 400 or above")
REFUSED = Evidence("error", 0.4, "the tool refused the call")
DENIED = Evidence("error", 0.4, "a person refused the call")
NOT_EDITED = Evidence("error", 0.6, "the edit was not made")
JSON_ERROR = Evidence("error", 0.6, "the JSON result says that the call failed")
