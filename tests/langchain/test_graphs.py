"""LangGraph around RoutedChatModel: checkpoints, interrupts, branches at once, sub-graphs, tasks, event streams."""

from __future__ import annotations

import json
import logging
import operator
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, TypedDict

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_agentroute import RoutedChatModel, decision_of
from langchain_core.load import dumps, loads
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, messages_from_dict, messages_to_dict
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde import jsonplus
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, Send, interrupt

from agentroute import ChatRequest
from agentroute.testing import ScriptedProvider, ScriptedReply, tool_call

from .families import KINDS, pin, routed

pytestmark = pytest.mark.requires("langchain", "langchain_openai", "langchain_anthropic")

QUESTION = {"messages": [("user", "What is the weather in Paris?")]}
ANSWER = "It is 18 degrees in Paris."


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"{city}: 18 degrees, sunny"


def script(request: ChatRequest) -> ScriptedReply | str:
    if request.tools and request.messages[-1].role != "tool":
        return ScriptedReply(tool_calls=(tool_call("weather", city="Paris"),))
    return ANSWER if request.tools else f"You said: {request.messages[-1].text}"


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider(script, provider="openai") as running:
        yield running


@pytest.fixture(params=KINDS)
async def model(request: pytest.FixtureRequest, provider: ScriptedProvider) -> AsyncIterator[RoutedChatModel]:
    async with routed(request.param, provider) as made:
        yield made


def strict() -> JsonPlusSerializer:
    """As LangGraph reads checkpoints under LANGGRAPH_STRICT_MSGPACK: nothing but the types it knows to be safe."""
    return JsonPlusSerializer(allowed_msgpack_modules=None)


