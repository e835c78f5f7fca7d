"""What RoutedLLM adds to a CrewAI or a LlamaIndex LLM in CPU: one call with a tool history of 20 messages and a tool.

    python evals/bench/frameworks.py [--rounds N]

As `bench/langchain.py`: `bare` is an LLM of the framework that answers at once, `routed native` has two of these as its
targets, `routed wire` two targets of our own over a performer that answers at once. `added` is the median over the
rounds of routed less bare, `decision` is `Router.prepare`, timed inside the same calls, `integration` the one less the
other. Contenders take turns, call by call; the 10th percentile is nearer to what the code costs than the median.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

# A script's own folder comes first, and there `import langchain` would find another bench.
sys.path.pop(0)
os.environ |= {"CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_TRACING_ENABLED": "false", "OTEL_SDK_DISABLED": "true"}

from crewai.llms.base_llm import BaseLLM
from crewai_agentroute import RoutedLLM as CrewLLM
from crewai_agentroute import native as crew_native
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, LLMMetadata, ToolCallBlock
from llama_index.core.llms.callbacks import llm_chat_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.tools import FunctionTool
from llama_index.llms.agentroute import RoutedLLM as IndexLLM
from llama_index.llms.agentroute import native as index_native

from agentroute import Router, Target, Usage
from agentroute.call import Call
from agentroute.events import Finished, Started, TextDelta, UsageReported
from agentroute.failover.effects import Done, Item, Try

OUT = Path(__file__).resolve().parent.parent / "results" / "bench_frameworks.txt"
MODELS = {"small": "gpt-4.1-nano", "strong": "gpt-4.1"}
ANSWER = "The file holds what was asked for. " * 4
USAGE = Usage(input_tokens=3200, output_tokens=50)
_WARM_UP = 20

Work = Callable[[Any], object]


class TimedRouter(Router):
    """A router that notes what its last decision took, and whose own targets answer at once."""

    decision_ms = 0.0

    def prepare(self, *args: Any, **kwargs: Any) -> Call:
        started = time.process_time_ns()
        try:
            return super().prepare(*args, **kwargs)
        finally:
            self.decision_ms = (time.process_time_ns() - started) / 1e6

    @property
    def performer(self) -> Any:
        return AtOnce()


class AtOnce:
    """What our transport would make of an answer."""

    def perform(self, attempt: Try) -> Iterator[Item | Done]:
        yield Item(Started(id="chatcmpl-1", model="m-2026"), False)
        yield Item(TextDelta(ANSWER), True)
        yield Item(Finished("stop"), False)
        yield Item(UsageReported(USAGE), False, USAGE)
        yield Done(USAGE, "stop")


class CrewAtOnce(BaseLLM):
    """A CrewAI LLM that answers at once."""

    def call(self, messages: Any, *args: Any, **kwargs: Any) -> str:
        self._track_token_usage_internal({"prompt_tokens": 3200, "completion_tokens": 50, "total_tokens": 3250})
        return ANSWER

    async def acall(self, messages: Any, *args: Any, **kwargs: Any) -> str:
        return self.call(messages)


def not_asked(self: Any, *args: Any, **kwargs: Any) -> Any:
    raise NotImplementedError


class IndexAtOnce(FunctionCallingLLM):
    """A LlamaIndex LLM that answers at once."""

    model: str = MODELS["small"]
    achat = astream_chat = stream_chat = complete = acomplete = stream_complete = astream_complete = not_asked

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(is_chat_model=True, is_function_calling_model=True, model_name=self.model)

    @llm_chat_callback()
    def chat(self, messages: Any, **kwargs: Any) -> ChatResponse:
        usage = {"prompt_tokens": 3200, "completion_tokens": 50, "total_tokens": 3250}
        return ChatResponse(message=ChatMessage(ANSWER, role="assistant"), raw={"usage": usage})

    def _prepare_chat_with_tools(self, tools: Any, chat_history: Any = None, **kwargs: Any) -> dict[str, Any]:
        return {"messages": chat_history, "tools": [tool.metadata.to_openai_tool() for tool in tools]}


def read_file(path: str) -> str:
    """Reads a file of the workspace and returns its text."""
    return path


def said(draw: random.Random) -> list[tuple[str, str, str]]:
    """Role, text and path of a coding agent's 20 messages: system, ask, nine pairs of call and result."""
    found = [
        ("system", "You are a coding agent. " * 40, ""),
        ("user", f"Fix tests/test_{draw.randrange(9999)}.py. ", ""),
    ]
    for _ in range(9):
        path = f"src/module_{draw.randrange(10**6)}.py"
        lines = "".join(f"    value_{draw.randrange(10**6)} = compute(row, {line})\n" for line in range(30))
        found += [("assistant", "", path), ("tool", f"def f(row):\n{lines}", path)]
    return found


