"""Every row of the table of faults has a test under its number: here, among the attacks or with the transport."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROWS = range(1, 111)


def test_every_row_is_tested_sync_and_async() -> None:
    here = Path(__file__).resolve().parent
    folders = [str(here), str(here.parent / "attacks"), str(here.parent / "transport")]
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *folders]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=here.parents[1])
    found: dict[int, set[str]] = {}
    for line in done.stdout.splitlines():
        for number in re.findall(r"row(\d+)", line):
            found.setdefault(int(number), set()).update(re.findall(r"\b(sync|async)-", line))
    assert sorted(found) == list(ROWS), sorted({*ROWS} - {*found})
    assert {number for number, ways in found.items() if ways != {"sync", "async"}} == set()
