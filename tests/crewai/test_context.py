"""What the router is told of a step: role, task, round, and the kind of the steps that CrewAI adds itself."""

from __future__ import annotations

from typing import Any

import pytest
from crewai import Crew
from crewai.agent.planning_config import PlanningConfig
from crewai.memory.analyze import analyze_for_save, extract_memories_from_content
from crewai.utilities.agent_utils import handle_max_iterations_exceeded
from crewai.utilities.converter import Converter
from crewai_agentroute import RoutedStepEvent, conversation_of, route_crew

from agentroute import ChatRequest, StepKind
from agentroute.testing import ScriptedReply, tool_call

from .crews import ADD, POOLS, Report, adds, agent, heard, routed, serving, task, two_agents


def seen(llm: Any) -> list[tuple[Any, ...]]:
    return [(step.context.role, step.context.node) for step in llm.router.ledger.decisions]


@pytest.mark.parametrize("kind", POOLS)
def test_r02_role_task_and_round_of_every_step_of_a_crew(kind: str) -> None:
    with serving(adds) as provider:
        llm = routed(kind, provider)
        crew = two_agents(llm)
        with heard(RoutedStepEvent) as events:
            crew.kickoff()
        steps = llm.router.ledger.decisions
        assert [step.context.role for step in steps] == ["Researcher", "Researcher", "Writer"]
        first, second = map(conversation_of, crew.tasks)
        assert [step.context.conversation_id for step in steps] == [first, first, second]
        assert [event.task_name for event in events] == ["Add 2 and 3.", "Add 2 and 3.", "Write about the sum."]
        assert [event.iteration for event in events] == [0, 1, 0]


def test_a_crew_that_is_kicked_off_again_has_other_conversations() -> None:
    with serving(adds) as provider:
        llm = routed("wire", provider)
        crew = two_agents(llm)
        crew.kickoff()
        crew.kickoff()
        names = [step.context.conversation_id for step in llm.router.ledger.decisions]  # type: ignore[attr-defined]
    assert len(set(names[:3])) == len(set(names[3:])) == 2
    assert not set(names[:3]) & set(names[3:])
    assert {str(each.id) for each in crew.tasks} == {name.partition("@")[0] for name in names}


def test_r02_a_named_task_is_the_node() -> None:
    with serving(adds) as provider:
        llm = routed("wire", provider)
        who = agent("Researcher", llm)
        Crew(agents=[who], tasks=[task("Add 2 and 3.", who, name="adding")]).kickoff()
        assert seen(llm) == [("Researcher", "adding")]


def test_r02_where_crewai_does_not_say_who_calls_the_handles_role_stands_in() -> None:
    """The converter, the forced final answer, memory: none of them passes the agent."""
    with serving(adds) as provider:
        llm = routed("wire", provider).for_agent("researcher")
        Converter(llm=llm, model=Report, text="two", instructions="convert").to_pydantic()
        messages = [{"role": "user", "content": "go on"}]
        handle_max_iterations_exceeded(_printer(), messages, llm, [], verbose=False)
        extract_memories_from_content("we met in Lisbon", llm)
        assert seen(llm) == [("researcher", "converter"), ("researcher", None), ("researcher", "memory")]
        llm.call("hello", from_agent=agent("Writer", llm))
        assert seen(llm)[-1] == ("Writer", None)


def _printer() -> Any:
    from crewai_core.printer import PRINTER

    return PRINTER


def test_r03_the_manager_delegates() -> None:
    with serving(delegates) as provider:
        llm = routed("wire", provider)
        writer = agent("Writer", llm)
        crew = Crew(agents=[writer], tasks=[task("Have it written.", None)], process="hierarchical", manager_llm=llm)
        route_crew(crew, llm)
        crew.kickoff()
        assert seen(llm)[:2] == [("Crew Manager", "manager"), ("Writer", None)]
        assert llm.router.ledger.decisions[0].step_kind is StepKind.DELEGATE


def delegates(request: ChatRequest) -> ScriptedReply:
    names = [tool.name for tool in request.tools]
    results = [result for message in request.messages for result in message.tool_results]
    if "delegate_work_to_coworker" in names and not results:
        call = tool_call("delegate_work_to_coworker", task="Write one line.", context="a sum", coworker="Writer")
        return ScriptedReply(tool_calls=(call,))
    return ScriptedReply("It is written.")


