"""Documents and recordings through a whole router: they reach a model that takes them, or the caller is told why."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from agentroute import (
    Capabilities,
    ChatRequest,
    Message,
    NoCandidateError,
    Price,
    Router,
    ToolCall,
    ToolResult,
)
from agentroute.messages import Audio, Document, Text
from agentroute.providers import DIALECTS
from agentroute.testing import ScriptedProvider

PDF = Document(data="JVBERi0xLjQK", media_type="application/pdf", name="a.pdf")
SOUND = Audio(data="UklGRg==", media_type="audio/wav")


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider("A contract.") as server:
        yield server


def received(provider: ScriptedProvider) -> ChatRequest:
    (request,) = provider.requests
    return request.asked


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_document_arrives_in_every_dialect(provider: ScriptedProvider, dialect: Any) -> None:
    call = Message("assistant", (ToolCall("call00001", "look", "{}"),))
    result = Message("tool", (ToolResult("call00001", (Text("see"), PDF)),))
    request = ChatRequest((Message("user", (Text("What is it?"), PDF)), call, result))
    with Router(targets=[provider.target(name="m", model="m", tier="mid", dialect=dialect)]) as router:
        assert router.complete(request).text == "A contract."
    parts = [part for message in received(provider).messages for part in message.parts]
    parts += [part for held in parts if isinstance(held, ToolResult) for part in held.content]
    assert [part.data for part in parts if isinstance(part, Document)] == [PDF.data] * 2


def test_a_recording_goes_to_a_target_that_hears(provider: ScriptedProvider) -> None:
    cheap, dear = Price(Decimal(1), Decimal(1)), Price(Decimal(9), Decimal(9))
    deaf = provider.target(name="deaf", model="a", tier="premium", price=cheap, dialect="anthropic_messages")
    text = provider.target(name="text", model="b", tier="premium", price=cheap, capabilities=Capabilities(audio=False))
    hears = provider.target(name="hears", model="c", tier="budget", price=dear)
    request = ChatRequest((Message("user", (Text("What is said?"), SOUND)),))
    with Router(targets=[deaf, text, hears]) as router:
        decision = router.complete(request).decision
        assert decision is not None
        assert (decision.target, {each.target: each.reason for each in decision.dropped}) == (
            "hears",
            {"deaf": "cannot hear audio", "text": "cannot hear audio"},
        )
        assert received(provider).messages[-1].parts[-1] == SOUND
        with pytest.raises(NoCandidateError, match="deaf: cannot hear audio"):
            router.complete(ChatRequest(request.messages, model="deaf"))
    with Router(targets=[deaf, text]) as router, pytest.raises(NoCandidateError, match="cannot hear audio"):
        router.complete(request)
