"""RoutedChatModel where LangChain takes a Runnable: chains, fallbacks, retries, fields, batches, caches, limits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from langchain_agentroute import RoutedChatModel, decision_of
from langchain_core.caches import InMemoryCache
from langchain_core.exceptions import ModelError
from langchain_core.globals import set_llm_cache
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, trim_messages
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.runnables import ConfigurableField, RunnableParallel
from langchain_core.tools import tool
from pydantic import BaseModel

from agentroute import ChatRequest, RequestError
from agentroute.testing import Fault, ScriptedProvider, ScriptedReply, ScriptedRequest, nth, tool_call

from .families import KINDS, SMALL, STRONG, pin, routed

pytestmark = pytest.mark.requires("langchain", "langchain_openai", "langchain_anthropic")


class City(BaseModel):
    """A city."""

    name: str
    inhabitants: int


@tool
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


def script(request: ChatRequest) -> ScriptedReply | str:
    """The model's part of every test here: a city where a schema is asked for, a call where tools are, else an echo."""
    if request.response_schema is not None:
        return '{"name": "Paris", "inhabitants": 2000000}'
    if request.tools and request.tools[0].name == "City":
        return ScriptedReply(tool_calls=(tool_call("City", name="Paris", inhabitants=2_000_000),))
    if request.tools:
        return ScriptedReply(tool_calls=(tool_call("add", a=2, b=3),))
    return f"You said: {request.messages[-1].text}"


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider(script, provider="openai") as running:
        yield running


@pytest.fixture(params=KINDS)
async def model(request: pytest.FixtureRequest, provider: ScriptedProvider) -> AsyncIterator[RoutedChatModel]:
    async with routed(request.param, provider) as made:
        yield made


def target_of(message: Any) -> str:
    decision = decision_of(message)
    assert decision is not None
    return decision.target


class TestChains:
    PROMPT = ChatPromptTemplate.from_messages([("system", "Be brief."), ("user", "{word}")])

    def test_prompt_model_parser(self, model: RoutedChatModel) -> None:
        chain = self.PROMPT | model | StrOutputParser()
        assert chain.invoke({"word": "one"}) == "You said: one"
        assert "".join(chain.stream({"word": "two"})) == "You said: two"
        assert chain.batch([{"word": "three"}, {"word": "four"}]) == ["You said: three", "You said: four"]

    async def test_on_a_loop(self, model: RoutedChatModel) -> None:
        chain = self.PROMPT | model | StrOutputParser()
        assert await chain.ainvoke({"word": "one"}) == "You said: one"
        assert "".join([text async for text in chain.astream({"word": "two"})]) == "You said: two"

    def test_parallel_branches_are_routed_by_themselves(self, model: RoutedChatModel) -> None:
        small, strong = (model.with_config(pin(name)) for name in ("small", "strong"))
        answers = RunnableParallel(a=small, b=strong).invoke("hi")
        assert (target_of(answers["a"]), target_of(answers["b"])) == ("small", "strong")

    @pytest.mark.parametrize("target", ["small", "strong"])
    def test_structured_output(self, model: RoutedChatModel, target: str) -> None:
        chain = self.PROMPT | model.with_structured_output(City)
        assert chain.invoke({"word": "Paris?"}, pin(target)) == City(name="Paris", inhabitants=2_000_000)

    @pytest.mark.parametrize("target", ["small", "strong"])
    def test_structured_output_with_the_message_it_came_in(self, model: RoutedChatModel, target: str) -> None:
        answer = model.with_structured_output(City, include_raw=True).invoke("Paris?", pin(target))
        assert answer["parsed"] == City(name="Paris", inhabitants=2_000_000)
        assert answer["parsing_error"] is None
        assert target_of(answer["raw"]) == target

    def test_what_cannot_be_parsed_is_told_beside_the_message(self) -> None:
        with ScriptedProvider("no city at all", provider="openai") as provider:
            target = provider.target(name="small", model=SMALL)
            model = RoutedChatModel(targets=[target])
            answer = model.with_structured_output(City, include_raw=True).invoke("Paris?")
            model.router.close()
        assert (answer["parsed"], answer["raw"].text) == (None, "no city at all")
        assert answer["parsing_error"] is not None


