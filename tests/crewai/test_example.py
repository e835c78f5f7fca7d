"""The example runs as a stranger would run it, offline, and stays short."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parent.parent.parent / "examples" / "crewai_crew.py"
MONEY = r"\$0\.\d+"

_OF_CREWAI = (
    "-Wignore:function_calling_llm is deprecated",
    "-Wignore:deprecated:DeprecationWarning",
    "-Wignore:Cannot set an attribute on 'crewai",
)
"""Every Agent and Crew reads fields that it has deprecated itself, and one of CrewAI's modules takes no attributes."""


def test_a_crew_of_three_with_each_steps_target_and_the_bill() -> None:
    keyless = {key: value for key, value in os.environ.items() if not key.endswith("_API_KEY")}
    command = [sys.executable, "-W", "error", *_OF_CREWAI, str(EXAMPLE)]
    done = subprocess.run(command, env=keyless, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    for line, pattern in zip(
        lines,
        (
            rf"researcher: (small|strong), {MONEY}, because .+",
            rf"writer: (small|strong), {MONEY}, because .+",
            rf"reviewer: strong, {MONEY}, because .+",
            rf"The reviewer's part on tides\. \d+ tokens, {MONEY}",
        ),
        strict=True,
    ):
        assert re.fullmatch(pattern, line), line


def test_it_is_short() -> None:
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) <= 40
