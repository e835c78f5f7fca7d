"""What a decision costs in CPU: `ChatRequest.from_openai` + `Router.route`, beside other routers in the same run.

    python evals/bench/decision.py [--rounds N]

Every round has a request of its own, parsed from JSON just before (not timed), so that no string has been hashed yet.
`warm`: the step before was served, so its prefix and real usage are known. Peers are measured on the same requests,
block by block in turn: Switchyard (`nemo-switchyard`) where it is installed, and word rules as keyword routers have
them. The machine is shared: the 10th percentile is nearer to what the code costs than the median.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import random
import re
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from agentroute import ChatRequest, Router, Usage
from agentroute.catalog.example import example_targets
from agentroute.routing.prefix import Prefix

OUT = Path(__file__).resolve().parent.parent / "results" / "bench_decision.txt"
BOUNDS_MS = {"short": 0.3, "loop of 61": 0.8, "loop of 601": 1.6}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": f"{name} something in the workspace and return what was found, as text.",
            "parameters": {
                "type": "object",
                "properties": {"path": {"type": "string"}, "pattern": {"type": "string"}, "limit": {"type": "integer"}},
                "required": ["path"],
            },
        },
    }
    for name in ("read_file", "search", "edit_file", "run_tests", "list_dir")
]


def short(draw: random.Random) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "system", "content": "You are a careful assistant. " * 20},
            {"role": "user", "content": f"Please find out why order {draw.random()} was not shipped and tell me."},
        ],
        "tools": TOOLS,
    }


def loop(draw: random.Random, n_messages: int, chars: int) -> dict[str, Any]:
    """A coding agent's tool loop: system, ask, then pairs of call and result."""
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "You are a coding agent. " * 40},
        {"role": "user", "content": f"Fix the failing test in tests/test_{draw.randrange(9999)}.py, please. " * 4},
    ]
    share = chars // (n_messages // 2)
    while len(messages) + 2 <= n_messages + 1:
        number = len(messages)
        call = {"name": "read_file", "arguments": json.dumps({"path": f"src/module_{draw.randrange(10**6)}.py"})}
        messages.append(
            {
                "role": "assistant",
                "content": "I will look at the next file.",
                "tool_calls": [{"id": f"call_{number}", "type": "function", "function": call}],
            }
        )
        body = "".join(f"    value_{draw.randrange(10**6)} = compute(row, {i})\n" for i in range(share // 38))
        messages.append({"role": "tool", "tool_call_id": f"call_{number}", "content": f"def f(row):\n{body}"})
    return {"messages": messages[:n_messages], "tools": TOOLS}


CASES: dict[str, Callable[[random.Random], dict[str, Any]]] = {
    "short": short,
    "loop of 61": lambda draw: loop(draw, 61, 40_000),
    "loop of 601": lambda draw: loop(draw, 601, 400_000),
}


# -- the peers ---------------------------------------------------------------------------------------------------------

_WORDS = [
    re.compile(r"\b(?:" + "|".join(words) + r")\b", re.IGNORECASE)
    for words in (
        ("prove", "theorem", "derive", "step by step", "reason"),
        ("function", "class", "import", "def", "async", "const"),
        ("what is", "define", "translate", "hello", "yes or no"),
        ("algorithm", "kubernetes", "distributed", "architecture"),
        ("story", "poem", "brainstorm", "creative"),
        ("first", "then", "next", "step"),
        ("build", "create", "implement", "design", "deploy"),
        ("at most", "within", "maximum", "budget", "limit"),
        ("json", "yaml", "table", "csv", "schema"),
        ("above", "previous", "the docs", "the code", "earlier"),
        ("not", "without", "except", "avoid"),
        ("quantum", "genomics", "fpga", "zero-knowledge"),
        ("edit", "run", "execute", "fix", "test"),
        ("why", "how", "compare"),
        ("urgent", "important", "careful"),
    )
]


def word_rules(body: dict[str, Any]) -> str:
    """Fifteen lists of words over all user text, as keyword routers score it (ours, in their manner)."""
    text = " ".join(m["content"] for m in body["messages"] if m["role"] in ("system", "user"))
    score = sum(min(len(words.findall(text)), 3) for words in _WORDS) + len(text) / 4_000
    return "strong" if score > 12 else "weak"


def switchyard() -> Callable[[dict[str, Any]], Any] | None:
    """One decision of NVIDIA's Switchyard stage router, as its own documentation drives it."""
    try:
        from switchyard.libsy.algorithms import stage_router
    except ImportError:
        return None
    algorithm = stage_router(picker="efficient_first", confidence_threshold=0.5)
    models = {"efficient": ["fast"], "capable": ["quality"], "any": ["quality", "fast"]}

    def blocks(message: dict[str, Any]) -> dict[str, Any]:
        content: list[dict[str, Any]] = []
        if message["role"] == "tool":
            text = [{"type": "text", "text": message["content"]}]
            content.append({"type": "tool_result", "tool_call_id": message["tool_call_id"], "content": text})
        else:
            content.append({"type": "text", "text": message["content"]})
        for call in message.get("tool_calls", ()):
            function = call["function"]
            arguments = json.loads(function["arguments"])
            content.append({"type": "tool_call", "id": call["id"], "name": function["name"], "arguments": arguments})
        return {"role": message["role"], "content": content}

    async def decide(request: dict[str, Any]) -> None:
        async for _ in algorithm.run_stream(request, models):
            return

    loop = asyncio.new_event_loop()

    def run(body: dict[str, Any]) -> Callable[[], None]:
        request = {"model": "auto", "messages": [blocks(message) for message in body["messages"]]}
        return lambda: loop.run_until_complete(decide(request))

    return run


# -- the run -----------------------------------------------------------------------------------------------------------


@dataclass
class Timing:
    ms: list[float] = field(default_factory=list)

    def of(self, work: Callable[[], Any]) -> None:
        started = time.process_time_ns()
        work()
        self.ms.append((time.process_time_ns() - started) / 1e6)

    @property
    def median(self) -> float:
        return statistics.median(self.ms)

    def show(self) -> str:
        ordered = sorted(self.ms)
        return f"{self.median:8.3f} {ordered[len(ordered) // 10]:8.3f} {ordered[len(ordered) * 9 // 10]:8.3f}"


def measure(make: Callable[[random.Random], dict[str, Any]], rounds: int) -> dict[str, Timing]:
    """Blocks of `_BLOCK` rounds, each contender in turn, so that all of them see the same weather of the machine."""
    router = Router(targets=example_targets())

    def cold(body: dict[str, Any]) -> Callable[[], Any]:
        return lambda: router.route(ChatRequest.from_openai(body))

    def warm(body: dict[str, Any]) -> Callable[[], Any]:
        before = ChatRequest.from_openai({**body, "messages": body["messages"][:-2] or body["messages"][:1]})
        served = router.pool.targets[0].name
        router.observe(Prefix.of(before.messages, before.tools), served, Usage(9_000, 100), Usage())
        fresh = json.loads(json.dumps(body))
        return lambda: router.route(ChatRequest.from_openai(fresh))

    contenders: dict[str, Callable[[dict[str, Any]], Callable[[], Any]]] = {
        "cold": cold,
        "warm": warm,
        "decode only": lambda body: lambda: ChatRequest.from_openai(body),
        "word rules": lambda body: lambda: word_rules(body),
    }
    peer = switchyard()
    if peer is not None:
        contenders["Switchyard"] = peer
    timings = {name: Timing() for name in contenders}
    for start in range(0, rounds, _BLOCK):
        texts = [json.dumps(make(random.Random(seed))) for seed in range(start, min(start + _BLOCK, rounds))]
        for name, contender in contenders.items():
            for text in texts:
                timings[name].of(contender(json.loads(text)))
    return timings


_BLOCK = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args().rounds
    lines = [
        f"Decision CPU, {date.today()}, Python {platform.python_version()}, {platform.machine()}, {rounds} rounds; "
        "ms: median, 10th and 90th percentile; ratio of medians to agentroute cold in the same run",
    ]
    for case, make in CASES.items():
        timings = measure(make, rounds)
        bound = BOUNDS_MS[case]
        kept = "kept" if max(timings["cold"].median, timings["warm"].median) <= bound else "MISSED"
        lines.append(f"\n{case} (bound {bound} ms: {kept})")
        for name, timing in timings.items():
            label = f"agentroute {name}" if name in ("cold", "warm", "decode only") else name
            lines.append(f"  {label:24}{timing.show()}   x{timing.median / timings['cold'].median:.2f}")
        if "Switchyard" not in timings:
            lines.append("  Switchyard: not installed (pip install nemo-switchyard)")
    text = "\n".join(lines) + "\n"
    OUT.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
