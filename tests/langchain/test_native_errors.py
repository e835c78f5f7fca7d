"""What the errors of LangChain models and their SDKs mean to the chain."""

from __future__ import annotations

import traceback
from typing import Any

import httpx
import openai
import pytest
from langchain_agentroute import RoutedChatModel, native
from langchain_agentroute.native_errors import provider_error
from langchain_anthropic import ChatAnthropic
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.exceptions import ContextOverflowError, ModelAPIError, ModelInvalidRequestError, ModelTimeoutError
from langchain_core.messages import HumanMessage

from agentroute import (
    AgentRouteError,
    AuthenticationFailed,
    BadResponse,
    ConnectionFailed,
    ContextTooLong,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    Price,
    ProviderTimeout,
    QuotaExhausted,
    RateLimited,
)
from agentroute.testing import Fault, ScriptedProvider

from .pools import STRONG, pool

pytestmark = pytest.mark.requires("langchain", "langchain_openai", "langchain_anthropic")

KEY = "sk-canary-0123456789"
REQUEST = httpx.Request("POST", "http://127.0.0.1/v1", headers={"authorization": f"Bearer {KEY}"})


def status_error(status: int, code: str | None = None, **headers: str) -> openai.APIStatusError:
    body = {"message": "said so", "code": code, "type": None}
    response = httpx.Response(status, request=REQUEST, headers={k.replace("_", "-"): v for k, v in headers.items()})
    return openai.APIStatusError("said so", response=response, body=body)


class AnthropicLike(Exception):
    """Anthropic's errors: a status and the whole body."""

    status_code = 529
    body = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}  # noqa: RUF012


class GoogleLike(Exception):
    """Google's errors: the status is called `code`."""

    code = 503


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (status_error(401), AuthenticationFailed),
        (status_error(404), ModelNotFound),
        (status_error(408), ProviderTimeout),
        (status_error(409), Overloaded),
        (status_error(422), InvalidRequest),
        (status_error(429), RateLimited),
        (status_error(429, "insufficient_quota"), QuotaExhausted),
        (status_error(400, "context_length_exceeded"), ContextTooLong),
        (status_error(503), Overloaded),
        (AnthropicLike(), Overloaded),
        (GoogleLike(), Overloaded),
        (openai.APIConnectionError(request=REQUEST), ConnectionFailed),
        (openai.APITimeoutError(request=REQUEST), ProviderTimeout),
        (openai.APIError("in the stream", request=REQUEST, body=None), BadResponse),
        (httpx.RemoteProtocolError("peer closed connection"), ConnectionFailed),
        (httpx.ReadTimeout("slow"), ProviderTimeout),
        (TimeoutError("slow"), ProviderTimeout),
        (ConnectionResetError(), ConnectionFailed),
        (ContextOverflowError("too long"), ContextTooLong),
        (ModelAPIError("x"), Overloaded),
        (ModelTimeoutError("x"), ProviderTimeout),
        (ModelInvalidRequestError("x"), InvalidRequest),
        (ValueError("No generation chunks were returned"), BadResponse),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_the_class_decides(error: Exception, kind: type[AgentRouteError]) -> None:
    found = provider_error(error, "small")
    assert type(found) is kind
    assert found.target == "small"
    assert found.cause is not None
    assert type(error).__name__ in found.cause


@pytest.mark.parametrize("error", [TypeError("x"), ValueError("x"), KeyError("x"), RuntimeError("x"), AssertionError()])
def test_mistakes_of_the_program_are_none_of_ours(error: Exception) -> None:
    assert provider_error(error, "small") is None


def test_retry_after_and_status_are_kept() -> None:
    found = provider_error(status_error(429, retry_after="7"), "small")
    assert found is not None
    assert (found.status, found.retry_after) == (429, 7.0)


@pytest.mark.parametrize("fault", [Fault.error(401), Fault.error(503), Fault.cut_before_content()])
@pytest.mark.parametrize("streamed", [False, True])
def test_no_key_in_the_error_its_context_or_its_frames(fault: Fault, streamed: bool) -> None:
    with ScriptedProvider("hi", provider="openai", api_key=KEY, fault=fault) as provider:
        model = RoutedChatModel(targets=pool("native", provider))
        try:
            list(model.stream("hello")) if streamed else model.invoke("hello")
        except AgentRouteError as raised:
            error: BaseException | None = raised
        else:
            raise AssertionError("it answered")
    seen: list[Any] = []
    while error is not None:
        seen.append("".join(traceback.TracebackException.from_exception(error, capture_locals=True).format()))
        error = error.__cause__ or error.__context__
    assert seen
    assert not [text for text in seen if KEY in text]


