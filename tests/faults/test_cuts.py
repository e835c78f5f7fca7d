"""Streams that are cut at twenty places each, over sockets: the whole answer, or a plain word that it is not whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentroute import ChatResponse, StreamInterrupted
from tests.loopback import ANSWER, LAST, SSE_HEAD, Loopback, chunk

from .calls import STREAMED, Way, call, target
from .streams import STREAMS, TEXT, Stream

PLACES = 20
ways = pytest.mark.parametrize("way", STREAMED, ids=str)
endings = pytest.mark.parametrize("ending", ["broken", "clean", "reset"])
"""How the stream ends there: without its last chunk, as if it were complete, or with a reset."""


def cut(way: Way, body: bytes, dialect: str, ending: str) -> list[str]:
    """What came of each cut. Fails where one is neither whole nor said to be cut."""
    whole = answer(way, body, dialect)
    came = []
    for place in range(PLACES):
        at = len(body) * place // PLACES
        end: list[bytes | float | str] = {"broken": [], "clean": [LAST], "reset": [0.02, "reset"]}[ending]
        script = [SSE_HEAD, *([chunk(body[:at])] if at else []), *end]
        with Loopback(script) as sick, Loopback([ANSWER]) as well:
            ran = call(way, target(sick, dialect=dialect), target(well, "well", rank=2))
        where = f"cut at byte {at} of {len(body)} ({ending})"
        if isinstance(ran.error, StreamInterrupted):
            partial = ran.error.partial
            assert partial is not None, where
            assert partial.finish_reason is None, where
            assert whole.text.startswith(partial.text), where
            arguments = zip(partial.tool_calls, whole.tool_calls, strict=False)
            assert all(full.arguments.startswith(part.arguments) for part, full in arguments), where
            assert well.requests == [], f"{where}: another model after the first content"
            came.append("interrupted")
            continue
        assert ran.error is None, where
        assert ran.response is not None
        if ran.tried[0][1] is None:
            assert ran.response.message == whole.message, where
            assert ran.response.finish_reason == whole.finish_reason, where
            assert well.requests == [], where
            came.append("whole")
        else:
            assert ran.tried[-1] == ("well", None), where
            assert ran.response.text == "hello world", f"{where}: two models in one answer"
            came.append("fell over")
    return came


def answer(way: Way, body: bytes, dialect: str) -> ChatResponse:
    with Loopback([SSE_HEAD, chunk(body), LAST]) as server:
        ran = call(way, target(server, dialect=dialect))
    assert ran.error is None
    assert ran.response is not None
    return ran.response


@ways
@endings
@pytest.mark.parametrize("stream", STREAMS)
def test_our_own_streams(stream: Stream, ending: str, way: Way) -> None:
    whole = answer(way, stream.body, stream.dialect)
    assert (whole.text, whole.finish_reason) == (TEXT, stream.finish)
    assert [call.name for call in whole.tool_calls] == ["look"]
    came = cut(way, stream.body, stream.dialect, ending)
    assert came[0] == "fell over"
    assert came.count("interrupted") > PLACES // 2
    assert came == sorted(came, key=["fell over", "interrupted", "whole"].index), "in this order, and no other"


def recorded() -> list[Path]:
    wire = Path(__file__).resolve().parents[3] / "shared" / "wire"
    return sorted(wire.glob("*/*.response.sse"))


@pytest.mark.requires("shared")
@ways
@pytest.mark.parametrize("ending", ["broken", "clean"])
@pytest.mark.parametrize("path", recorded() or [Path("none")], ids=lambda path: f"{path.parent.name}-{path.name[:2]}")
def test_recorded_streams(path: Path, ending: str, way: Way) -> None:
    meta = json.loads(path.with_name(path.name.replace(".response.sse", ".meta.json")).read_text())
    if meta["kind"] != "recorded":
        pytest.skip(f"{meta['kind']}: no whole answer")
    dialect = {"anthropic": "anthropic_messages", "gemini": "gemini"}.get(path.parent.name, "openai_chat")
    body = path.read_bytes()
    if b'"type":"response.' in body or b"event: response." in body:
        dialect = "openai_responses"
    if path.parent.name + "/" + path.name[:2] == "groq/03":
        pytest.skip("recorded as a failure of the provider's, which is tested as such")
    assert cut(way, body, dialect, ending)
