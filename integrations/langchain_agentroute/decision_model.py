"""A decision model for LangChain's own ModelRouterMiddleware that answers here: without a call, for nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from langchain_core.decisions import Answer, BaseDecisionModel, Choice, ChoiceAnswer, ClassifierResponse
from langchain_core.messages import BaseMessage, HumanMessage
from pydantic import ConfigDict, Field

from agentroute import Candidate, ChatRequest, ConfigError, NoCandidateError, Pool, Router

from .messages import read_messages

__all__ = ["RoutingDecisionModel"]


class RoutingDecisionModel(BaseDecisionModel):
    """Answers which of the router's targets is the cheapest that will do a task right.

        ModelRouterMiddleware(
            choices={"small": ModelChoice(small, "Simple tasks."), "large": ModelChoice(large, "Hard ones.")},
            instructions="Choose the least costly model suited to the task.",
            classifier=RoutingDecisionModel(router=Router({"small": "openai/gpt-4.1-nano", "large": "openai/gpt-4.1"})),
        )

    The labels of a `Choice` are names of targets; what is said about them is not read. The probability of a label is
    that its target will do and no smaller one would; `confidence` is that the chosen one will do. Raises ConfigError
    for labels that are no targets and for a question of another kind, NoCandidateError if none of them may serve.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    model: str = "agentroute"
    router: Router = Field(exclude=True)

    @property
    def _provider(self) -> str:
        return "agentroute"

    def _classify(self, state: Any, questions: Mapping[str, Any]) -> ClassifierResponse:
        messages = [state] if isinstance(state, BaseMessage | str) else state
        if not isinstance(messages, Sequence) or not all(isinstance(each, BaseMessage | str) for each in messages):
            raise ConfigError(f"the state is a {type(state).__name__}; give a text, a message or a list of messages")
        said = [HumanMessage(each) if isinstance(each, str) else each for each in messages]
        candidates = self.router.route(ChatRequest(read_messages(said))).candidates
        answers: dict[str, Answer] = {
            name: _answer(name, question, self.router.pool, candidates) for name, question in questions.items()
        }
        return ClassifierResponse(model=self.model, answers=answers)

    async def _aclassify(self, state: Any, questions: Mapping[str, Any]) -> ClassifierResponse:
        return self._classify(state, questions)


def _answer(name: str, question: Any, pool: Pool, candidates: Sequence[Candidate]) -> ChoiceAnswer:
    if not isinstance(question, Choice):
        raise ConfigError(f"question {name!r} is a {type(question).__name__}; only a Choice of targets can be answered")
    for label in question.criteria:
        pool[label]
    offered = [each for each in candidates if each.target in question.criteria]
    if not offered:
        raise NoCandidateError(f"none of {', '.join(map(repr, question.criteria))} may serve now")
    rising = sorted(offered, key=lambda each: each.sufficiency)
    odds = dict.fromkeys(question.criteria, 0.0) | {rising[0].target: rising[0].sufficiency}
    odds |= {larger.target: larger.sufficiency - smaller.sufficiency for smaller, larger in pairwise(rising)}
    odds[rising[-1].target] += 1 - rising[-1].sufficiency
    return ChoiceAnswer(type="choice", choice=offered[0].target, probabilities=odds, confidence=offered[0].sufficiency)
