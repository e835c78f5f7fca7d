"""OpenAI answers, whole and streamed: nothing is invented, nothing is lost, and what is no answer is refused."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentroute import BadResponse, ChatResponse, Overloaded, ProviderError, ToolCall, Usage, fold
from agentroute.events import (
    Event,
    Finished,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    unfold,
)
from agentroute.formats import response_warnings
from agentroute.formats.openai_chat import (
    DIALECT,
    StreamDecoder,
    decode_response,
    decode_usage,
    encode_response,
)
from agentroute.messages import Extra, Reasoning, Text

USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}


def answer(finish: Any = "stop", usage: Any = USAGE, **message: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}],
        "usage": usage,
    }


def delta(finish: str | None = None, index: int = 0, **fields: Any) -> dict[str, Any]:
    choices = [{"index": index, "delta": fields, "finish_reason": finish}]
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "m", "choices": choices}


def call(index: int | None = 0, id: str | None = None, **function: Any) -> dict[str, Any]:  # noqa: A002 - the wire's name
    raw = {"index": index, "id": id, "function": function}
    return delta(tool_calls=[{key: value for key, value in raw.items() if value is not None}])


DONE = "[DONE]"
END = [delta("stop"), {**delta(), "choices": [], "usage": USAGE}, DONE]


def read(*chunks: Any) -> tuple[list[Event], StreamDecoder]:
    decoder = StreamDecoder(target="a")
    events: list[Event] = []
    for chunk in chunks:
        events += decoder.feed(chunk if isinstance(chunk, str) else json.dumps(chunk))
    return events + decoder.close(), decoder


class TestWhole:
    def test_text(self) -> None:
        response = decode_response(answer(content="hello", refusal=None, annotations=[]))
        assert (response.text, response.finish_reason, response.native_finish_reason) == ("hello", "stop", None)
        assert (response.usage, response.model, response.id) == (Usage(5, 2), "m", "chatcmpl-1")
        assert response.extra == Extra(DIALECT, {"created": 1})
        assert response.message.extra is None
        assert response_warnings(response) == ()

    @pytest.mark.parametrize(
        ("said", "finish", "native"),
        [
            ("stop", "stop", None),
            ("length", "length", None),
            ("tool_calls", "tool_calls", None),
            ("content_filter", "content_filter", None),
            ("eos_token", "stop", "eos_token"),
            ("SAFETY", "content_filter", "SAFETY"),
            ("model_length", "length", "model_length"),
            ("function_call", "tool_calls", "function_call"),
            ("banana", None, "banana"),
            (None, None, None),
            ("", None, None),
            (7, None, None),
        ],
    )
    def test_why_it_stopped_is_never_invented(self, said: Any, finish: Any, native: Any) -> None:
        response = decode_response(answer(said, content="x"))
        assert (response.finish_reason, response.native_finish_reason) == (finish, native)
        streamed, _ = read(
            {**delta(content="x"), "choices": [{"delta": {"content": "x"}, "finish_reason": said}]}, DONE
        )
        assert (fold(streamed).finish_reason, fold(streamed).native_finish_reason) == (finish, native)

    def test_the_providers_own_word_beside_ours(self) -> None:
        body = answer(content="x")
        body["choices"][0]["native_finish_reason"] = "STOP_SEQ"
        assert decode_response(body).native_finish_reason == "STOP_SEQ"

    def test_reasoning_calls_and_unknown_fields(self) -> None:
        body = answer(
            "tool_calls",
            content="x",
            reasoning="hm",
            tool_calls=[{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            annotations=[{"type": "url"}],
        )
        body["choices"][0]["logprobs"] = {"content": []}
        body["system_fingerprint"] = "fp"
        response = decode_response(body)
        assert [type(part) for part in response.message.parts] == [Reasoning, Text, ToolCall]
        assert response.message.extra == Extra(DIALECT, {"annotations": [{"type": "url"}]})
        assert encode_response(response)["choices"][0]["message"]["reasoning"] == "hm"
        assert encode_response(response)["choices"][0]["logprobs"] == {"content": []}
        assert fold(unfold(response)) == response

    def test_a_refusal_is_text(self) -> None:
        response = decode_response(answer(content=None, refusal="No."))
        assert response.text == "No."
        assert encode_response(response)["choices"][0]["message"]["refusal"] == "No."
        assert fold(unfold(response)) == response

    @pytest.mark.parametrize(
        "body",
        [
            None,
            [],
            "x",
            {},
            answer() | {"choices": None},
            answer() | {"choices": []},
            answer() | {"choices": [None]},
            answer() | {"choices": [{"message": None}]},
            answer() | {"choices": {"0": 1}},
            answer(content=7),
            answer(tool_calls="x"),
            answer(tool_calls=[{"id": "c", "function": {"name": 7}}]),
        ],
    )
    def test_what_is_none(self, body: Any) -> None:
        with pytest.raises(BadResponse) as caught:
            decode_response(body, target="a")
        assert caught.value.target == "a"
        assert (caught.value.__context__, caught.value.__cause__) == (None, None)

    def test_an_error_with_a_success_status(self) -> None:
        with pytest.raises(Overloaded) as caught:
            decode_response({"error": {"message": "Provider returned error", "code": 502}})
        assert caught.value.status == 502
        body = answer(content="")
        body["choices"][0]["error"] = {"message": "cut", "code": 502}
        with pytest.raises(Overloaded):
            decode_response(body)

    def test_a_call_without_an_id(self) -> None:
        body = answer("tool_calls", content=None, tool_calls=[{"function": {"name": "f", "arguments": "{}"}}] * 2)
        one, two = decode_response(body).tool_calls
        assert one.id != two.id
        assert (one, two) == decode_response(copy.deepcopy(body)).tool_calls, "stable"
        other = decode_response({**body, "id": "chatcmpl-2"}).tool_calls
        assert not {one.id, two.id} & {call.id for call in other}, "and another for another answer"

    @pytest.mark.parametrize(
        ("body", "warnings"),
        [
            (answer(content="x"), ()),
            (answer(None, content="x"), ("provider_missing_finish_reason",)),
            (answer("banana", content="x"), ("unknown_finish_reason",)),
            (answer(usage=None, content="x"), ("provider_missing_usage",)),
            (answer(content=None), ("empty_response",)),
            (answer(content="", reasoning="hm"), ("empty_response",)),
            (
                answer("tool_calls", tool_calls=[{"id": "c", "function": {"name": "f", "arguments": '{"x": '}}]),
                ("invalid_tool_arguments",),
            ),
            (answer("tool_calls", tool_calls=[{"id": "c", "function": {"name": "f", "arguments": ""}}]), ()),
            (
                answer("tool_calls", tool_calls=[{"id": "c", "type": "custom", "custom": {"name": "f", "input": "x"}}]),
                (),
            ),
        ],
    )
    def test_what_is_odd_is_delivered_and_noted(self, body: dict[str, Any], warnings: tuple[str, ...]) -> None:
        response = decode_response(body)
        assert response_warnings(response) == warnings
        message = body["choices"][0]["message"]
        pieces = [{**c, "index": i} for i, c in enumerate(message.get("tool_calls", []))]
        streamed = {key: value for key, value in message.items() if key != "tool_calls"} | {"tool_calls": pieces}
        finish = body["choices"][0]["finish_reason"]
        _, decoder = read(delta(finish, **streamed), {**delta(), "choices": [], "usage": body["usage"]}, DONE)
        assert decoder.warnings() == warnings, "the stream of the same answer says the same"

    def test_arguments_that_are_no_json_pass_verbatim(self) -> None:
        body = answer("tool_calls", tool_calls=[{"id": "c", "function": {"name": "f", "arguments": '{"x": '}}])
        assert encode_response(decode_response(body))["choices"][0]["message"]["tool_calls"][0]["function"] == {
            "name": "f",
            "arguments": '{"x": ',
        }

    def test_written_for_a_client(self) -> None:
        body = answer(content="hello")
        assert encode_response(decode_response(body)) == body
        assert encode_response(decode_response(body), model="other", created=9) == {
            **body,
            "model": "other",
            "created": 9,
        }
        bare = encode_response(ChatResponse(fold([]).message))
        assert (bare["usage"], bare["choices"][0]["finish_reason"], bare["model"]) == (None, None, "")


class TestUsage:
    @pytest.mark.parametrize(
        ("raw", "usage"),
        [
            (USAGE, Usage(5, 2)),
            (None, None),
            ("x", None),
            ({}, None),
            ({"prompt_tokens": -1, "completion_tokens": True}, None),
            ({"prompt_tokens": 5}, Usage(5)),
            ({"prompt_tokens": 0, "completion_tokens": 0}, Usage(0, 0)),
            (
                {
                    "prompt_tokens": 9,
                    "completion_tokens": 5,
                    "total_tokens": 14,
                    "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1},
                    "completion_tokens_details": {"reasoning_tokens": 3},
                },
                Usage(9, 5, 4, 1, 3),
            ),
            ({"prompt_tokens": 9, "completion_tokens": 5, "prompt_cache_hit_tokens": 4}, Usage(9, 5, 4)),
            (
                {
                    "prompt_tokens": 9,
                    "completion_tokens": 5,
                    "total_tokens": 17,
                    "completion_tokens_details": {"reasoning_tokens": 3},
                },
                Usage(9, 8, None, None, 3),
            ),
            ({"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": None}, Usage(5, 2)),
        ],
    )
    def test_reading(self, raw: Any, usage: Usage | None) -> None:
        assert decode_usage(raw) == usage

    def test_writing(self) -> None:
        usage = Usage(9, 5, 4, 1, 3)
        assert decode_usage(encode_response(ChatResponse(fold([]).message, usage=usage))["usage"]) == usage


class TestStreamed:
    def test_text(self) -> None:
        events, decoder = read(delta(role="assistant", content=""), delta(content="hel"), delta(content="lo"), *END)
        assert events[:3] == [Started("chatcmpl-1", "m"), TextDelta("hel"), TextDelta("lo")]
        assert events[-1] == Finished("stop")
        assert fold(events).usage == decoder.usage == Usage(5, 2)
        assert decoder.ended

    def test_it_ends_with_done_or_a_reason(self) -> None:
        assert fold(read(delta(content="x"), delta("stop"))[0]).finish_reason == "stop"
        events, decoder = read(delta(content="x"), DONE)
        assert fold(events).finish_reason is None
        assert "provider_missing_finish_reason" in decoder.warnings()
        for cut in (
            [delta(content="x")],
            [],
            [DONE],
            [{**delta(), "choices": []}, DONE],
            [{**delta(), "choices": None}, DONE],
        ):
            with pytest.raises(BadResponse, match="before the answer was complete"):
                read(*cut)

    def test_nothing_is_read_after_done(self) -> None:
        events, _ = read(delta(content="x"), delta("stop"), DONE, delta(content="y"), "junk")
        assert fold(events).text == "x"

    def test_reasoning(self) -> None:
        for field in ("reasoning", "reasoning_content"):
            events, _ = read(delta(**{field: "hm"}), delta(**{field: " so"}), delta(content="x"), *END)
            assert fold(events).message.parts == (Reasoning("hm so"), Text("x"))
        events, _ = read(delta(reasoning="hm", reasoning_content="hm"), *END)
        assert [e for e in events if isinstance(e, ReasoningDelta)] == [ReasoningDelta("hm")]

    def test_reasoning_as_mistral_writes_it(self) -> None:
        thinking = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]
        events, _ = read(delta(content=thinking), delta(content=[{"type": "text", "text": "x"}]), *END)
        whole = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
        assert fold(events).message.parts == (Reasoning("hm", extra=Extra(DIALECT, whole)), Text("x"))

    def test_unknown_fields_are_kept(self) -> None:
        details = [{"type": "reasoning.text", "text": "hm"}], [{"type": "reasoning.encrypted", "data": "s"}]
        events, _ = read(*(delta(reasoning_details=d) for d in details), delta(channel="final", content="x"), *END)
        assert fold(events).message.extra == Extra(
            DIALECT, {"reasoning_details": [*details[0], *details[1]], "channel": "final"}
        )

    def test_calls_in_pieces(self) -> None:
        events, _ = read(
            call(id="c1", name="look", arguments=""),
            *(call(arguments=piece) for piece in ('{"ci', 'ty":"P', 'aris"}')),
            delta("tool_calls"),
            DONE,
        )
        assert fold(events).tool_calls == (ToolCall("c1", "look", '{"city":"Paris"}'),)
        assert [type(e) for e in events].count(ToolCallStarted) == 1

    def test_calls_interleaved(self) -> None:
        events, _ = read(
            call(0, "c1", name="a"),
            call(1, "c2", name="b"),
            call(0, arguments='{"x":1}'),
            call(1, arguments='{"y":2}'),
            delta("tool_calls"),
            DONE,
        )
        assert fold(events).tool_calls == (ToolCall("c1", "a", '{"x":1}'), ToolCall("c2", "b", '{"y":2}'))

    @pytest.mark.parametrize("index", [0, None])
    def test_two_ids_on_one_index_are_two_calls(self, index: int | None) -> None:
        events, _ = read(
            call(index, "c1", name="a", arguments='{"x":'),
            call(index, "c1", arguments="1}"),
            call(index, "c2", name="a", arguments='{"y":'),
            call(index, arguments="2}"),
            delta("tool_calls"),
            DONE,
        )
        assert fold(events).tool_calls == (ToolCall("c1", "a", '{"x":1}'), ToolCall("c2", "a", '{"y":2}'))

    def test_calls_without_ids(self) -> None:
        chunks = [call(0, name="a", arguments="{}"), call(1, name="a", arguments="{}"), delta("tool_calls"), DONE]
        one, two = fold(read(*chunks)[0]).tool_calls
        assert one.id != two.id
        assert (one, two) == fold(read(*chunks)[0]).tool_calls
        whole = decode_response(answer("tool_calls", tool_calls=[{"function": {"name": "a", "arguments": "{}"}}] * 2))
        assert len({call.id for call in whole.tool_calls}) == 2

    def test_an_id_or_a_name_that_is_repeated_is_the_same_call(self) -> None:
        events, _ = read(
            call(0, "c1", name="a", arguments="{"), call(0, "c1", name="a", arguments="}"), delta("tool_calls"), DONE
        )
        assert fold(events).tool_calls == (ToolCall("c1", "a", "{}"),)

    def test_a_late_name(self) -> None:
        events, _ = read(call(0, "c1", arguments='{"a"'), call(0, name="f"), call(0, arguments=":1}"), delta("stop"))
        assert fold(events).tool_calls == (ToolCall("c1", "f", '{"a":1}'),)
        with pytest.raises(BadResponse, match="without a name"):
            read(call(0, "c1", arguments="{}"), delta("tool_calls"))

    def test_arguments_as_an_object_and_fields_we_do_not_know(self) -> None:
        raw = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": {"x": 1}}, "sig": "s"}
        events, _ = read(delta(tool_calls=[raw]), delta("tool_calls"))
        assert fold(events).tool_calls == (ToolCall("c", "f", '{"x": 1}', Extra(DIALECT, {"sig": "s"})),)

    def test_the_older_function_call(self) -> None:
        events, _ = read(
            delta(function_call={"name": "f", "arguments": ""}),
            delta(function_call={"arguments": "{}"}),
            delta("function_call"),
        )
        assert [(c.name, c.arguments) for c in fold(events).tool_calls] == [("f", "{}")]

    def test_other_choices_are_not_ours(self) -> None:
        events, _ = read(delta(content="a"), delta(index=1, content="b"), *END)
        assert fold(events).text == "a"

    def test_the_last_count_holds_and_a_repeated_one_is_no_event(self) -> None:
        counts = [{**delta(), "usage": {"prompt_tokens": 5, "completion_tokens": n}} for n in (1, 1, 2)]
        events, decoder = read(*counts, delta("stop"))
        assert decoder.usage == fold(events).usage == Usage(5, 2)
        assert sum("Usage" in type(e).__name__ for e in events) == 2

    @pytest.mark.parametrize(
        "chunk",
        [
            {"error": {"message": "overloaded", "type": "server_error", "code": None}},
            {"error": {"message": "overloaded", "code": 503}},
            {**delta(), "choices": [{"index": 0, "error": {"code": 503, "message": "x"}, "delta": {}}]},
        ],
    )
    def test_an_error_in_the_stream(self, chunk: Any) -> None:
        with pytest.raises(Overloaded):
            read(delta(content="x"), chunk)

    def test_an_event_named_error(self) -> None:
        decoder = StreamDecoder()
        with pytest.raises(Overloaded):
            decoder.feed('{"message": "busy", "type": "overloaded_error"}', "error")

    @pytest.mark.parametrize("data", ["{oops", "", "{" * 100_000, '{"a": ' * 100_000])
    def test_what_is_no_json(self, data: str) -> None:
        with pytest.raises(BadResponse, match="not JSON") as caught:
            StreamDecoder().feed(data)
        assert caught.value.__context__ is None

    @pytest.mark.parametrize(
        "data", ["null", "7", '"x"', "[]", "{}", '{"type": "ping"}', '{"choices": [7, {"delta": 7}]}']
    )
    def test_what_is_no_chunk_is_passed_over(self, data: str) -> None:
        events, _ = read(data, delta(content="x"), *END)
        assert fold(events).text == "x"


values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "index", "name", "type", "text"]), inner)
    ),
    max_leaves=6,
)
functions = st.fixed_dictionaries({}, optional={"name": values, "arguments": values})
deltas = st.fixed_dictionaries(
    {},
    optional={
        "content": values,
        "reasoning": values,
        "refusal": values,
        "tool_calls": st.lists(
            st.fixed_dictionaries({}, optional={"index": values, "id": values, "function": functions | values}),
            max_size=3,
        )
        | values,
        "function_call": functions | values,
        "odd": values,
    },
)
chunks = st.fixed_dictionaries(
    {},
    optional={
        "id": values,
        "choices": st.lists(st.fixed_dictionaries({"delta": deltas}, optional={"finish_reason": values}), max_size=2)
        | values,
        "usage": values,
    },
)


@given(st.lists(chunks, max_size=5))
def test_any_stream_is_read_or_refused(raw: list[Any]) -> None:
    try:
        events, decoder = read(*raw, DONE)
    except ProviderError:
        return
    response = fold(events)
    assert response.usage == decoder.usage
    assert len({call.id for call in response.tool_calls}) == len(response.tool_calls) or any(
        call.id for call in response.tool_calls
    )
    deltas = "".join(event.arguments for event in events if isinstance(event, ToolCallDelta))
    assert sum(len(call.arguments) for call in response.tool_calls) == len(deltas)