def for_crew(history: list[tuple[str, str, str]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for role, text, path in history:
        if role == "assistant":
            function = {"name": "read_file", "arguments": f'{{"path": "{path}"}}'}
            calls = [{"id": path, "type": "function", "function": function}]
            found.append({"role": role, "content": None, "tool_calls": calls})
        else:
            told = {"tool_call_id": path, "name": "read_file"} if role == "tool" else {}
            found.append({"role": role, "content": text, **told})
    return found


def for_index(history: list[tuple[str, str, str]]) -> list[ChatMessage]:
    found = []
    for role, text, path in history:
        if role == "assistant":
            call = ToolCallBlock(tool_call_id=path, tool_name="read_file", tool_kwargs={"path": path})
            found.append(ChatMessage(role=role, blocks=[call]))
        else:
            told = {"tool_call_id": path} if role == "tool" else {}
            found.append(ChatMessage(text, role=role, additional_kwargs=told))
    return found


TOOL = FunctionTool.from_defaults(read_file)
CREW_TOOLS = [{"type": "function", "function": TOOL.metadata.to_openai_tool()["function"]}]


def contenders(framework: str) -> tuple[Callable[[Any], Any], dict[str, tuple[Work, TimedRouter | None]]]:
    wire = [Target(name=n, provider="openai", model=m, api_key="the-key") for n, m in MODELS.items()]
    if framework == "CrewAI":
        crew = {n: CrewAtOnce(model=m, provider="openai") for n, m in MODELS.items()}
        ready = [crew_native(llm, name=name) for name, llm in crew.items()]
        made: dict[str, Any] = {"bare": crew["small"]}
        made |= {k: CrewLLM(router=TimedRouter(t)) for k, t in (("routed native", ready), ("routed wire", wire))}
        return for_crew, {
            name: (lambda messages, llm=llm: llm.call(messages, tools=CREW_TOOLS), getattr(llm, "router", None))
            for name, llm in made.items()
        }
    index = {n: IndexAtOnce(model=m) for n, m in MODELS.items()}
    tiers = {"small": "budget", "strong": "standard"}
    entries = [index_native(llm, name=name, tier=tiers[name]) for name, llm in index.items()]
    made = {"bare": index["small"]}
    made |= {k: IndexLLM(router=TimedRouter(t)) for k, t in (("routed native", entries), ("routed wire", wire))}
    return for_index, {
        name: (
            lambda messages, llm=llm: llm.chat_with_tools([TOOL], chat_history=messages),
            getattr(llm, "router", None),
        )
        for name, llm in made.items()
    }


def measure(framework: str, rounds: int) -> list[str]:
    write, found = contenders(framework)
    spent: dict[str, list[float]] = {name: [] for name in found}
    decided: dict[str, list[float]] = {name: [] for name in found}
    for number in range(rounds + _WARM_UP):
        for name, (work, router) in found.items():
            messages = write(said(random.Random(number)))
            started = time.process_time_ns()
            work(messages)
            if number >= _WARM_UP:
                spent[name].append((time.process_time_ns() - started) / 1e6)
                decided[name].append(0.0 if router is None else router.decision_ms)
    lines = ["", f"{framework}, one call, 20 messages, 1 tool"]
    for name, times in spent.items():
        line = f"  {name:15}{spread(times)}"
        if name != "bare":
            added = [ours - theirs for ours, theirs in zip(times, spent["bare"], strict=True)]
            rest = [whole - decision for whole, decision in zip(added, decided[name], strict=True)]
            line += f"   added {spread(added)}   decision {statistics.median(decided[name]):.3f}"
            line += f"   integration {spread(rest)}"
        lines.append(line)
    return lines


def spread(values: list[float]) -> str:
    ordered = sorted(values)
    low, high = ordered[len(ordered) // 10], ordered[len(ordered) * 9 // 10]
    return f"{statistics.median(ordered):7.3f} ({low:.3f}-{high:.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300)
    rounds = parser.parse_args().rounds
    lines = [
        f"RoutedLLM, {date.today()}, Python {platform.python_version()}, {platform.machine()}, "
        f"crewai {version('crewai')}, llama-index-core {version('llama-index-core')}, {rounds} rounds, "
        f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores at the start; CPU ms: median (10th-90th percentile)"
    ]
    for framework in ("CrewAI", "LlamaIndex"):
        lines += measure(framework, rounds)
    text = "\n".join(lines) + "\n"
    OUT.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
