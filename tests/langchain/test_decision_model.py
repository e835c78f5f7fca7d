"""LangChain's ModelRouterMiddleware with a decision model that answers here."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from langchain.agents import create_agent

pytest.importorskip("langchain_core.decisions")

from langchain.agents.middleware import ModelChoice, ModelRouterMiddleware, SummarizationMiddleware
from langchain_agentroute import RoutedChatModel, RoutingDecisionModel
from langchain_core.decisions import Choice, Noul
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import HumanMessage

from agentroute import ConfigError, Router, Target

pytestmark = pytest.mark.requires("langchain")

EASY = "Thanks!"
HARD = "Prove that this scheduler has no deadlock, and rewrite it without locks:\n" + "lock.acquire(); go(x[i]);\n" * 40


@pytest.fixture
def router() -> Iterator[Router]:
    made = Router({"small": "openai/gpt-4.1-nano", "large": "openai/gpt-5.1"})
    yield made
    made.close()


def question(*labels: str) -> dict[str, Any]:
    return {"route": Choice(criteria=dict.fromkeys(labels), instructions="Choose.")}


@pytest.mark.parametrize("asynchronous", [False, True], ids=["invoke", "ainvoke"])
@pytest.mark.parametrize(("ask", "wanted"), [(EASY, "small"), (HARD, "large")], ids=["easy", "hard"])
async def test_the_middleware_routes_by_it(router: Router, ask: str, wanted: str, asynchronous: bool) -> None:
    models = {name: FakeListChatModel(responses=[name]) for name in ("small", "large")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The middleware is in beta.
        middleware = ModelRouterMiddleware(
            choices={name: ModelChoice(model, "tasks of this size") for name, model in models.items()},
            instructions="Choose the least costly model suited to the task.",
            classifier=RoutingDecisionModel(router=router),
        )
    agent: Any = create_agent(models["small"], middleware=[middleware])
    given = {"messages": [HumanMessage(ask)]}
    state = await agent.ainvoke(given) if asynchronous else agent.invoke(given)
    assert state["messages"][-1].text == wanted
    assert not router.ledger.decisions  # type: ignore[attr-defined]


@pytest.mark.parametrize("state", [EASY, HumanMessage(HARD), [HumanMessage(EASY), HumanMessage(HARD)]])
def test_the_odds_are_a_distribution(router: Router, state: Any) -> None:
    answers = RoutingDecisionModel(router=router).invoke({"state": state, "questions": question("small", "large")})
    answer = answers.choices["route"]
    assert sum(answer.probabilities.values()) == pytest.approx(1)
    assert all(0 <= odds <= 1 for odds in answer.probabilities.values())
    assert 0 < answer.confidence <= 1


@pytest.mark.parametrize(
    ("state", "questions", "problem"),
    [
        (EASY, question("small", "medium"), "medium"),
        (EASY, {"urgent": Noul(instructions="Is it urgent?")}, "only a Choice"),
        ({"a": 1}, question("small", "large"), "give a text"),
    ],
)
def test_what_it_cannot_answer(router: Router, state: Any, questions: Any, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        RoutingDecisionModel(router=router).invoke({"state": state, "questions": questions})


@pytest.mark.parametrize("model", ["a-model-of-tomorrow", "gpt-4.1"])
def test_fractional_summarisation_works_with_any_pool(model: str) -> None:
    targets = [Target(provider="openai", model=model, tier="mid", api_key="k"), FakeListChatModel(responses=["a"])]
    routed = RoutedChatModel(targets={"wire": targets[0], "budget": targets[1]})
    assert (routed.profile or {})["max_input_tokens"] == 128_000
    SummarizationMiddleware(model=routed, trigger=("fraction", 0.8), keep=("fraction", 0.3))
    routed.router.close()
