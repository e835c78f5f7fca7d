"""Ready LlamaIndex models as targets: called by their own methods, with tools and histories they can read."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    LLMMetadata,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.llms import MockLLM
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.tools import FunctionTool
from llama_index.llms.agentroute import RoutedLLM, decision_of, native
from llama_index.llms.openai import OpenAI
from pydantic import BaseModel, Field

from agentroute import ConfigError, Price, Router, Target, Tier, Usage
from agentroute.native.targets import NativeTarget, read_targets
from agentroute.testing import Fault, ScriptedReply, nth, tool_call

from .pools import SMALL, STRONG, made, openai, pool, ready, routed, serving

pytestmark = pytest.mark.requires("llama_index")


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


ADD = FunctionTool.from_defaults(add)
FREE = Price(0, 0)


class Recorder(MockLLM, FunctionCallingLLM):
    """A native model that notes how it was called."""

    calls: list[tuple[str, dict[str, Any]]] = Field(default_factory=list)

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(is_chat_model=True, is_function_calling_model=True)

    def _prepare_chat_with_tools(  # type: ignore[override]
        self, tools: Any, user_msg: Any = None, chat_history: Any = None, tool_required: bool = False, **kwargs: Any
    ) -> dict[str, Any]:
        raise NotImplementedError

    def _answer(self, name: str, kwargs: dict[str, Any]) -> ChatResponse:
        self.calls.append((name, kwargs))
        return ChatResponse(message=ChatMessage(role=MessageRole.ASSISTANT, content="noted"))

    def chat(self, messages: Any, **kwargs: Any) -> ChatResponse:
        return self._answer("chat", {"messages": messages, **kwargs})

    async def achat(self, messages: Any, **kwargs: Any) -> ChatResponse:
        return self._answer("achat", {"messages": messages, **kwargs})

    def chat_with_tools(self, tools: Any, **kwargs: Any) -> ChatResponse:  # type: ignore[override]
        return self._answer("chat_with_tools", {"tools": tools, **kwargs})

    async def achat_with_tools(self, tools: Any, **kwargs: Any) -> ChatResponse:  # type: ignore[override]
        return self._answer("achat_with_tools", {"tools": tools, **kwargs})


def recorded() -> tuple[RoutedLLM, list[tuple[str, dict[str, Any]]]]:
    recorder = Recorder()
    llm = RoutedLLM(targets=[native(recorder, name="own", tier="budget", price=FREE)])
    return llm, recorder.calls


async def test_09_a_native_model_gets_the_tools_themselves() -> None:
    llm, calls = recorded()
    llm.chat_with_tools([ADD], user_msg="?", tool_required=True)
    await llm.achat_with_tools([ADD], user_msg="?", allow_parallel_tool_calls=True)
    llm.chat([ChatMessage(content="hello")])
    (first, told), (second, atold), (third, plain) = calls
    assert (first, second, third) == ("chat_with_tools", "achat_with_tools", "chat")
    assert told["tools"] == atold["tools"] == [ADD]
    assert told["tools"][0] is ADD
    assert (told["tool_required"], told["allow_parallel_tool_calls"]) == (True, False)
    assert (atold.get("tool_required"), atold["allow_parallel_tool_calls"]) == (None, True)
    assert [message.content for message in told["chat_history"]] == ["?"]
    assert "tools" not in plain


def test_09_a_choice_that_a_model_has_no_argument_for_is_said_in_its_own_way() -> None:
    llm, calls = recorded()
    other = FunctionTool.from_defaults(lambda: 1, name="other", description="Another")
    for choice in ("none", "add", "auto", "required"):
        llm.chat_with_tools([ADD, other], user_msg="?", tool_choice=choice)
    (none, _), (named, one), (auto, both), (required, all_) = calls
    assert (none, named, auto, required) == ("chat", "chat_with_tools", "chat_with_tools", "chat_with_tools")
    assert (one["tools"], one["tool_required"]) == ([ADD], True)
    assert (both["tools"], both.get("tool_required")) == ([ADD, other], None)
    assert (all_["tools"], all_["tool_required"]) == ([ADD, other], True)


def calls_add(request: Any) -> ScriptedReply:
    if request.messages[-1].tool_results:
        return ScriptedReply("It is 42.")
    return ScriptedReply(tool_calls=(tool_call("add", a=17, b=25),))


@pytest.mark.parametrize("first", ["small", "strong"])
def test_09_a_conversation_goes_from_one_kind_of_target_to_the_other_and_back(first: str) -> None:
    """`small` is ours and `strong` LlamaIndex's: calls of the one are read by the other, by their blocks."""
    second = "strong" if first == "small" else "small"
    with serving(calls_add) as server:
        llm = routed("mixed", server)
        history = [ChatMessage(content="17 + 25?")]
        for target in (first, second, first):
            answer = llm.for_agent(target=target).chat_with_tools([ADD], chat_history=history)
            history.append(answer.message)
            (call,) = llm.get_tool_calls_from_response(answer)
            told = {"tool_call_id": call.tool_id}
            history.append(ChatMessage(role=MessageRole.TOOL, content="42", additional_kwargs=told))
            before = [message.model_copy(deep=True) for message in history]
            said = llm.for_agent(target=target).chat_with_tools([ADD], chat_history=history)
            assert said.message.content == "It is 42."
            assert history == before
            history += [said.message, ChatMessage(content="Again?")]
        last = server.requests[-1].body["messages"]
        turn = ["user", "assistant", "tool", "assistant"]
        assert [m["role"] for m in last] == [*turn, *turn, *turn[:3]]
        calls = [c for m in last for c in m.get("tool_calls") or ()]
        assert {c["function"]["name"] for c in calls} == {"add"}
        assert {c["function"]["arguments"] for c in calls} == {'{"a": 17, "b": 25}'}
        assert "agentroute" not in str(last)


