"""One RoutedChatModel for everybody: threads, tasks and event loops, none of which sees anything of another.

AGENTROUTE_AGENT_RUNS is how many runs of the agent each of the 50 threads or tasks makes (default 3; the full run: 20).
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_agentroute import RoutedChatModel, decision_of, native
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.tools import StructuredTool
from langchain_openai import ChatOpenAI

from agentroute import ChatRequest, Router
from agentroute.failover.effects import Timeouts
from agentroute.testing import ScriptedProvider, ScriptedReply, tool_call

from .pools import POOLS, SMALL, STRONG

pytestmark = pytest.mark.requires("langchain", "langchain_openai")

AT_ONCE = 50
RUNS = int(os.environ.get("AGENTROUTE_AGENT_RUNS", "3"))
TOKEN = re.compile(r"token-\d+-\d+")
PATIENT = Timeouts(connect=300, first_content=300, between_events=300, whole_answer=300)
"""Fifty conversations at once may keep a slow machine from any one of them for a while."""
PINS: tuple[dict[str, str], ...] = ({"target": "small"}, {"target": "strong"}, {})


def look_up(key: str) -> str:
    """Looks up the value of a key."""
    return f"value of {key}"


async def look_up_on_a_loop(key: str) -> str:
    await asyncio.sleep(0)
    return look_up(key)


TOOL = StructuredTool.from_function(look_up, coroutine=look_up_on_a_loop)


def echo(asked: ChatRequest) -> ScriptedReply:
    """Calls the tool with the question's token, then says what the tool said. One conversation has one token."""
    found = set(TOKEN.findall(str(asked.messages)))
    assert len(found) == 1, found
    (token,) = found
    last = asked.messages[-1]
    if last.role != "tool":
        return ScriptedReply("Let me look.", (tool_call("look_up", key=token),))
    return ScriptedReply(f"{token} has the {last.parts[0].content[0].text}")  # type: ignore[union-attr]


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider(echo, provider="openai") as running:
        yield running


def ready(provider: ScriptedProvider, model: str) -> ChatOpenAI:
    """As anybody makes it: its asynchronous connections are those that LangChain keeps for the whole process."""
    return ChatOpenAI(model=model, base_url=provider.base_url, api_key=provider.api_key, stream_usage=True)


def routed(kind: str, provider: ScriptedProvider) -> RoutedChatModel:
    wire = {"small": provider.target(model=SMALL), "strong": provider.target(model=STRONG)}
    models = {"small": native(ready(provider, SMALL)), "strong": native(ready(provider, STRONG))}
    mixed = {"small": wire["small"], "strong": models["strong"]}
    targets: Any = {"wire": wire, "native": models, "mixed": mixed}[kind]
    return RoutedChatModel(router=Router(targets, timeouts=PATIENT))


def given(token: str, run: int) -> tuple[dict[str, Any], Any]:
    configurable = {"thread_id": token, "agentroute": PINS[run % 3]}
    return {"messages": [("user", f"What is the value of {token}?")]}, {"configurable": configurable}


def check(token: str, run: int, messages: list[BaseMessage], shown: str | None = None) -> None:
    """All of the conversation is this run's own, decisions included."""
    _, call, result, answer = messages
    said = f"{token} has the value of {token}"
    assert (answer.text, result.text) == (said, f"value of {token}")
    if shown is not None:
        assert shown == f"Let me look.value of {token}{said}"
    first, last = decision_of(call), decision_of(answer)
    assert first is not None
    assert last is not None
    assert answer.response_metadata["agentroute"]["context"]["previous_id"] == first.id
    for decision in (first, last):
        assert decision.context.conversation_id == token
        assert [attempt.outcome for attempt in decision.attempts] == ["ok"]
        assert decision.target == PINS[run % 3].get("target", decision.target)


def check_ledger(model: RoutedChatModel, tokens: list[str]) -> None:
    """Two complete decisions for each conversation, and no others."""
    decisions = model.router.ledger.decisions  # type: ignore[attr-defined]
    assert Counter(d.context.conversation_id for d in decisions) == dict.fromkeys(tokens, 2)
    assert len({d.id for d in decisions}) == len(decisions)
    assert {d.outcome for d in decisions} == {"ok"}
    assert model.router.ledger.totals.steps == 2 * len(tokens)  # type: ignore[attr-defined]


def no_connection_is_left(provider: ScriptedProvider) -> None:
    """The server hears of a closed connection a moment later."""
    until = time.monotonic() + 10
    while provider.open_connections and time.monotonic() < until:
        time.sleep(0.01)
    assert provider.open_connections == 0


def tokens_of(worker: int) -> list[str]:
    return [f"token-{worker}-{run}" for run in range(RUNS)]


