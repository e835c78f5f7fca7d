"""What one call takes and gives, in all ways and on all pools."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from crewai.llms.base_llm import BaseLLM, call_stop_override, call_stream_override
from crewai.llms.cache import mark_cache_breakpoint
from crewai_agentroute import RoutedLLM

from agentroute import BadResponse, ConfigError, RequestError, StreamInterrupted, Target
from agentroute.testing import Fault

from .crews import ADD, POOLS, SMALL, STRONG, WAYS, Report, adds, asked, filled, made, ready, routed, serving

both = pytest.mark.parametrize("kind", POOLS)
ways = pytest.mark.parametrize("way", WAYS)


@both
@ways
async def test_r01_a_text(kind: str, way: str) -> None:
    with serving("hello") as provider:
        llm = routed(kind, provider)
        assert isinstance(llm, BaseLLM)
        assert await asked(way, llm) == "hello"
        assert provider.requests[0].stream == ("streamed" in way)
        assert llm.last_decision is not None
        assert llm.last_decision.outcome == "ok"


@both
@ways
async def test_r01_with_tools_a_list_of_calls(kind: str, way: str) -> None:
    with serving(adds) as provider:
        calls = await asked(way, routed(kind, provider), tools=[ADD])
        if kind == "wire":
            assert [set(call) for call in calls] == [{"id", "type", "function"}]
        (call,) = [call if isinstance(call, dict) else call.model_dump() for call in calls]
        assert call["id"]
        assert call["type"] == "function"
        assert call["function"] == {"name": "add", "arguments": '{"a": 2, "b": 3}'}


@both
@ways
async def test_r01_with_functions_the_result_of_the_one_called(kind: str, way: str) -> None:
    with serving(adds) as provider:
        llm = routed(kind, provider)
        assert await asked(way, llm, tools=[ADD], available_functions={"add": lambda a, b: a + b}) == "5"
        assert len(provider.requests) == 1


@both
@ways
async def test_r01_with_a_response_model_an_instance(kind: str, way: str) -> None:
    with serving(adds) as provider:
        report = await asked(way, routed(kind, provider), response_model=Report)
        assert report == Report(title="as asked", count=7)
        assert provider.requests[0].body["response_format"]["json_schema"]["name"] == "Report"


@pytest.mark.parametrize("kind", [*POOLS, "native first"])
@ways
async def test_r01_an_empty_answer_is_none_so_the_next_target_is_asked(kind: str, way: str) -> None:
    with serving("") as silent, serving("hello") as talker:
        llm = routed(kind, silent, talker)
        assert await asked(way, llm) == "hello"
        assert [attempt.outcome for attempt in llm.last_decision.attempts] == ["failed", "ok"]
        assert llm.last_decision.attempts[0].usage is not None


@both
@ways
async def test_r01_never_nothing(kind: str, way: str) -> None:
    with serving("") as silent, pytest.raises(Exception, match="the answer is empty"):
        await asked(way, routed(kind, silent))


@both
async def test_r01_a_function_that_fails_gives_an_error_and_is_not_tried_twice(kind: str) -> None:
    made_calls: list[int] = []

    def fails(a: int, b: int) -> int:
        made_calls.append(a)
        raise ValueError("no adding today")

    with serving(adds) as provider:
        with pytest.raises(BadResponse, match="gave no result"):
            routed(kind, provider).call("hello", tools=[ADD], available_functions={"add": fails})
        assert made_calls == [2]
        assert len(provider.requests) == 1


@both
@ways
async def test_the_messages_are_not_changed_and_what_is_crewais_own_stays_here(kind: str, way: str) -> None:
    messages: list[dict[str, Any]] = [
        mark_cache_breakpoint({"role": "system", "content": "be brief"}),
        {"role": "user", "content": "add"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c1", "name": "add", "content": "5"},
    ]
    before = copy.deepcopy(messages)
    with serving("five") as provider:
        assert await asked(way, routed(kind, provider), messages, tools=[ADD]) == "five"
        assert messages == before
        sent = provider.requests[0].body["messages"]
        assert [message["role"] for message in sent] == ["system", "user", "assistant", "tool"]
        assert "cache_breakpoint" not in str(sent)


async def test_a_wire_target_is_not_sent_a_strict_schema_that_it_could_not_take() -> None:
    strict = {"type": "function", "function": {**ADD["function"], "strict": True}}
    with serving(adds) as provider:
        routed("wire", provider).call("hello", tools=[strict])
        assert provider.requests[0].body["tools"] == [ADD]
        assert strict["function"]["strict"] is True


async def test_settings_hold_for_every_target() -> None:
    for kind in POOLS:
        with serving("hello") as provider:
            llm = routed(kind, provider, temperature=0.5, max_tokens=99, additional_params={"user": "me"})
            llm.call("hello")
            body = provider.requests[0].body
            assert body["temperature"] == 0.5
            assert 99 in (body.get("max_tokens"), body.get("max_completion_tokens"))
            if kind != "native":
                assert body["user"] == "me"


@both
@ways
async def test_r05_a_rate_limit_goes_to_the_next_target_at_once(kind: str, way: str) -> None:
    with serving("busy", fault=Fault.error(429, message="rate limit")) as busy, serving("hello") as other:
        llm = routed(kind, busy, other)
        assert await asked(way, llm) == "hello"
        assert (len(busy.requests), len(other.requests)) == (1, 1)
        assert [attempt.target for attempt in llm.last_decision.attempts] == ["small", "strong"]


@both
@ways
async def test_r05_no_attempt_but_those_of_the_chain(kind: str, way: str) -> None:
    """CrewAI would call three times on a 429, and the SDK below a native LLM three times within each."""
    with serving("busy", fault=Fault.error(429, message="rate limit reached", retry_after=3600)) as busy:
        llm = routed(kind, busy)
        with pytest.raises(Exception, match="rate limit"):
            await asked(way, llm)
        assert len(busy.requests) == len(llm.last_decision.attempts) == 2


@both
@ways
async def test_r07_stop_is_what_holds_for_this_call(kind: str, way: str) -> None:
    with serving("I look.\nObservation: made up") as provider:
        llm = routed(kind, provider, stop=["never said"])
        with call_stop_override(llm, ["\nObservation:"]):
            assert await asked(way, llm) == "I look."
        assert await asked(way, llm) == "I look.\nObservation: made up"
        assert llm.stop == ["never said"]


async def test_r07_stop_is_sent_to_models_that_do_not_reason_alone() -> None:
    with serving("hello") as provider:
        llm = made(RoutedLLM(targets=[provider.target(model=STRONG), provider.target(model="gpt-5-mini")], stop=["X"]))
        llm.for_agent("a", target=STRONG).call("hello")
        llm.for_agent("b", target="gpt-5-mini").call("hello")
        assert [request.body.get("stop") for request in provider.requests] == [["X"], None]


@both
@pytest.mark.parametrize("way", ["call", "acall"])
async def test_r07_streaming_is_what_holds_for_this_call(kind: str, way: str) -> None:
    with serving("hello") as provider:
        llm = routed(kind, provider)
        with call_stream_override(llm, True):
            await (llm.acall("hello") if way == "acall" else _sync(llm))
        await (llm.acall("hello") if way == "acall" else _sync(llm))
        assert [request.stream for request in provider.requests] == [True, False]


async def _sync(llm: Any) -> Any:
    return llm.call("hello")


async def test_settings_that_are_wrong_are_named() -> None:
    target = Target(provider="openai", model=SMALL, api_key="x")
    for settings, problem in (
        ({}, "either `router` or `targets`"),
        ({"targets": [target], "router": 1}, "not both"),
        ({"router": 1}, "`router` is a int"),
        ({"targets": [target], "temprature": 1}, "no setting 'temprature'"),
        ({"targets": [target], "api_key": "sk-1"}, "`api_key` is no setting"),
        ({"targets": [target], "model": "gpt-4"}, "`model` is 'gpt-4'"),
        ({"targets": [target], "constraints": {"teir": "mid"}}, "'teir' is no constraint"),
        ({"targets": ["gpt-4"]}, "names no model; write 'provider/model'"),
    ):
        with pytest.raises(ConfigError, match=problem):
            RoutedLLM(**settings)


async def test_constraints_of_a_handle() -> None:
    with serving("hello") as provider:
        llm = routed("wire", provider)
        pinned = llm.for_agent("writer", target="strong")
        pinned.call("hello")
        llm.call("hello")
        assert [request.model for request in provider.requests] == [STRONG, SMALL]
        with pytest.raises(ConfigError, match="'teir' is no constraint; did you mean 'tier'"):
            llm.for_agent("writer", teir="mid")


async def test_a_malformed_message_is_the_callers_own_error() -> None:
    with serving("hello") as provider:
        llm = routed("wire", provider)
        with pytest.raises(RequestError):
            llm.call([{"role": "robot", "content": "hello"}])
        with pytest.raises(ValueError, match="must have 'role' and 'content'"):
            llm.call([{"role": "user"}])
        assert not provider.requests


def test_filled_makes_the_plainest_value() -> None:
    assert filled(Report.model_json_schema()) == {"title": "as asked", "count": 7}


async def test_a_native_llm_is_left_as_it_was() -> None:
    with serving("hello") as provider:
        theirs = ready(provider, stop=["X"])
        before = theirs.model_dump()
        llm = made(RoutedLLM(targets={"small": theirs}))
        assert llm.call("hello") == "hello"
        assert theirs.model_dump() == before
        assert theirs.get_token_usage_summary().successful_requests == 0
        assert llm.get_token_usage_summary().successful_requests == 1


@both
@ways
async def test_an_answer_that_breaks_off_is_not_continued_by_another_model(kind: str, way: str) -> None:
    cut = Fault.cut_after(3)
    with serving("a long answer that breaks off in the middle", fault=cut) as broken, serving("hello") as other:
        llm = routed(kind, broken, other)
        if "streamed" in way:
            with pytest.raises(StreamInterrupted):
                await asked(way, llm)
            assert not other.requests
        else:
            assert await asked(way, llm) == "hello"
