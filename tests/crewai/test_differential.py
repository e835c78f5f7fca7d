"""The same scenario on CrewAI's own OpenAI client and on a router with one target: same results, usage and requests.

What differs on purpose is in docs/crewai.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from crewai import Crew, Process
from crewai.events import LLMCallCompletedEvent, LLMCallFailedEvent, LLMCallStartedEvent, LLMStreamChunkEvent
from crewai.flow import Flow, start
from crewai.llms.base_llm import call_stop_override
from crewai.utilities.converter import Converter
from crewai_agentroute import RoutedLLM
from pydantic import BaseModel

from agentroute import ChatRequest, Usage
from agentroute.testing import ScriptedReply, tool_call

from .crews import ADD, SMALL, Report, add, adds, agent, heard, made, ready, serving, task, two_agents

ONE = Usage(10, 5, cache_read_tokens=4, reasoning_tokens=2)

_SETTINGS = ("temperature", "top_p", "seed", "presence_penalty")

Make = Callable[..., Any]


def counted(script: Callable[[ChatRequest], ScriptedReply]) -> Callable[[ChatRequest], ScriptedReply]:
    return lambda request: replace(script(request), usage=ONE)


@dataclass
class Outcome:
    """What came of a scenario: its result in plain form, what each LLM counted, and what the server was sent."""

    result: Any
    usage: list[dict[str, Any]]
    sent: list[dict[str, Any]]
    events: list[tuple[Any, ...]]


def plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return plain(value.model_dump())
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        # A call of an SDK is an object with empty fields, and a streamed one is numbered.
        # The scripted ids depend on the request.
        return {key: plain(each) for key, each in value.items() if each is not None and key not in ("id", "index")}
    return value


def run(scenario: Callable[[Make], Any], routed: bool, script: Any) -> Outcome:
    with serving(counted(script)) as provider:
        llms: list[Any] = []

        def make(role: str | None = None, **settings: Any) -> Any:
            if routed:
                llm: Any = made(RoutedLLM(targets=[provider.target(model=SMALL)], role=role, **settings))
            else:
                llm = ready(provider, **settings)
            llms.append(llm)
            return llm

        with heard(LLMCallStartedEvent, LLMCallCompletedEvent, LLMCallFailedEvent, LLMStreamChunkEvent) as events:
            result = scenario(make)
        return Outcome(
            result=plain(result),
            usage=[llm.get_token_usage_summary().model_dump() for llm in llms],
            sent=[dict(request.body) for request in provider.requests],
            events=[facts(event) for event in events],
        )


def facts(event: Any) -> tuple[Any, ...]:
    match event:
        case LLMCallCompletedEvent():
            told = {key: count for key, count in (event.usage or {}).items() if count}
            return ("completed", event.call_type.value, event.model, told, event.finish_reason, event.agent_role)
        case LLMStreamChunkEvent():
            return ("chunk", event.chunk, None if event.tool_call is None else event.tool_call.function.model_dump())
        case _:
            return (event.type.removeprefix("llm_call_"), event.agent_role)


def on_the_wire(body: dict[str, Any]) -> tuple[Any, ...]:
    """What is asked, without how it is written: strict schemas, names beside ids, `tool_choice`, `stop`."""
    asked = [(message["role"], len(message.get("tool_calls") or ())) for message in body["messages"]]
    tools = [each["function"]["name"] for each in body.get("tools", ())]
    form = (body.get("response_format") or {}).get("json_schema", {}).get("name")
    return (body["model"], asked, tools, form, body.get("stream", False), [body.get(name) for name in _SETTINGS])


# ---- the scenarios ---------------------------------------------------------------------------------------------------


def text(make: Make) -> Any:
    return make().call("hello")


def messages(make: Make) -> Any:
    history = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "add"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 2}'}}],
        },
        {"role": "tool", "tool_call_id": "c1", "name": "add", "content": "5"},
        {"role": "user", "content": [{"type": "text", "text": "well?"}]},
    ]
    return make().call(history, tools=[ADD])


def settings(make: Make) -> Any:
    return make(temperature=0.5, top_p=0.9, max_tokens=50, seed=7, presence_penalty=0.1).call("hello")


def calls(make: Make) -> Any:
    return make().call("hello", tools=[ADD])


def functions(make: Make) -> Any:
    return make().call("hello", tools=[ADD], available_functions={"add": lambda a, b: a + b})


def response_model(make: Make) -> Any:
    return make().call("hello", response_model=Report)


def stop(make: Make) -> Any:
    llm = make()
    with call_stop_override(llm, ["make"]):
        return llm.call("hello")


def streamed(make: Make) -> Any:
    return make(stream=True).call("hello")


def streamed_calls(make: Make) -> Any:
    return make(stream=True).call("hello", tools=[ADD])


def streamed_functions(make: Make) -> Any:
    return make(stream=True).call("hello", tools=[ADD], available_functions={"add": lambda a, b: a + b})


def streamed_response_model(make: Make) -> Any:
    return make(stream=True).call("hello", response_model=Report)


def _async(llm: Any, *given: Any, **arguments: Any) -> Any:
    async def call() -> Any:
        try:
            return await llm.acall(*given, **arguments)
        finally:
            client = getattr(llm, "_async_client", None)
            if client is not None:
                await client.close()

    return asyncio.run(call())


def async_text(make: Make) -> Any:
    return _async(make(), "hello")


def async_calls(make: Make) -> Any:
    return _async(make(), "hello", tools=[ADD])


def async_response_model(make: Make) -> Any:
    return _async(make(), "hello", response_model=Report)


def async_streamed(make: Make) -> Any:
    return _async(make(stream=True), "hello")


def stream_events(make: Make) -> Any:
    session = make().stream_events("hello")
    pieces = [frame.content for frame in session if frame.type == "llm_stream_chunk"]
    return [pieces, session.result]


def crew(make: Make) -> Any:
    return _said(two_agents(make("Researcher"), make("Writer")).kickoff())


def crew_streamed(make: Make) -> Any:
    output = two_agents(make("Researcher"), make("Writer"), stream=True).kickoff()
    text = "".join(chunk.content or "" for chunk in output)
    return [text, _said(output.result)]


def crew_async(make: Make) -> Any:
    return _said(asyncio.run(two_agents(make("Researcher"), make("Writer")).kickoff_async()))


def crew_native_async(make: Make) -> Any:
    return _said(asyncio.run(two_agents(make("Researcher"), make("Writer")).akickoff()))


def crew_copied(make: Make) -> Any:
    return [each.raw for each in two_agents(make("R"), make("W")).copy().kickoff().tasks_output]


def hierarchical(make: Make) -> Any:
    workers = [agent("Writer", make("Writer"))]
    jobs = [task("Go.", None)]
    return _said(Crew(agents=workers, tasks=jobs, process=Process.hierarchical, manager_llm=make("m")).kickoff())


def five_at_once(make: Make) -> Any:
    agents = [agent(f"Role {index}", make(), tools=[add]) for index in range(5)]
    jobs = [task(f"Add {index}.", each, async_execution=True) for index, each in enumerate(agents)]
    last = agent("Writer", make())
    return _said(Crew(agents=[*agents, last], tasks=[*jobs, task("Write.", last, context=jobs)]).kickoff())


def alone(make: Make) -> Any:
    return agent("Researcher", make(), tools=[add]).kickoff("Add 2 and 3.").raw


def alone_with_a_form(make: Make) -> Any:
    return agent("Researcher", make()).kickoff("Report.", response_format=Report).pydantic


def pydantic_and_tools(make: Make) -> Any:
    who = agent("Researcher", make(), tools=[add])
    return Crew(agents=[who], tasks=[task("Add.", who, output_pydantic=Report)]).kickoff().pydantic


def guardrail(make: Make) -> Any:
    who = agent("Writer", make())
    return _said(Crew(agents=[who], tasks=[task("Write.", who, guardrail="Be polite.")]).kickoff())


def planning(make: Make) -> Any:
    return _said(two_agents(make("R"), make("W"), planning=True, planning_llm=make("p")).kickoff())


def converter(make: Make) -> Any:
    return Converter(llm=make(), model=Report, text="two", instructions="convert").to_pydantic()


def flow(make: Make) -> Any:
    class One(Flow):  # type: ignore[type-arg]
        _skip_auto_memory = True  # whose store takes ten seconds to import

        @start()
        def first(self) -> Any:
            return make().call("hello")

    return One(suppress_flow_events=True).kickoff()


def end_of_rounds(make: Make) -> Any:
    who = agent("Researcher", make(), tools=[add], max_iter=2)
    return Crew(agents=[who], tasks=[task("Add.", who)]).kickoff().raw


def two_calls(make: Make) -> Any:
    who = agent("Researcher", make(), tools=[add])
    return Crew(agents=[who], tasks=[task("Add.", who)]).kickoff().raw


def _said(output: Any) -> Any:
    usage = output.token_usage
    return [[each.raw for each in output.tasks_output], usage.total_tokens, usage.successful_requests]


def delegating(request: ChatRequest) -> ScriptedReply:
    names = [tool.name for tool in request.tools]
    results = [result for message in request.messages for result in message.tool_results]
    if "delegate_work_to_coworker" in names and not results:
        call = tool_call("delegate_work_to_coworker", task="Write one line.", context="a sum", coworker="Writer")
        return ScriptedReply(tool_calls=(call,))
    return ScriptedReply(results[-1].text if results else "One line.")


def restless(request: ChatRequest) -> ScriptedReply:
    if request.tools:
        return ScriptedReply(tool_calls=(tool_call("add", a=1, b=len(request.messages)),))
    return ScriptedReply("Final Answer: enough")


def twofold(request: ChatRequest) -> ScriptedReply:
    results = [result for message in request.messages for result in message.tool_results]
    if not results:
        return ScriptedReply(tool_calls=(tool_call("add", a=1, b=1), tool_call("add", a=2, b=2)))
    return ScriptedReply(" and ".join(result.text for result in results))


SCRIPTS = {"hierarchical": delegating, "end_of_rounds": restless, "two_calls": twofold}
SCENARIOS = (
    text,
    messages,
    settings,
    calls,
    functions,
    response_model,
    stop,
    streamed,
    streamed_calls,
    streamed_functions,
    streamed_response_model,
    async_text,
    async_calls,
    async_response_model,
    async_streamed,
    stream_events,
    crew,
    crew_streamed,
    crew_async,
    crew_native_async,
    crew_copied,
    hierarchical,
    five_at_once,
    alone,
    alone_with_a_form,
    pydantic_and_tools,
    guardrail,
    planning,
    converter,
    flow,
    end_of_rounds,
    two_calls,
)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_same_results_usage_and_requests(scenario: Callable[[Make], Any]) -> None:
    script = SCRIPTS.get(scenario.__name__, adds)
    theirs, ours = run(scenario, False, script), run(scenario, True, script)
    assert ours.result == theirs.result
    if scenario is not crew_copied:  # whose agents count on the originals there
        assert ours.usage == theirs.usage
    assert len(ours.sent) == len(theirs.sent)
    if scenario is not five_at_once:  # which come in any order
        assert [on_the_wire(body) for body in ours.sent] == [on_the_wire(body) for body in theirs.sent]
        if scenario not in (functions, streamed_functions):  # whose usage no event tells there
            assert ours.events == theirs.events
