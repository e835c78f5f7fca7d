"""Copies of a RoutedLLM: a copy and a deep copy go on with the same router, a pickle brings a router of its own."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
import threading
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.llms import MockLLM
from llama_index.llms.agentroute import RoutedLLM, decision_of, native

from agentroute import ConfigError, Price, Router

from .pools import POOLS, SMALL, STRONG, made, routed, serving

pytestmark = pytest.mark.requires("llama_index")

HELLO = [ChatMessage(content="hello")]


def asked(llm: RoutedLLM) -> Any:
    decision = decision_of(llm.chat(HELLO))
    assert decision is not None
    return decision


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda llm: llm.model_copy(deep=True)])
def test_10_a_copy_goes_on_with_the_same_router(kind: str, copied: Any) -> None:
    counter = TokenCountingHandler(tokenizer=lambda text: [])
    with serving("yes") as server:
        llm = routed(kind, server, callback_manager=CallbackManager([counter])).for_agent("writer", max_tier="budget")
        asked(llm)
        again = copied(llm)
        assert again is not llm
        assert again.router is llm.router
        assert asked(again).context.agent == "writer"
        assert len(llm.router.ledger.decisions) == 2  # type: ignore[attr-defined]
        used = [decision.usage for decision in llm.router.ledger.decisions]  # type: ignore[attr-defined]
        assert counter.total_llm_token_count == sum(usage.input_tokens + usage.output_tokens for usage in used)


def test_10_a_deep_copy_of_what_holds_it_too() -> None:
    with serving("yes") as server:
        llm = routed("wire", server)
        held = copy.deepcopy({"agents": [llm.for_agent("a"), llm.for_agent("b")]})
        assert [one.router is llm.router for one in held["agents"]] == [True, True]


def test_10_a_pickle_keeps_a_working_router(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    with serving("yes") as server:
        monkeypatch.setenv("SCRIPTED_API_KEY", server.api_key)
        from agentroute import Target

        targets = [
            Target(name=n, provider="openai", model=m, base_url=server.base_url, api_key="env:SCRIPTED_API_KEY")
            for n, m in (("small", SMALL), ("strong", STRONG))
        ]
        router = Router(targets=targets, strategy="best")
        plain = made(RoutedLLM(router=router, temperature=0.5, system_prompt="Be kind."))
        llm = plain.for_agent("writer", tier="budget")
        with caplog.at_level(logging.WARNING):
            data = pickle.dumps(llm)
        assert "Removing unpickleable" not in caplog.text
        assert server.api_key.encode() not in data
        again = made(pickle.loads(data))
        assert isinstance(again, RoutedLLM)
        assert again.router is not llm.router
        assert (again.router.strategy, again.temperature, again.system_prompt) == ("best", 0.5, "Be kind.")
        decision = asked(again)
        assert (decision.target, decision.context.agent) == ("small", "writer")


def test_10_a_literal_key_is_not_pickled_and_its_calls_say_so() -> None:
    with serving("yes") as server:
        data = pickle.dumps(routed("wire", server))
        assert server.api_key.encode() not in data
        with pytest.raises(ConfigError, match=r"literal key was not kept in the pickle.*env:NAME"):
            made(pickle.loads(data)).chat(HELLO)


def test_10_a_native_model_is_pickled_in_its_own_way() -> None:
    with serving("yes") as server:
        again = made(pickle.loads(pickle.dumps(routed("native", server))))
        assert again.models["small"].max_retries == 0  # type: ignore[attr-defined]
        assert asked(again).target == "small"
        for _ in range(2):
            assert asyncio.run(again.achat(HELLO)).message.content == "yes"


class Locked(MockLLM):
    """A native model that cannot be pickled."""

    def __getstate__(self) -> Any:
        return {"lock": threading.Lock()}


def test_10_what_cannot_be_pickled_is_an_error_and_not_left_out() -> None:
    llm = RoutedLLM(targets=[native(Locked(), name="own", tier="mid", price=Price(0, 0))])
    with pytest.raises(ConfigError, match="its router holds what cannot"):
        pickle.dumps(llm)
