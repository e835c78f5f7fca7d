"""Errors of the providers' SDKs, by the shapes those have: the same classes as over our own transport."""

from __future__ import annotations

from typing import Any

import pytest

from agentroute import (
    AgentRouteError,
    AuthenticationFailed,
    BadResponse,
    ContextTooLong,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    Unsupported,
)
from agentroute.native.errors import own_refusal, sdk_error


class APIError(Exception):
    """OpenAI's and Anthropic's shape: a status, and a body that is an object, a list or a text."""

    def __init__(self, status: int | None, body: Any, message: str = "said so") -> None:
        super().__init__(message)
        self.body = body
        if status is not None:
            self.status_code = status


class GoogleError(Exception):
    """google-genai's shape: the status is `code`, the body is `details`."""

    def __init__(self, code: int, details: Any) -> None:
        super().__init__(f"{code}")
        self.code = code
        self.details = details


class ClientError(Exception):
    """botocore's shape."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.response = {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {"HTTPStatusCode": status},
        }


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (APIError(400, {"message": "x", "code": "unsupported_parameter", "param": "top_p"}), Unsupported),
        (APIError(400, {"error": {"message": "This organization has been disabled."}}), Unsupported),
        (APIError(422, [{"loc": ["body", "seed"], "msg": "no", "type": "extra_forbidden"}]), Unsupported),
        (APIError(403, "<html>Attention Required!</html>"), Unsupported),
        (APIError(403, {"message": "no"}), AuthenticationFailed),
        (APIError(410, None), Unsupported),
        (APIError(400, None, "Your request exceeded model token limit: 262144"), ContextTooLong),
        (APIError(None, {"message": "slow down", "code": "rate_limit_exceeded"}), RateLimited),
        (APIError(None, {"message": "no", "type": "server_error"}), Overloaded),
        (APIError(None, None), BadResponse),
        (
            GoogleError(400, {"error": {"message": "User location is not supported", "status": "FAILED_PRECONDITION"}}),
            Unsupported,
        ),
        (ClientError(400, "ValidationException", "Input is too long for requested model."), ContextTooLong),
        (ClientError(400, "ValidationException", "temperature is not supported for this model"), Unsupported),
        (ClientError(400, "ServiceQuotaExceededException", "x"), QuotaExhausted),
        (ClientError(429, "ThrottlingException", "Too many tokens, please wait before trying again."), RateLimited),
    ],
    ids=str,
)
def test_the_class(error: Exception, kind: type[AgentRouteError]) -> None:
    found = sdk_error(error, "small")
    assert type(found) is kind
    assert found.cause == type(error).__name__ or type(error).__name__ in str(found.cause)
    assert "<html>" not in str(found)


def test_the_reason_is_the_providers_own() -> None:
    found = sdk_error(ClientError(400, "ValidationException", "the reason"), "small")
    assert str(found) == "'small': the provider answered 400 validationexception: the reason"


HOMES = ("langchain_xai.", "crewai.llms.providers.")


def raised(error: Exception, *modules: str) -> Exception:
    """The error as it arrives out of functions of these modules, each called by the one before."""

    inner: Any = None
    for at, module in enumerate(reversed(modules)):
        there: dict[str, Any] = {"__name__": module, "inner": inner, "error": error}
        exec("def run():\n    " + ("raise error" if at == 0 else "inner()"), there)
        inner = there["run"]
    try:
        inner()
    except Exception as found:
        return found
    raise AssertionError


@pytest.mark.parametrize("module", ["langchain_xai.chat_models", "crewai.llms.providers.openai.completion"])
@pytest.mark.parametrize(
    "error",
    [ValueError("tool 'a' is no function"), NotImplementedError("no schemas"), TypeError("expected a dict, got v1")],
)
def test_a_package_that_will_not_send_refuses(error: Exception, module: str) -> None:
    found = own_refusal(raised(error, "app.agent", module), "ready", HOMES)
    assert isinstance(found, Unsupported)
    assert str(error) in str(found)
    assert found.target == "ready"


@pytest.mark.parametrize(
    ("error", "modules"),
    [
        (ValueError("x"), ("app.agent",)),
        (ValueError("x"), ("langchain_xai.chat_models", "app.callbacks")),
        (TypeError("x"), ("crewai.llms.providers.openai.completion", "app.tools")),
        (ValueError("x"), ("langchain_xai_of_mine",)),
        (TypeError("create() got an unexpected keyword argument 'tempreature'"), ("langchain_xai.chat_models",)),
        (TypeError("create() missing 1 required argument: 'model'"), ("langchain_xai.chat_models",)),
        (KeyError("x"), ("langchain_xai.chat_models",)),
        (RuntimeError("x"), ("langchain_xai.chat_models",)),
    ],
)
def test_the_users_mistakes_are_no_refusal(error: Exception, modules: tuple[str, ...]) -> None:
    assert own_refusal(raised(error, *modules), "ready", HOMES) is None


def test_an_error_that_was_never_raised_is_nobodys() -> None:
    assert own_refusal(ValueError("x"), "ready", HOMES) is None