@pytest.mark.parametrize(("status", "kind"), [(429, RateLimited), (503, Overloaded), (401, AuthenticationFailed)])
def test_an_http_librarys_own_error(status: int, kind: type[AgentRouteError]) -> None:
    """An integration without an SDK lets it through; its text holds the URL, and that may hold a key."""
    request = httpx.Request("POST", f"http://127.0.0.1/v1?key={KEY}")
    error = httpx.HTTPStatusError(f"{status} for {request.url}", request=request, response=httpx.Response(status))
    found = provider_error(error, "small")
    assert type(found) is kind
    assert KEY not in f"{found} {found.cause}"


def test_a_connection_error_of_another_library() -> None:
    class ConnectionError(OSError):  # noqa: A001 - requests calls it so
        pass

    assert type(provider_error(ConnectionError("refused"), "small")) is ConnectionFailed


class Refused:
    """A ready Claude whose package will not send some settings, before a target of ours."""

    def __init__(self, provider: ScriptedProvider, **callbacks: Any) -> None:
        root = provider.base_url.removesuffix("/v1")
        claude = ChatAnthropic(model="claude-sonnet-5-5", base_url=root, api_key=provider.api_key, **callbacks)  # type: ignore[call-arg,arg-type]
        self.model = RoutedChatModel(
            targets=[
                native(claude, name="claude", tier="premium", price=Price(0.01, 0.02)),
                provider.target(name="next", model=STRONG),
            ]
        )

    def outcomes(self) -> list[tuple[str, str]]:
        (decision,) = self.model.router.ledger.decisions  # type: ignore[attr-defined]
        return [(attempt.target, attempt.outcome) for attempt in decision.attempts]


def _refuses(settings: dict[str, Any]) -> bool:
    """Older packages know less of what this model refuses."""
    claude = ChatAnthropic(model="claude-sonnet-5-5", api_key="sk-test", **settings)  # type: ignore[call-arg,arg-type]
    try:
        claude._get_request_payload([HumanMessage("Hello.")])
    except ValueError:
        return True
    return False


@pytest.mark.parametrize("settings", [{"temperature": 0.5}, {"top_p": 0.5}, {"top_k": 5}], ids=str)
@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "stream"])
def test_what_a_package_refuses_goes_to_the_next_target(settings: dict[str, Any], streamed: bool) -> None:
    if not _refuses(settings):
        pytest.skip("this langchain-anthropic sends the setting")
    with ScriptedProvider("Fine.", provider="openai") as provider:
        one = Refused(provider)
        model = one.model.model_copy(update={"target_kwargs": {"claude": settings}})
        if streamed:
            assert "".join(chunk.text for chunk in model.stream("Hello.")) == "Fine."
        else:
            assert model.invoke("Hello.").text == "Fine."
        one.model.router.close()
        assert one.outcomes() == [("claude", "failed"), ("next", "ok")]
        assert len(provider.requests) == 1


@pytest.mark.parametrize("error", [ValueError("mine"), TypeError("mine")], ids=repr)
def test_what_a_callback_of_the_users_raises_goes_to_nobody(error: Exception) -> None:
    class Strict(BaseCallbackHandler):
        raise_error = True

        def on_chat_model_start(self, *_: Any, **__: Any) -> None:
            raise error

    with ScriptedProvider("Fine.", provider="openai") as provider:
        one = Refused(provider, callbacks=[Strict()])
        with pytest.raises(type(error), match="mine"):
            one.model.invoke("Hello.")
        one.model.router.close()
        assert not provider.requests


def test_an_argument_that_does_not_exist_goes_to_nobody() -> None:
    with ScriptedProvider("Fine.", provider="openai") as provider:
        one = Refused(provider)
        model = one.model.model_copy(update={"target_kwargs": {"claude": {"tempreature": 0.5}}})
        with pytest.raises(TypeError, match="tempreature"):
            model.invoke("Hello.")
        one.model.router.close()