class TestWrappers:
    def test_config_set_beforehand_holds_for_every_call(self, model: RoutedChatModel) -> None:
        pinned = model.with_config(pin("strong"), tags=["mine"])
        assert [target_of(m) for m in (pinned.invoke("a"), *pinned.batch(["b"]))] == ["strong", "strong"]

    def test_fallbacks_keep_bind_tools(self, provider: ScriptedProvider, model: RoutedChatModel) -> None:
        """LangChain hands `bind_tools` on to each of the models, which is all that users ask of it."""
        with ScriptedProvider("unused", fault=Fault.error(503), provider="openai") as down:
            broken = RoutedChatModel(targets=[down.target(name="only", model=SMALL)])
            message = broken.with_fallbacks([model]).bind_tools([add]).invoke("2 + 3?")
            broken.router.close()
        assert message.tool_calls[0]["args"] == {"a": 2, "b": 3}
        assert target_of(message) in ("small", "strong")
        (failed,) = broken.router.ledger.decisions  # type: ignore[attr-defined]
        assert (failed.target, failed.outcome) == ("only", "failed")

    def test_fallbacks_to_a_plain_model(self, provider: ScriptedProvider) -> None:
        with ScriptedProvider("unused", fault=Fault.error(503), provider="openai") as down:
            broken = RoutedChatModel(targets=[down.target(name="only", model=SMALL)])
            message = broken.with_fallbacks([FakeListChatModel(responses=["spare"])]).invoke("hi")
            broken.router.close()
        assert (message.text, decision_of(message)) == ("spare", None)

    @pytest.mark.parametrize("kind", KINDS)
    async def test_retries_are_calls_of_their_own(self, kind: str) -> None:
        def down_at_first(request: ScriptedRequest) -> Fault | None:
            return Fault.error(503) if request.index < 2 else None

        with ScriptedProvider(script, fault=down_at_first, provider="openai") as provider:
            async with routed(kind, provider) as model:
                message = model.with_retry(retry_if_exception_type=(ModelError,), wait_exponential_jitter=False).invoke(
                    "hi", pin("small")
                )
                decisions = model.router.ledger.decisions  # type: ignore[attr-defined]
        assert message.text == "You said: hi"
        assert [decision.outcome for decision in decisions] == ["failed", "ok"]
        assert decision_of(message).id == decisions[1].id  # type: ignore[union-attr]

    def test_fields_set_per_call(self, provider: ScriptedProvider, model: RoutedChatModel) -> None:
        field = ConfigurableField(id="heat")
        chain = model.configurable_fields(temperature=field)
        for heat in (0.1, 0.9):
            chain.with_config(configurable={"heat": heat, "agentroute": {"target": "small"}}).invoke("hi")
        assert [request.body["temperature"] for request in provider.requests] == [0.1, 0.9]

    def test_alternatives(self, model: RoutedChatModel) -> None:
        chosen = model.configurable_alternatives(
            ConfigurableField(id="llm"), default_key="routed", plain=FakeListChatModel(responses=["plain"])
        )
        assert chosen.invoke("hi").text == "You said: hi"
        assert chosen.invoke("hi", {"configurable": {"llm": "plain"}}).text == "plain"


class TestBatches:
    WORDS = tuple("abcdef")

    def test_each_is_routed(self, model: RoutedChatModel) -> None:
        answers = model.batch(list(self.WORDS), {"max_concurrency": 2})
        assert [m.text for m in answers] == [f"You said: {word}" for word in self.WORDS]
        assert len({decision_of(m).id for m in answers}) == len(self.WORDS)  # type: ignore[union-attr]

    async def test_on_a_loop(self, model: RoutedChatModel) -> None:
        answers = await model.abatch(list(self.WORDS), {"max_concurrency": 2})
        assert [m.text for m in answers] == [f"You said: {word}" for word in self.WORDS]

    @pytest.mark.parametrize("kind", KINDS)
    async def test_no_more_at_once_than_told(self, kind: str) -> None:
        at_once, most, lock = 0, 0, threading.Lock()

        def slow(request: ChatRequest) -> str:
            nonlocal at_once, most
            with lock:
                at_once += 1
                most = max(most, at_once)
            threading.Event().wait(0.02)
            with lock:
                at_once -= 1
            return "done"

        with ScriptedProvider(slow, provider="openai") as provider:
            async with routed(kind, provider) as model:
                model.batch(list(self.WORDS), {"max_concurrency": 2})
                await model.abatch(list(self.WORDS), {"max_concurrency": 2})
        assert most <= 2
        assert len(provider.requests) == 12

    @pytest.mark.parametrize("kind", KINDS)
    async def test_failures_among_the_answers(self, kind: str) -> None:
        with ScriptedProvider(script, fault=nth(2, Fault.error(400)), provider="openai") as provider:
            async with routed(kind, provider) as model:
                for name in ("small", "strong"):
                    config = {**pin(name), "max_concurrency": 1}
                    answers: list[Any] = model.batch(list("abc"), config, return_exceptions=True)
                    assert [isinstance(a, Exception) for a in answers] == [False, True, False]
                again: list[Any] = await model.abatch(["d", [object()]], return_exceptions=True)  # type: ignore[list-item]
        assert isinstance(again[0], AIMessage)
        assert isinstance(again[1], NotImplementedError | RequestError | ValueError)

    def test_as_completed(self, model: RoutedChatModel) -> None:
        answers: dict[int, Any] = dict(model.batch_as_completed(list(self.WORDS)))
        assert [answers[at].text for at in range(6)] == [f"You said: {word}" for word in self.WORDS]


