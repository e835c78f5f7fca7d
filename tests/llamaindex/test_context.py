"""What a step is known by: the kind of its prompt, the agent that asks, the constraints of a handle or of one call."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.prompts import PromptTemplate, PromptType
from llama_index.core.prompts.default_prompts import (
    DEFAULT_REFINE_PROMPT,
    DEFAULT_TEXT_QA_PROMPT,
    DEFAULT_TREE_SUMMARIZE_PROMPT,
)
from llama_index.llms.agentroute import RoutedLLM, decision_of
from pydantic import BaseModel

from agentroute import ConfigError, Constraints, Decision, NoCandidateError, Router
from agentroute.testing import ScriptedReply, tool_call

from .pools import POOLS, made, routed, serving

pytestmark = pytest.mark.requires("llama_index")


def latest(llm: RoutedLLM) -> Decision:
    return llm.router.ledger.decisions[-1]  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize("kind", POOLS)
async def test_05_the_kind_of_a_prompt_reaches_the_step(kind: str) -> None:
    asked = {"context_str": "x", "context_msg": "x", "existing_answer": "y", "query_str": "Why?"}
    with serving("yes") as server:
        llm = routed(kind, server, system_prompt="Be kind.")
        for prompt, name in (
            (DEFAULT_TEXT_QA_PROMPT, "text_qa"),
            (DEFAULT_REFINE_PROMPT, "refine"),
            (DEFAULT_TREE_SUMMARIZE_PROMPT, "summary"),
            (PromptTemplate("{query_str}", prompt_type=PromptType.SUB_QUESTION), "sub_question"),
            (PromptTemplate("{query_str}"), None),
        ):
            for run in (llm.predict, llm.apredict, llm.stream, llm.astream):
                given: Any = run(prompt, **asked)
                if run in (llm.apredict, llm.astream):
                    given = await given
                if run == llm.stream:
                    given = "".join(given)
                if run == llm.astream:
                    given = "".join([token async for token in given])
                assert given == "yes"
                assert latest(llm).context.node == name
        assert server.requests[0].body["messages"][0] == {"role": "system", "content": "Be kind."}


def test_05_a_kind_does_not_outlive_its_prompt() -> None:
    with serving("yes") as server:
        llm = routed("wire", server)
        llm._get_messages(DEFAULT_TEXT_QA_PROMPT, context_str="x", query_str="Why?")
        llm.chat([ChatMessage(content="hello")])
        assert latest(llm).context.node is None


class Out(BaseModel):
    """An answer."""

    text: str


def test_05_a_structured_program_goes_by_the_name_of_its_class() -> None:
    with serving(ScriptedReply(tool_calls=(tool_call("Out", text="x"),))) as server:
        llm = routed("wire", server)
        llm.structured_predict(Out, DEFAULT_TEXT_QA_PROMPT, context_str="x", query_str="Why?")
        assert (latest(llm).context.node, latest(llm).step_kind.value) == ("Out", "structured")


def test_06_a_handle_names_its_agent_on_the_same_router() -> None:
    with serving("yes") as server:
        llm = routed("wire", server)
        research = llm.for_agent("research")
        editor = research.for_agent("editor", role="reviewer", conversation_id="c1")
        assert llm.router is research.router is editor.router
        for handle in (llm, research, editor):
            handle.complete("hello")
        known = [(d.context.agent, d.context.role, d.context.conversation_id) for d in llm.router.ledger.decisions]
        assert known == [(None, None, None), ("research", "research", None), ("editor", "reviewer", "c1")]
        assert (llm.agent, research.agent) == (None, "research")


def test_a_pin_a_tier_and_a_strategy() -> None:
    with serving("yes") as server:
        llm = routed("wire", server)
        hello = [ChatMessage(content="hello")]
        for given, target in (
            ({"model": "strong"}, "strong"),
            ({"model": "gpt-4.1"}, "strong"),
            ({"model": "auto"}, "small"),
            ({"agentroute": {"target": "strong"}}, "strong"),
            ({"agentroute": {"tier": "standard"}}, "strong"),
            ({"agentroute": Constraints(max_tier="budget")}, "small"),
            ({"agentroute": {"strategy": "best"}}, None),
        ):
            decision = decision_of(llm.chat(hello, **given))
            assert decision is not None
            assert target in (None, decision.target)
        assert decision.strategy == "best"
        assert {request.body["model"] for request in server.requests} == {"gpt-4.1-nano", "gpt-4.1"}


def test_a_handles_constraints_hold_and_one_calls_are_over_them() -> None:
    with serving("yes") as server:
        strong = routed("wire", server).for_agent(target="strong")
        assert decision_of(strong.complete("hello")).target == "strong"  # type: ignore[union-attr]
        small = strong.complete("hello", agentroute={"target": "small"})
        assert decision_of(small).target == "small"  # type: ignore[union-attr]
        with pytest.raises(NoCandidateError):
            strong.for_agent(max_tier="budget").complete("hello")


@pytest.mark.parametrize("wrong", [{"tire": "mid"}, {"max_tier": "huge"}, {"strategy": "wild"}])
def test_a_wrong_constraint_is_named_when_it_is_given(wrong: dict[str, Any]) -> None:
    named = str(*wrong.values()) if "tire" not in wrong else "tire"
    with serving("yes") as server:
        llm = routed("wire", server)
        with pytest.raises(ConfigError, match=named):
            llm.for_agent(**wrong)
        with pytest.raises(ConfigError, match=named):
            llm.complete("hello", agentroute=wrong)
        with pytest.raises(ConfigError, match=named):
            RoutedLLM(router=llm.router, constraints=wrong)
        with pytest.raises(ConfigError, match="give a dict"):
            llm.complete("hello", agentroute="mid")


def test_a_router_of_ones_own() -> None:
    with serving("yes") as server, Router(targets=[server.target(name="only", model="gpt-4.1")]) as router:
        assert decision_of(RoutedLLM(router=router).complete("hello")).target == "only"  # type: ignore[union-attr]
        assert len(router.ledger.decisions) == 1  # type: ignore[attr-defined]


def test_memory_is_not_filled_with_records() -> None:
    from llama_index.core.memory import Memory

    with serving("yes") as server:
        answer = made(routed("wire", server)).chat([ChatMessage(content="hello")])
        bare = Memory.from_defaults()._estimate_token_count(ChatMessage(role="assistant", content="yes"))
        assert Memory.from_defaults()._estimate_token_count(answer.message) - bare < 50
