"""LangChain's v3 event streams through a RoutedChatModel: sync and async, routed late, failing over before any text."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from langchain_agentroute import RoutedChatModel, decision_of
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langchain_tests.utils.stream_lifecycle import assert_valid_event_stream

from agentroute import StreamInterrupted
from agentroute.testing import Fault, ScriptedProvider, ScriptedReply, nth, tool_call

from .pools import POOLS, SMALL, STRONG, Runs, pool

pytestmark = [
    pytest.mark.requires("langchain", "langchain_openai"),
    pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning"),
]

ANSWER = "The quick brown fox jumps over the lazy dog."
TO_SMALL: Any = {"configurable": {"agentroute": {"strategy": "cheapest"}}}


def serve(fault: Any = None, answer: Any = ANSWER) -> ScriptedProvider:
    return ScriptedProvider(answer, fault=fault, provider="openai", chunk_characters=8)


class Reading:
    """What came of one read stream: its text in pieces, its events, its message, and the error it ended with."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.events: list[Any] = []
        self.message: AIMessage | None = None
        self.error: BaseException | None = None


def read(model: Any, asynchronous: bool, config: Any) -> Reading:
    found = Reading()

    async def go() -> None:
        stream = await model.astream_events("hello", config, version="v3")
        try:
            found.texts = [text async for text in stream.text]
            found.message = await stream
        except Exception as error:
            found.error = error
        found.events = list(stream._events)

    if asynchronous:
        asyncio.run(go())
        return found
    stream = model.stream_events("hello", config, version="v3")
    try:
        found.texts = list(stream.text)
        found.message = stream.output
    except Exception as error:
        found.error = error
    found.events = list(stream._events)
    return found


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("kind", POOLS)
class TestReading:
    @pytest.mark.parametrize(
        "fault",
        [None, nth(1, Fault.error(503), model=SMALL), nth(1, Fault.cut_before_content(), model=SMALL)],
        ids=["well", "503", "cut before content"],
    )
    def test_answers_from_whoever_can(self, kind: str, asynchronous: bool, fault: Any) -> None:
        runs, usage = Runs(), UsageMetadataCallbackHandler()
        with serve(fault) as provider:
            model = RoutedChatModel(targets=pool(kind, provider))
            found = read(model, asynchronous, {**TO_SMALL, "callbacks": [runs, usage]})
            model.router.close()
        assert found.error is None
        assert "".join(found.texts) == ANSWER
        assert len(found.texts) > 3
        assert_valid_event_stream(found.events)
        assert found.message is not None
        assert found.message.text == ANSWER
        decision = decision_of(found.message)
        assert decision is not None
        served = SMALL if fault is None else STRONG
        assert found.message.response_metadata["model_name"] == served
        assert decision.outcome == "ok"
        assert [a.outcome for a in decision.attempts] == (["ok"] if fault is None else ["failed", "ok"])
        assert decision.usage is not None
        assert found.message.usage_metadata is not None
        assert decision.usage.input_tokens == found.message.usage_metadata["input_tokens"]
        assert list(usage.usage_metadata) == [served]
        assert usage.usage_metadata[served]["total_tokens"] == found.message.usage_metadata["total_tokens"]
        assert [run["metadata"]["ls_model_name"] for run in runs.llm] == [r.model for r in provider.requests]
        assert {run["end"] for run in runs.named("RoutedChatModel")} == {"ok"}

    def test_no_other_model_goes_on_after_the_first_text(self, kind: str, asynchronous: bool) -> None:
        runs = Runs()
        with serve(nth(1, Fault.cut_after(2), model=SMALL)) as provider:
            model = RoutedChatModel(targets=pool(kind, provider))
            found = read(model, asynchronous, {**TO_SMALL, "callbacks": [runs]})
            model.router.close()
        assert isinstance(found.error, StreamInterrupted)
        assert found.error.partial is not None
        assert found.error.partial.text == ANSWER[:16]
        assert found.error.decision is not None
        assert found.error.decision.outcome == "interrupted"
        assert [request.model for request in provider.requests] == [SMALL]
        assert [run["end"] for run in runs.named("RoutedChatModel")] == ["StreamInterrupted"]

    def test_a_tool_call(self, kind: str, asynchronous: bool) -> None:
        @tool
        def add(a: int, b: int) -> int:
            """Adds."""
            return a + b

        with serve(answer=ScriptedReply(tool_calls=(tool_call("add", a=1, b=2),))) as provider:
            model = RoutedChatModel(targets=pool(kind, provider))
            found = read(model.bind_tools([add]), asynchronous, TO_SMALL)
            model.router.close()
        assert found.error is None
        assert_valid_event_stream(found.events)
        assert found.message is not None
        assert [(call["name"], call["args"]) for call in found.message.tool_calls] == [("add", {"a": 1, "b": 2})]


def test_nothing_is_routed_before_it_is_read() -> None:
    with serve() as provider:
        model = RoutedChatModel(targets=pool("wire", provider))
        stream = model.stream_events("hello", TO_SMALL, version="v3")
        assert provider.requests == ()
        assert len(model.router.ledger.decisions) == 0  # type: ignore[attr-defined]
        assert stream.output.text == ANSWER
        model.router.close()


def test_a_stream_given_up_early_is_recorded_and_its_run_ended() -> None:
    runs = Runs()
    with serve() as provider:
        model = RoutedChatModel(targets=pool("wire", provider))
        stream = model.stream_events("hello", {**TO_SMALL, "callbacks": [runs]}, version="v3")
        next(iter(stream.text))
        del stream
        gc.collect()
        (decision,) = model.router.ledger.decisions  # type: ignore[attr-defined]
        model.router.close()
    assert decision.outcome == "abandoned"
    assert [run["end"] for run in runs.named("RoutedChatModel")] == ["ok"]


@pytest.mark.parametrize("kind", POOLS)
def test_an_asynchronous_stream_is_closed(kind: str) -> None:
    runs = Runs()

    async def go() -> Any:
        with serve() as provider:
            model = RoutedChatModel(targets=pool(kind, provider))
            stream = await model.astream_events("hello", {**TO_SMALL, "callbacks": [runs]}, version="v3")
            async with stream:
                async for _ in stream.text:
                    break
            (decision,) = model.router.ledger.decisions  # type: ignore[attr-defined]
            await model.router.aclose()
            return decision

    decision = asyncio.run(go())
    assert decision.outcome in ("cancelled", "ok")
    assert None not in [run["end"] for run in runs.runs.values()]
