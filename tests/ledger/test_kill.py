"""A ledger whose process is killed, and one that two processes share: whole, consistent, and no more lost than said."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from agentroute.ledger import Totals
from agentroute.ledger.reading import read_decisions, read_gaps, read_totals
from tests.test_decisions import DECISION

ROOT = Path(__file__).parents[2]
RATE = 1000
"""Decisions a second, of five processes together: below what a shared core takes (evals/results/bench_ledger.txt)."""


def start(path: Path, rate: float, n: int, name: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(ROOT / "tests" / "ledger" / "worker.py"), str(path), str(rate), str(n), name]
    return subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def begin(child: subprocess.Popen[bytes]) -> None:
    assert child.stdout is not None
    assert child.stdin is not None
    assert child.stdout.readline() == b"ready\n"
    child.stdin.write(json.dumps(DECISION.to_dict()).encode() + b"\n")
    child.stdin.flush()


def check(path: Path) -> set[str]:
    """The ids that are there, after the file and its sums were found to agree."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    found = Totals()
    ids = set()
    for decision in read_decisions(path):
        assert decision.id not in ids
        ids.add(decision.id)
        found += Totals.of(decision)
    for gap in read_gaps(path):
        found += gap.totals
    assert found == read_totals(path)
    return ids


def test_kill_9_under_load_twenty_times(tmp_path: Path) -> None:
    """Five writers of one file at a time, each killed at a moment of its own; the others go on."""
    path = tmp_path / "ledger.db"
    dice = random.Random(9)
    lost = 0
    for batch in range(4):
        names = [f"run{batch}.{n}" for n in range(5)]
        children = {name: start(path, RATE / 5, 0, name) for name in names}
        for child in children.values():
            begin(child)
        begun = time.monotonic()
        printed: list[tuple[str, float, float]] = []
        for moment, name in sorted((dice.uniform(1.1, 1.7), name) for name in names):
            time.sleep(max(0.0, begun + moment - time.monotonic()))
            killed = time.monotonic()
            children[name].kill()
            output, _ = children[name].communicate()
            printed += [(line.split()[0], float(line.split()[1]), killed) for line in output.decode().splitlines()]
        ids = check(path)
        assert [name for name, at, killed in printed if at < killed - 1.0 and name not in ids] == []
        assert sum(killed - at > 1.0 for _, at, killed in printed) > 5 * 5
        lost += sum(name not in ids for name, _, _ in printed)
    assert lost > 0, "nothing was waiting when the writers were killed: this test has shown nothing"


@pytest.mark.parametrize("n", [1500])
def test_two_processes_write_to_one_file_at_once(tmp_path: Path, n: int) -> None:
    path = tmp_path / "ledger.db"
    children = [start(path, 0, n, name) for name in ("a", "b")]
    for child in children:
        begin(child)
    for child in children:
        child.communicate()
        assert child.returncode == 0
    assert check(path) == {f"{name}-{number}" for name in ("a", "b") for number in range(n)}
    assert read_totals(path).steps == 2 * n
