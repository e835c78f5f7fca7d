"""Errors on their way in (what a native LLM raises) and out (what CrewAI reads in an error's text)."""

from __future__ import annotations

from crewai.hooks.dispatch import HookAborted
from crewai.llms.base_llm import LLMCallBlockedError
from crewai.utilities.exceptions.context_window_exceeding_exception import (
    CONTEXT_LIMIT_ERRORS,
    LLMContextLengthExceededError,
)

from agentroute import AgentRouteError, AllAttemptsFailed, ContextTooLong, NoCandidateError, ProviderError
from agentroute.native.errors import own_refusal, sdk_error

__all__ = ["native_error", "told_to_crewai"]

_OVERFLOW = "context length exceeded"


def native_error(error: Exception, target: str) -> ProviderError | None:
    """Our error for theirs, or None where it is a hook's refusal, a mistake in the program, or unknown.

    CrewAI's providers wrap what the SDK raised; the SDK's own error says more, so the chain is searched for it. They
    raise errors from themselves too (`raise e from e`), so a chain may have no end.
    """
    if isinstance(error, HookAborted | LLMCallBlockedError):
        return None
    if isinstance(error, LLMContextLengthExceededError):
        text = error.original_error_message
        return ContextTooLong(f"target {target!r}: {text}", target=target, cause=type(error).__name__)
    link: BaseException | None = error
    seen: list[BaseException] = []
    while isinstance(link, Exception) and link not in seen:
        seen.append(link)
        found = sdk_error(link, target)
        if found is not None:
            return found
        link = link.__cause__
    return own_refusal(error, target, ("crewai.llms.providers.",))


def told_to_crewai(error: AgentRouteError) -> AgentRouteError:
    """The error as CrewAI may read it: it looks for words like "rate limit" in the text, and in all errors that hang on
    it, and then waits, compacts the history or gives up tools. So the text is that of the deciding attempt alone; the
    others are in `.attempts`. A conversation that is too long says so in words that CrewAI knows.
    """
    text = str(error)
    if isinstance(error, AllAttemptsFailed):
        text = f"none of {len(error.attempts)} attempts succeeded, at last: {error.cause}"
    too_long = error.too_long if isinstance(error, NoCandidateError) else isinstance(error, ContextTooLong)
    if too_long and not any(words in text.lower() for words in CONTEXT_LIMIT_ERRORS):
        text = f"{_OVERFLOW}: {text}"
    if text == str(error):
        return error
    told = type(error).__new__(type(error), text)
    told.__dict__.update(error.__dict__)
    told.args = (text,)
    return told
