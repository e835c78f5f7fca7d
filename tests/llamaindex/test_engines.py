"""LlamaIndex's engines on a RoutedLLM: each of their calls is routed, knows its prompt's kind, and is billed right."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llama_index.core import Settings
from llama_index.core.evaluation import FaithfulnessEvaluator
from llama_index.core.query_engine import RouterQueryEngine, SubQuestionQueryEngine
from llama_index.core.question_gen import LLMQuestionGenerator
from llama_index.core.selectors import LLMSingleSelector, PydanticSingleSelector
from llama_index.core.tools import QueryEngineTool
from pydantic import BaseModel

from agentroute.messages import ChatRequest
from agentroute.testing import ScriptedProvider, ScriptedReply, tool_call

from .pools import POOLS, index, routed, serving

pytestmark = pytest.mark.requires("llama_index")

MODES = {
    "compact": ["text_qa"],
    "refine": ["text_qa", "refine"],
    "tree_summarize": ["summary"],
    "simple_summarize": ["text_qa"],
    "accumulate": ["text_qa", "text_qa"],
}
"""Each response mode over two pieces of text, with the kinds of its calls in order."""


def settled(llm: Any, server: ScriptedProvider) -> list[Any]:
    """The decisions so far, as many as there were requests, whose usage is what the server counted."""
    decisions = list(llm.router.ledger.decisions)
    assert len(decisions) == len(server.requests)
    assert all(d.outcome == "ok" and d.usage.input_tokens > 0 and d.usage.output_tokens > 0 for d in decisions)
    assert all(d.cost is not None for d in decisions)
    return decisions


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize("mode", MODES)
def test_11_runs_offline_query_engine(kind: str, mode: str) -> None:
    with serving("At the Tagus.") as server:
        llm = routed(kind, server)
        engine = index().as_query_engine(llm=llm, response_mode=mode, similarity_top_k=2)
        assert "At the Tagus." in str(engine.query("Where does Lisbon lie?"))
        assert [d.context.node for d in settled(llm, server)] == MODES[mode]


@pytest.mark.parametrize("kind", POOLS)
async def test_11_runs_offline_query_engine_on_an_event_loop(kind: str) -> None:
    with serving("At the Tagus.") as server:
        llm = routed(kind, server)
        assert str(await index().as_query_engine(llm=llm).aquery("Where does Lisbon lie?")) == "At the Tagus."
        assert [d.context.node for d in settled(llm, server)] == ["text_qa"]


@pytest.mark.parametrize("kind", POOLS)
def test_11_runs_offline_streaming_query_engine(kind: str) -> None:
    with serving("It lies at the mouth of the Tagus.") as server:
        llm = routed(kind, server)
        answer: Any = index().as_query_engine(llm=llm, streaming=True).query("Where does Lisbon lie?")
        tokens = list(answer.response_gen)
        assert len(tokens) > 2
        assert "".join(tokens) == "It lies at the mouth of the Tagus."
        assert [d.context.node for d in settled(llm, server)] == ["text_qa"]


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize("mode", ["simple", "context", "condense_question", "condense_plus_context"])
def test_11_runs_offline_chat_engine(kind: str, mode: str) -> None:
    with serving("At the Tagus.") as server:
        llm = routed(kind, server)
        engine = index().as_chat_engine(chat_mode=mode, llm=llm)
        assert str(engine.chat("Where does Lisbon lie?")) == "At the Tagus."
        assert str(engine.chat("And Porto?")) == "At the Tagus."
        assert "".join(engine.stream_chat("And Faro?").response_gen) == "At the Tagus."
        settled(llm, server)


@pytest.mark.parametrize("kind", POOLS)
async def test_11_runs_offline_chat_engine_streaming_on_an_event_loop(kind: str) -> None:
    with serving("At the Tagus.") as server:
        llm = routed(kind, server)
        answer = await index().as_chat_engine(chat_mode="context", llm=llm).astream_chat("Where does Lisbon lie?")
        assert "".join([token async for token in answer.async_response_gen()]) == "At the Tagus."
        settled(llm, server)


def questions(request: ChatRequest) -> ScriptedReply | str:
    if "sub-questions" in request.messages[-1].text:
        asked = [{"sub_question": q, "tool_name": "rivers"} for q in ("Where is Lisbon?", "Where is Porto?")]
        return f"```json\n{json.dumps({'items': asked})}\n```"
    return "At a river."


@pytest.mark.parametrize("kind", POOLS)
def test_11_runs_offline_sub_questions(kind: str) -> None:
    with serving(questions) as server:
        llm = routed(kind, server)
        tool = QueryEngineTool.from_defaults(index().as_query_engine(llm=llm), name="rivers", description="Rivers")
        engine = SubQuestionQueryEngine.from_defaults(
            [tool],
            llm=llm,
            question_gen=LLMQuestionGenerator.from_defaults(llm=llm),
            use_async=False,
            verbose=False,
        )
        assert str(engine.query("Compare Lisbon and Porto")) == "At a river."
        kinds = [d.context.node for d in settled(llm, server)]
        assert kinds == ["sub_question", "text_qa", "text_qa", "text_qa"]


def choice(request: ChatRequest) -> ScriptedReply | str:
    if request.tools:
        return ScriptedReply(tool_calls=(tool_call("SingleSelection", index=1, reason="it is about coasts"),))
    if "choice" in request.messages[-1].text:
        return json.dumps([{"choice": 1, "reason": "it is about rivers"}])
    return "At the Tagus."


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize("selector", [LLMSingleSelector, PydanticSingleSelector])
def test_11_runs_offline_router_query_engine(kind: str, selector: Any) -> None:
    with serving(choice) as server:
        llm = routed(kind, server)
        tools = [
            QueryEngineTool.from_defaults(index().as_query_engine(llm=llm), name=name, description=name)
            for name in ("rivers", "coasts")
        ]
        engine = RouterQueryEngine.from_defaults(tools, llm=llm, selector=selector.from_defaults(llm=llm))
        assert str(engine.query("Where does Lisbon lie?")) == "At the Tagus."
        first = "single_select" if selector is LLMSingleSelector else "SingleSelection"
        assert [d.context.node for d in settled(llm, server)] == [first, "text_qa"]


class Place(BaseModel):
    """A place and its river."""

    city: str
    river: str


def place(request: ChatRequest) -> ScriptedReply:
    return ScriptedReply(tool_calls=(tool_call("Place", city="Lisbon", river="Tagus"),))


@pytest.mark.parametrize("kind", POOLS)
def test_11_runs_offline_structured_query_engine(kind: str) -> None:
    with serving(place) as server:
        llm = routed(kind, server)
        answer: Any = index().as_query_engine(llm=llm, output_cls=Place).query("Where does Lisbon lie?")
        assert answer.response == Place(city="Lisbon", river="Tagus")
        assert [(d.context.node, d.step_kind.value) for d in settled(llm, server)] == [("Place", "structured")]


@pytest.mark.parametrize("kind", POOLS)
def test_11_runs_offline_an_evaluator_that_runs_coroutines_from_a_plain_call(kind: str) -> None:
    with serving("YES") as server:
        llm = routed(kind, server)
        judged = FaithfulnessEvaluator(llm=llm).evaluate(
            query="Where does Lisbon lie?", response="At the Tagus.", contexts=["Lisbon lies at the Tagus."]
        )
        assert judged.passing
        settled(llm, server)


def test_settings_take_it() -> None:
    with serving("At the Tagus.") as server:
        before = Settings._llm
        try:
            Settings.llm = llm = routed("wire", server)
            assert str(index().as_query_engine().query("Where does Lisbon lie?")) == "At the Tagus."
        finally:
            Settings._llm = before
        settled(llm, server)
