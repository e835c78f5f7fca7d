"""What a call raises: our errors as members of LangChain's ModelError family, so that code catching either works."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

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

from agentroute import errors as ours
from agentroute.errors import AgentRouteError, AllAttemptsFailed

__all__ = ["model_error"]

_FAMILY: Final[Mapping[type[AgentRouteError], type[ModelError]]] = {
    ours.RequestError: ModelInvalidRequestError,
    ours.NoCandidateError: ModelInvalidRequestError,
    ours.BudgetExceeded: ModelPermissionDeniedError,
    ours.RateLimited: ModelRateLimitError,
    ours.QuotaExhausted: ModelPermissionDeniedError,
    ours.Overloaded: ModelAPIError,
    ours.ProviderTimeout: ModelTimeoutError,
    ours.ConnectionFailed: ModelConnectionError,
    ours.BadResponse: ModelAPIError,
    ours.AuthenticationFailed: ModelAuthenticationError,
    ours.ModelNotFound: ModelNotFoundError,
    ours.InvalidRequest: ModelInvalidRequestError,
    ours.Unsupported: ModelInvalidRequestError,
    ours.ContentFiltered: ModelInvalidRequestError,
    ours.ContextTooLong: ContextOverflowError,
    ours.StreamInterrupted: ModelConnectionError,
}
"""By what LangChain's middleware does next: retry what may pass, summarise what overflows, give up the rest.

An account without credit stays without it, so QuotaExhausted is no rate limit here, nor is a budget.
"""

_PERMISSION: Final = 403
_MADE: Final[dict[tuple[type[AgentRouteError], type[ModelError]], type[AgentRouteError]]] = {}


def model_error(error: BaseException) -> BaseException:
    """The error that LangChain code expects: of our class and of theirs, with the one given as its cause.

    Anything else than one of our errors about a call (a TypeError, a ConfigError) comes back as it is.
    """
    if not isinstance(error, AgentRouteError) or isinstance(error, ModelError):
        return error
    theirs = _family(error)
    if theirs is None:
        return error
    both = _both(type(error), theirs)
    made = both.__new__(both, *error.args)
    made.__dict__.update(error.__dict__)
    made.__cause__ = error
    return made


def _family(error: AgentRouteError) -> type[ModelError] | None:
    if isinstance(error, AllAttemptsFailed):
        kinds = [
            _FAMILY[getattr(ours, a.error)] for a in error.attempts if a.error is not None and hasattr(ours, a.error)
        ]
        again = [kind for kind in kinds if kind.is_retryable]
        return (again or kinds or [ModelAPIError])[-1]
    if isinstance(error, ours.AuthenticationFailed) and error.status == _PERMISSION:
        return ModelPermissionDeniedError
    if isinstance(error, ours.NoCandidateError) and error.too_long:
        return ContextOverflowError
    return _FAMILY.get(type(error))


def _both(mine: type[AgentRouteError], theirs: type[ModelError]) -> type[AgentRouteError]:
    """One class that is both, under the name of ours: made once, so that two errors of a kind are of one class."""
    if (mine, theirs) in _MADE:
        return _MADE[mine, theirs]

    def reduce(error: AgentRouteError) -> tuple[Any, ...]:
        return model_error, (error.__cause__,)

    made = type(mine.__name__, (mine, theirs), {"__module__": mine.__module__, "__reduce__": reduce})
    return _MADE.setdefault((mine, theirs), made)
