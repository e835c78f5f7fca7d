"""The canonical values: frozen, slotted, and readable without knowing any dialect."""

from __future__ import annotations

import json
import pickle
from dataclasses import FrozenInstanceError, fields, is_dataclass
from decimal import Decimal
from typing import Any

import pytest

from agentroute import ChatRequest, ChatResponse, Message, RequestError, Tool, ToolCall, ToolResult, Usage, messages
from agentroute.messages import (
    Audio,
    Document,
    Extra,
    Image,
    Reasoning,
    ReasoningSetting,
    ResponseSchema,
    Sampling,
    Text,
    ToolChoice,
)

VALUES: tuple[Any, ...] = (
    Extra("d", {"a": 1}),
    Text("x"),
    Image("https://x"),
    ToolCall("c", "n", "{}"),
    ToolResult("c", (Text("x"),)),
    Document(url="https://x", name="a.pdf"),
    Audio(data="AAAA", media_type="audio/wav"),
    Reasoning("x"),
    Message("user", (Text("x"),)),
    Tool("n"),
    ToolChoice("auto"),
    ResponseSchema(),
    Sampling(),
    Usage(),
    ChatRequest((Message("user", (Text("x"),)),)),
    ChatResponse(Message("assistant", ())),
    ReasoningSetting("high"),
)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_every_value_is_frozen_and_slotted(value: Any) -> None:
    assert is_dataclass(value)
    assert not hasattr(value, "__dict__")
    with pytest.raises(FrozenInstanceError):
        setattr(value, fields(value)[0].name, None)
    assert pickle.loads(pickle.dumps(value)) == value


def test_every_public_class_is_among_them() -> None:
    classes = {name for name in messages.__all__ if isinstance(getattr(messages, name), type)}
    assert classes == {type(value).__name__ for value in VALUES}


class TestToolCall:
    @pytest.mark.parametrize(("arguments", "parsed"), [('{"a": 1}', {"a": 1}), ("{}", {}), ("", {})])
    def test_parsed(self, arguments: str, parsed: dict[str, Any]) -> None:
        assert ToolCall("c", "n", arguments).parsed() == parsed

    @pytest.mark.parametrize("arguments", ["[1]", "null", '"x"', '{"a": ', "{" * 100_000, "[" * 100_000, "NaNx"])
    def test_what_is_no_object(self, arguments: str) -> None:
        with pytest.raises(RequestError, match="the call 'c' to `n` cannot be used") as caught:
            ToolCall("c", "n", arguments).parsed()
        assert caught.value.__context__ is None
        assert isinstance(caught.value, ValueError)


class TestMessage:
    def test_text_is_what_is_said(self) -> None:
        said = Message("assistant", (Reasoning("hm"), Text("a"), ToolCall("c", "n", ""), Text("b")))
        assert said.text == "ab"
        assert said.tool_calls == (ToolCall("c", "n", ""),)
        assert Message("user", ()).text == ""
        assert Message("user", (Text("x"),)).text == "x"
        assert Message("user", (Image("https://x"),)).text == ""

    def test_results(self) -> None:
        result = ToolResult("c", (Text("a"), Image("https://x"), Text("b")))
        message = Message("tool", (result,))
        assert message.tool_results == (result,)
        assert message.text == ""
        assert (result.text, ToolResult("c", ()).text, ToolResult("c", (Text("x"),)).text) == ("ab", "", "x")


class TestUsage:
    def test_round_trip(self) -> None:
        usage = Usage(1, 2, 3, None, 0)
        assert Usage.from_dict(usage.to_dict()) == usage
        assert Usage.from_dict({}) == Usage()

    def test_round_trip_of_all_that_an_answer_may_tell(self) -> None:
        part = Usage(10, 2, 3, 4, 0, model="another")
        whole = Usage(
            20,
            4,
            6,
            8,
            0,
            cache_write_1h_tokens=5,
            cache_write_12h_tokens=1,
            service_tier="flex",
            speed="fast",
            region="us",
            server_tools=(("web_search", 2),),
            reported_cost=Decimal("0.00031"),
            iterations=(part, part),
            last_input_tokens=10,
        )
        assert all(getattr(whole, field.name) is not None for field in fields(Usage) if field.name != "model")
        assert Usage.from_dict(json.loads(json.dumps(whole.to_dict()))) == whole
        assert (whole.prompt_tokens, part.prompt_tokens) == (10, 10)

    def test_unknown_is_not_zero_and_what_is_not_told_is_not_written(self) -> None:
        counts = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
        assert Usage().to_dict() == dict.fromkeys(counts)
        assert repr(Usage(5, 0)) == "Usage(input_tokens=5, output_tokens=0)"


class TestResponse:
    def test_reads_like_its_message(self) -> None:
        call = ToolCall("c", "n", "{}")
        response = ChatResponse(Message("assistant", (Text("a"), call)))
        assert (response.text, response.tool_calls, list(response)) == ("a", (call,), [Text("a"), call])

    def test_a_picture_is_not_shown_in_full(self) -> None:
        assert "AAAA" not in repr(Image(data="AAAA", media_type="image/png"))


def test_openai_and_back() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "temperature": 0.5}
    assert ChatRequest.from_openai(body).to_openai() == body
