"""Single calls: fallback, what a cut leaves behind, cancellation, abandonment, pins, options, provenance."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from langchain_agentroute import RoutedChatModel, decision_of, native
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.runnables import RunnableLambda
from langgraph.graph import END, START, MessagesState, StateGraph

from agentroute import (
    AllAttemptsFailed,
    ConfigError,
    InvalidRequest,
    Price,
    ProviderTimeout,
    RequestError,
    Router,
    StreamInterrupted,
    Target,
)
from agentroute.failover.effects import Timeouts
from agentroute.native.targets import NativeTarget, wrapped
from agentroute.testing import Fault, ScriptedProvider, nth

from .pools import POOLS, SMALL, STRONG, Runs, pool, ready

pytestmark = pytest.mark.requires("langchain", "langchain_openai")

ANSWER = "The quick brown fox jumps over the lazy dog."
TO_SMALL: Any = {"configurable": {"agentroute": {"strategy": "cheapest"}}}


def serve(fault: Any = None, answer: str = ANSWER) -> ScriptedProvider:
    return ScriptedProvider(answer, fault=fault, provider="openai", chunk_characters=8)


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with serve() as running:
        yield running


def read(chunks: Iterable[Any]) -> tuple[str, StreamInterrupted]:
    """The text of a stream that breaks off, and the error it ends with."""
    seen = ""
    try:
        for chunk in chunks:
            seen += str(chunk.text)
    except StreamInterrupted as error:
        return seen, error
    raise AssertionError(f"the stream did not break off; it said {seen!r}")


@pytest.mark.parametrize("kind", POOLS)
class TestFailover:
    def test_a_rate_limit_falls_over_and_each_attempt_is_traced(self, kind: str) -> None:
        with serve(nth(1, Fault.error(429), model=SMALL)) as provider:
            model = RoutedChatModel(targets=pool(kind, provider))
            runs, usage = Runs(), UsageMetadataCallbackHandler()
            message = model.invoke("hello", {**TO_SMALL, "callbacks": [runs, usage]})
            model.router.close()
        assert message.text == ANSWER
        decision = decision_of(message)
        assert decision is not None
        assert [(a.target, a.outcome, a.error) for a in decision.attempts] == [
            ("small", "failed", "RateLimited"),
            ("strong", "ok", None),
        ]
        assert [(r["metadata"]["ls_model_name"], r["metadata"]["agentroute_attempt"]) for r in runs.llm] == [
            (SMALL, 1),
            (STRONG, 2),
        ]
        assert [r["end"] == "ok" for r in runs.llm] == [False, True]
        assert list(usage.usage_metadata) == [STRONG]
        # One attempt each: the SDK below did not retry by itself.
        assert [request.model for request in provider.requests] == [SMALL, STRONG]

    def test_a_stream_falls_over_before_its_first_content(self, kind: str) -> None:
        with serve(nth(1, Fault.cut_before_content(), model=SMALL)) as provider:
            model = RoutedChatModel(targets=pool(kind, provider))
            chunks = list(model.stream("hello", TO_SMALL))
            model.router.close()
        assert "".join(str(chunk.text) for chunk in chunks) == ANSWER
        assert len({chunk.id for chunk in chunks}) == 1
        whole = chunks[0]
        for chunk in chunks[1:]:
            whole = whole + chunk
        assert whole.response_metadata["model_name"] == STRONG
        assert decision_of(whole).target == "strong"  # type: ignore[union-attr]

    def test_nothing_follows_a_cut_after_the_first_content(self, kind: str) -> None:
        with serve(nth(1, Fault.cut_after(2), model=SMALL)) as provider:
            model = RoutedChatModel(targets=pool(kind, provider))
            seen, error = read(model.stream("hello", TO_SMALL))
            model.router.close()
        assert seen == ANSWER[:16]
        assert error.partial is not None
        assert error.partial.text == seen
        assert error.decision is not None
        assert error.decision.outcome == "interrupted"
        assert [request.model for request in provider.requests] == [SMALL]

    def test_nothing_follows_text_that_langgraph_has_shown(self, kind: str) -> None:
        """The node invokes, LangGraph streams underneath: its reader has seen text, so no other model may answer."""
        with serve(nth(1, Fault.cut_after(2), model=SMALL)) as provider:
            model = RoutedChatModel(targets=pool(kind, provider))
            graph = StateGraph(MessagesState)
            graph.add_node("ask", lambda state: {"messages": [model.invoke(state["messages"], TO_SMALL)]})
            graph.add_edge(START, "ask").add_edge("ask", END)
            shown = graph.compile().stream({"messages": [("user", "hi")]}, stream_mode="messages")
            seen, error = read(chunk for chunk, _ in shown)
            model.router.close()
        assert seen == ANSWER[:16]
        assert error.partial is not None
        assert error.partial.text == seen
        assert [request.model for request in provider.requests] == [SMALL]

    def test_an_interface_that_can_start_over_gets_the_other_models_answer(self, kind: str) -> None:
        """`on_partial="restart"`: its reader drops the message that broke off, by its id, when another one begins."""
        with serve(nth(1, Fault.cut_after(2), model=SMALL)) as provider:
            model = RoutedChatModel(targets=pool(kind, provider), on_partial="restart")
            graph = StateGraph(MessagesState)
            graph.add_node("ask", lambda state: {"messages": [model.invoke(state["messages"], TO_SMALL)]})
            graph.add_edge(START, "ask").add_edge("ask", END)
            shown: dict[str, str] = {}
            for chunk, _ in graph.compile().stream({"messages": [("user", "hi")]}, stream_mode="messages"):
                shown[chunk.id] = shown.get(chunk.id, "") + str(chunk.text)
            model.router.close()
        assert [text for text in shown.values() if text] == [ANSWER[:16], ANSWER]
        assert [request.model for request in provider.requests] == [SMALL, STRONG]

    def test_all_failed(self, kind: str) -> None:
        with serve(Fault.error(503)) as provider:
            model = RoutedChatModel(targets=pool(kind, provider))
            runs = Runs()
            with pytest.raises(AllAttemptsFailed) as caught:
                model.invoke("hello", {**TO_SMALL, "callbacks": [runs]})
            model.router.close()
        assert [a.target for a in caught.value.attempts] == ["small", "strong", "strong"]
        assert [run["end"] for run in runs.named("RoutedChatModel")] == ["AllAttemptsFailed"]
        (record,) = model.router.ledger.decisions  # type: ignore[attr-defined]
        assert record.outcome == "failed"

    def test_a_wrong_request_comes_back_at_once(self, kind: str) -> None:
        with serve(Fault.error(400, message="bad value")) as provider:
            model = RoutedChatModel(targets=pool(kind, provider))
            with pytest.raises(InvalidRequest, match="bad value"):
                model.invoke("hello", TO_SMALL)
            model.router.close()
        assert len(provider.requests) == 1

    def test_an_abandoned_stream_ends_its_runs_and_leaves_a_record(self, kind: str) -> None:
        with serve() as provider:
            model = RoutedChatModel(targets=pool(kind, provider))
            runs = Runs()
            stream = model.stream("hello", {**TO_SMALL, "callbacks": [runs]})
            while not next(stream).text:
                pass
            stream.close()  # type: ignore[attr-defined]
            model.router.close()
        (record,) = model.router.ledger.decisions  # type: ignore[attr-defined]
        assert (record.target, record.outcome) == ("small", "abandoned")
        assert all(run["end"] is not None for run in runs.runs.values())
        assert [run["end"] for run in runs.named("RoutedChatModel")] == ["ok"]

    async def test_an_abandoned_stream_on_a_loop(self, kind: str) -> None:
        with serve() as provider:
            model = RoutedChatModel(targets=pool(kind, provider))
            runs = Runs()
            stream = model.astream("hello", {**TO_SMALL, "callbacks": [runs]})
            while not (await anext(stream)).text:
                pass
            await stream.aclose()  # type: ignore[attr-defined]
            await model.router.aclose()
        (record,) = model.router.ledger.decisions  # type: ignore[attr-defined]
        assert (record.target, record.outcome) == ("small", "abandoned")
        assert all(run["end"] is not None for run in runs.runs.values())

    @pytest.mark.parametrize("streamed", [False, True])
    async def test_a_cancelled_call_leaves_a_record(self, kind: str, streamed: bool) -> None:
        with serve(Fault.stall(after_chunks=2)) as provider:
            model = RoutedChatModel(targets=pool(kind, provider))
            seen: list[str] = []

            async def call() -> None:
                if not streamed:
                    await model.ainvoke("hello", TO_SMALL)
                async for chunk in model.astream("hello", TO_SMALL):
                    seen.append(str(chunk.text))

            task = asyncio.create_task(call())
            while not provider.requests or (streamed and "".join(seen) != ANSWER[:16]):
                await asyncio.sleep(0.01)
            # LangChain's own stream loses a cancellation that arrives together with a chunk.
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await model.router.aclose()
        (record,) = model.router.ledger.decisions  # type: ignore[attr-defined]
        assert (record.target, record.outcome) == ("small", "cancelled")
        assert [request.model for request in provider.requests] == [SMALL]


async def test_an_abandoned_stream_leaves_no_connection_to_the_collector() -> None:
    """LangChain leaves its inner generators to be collected; the one that holds our connection is closed before."""
    left: list[str] = []
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(finalizer=lambda agen: left.append(agen.ag_code.co_filename))
    with serve() as provider:
        model = RoutedChatModel(targets=pool("wire", provider))
        stream = model.astream("hello", TO_SMALL)
        while not (await anext(stream)).text:
            pass
        await stream.aclose()  # type: ignore[attr-defined]
        sys.set_asyncgen_hooks(*hooks)
        await model.router.aclose()
    assert left
    assert not [file for file in left if "agentroute/transport" in file]


class TestErrorsOfOurOwn:
    @pytest.mark.parametrize("error", [TypeError, ValueError, KeyError])
    def test_our_own_mistakes_never_fail_over(self, provider: ScriptedProvider, error: type[Exception]) -> None:
        class Broken(GenericFakeChatModel):
            def _generate(self, *args: Any, **kwargs: Any) -> Any:
                raise error("a bug")

        model = RoutedChatModel(
            targets={
                "budget": native(Broken(messages=iter(())), price=Price(0, 0)),
                "premium": ready(provider, STRONG),
            }
        )
        with pytest.raises(error, match="a bug"):
            model.invoke("hello", TO_SMALL)
        assert provider.requests == ()
        (record,) = model.router.ledger.decisions  # type: ignore[attr-defined]
        assert (record.outcome, record.attempts[0].error) == ("failed", error.__name__)

    def test_an_argument_the_sdk_does_not_know_is_an_error(self, provider: ScriptedProvider) -> None:
        model = RoutedChatModel(targets=pool("native", provider))
        with pytest.raises(TypeError, match="nonsense"):
            model.invoke("hello", TO_SMALL, nonsense=1)
        assert provider.requests == ()


class TestPolicy:
    @pytest.mark.parametrize(
        ("given", "target"),
        [({"target": "strong"}, "strong"), ({"tier": "budget"}, "small"), ({"max_cost": 0.0001}, "small")],
    )
    def test_one_call_can_be_told(self, provider: ScriptedProvider, given: dict[str, Any], target: str) -> None:
        model = RoutedChatModel(targets=pool("native", provider))
        message = model.invoke("hello", {"configurable": {"agentroute": given}})
        assert decision_of(message).target == target  # type: ignore[union-attr]

    def test_an_unknown_key_is_named(self, provider: ScriptedProvider) -> None:
        model = RoutedChatModel(targets=pool("native", provider))
        with pytest.raises(ConfigError, match="'max_teir'"):
            model.invoke("hello", {"configurable": {"agentroute": {"max_teir": "mid"}}})

    @pytest.mark.parametrize("name", ["strong", STRONG])
    def test_model_is_a_pin_by_target_or_model_name(self, provider: ScriptedProvider, name: str) -> None:
        model = RoutedChatModel(targets=pool("native", provider))
        assert model.invoke("hello", model=name).response_metadata["model_name"] == STRONG

    def test_the_policy_goes_through_a_chain(self, provider: ScriptedProvider) -> None:
        chain = RunnableLambda(lambda text: [("user", text)]) | RoutedChatModel(targets=pool("native", provider))
        message = chain.invoke("hello", {"configurable": {"agentroute": {"target": "strong"}}})
        assert decision_of(message).target == "strong"  # type: ignore[union-attr]


class TestSettings:
    @pytest.mark.parametrize("kind", POOLS)
    def test_sampling_reaches_every_target(self, kind: str, provider: ScriptedProvider) -> None:
        model = RoutedChatModel(
            targets=pool(kind, provider),
            temperature=0.5,
            max_tokens=7,
            stop=["END"],
            target_kwargs={"strong": {"seed": 3}},
        )
        for target in ("small", "strong"):
            model.invoke("hello", {"configurable": {"agentroute": {"target": target}}}, top_p=0.9)
        model.router.close()
        for request in provider.requests:
            body = request.body
            assert (body["temperature"], body["top_p"], body["stop"]) == (0.5, 0.9, ["END"])
            assert body.get("max_completion_tokens", body.get("max_tokens")) == 7
            assert body.get("seed") == (3 if request.model == STRONG else None)

    def test_what_only_anthropic_knows_is_not_sent_to_openai_and_said(self, provider: ScriptedProvider) -> None:
        model = RoutedChatModel(targets=pool("native", provider))
        message = model.invoke("hello", thinking={"type": "enabled"}, seed=1)
        (request,) = provider.requests
        assert "thinking" not in request.body
        assert request.body["seed"] == 1
        assert any("thinking" in warning for warning in decision_of(message).warnings)  # type: ignore[union-attr]

    @pytest.mark.parametrize("kind", POOLS)
    def test_streaming_can_be_switched_off(self, kind: str, provider: ScriptedProvider) -> None:
        model = RoutedChatModel(targets=pool(kind, provider), disable_streaming=True)
        assert [m.text for m in model.stream("hello")] == [ANSWER]
        model.router.close()
        assert [request.stream for request in provider.requests] == [False]

    @pytest.mark.parametrize("kind", POOLS)
    def test_streaming_can_be_switched_on_for_invoke(self, kind: str, provider: ScriptedProvider) -> None:
        model = RoutedChatModel(targets=pool(kind, provider), streaming=True)
        assert model.invoke("hello").text == ANSWER
        model.router.close()
        assert [request.stream for request in provider.requests] == [True]

    def test_the_rate_limiter_is_asked_before_each_attempt(self) -> None:
        class Counted(InMemoryRateLimiter):
            asked = 0

            def acquire(self, *, blocking: bool = True) -> bool:
                self.asked += 1
                return True

        limiter = Counted()
        with serve(nth(1, Fault.error(429), model=SMALL)) as provider:
            RoutedChatModel(targets=pool("native", provider), rate_limiter=limiter).invoke("hello", TO_SMALL)
        assert limiter.asked == 2

    @pytest.mark.parametrize("kind", POOLS)
    def test_output_version_reaches_the_target(self, kind: str, provider: ScriptedProvider) -> None:
        model = RoutedChatModel(targets=pool(kind, provider), output_version="v1")
        assert model.invoke("hello").content == [{"type": "text", "text": ANSWER}]
        model.router.close()

    def test_batch_and_generate_route_each_prompt(self, provider: ScriptedProvider) -> None:
        model = RoutedChatModel(targets=pool("native", provider))
        assert [m.text for m in model.batch(["one", "two"])] == [ANSWER, ANSWER]
        result = model.generate([[HumanMessage("one")], [HumanMessage("two")]])
        ids = {decision_of(g[0].message).id for g in result.generations}  # type: ignore[union-attr]
        assert len(ids) == 2
        assert len(provider.requests) == 4

    def test_token_counts_need_no_tokenizer(self, provider: ScriptedProvider) -> None:
        model = RoutedChatModel(targets=pool("native", provider))
        assert model.get_num_tokens_from_messages([HumanMessage("x" * 400)]) == pytest.approx(100, abs=15)
        assert model.get_num_tokens("x" * 400) == 100

    def test_router_or_targets_and_never_both(self, provider: ScriptedProvider) -> None:
        targets = pool("wire", provider)
        router = RoutedChatModel(targets=targets).router
        assert RoutedChatModel(router=router).router is router
        for wrong in ({}, {"router": router, "targets": targets}):
            with pytest.raises(ConfigError, match="either `router` or `targets`"):
                RoutedChatModel(**wrong)
        ready = RoutedChatModel(targets=pool("native", provider)).router
        assert RoutedChatModel(router=ready).models == ready.models
        other = NativeTarget("no model", Target(name="odd", provider="x", model="y", dialect="native", tier="mid"))
        with pytest.raises(ConfigError, match="target 'odd' is a ready str; here only a BaseChatModel"):
            RoutedChatModel(router=Router([other]))
        with pytest.raises(ConfigError, match="no setting 'temprature'; did you mean 'temperature'"):
            RoutedChatModel(router=router, temprature=1)
        with pytest.raises(ConfigError, match="`models` is no setting; give ready models in `targets`"):
            RoutedChatModel(router=router, models={})
        with pytest.raises(ConfigError, match="`strategy` is given beside a router, which has its own"):
            RoutedChatModel(router=router, strategy="best")
        with pytest.raises(ConfigError, match="'smal'"):
            RoutedChatModel(router=router, target_kwargs={"smal": {}})


class TestHistory:
    def test_what_another_family_wrote_is_sent_as_text_and_calls(self, provider: ScriptedProvider) -> None:
        model = RoutedChatModel(targets=pool("native", provider))
        thought: Any = {"type": "thinking", "thinking": "hm", "signature": "s"}
        foreign = AIMessage(
            [thought, {"type": "text", "text": "It is 4."}],
            tool_calls=[{"name": "add", "args": {"a": 2}, "id": "c1"}],
            response_metadata={"agentroute": {"target": "gone"}, "model_provider": "anthropic"},
        )
        history = [HumanMessage("2+2"), foreign, ToolMessage("4", tool_call_id="c1")]
        before = [message.model_copy(deep=True) for message in history]
        model.invoke(history, TO_SMALL)
        (request,) = provider.requests
        sent = request.body["messages"][1]
        assert "hm" not in str(sent)
        assert sent["content"] == "It is 4."
        assert [c["id"] for c in sent["tool_calls"]] == ["c1"]
        assert history == before

    @pytest.mark.parametrize("kind", ["wire", "native"])
    def test_the_input_is_never_changed(self, kind: str, provider: ScriptedProvider) -> None:
        model = RoutedChatModel(targets=pool(kind, provider))
        history = [SystemMessage("Be brief."), HumanMessage("hi"), AIMessage("hello"), HumanMessage("again")]
        before = [message.model_copy(deep=True) for message in history]
        answer = model.invoke(history)
        model.invoke([*history, answer, HumanMessage("more")])
        model.router.close()
        assert history == before

    def test_a_failed_tool_is_seen_as_one(self, provider: ScriptedProvider) -> None:
        model = RoutedChatModel(targets=pool("wire", provider))
        call = AIMessage("", tool_calls=[{"name": "read", "args": {}, "id": "c1"}])
        message = model.invoke([HumanMessage("go"), call, ToolMessage("ok", tool_call_id="c1", status="error")])
        assert decision_of(message).step_kind.value == "after_error"  # type: ignore[union-attr]
        model.router.close()

    def test_a_part_no_wire_target_can_be_sent_is_named(self, provider: ScriptedProvider) -> None:
        model = RoutedChatModel(targets=pool("wire", provider))
        video: Any = [{"type": "video", "base64": "AAAA", "mime_type": "video/mp4"}]
        with pytest.raises(RequestError, match="message 0 has a part of type 'video'"):
            model.invoke([HumanMessage(video)])


def test_decision_of_another_message_is_none() -> None:
    assert decision_of(AIMessage("hi")) is None
    assert decision_of(AIMessageChunk("hi")) is None


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_a_ready_model_is_held_to_the_time_limits_on_an_event_loop(stream: bool) -> None:
    """A stalled target is given up in time, and the next one answers."""

    async def go() -> tuple[str, Any]:
        with serve(nth(1, Fault.stall(), model=SMALL)) as provider:
            limits = Timeouts(first_content=0.3, whole_answer=0.3)
            model = RoutedChatModel(router=Router(wrapped(pool("native", provider), native), timeouts=limits))
            text = ""
            if stream:
                async for chunk in model.astream("hello", TO_SMALL):
                    text += str(chunk.text)
            else:
                text = str((await model.ainvoke("hello", TO_SMALL)).text)
            (decision,) = model.router.ledger.decisions  # type: ignore[attr-defined]
            return text, decision

    text, decision = asyncio.run(go())
    assert text == ANSWER
    assert [(a.target, a.error) for a in decision.attempts] == [("small", "ProviderTimeout"), ("strong", None)]


def test_text_shown_by_langgraph_holds_though_the_answer_has_no_end() -> None:
    """An answer that ends without a finish reason broke off, and its reader has seen it."""
    half = b'data: {"id":"x","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"Half"}}]}\n\n'
    count = b'data: {"id":"x","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}\n\n'
    unfinished = Fault.raw(half + count + b"data: [DONE]\n\n", content_type="text/event-stream")
    with serve(nth(1, unfinished, model=SMALL)) as provider:
        model = RoutedChatModel(targets=pool("native", provider))
        graph = StateGraph(MessagesState)
        graph.add_node("ask", lambda state: {"messages": [model.invoke(state["messages"], TO_SMALL)]})
        graph.add_edge(START, "ask").add_edge("ask", END)
        shown = graph.compile().stream({"messages": [("user", "hi")]}, stream_mode="messages")
        seen, error = read(chunk for chunk, _ in shown)
        model.router.close()
    assert seen == "Half"
    assert [request.model for request in provider.requests] == [SMALL]
    assert error.decision is not None
    assert error.decision.outcome == "interrupted"
    assert error.decision.usage is not None
    assert (error.decision.usage.input_tokens, error.decision.usage.output_tokens) == (10, 5)


def test_empty_chunks_do_not_begin_the_time_for_the_first_content_anew() -> None:
    class Slow(GenericFakeChatModel):
        async def _astream(self, *_: Any, **__: Any) -> Any:
            for _ in range(40):
                await asyncio.sleep(0.05)
                yield ChatGenerationChunk(message=AIMessageChunk(content=""))
            yield ChatGenerationChunk(message=AIMessageChunk(content="late"))

    async def go() -> Any:
        slow = native(Slow(messages=iter(())), name="slow", tier="budget")
        model = RoutedChatModel(router=Router([slow], timeouts=Timeouts(first_content=0.2)))
        with pytest.raises(ProviderTimeout, match="first_content"):
            async for _ in model.astream("hello"):
                pass

    asyncio.run(go())
