"""What a ready model is told of a conversation: what its provider would refuse goes, on copies."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from langchain_agentroute import RoutedChatModel, decision_of, native
from langchain_agentroute.conversation import keep_warm, messages_for, without_stale_thinking
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool

from agentroute import ChatRequest, Price, RequestError
from agentroute.testing import ScriptedProvider, ScriptedReply, tool_call

from .pools import chat_openai

pytestmark = pytest.mark.requires("langchain", "langchain_openai", "langchain_anthropic")

MARKER = {"cache_control": {"type": "ephemeral"}}
LONGER = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
BUDGET = {"type": "enabled", "budget_tokens": 2000}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}


def claude(provider: ScriptedProvider, **settings: Any) -> ChatAnthropic:
    base_url = provider.base_url.removesuffix("/v1")
    return ChatAnthropic(model_name="claude-sonnet-4-6", base_url=base_url, api_key=provider.api_key, **settings)


def loop(first: dict[str, Any] | None = None, **metadata: Any) -> list[BaseMessage]:
    call = {"type": "tool_use", "id": "toolu_1", "name": "now", "input": {}}
    content: list[Any] = [first, call] if first else [call]
    calls: Any = [{"name": "now", "args": {}, "id": "toolu_1", "type": "tool_call"}]
    return [
        HumanMessage("what time is it?"),
        AIMessage(content, tool_calls=calls, response_metadata=metadata),
        ToolMessage("noon", tool_call_id="toolu_1"),
    ]


@tool
def now() -> str:
    """The time."""
    return "noon"


class TestThinking:
    """With a thinking budget, the last step of a running tool loop must begin with its thinking."""

    def test_goes_on_from_ones_own(self) -> None:
        model = ChatAnthropic(model_name="claude-sonnet-4-6", api_key="sk-test", thinking=BUDGET, max_tokens=4000)
        assert without_stale_thinking(model, loop(THOUGHT), {}) == (model, {}, [])

    @pytest.mark.parametrize("by", ["model", "call"])
    def test_is_off_where_another_model_began_the_loop(self, by: str) -> None:
        settings = {"thinking": BUDGET, "max_tokens": 4000} if by == "model" else {}
        model = ChatAnthropic(model_name="claude-sonnet-4-6", api_key="sk-test", **settings)  # type: ignore[arg-type]
        other, kwargs, warnings = without_stale_thinking(model, loop(), {} if by == "model" else {"thinking": BUDGET})
        payload = other._get_request_payload(loop(), **kwargs)  # type: ignore[attr-defined]
        assert payload["thinking"] == {"type": "disabled"}
        assert len(warnings) == 1
        if by == "model":
            assert model.thinking == BUDGET

    def test_is_on_again_when_the_user_speaks(self) -> None:
        model = ChatAnthropic(model_name="claude-sonnet-4-6", api_key="sk-test", thinking=BUDGET, max_tokens=4000)
        assert without_stale_thinking(model, [*loop(), HumanMessage("thanks")], {})[0] is model

    def test_adaptive_thinking_is_left_alone(self) -> None:
        model = ChatAnthropic(model_name="claude-sonnet-4-6", api_key="sk-test", thinking={"type": "adaptive"})
        assert without_stale_thinking(model, loop(), {})[0] is model

    def test_on_the_wire_and_in_the_record(self) -> None:
        with ScriptedProvider("noon", provider="anthropic") as provider:
            model = RoutedChatModel(targets={"claude": native(claude(provider, thinking=BUDGET, max_tokens=4000))})
            message = model.bind_tools([now]).invoke(loop())
        body: Any = provider.requests[0].body
        assert body["thinking"] == {"type": "disabled"}
        decision = decision_of(message)
        assert decision is not None
        assert any("thinking switched off" in warning for warning in decision.warnings)


def test_reasoning_of_a_ready_model_holds_the_loop_on_it() -> None:
    """Signed by a dated name of the model (`claude-sonnet-4-6-20260217`), known by the target that was routed to."""

    def reply(request: ChatRequest) -> ScriptedReply:
        return ScriptedReply(tool_calls=(tool_call("now"),))

    with ScriptedProvider(reply, provider="anthropic") as provider:
        ready = claude(provider, thinking={"type": "adaptive"})
        gpt = provider.target(name="gpt", model="gpt-6-luna", tier="budget", price=Price(1, 1))
        model = RoutedChatModel(targets=[gpt, native(ready, name="claude", price=Price(1, 1))])
        asked = HumanMessage("what time is it?")
        to_claude: Any = {"configurable": {"agentroute": {"target": "claude"}}}
        said = model.bind_tools([now]).invoke([asked], to_claude)
        thought = {"type": "thinking", "thinking": "The clock will tell. " * 40, "signature": "c2ln"}
        calls = [{"type": "tool_use", "id": said.tool_calls[0]["id"], "name": "now", "input": {}}]
        said = said.model_copy(update={"content": [thought, *calls]})
        result = ToolMessage("noon", tool_call_id=said.tool_calls[0]["id"] or "")
        opened = model._open([asked, said, result], None, None, dict(model.bind_tools([now]).kwargs))  # type: ignore[attr-defined]
        decision = opened.prepare(stream=False).decision
    (other,) = [candidate for candidate in decision.candidates if candidate.target == "gpt"]
    (claude_,) = [candidate for candidate in decision.candidates if candidate.target == "claude"]
    assert "tokens of reasoning" in other.reason
    assert "tokens of reasoning" not in claude_.reason


class TestCacheMarkers:
    def test_a_loop_on_claude_is_kept_warm_and_the_other_provider_gets_no_marker(self) -> None:
        with ScriptedProvider("noon", provider="anthropic") as there, ScriptedProvider("noon") as here:
            targets = {"gpt": chat_openai(here.base_url, "gpt-4.1", here.api_key), "claude": native(claude(there))}
            model = RoutedChatModel(targets=targets)
            for name in ("gpt", "claude"):
                model.bind_tools([now]).invoke(loop(), {"configurable": {"agentroute": {"target": name}}})
        assert "cache_control" in str(there.requests[0].body)
        assert "cache_control" not in str(here.requests[0].body)

    @pytest.mark.parametrize("messages", [[HumanMessage("hi")], [SystemMessage("be"), HumanMessage("hi")]])
    def test_a_single_question_is_not(self, messages: list[BaseMessage]) -> None:
        model = ChatAnthropic(model_name="claude-sonnet-4-6", api_key="sk-test")
        assert keep_warm(model, messages, {}, ()) == {}
        assert keep_warm(model, messages, {}, [{}]) == MARKER

    @pytest.mark.parametrize(
        ("kwargs", "expected"),
        [
            (
                {"cache_control": {"type": "ephemeral", "ttl": "1h"}},
                {"cache_control": {"type": "ephemeral", "ttl": "1h"}},
            ),
            ({"cache_control": None}, {}),
            ({"tools": [{"name": "now", **MARKER}]}, {"tools": [{"name": "now", **MARKER}]}),
        ],
    )
    def test_the_callers_own_hold(self, kwargs: dict[str, Any], expected: dict[str, Any]) -> None:
        model = ChatAnthropic(model_name="claude-sonnet-4-6", api_key="sk-test")
        assert keep_warm(model, loop(), kwargs, kwargs.get("tools", ())) == expected

    @pytest.mark.parametrize("kind", ["native", "wire"])
    def test_those_on_tools_go_to_claude_alone(self, kind: str) -> None:
        schema = {"type": "object", "properties": {}}
        tool = {"name": "now", "description": "The time.", "input_schema": schema, **MARKER}
        with ScriptedProvider("hi", provider="anthropic") as there, ScriptedProvider("hi") as here:
            targets: dict[str, Any] = {
                "gpt": chat_openai(here.base_url, "gpt-4.1", here.api_key),
                "claude": native(claude(there)),
            }
            if kind == "wire":
                model_of = there.target(model="claude-sonnet-4-6", dialect="anthropic_messages")
                targets = {"gpt": here.target(model="gpt-4.1", tier="mid"), "claude": model_of}
            model = RoutedChatModel(targets=targets)
            for name in ("gpt", "claude"):
                model.bind_tools([tool]).invoke("hi", {"configurable": {"agentroute": {"target": name}}})
            model.router.close()
        assert "cache_control" not in str(here.requests[0].body)
        (sent,) = there.requests[0].body["tools"]  # type: ignore[misc]
        assert sent["cache_control"] == {"type": "ephemeral"}

    def test_those_in_messages_go_to_claude_alone(self) -> None:
        text: Any = [{"type": "text", "text": "be brief", **MARKER}]
        messages = [SystemMessage(text), HumanMessage("hi")]
        before = deepcopy(messages)
        with ScriptedProvider("hi", provider="anthropic") as there, ScriptedProvider("hi") as here:
            ready = chat_openai(here.base_url, "gpt-4.1", here.api_key)
            model = RoutedChatModel(targets={"gpt": ready, "claude": native(claude(there))})
            gpt, other = model.router.pool["gpt"], model.router.pool["claude"]
            assert messages_for(messages, other, model.models["claude"], model.router.pool) is messages
            assert messages_for(messages, gpt, ready, model.router.pool)[1] is messages[1]
            for name in ("gpt", "claude"):
                model.invoke(messages, {"configurable": {"agentroute": {"target": name}}})
        assert messages == before
        assert str(there.requests[0].body).count("cache_control") == 1
        assert "cache_control" not in str(here.requests[0].body)


def test_ready_models_alone_are_told_what_only_they_understand() -> None:
    """A file that lies with the provider has no canonical form: wire targets cannot be told of it, ready models can."""
    question: Any = [HumanMessage([{"type": "text", "text": "what is it?"}, {"type": "file", "file_id": "file-1"}])]
    with ScriptedProvider("a leaf", provider="openai") as provider:
        ready = chat_openai(provider.base_url, "gpt-4.1", provider.api_key)
        assert RoutedChatModel(targets=[ready]).invoke(question).text == "a leaf"
        with pytest.raises(RequestError, match="message 0 has a part of type 'file'"):
            RoutedChatModel(targets=[ready, provider.target(name="ours", model="gpt-4.1")]).invoke(question)
    body: Any = provider.requests[0].body
    assert body["messages"][0]["content"][1] == {"type": "file", "file": {"file_id": "file-1"}}


def test_arguments_of_one_target_are_said_in_its_own_dialect() -> None:
    """`thinking` reaches a wire target of Anthropic, whether it is given for that target or for the call."""
    with ScriptedProvider("noon", provider="anthropic") as provider:
        target = provider.target(name="claude", model="claude-sonnet-4-6", dialect="anthropic_messages", tier="mid")
        for_it = RoutedChatModel(targets=[target], target_kwargs={"claude": {"thinking": BUDGET}})
        for_it.invoke("hi")
        for_it.router.close()
        for_all = RoutedChatModel(targets=[target])
        for_all.invoke("hi", thinking=BUDGET)
        for_all.router.close()
    assert [request.body["thinking"] for request in provider.requests] == [BUDGET, BUDGET]
