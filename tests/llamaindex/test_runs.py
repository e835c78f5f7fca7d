"""Temporary event loops, worker threads and streams given up leave no warning, socket or thread behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.requires("llama_index")

RUNS = Path(__file__).parent / "runs.py"


@pytest.mark.parametrize("kind", ["wire", "native"])
def test_fifty_runs_leave_nothing_behind(kind: str) -> None:
    """Development mode tells of every loop, socket and task that is left to the collector; each warning is an error."""
    command = [sys.executable, "-X", "dev", "-W", "error", str(RUNS), kind]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stderr, done.stdout) == ("", "0 sockets, 0 threads left\n")
