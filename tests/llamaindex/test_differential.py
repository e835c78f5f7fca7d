"""A RoutedLLM beside LlamaIndex's own OpenAI model on one loopback server: results, requests and usage are the same.

What differs on purpose is in docs/llamaindex.md, and in `alike` below.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from llama_index.core.agent.workflow import AgentStream, AgentWorkflow, FunctionAgent, ReActAgent
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ToolCallBlock,
)
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.evaluation import FaithfulnessEvaluator
from llama_index.core.prompts import PromptTemplate
from llama_index.core.query_engine import RouterQueryEngine, SubQuestionQueryEngine
from llama_index.core.question_gen import LLMQuestionGenerator
from llama_index.core.selectors import LLMSingleSelector, PydanticSingleSelector
from llama_index.core.settings import Settings
from llama_index.core.tools import FunctionTool, QueryEngineTool
from llama_index.core.types import PydanticProgramMode
from llama_index.llms.agentroute import RoutedLLM
from pydantic import BaseModel

from agentroute import Usage
from agentroute.messages import ChatRequest
from agentroute.testing import ScriptedReply, tool_call

from .pools import CALLS, call, index, made, ready, said, serving
from .test_messages import PDF, PNG

pytestmark = pytest.mark.requires("llama_index")

MODEL = "gpt-4.1"
Scenario = Callable[[Any], Awaitable[Any]]


class Place(BaseModel):
    """A place and its river."""

    city: str
    river: str


def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"{city}: 21 degrees"


WEATHER = FunctionTool.from_defaults(weather)
PROMPT = PromptTemplate("Where does {city} lie?")


def script(request: ChatRequest) -> ScriptedReply:
    """One model for all scenarios. What it used depends on what it was sent."""
    reply = _reply(request)
    characters = sum(len(message.text) for message in request.messages)
    sent = 100 * len(request.messages) + 10 * len(request.tools) + characters
    calls = tuple(replace(call, id=f"call_{len(request.messages)}{at}") for at, call in enumerate(reply.tool_calls))
    return replace(reply, tool_calls=calls, usage=Usage(sent, len(reply.text) + 1))


def _reply(request: ChatRequest) -> ScriptedReply:
    names = {tool.name for tool in request.tools}
    last = request.messages[-1]
    if "Place" in names:
        return ScriptedReply(tool_calls=(tool_call("Place", city="Lisbon", river="Tagus"),))
    if "SingleSelection" in names:
        return ScriptedReply(tool_calls=(tool_call("SingleSelection", index=0, reason="rivers"),))
    if last.tool_results:
        if "handoff" in names and "weather" in names:
            return ScriptedReply(tool_calls=(tool_call("handoff", to_agent="writer", reason="known"),))
        return ScriptedReply("It is warm: " + " ".join(result.text for result in last.tool_results))
    if "weather" in names:
        both = (tool_call("weather", city="Lisbon"), tool_call("weather", city="Porto"))
        return ScriptedReply(tool_calls=both if request.parallel_tool_calls else both[:1])
    if "sub-questions" in last.text:
        asked = [{"sub_question": q, "tool_name": "rivers"} for q in ("Where is Lisbon?", "Where is Porto?")]
        return ScriptedReply(f"```json\n{json.dumps({'items': asked})}\n```")
    if "choice" in last.text:
        return ScriptedReply(json.dumps([{"choice": 1, "reason": "rivers"}]))
    if "Observation:" in last.text and "Action Input" in "".join(m.text for m in request.messages):
        return ScriptedReply("Thought: I can answer without using any more tools.\nAnswer: It is warm.")
    if "Thought: I need to use a tool" in "".join(m.text for m in request.messages):
        return ScriptedReply('Thought: I need the weather.\nAction: weather\nAction Input: {"city": "Lisbon"}')
    return ScriptedReply("YES, it lies at the mouth of the Tagus.")


SCENARIOS: dict[str, Scenario] = {}


def scenario(run: Scenario) -> Scenario:
    SCENARIOS[run.__name__] = run
    return run


def answer(response: Any) -> Any:
    """What an answer says, and what it calls."""
    if not isinstance(response, ChatResponse):
        return said(response)
    blocks = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
    calls = [(b.tool_call_id, b.tool_name, json.loads(str(b.tool_kwargs))) for b in blocks]
    return response.message.role, said(response), calls


for _method in CALLS:

    async def _call(llm: Any, method: str = _method) -> Any:
        return answer(await call(llm, method, "Where does Lisbon lie?"))

    SCENARIOS[_method] = _call

for _method in ("chat", "achat", "stream_chat", "astream_chat"):

    async def _with_tools(llm: Any, method: str = _method) -> Any:
        found = []
        for parallel in (False, True):
            given = getattr(llm, f"{method}_with_tools")(
                [WEATHER], user_msg="The weather?", allow_parallel_tool_calls=parallel
            )
            given = await given if method.startswith("a") else given
            if method == "astream_chat":
                given = [chunk async for chunk in given][-1]
            elif method == "stream_chat":
                given = list(given)[-1]
            found.append((answer(given), llm.get_tool_calls_from_response(given)))
        return found

    SCENARIOS[f"{_method}_with_tools"] = _with_tools


@scenario
async def predict(llm: Any) -> Any:
    return llm.predict(PROMPT, city="Lisbon")


@scenario
async def apredict(llm: Any) -> Any:
    return await llm.apredict(PROMPT, city="Lisbon")


@scenario
async def stream(llm: Any) -> Any:
    return "".join(llm.stream(PROMPT, city="Lisbon"))


@scenario
async def astream(llm: Any) -> Any:
    return "".join([token async for token in await llm.astream(PROMPT, city="Lisbon")])


@scenario
async def predict_and_call(llm: Any) -> Any:
    return str(llm.predict_and_call([WEATHER], user_msg="The weather?"))


@scenario
async def apredict_and_call(llm: Any) -> Any:
    return str(await llm.apredict_and_call([WEATHER], user_msg="The weather?", allow_parallel_tool_calls=True))


@scenario
async def structured_predict(llm: Any) -> Any:
    return llm.structured_predict(Place, PROMPT, city="Lisbon")


@scenario
async def astructured_predict(llm: Any) -> Any:
    return await llm.astructured_predict(Place, PROMPT, city="Lisbon")


@scenario
async def stream_structured_predict(llm: Any) -> Any:
    return list(llm.stream_structured_predict(Place, PROMPT, city="Lisbon"))[-1]


@scenario
async def as_structured_llm(llm: Any) -> Any:
    return llm.as_structured_llm(Place).complete("Where does Lisbon lie?").raw


for _mode in ("compact", "refine", "tree_summarize", "simple_summarize", "accumulate"):

    async def _query(llm: Any, mode: str = _mode) -> Any:
        return str(index().as_query_engine(llm=llm, response_mode=mode, similarity_top_k=3).query("Where?"))

    SCENARIOS[f"query_{_mode}"] = _query


@scenario
async def query_streaming(llm: Any) -> Any:
    answered: Any = index().as_query_engine(llm=llm, streaming=True).query("Where does Lisbon lie?")
    return "".join(answered.response_gen)


@scenario
async def aquery(llm: Any) -> Any:
    return str(await index().as_query_engine(llm=llm).aquery("Where does Lisbon lie?"))


@scenario
async def query_structured(llm: Any) -> Any:
    answered: Any = index().as_query_engine(llm=llm, output_cls=Place).query("Where?")
    return answered.response


@scenario
async def sub_questions(llm: Any) -> Any:
    tool = QueryEngineTool.from_defaults(index().as_query_engine(llm=llm), name="rivers", description="Rivers")
    engine = SubQuestionQueryEngine.from_defaults(
        [tool], llm=llm, question_gen=LLMQuestionGenerator.from_defaults(llm=llm), use_async=False, verbose=False
    )
    return str(await engine.aquery("Compare Lisbon and Porto"))


for _selector in (LLMSingleSelector, PydanticSingleSelector):

    async def _routed(llm: Any, selector: Any = _selector) -> Any:
        tools = [
            QueryEngineTool.from_defaults(index().as_query_engine(llm=llm), name=name, description=name)
            for name in ("rivers", "coasts")
        ]
        engine = RouterQueryEngine.from_defaults(tools, llm=llm, selector=selector.from_defaults(llm=llm))
        return str(await engine.aquery("Where?"))

    SCENARIOS[f"router_{_selector.__name__}"] = _routed


@scenario
async def chat_engine(llm: Any) -> Any:
    engine = index().as_chat_engine(chat_mode="condense_plus_context", llm=llm)
    return [str(engine.chat("Where does Lisbon lie?")), "".join(engine.stream_chat("And Porto?").response_gen)]


@scenario
async def evaluator(llm: Any) -> Any:
    judged = await FaithfulnessEvaluator(llm=llm).aevaluate(
        query="Where?", response="At the Tagus.", contexts=["Lisbon lies at the Tagus."]
    )
    return judged.passing


for _streaming in (True, False):

    async def _function_agent(llm: Any, streaming: bool = _streaming) -> Any:
        handler = FunctionAgent(tools=[weather], llm=llm, streaming=streaming).run("The weather?")
        text = "".join([event.delta async for event in handler.stream_events() if isinstance(event, AgentStream)])
        return text, str(await handler)

    SCENARIOS[f"function_agent_{'streaming' if _streaming else 'plain'}"] = _function_agent


@scenario
async def react_agent(llm: Any) -> Any:
    return str(await ReActAgent(tools=[weather], llm=llm).run("The weather?"))


@scenario
async def two_agents(llm: Any) -> Any:
    research = FunctionAgent(
        name="research", description="Finds out", tools=[weather], llm=llm, can_handoff_to=["writer"]
    )
    writer = FunctionAgent(name="writer", description="Writes", tools=[], llm=llm, can_handoff_to=[])
    result = await AgentWorkflow(agents=[research, writer], root_agent="research").run("The weather?")
    return str(result), result.current_agent_name


@scenario
async def picture_and_document(llm: Any) -> Any:
    blocks = [TextBlock(text="What?"), ImageBlock(image=PNG, detail="low"), DocumentBlock(data=PDF)]
    return answer(llm.chat([ChatMessage(blocks=blocks)]))


@scenario
async def history_with_calls(llm: Any) -> Any:
    called = ToolCallBlock(tool_call_id="c1", tool_name="weather", tool_kwargs={"city": "Lisbon"})
    told = {"tool_call_id": "c1"}
    return answer(
        llm.chat(
            [
                ChatMessage(role=MessageRole.SYSTEM, content="Be kind."),
                ChatMessage(content="The weather?"),
                ChatMessage(role=MessageRole.ASSISTANT, blocks=[TextBlock(text="Let me see."), called]),
                ChatMessage(role=MessageRole.TOOL, content="21 degrees", additional_kwargs=told),
            ]
        )
    )


def alike(body: Any) -> dict[str, Any]:
    """A request without what differs on purpose: settings nobody gave, `strict`, and fields that are null."""
    kept = ("messages", "model", "tools", "tool_choice", "parallel_tool_calls", "stream")
    found = {key: _without_nulls(body[key]) for key in kept if body.get(key)}
    for tool in found.get("tools", ()):
        tool["function"].pop("strict", None)
    return found


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


async def observed(run: Scenario, make: Callable[[Any, CallbackManager], Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    counter = TokenCountingHandler(tokenizer=lambda text: [0] * 1_000_003)
    manager = CallbackManager([counter])
    monkeypatch.setattr(Settings, "_callback_manager", manager)
    with serving(script) as server:
        result = await run(make(server, manager))
        # Sub-questions are asked at once, and reach the server in either order.
        requests = sorted((alike(request.body) for request in server.requests), key=str)
    return result, requests, (counter.prompt_llm_token_count, counter.completion_llm_token_count)


@pytest.mark.parametrize("name", SCENARIOS)
async def test_the_same_as_llama_indexs_own_model(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function = PydanticProgramMode.FUNCTION

    def theirs(server: Any, manager: CallbackManager) -> Any:
        told = {"stream_options": {"include_usage": True}}
        return ready(server, MODEL, callback_manager=manager, pydantic_program_mode=function, additional_kwargs=told)

    def ours(server: Any, manager: CallbackManager) -> Any:
        target = server.target(name="only", model=MODEL)
        return made(RoutedLLM(targets=[target], callback_manager=manager, pydantic_program_mode=function))

    expected = await observed(SCENARIOS[name], theirs, monkeypatch)
    found = await observed(SCENARIOS[name], ours, monkeypatch)
    assert found == expected
    result, requests, (prompt, completion) = found
    assert result
    assert requests
    if name != "as_structured_llm":  # LlamaIndex's StructuredLLM has events of its own, without usage.
        assert 0 < prompt < 1_000_003
        assert 0 < completion < 1_000_003


def test_there_are_enough_of_them() -> None:
    assert len(SCENARIOS) >= 22
