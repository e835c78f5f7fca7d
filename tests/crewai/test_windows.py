"""Sizes: what CrewAI is told of the window, and what it does with it."""

from __future__ import annotations

import logging

import pytest
from crewai import Crew
from crewai.tools import tool
from crewai_agentroute import RoutedLLM

from agentroute import Capabilities, ChatRequest, Target
from agentroute.testing import ScriptedReply, tool_call

from .crews import ADD, SMALL, agent, made, ready, routed, serving, task


def test_r10_85_percent_of_the_largest_window() -> None:
    small = Target(provider="mine", model="a", tier="budget", context_window=10_000, base_url="http://127.0.0.1:1/v1")
    large = Target(provider="mine", model="b", tier="mid", context_window=200_000, base_url="http://127.0.0.1:1/v1")
    unknown = Target(provider="mine", model="c", tier="mid", base_url="http://127.0.0.1:1/v1")
    assert RoutedLLM(targets=[small, large, unknown]).get_context_window_size() == 170_000
    assert RoutedLLM(targets=[unknown]).get_context_window_size() > 100_000
    with serving("hello") as provider:
        theirs = ready(provider, "gpt-4")
        assert RoutedLLM(targets={"budget": theirs}).get_context_window_size() > 0


def test_r10_tokens_are_estimated_without_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with serving("hello") as provider, caplog.at_level(logging.WARNING):
        llm = routed("wire", provider)
        assert llm.get_input_tokens_count("x" * 420) == pytest.approx(104, abs=10)
        message = {"role": "user", "content": "word " * 1000}
        assert 900 < llm.get_input_tokens_count([message]) < 1500
        assert llm.get_input_tokens_count([message], tools=[ADD]) > llm.get_input_tokens_count([message])
        assert not caplog.records


LONG = "lorem ipsum dolor " * 850


@tool("read")
def read(name: str) -> str:
    """Read a file."""
    return LONG


def reads(request: ChatRequest) -> ScriptedReply:
    results = [result for message in request.messages for result in message.tool_results]
    if request.tools and not results:
        return ScriptedReply(tool_calls=(tool_call("read", name="a"),))
    return ScriptedReply(f"{len(results[-1].text) if results else 0} characters")


def test_r10_a_long_tool_result_reaches_the_model() -> None:
    with serving(reads) as provider:
        llm = routed("wire", provider)
        who = agent("Reader", llm, tools=[read])
        assert Crew(agents=[who], tasks=[task("Read.", who)]).kickoff().raw == f"{len(LONG)} characters"


def test_r10_a_history_that_is_too_long_is_compacted() -> None:
    """CrewAI summarises with `acall`, on an event loop of the moment, and goes on with the summary."""
    with serving(reads) as provider:
        target = provider.target(name="small", model="mine", tier="budget", context_window=3000)
        llm = made(RoutedLLM(targets=[target]))
        who = agent("Reader", llm)
        messages = [{"role": "user", "content": LONG}, {"role": "assistant", "content": LONG}]
        assert llm.is_context_window_overflowing_threshold(messages)
        llm.for_agent("Reader").summarize_messages(messages, [])
        assert len(messages) == 1
        assert not llm.is_context_window_overflowing_threshold(messages)
        assert len(provider.requests) >= 2
        assert who.llm is llm


def test_r10_what_the_pool_can_do_decides_how_crewai_calls_tools() -> None:
    with serving("hello") as provider:
        can = provider.target(name="a", model=SMALL)
        cannot = provider.target(
            name="b", model="mine", tier="budget", capabilities=Capabilities(tools=False, vision=False)
        )
        assert made(RoutedLLM(targets=[can, cannot])).supports_function_calling()
        assert not made(RoutedLLM(targets=[cannot])).supports_function_calling()
        assert made(RoutedLLM(targets=[can, cannot])).supports_multimodal()
        assert not made(RoutedLLM(targets=[cannot])).supports_multimodal()
        llm = made(RoutedLLM(targets=[can, cannot]))
        llm.call("hello", tools=[ADD])
        assert provider.requests[-1].model == SMALL
