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
from agentroute.native.errors import sdk_error


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
