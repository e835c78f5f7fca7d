"""Our errors as members of LangChain's family: what its middleware sees, and what our own users catch."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ModelRetryMiddleware
from langchain_agentroute import RoutedChatModel
from langchain_agentroute.model_errors import model_error
from langchain_core.exceptions import (
    ContextOverflowError,
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelError,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelPermissionDeniedError,
    ModelRateLimitError,
    ModelTimeoutError,
)

from agentroute import (
    AllAttemptsFailed,
    AuthenticationFailed,
    BadResponse,
    ConfigError,
    ConnectionFailed,
    ContentFiltered,
    ContextTooLong,
    InvalidRequest,
    ModelNotFound,
    NoCandidateError,
    Overloaded,
    ProviderError,
    ProviderTimeout,
    QuotaExhausted,
    RateLimited,
    RequestError,
    StreamInterrupted,
    Target,
)
from agentroute.testing import Fault, ScriptedProvider, nth

from .pools import POOLS, SMALL, STRONG, pool

pytestmark = pytest.mark.requires("langchain", "langchain_openai")

TO_SMALL: Any = {"configurable": {"agentroute": {"strategy": "cheapest"}}}


@pytest.mark.parametrize(
    ("kind", "theirs", "again"),
    [
        (RateLimited, ModelRateLimitError, True),
        (QuotaExhausted, ModelPermissionDeniedError, False),
        (Overloaded, ModelAPIError, True),
        (ProviderTimeout, ModelTimeoutError, True),
        (ConnectionFailed, ModelConnectionError, True),
        (BadResponse, ModelAPIError, True),
        (AuthenticationFailed, ModelAuthenticationError, False),
        (ModelNotFound, ModelNotFoundError, False),
        (InvalidRequest, ModelInvalidRequestError, False),
        (ContentFiltered, ModelInvalidRequestError, False),
        (ContextTooLong, ContextOverflowError, False),
        (StreamInterrupted, ModelConnectionError, True),
    ],
)
def test_each_error_of_a_provider(kind: type[ProviderError], theirs: type[ModelError], again: bool) -> None:
    error = kind("said so", target="small", status=499, retry_after=2.0)
    made = model_error(error)
    assert isinstance(made, kind)
    assert isinstance(made, theirs)
    assert made.is_retryable is again
    assert made.__cause__ is error
    assert str(made) == "said so"
    assert (made.target, made.status, made.retry_after) == ("small", 499, 2.0)
    assert type(made).__name__ == kind.__name__
    assert type(model_error(error)) is type(made)
    assert model_error(made) is made


def test_permission_is_not_authentication() -> None:
    assert isinstance(model_error(AuthenticationFailed("no", status=403)), ModelPermissionDeniedError)


@pytest.mark.parametrize("kind", [RequestError, NoCandidateError])
def test_a_wrong_request_is_not_tried_again(kind: type[Exception]) -> None:
    made = model_error(kind("said so"))
    assert isinstance(made, ModelInvalidRequestError)
    assert isinstance(made, kind)


def test_what_fits_no_window_is_an_overflow_that_a_shorter_conversation_mends() -> None:
    small = Target(provider="openai", model="gpt-4.1-nano", api_key="sk-test", context_window=1000)
    model = RoutedChatModel(targets=[small])
    with pytest.raises(ContextOverflowError) as caught:
        model.invoke("word " * 5000)
    assert isinstance(caught.value, NoCandidateError)
    with pytest.raises(ModelInvalidRequestError):
        model.invoke("word " * 5000, {"configurable": {"agentroute": {"tier": "premium"}}})


@pytest.mark.parametrize("error", [TypeError("x"), ValueError("x"), ConfigError("x"), KeyboardInterrupt()])
def test_mistakes_stay_what_they_are(error: BaseException) -> None:
    assert model_error(error) is error


def test_an_error_survives_a_pickle() -> None:
    made = pickle.loads(pickle.dumps(model_error(RateLimited("said so", target="small", retry_after=2.0))))
    assert isinstance(made, RateLimited)
    assert isinstance(made, ModelRateLimitError)
    assert (str(made), made.retry_after) == ("said so", 2.0)


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize(
    ("first", "second", "theirs"),
    [(429, 503, ModelAPIError), (503, 429, ModelRateLimitError), (429, 401, ModelRateLimitError)],
)
def test_of_many_failures_one_that_may_pass_decides(
    kind: str, first: int, second: int, theirs: type[ModelError]
) -> None:
    def fault(request: Any) -> Fault:
        return Fault.error(first if request.model == SMALL else second)

    with ScriptedProvider("hi", fault=fault, provider="openai") as provider:
        model = RoutedChatModel(targets=pool(kind, provider))
        with pytest.raises(AllAttemptsFailed) as caught:
            model.invoke("hello", TO_SMALL)
        model.router.close()
    assert isinstance(caught.value, theirs)
    assert caught.value.is_retryable
    assert isinstance(caught.value.__cause__, AllAttemptsFailed)
    assert caught.value.decision is not None


@pytest.mark.parametrize("kind", POOLS)
def test_langchains_own_retry_middleware_knows_what_to_do(kind: str) -> None:
    """A wrong request is not sent again; an overload is."""
    for status, requests in ((400, 1), (503, 3)):
        with ScriptedProvider("hi", fault=Fault.error(status), provider="openai") as provider:
            model = RoutedChatModel(targets=pool(kind, provider))
            retry = ModelRetryMiddleware(max_retries=1, initial_delay=0.0, jitter=False, on_failure="error")
            agent = create_agent(model, middleware=[retry])
            with pytest.raises(ModelError):
                agent.invoke({"messages": [("user", "hello")]}, TO_SMALL)
            model.router.close()
        assert len(provider.requests) >= requests
        assert (len(provider.requests) == 1) is (status == 400)


def test_the_traced_error_is_the_raised_one() -> None:
    from .pools import Runs

    runs = Runs()
    with ScriptedProvider("hi", fault=nth(1, Fault.error(400)), provider="openai") as provider:
        model = RoutedChatModel(targets=pool("wire", provider))
        with pytest.raises(ModelInvalidRequestError):
            model.invoke("hello", {**TO_SMALL, "callbacks": [runs]})
        model.router.close()
    assert [run["end"] for run in runs.named("RoutedChatModel")] == ["InvalidRequest"]
    assert STRONG not in [request.model for request in provider.requests]
