"""Crews in every mode that CrewAI has, offline."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from crewai import Crew, Process
from crewai.flow import Flow, listen, start
from crewai_agentroute import RoutedLLM, route_crew

from agentroute import ChatRequest, StepKind
from agentroute.testing import ScriptedReply, tool_call

from .crews import POOLS, SMALL, Report, add, adds, agent, made, routed, serving, task, two_agents

both = pytest.mark.parametrize("kind", POOLS)
DONE = ["The sum is 5.", "Two and three make five."]


def said(output: Any) -> list[str]:
    return [each.raw for each in output.tasks_output]


@both
def test_r14_a_crew_of_two_with_a_tool(kind: str) -> None:
    with serving(adds) as provider:
        llm = routed(kind, provider)
        crew = two_agents(llm)
        handles = route_crew(crew, llm)
        output = crew.kickoff()
        decisions = llm.router.ledger.decisions
        assert said(output) == DONE
        assert [step.context.role for step in decisions] == ["Researcher", "Researcher", "Writer"]
        assert [step.step_kind for step in decisions[:2]] == [StepKind.FIRST_ASK, StepKind.AFTER_RESULT]
        assert len(provider.requests) == 3
        assert output.token_usage.successful_requests == 3
        assert output.token_usage.prompt_tokens == sum(step.usage.input_tokens for step in decisions)
        assert handles["Writer"].get_token_usage_summary().successful_requests == 1


@both
def test_r14_a_tool_by_text_where_no_target_calls_tools(kind: str) -> None:
    """CrewAI's ReAct form: the observation is CrewAI's to write, so the answer is cut before it."""

    def acts(request: ChatRequest) -> ScriptedReply:
        if "Observation: 5" in "".join(message.text for message in request.messages):
            return ScriptedReply("Thought: I know.\nFinal Answer: five")
        call = 'Thought: I add.\nAction: add\nAction Input: {"a": 2, "b": 3}'
        return ScriptedReply(f"{call}\nObservation: 6\nFinal Answer: six")

    with serving(acts) as provider:
        llm = routed(kind, provider)
        object.__setattr__(llm, "supports_function_calling", lambda: False)
        who = agent("Researcher", llm, tools=[add])
        assert Crew(agents=[who], tasks=[task("Add 2 and 3.", who)]).kickoff().raw == "five"
        assert not any("tools" in request.body for request in provider.requests)


@both
def test_r14_a_manager_who_delegates(kind: str) -> None:
    def delegates(request: ChatRequest) -> ScriptedReply:
        names = [tool.name for tool in request.tools]
        results = [result for message in request.messages for result in message.tool_results]
        if "delegate_work_to_coworker" in names and not results:
            call = tool_call("delegate_work_to_coworker", task="Write one line.", context="a sum", coworker="Writer")
            return ScriptedReply(tool_calls=(call,))
        return ScriptedReply(results[-1].text if results else "One line.")

    with serving(delegates) as provider:
        llm = routed(kind, provider)
        workers = [agent("Writer", llm), agent("Reader", llm)]
        crew = Crew(agents=workers, tasks=[task("Go.", None)], process=Process.hierarchical, manager_llm=llm)
        route_crew(crew, llm)
        assert crew.kickoff().raw == "One line."
        roles = [step.context.role for step in llm.router.ledger.decisions]
        assert roles == ["Crew Manager", "Writer", "Crew Manager"]


@both
@pytest.mark.parametrize("way", ["kickoff_async", "akickoff"])
async def test_r14_on_an_event_loop(kind: str, way: str) -> None:
    with serving(adds) as provider:
        llm = routed(kind, provider)
        crew = two_agents(llm)
        route_crew(crew, llm)
        assert said(await getattr(crew, way)()) == DONE
        assert len(provider.requests) == 3


@both
def test_r14_streamed(kind: str) -> None:
    with serving(adds) as provider:
        llm = routed(kind, provider)
        crew = two_agents(llm, stream=True)
        route_crew(crew, llm)
        output = crew.kickoff()
        text = "".join(chunk.content for chunk in output if chunk.content)
        assert DONE[0] in text
        assert DONE[1] in text
        assert said(output.result) == DONE
        assert all(request.stream for request in provider.requests)


@both
def test_r14_five_tasks_at_once(kind: str) -> None:
    with serving(adds) as provider:
        llm = routed(kind, provider)
        agents = [agent(f"Role {index}", llm, tools=[add]) for index in range(5)]
        tasks = [task(f"Add {index}.", each, async_execution=True) for index, each in enumerate(agents)]
        last = agent("Writer", llm)
        crew = Crew(agents=[*agents, last], tasks=[*tasks, task("Write.", last, context=tasks)])
        route_crew(crew, llm)
        output = crew.kickoff()
        assert said(output) == [DONE[0]] * 5 + [DONE[1]]
        assert output.token_usage.successful_requests == len(provider.requests) == 11


@both
def test_r14_an_agent_by_itself(kind: str) -> None:
    with serving(adds) as provider:
        llm = routed(kind, provider)
        who = agent("Researcher", llm, tools=[add])
        output = who.kickoff("Add 2 and 3.")
        assert output.raw == DONE[0]
        assert output.usage_metrics["successful_requests"] == 2
        assert asyncio.run(who.kickoff_async("Add 2 and 3.")).raw == DONE[0]
        assert asyncio.run(who.akickoff("Add 2 and 3.")).raw == DONE[0]
        assert [step.context.role for step in llm.router.ledger.decisions] == ["Researcher"] * 6
        assert who.kickoff("Report.", response_format=Report).pydantic == Report(title="as asked", count=7)


@both
def test_r14_a_flow(kind: str) -> None:
    with serving(adds) as provider:
        llm = routed(kind, provider)

        class Adding(Flow):  # type: ignore[type-arg]
            _skip_auto_memory = True  # whose store takes ten seconds to import

            @start()
            def first(self) -> str:
                crew = two_agents(llm)
                route_crew(crew, llm)
                return str(crew.kickoff().raw)

            @listen(first)
            def then(self, text: str) -> str:
                return str(llm.for_agent("editor").call(f"Shorten: {text}"))

        assert Adding().kickoff() == "Two and three make five."
        assert llm.router.ledger.decisions[-1].context.role == "editor"


@both
def test_r14_copied_and_tested(kind: str) -> None:
    with serving(adds) as provider:
        llm = routed(kind, provider)
        crew = two_agents(llm)
        route_crew(crew, llm)
        assert said(crew.copy().kickoff()) == DONE
        crew.test(n_iterations=1, eval_llm=llm.for_agent("judge"))
        roles = {step.context.role for step in llm.router.ledger.decisions}
        assert roles == {"Researcher", "Writer", "Task Execution Evaluator"}


def test_r14_stream_events_of_one_call() -> None:
    with serving("an answer in pieces, not at once") as provider:
        llm = routed("wire", provider)
        session = llm.stream_events("hello")
        frames = list(session)
        assert len(frames) > 2
        assert session.result == "an answer in pieces, not at once"


def test_r14_an_agent_at_the_end_of_its_rounds_is_made_to_answer() -> None:
    def never_done(request: ChatRequest) -> ScriptedReply:
        if request.tools:
            return ScriptedReply(tool_calls=(tool_call("add", a=1, b=len(request.messages)),))
        return ScriptedReply("Final Answer: enough")

    with serving(never_done) as provider:
        llm = routed("wire", provider)
        who = agent("Researcher", llm.for_agent("Researcher"), tools=[add], max_iter=2)
        assert "enough" in Crew(agents=[who], tasks=[task("Add.", who)]).kickoff().raw
        assert {step.context.role for step in llm.router.ledger.decisions} == {"Researcher"}


def test_r14_two_calls_in_one_answer() -> None:
    def twice(request: ChatRequest) -> ScriptedReply:
        results = [result for message in request.messages for result in message.tool_results]
        if not results:
            return ScriptedReply(tool_calls=(tool_call("add", a=1, b=1), tool_call("add", a=2, b=2)))
        return ScriptedReply(" and ".join(result.text for result in results))

    with serving(twice) as provider:
        llm = made(RoutedLLM(targets=[provider.target(model=SMALL)]))
        who = agent("Researcher", llm, tools=[add])
        assert Crew(agents=[who], tasks=[task("Add.", who)]).kickoff().raw == "2 and 4"
