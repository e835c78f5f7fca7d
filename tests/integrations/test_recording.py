"""Recordings of the three frameworks: one call gives one line, plain and streamed, sync and async."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from crewai_agentroute import RoutedLLM as CrewLLM
from crewai_agentroute.answers import read_native
from langchain_agentroute import RoutedChatModel, RoutingMiddleware
from langchain_core.language_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms import MockLLM
from llama_index.llms.agentroute import RoutedLLM as IndexLLM
from pydantic import BaseModel

from agentroute import Router
from agentroute.replay.records import Trace
from agentroute.replay.traces import Traces
from agentroute.testing import ScriptedProvider, ScriptedReply, tool_call

from .adapters import CrewWeather, index_tool, langchain_tool

pytestmark = pytest.mark.requires("langchain", "crewai", "llama_index")

ASK = "Do I need a coat?"
Way = Callable[[Router], None]


def _langchain(router: Router) -> Any:
    return RoutedChatModel(router=router).bind_tools([langchain_tool()])


def lc_plain(router: Router) -> None:
    _langchain(router).invoke(ASK)


def lc_stream(router: Router) -> None:
    list(_langchain(router).stream(ASK))


def lc_async(router: Router) -> None:
    asyncio.run(_langchain(router).ainvoke(ASK))


def lc_astream(router: Router) -> None:
    async def run() -> None:
        async for _ in _langchain(router).astream(ASK):
            pass

    asyncio.run(run())


def lc_events(router: Router) -> None:
    for _ in _langchain(router).stream_events(ASK, version="v3"):
        pass


def _crew_tools() -> list[dict[str, Any]]:
    from crewai.utilities.agent_utils import convert_tools_to_openai_schema

    return convert_tools_to_openai_schema([CrewWeather()])[0]


def crew_plain(router: Router) -> None:
    CrewLLM(router=router).call(ASK, tools=_crew_tools())


def crew_stream(router: Router) -> None:
    CrewLLM(router=router, stream=True).call(ASK, tools=_crew_tools())


def crew_async(router: Router) -> None:
    asyncio.run(CrewLLM(router=router).acall(ASK, tools=_crew_tools()))


def index_plain(router: Router) -> None:
    IndexLLM(router=router).chat_with_tools([index_tool()], ASK)


def index_stream(router: Router) -> None:
    list(IndexLLM(router=router).stream_chat_with_tools([index_tool()], ASK))


def index_async(router: Router) -> None:
    asyncio.run(IndexLLM(router=router).achat_with_tools([index_tool()], ASK))


def index_astream(router: Router) -> None:
    async def run() -> None:
        async for _ in await IndexLLM(router=router).astream_chat_with_tools([index_tool()], ASK):
            pass

    asyncio.run(run())


WAYS: list[Way] = [
    lc_plain,
    lc_stream,
    lc_async,
    lc_astream,
    lc_events,
    crew_plain,
    crew_stream,
    crew_async,
    index_plain,
    index_stream,
    index_async,
    index_astream,
]


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    reply = ScriptedReply(tool_calls=(tool_call("get_weather", city="Lisbon"),))
    with ScriptedProvider(reply, provider="openai") as provider:
        yield provider


def only(folder: Path) -> Trace:
    (trace,) = (item for _, _, item in Traces([folder]))
    assert isinstance(trace, Trace)
    return trace


@pytest.mark.parametrize("way", WAYS)
def test_every_framework_gives_the_same_line(way: Way, provider: ScriptedProvider, tmp_path: Path) -> None:
    with Router([provider.target(model="m", tier="mid")], recording=tmp_path / "r") as router:
        way(router)
    trace = only(tmp_path / "r")
    assert [message.text for message in trace.request.messages if message.role == "user"] == [ASK]
    assert [tool.name for tool in trace.request.tools] == ["get_weather"]
    (call,) = trace.calls
    assert call.answer is not None
    assert [(each.name, each.parsed()) for each in call.answer.tool_calls] == [("get_weather", {"city": "Lisbon"})]


def test_the_middleware_of_an_agent_records_each_step(tmp_path: Path) -> None:
    from langchain.agents import create_agent

    def script(request: Any) -> ScriptedReply:
        done = any(message.role == "tool" for message in request.messages)
        return (
            ScriptedReply("No coat.") if done else ScriptedReply(tool_calls=(tool_call("get_weather", city="Lisbon"),))
        )

    with (
        ScriptedProvider(script, provider="openai") as provider,
        Router([provider.target(model="m", tier="mid")], recording=tmp_path / "r") as router,
    ):
        routing = RoutingMiddleware(router=router)
        agent = create_agent(routing.model, tools=[langchain_tool()], middleware=[routing], name="forecaster")
        agent.invoke({"messages": [("user", ASK)]}, {"configurable": {"thread_id": "t"}})
    (path,) = (tmp_path / "r").iterdir()
    first, second = (json.loads(line) for line in path.read_bytes().splitlines())
    assert first["response"]["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "get_weather"
    assert second["response"]["choices"][0]["message"]["content"] == "No coat."
    assert (second["agent"], second["role"], second["conversation_id"]) == ("forecaster", "forecaster", "t")


def test_ready_models_are_recorded_too(tmp_path: Path) -> None:
    lc = FakeMessagesListChatModel(responses=[AIMessage("from a ready model")])
    RoutedChatModel(router=Router(targets=_native_lc(lc), recording=tmp_path / "lc")).invoke(ASK)
    index = IndexLLM(router=Router(targets=_native_index(MockLLM()), recording=tmp_path / "index"))
    index.chat([ChatMessage(role="user", content=ASK)])
    for model, folder in ((index, tmp_path / "index"), (None, tmp_path / "lc")):
        if model is not None:
            model.router.close()
        else:
            from agentroute.recording import _open

            for recorder in list(_open):
                recorder.flush()
        answer = only(folder).calls[0].answer
        assert answer is not None
        assert answer.text


def _native_lc(model: Any) -> Any:
    from langchain_agentroute import native

    return [native(model, name="ready", tier="mid")]


def _native_index(model: Any) -> Any:
    from llama_index.llms.agentroute import native

    return [native(model, name="ready", tier="mid")]


class Form(BaseModel):
    city: str


@pytest.mark.parametrize(
    ("value", "text", "calls"),
    [
        ("hello", "hello", []),
        (Form(city="Porto"), '{"city":"Porto"}', []),
        (
            [{"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Porto"}'}}],
            "",
            [("get_weather", {"city": "Porto"})],
        ),
    ],
)
def test_what_a_ready_crewai_llm_returns_is_read(value: Any, text: str, calls: list[Any]) -> None:
    found = read_native(value)
    assert found.text == text
    assert [(call.name, call.parsed()) for call in found.tool_calls] == calls
