"""What was used is what the server counted: in `raw`, in LlamaIndex's own counters, in the decision, once."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core import Settings
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.tools import FunctionTool
from llama_index.llms.agentroute import RoutedLLM, decision_of, native

from agentroute import Usage
from agentroute.testing import Fault, ScriptedReply, nth, tool_call

from .pools import CALLS, POOLS, SMALL, call, index, made, ready, routed, serving

pytestmark = pytest.mark.requires("llama_index")


def counting() -> TokenCountingHandler:
    """A counter that must not fall back to a tokenizer of its own: the tokens would then be none of the server's."""

    def refuses(text: str) -> list[int]:
        raise AssertionError(f"counted by itself: {text!r}")

    return TokenCountingHandler(tokenizer=refuses)


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize("method", CALLS)
async def test_08_the_token_counter_counts_what_the_server_did(kind: str, method: str) -> None:
    counter = counting()
    with serving(ScriptedReply("hello there", usage=Usage(1234, 56, cache_read_tokens=1000))) as server:
        llm = routed(kind, server, callback_manager=CallbackManager([counter]))
        answer = await call(llm, method)
    assert (counter.prompt_llm_token_count, counter.completion_llm_token_count) == (1234, 56)
    decision = decision_of(answer)
    assert decision is not None
    assert decision.usage is not None
    assert (decision.usage.input_tokens, decision.usage.output_tokens) == (1234, 56)
    assert decision.usage.cache_read_tokens == 1000
    assert decision.cost is not None
    usage: Any = answer.raw["usage"] if isinstance(answer.raw, dict) else answer.raw.usage.model_dump()
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (1234, 56, 1290)
    assert usage["prompt_tokens_details"]["cached_tokens"] == 1000


def test_08_a_query_engines_total_is_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = TokenCountingHandler(tokenizer=lambda text: [0])
    monkeypatch.setattr(Settings, "_callback_manager", CallbackManager([counter]))
    with serving("At the Tagus.") as server:
        llm = routed("mixed", server)
        index().as_query_engine(llm=llm, response_mode="refine", similarity_top_k=3).query("Where?")
        spent = [d.usage for d in llm.router.ledger.decisions]  # type: ignore[attr-defined]
    assert len(spent) == len(server.requests) == 3
    assert counter.prompt_llm_token_count == sum(usage.input_tokens for usage in spent)
    assert counter.completion_llm_token_count == sum(usage.output_tokens for usage in spent)


@pytest.mark.parametrize("method", ["chat", "stream_chat"])
def test_08_a_handler_that_both_were_given_hears_of_a_call_once(method: str) -> None:
    both, own = counting(), counting()
    with serving(ScriptedReply("hello", usage=Usage(10, 5))) as server:
        manager = CallbackManager([both, own])
        model = ready(server, callback_manager=manager)
        llm = made(RoutedLLM(targets=[native(model, tier="budget")], callback_manager=CallbackManager([both])))
        answer = getattr(llm, method)([ChatMessage(content="hello")])
        if method == "stream_chat":
            list(answer)
    assert (both.total_llm_token_count, own.total_llm_token_count) == (15, 15)
    assert model.callback_manager is manager
    assert manager.handlers == [both, own]


def test_08_usage_that_nobody_told_is_not_invented() -> None:
    with serving(ScriptedReply("hello", usage=Usage())) as server:
        llm = routed("wire", server)
        answer = llm.chat([ChatMessage(content="hello")])
        assert answer.raw["usage"] is None
        assert answer.additional_kwargs == {}
        assert decision_of(answer).cost is None  # type: ignore[union-attr]
        # LlamaIndex's counter then estimates, as for any LLM.
        counter = TokenCountingHandler(tokenizer=lambda text: [0] * 7)
        llm.callback_manager = CallbackManager([counter])
        llm.chat([ChatMessage(content="hello")])
        assert counter.completion_llm_token_count == 7


@pytest.mark.parametrize("kind", POOLS)
async def test_08_calls_of_tools_are_counted_too(kind: str) -> None:
    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    counter = counting()
    reply = ScriptedReply(tool_calls=(tool_call("add", a=1, b=2),), usage=Usage(70, 9))
    with serving(reply) as server:
        llm = routed(kind, server, callback_manager=CallbackManager([counter]))
        stream = await llm.astream_chat_with_tools([FunctionTool.from_defaults(add)], user_msg="1 + 2?")
        chunks = [chunk async for chunk in stream]
    assert (counter.prompt_llm_token_count, counter.completion_llm_token_count) == (70, 9)
    assert decision_of(chunks[-1]).usage.input_tokens == 70  # type: ignore[union-attr]


def test_08_what_a_failed_attempt_used_is_not_the_answers() -> None:
    with serving("hello", fault=nth(1, Fault.error(500), model=SMALL)) as server:
        llm = routed("wire", server)
        decision = decision_of(llm.complete("hello"))
        assert decision is not None
        assert [attempt.usage is None for attempt in decision.attempts] == [True, False]
        assert decision.usage == decision.attempts[-1].usage