class TestCaches:
    @pytest.fixture
    def cache(self) -> Iterator[InMemoryCache]:
        made = InMemoryCache()
        set_llm_cache(made)
        yield made
        set_llm_cache(None)

    @pytest.mark.parametrize("kind", KINDS)
    async def test_the_target_is_part_of_the_key(
        self, kind: str, provider: ScriptedProvider, cache: InMemoryCache
    ) -> None:
        """The question is the same: a cache that did not know of the routing would answer for the wrong model."""
        async with routed(kind, provider) as model:
            first = [model.invoke("hi", pin(name)) for name in ("small", "strong")]
            assert [request.model for request in provider.requests] == [SMALL, STRONG]
            again = [model.invoke("hi", pin(name)) for name in ("small", "strong")]
        assert len(cache._cache) == 2
        assert [target_of(m) for m in (*first, *again)] == ["small", "strong"] * 2
        assert [m.text for m in again] == [m.text for m in first]
        # Answered from the cache: nothing more was sent.
        assert len(provider.requests) == 2

    @pytest.mark.parametrize("kind", KINDS)
    async def test_a_cached_answer_bears_its_own_decision(
        self, kind: str, provider: ScriptedProvider, cache: InMemoryCache
    ) -> None:
        async with routed(kind, provider) as model:
            first, again = (model.invoke("hi", pin("small")) for _ in range(2))
        assert decision_of(first).id != decision_of(again).id  # type: ignore[union-attr]

    async def test_the_models_own_cache(self, provider: ScriptedProvider) -> None:
        cache = InMemoryCache()
        async with routed("wire", provider, cache=cache) as model:
            for _ in range(3):
                await model.ainvoke("hi", pin("small"))
        assert len(provider.requests) == len(cache._cache) == 1


class Counted(InMemoryRateLimiter):
    def __init__(self) -> None:
        super().__init__(requests_per_second=10_000, max_bucket_size=10_000)
        self.asked = 0

    def acquire(self, *, blocking: bool = True) -> bool:
        self.asked += 1
        return super().acquire(blocking=blocking)

    async def aacquire(self, *, blocking: bool = True) -> bool:
        self.asked += 1
        return await super().aacquire(blocking=blocking)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_rate_limiter_is_asked_once_for_each_attempt(kind: str, streamed: bool) -> None:
    limiter = Counted()
    plan = nth(1, Fault.error(429), model=SMALL)
    with ScriptedProvider("hello", fault=plan, provider="openai") as provider:
        async with routed(kind, provider, rate_limiter=limiter) as model:
            config: Any = {"configurable": {"agentroute": {"strategy": "cheapest"}}}
            if streamed:
                assert [c async for c in model.astream("hi", config)]
            else:
                await model.ainvoke("hi", config)
            assert limiter.asked == len(provider.requests) == 2
            _ = list(model.stream("hi", config)) if streamed else model.invoke("hi", config)
            assert limiter.asked == len(provider.requests) == 3


def test_messages_are_trimmed_by_the_models_own_count(model: RoutedChatModel) -> None:
    messages = [SystemMessage("Be brief."), *(HumanMessage("x" * 400) for _ in range(10)), HumanMessage("last")]
    kept = trim_messages(messages, token_counter=model, max_tokens=250, strategy="last", include_system=True)
    assert [m.type for m in kept] == ["system", "human", "human", "human"]
    assert kept[-1].text == "last"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", ["small", "strong"])
async def test_a_call_that_takes_too_long_for_its_caller_is_recorded(kind: str, target: str) -> None:
    with ScriptedProvider("hello", fault=Fault.stall(), provider="openai") as provider:
        async with routed(kind, provider) as model:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await model.ainvoke("hi", pin(target))
            (record,) = model.router.ledger.decisions  # type: ignore[attr-defined]
    assert (record.target, record.outcome) == (target, "cancelled")
    assert [attempt.outcome for attempt in record.attempts] == ["cancelled"]