@pytest.fixture(autouse=True)
def nothing_was_held_back(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A type that LangGraph does not know would be warned of, in its log, once in a process."""
    for name in ("_warned_unregistered_types", "_warned_blocked_types"):
        monkeypatch.setattr(jsonplus, name, set())
    yield
    assert held_back(caplog.get_records("call")) == []


def held_back(records: list[logging.LogRecord]) -> list[str]:
    return [record.getMessage() for record in records if record.name.startswith("langgraph.checkpoint")]


def answers(messages: list[BaseMessage]) -> list[AIMessage]:
    return [message for message in messages if isinstance(message, AIMessage)]


class TestHistoriesThatAreKept:
    @pytest.mark.parametrize("streamed", [False, True])
    def test_a_thread_goes_on_from_its_checkpoint(self, model: RoutedChatModel, streamed: bool) -> None:
        saver = InMemorySaver(serde=strict())
        config: Any = {"configurable": {"thread_id": "t-1"}}
        for _ in range(2):
            # A process of its own each time: nothing but the checkpoint is left of the turn before.
            agent = create_agent(model, [weather], checkpointer=saver)
            if streamed:
                assert list(agent.stream(QUESTION, config, stream_mode="messages"))
            else:
                agent.invoke(QUESTION, config)
        messages = answers(agent.get_state(config).values["messages"])
        steps = [decision_of(message) for message in messages]
        assert len({step.id for step in steps if step}) == 4
        for before, message in zip(steps, messages[1:], strict=False):
            assert message.response_metadata["agentroute"]["context"]["previous_id"] == before.id  # type: ignore[union-attr]
        assert all(step.context.conversation_id == "t-1" for step in steps if step)

    @pytest.mark.filterwarnings("ignore:The function `loads` is in beta")
    @pytest.mark.parametrize("target", ["small", "strong"])
    def test_every_way_messages_are_written_down_keeps_the_decision(self, model: RoutedChatModel, target: str) -> None:
        messages = create_agent(model, [weather]).invoke(QUESTION, pin(target))["messages"]
        serde = strict()
        written: dict[str, Any] = {
            "checkpoint": serde.loads_typed(serde.dumps_typed(messages)),
            "json": messages_from_dict(json.loads(json.dumps(messages_to_dict(messages)))),
            "langchain": loads(dumps(messages), allowed_objects="messages"),
            "pydantic": [type(m).model_validate_json(m.model_dump_json()) for m in messages],
        }
        for way, read in written.items():
            assert [decision_of(m) for m in answers(read)] == [decision_of(m) for m in answers(messages)], way
            assert read == messages, way
            # And the model goes on from what was read.
            assert model.bind_tools([weather]).invoke(read[:-1], pin(target)).text == ANSWER, way

    def test_merged_chunks_are_kept_too(self, model: RoutedChatModel) -> None:
        whole: AIMessageChunk | None = None
        for chunk in model.stream("hi"):
            whole = chunk if whole is None else whole + chunk  # type: ignore[assignment]
        serde = strict()
        assert decision_of(serde.loads_typed(serde.dumps_typed(whole))) == decision_of(whole)  # type: ignore[arg-type]


class TestInterrupts:
    def test_a_tool_waits_for_a_human(self, model: RoutedChatModel) -> None:
        agent = create_agent(
            model,
            [weather],
            middleware=[HumanInTheLoopMiddleware(interrupt_on={"weather": True})],
            checkpointer=InMemorySaver(serde=strict()),
        )
        config: Any = {"configurable": {"thread_id": "t-1"}}
        assert agent.invoke(QUESTION, config)["__interrupt__"]
        approved = Command(resume={"decisions": [{"type": "approve"}]})
        messages = agent.invoke(approved, config)["messages"]
        first, last = (decision_of(message) for message in answers(messages))
        assert messages[-1].text == ANSWER
        assert messages[-1].response_metadata["agentroute"]["context"]["previous_id"] == first.id  # type: ignore[union-attr]
        # The step before the interrupt is not taken again.
        assert len(model.router.ledger.decisions) == 2  # type: ignore[attr-defined]
        assert last is not None

    async def test_a_node_asks_and_is_run_again(self, model: RoutedChatModel) -> None:
        async def ask(state: MessagesState) -> Any:
            draft = await model.ainvoke(state["messages"])
            return {"messages": [draft, ("user", interrupt(draft.text))]}

        graph = StateGraph(MessagesState).add_node("ask", ask).add_edge(START, "ask").add_edge("ask", END)
        compiled = graph.compile(checkpointer=InMemorySaver(serde=strict()))
        config: Any = {"configurable": {"thread_id": "t-1"}}
        await compiled.ainvoke(QUESTION, config)
        state = await compiled.ainvoke(Command(resume="good"), config)
        assert [m.text for m in state["messages"][-2:]] == [f"You said: {QUESTION['messages'][0][1]}", "good"]
        # LangGraph runs the node from its beginning: two calls were made, and two are on the bill.
        assert [d.outcome for d in model.router.ledger.decisions] == ["ok", "ok"]  # type: ignore[attr-defined]


class Words(TypedDict):
    words: list[str]
    answers: Annotated[list[AIMessage], operator.add]


class TestShapes:
    @pytest.mark.parametrize("asynchronous", [False, True])
    async def test_branches_at_once(self, model: RoutedChatModel, asynchronous: bool) -> None:
        def fan(state: Words) -> list[Send]:
            return [Send("one", {"word": word}) for word in state["words"]]

        def one(state: Any) -> Any:
            return {"answers": [model.invoke(state["word"])]}

        async def aone(state: Any) -> Any:
            return {"answers": [await model.ainvoke(state["word"])]}

        graph = StateGraph(Words).add_node("one", aone if asynchronous else one)
        graph.add_conditional_edges(START, fan, ["one"]).add_edge("one", END)
        given: Any = {"words": list("abcdef"), "answers": []}
        compiled = graph.compile()
        state = await compiled.ainvoke(given) if asynchronous else compiled.invoke(given)
        assert [m.text for m in state["answers"]] == [f"You said: {word}" for word in "abcdef"]
        steps = [decision_of(m) for m in state["answers"]]
        assert len({step.id for step in steps if step}) == 6
        assert {step.context.node for step in steps if step} == {"one"}

    def test_a_sub_graph_names_the_node_it_runs_in(self, model: RoutedChatModel) -> None:
        def call(state: MessagesState) -> Any:
            return {"messages": [model.invoke(state["messages"])]}

        inner = StateGraph(MessagesState).add_node("think", call).add_edge(START, "think").add_edge("think", END)
        outer = StateGraph(MessagesState).add_node("inner", inner.compile()).add_node("say", call)
        outer.add_edge(START, "inner").add_edge("inner", "say").add_edge("say", END)
        first, second = (decision_of(m) for m in answers(outer.compile().invoke(QUESTION)["messages"]))
        assert first is not None
        assert second is not None
        assert (first.context.node, second.context.node) == ("think", "say")
        assert first.context.parent_id is not None
        assert first.context.parent_id.startswith("inner:")
        assert second.context.parent_id is None

    async def test_the_functional_api(self, model: RoutedChatModel) -> None:
        @task
        def ask(word: str) -> AIMessage:
            return model.invoke(word)

        @task
        async def aask(word: str) -> AIMessage:
            return await model.ainvoke(word)

        @entrypoint(checkpointer=InMemorySaver(serde=strict()))
        def flow(words: list[str]) -> list[AIMessage]:
            return [future.result() for future in [ask(word) for word in words]]

        @entrypoint(checkpointer=InMemorySaver(serde=strict()))
        async def aflow(words: list[str]) -> list[AIMessage]:
            return [await future for future in [aask(word) for word in words]]

        config: Any = {"configurable": {"thread_id": "t-1"}}
        for messages in (flow.invoke(["a", "b"], config), await aflow.ainvoke(["a", "b"], config)):
            assert [m.text for m in messages] == ["You said: a", "You said: b"]
            steps = [decision_of(m) for m in messages]
            assert {step.context.conversation_id for step in steps if step} == {"t-1"}
            assert {step.context.node for step in steps if step} <= {"ask", "aask"}


class TestStreams:
    async def test_the_events_of_every_run(self, model: RoutedChatModel) -> None:
        agent = create_agent(model, [weather])
        events = [event async for event in agent.astream_events(QUESTION, version="v2")]
        starts = [event for event in events if event["event"] == "on_chat_model_start"]
        ends = [event for event in events if event["event"] == "on_chat_model_end"]
        assert len(starts) == len(ends) == 2
        assert {event["metadata"]["langgraph_node"] for event in starts} == {"model"}
        assert {event["metadata"]["ls_model_name"] for event in starts} <= {"gpt-4.1-nano", "claude-opus-5"}
        said: dict[str, str] = {}
        for event in events:
            if event["event"] == "on_chat_model_stream":
                said[event["run_id"]] = said.get(event["run_id"], "") + event["data"]["chunk"].text
        assert [text for text in said.values() if text] == [ANSWER]
        told = [event["data"] for event in events if event["event"] == "on_custom_event"]
        assert [event["outcome"] for event in told] == ["planned", "ok"] * 2
        assert "on_tool_start" in {event["event"] for event in events}

    @pytest.mark.parametrize("mode", ["values", "updates", "messages", "custom", "debug"])
    async def test_every_mode_ends_with_the_same_answer(self, model: RoutedChatModel, mode: Any) -> None:
        agent = create_agent(model, [weather], checkpointer=InMemorySaver(serde=strict()))
        for at, go in enumerate(("plain", "loop")):
            config: Any = {"configurable": {"thread_id": f"t-{at}"}}
            if go == "plain":
                _ = list(agent.stream(QUESTION, config, stream_mode=mode))
            else:
                _ = [part async for part in agent.astream(QUESTION, config, stream_mode=mode)]
            messages = agent.get_state(config).values["messages"]
            assert messages[-1].text == ANSWER
            assert all(decision_of(message).outcome == "ok" for message in answers(messages))  # type: ignore[union-attr]


def test_a_type_of_our_own_in_a_checkpoint_would_be_noticed(
    model: RoutedChatModel, caplog: pytest.LogCaptureFixture
) -> None:
    """What every test here is held to can fail: LangGraph does not know the type of a decision, only its record."""
    decision = decision_of(model.invoke("hi"))
    assert decision is not None
    serde = strict()
    assert serde.loads_typed(serde.dumps_typed(decision.context)) != decision.context
    assert len(held_back(caplog.records)) == 1
    caplog.clear()
