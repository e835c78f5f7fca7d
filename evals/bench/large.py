"""How long the largest requests hold a thread or an event loop: the decision, and writing the request.

    python evals/bench/large.py

CPU, best of 7, and the most memory that one decision takes. Fails where a decision takes longer than 50 ms.
"""

from __future__ import annotations

import os
import platform
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

from agentroute import ChatRequest, NoCandidateError, Router, Target
from agentroute.catalog.example import example_targets
from agentroute.failover.effects import Timeouts, Try
from agentroute.transport.exchange import Outgoing

OUT = Path(__file__).resolve().parent.parent / "results" / "bench_large.txt"
BOUND_MS = 50.0
DIALECTS = ("openai_chat", "anthropic_messages", "gemini", "openai_responses")


def main() -> int:
    router = Router(targets=example_targets())
    lines = [
        f"Large requests, {date.today()}, Python {platform.python_version()}, {platform.system()} "
        f"{platform.machine()}, {os.cpu_count()} cores; ms of CPU, best of 7",
        "",
        f"{'':34}{'decision':>10}{'peak MB':>10}{'writing, by dialect':>24}",
    ]
    slowest = 0.0
    for name, body in _bodies():
        request = ChatRequest.from_openai(body)
        took = _best(lambda request=request: _decide(router, request))
        slowest = max(slowest, took)
        writing = [_best(lambda request=request, dialect=dialect: _write(request, dialect), 3) for dialect in DIALECTS]
        lines.append(f"{name:34}{took:10.1f}{_peak(router, request):10.1f}{min(writing):12.0f} to {max(writing):.0f}")
    OUT.write_text("\n".join(lines) + "\n")
    print(*lines, sep="\n")
    return 0 if slowest < BOUND_MS else 1


def _bodies() -> Iterator[tuple[str, dict[str, Any]]]:
    yield "a loop of 200 steps, 2 kB each", {"messages": _loop(200, "x" * 2_000)}
    yield "a text of 1 MB", {"messages": [_said("user", "word " * 200_000)]}
    yield "1 MB behind 4,000 open tags", {"messages": [_said("user", "<task>" * 4_000 + "a" * 1_000_000)]}
    yield "48 texts of 200 kB of open tags", {"messages": [_said("user", "<task>" * 2_000 + "</tas" * 40_000)] * 48}
    talk = [_said("assistant" if number % 2 else "user", "hello there") for number in range(50_000)]
    yield "50,000 messages", {"messages": [*talk, _said("user", "x")]}
    yield "a loop of 16,000 failed steps", {"messages": _loop(16_000, "exit code: 1\nError: boom")}
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in "abcde"}}
    function = {"description": "d" * 100, "parameters": schema}
    tools = [{"type": "function", "function": {"name": f"t{number}", **function}} for number in range(5_000)]
    yield "5,000 tools", {"messages": [_said("user", "x")], "tools": tools}


def _said(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": text}


def _loop(steps: int, result: str) -> list[dict[str, Any]]:
    found = [_said("user", "do it")]
    for step in range(steps):
        call = {"id": f"c{step}", "type": "function", "function": {"name": "bash", "arguments": '{"a": 1}'}}
        found.append({"role": "assistant", "content": None, "tool_calls": [call]})
        found.append({"role": "tool", "tool_call_id": f"c{step}", "content": result})
    return found


def _decide(router: Router, request: ChatRequest) -> None:
    with suppress(NoCandidateError):  # the largest fit no window: found out at the same price
        router.route(request)


def _write(request: ChatRequest, dialect: str) -> None:
    target = Target(name="a", provider="acme", model="m", tier="mid", base_url="http://localhost/v1", dialect=dialect)
    Outgoing(Try(target, request, False, Timeouts()))


def _best(run: Callable[[], None], times: int = 7) -> float:
    found = []
    for _ in range(times):
        begun = time.thread_time()
        run()
        found.append((time.thread_time() - begun) * 1e3)
    return min(found)


def _peak(router: Router, request: ChatRequest) -> float:
    tracemalloc.start()
    _decide(router, request)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


if __name__ == "__main__":
    sys.exit(main())