def test_r03_the_planner_of_a_crew() -> None:
    with serving(adds) as provider:
        llm = routed("wire", provider)
        crew = two_agents(llm, planning=True, planning_llm=llm)
        route_crew(crew, llm)
        crew.kickoff()
        assert ("Task Execution Planner", "planner") in seen(llm)
        assert len({id(handle) for handle in (crew.planning_llm, *(each.llm for each in crew.agents))}) == 3


def test_r03_the_plan_of_an_agent() -> None:
    with serving(plans) as provider:
        llm = routed("wire", provider)
        who = agent("Researcher", llm, planning_config=PlanningConfig(max_attempts=1))
        Crew(agents=[who], tasks=[task("Think.", who)]).kickoff()
        assert seen(llm)[0] == ("Researcher", "planner")


def plans(request: ChatRequest) -> ScriptedReply:
    if any(tool.name == "create_reasoning_plan" for tool in request.tools):
        return ScriptedReply(tool_calls=(tool_call("create_reasoning_plan", plan="think", steps=[], ready=True),))
    return adds(request)


def test_r03_a_guardrail() -> None:
    with serving(adds) as provider:
        llm = routed("wire", provider)
        who = agent("Writer", llm)
        Crew(agents=[who], tasks=[task("Write.", who, guardrail="It must be polite.")]).kickoff()
        assert ("Guardrail Agent", "guardrail") in seen(llm)


def test_r03_the_evaluator_of_a_test_run() -> None:
    with serving(adds) as provider:
        llm = routed("wire", provider)
        two_agents(llm).test(n_iterations=1, eval_llm=llm.for_agent("judge"))
        assert ("Task Execution Evaluator", "evaluator") in seen(llm)


def test_r03_memory() -> None:
    with serving(adds) as provider:
        llm = routed("wire", provider).for_agent("memory")
        analyze_for_save("we met in Lisbon", [], [], llm)
        assert seen(llm) == [("memory", "memory")]


@pytest.mark.parametrize(
    ("tools", "model_name", "kind"),
    [
        ([ADD], "StepObservation", "observer"),
        (None, "LLMGuardrailResult", "guardrail"),
        (None, "PlannerTaskPydanticOutput", "planner"),
        (None, "ConsolidationPlan", "memory"),
        (None, "Report", "converter"),
        ([ADD], None, None),
    ],
)
def test_r03_kinds_by_response_model(tools: Any, model_name: str | None, kind: str | None) -> None:
    model = None if model_name is None else type(model_name, (Report,), {"__module__": __name__})
    with serving(adds) as provider:
        llm = routed("wire", provider)
        llm.call("hello", tools=tools, response_model=model)
        assert seen(llm) == [(None, kind)]


def test_what_crewai_adds_itself_is_known_by_the_names_it_has_today() -> None:
    from crewai.utilities.i18n import I18N_DEFAULT
    from crewai_agentroute.context import _BY_RESPONSE_MODEL, _BY_ROLE

    assert I18N_DEFAULT.retrieve("hierarchical_manager_agent", "role") in _BY_ROLE
    from crewai.memory import analyze
    from crewai.tasks.llm_guardrail import LLMGuardrailResult
    from crewai.utilities.evaluators.crew_evaluator_handler import TaskEvaluationPydanticOutput
    from crewai.utilities.evaluators.task_evaluator import TaskEvaluation
    from crewai.utilities.planning_handler import PlannerTaskPydanticOutput
    from crewai.utilities.planning_types import StepObservation

    known = (LLMGuardrailResult, TaskEvaluationPydanticOutput, TaskEvaluation, PlannerTaskPydanticOutput)
    names = {each.__name__ for each in (*known, StepObservation)}
    names |= {name for name in ("ExtractedMemories", "MemoryAnalysis", "QueryAnalysis") if hasattr(analyze, name)}
    assert names <= set(_BY_RESPONSE_MODEL)
    assert hasattr(analyze, "ConsolidationPlan")
