"""Every way in for a ready model, in every framework: the same failover, usage, retries and loops.

A rule that holds on one way and not on another was four defects at once: retries inside the SDK that no record showed,
a second event loop that failed, usage that was never heard, and the same again behind the middleware.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import pytest
from crewai import LLM
from crewai_agentroute import RoutedLLM as CrewLLM
from crewai_agentroute import native as crewai_native
from langchain.agents import create_agent
from langchain_agentroute import RoutedChatModel, RoutingMiddleware
from langchain_agentroute import native as langchain_native
from langchain_openai import ChatOpenAI
from llama_index.llms.agentroute import RoutedLLM as IndexLLM
from llama_index.llms.agentroute import native as llama_index_native
from llama_index.llms.openai import OpenAI

from agentroute import Attempt, ProviderError, Router
from agentroute.testing import Fault, ScriptedProvider, nth

SMALL, STRONG = "gpt-4.1-nano", "gpt-4.1"


def no_kept_connections() -> httpx.Client:
    """A plain client of a ready model is never closed, so its connections must end with their answers."""
    return httpx.Client(limits=httpx.Limits(max_keepalive_connections=0), verify=False)


def chat_openai(provider: ScriptedProvider, model: str) -> ChatOpenAI:
    """As anybody makes it with a `base_url`: its own retries on, usage of streams not asked for."""
    client = no_kept_connections()
    return ChatOpenAI(model=model, base_url=provider.base_url, api_key=provider.api_key, http_client=client)


def crewai_llm(provider: ScriptedProvider, model: str) -> LLM:
    return LLM(model=f"openai/{model}", base_url=provider.base_url, api_key=provider.api_key)


def llama_index_openai(provider: ScriptedProvider, model: str) -> OpenAI:
    client = no_kept_connections()
    return OpenAI(model=model, api_base=provider.base_url, api_key=provider.api_key, http_client=client)


@dataclass(frozen=True)
class Way:
    """One way in: how a ready model is made, how it gets into a pool, how the pool is asked."""

    ready: Callable[[ScriptedProvider, str], Any]
    made: Callable[[dict[str, Any]], Any]
    ask: Callable[[Any], Any]
    aask: Callable[[Any], Any]
    stream: Callable[[Any], Any] | None = None

    def pool(self, provider: ScriptedProvider) -> dict[str, Any]:
        return {"small": self.ready(provider, SMALL), "strong": self.ready(provider, STRONG)}


def behind_a_router(adapter: Callable[..., Any], native: Callable[..., Any], pool: dict[str, Any]) -> Any:
    return adapter(router=Router({name: native(model) for name, model in pool.items()}, strategy="balanced"))


def beside_settings(adapter: Callable[..., Any], pool: dict[str, Any]) -> Any:
    return adapter(targets=pool, strategy="balanced", baseline="small", deadline_s=60)


def agent(routing: RoutingMiddleware) -> Any:
    return create_agent(routing.model, middleware=[routing])


QUESTION: Any = {"messages": [("user", "hello")]}
LANGCHAIN = {"ask": lambda m: m.invoke("hello"), "aask": lambda m: m.ainvoke("hello")}
MIDDLEWARE = {"ask": lambda m: agent(m).invoke(QUESTION), "aask": lambda m: agent(m).ainvoke(QUESTION)}
CREWAI = {"ask": lambda m: m.call("hello"), "aask": lambda m: m.acall("hello")}
INDEX = {"ask": lambda m: m.complete("hello"), "aask": lambda m: m.acomplete("hello")}
STREAMS = {"stream": lambda m: list(m.stream("hello"))}

ROUTERS: list[Router] = []

WAYS: dict[str, Way] = {
    "langchain, targets": Way(chat_openai, lambda p: RoutedChatModel(targets=p), **LANGCHAIN, **STREAMS),
    "langchain, list": Way(chat_openai, lambda p: RoutedChatModel(targets=list(p.values())), **LANGCHAIN, **STREAMS),
    "langchain, settings": Way(chat_openai, partial(beside_settings, RoutedChatModel), **LANGCHAIN, **STREAMS),
    "langchain, router": Way(
        chat_openai, partial(behind_a_router, RoutedChatModel, langchain_native), **LANGCHAIN, **STREAMS
    ),
    "middleware, targets": Way(chat_openai, lambda p: RoutingMiddleware(targets=p), **MIDDLEWARE),
    "middleware, router": Way(chat_openai, partial(behind_a_router, RoutingMiddleware, langchain_native), **MIDDLEWARE),
    "crewai, targets": Way(crewai_llm, lambda p: CrewLLM(targets=p), **CREWAI),
    "crewai, settings": Way(crewai_llm, partial(beside_settings, CrewLLM), **CREWAI),
    "crewai, router": Way(crewai_llm, partial(behind_a_router, CrewLLM, crewai_native), **CREWAI),
    "llama_index, targets": Way(
        llama_index_openai, lambda p: IndexLLM(targets=p), stream=lambda m: list(m.stream_complete("hello")), **INDEX
    ),
    "llama_index, settings": Way(llama_index_openai, partial(beside_settings, IndexLLM), **INDEX),
    "llama_index, router": Way(llama_index_openai, partial(behind_a_router, IndexLLM, llama_index_native), **INDEX),
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    return WAYS[request.param]


@pytest.fixture(autouse=True)
def routers_end() -> Iterator[None]:
    yield
    while ROUTERS:
        ROUTERS.pop().close()


def routed(way: Way, pool: dict[str, Any]) -> Any:
    made = way.made(pool)
    ROUTERS.append(made.router)
    return made


def attempts(model: Any) -> tuple[Attempt, ...]:
    return tuple(model.router.ledger.decisions[-1].attempts)


def test_a_failover_is_in_the_record_and_no_sdk_retries(way: Way) -> None:
    with ScriptedProvider("hi", provider="openai", fault=nth(1, Fault.error(503), model=SMALL)) as provider:
        model = routed(way, way.pool(provider))
        way.ask(model)
        assert [(a.status, a.outcome) for a in attempts(model)] == [(503, "failed"), (None, "ok")]
        assert [request.model for request in provider.requests] == [SMALL, STRONG]


def test_a_provider_that_always_fails_sees_only_our_own_attempts(way: Way) -> None:
    with ScriptedProvider("hi", provider="openai", fault=Fault.error(500)) as provider:
        model = routed(way, {"small": way.ready(provider, SMALL)})
        with pytest.raises(ProviderError):
            way.ask(model)
        assert len(provider.requests) == len(attempts(model)) == 2


def test_what_was_used_is_counted_and_priced(way: Way) -> None:
    with ScriptedProvider("hi", provider="openai") as provider:
        model = routed(way, {"small": way.ready(provider, SMALL)})
        for ask in filter(None, (way.ask, way.stream)):
            ask(model)
            decision = model.router.ledger.decisions[-1]
            assert decision.usage is not None
            assert decision.usage.input_tokens
            assert decision.cost
            assert "provider_missing_usage" not in decision.warnings


def test_a_ready_model_that_tells_no_usage_says_so() -> None:
    with ScriptedProvider("hi", provider="openai") as provider:
        quiet = chat_openai(provider, SMALL).model_copy(update={"stream_usage": False})
        model = RoutedChatModel(targets=[quiet])
        list(model.stream("hello"))
        decision = model.router.ledger.decisions[-1]
        assert (decision.usage, decision.cost, decision.warnings) == (None, None, ("provider_missing_usage",))


def test_fifty_event_loops(way: Way) -> None:
    with ScriptedProvider("hi", provider="openai") as provider:
        model = routed(way, {"small": way.ready(provider, SMALL)})
        with warnings.catch_warnings(action="error"):
            for _ in range(50):
                asyncio.run(_awaited(way, model))
        assert [d.outcome for d in model.router.ledger.decisions] == ["ok"] * 50
        assert len(provider.requests) == 50


async def _awaited(way: Way, model: Any) -> None:
    await way.aask(model)


def test_fifty_threads(way: Way) -> None:
    with ScriptedProvider("hi", provider="openai") as provider:
        model = routed(way, {"small": way.ready(provider, SMALL)})
        with ThreadPoolExecutor(50) as threads:
            list(threads.map(lambda _: way.ask(model), range(100)))
        assert [d.outcome for d in model.router.ledger.decisions] == ["ok"] * 100
        assert len(provider.requests) == 100


def test_the_models_that_were_given_stay_as_they_are(way: Way) -> None:
    with ScriptedProvider("hi", provider="openai") as provider:
        given = way.ready(provider, SMALL)
        before = given.max_retries
        model = routed(way, {"small": given})
        way.ask(model)
        assert given.max_retries == before
        assert model.router.models["small" if "small" in model.router.models else SMALL] is not given
