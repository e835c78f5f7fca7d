"""What RoutedChatModel adds to a LangChain model in CPU: an invoke or a stream with a tool history of 20 messages.

    python evals/bench/langchain.py [--rounds N]

`bare` is a chat model that answers at once, called through LangChain's public API: no network, no SDK, so that the
difference to it is what routing adds, and nothing of the provider's client hides in it. `routed native` has two of
these models as its targets, `routed wire` two targets of our own over a performer that answers at once. `added` is the
median over the rounds of routed less bare, `decision` is `Router.prepare`, timed inside the same calls, `integration`
is the one less the other: conversion, runs and callbacks, failover, record.

The agent's step is `create_agent` with the same history and one model call; `RoutingMiddleware` has the native targets.
Beside it stand LangChain's `ModelRouterMiddleware` (its decision model answers at once) and `ChatRouter` of
`langchain-model-router` (its strategy is a list of words), where they are installed; both decide by the latest human
message alone. Every round has a history of its own; contenders take turns, call by call. The machine is shared: the
10th percentile is nearer to what the code costs than the median.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import json
import os
import platform
import random
import statistics
import sys
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

# A script's own folder comes first, and there `import langchain` would find this file.
sys.path.pop(0)

from langchain.agents import create_agent
from langchain_agentroute import RoutedChatModel, RoutingMiddleware, native
from langchain_core.language_models import BaseChatModel, LangSmithParams
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    UsageMetadata,
)
from langchain_core.messages.tool import tool_call, tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import BaseTool, tool
from langchain_core.utils.function_calling import convert_to_openai_tool

from agentroute import Router, Target, Usage
from agentroute.call import Call
from agentroute.events import Finished, Started, TextDelta, ToolCallDelta, ToolCallStarted, UsageReported
from agentroute.failover.effects import Done, Item, Try
from agentroute.messages import FinishReason

OUT = Path(__file__).resolve().parent.parent / "results" / "bench_langchain.txt"
BOUNDS_MS = {"integration": 0.4, "added": 1.3}
PEERS = {"ChatRouter": "langchain-model-router", "ModelRouterMiddleware": "'langchain>=1.5'"}
WORDS = [f"word{number} " for number in range(20)]
ARGUMENTS = ['{"path": ', '"src/module_7.py", ', '"limit": 40}']
USAGE = UsageMetadata(input_tokens=3200, output_tokens=50, total_tokens=3250)
MODELS = {"small": "gpt-4.1-nano", "strong": "gpt-4.1"}


# -- the work ----------------------------------------------------------------------------------------------------------


def make_tools() -> list[BaseTool]:
    @tool
    def read_file(path: str, limit: int = 100) -> str:
        """Reads a file of the workspace and returns its text."""
        return path

    @tool
    def search(pattern: str, path: str = ".") -> str:
        """Searches the workspace for a pattern and returns the lines that match."""
        return pattern

    @tool
    def edit_file(path: str, old: str, new: str) -> str:
        """Replaces a piece of text in a file."""
        return path

    @tool
    def run_tests(path: str) -> str:
        """Runs the tests of a folder and returns what failed."""
        return path

    @tool
    def list_dir(path: str) -> str:
        """Lists a folder."""
        return path

    return [read_file, search, edit_file, run_tests, list_dir]


TOOLS = make_tools()


def history(draw: random.Random) -> list[BaseMessage]:
    """A coding agent's tool loop of 20 messages: system, ask, nine pairs of call and result."""
    messages: list[BaseMessage] = [
        SystemMessage("You are a coding agent. " * 40),
        HumanMessage(f"Fix the failing test in tests/test_{draw.randrange(9999)}.py, please. " * 4),
    ]
    for number in range(9):
        call = tool_call(name="read_file", args={"path": f"src/module_{draw.randrange(10**6)}.py"}, id=f"call_{number}")
        messages.append(AIMessage("I will look at the next file.", tool_calls=[call]))
        lines = "".join(f"    value_{draw.randrange(10**6)} = compute(row, {line})\n" for line in range(30))
        messages.append(ToolMessage(f"def f(row):\n{lines}", tool_call_id=f"call_{number}"))
    return messages


# -- what answers at once ----------------------------------------------------------------------------------------------


