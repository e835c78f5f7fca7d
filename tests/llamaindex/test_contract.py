"""What LlamaIndex expects of an LLM that calls functions: the eight methods, tools, streams, metadata."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole, ToolCallBlock
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.llms.function_calling import FunctionCallingLLM, _supports_tool_required
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index.llms.agentroute import RoutedLLM, decision_of, native
from pydantic import BaseModel, Field

from agentroute import Capabilities, NoCandidateError
from agentroute.messages import ChatRequest
from agentroute.testing import Fault, ScriptedReply, nth, tool_call

from .pools import CALLS, POOLS, SMALL, STRONG, call, chunks, index, made, ready, routed, said, serving

pytestmark = pytest.mark.requires("llama_index")

ANSWER = "The quick brown fox jumps over the lazy dog."


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


ADD = FunctionTool.from_defaults(add)


def calls_add(request: ChatRequest) -> ScriptedReply:
    return ScriptedReply(tool_calls=(tool_call("add", a=17, b=25),))


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize("method", CALLS)
async def test_01_each_of_the_eight_calls_answers(kind: str, method: str) -> None:
    with serving(ANSWER) as server:
        llm = routed(kind, server)
        answers = await chunks(llm, method)
        assert said(answers[-1]) == ANSWER
        if "stream" in method:
            assert len(answers) > 2
            assert "".join(answer.delta for answer in answers) == ANSWER
            assert [said(answer) for answer in answers] == sorted((said(answer) for answer in answers), key=len)
        (decision,) = llm.router.ledger.decisions
        assert decision_of(answers[-1]) == decision
        assert (decision.target, decision.outcome) == ("small", "ok")
        assert [request.model for request in server.requests] == [SMALL]


def test_01_it_is_a_function_calling_llm_and_takes_tool_required() -> None:
    assert issubclass(RoutedLLM, FunctionCallingLLM)
    assert _supports_tool_required(RoutedLLM, True)
    assert "tool_choice" in inspect.signature(RoutedLLM._prepare_chat_with_tools).parameters


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize("method", ["chat", "achat", "stream_chat", "astream_chat"])
async def test_01_tools_are_called_in_each_way(kind: str, method: str) -> None:
    with serving(calls_add) as server:
        llm = routed(kind, server)
        given = getattr(llm, f"{method}_with_tools")([ADD], user_msg="17 + 25?")
        given = await given if method.startswith("a") else given
        if method == "stream_chat":
            given = list(given)[-1]
        elif method == "astream_chat":
            given = [chunk async for chunk in given][-1]
        (selection,) = llm.get_tool_calls_from_response(given)
        assert (selection.tool_name, selection.tool_kwargs) == ("add", {"a": 17, "b": 25})
        assert selection.tool_id.startswith("call_")


@pytest.mark.parametrize("arguments", ["", "{", '{"a', '{"a": 1, "b', '{"a": 1} and more', "[1]", "[" * 100_000])
def test_01_half_a_call_is_no_error(arguments: str) -> None:
    message = ChatMessage(
        role=MessageRole.ASSISTANT, blocks=[ToolCallBlock(tool_call_id="1", tool_name="add", tool_kwargs=arguments)]
    )
    llm = RoutedLLM(targets={"budget": ready_target()})
    (selection,) = llm.get_tool_calls_from_response(ChatResponse(message=message))
    assert isinstance(selection.tool_kwargs, dict)


def ready_target(**facts: Any) -> Any:
    from agentroute import Target

    return Target(provider="x", model="m", **facts)


def test_01_no_call_is_an_error_only_where_it_is_asked_to_be() -> None:
    llm = RoutedLLM(targets={"budget": ready_target()})
    said_only = ChatResponse(message=ChatMessage(role=MessageRole.ASSISTANT, content="no"))
    assert llm.get_tool_calls_from_response(said_only, error_on_no_tool_call=False) == []
    with pytest.raises(ValueError, match="Expected at least one tool call"):
        llm.get_tool_calls_from_response(said_only)


def test_01_the_callers_history_is_not_changed() -> None:
    with serving(calls_add) as server:
        history = [ChatMessage(content="17 + 25?")]
        routed("wire", server).chat_with_tools([ADD], user_msg="Do it", chat_history=history)
        assert history == [ChatMessage(content="17 + 25?")]
        assert [message["content"] for message in server.requests[0].body["messages"]] == ["17 + 25?", "Do it"]


def test_01_one_call_is_kept_where_one_is_allowed() -> None:
    two = ScriptedReply(tool_calls=(tool_call("add", a=1, b=2), tool_call("add", a=3, b=4)))
    with serving(two) as server:
        llm = routed("wire", server)
        one = llm.chat_with_tools([ADD], user_msg="?")
        assert [s.tool_kwargs for s in llm.get_tool_calls_from_response(one)] == [{"a": 1, "b": 2}]
        both = llm.chat_with_tools([ADD], user_msg="?", allow_parallel_tool_calls=True)
        assert len(llm.get_tool_calls_from_response(both)) == 2


def test_02_it_says_that_it_chats_and_calls_functions() -> None:
    metadata = RoutedLLM(targets={"budget": ready_target()}).metadata
    assert metadata.is_chat_model
    assert metadata.is_function_calling_model
    none = ready_target(capabilities=Capabilities(tools=False))
    assert not RoutedLLM(targets={"budget": none}).metadata.is_function_calling_model


def test_02_with_tools_only_targets_that_can_call_them() -> None:
    with serving(calls_add) as server:
        mute = server.target(name="mute", model=SMALL, capabilities=Capabilities(tools=False))
        llm = made(RoutedLLM(targets=[mute, server.target(name="able", model=STRONG)]))
        assert decision_of(llm.chat([ChatMessage(content="hello")])).target == "mute"  # type: ignore[union-attr]
        decision = decision_of(llm.chat_with_tools([ADD], user_msg="hello"))
        assert decision is not None
        assert decision.target == "able"
        assert [dropped.target for dropped in decision.dropped] == ["mute"]
        alone = made(RoutedLLM(targets=[mute]))
        with pytest.raises(NoCandidateError, match="tools"):
            alone.chat_with_tools([ADD], user_msg="hello")


@pytest.mark.parametrize("kind", POOLS)
def test_03_streamed_calls_stand_in_additional_kwargs_too(kind: str) -> None:
    with serving(calls_add) as server:
        seen = list(routed(kind, server).stream_chat_with_tools([ADD], user_msg="17 + 25?"))
        called = [chunk for chunk in seen if any(isinstance(block, ToolCallBlock) for block in chunk.message.blocks)]
        assert len(called) > 2
        assert all(isinstance(chunk.message.additional_kwargs["tool_calls"], list) for chunk in called)
        assert called[-1] is seen[-1]


class Sum(BaseModel):
    """A sum."""

    a: int
    b: int


def calls_sum(request: ChatRequest) -> ScriptedReply:
    return ScriptedReply(tool_calls=(tool_call("Sum", a=17, b=25),))


@pytest.mark.parametrize("kind", POOLS)
async def test_03_structured_output_streams(kind: str) -> None:
    prompt = PromptTemplate("17 + 25?")
    with serving(calls_sum) as server:
        llm = routed(kind, server)
        assert list(llm.stream_structured_predict(Sum, prompt))[-1] == Sum(a=17, b=25)
        arriving = await llm.astream_structured_predict(Sum, prompt)
        assert [part async for part in arriving][-1] == Sum(a=17, b=25)
        assert llm.structured_predict(Sum, prompt) == Sum(a=17, b=25)
        assert await llm.astructured_predict(Sum, prompt) == Sum(a=17, b=25)
        assert llm.as_structured_llm(Sum).complete("17 + 25?").raw == Sum(a=17, b=25)


class Events(BaseEventHandler):
    """The names of all events, in order."""

    names: list[str] = Field(default_factory=list)
    events: list[Any] = Field(default_factory=list)

    def handle(self, event: Any, **_: Any) -> None:
        self.names.append(type(event).__name__)
        self.events.append(event)


@pytest.fixture
def events() -> Any:
    handler = Events()
    root = get_dispatcher()
    root.add_event_handler(handler)
    yield handler
    root.event_handlers.remove(handler)


@pytest.mark.parametrize("method", CALLS)
async def test_04_a_call_emits_its_own_events_once(method: str, events: Events) -> None:
    with serving(ANSWER) as server:
        debug = LlamaDebugHandler(print_trace_on_end=False)
        llm = routed("wire", server, callback_manager=CallbackManager([debug]))
        await call(llm, method)
    what = "Completion" if "complete" in method else "Chat"
    own = [name for name in events.names if name.startswith("LLM") and "InProgress" not in name]
    assert own == [f"LLM{what}StartEvent", f"LLM{what}EndEvent"]
    assert decision_of(events.events[-1]) == llm.router.ledger.decisions[0]
    assert len(debug.get_event_pairs(CBEventType.LLM)) == 1
    assert debug.get_llm_inputs_outputs()


@pytest.mark.parametrize("method", CALLS)
async def test_04_a_native_models_own_events_are_told_apart_by_their_tags(method: str, events: Events) -> None:
    with serving(ANSWER) as server:
        await call(routed("native", server), method)
    started = [event for event in events.events if type(event).__name__.endswith("StartEvent")]
    assert [event.tags for event in started if event.class_name().startswith("LLM")] == [
        {},
        {"agentroute_target": "small", "agentroute_attempt": 1},
    ]


def test_04_the_tags_count_every_attempt(events: Events) -> None:
    with serving(ANSWER, fault=nth(1, Fault.error(503), model=SMALL)) as server:
        routed("mixed", server).complete("hello")
    (tags,) = (event.tags for event in events.events if type(event).__name__ == "LLMChatStartEvent")
    assert tags == {"agentroute_target": "strong", "agentroute_attempt": 2}


def test_04_a_failed_call_says_so_in_its_events() -> None:
    debug = LlamaDebugHandler(print_trace_on_end=False)
    with serving(ANSWER) as server:
        llm = routed("wire", server, callback_manager=CallbackManager([debug]))
        for asked in (llm.chat, lambda messages: list(llm.stream_chat(messages))):
            with pytest.raises(ValueError, match="empty"):
                asked([])
    payloads = [end.payload for _, end in debug.get_event_pairs(CBEventType.LLM)]
    assert [str(payload["exception"]) for payload in payloads if payload] == [
        "`messages` is empty; give at least one message"
    ] * 2


@pytest.mark.parametrize("kind", ["wire", "native"])
@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({}, ("auto", False)),
        ({"allow_parallel_tool_calls": True}, ("auto", True)),
        ({"tool_required": True}, ("required", False)),
        ({"tool_choice": "none"}, ("none", False)),
        ({"tool_choice": "add"}, ({"type": "function", "function": {"name": "add"}}, False)),
    ],
)
def test_04_choice_and_parallel_calls_are_forwarded(kind: str, given: dict[str, Any], sent: Any) -> None:
    with serving(calls_add) as server:
        routed(kind, server).chat_with_tools([ADD], user_msg="17 + 25?", **given)
        body = server.requests[0].body
        assert (body["tool_choice"], body["parallel_tool_calls"]) == sent
        assert body["tools"][0]["function"]["parameters"]["additionalProperties"] is False


def test_07_the_window_is_the_largest_one() -> None:
    targets = {
        "budget": ready_target(context_window=700),
        "mid": ready_target(context_window=9_000),
        "premium": ready_target(),
    }
    assert RoutedLLM(targets=targets).metadata.context_window == 9_000
    assert RoutedLLM(targets={"mid": ready_target()}).metadata.context_window == 3_900
    assert RoutedLLM(targets={"mid": ready_target()}, max_tokens=50).metadata.num_output == 50


def test_07_what_does_not_fit_goes_to_a_target_where_it_does() -> None:
    texts = tuple(f"Text {n}. " + "The river is long and its mouth is wide. " * 20 for n in range(4))
    with serving(ANSWER) as server:
        small = server.target(name="small", model=SMALL, context_window=700)
        llm = made(RoutedLLM(targets=[small, server.target(name="large", model=STRONG, context_window=20_000)]))
        assert str(index(texts).as_query_engine(llm=llm, similarity_top_k=4).query("Why?")) == ANSWER
        (decision,) = llm.router.ledger.decisions
        assert decision.target == "large"
        assert [(d.target, "700" in d.reason) for d in decision.dropped] == [("small", True)]
        assert decision_of(llm.complete("hello")).target == "small"  # type: ignore[union-attr]


def test_07_a_native_model_tells_its_own_window() -> None:
    with serving(ANSWER) as server:
        llm = RoutedLLM(targets=[native(ready(server, SMALL), name="own")])
        assert llm.metadata.context_window == ready(server, SMALL).metadata.context_window