@pytest.mark.parametrize("kind", POOLS)
def test_fifty_threads(kind: str, provider: ScriptedProvider) -> None:
    model = routed(kind, provider)
    agent: Any = create_agent(model, tools=[TOOL])

    def work(worker: int) -> None:
        for run, token in enumerate(tokens_of(worker)):
            question, config = given(token, run + worker)
            if run % 2:
                shown, messages = "", []
                for mode, payload in agent.stream(question, config, stream_mode=["messages", "values"]):
                    if mode == "messages":
                        shown += payload[0].text
                    else:
                        messages = payload["messages"]
                check(token, run + worker, messages, shown)
            else:
                check(token, run + worker, agent.invoke(question, config)["messages"])

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(work, range(AT_ONCE)))
    check_ledger(model, [token for worker in range(AT_ONCE) for token in tokens_of(worker)])
    model.router.close()
    if kind == "wire":
        no_connection_is_left(provider)


@pytest.mark.parametrize("kind", POOLS)
def test_fifty_tasks(kind: str, provider: ScriptedProvider) -> None:
    model = routed(kind, provider)
    agent: Any = create_agent(model, tools=[TOOL])

    async def work(worker: int) -> None:
        for run, token in enumerate(tokens_of(worker)):
            question, config = given(token, run + worker)
            if run % 2:
                shown, messages = "", []
                async for mode, payload in agent.astream(question, config, stream_mode=["messages", "values"]):
                    if mode == "messages":
                        shown += payload[0].text
                    else:
                        messages = payload["messages"]
                check(token, run + worker, messages, shown)
            else:
                check(token, run + worker, (await agent.ainvoke(question, config))["messages"])

    async def all_of_them() -> None:
        await asyncio.gather(*(work(worker) for worker in range(AT_ONCE)))

    asyncio.run(all_of_them())
    check_ledger(model, [token for worker in range(AT_ONCE) for token in tokens_of(worker)])
    no_connection_is_left(provider)


async def ask(model: Any, token: str) -> list[AIMessage]:
    """Plain, streamed, and several at once, so that connections are kept and used again."""
    question = f"What is the value of {token}?"
    model = model.bind_tools([TOOL])
    chunks: list[AIMessageChunk] = [chunk async for chunk in model.astream(question)]
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole = whole + chunk
    answers = await asyncio.gather(*(model.ainvoke(question) for _ in range(3)))
    return [whole, await model.ainvoke(question), *answers]


def check_asked(answers: list[AIMessage], token: str) -> None:
    for answer in answers:
        assert [call["args"] for call in answer.tool_calls] == [{"key": token}]
        # One attempt: a connection of a loop that is gone would have cost one, and a breaker would hear of it.
        assert [attempt.outcome for attempt in decision_of(answer).attempts] == ["ok"]  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", POOLS)
def test_one_loop_after_another(kind: str, provider: ScriptedProvider) -> None:
    model = routed(kind, provider)
    for number in range(6):
        token = f"token-{number}-0"
        check_asked(asyncio.run(ask(model, token)), token)
        no_connection_is_left(provider)


@pytest.mark.parametrize("kind", POOLS)
def test_loops_side_by_side(kind: str, provider: ScriptedProvider) -> None:
    """Each thread runs loops of its own, as a web framework's sync endpoints do, while others run theirs."""
    model = routed(kind, provider)

    def work(worker: int) -> None:
        for number in range(3):
            token = f"token-{worker}-{number}"
            check_asked(asyncio.run(ask(model, token)), token)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    no_connection_is_left(provider)


@pytest.mark.requires("langchain_anthropic")
def test_anthropics_model_on_one_loop_after_another(provider: ScriptedProvider) -> None:
    from langchain_anthropic import ChatAnthropic

    claude = ChatAnthropic(
        model_name="claude-haiku-4-5", base_url=provider.base_url.removesuffix("/v1"), api_key=provider.api_key
    )
    model = RoutedChatModel(targets=[claude])
    for number in range(4):
        token = f"token-{number}-0"
        check_asked(asyncio.run(ask(model, token)), token)
        no_connection_is_left(provider)


def test_a_client_of_ones_own_stays(provider: ScriptedProvider) -> None:
    own: Any = ready(provider, SMALL).model_copy(update={"http_async_client": (mine := object())})
    kept: Any = native(own).model
    assert kept.http_async_client is mine
    assert kept.root_async_client._client is own.root_async_client._client
    shared: Any = ready(provider, SMALL)
    assert native(shared).model.root_async_client._client is not shared.root_async_client._client  # type: ignore[attr-defined]


async def test_connections_of_one_loop_can_be_closed(provider: ScriptedProvider) -> None:
    target = native(ready(provider, SMALL))
    model = RoutedChatModel(targets=[target])
    for _ in range(2):
        check_asked(await ask(model, "token-1-1"), "token-1-1")
        assert provider.open_connections
        await target.model.root_async_client.close()  # type: ignore[attr-defined]
        while provider.open_connections:
            await asyncio.sleep(0.01)
