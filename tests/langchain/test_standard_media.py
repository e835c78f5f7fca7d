"""The suite's tests of pictures, PDFs and recordings, with the data at hand instead of fetched, and what arrived."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio
from langchain_agentroute import RoutedChatModel, decision_of, native
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.ai import add_ai_message_chunks

from agentroute import NoCandidateError, RequestError, Router, Unsupported
from agentroute.messages import Audio, ChatRequest, Document, Image, ToolResult
from agentroute.native.targets import wrapped
from agentroute.testing import ScriptedProvider

from .pools import chat_openai
from .standard_server import COMBINATIONS, Kind, Provider, Running, running

pytestmark = [
    pytest.mark.requires("langchain", "langchain_openai", "langchain_anthropic"),
    pytest.mark.filterwarnings("ignore:OpenAI may require a filename:UserWarning"),
]

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PDF = "JVBERi0xLjEKMSAwIG9iago8PC9UeXBlL0NhdGFsb2c+PgplbmRvYmoKdHJhaWxlcjw8L1Jvb3QgMSAwIFI+Pgo="
WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA="

PICTURES: dict[str, Any] = {
    "openai": {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
    "v1": {"type": "image", "base64": PNG, "mime_type": "image/png"},
    "anthropic": {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
}
DOCUMENTS: dict[str, Any] = {
    "openai": {"type": "file", "file": {"filename": "test.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}},
    "v1": {"type": "file", "base64": PDF, "mime_type": "application/pdf", "filename": "test.pdf"},
    "nameless": {"type": "file", "base64": PDF, "mime_type": "application/pdf"},
}
RECORDINGS: dict[str, Any] = {
    "openai": {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}},
    "v1": {"type": "audio", "base64": WAV, "mime_type": "audio/wav"},
}
MANNERS = ("invoke", "stream", "ainvoke", "astream")


def show() -> str:
    """Shows a file."""
    return ""


def every(test: Any) -> Any:
    """On every combination, in every manner of calling a model."""
    test = pytest.mark.parametrize("combination", COMBINATIONS, ids="-".join)(test)
    return pytest.mark.parametrize("manner", MANNERS)(pytest.mark.asyncio(loop_scope="session")(test))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pools() -> AsyncIterator[Mapping[tuple[Kind, Provider], Running]]:
    async with running() as found:
        yield found


async def ask(pool: Running, messages: list[BaseMessage], manner: str, tools: bool = False) -> ChatRequest:
    """What arrived at the provider that is tried first."""
    routed = RoutedChatModel(router=pool.router)
    model: Any = routed.bind_tools([show]) if tools else routed
    config = {"configurable": {"agentroute": {"target": "budget"}}}
    said: Any
    if manner == "invoke":
        said = model.invoke(messages, config)
    elif manner == "ainvoke":
        said = await model.ainvoke(messages, config)
    elif manner == "stream":
        said = add_ai_message_chunks(*model.stream(messages, config))
    else:
        said = add_ai_message_chunks(*[chunk async for chunk in model.astream(messages, config)])
    decision = decision_of(said)
    assert decision is not None
    assert decision.target == "budget"
    assert said.text or said.tool_calls
    return pool.first.requests[-1].asked


def given(result: Any) -> list[BaseMessage]:
    call = {"type": "tool_call", "id": "1", "name": "show", "args": {}}
    return [
        HumanMessage("Get a file with the tool and describe it"),
        AIMessage([], tool_calls=[call]),
        ToolMessage([result], tool_call_id="1", name="show"),
    ]


async def arrived(combination: Any, spelling: Any, manner: str, pools: Any) -> Any:
    question = HumanMessage([{"type": "text", "text": "Describe this:"}, spelling])
    asked = await ask(pools[combination], [question], manner)
    _, part = asked.messages[-1].parts
    return part


@every
@pytest.mark.parametrize("spelling", PICTURES)
async def test_image_inputs(pools: Any, combination: Any, spelling: str, manner: str) -> None:
    picture = await arrived(combination, PICTURES[spelling], manner, pools)
    assert picture == Image(data=PNG, media_type="image/png")


@every
@pytest.mark.parametrize("spelling", DOCUMENTS)
async def test_pdf_inputs(pools: Any, combination: Any, spelling: str, manner: str) -> None:
    document = await arrived(combination, DOCUMENTS[spelling], manner, pools)
    assert isinstance(document, Document)
    assert (document.data, document.media_type) == (PDF, "application/pdf")
    if combination != ("native", "anthropic"):
        assert document.name == ("test.pdf" if spelling != "nameless" else document.name)


@every
@pytest.mark.parametrize("spelling", ["openai", "v1"])
async def test_image_tool_message(pools: Any, combination: Any, spelling: str, manner: str) -> None:
    asked = await ask(pools[combination], given(PICTURES[spelling]), manner, tools=True)
    assert Image(data=PNG, media_type="image/png") in handed_over(asked)


@every
async def test_pdf_tool_message(pools: Any, combination: Any, manner: str) -> None:
    asked = await ask(pools[combination], given(DOCUMENTS["v1"]), manner, tools=True)
    (document,) = [part for part in handed_over(asked) if isinstance(part, Document)]
    assert (document.data, document.media_type) == (PDF, "application/pdf")


def handed_over(asked: ChatRequest) -> list[Any]:
    """The parts of the tool's result, or of the message that a dialect whose results hold only text puts behind it."""
    parts = [part for message in asked.messages[2:] for part in message.parts]
    return [held for part in parts for held in (part.content if isinstance(part, ToolResult) else (part,))]


@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize("spelling", RECORDINGS)
@pytest.mark.parametrize("kind", ["wire", "native"])
@pytest.mark.asyncio(loop_scope="session")
async def test_audio_inputs(kind: str, spelling: str, manner: str) -> None:
    with ScriptedProvider("a bird", provider="openai") as provider:
        made: Any = {
            "wire": lambda: provider.target(model="gpt-audio", tier="budget"),
            "native": lambda: native(chat_openai(provider.base_url, "gpt-audio", provider.api_key), tier="budget"),
        }
        router = Router(wrapped({"budget": made[kind]()}, native))
        pool = Running({}, router, provider)
        question = HumanMessage([{"type": "text", "text": "Describe this:"}, RECORDINGS[spelling]])
        asked = await ask(pool, [question], manner)
        assert asked.messages[-1].parts[1] == Audio(data=WAV, media_type="audio/wav")
        await pool.router.aclose()


@every
async def test_a_recording_for_models_that_hear_nothing(pools: Any, combination: Any, manner: str) -> None:
    with pytest.raises(NoCandidateError, match="cannot hear audio"):
        await arrived(combination, RECORDINGS["v1"], manner, pools)


@every
async def test_a_part_that_nobody_can_be_sent(pools: Any, combination: Any, manner: str) -> None:
    """Ours are refused in our words; ready models alone are asked, and say it in theirs: Anthropic's package refuses by
    itself, which is the target's failure; for OpenAI's it is LangChain's core that knows no such part."""
    video = {"type": "video", "base64": "AAAA", "mime_type": "video/mp4"}
    ours = combination[0] == "wire"
    native = Unsupported if combination[1] == "anthropic" else ValueError
    with pytest.raises(RequestError if ours else native, match="video") as caught:
        await arrived(combination, video, manner, pools)
    assert isinstance(caught.value, RequestError) is ours