class AtOnce(BaseChatModel):
    """Answers at once; `calls_tool` says whether with a tool call, as a step in the middle of an agent's run does."""

    model: str = MODELS["small"]
    calls_tool: bool = True

    @property
    def _llm_type(self) -> str:
        return "at-once"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return LangSmithParams(ls_provider="openai", ls_model_name=self.model, ls_model_type="chat")

    def bind_tools(self, tools: Sequence[Any], *, tool_choice: Any = None, **kwargs: Any) -> Any:
        return self.bind(tools=[convert_to_openai_tool(each) for each in tools], **kwargs)

    @property
    def _metadata(self) -> dict[str, Any]:
        finish = "tool_calls" if self.calls_tool else "stop"
        return {"model_name": self.model, "finish_reason": finish, "model_provider": "openai"}

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        calls = [tool_call(name="read_file", args=json.loads("".join(ARGUMENTS)), id="call_new")]
        message = AIMessage(
            "".join(WORDS),
            tool_calls=calls if self.calls_tool else [],
            usage_metadata=USAGE,
            response_metadata=self._metadata,
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        return self._generate(messages)

    def _stream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        for word in WORDS:
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))
        if self.calls_tool:
            yield self._piece(name="read_file", id="call_new", args="")
            for piece in ARGUMENTS:
                yield self._piece(args=piece)
        last = AIMessageChunk(content="", usage_metadata=USAGE, response_metadata=self._metadata, chunk_position="last")
        yield ChatGenerationChunk(message=last)

    @staticmethod
    def _piece(**fields: Any) -> ChatGenerationChunk:
        return ChatGenerationChunk(
            message=AIMessageChunk(content="", tool_call_chunks=[tool_call_chunk(index=0, **fields)])
        )

    async def _astream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._stream(messages):
            yield chunk


class Performer:
    """The same answer from targets of our own, as the events our transport would make of it."""

    def __init__(self, *, calls_tool: bool) -> None:
        finish: FinishReason = "tool_calls" if calls_tool else "stop"
        usage = Usage(input_tokens=USAGE["input_tokens"], output_tokens=USAGE["output_tokens"])
        self._items: list[Item | Done] = [
            Item(Started(id="chatcmpl-1", model="m-2026"), False),
            *[Item(TextDelta(word), True) for word in WORDS],
        ]
        if calls_tool:
            self._items.append(Item(ToolCallStarted(index=0, id="call_new", name="read_file"), True))
            self._items += [Item(ToolCallDelta(index=0, arguments=piece), True) for piece in ARGUMENTS]
        self._items += [
            Item(Finished(finish), False),
            Item(UsageReported(usage), False, usage),
            Done(usage, finish),
        ]

    def perform(self, attempt: Try) -> Iterator[Item | Done]:
        yield from self._items


class AsyncPerformer(Performer):
    async def perform(self, attempt: Try) -> AsyncIterator[Item | Done]:  # type: ignore[override]
        for item in self._items:
            yield item


# -- the contenders ----------------------------------------------------------------------------------------------------


class TimedRouter(Router):
    """A router that notes what its last decision took."""

    decision_ms = 0.0

    def prepare(self, *args: Any, **kwargs: Any) -> Call:
        started = time.process_time_ns()
        try:
            return super().prepare(*args, **kwargs)
        finally:
            self.decision_ms = (time.process_time_ns() - started) / 1e6


class AtOnceRouter(TimedRouter):
    """A router whose targets answer at once, without sockets."""

    calls_tool = True

    @property
    def performer(self) -> Any:
        return Performer(calls_tool=self.calls_tool)

    @property
    def async_performer(self) -> Any:
        return AsyncPerformer(calls_tool=self.calls_tool)


def ready(calls_tool: bool) -> dict[str, BaseChatModel]:
    return {name: AtOnce(model=model, calls_tool=calls_tool) for name, model in MODELS.items()}


def over_native(*, calls_tool: bool = True) -> RoutedChatModel:
    entries = [native(model, name=name) for name, model in ready(calls_tool).items()]
    return RoutedChatModel(router=TimedRouter(entries))


