"""What traces, token counters and message streams see of a RoutedChatModel: the real model, once for each attempt."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_agentroute import RoutedChatModel, decision_of, native
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.messages.ai import UsageMetadata, add_usage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler
from langgraph.graph import END, START, MessagesState, StateGraph

from agentroute import ChatRequest
from agentroute.testing import Fault, ScriptedProvider, ScriptedReply, nth, tool_call

from .pools import POOLS, SMALL, STRONG, pool, ready

pytestmark = pytest.mark.requires("langchain", "langchain_openai")

WAYS = ("invoke", "ainvoke", "stream", "astream")
SAID = ["Let me look.", "It is 21 degrees in Lima."]
QUESTION: Any = {"messages": [("user", "What is the weather in Lima?")]}
TO_SMALL: Any = {"configurable": {"agentroute": {"strategy": "cheapest"}}}


@tool
def weather(city: str) -> str:
    """Looks up the weather."""
    return f"21 degrees in {city}"


def script(asked: ChatRequest) -> ScriptedReply:
    if asked.tools and asked.messages[-1].role == "user":
        return ScriptedReply(SAID[0], (tool_call("weather", city="Lima"),))
    return ScriptedReply(SAID[1])


def serve(fault: Any = None) -> ScriptedProvider:
    return ScriptedProvider(script, fault=fault, provider="openai", chunk_characters=4)


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with serve() as running:
        yield running


class Tracer(RunCollectorCallbackHandler):
    """The runs as a tracer stores them, each with its children."""

    def __init__(self) -> None:
        super().__init__(_schema_format="original+chat")

    @property
    def root(self) -> Any:
        (root,) = self.traced_runs
        return root

    def paths(self) -> list[tuple[Any, ...]]:
        """Every run, as the runs from the root down to it."""

        def below(*path: Any) -> Iterator[tuple[Any, ...]]:
            yield path
            for child in path[-1].child_runs:
                yield from below(*path, child)

        return [path for root in self.traced_runs for path in below(root)]

    @property
    def attempts(self) -> list[tuple[Any, ...]]:
        found = [path for path in self.paths() if path[-1].run_type in ("llm", "chat_model")]
        return sorted(found, key=lambda path: path[-1].start_time)


class Seen:
    """What the user of an agent got: the messages of the state, and where it was streamed, the chunks."""

    def __init__(self) -> None:
        self.messages: list[BaseMessage] = []
        self.chunks: list[AIMessageChunk] = []

    def take(self, mode: str, payload: Any) -> None:
        if mode == "values":
            self.messages = payload["messages"]
        elif isinstance(payload[0], AIMessageChunk):
            self.chunks.append(payload[0])

    @property
    def answers(self) -> list[AIMessage]:
        return [message for message in self.messages if isinstance(message, AIMessage)]


def run_agent(agent: Any, way: str, config: Any) -> Seen:
    seen, modes = Seen(), ["messages", "values"]

    async def go() -> None:
        if way == "ainvoke":
            seen.take("values", await agent.ainvoke(QUESTION, config))
        else:
            async for mode, payload in agent.astream(QUESTION, config, stream_mode=modes):
                seen.take(mode, payload)

    if way == "invoke":
        seen.take("values", agent.invoke(QUESTION, config))
    elif way == "stream":
        for mode, payload in agent.stream(QUESTION, config, stream_mode=modes):
            seen.take(mode, payload)
    else:
        asyncio.run(go())
    return seen


def total(usages: list[Any]) -> UsageMetadata | None:
    counted = None
    for usage in usages:
        counted = add_usage(counted, usage)
    return counted


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", POOLS)
class TestAgentOfTwoSteps:
    def test_the_tree(self, kind: str, way: str, provider: ScriptedProvider) -> None:
        model, tracer = RoutedChatModel(targets=pool(kind, provider)), Tracer()
        agent = create_agent(model, tools=[weather], name="boss")
        seen = run_agent(agent, way, {"callbacks": [tracer]})
        model.router.close()
        assert tracer.root.name == "boss"
        assert len(tracer.attempts) == len(provider.requests) == 2
        for path, request, answer in zip(tracer.attempts, provider.requests, seen.answers, strict=True):
            _, node, routed, attempt = path
            assert [(run.run_type, run.name) for run in (node, routed)] == [
                ("chain", "model"),
                ("chain", "RoutedChatModel"),
            ]
            metadata = attempt.extra["metadata"]
            assert metadata["ls_model_name"] == request.model
            assert (metadata["ls_provider"], metadata["ls_model_type"]) == ("openai", "chat")
            assert metadata["agentroute_target"] == ("strong" if request.model == STRONG else "small")
            assert metadata["agentroute_attempt"] == 1
            assert metadata["langgraph_node"] == "model"
            assert [run.error for run in path] == [None] * 4
            assert all(run.end_time is not None for run in path)
            # The whole decision is on the run that took it, as it is on the answer.
            shown = routed.outputs["output"]
            assert shown.text == answer.text
            assert shown.response_metadata["agentroute"]["id"] == decision_of(answer).id  # type: ignore[union-attr]
        assert [path[-1].name for path in tracer.paths()].count("RoutedChatModel") == 2

    def test_usage_and_text_come_once(self, kind: str, way: str, provider: ScriptedProvider) -> None:
        model, handler = RoutedChatModel(targets=pool(kind, provider)), UsageMetadataCallbackHandler()
        seen = run_agent(create_agent(model, tools=[weather]), way, {"callbacks": [handler]})
        model.router.close()
        assert [answer.text for answer in seen.answers] == SAID
        told = total([answer.usage_metadata for answer in seen.answers])
        assert told is not None
        assert total(list(handler.usage_metadata.values())) == told
        by_model = {
            name: total([a.usage_metadata for a in seen.answers if a.response_metadata["model_name"] == name])
            for name in {request.model for request in provider.requests}
        }
        assert handler.usage_metadata == by_model
        decided = [decision_of(answer).usage for answer in seen.answers]  # type: ignore[union-attr]
        assert sum(usage.input_tokens for usage in decided) == told["input_tokens"]  # type: ignore[union-attr,misc]
        assert sum(usage.output_tokens for usage in decided) == told["output_tokens"]  # type: ignore[union-attr,misc]
        assert bool(seen.chunks) == ("stream" in way)
        if seen.chunks:
            assert len([chunk for chunk in seen.chunks if chunk.text]) > 2
            assert "".join(str(chunk.text) for chunk in seen.chunks) == "".join(SAID)
            assert total([chunk.usage_metadata for chunk in seen.chunks if chunk.usage_metadata]) == told
            assert list(dict.fromkeys(chunk.id for chunk in seen.chunks)) == [answer.id for answer in seen.answers]

    @pytest.mark.parametrize("fault", [Fault.error(503), Fault.cut_before_content()], ids=["503", "cut"])
    def test_a_failover_is_one_run_that_failed_and_one_that_did_not(self, kind: str, way: str, fault: Fault) -> None:
        tracer, handler = Tracer(), UsageMetadataCallbackHandler()
        with serve(nth(1, fault, model=SMALL)) as provider:
            model = RoutedChatModel(targets=pool(kind, provider))
            agent = create_agent(model, tools=[weather])
            seen = run_agent(agent, way, {**TO_SMALL, "callbacks": [tracer, handler]})
            model.router.close()
        assert [answer.text for answer in seen.answers] == SAID
        failed, good, *rest = (path[-1] for path in tracer.attempts)
        assert failed.error is not None
        assert [run.error for run in (good, *rest)] == [None] * (1 + len(rest))
        assert len(tracer.attempts) == len(provider.requests) == 3
        noted = [
            (run.extra["metadata"]["ls_model_name"], run.extra["metadata"]["agentroute_attempt"])
            for run in (failed, good)
        ]
        assert noted == [(SMALL, 1), (STRONG, 2)]
        assert failed.parent_run_id == good.parent_run_id
        assert [path[-2].error for path in tracer.attempts] == [None] * 3
        told = total([answer.usage_metadata for answer in seen.answers])
        assert total(list(handler.usage_metadata.values())) == told
        if seen.chunks:
            assert "".join(str(chunk.text) for chunk in seen.chunks) == "".join(SAID)


@pytest.mark.parametrize("kind", POOLS)
async def test_events_show_two_model_calls_for_two_steps(kind: str, provider: ScriptedProvider) -> None:
    model = RoutedChatModel(targets=pool(kind, provider))
    agent = create_agent(model, tools=[weather])
    events = [event async for event in agent.astream_events(QUESTION, version="v2")]
    await model.router.aclose()
    started = [event for event in events if event["event"] == "on_chat_model_start"]
    assert [event["metadata"]["ls_model_name"] for event in started] == [r.model for r in provider.requests]
    assert len(started) == len([event for event in events if event["event"] == "on_chat_model_end"]) == 2
    for event, said in zip(started, SAID, strict=True):
        chunks = [
            e["data"]["chunk"]
            for e in events
            if e["event"] == "on_chat_model_stream"  # type: ignore[typeddict-item]
            and e["run_id"] == event["run_id"]
        ]
        assert "".join(chunk.text for chunk in chunks) == said
    named = [event["event"] for event in events if event["name"] == "RoutedChatModel"]
    assert named.count("on_chain_start") == named.count("on_chain_end") == 2
    assert not [name for name in named if "chat_model" in name]


@pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning")
@pytest.mark.parametrize("kind", POOLS)
async def test_v3_events_on_a_loop_count_usage_once(kind: str, provider: ScriptedProvider) -> None:
    model, tracer, handler = RoutedChatModel(targets=pool(kind, provider)), Tracer(), UsageMetadataCallbackHandler()
    stream = await model.astream_events("hello", {"callbacks": [tracer, handler]}, version="v3")
    message = await stream
    # The run ends a moment after its last event, with a bare model too.
    while not tracer.traced_runs:
        await asyncio.sleep(0.01)
    await model.router.aclose()
    assert message.text == SAID[1]
    ((routed, attempt),) = tracer.attempts
    assert (routed.name, routed.error, attempt.error) == ("RoutedChatModel", None, None)
    assert attempt.extra["metadata"]["ls_model_name"] == provider.requests[0].model
    assert handler.usage_metadata == {provider.requests[0].model: message.usage_metadata}


@pytest.mark.parametrize("way", WAYS)
def test_a_run_named_like_its_node_is_renamed_and_its_text_comes_once(way: str, provider: ScriptedProvider) -> None:
    model, tracer = RoutedChatModel(targets=pool("native", provider)), Tracer()
    named: Any = {"run_name": "model"}

    def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"], named)]}

    async def ask_on_a_loop(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"], named)]}

    graph = StateGraph(MessagesState)
    graph.add_node("model", ask_on_a_loop if way.startswith("a") else ask)
    graph.add_edge(START, "model").add_edge("model", END)
    seen = run_agent(graph.compile(), way, {"callbacks": [tracer]})
    ((_, node, routed, _),) = tracer.attempts
    assert (node.name, routed.name) == ("model", "RoutedChatModel")
    assert [answer.text for answer in seen.answers] == [SAID[1]]
    if seen.chunks:
        assert "".join(str(chunk.text) for chunk in seen.chunks) == SAID[1]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("kind", POOLS)
def test_what_the_wrapper_was_given_holds_for_every_run(
    kind: str, asynchronous: bool, provider: ScriptedProvider
) -> None:
    own, calls = Tracer(), Tracer()
    model = RoutedChatModel(
        targets=pool(kind, provider), callbacks=[own], tags=["wrapper"], metadata={"team": "search", "role": "reader"}
    )
    config: Any = {"callbacks": [calls], "tags": ["call"], "metadata": {"role": "writer"}}
    message = asyncio.run(model.ainvoke("hello", config)) if asynchronous else model.invoke("hello", config)
    model.router.close()
    for tracer in (own, calls):
        ((routed, attempt),) = tracer.attempts
        for run in (routed, attempt):
            assert {"wrapper", "call"} <= set(run.tags)
            assert (run.extra["metadata"]["team"], run.extra["metadata"]["role"]) == ("search", "writer")
        assert "agentroute_target" not in routed.extra["metadata"]
    assert decision_of(message).context.role == "writer"  # type: ignore[union-attr]


def test_what_a_ready_model_was_given_holds_for_its_own_attempts(provider: ScriptedProvider) -> None:
    of_small, of_strong = Tracer(), Tracer()
    small = ready(provider, SMALL).model_copy(update={"callbacks": [of_small], "tags": ["cheap"]})
    strong = ready(provider, STRONG).model_copy(update={"callbacks": [of_strong], "metadata": {"plan": "gold"}})
    model = RoutedChatModel(targets={"small": native(small), "strong": native(strong)})
    model.invoke("hello", {"configurable": {"agentroute": {"target": "strong"}}})
    assert of_small.traced_runs == []
    assert of_strong.root.extra["metadata"]["plan"] == "gold"
    model.invoke("hello", {"configurable": {"agentroute": {"target": "small"}}})
    assert "cheap" in of_small.root.tags
    assert "plan" not in of_small.root.extra["metadata"]
    assert len(of_strong.traced_runs) == 1


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("kind", POOLS)
def test_a_stream_closed_early_ends_its_run(kind: str, asynchronous: bool, provider: ScriptedProvider) -> None:
    model, tracer = RoutedChatModel(targets=pool(kind, provider)), Tracer()
    chain = ChatPromptTemplate.from_messages([("user", "{word}")]) | model
    config: Any = {"callbacks": [tracer]}

    async def go() -> None:
        # Not through the chain: on a loop LangChain cancels a sequence's stream, or leaves it to the collector.
        chunks = model.astream("hello", config)
        while not (await anext(chunks)).text:
            pass
        await chunks.aclose()  # type: ignore[attr-defined]

    if asynchronous:
        asyncio.run(go())
    else:
        chunks = chain.stream({"word": "hello"}, config)
        while not next(chunks).text:
            pass
        chunks.close()  # type: ignore[attr-defined]
    model.router.close()
    (path,) = tracer.attempts
    *_, routed, attempt = path
    assert (routed.name, routed.error) == ("RoutedChatModel", None)
    assert routed.outputs["output"].text == SAID[1][:4]
    assert attempt.end_time is not None
    (record,) = model.router.ledger.decisions  # type: ignore[attr-defined]
    assert record.outcome == "abandoned"


def test_a_call_that_nobody_could_answer_is_an_error_of_its_run() -> None:
    tracer = Tracer()
    with serve(Fault.error(400, message="bad value")) as provider:
        model = RoutedChatModel(targets=pool("wire", provider))
        with pytest.raises(Exception, match="bad value"):
            model.invoke([HumanMessage("hello")], {"callbacks": [tracer]})
        model.router.close()
    ((routed, attempt),) = tracer.attempts
    assert "bad value" in routed.error
    assert "bad value" in attempt.error
