"""What a call raises, and that CrewAI, which reads errors for words, does not misread it."""

from __future__ import annotations

import traceback
from typing import Any

import pytest
from crewai import Crew
from crewai.llms.retry import _ThrottlingErrorClassifier
from crewai.utilities.agent_utils import is_context_length_exceeded, is_native_tool_calling_unsupported_error
from crewai_agentroute import RoutedLLM

from agentroute import AllAttemptsFailed, ContextTooLong, NoCandidateError, RateLimited, Unsupported
from agentroute.testing import Fault

from .crews import ADD, POOLS, WAYS, adds, agent, asked, made, routed, serving, task

both = pytest.mark.parametrize("kind", POOLS)
ways = pytest.mark.parametrize("way", WAYS)

BUSY = Fault.error(429, message="rate limit reached, too many requests")
DOWN = Fault.error(503, message="the house is on fire")


def chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    link: BaseException | None = error
    while link is not None:
        found.append(link)
        link = link.__cause__ or link.__context__
    return found


async def raised(way: str, llm: Any, **arguments: Any) -> BaseException:
    try:
        await asked(way, llm, **arguments)
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


@both
@ways
async def test_r06_only_the_deciding_errors_text(kind: str, way: str) -> None:
    with serving("", fault=BUSY) as busy, serving("", fault=DOWN) as down:
        llm = routed(kind, busy, down)
        error = await raised(way, llm)
        assert type(error) is AllAttemptsFailed
        assert "the house is on fire" in str(error)
        assert not _ThrottlingErrorClassifier.is_throttling_error(error)
        assert all(not isinstance(link, RateLimited) for link in chain(error))
        assert [attempt.status for attempt in error.attempts] == [429, 503, 503]
        assert error.decision is llm.last_decision


@both
@ways
async def test_r06_a_rate_limit_is_one_where_it_decides(kind: str, way: str) -> None:
    with serving("", fault=DOWN) as down, serving("", fault=BUSY) as busy:
        error = await raised(way, routed(kind, down, busy))
        assert chain(error) == [error]
        assert [attempt.status for attempt in error.attempts][:2] == [503, 429]


@both
@ways
async def test_r06_the_key_is_nowhere(kind: str, way: str) -> None:
    with serving("", fault=Fault.error(401), api_key="sk-very-secret") as provider:
        error = await raised(way, routed(kind, provider))
        assert "sk-very-secret" not in "".join(traceback.format_exception(error))
        assert all("sk-very-secret" not in repr(vars(link)) for link in chain(error))


@both
@ways
async def test_r06_a_conversation_that_is_too_long_is_known_to_be(kind: str, way: str) -> None:
    for text in ("prompt is too long: 210000 tokens > 200000 maximum", "maximum context length is 8192 tokens"):
        with serving("", fault=Fault.error(400, message=text)) as provider:
            error = await raised(way, routed(kind, provider))
            assert isinstance(error, ContextTooLong)
            assert is_context_length_exceeded(error)


async def test_r06_a_conversation_that_fits_no_window_is_too_long() -> None:
    with serving("hello") as provider:
        target = provider.target(name="small", model="mine", tier="budget", context_window=500)
        error = await raised("call", made(RoutedLLM(targets=[target])), messages="word " * 1000)
        assert isinstance(error, NoCandidateError)
        assert is_context_length_exceeded(error)


@both
async def test_r06_a_target_that_has_no_tools_is_known_to_have_none(kind: str) -> None:
    no_tools = Fault.error(400, message="this model does not support tools")
    with serving("", fault=no_tools) as provider:
        error = await raised("call", routed(kind, provider), tools=[ADD])
        assert isinstance(error, Unsupported)
        assert is_native_tool_calling_unsupported_error(error)


async def test_no_target_may_serve() -> None:
    with serving("hello") as provider:
        llm = routed("wire", provider).for_agent("x", allow_providers=("mistral",))
        error = await raised("call", llm)
        assert isinstance(error, NoCandidateError)
        assert not is_context_length_exceeded(error)


@both
def test_r06_a_crew_that_fails_makes_the_attempts_of_the_chain_and_no_more(kind: str) -> None:
    with serving("", fault=BUSY) as busy, serving("", fault=Fault.error(429, retry_after=3600)) as limited:
        llm = routed(kind, busy, limited)
        who = agent("Writer", llm)
        with pytest.raises(Exception, match=r"429|rate limit|injected"):
            Crew(agents=[who], tasks=[task("Write.", who)]).kickoff()
        (decision,) = llm.router.ledger.decisions
        assert len(busy.requests) + len(limited.requests) == len(decision.attempts)


@both
def test_a_crew_goes_on_where_a_target_fails(kind: str) -> None:
    with serving("", fault=BUSY) as busy, serving(adds) as other:
        llm = routed(kind, busy, other)
        who = agent("Writer", llm)
        output = Crew(agents=[who], tasks=[task("Write.", who)]).kickoff()
        assert output.raw == "Two and three make five."
        assert (len(busy.requests), len(other.requests)) == (1, 1)