def over_wire(*, calls_tool: bool = True) -> RoutedChatModel:
    targets = [Target(name=n, provider="openai", model=m, api_key="the-key") for n, m in MODELS.items()]
    router = AtOnceRouter(targets)
    router.calls_tool = calls_tool
    return RoutedChatModel(router=router)


def chat_router(*, calls_tool: bool = True) -> BaseChatModel | None:
    """`ChatRouter` of langchain-model-router: a word decides, of the latest human message alone."""
    try:
        from langchain_model_router import ChatRouter, KeywordStrategy
    except ImportError:
        return None
    strategy = KeywordStrategy({"strong": ["prove", "architecture", "refactor"]})
    return ChatRouter(routes=ready(calls_tool), default_route="small", strategy=strategy)


def model_router_middleware() -> Any | None:
    """LangChain's own: a decision model is asked once a run, about the latest human message alone."""
    try:
        from langchain.agents.middleware import ModelChoice, ModelRouterMiddleware
        from langchain_core.decisions import BaseDecisionModel, ChoiceAnswer, ClassifierResponse
    except ImportError:
        return None

    class Decides(BaseDecisionModel):
        """Answers at once."""

        @property
        def _provider(self) -> str:
            return "bench"

        def _classify(self, state: Any, questions: Any) -> ClassifierResponse:
            odds = {"small": 0.7, "strong": 0.3}
            answer = ChoiceAnswer(type="choice", choice="small", probabilities=odds, confidence=0.7)
            return ClassifierResponse(model=self.model, answers={"model_route": answer})

        async def _aclassify(self, state: Any, questions: Any) -> ClassifierResponse:
            return self._classify(state, questions)

    choices = {name: ModelChoice(model, "tasks of this size") for name, model in ready(calls_tool=False).items()}
    return ModelRouterMiddleware(choices=choices, instructions="Choose.", classifier=Decides(model="at-once"))


# -- the run -----------------------------------------------------------------------------------------------------------

_WARM_UP = 20
Work = Callable[[list[BaseMessage]], Awaitable[BaseMessage]]


class Timing:
    def __init__(self) -> None:
        self.ms: list[float] = []
        self.decision_ms: list[float] = []

    def show(self, floor: Timing) -> str:
        added = self.minus(floor)
        text = f"{spread(self.ms)}   x{statistics.median(self.ms) / statistics.median(floor.ms):5.2f}"
        if self is floor:
            return text
        text += f"   added {spread(added)}"
        if self.decision_ms:
            text += f"   decision {statistics.median(self.decision_ms):.3f}   integration {spread(self.rest(floor))}"
        return text

    def minus(self, floor: Timing) -> list[float]:
        return [ours - theirs for ours, theirs in zip(self.ms, floor.ms, strict=True)]

    def rest(self, floor: Timing) -> list[float]:
        return [more - decision for more, decision in zip(self.minus(floor), self.decision_ms, strict=True)]


