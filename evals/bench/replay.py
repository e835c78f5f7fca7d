"""How fast and in how much memory `replay` reads a large file: writes synthetic traces, replays them, prints figures.

    python evals/bench/replay.py [--size 1G] [--seed 1]

Each line is a coding agent's conversation of 5 to 40 steps with tool results of 1 to 24 kB, as such agents have them.
Fails where the peak memory of the process is 500 MB or more.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import resource
import sys
import tempfile
import time
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

from agentroute import Capabilities, Price, Router, Target
from agentroute.replay import replay

OUT = Path(__file__).resolve().parent.parent / "results" / "bench_replay.txt"
MAX_RSS_MB = 500
_UNITS = {"K": 1024, "M": 1024**2, "G": 1024**3}
_WORDS = [
    "the",
    "test",
    "value",
    "of",
    "error",
    "file",
    "line",
    "import",
    "return",
    "class",
    "path",
    "none",
    "index",
    "list",
    "assert",
    "node",
    "request",
    "field",
]
_NAMES = ("read_file", "edit_file", "run_tests", "search")
_TOOLS = [
    {"type": "function", "function": {"name": name, "description": f"{name} in the repository", "parameters": {}}}
    for name in _NAMES
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="1G", help="bytes of traces, with K, M or G (default 1G)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    size = _bytes(options.size)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "traces.jsonl"
        with path.open("wb") as file:
            written = write_traces(file, size, random.Random(options.seed))
        before, cpu = time.perf_counter(), time.process_time()
        report = replay(path, Router(targets=_pool()))
        seconds, cpu = time.perf_counter() - before, time.process_time() - cpu
        size = path.stat().st_size

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak_mb = peak / (1024**2 if sys.platform == "darwin" else 1024)
    n_strategies = len(report.strategies)
    text = (
        f"Replay of large traces, {date.today()}, Python {platform.python_version()}, {platform.machine()}, one run\n"
        f"traces      {size / 1e6:,.0f} MB, {report.conversations:,} conversations, {report.steps:,} steps\n"
        f"wall        {seconds:.1f} s: {report.steps / seconds:,.0f} steps/s, {size / 1e6 / seconds:.1f} MB/s\n"
        f"CPU         {cpu:.1f} s: {1e3 * cpu / report.steps:.2f} ms a step, routed by {n_strategies} strategies\n"
        f"peak memory {peak_mb:.0f} MB (allowed: below {MAX_RSS_MB})\n"
    )
    OUT.write_text(text, encoding="utf-8")
    print(text, end="")
    if report.steps != written or report.malformed:
        print(f"FAILED: {written:,} steps were written, {report.malformed:,} lines could not be read")
        return 1
    return 0 if peak_mb < MAX_RSS_MB else 1


def write_traces(file: IO[bytes], size: int, draw: random.Random) -> int:
    """Writes whole conversations until `size` bytes are reached; gives the number of steps in them."""
    text = " ".join(draw.choice(_WORDS) for _ in range(100_000))
    written = steps = 0
    while written < size:
        n_steps = draw.randint(5, 40)
        line = json.dumps({"messages": _conversation(n_steps, text, draw), "tools": _TOOLS}).encode() + b"\n"
        file.write(line)
        written += len(line)
        steps += n_steps
    return steps


def _conversation(n_steps: int, text: str, draw: random.Random) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "You repair repositories. " + _piece(text, 2000, draw)},
        {"role": "user", "content": f"Issue {draw.random()}: " + _piece(text, draw.randint(200, 3000), draw)},
    ]
    tokens = 1000
    for number in range(n_steps - 1):
        name = draw.choice(_NAMES)
        call = {"name": name, "arguments": json.dumps({"path": f"src/{draw.randint(1, 999)}.py", "n": number})}
        usage = {"prompt_tokens": tokens, "completion_tokens": draw.randint(30, 400)}
        asked = {"id": f"call_{number}", "type": "function", "function": call}
        messages.append({"role": "assistant", "content": None, "tool_calls": [asked], "usage": usage})
        outcome = draw.choice(("", "", "", "exit code 1\nTraceback (most recent call last):\n", "12 passed in 0.31s\n"))
        result = outcome + _piece(text, draw.randint(1_000, 24_000), draw)
        messages.append({"role": "tool", "tool_call_id": f"call_{number}", "content": result})
        tokens += len(result) // 4
    usage = {"prompt_tokens": tokens, "completion_tokens": 200}
    messages.append({"role": "assistant", "content": "Done. " + _piece(text, 400, draw), "usage": usage})
    return messages


def _piece(text: str, size: int, draw: random.Random) -> str:
    start = draw.randrange(len(text) - size)
    return text[start : start + size]


def _pool() -> list[Target]:
    facts: dict[str, Any] = {"context_window": 1_000_000, "capabilities": Capabilities(tools=True), "cache_ttl_s": 300}
    tiers = (("budget", "0.1", "0.4"), ("mid", "0.4", "2"), ("standard", "2", "10"), ("premium", "5", "25"))
    return [
        Target(provider=f"house-{tier}", model=tier, tier=tier, price=Price(Decimal(fresh), Decimal(output)), **facts)
        for tier, fresh, output in tiers
    ]


def _bytes(text: str) -> int:
    unit = _UNITS.get(text[-1:].upper())
    return int(float(text[:-1]) * unit) if unit else int(text)


if __name__ == "__main__":
    sys.exit(main())
