"""Calls that go wrong: fallback, what a cut leaves behind, cancellation, streams that are given up, errors."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms import MockLLM
from llama_index.llms.agentroute import RoutedLLM, decision_of, native
from llama_index.llms.openai import OpenAI

from agentroute import AllAttemptsFailed, AuthenticationFailed, InvalidRequest, Price, Router, StreamInterrupted
from agentroute.failover.effects import Timeouts
from agentroute.native.targets import wrapped
from agentroute.testing import Fault, ScriptedProvider, nth

from .pools import CALLS, POOLS, SMALL, STRONG, call, made, pool, ready, routed, said, serving

pytestmark = pytest.mark.requires("llama_index")

ANSWER = "The quick brown fox jumps over the lazy dog."
STREAMS = ("stream_chat", "stream_complete")
HELLO = [ChatMessage(content="hello")]


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize("method", CALLS)
@pytest.mark.parametrize("fault", [Fault.error(429), Fault.error(503), Fault.drop(), Fault.cut_before_content()])
async def test_the_next_target_answers(kind: str, method: str, fault: Fault) -> None:
    with serving(ANSWER, fault=nth(1, fault, model=SMALL)) as server:
        llm = routed(kind, server)
        answer = await call(llm, method)
        assert said(answer) == ANSWER
        decision = decision_of(answer)
        assert decision is not None
        assert [(a.target, a.outcome) for a in decision.attempts] == [("small", "failed"), ("strong", "ok")]
        # One attempt each: the SDK below did not retry by itself.
        assert [request.model for request in server.requests] == [SMALL, STRONG]


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize("method", [name for name in CALLS if "stream" in name])
async def test_nothing_follows_a_cut_after_the_first_content(kind: str, method: str) -> None:
    with serving(ANSWER, fault=nth(1, Fault.cut_after(2), model=SMALL), chunk_characters=8) as server:
        llm = routed(kind, server)
        with pytest.raises(StreamInterrupted) as caught:
            await call(llm, method)
        assert caught.value.partial is not None
        assert caught.value.partial.text == ANSWER[:16]
        assert [request.model for request in server.requests] == [SMALL]
        assert llm.router.ledger.decisions[0].outcome == "interrupted"  # type: ignore[attr-defined]


def sse(*deltas: str) -> Fault:
    """A stream that ends as if all were well, and never says why."""
    choices = [{"choices": [{"index": 0, "delta": {"content": delta}}], "id": "1", "model": SMALL} for delta in deltas]
    lines = "".join(f"data: {json.dumps({**chunk, 'object': 'chat.completion.chunk'})}\n\n" for chunk in choices)
    return Fault.raw(lines.encode(), content_type="text/event-stream")


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize("method", [name for name in CALLS if "stream" in name])
async def test_a_stream_that_ends_without_a_reason_broke_off(kind: str, method: str) -> None:
    with serving(ANSWER, fault=nth(1, sse("The quick"), model=SMALL)) as server:
        with pytest.raises(StreamInterrupted) as caught:
            await call(routed(kind, server), method)
        assert caught.value.partial is not None
        assert caught.value.partial.text == "The quick"
    with serving(ANSWER, fault=nth(1, sse(), model=SMALL)) as server:
        answer = await call(routed(kind, server), method)
        assert said(answer) == ANSWER
        assert decision_of(answer).attempts[0].error == "BadResponse"  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize("method", CALLS)
async def test_when_all_fail_the_error_says_what_decided(kind: str, method: str) -> None:
    with serving(ANSWER, fault=Fault.error(503)) as server:
        llm = routed(kind, server)
        with pytest.raises(AllAttemptsFailed) as caught:
            await call(llm, method)
        assert [a.target for a in caught.value.attempts][:2] == ["small", "strong"]
        assert caught.value.decision == llm.router.ledger.decisions[0]  # type: ignore[attr-defined]
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
        assert server.api_key not in repr(caught.value)
        assert server.api_key not in repr(llm)


@pytest.mark.parametrize("kind", ["wire", "native"])
async def test_a_wrong_request_comes_back_at_once(kind: str) -> None:
    with serving(ANSWER, fault=Fault.error(400)) as server:
        with pytest.raises(InvalidRequest):
            await call(routed(kind, server), "achat")
        assert len(server.requests) == 1


@pytest.mark.parametrize("kind", ["wire", "native"])
def test_a_refused_key_goes_to_the_next_and_is_said(kind: str) -> None:
    with serving(ANSWER, fault=nth(1, Fault.error(401), model=SMALL)) as server:
        decision = decision_of(routed(kind, server).chat(HELLO))
        assert decision is not None
        assert decision.attempts[0].error == AuthenticationFailed.__name__
        assert any("AuthenticationFailed" in warning for warning in decision.warnings)


class Broken(MockLLM):
    """A model with a mistake in it."""

    def chat(self, messages: Any, **kwargs: Any) -> Any:
        raise TypeError("a mistake")


def test_a_mistake_in_the_program_does_not_fail_over() -> None:
    with serving(ANSWER) as server:
        broken = native(Broken(), name="small", tier="budget", price=Price(0, 0))
        llm = made(RoutedLLM(targets=[broken, server.target(name="strong", model=STRONG)]))
        with pytest.raises(TypeError, match="a mistake"):
            llm.chat(HELLO)
        assert server.requests == ()


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize("method", ["achat", "astream_chat"])
async def test_a_silent_target_is_not_waited_for_longer_than_allowed(kind: str, method: str) -> None:
    with serving(ANSWER, fault=nth(1, Fault.stall(), model=SMALL)) as server:
        limits = Timeouts(first_content=0.2, whole_answer=0.2)
        llm = made(RoutedLLM(router=Router(wrapped(pool(kind, server), native), timeouts=limits)))
        decision = decision_of(await call(llm, method))
        assert decision is not None
        assert [(a.target, a.error) for a in decision.attempts] == [("small", "ProviderTimeout"), ("strong", None)]


@pytest.mark.parametrize("kind", POOLS)
async def test_a_target_that_falls_silent_breaks_its_stream_off(kind: str) -> None:
    with serving(ANSWER, fault=Fault.stall(after_chunks=1)) as server:
        router = Router(wrapped(pool(kind, server), native), timeouts=Timeouts(between_events=0.2))
        llm = made(RoutedLLM(router=router))
        with pytest.raises(StreamInterrupted):
            await call(llm, "astream_chat")
        assert len(server.requests) == 1


# --- streams that are given up --------------------------------------------------------------------------------------


async def ends(server: ScriptedProvider, kind: str) -> bool:
    """Whether the server soon holds no connection any more.

    The stream of OpenAI's SDK is part of a cycle: LlamaIndex gives it up, and the collector closes it.
    """
    until = time.monotonic() + 10
    while server.open_connections and time.monotonic() < until:
        if kind == "native":
            gc.collect()
        await asyncio.sleep(0.02)
    return server.open_connections == 0


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize("method", STREAMS)
async def test_closing_a_stream_closes_the_connection(kind: str, method: str) -> None:
    with serving(ANSWER, fault=Fault.stall(after_chunks=2)) as server:
        llm = routed(kind, server)
        stream = getattr(llm, method)(HELLO if "chat" in method else "hello")
        next(stream)
        stream.close()
        assert llm.router.ledger.decisions[0].outcome == "abandoned"  # type: ignore[attr-defined]
        assert await ends(server, kind)


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize("method", STREAMS)
async def test_closing_a_stream_on_an_event_loop_closes_the_connection(kind: str, method: str) -> None:
    with serving(ANSWER, fault=Fault.stall(after_chunks=2)) as server:
        llm = routed(kind, server)
        stream = await getattr(llm, f"a{method}")(HELLO if "chat" in method else "hello")
        await anext(stream)
        await stream.aclose()
        assert llm.router.ledger.decisions[0].outcome == "abandoned"  # type: ignore[attr-defined]
        assert await ends(server, kind)


@pytest.mark.parametrize("kind", POOLS)
def test_leaving_a_loop_over_a_stream_is_giving_it_up(kind: str) -> None:
    with serving(ANSWER, fault=Fault.stall(after_chunks=2)) as server:
        llm = routed(kind, server)
        for _ in llm.stream_chat(HELLO):
            break
        assert llm.router.ledger.decisions[0].outcome == "abandoned"  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize("method", ["achat", "acomplete", "astream_chat", "astream_complete"])
async def test_cancelling_closes_the_connection(kind: str, method: str) -> None:
    with serving(ANSWER, fault=Fault.stall()) as server:
        llm = routed(kind, server)
        task = asyncio.create_task(call(llm, method))
        while not server.requests:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert llm.router.ledger.decisions[0].outcome == "cancelled"  # type: ignore[attr-defined]
        assert await ends(server, kind)


@pytest.mark.parametrize("kind", ["wire", "native"])
def test_a_stream_read_to_its_last_text_is_a_whole_answer(kind: str) -> None:
    with serving(ANSWER) as server:
        llm = routed(kind, server)
        seen = ""
        for chunk in llm.stream_chat(HELLO):
            seen += chunk.delta or ""
            if seen == ANSWER:
                break
        assert llm.router.ledger.decisions[0].outcome in ("ok", "abandoned")  # type: ignore[attr-defined]


# --- arguments ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["wire", "native"])
def test_arguments_reach_the_target(kind: str) -> None:
    with serving(ANSWER) as server:
        llm = routed(
            kind,
            server,
            temperature=0.3,
            additional_kwargs={"seed": 7},
            target_kwargs={"small": {"top_p": 0.5}, "strong": {"top_p": 0.9}},
        )
        llm.chat(HELLO, presence_penalty=0.1)
        llm.chat(HELLO, temperature=0.9, model="strong")
        first, second = (request.body for request in server.requests)
        assert (first["temperature"], first["seed"], first["top_p"], first["presence_penalty"]) == (0.3, 7, 0.5, 0.1)
        assert (second["temperature"], second["top_p"], second["model"]) == (0.9, 0.9, STRONG)


def test_a_native_models_own_settings_hold() -> None:
    with serving(ANSWER) as server:
        own: OpenAI = ready(server, temperature=0.7, max_tokens=33)
        made(RoutedLLM(targets=[native(own)])).chat(HELLO)
        assert server.requests[0].body["temperature"] == 0.7
        assert server.requests[0].body["max_tokens"] == 33