def spread(values: list[float]) -> str:
    ordered = sorted(values)
    low, high = ordered[len(ordered) // 10], ordered[len(ordered) * 9 // 10]
    return f"{statistics.median(ordered):7.3f} ({low:.3f}-{high:.3f})"


def of_model(model: Any, asynchronous: bool, stream: bool) -> Work:
    """One call of a model with the tools bound; the answer is read to its end."""
    bound = model.bind_tools(TOOLS)

    async def work(messages: list[BaseMessage]) -> BaseMessage:
        if stream:
            chunks = [c async for c in bound.astream(messages)] if asynchronous else list(bound.stream(messages))
            return AIMessage("".join(str(chunk.text) for chunk in chunks))
        return (await bound.ainvoke(messages)) if asynchronous else bound.invoke(messages)  # type: ignore[no-any-return]

    return work


def of_agent(model: Any, asynchronous: bool, middleware: Sequence[Any] = ()) -> Work:
    """One run of an agent that answers in its first step."""
    agent: Any = create_agent(model, tools=TOOLS, middleware=middleware)

    async def work(messages: list[BaseMessage]) -> BaseMessage:
        given = {"messages": messages}
        state = (await agent.ainvoke(given)) if asynchronous else agent.invoke(given)
        return state["messages"][-1]  # type: ignore[no-any-return]

    return work


async def measure(contenders: dict[str, tuple[Work, Router | None]], rounds: int) -> dict[str, Timing]:
    timings = {name: Timing() for name in contenders}
    for number in range(rounds + _WARM_UP):
        for name, (work, router) in contenders.items():
            messages = history(random.Random(number))
            started = time.process_time_ns()
            answer = await work(messages)
            spent = (time.process_time_ns() - started) / 1e6
            assert answer.text == "".join(WORDS), (name, answer)
            if number >= _WARM_UP:
                timings[name].ms.append(spent)
                if isinstance(router, TimedRouter):
                    timings[name].decision_ms.append(router.decision_ms)
    return timings


def calls(asynchronous: bool, stream: bool) -> dict[str, tuple[Work, Router | None]]:
    routed = {"routed native": over_native(), "routed wire": over_wire()}
    models: dict[str, Any] = {"bare": AtOnce(), **routed, "ChatRouter": chat_router()}
    return {
        name: (of_model(model, asynchronous, stream), routed[name].router if name in routed else None)
        for name, model in models.items()
        if model is not None
    }


def steps(asynchronous: bool) -> dict[str, tuple[Work, Router | None]]:
    routed = {"routed native": over_native(calls_tool=False), "routed wire": over_wire(calls_tool=False)}
    models: dict[str, Any] = {
        "bare": AtOnce(calls_tool=False),
        **routed,
        "ChatRouter": chat_router(calls_tool=False),
    }
    contenders = {
        name: (of_agent(model, asynchronous), routed[name].router if name in routed else None)
        for name, model in models.items()
        if model is not None
    }
    ours = RoutingMiddleware(over_native(calls_tool=False))
    contenders["RoutingMiddleware"] = (of_agent(ours.model, asynchronous, [ours]), ours.router)
    theirs = model_router_middleware()
    if theirs is not None:
        work = of_agent(AtOnce(calls_tool=False), asynchronous, [theirs])
        contenders["ModelRouterMiddleware"] = (work, None)
    return contenders


def report(case: str, timings: dict[str, Timing], *, bounded: bool) -> list[str]:
    floor = timings["bare"]
    lines = ["", case, *[f"  {name:23}{timing.show(floor)}" for name, timing in timings.items()]]
    for name in ("routed native", "routed wire") if bounded else ():
        timing = timings[name]
        got = {"integration": timing.rest(floor), "added": timing.minus(floor)}
        for what, bound in BOUNDS_MS.items():
            kept = "kept" if statistics.median(got[what]) <= bound else "MISSED"
            lines.append(f"  {name}: {what} <= {bound} ms: {kept}, {spread(got[what]).strip()}")
    ours = statistics.median(timings["routed native"].minus(floor))
    for name, package in PEERS.items():
        if name in timings:
            ratio = statistics.median(timings[name].minus(floor)) / ours
            lines.append(f"  {name} adds x{ratio:.2f} of what routed native adds")
        elif name == "ChatRouter" or case.startswith("agent"):
            lines.append(f"  {name}: not installed (pip install {package})")
    return lines


def versions() -> str:
    names = ("langchain-core", "langchain", "langgraph", "langchain-model-router")
    found = []
    for name in names:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300)
    rounds = parser.parse_args().rounds
    warnings.simplefilter("ignore")  # ModelRouterMiddleware says that it is in beta.
    lines = [
        f"RoutedChatModel, {date.today()}, Python {platform.python_version()}, {platform.machine()}, {versions()}, "
        f"{rounds} rounds, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores at the start; CPU ms: median "
        "(10th-90th percentile); ratio of medians to bare in the same run"
    ]
    for stream in (False, True):
        for asynchronous in (False, True):
            said = f"{'stream of 26 chunks' if stream else 'invoke'}, {'async' if asynchronous else 'sync'}"
            timings = asyncio.run(measure(calls(asynchronous, stream), rounds))
            lines += report(f"{said}, 20 messages, 5 tools bound", timings, bounded=not stream)
    for asynchronous in (False, True):
        timings = asyncio.run(measure(steps(asynchronous), rounds))
        lines += report(f"agent's step, {'async' if asynchronous else 'sync'}", timings, bounded=False)
    text = "\n".join(lines) + "\n"
    OUT.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
