"""What a ledger costs a call, and how many decisions a second the file takes.

    python evals/bench/ledger.py [--rows 20000]

CPU of one `append` on the calling thread, in memory and in SQLite (median of batches of 200, below capacity), and the
rate at which a full queue is written. Fails where nothing is written.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from datetime import date
from decimal import Decimal
from pathlib import Path

from agentroute import ChatRequest, Decision, Price, Router, Target
from agentroute.ledger import Ledger, MemoryLedger, SqliteLedger

OUT = Path(__file__).resolve().parent.parent / "results" / "bench_ledger.txt"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000, help="rows for the rate (default 20,000)")
    rows = parser.parse_args().rows
    decision = _decision()
    lines = [
        f"Ledger, {date.today()}, Python {platform.python_version()}, {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores",
        "",
        _append_line("memory", MemoryLedger(), decision),
    ]
    with tempfile.TemporaryDirectory() as folder:
        with SqliteLedger(Path(folder) / "a.db") as ledger:
            lines.append(_append_line("sqlite", ledger, decision))
        path = Path(folder) / "b.db"
        begun = time.perf_counter()
        with SqliteLedger(path, queue_size=rows + 1) as ledger:
            for _ in range(rows):
                ledger.append(decision)
        seconds = time.perf_counter() - begun
        size = path.stat().st_size
        lines.append(
            f"{rows:,} rows written in {seconds:.1f} s: {rows / seconds:,.0f} a second, {size / rows:,.0f} B each"
        )
    OUT.write_text("\n".join(lines) + "\n")
    print(*lines, sep="\n")
    return 0 if size > 0 else 1


def _append_line(name: str, ledger: Ledger, decision: Decision) -> str:
    times = []
    for _ in range(30):
        begun = time.thread_time()
        for _ in range(200):
            ledger.append(decision)
        times.append((time.thread_time() - begun) / 200 * 1e6)
        time.sleep(0.3)
    low, median, high = min(times), statistics.median(times), max(times)
    return f"append, {name}: {median:.1f} us CPU ({low:.1f}-{high:.1f})"


def _decision() -> Decision:
    """One with three candidates, as a usual step has."""
    price = Price(Decimal(1), Decimal(4))
    tiers = ("budget", "mid", "premium")
    targets = [Target(name=tier, provider="x", model=tier, tier=tier, price=price) for tier in tiers]
    asked = ChatRequest.from_openai({"messages": [{"role": "user", "content": "Why is the sky blue?"}]})
    return Router(targets=targets).route(asked)


if __name__ == "__main__":
    sys.exit(main())