def test_09_blocks_go_before_additional_kwargs() -> None:
    with serving(calls_add) as server:
        llm = routed("wire", server)
        message = ChatMessage(
            role=MessageRole.ASSISTANT,
            blocks=[ToolCallBlock(tool_call_id="1", tool_name="add", tool_kwargs={"a": 1, "b": 2})],
            additional_kwargs={"tool_calls": [object()]},
        )
        (call,) = llm.get_tool_calls_from_response(ChatResponse(message=message))
        assert call.tool_kwargs == {"a": 1, "b": 2}
        llm.chat([ChatMessage(content="?"), message, tool_result("1")])
        assert server.requests[0].body["messages"][1]["tool_calls"][0]["id"] == "1"


def tool_result(call_id: str, text: str = "42") -> ChatMessage:
    return ChatMessage(role=MessageRole.TOOL, content=text, additional_kwargs={"tool_call_id": call_id})


@pytest.mark.parametrize("kind", ["wire", "native"])
@pytest.mark.parametrize(
    "call",
    [
        {"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}},
        {"id": "1", "type": "tool_use", "name": "add", "input": {"a": 1}},
    ],
)
def test_09_calls_of_older_integrations_are_read_from_additional_kwargs(kind: str, call: dict[str, Any]) -> None:
    told = {"tool_calls": [call], "agentroute": {"target": "another", "decision": "d"}}
    message = ChatMessage(role=MessageRole.ASSISTANT, additional_kwargs=told)
    with serving(calls_add) as server:
        llm = routed(kind, server)
        (selection,) = llm.get_tool_calls_from_response(ChatResponse(message=message))
        assert (selection.tool_id, selection.tool_name, selection.tool_kwargs) == ("1", "add", {"a": 1})
        llm.chat([ChatMessage(content="?"), message, tool_result("1")])
        (sent,) = server.requests[0].body["messages"][1]["tool_calls"]
        assert (sent["id"], sent["function"]) == ("1", {"name": "add", "arguments": '{"a": 1}'})


def test_what_another_model_thought_is_not_shown_to_a_native_one() -> None:
    llm, calls = recorded()
    thought = ThinkingBlock(content="hm", additional_information={"signature": "c2ln", "origin": "anthropic/claude"})
    mark = {"agentroute": {"target": "gone", "decision": "d"}}
    message = ChatMessage(role=MessageRole.ASSISTANT, blocks=[thought, TextBlock(text="yes")], additional_kwargs=mark)
    own = ChatMessage(role=MessageRole.ASSISTANT, blocks=[thought, TextBlock(text="no")])
    llm.chat([ChatMessage(content="?"), message, ChatMessage(content="?"), own, ChatMessage(content="?")])
    (_, told) = calls[0]
    assert [block.block_type for block in told["messages"][1].blocks] == ["text"]
    assert told["messages"][1].additional_kwargs == {}
    assert told["messages"][3] is own
    assert message.blocks[0] is thought


def test_the_catalog_knows_a_ready_model() -> None:
    given = openai("http://127.0.0.1:1/v1", "sk-test", STRONG, max_retries=5)
    (target,) = RoutedLLM(targets=[given]).router.pool
    assert (target.name, target.provider, target.model) == (STRONG, "openai", STRONG)
    assert target.dialect == "native"
    assert target.tier is not None
    assert target.price is not None
    assert target.capabilities.tools
    assert target.context_window == given.metadata.context_window


def test_name_tier_and_price_of_ones_own() -> None:
    (target,), models = read_targets([native(MockLLM(), name="mine", tier="mid", price=FREE)])
    assert (target.name, target.tier, target.price) == ("mine", Tier.MID, FREE)
    assert target.capabilities.tools is False
    assert list(models) == ["mine"]


@pytest.mark.parametrize("reuse", [True, False])
def test_retries_are_the_chains_alone(reuse: bool) -> None:
    with serving("yes", fault=nth(1, Fault.error(429), model=SMALL)) as server:
        small, strong = ready(server, SMALL, max_retries=5, reuse_client=reuse), ready(server, STRONG)
        small._get_client()
        llm = RoutedLLM(targets={"small": small, "strong": strong})
        assert decision_of(llm.chat([ChatMessage(content="hello")])).target == "strong"  # type: ignore[union-attr]
        assert [request.model for request in server.requests] == [SMALL, STRONG]
        assert small.max_retries == 5
        assert not reuse or small._client.max_retries == 5  # type: ignore[union-attr]


def test_a_native_stream_says_what_it_used_unless_its_owner_settled_that() -> None:
    with serving("yes") as server:
        assert list(routed("native", server).stream_complete("hello"))
        assert server.requests[0].body["stream_options"] == {"include_usage": True}
        own: OpenAI = ready(server, additional_kwargs={"stream_options": {"include_usage": False}})
        assert list(made(RoutedLLM(targets=[own])).stream_complete("hello"))
        assert server.requests[1].body["stream_options"] == {"include_usage": False}


class Answering(MockLLM):
    """A native model whose answers are as they are given, `raw` and all."""

    answers: list[ChatResponse] = Field(default_factory=list)

    def chat(self, messages: Any, **kwargs: Any) -> ChatResponse:
        return self.answers[0]

    def stream_chat(self, messages: Any, **kwargs: Any) -> Any:
        yield from self.answers


def answering(*answers: ChatResponse) -> RoutedLLM:
    model = Answering()
    model.answers = list(answers)
    return RoutedLLM(targets=[native(model, name="own", tier="mid", price=FREE)])


def noted(raw: Any, **told: Any) -> ChatResponse:
    return ChatResponse(message=ChatMessage(role=MessageRole.ASSISTANT, content="noted"), raw=raw, **told)


class Closed(BaseModel):
    """An answer of an SDK that takes no further field."""

    id: str


@pytest.mark.parametrize("raw", [None, {"id": "1"}, Closed(id="1"), object()])
def test_a_decision_finds_room_in_any_answer(raw: Any) -> None:
    given = noted(raw)
    answer = answering(given).chat([ChatMessage(content="hello")])
    assert decision_of(answer).target == "own"  # type: ignore[union-attr]
    assert answer.raw is raw or answer.raw["agentroute"]
    assert (given.raw, given.additional_kwargs, given.message.additional_kwargs) == (raw, {}, {})
    assert decision_of(given) is None


def test_a_native_answer_is_handed_on_with_all_it_has() -> None:
    logprobs: Any = [[{"token": "a", "logprob": 0.5, "bytes": []}]]
    given = noted({"usage": {"input_tokens": 5, "output_tokens": 2, "cache_read_input_tokens": 3}}, logprobs=logprobs)
    answer = answering(given).chat([ChatMessage(content="hello")])
    assert answer.logprobs == given.logprobs
    assert decision_of(answer).usage == Usage(8, 2, 3)  # type: ignore[union-attr]


@pytest.mark.parametrize("last", [noted(None, delta=""), None])
def test_the_last_chunk_of_a_native_stream_has_the_decision(last: ChatResponse | None) -> None:
    whole = [noted(None, delta="noted"), *([last] if last else [])]
    chunks = list(answering(*whole).stream_chat([ChatMessage(content="hello")]))
    assert [chunk.delta for chunk in chunks] == ["noted", ""]
    assert [decision_of(chunk) is not None for chunk in chunks] == [False, True]
    assert chunks[-1].message.content == "noted"


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([MockLLM()], "tier="),
        ({"budget": native(MockLLM(), tier="premium")}, "one tier and its target another"),
        (["gpt-4.1"], "provider/model"),
        ([3], "LlamaIndex LLM"),
        ("gpt-4.1", "list"),
        (3, "list"),
        ([], "empty"),
        ([Target(provider="x", model="y", dialect="native")], "native"),
    ],
)
def test_what_is_no_pool_is_named(targets: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RoutedLLM(targets=targets)


def test_wrong_settings_are_named() -> None:
    with serving("yes") as server:
        targets = pool("native", server)
        with pytest.raises(ConfigError, match="either `router` or `targets`"):
            RoutedLLM()
        with pytest.raises(ConfigError, match="give an agentroute Router"):
            RoutedLLM(router=targets)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="no target is named 'smal'"):
            RoutedLLM(targets=targets, target_kwargs={"smal": {}})
        router = RoutedLLM(targets=targets).router
        assert RoutedLLM(router=router).models == router.models
        other = NativeTarget("no LLM", Target(name="odd", provider="x", model="y", dialect="native", tier="mid"))
        with pytest.raises(ConfigError, match="target 'odd' is a ready str; here only a LLM"):
            RoutedLLM(router=Router([other]))
        with pytest.raises(ConfigError, match="no setting 'temprature'; did you mean 'temperature'"):
            RoutedLLM(targets=targets, temprature=1)
        with pytest.raises(ConfigError, match="`models` is no setting; give ready LLMs in `targets`"):
            RoutedLLM(router=router, models={})
        with pytest.raises(ConfigError, match=r"`strategy` is given beside a router, which has its own"):
            RoutedLLM(router=router, strategy="best")
        own = RoutedLLM(targets=targets, strategy="best", baseline="small", deadline_s=5).router
        assert (own.strategy, own.baseline.name) == ("best", "small")
