"""What an error of a LangChain model or of the SDK below it means: one of our ProviderErrors, or nothing of ours."""

from __future__ import annotations

from langchain_core.exceptions import ContextOverflowError, ModelError

from agentroute.errors import BadResponse, ContextTooLong, InvalidRequest, Overloaded, ProviderError
from agentroute.formats.failures import MAX_TEXT, shown
from agentroute.native.errors import own_refusal, sdk_error

__all__ = ["provider_error"]

_NO_CHUNKS = "No generation chunks were returned"
"""What langchain-core raises, as a plain ValueError, where a stream ended without a single chunk."""

_PACKAGES = (
    "langchain_anthropic.",
    "langchain_aws.",
    "langchain_cohere.",
    "langchain_deepseek.",
    "langchain_fireworks.",
    "langchain_google_",
    "langchain_groq.",
    "langchain_huggingface.",
    "langchain_mistralai.",
    "langchain_ollama.",
    "langchain_openai.",
    "langchain_openrouter.",
    "langchain_perplexity.",
    "langchain_together.",
    "langchain_xai.",
)
"""LangChain's packages of providers (https://docs.langchain.com/oss/python/integrations/providers/overview)."""


def provider_error(error: Exception, target: str) -> ProviderError | None:
    """Our error for theirs, or None where it is a mistake in the program (TypeError, ValueError, ...) or unknown."""
    found = sdk_error(error, target)
    if isinstance(error, ContextOverflowError) and not isinstance(found, ContextTooLong):
        return _as(ContextTooLong, error, target, found)
    if found is not None:
        return found
    if isinstance(error, ModelError):
        return _as(Overloaded if error.is_retryable else InvalidRequest, error, target)
    if type(error) is ValueError and str(error) == _NO_CHUNKS:
        return _as(BadResponse, error, target)
    return own_refusal(error, target, _PACKAGES)


def _as(kind: type[ProviderError], error: Exception, target: str, known: ProviderError | None = None) -> ProviderError:
    cause = shown(f"{type(error).__name__}: {error}", MAX_TEXT)
    if known is None:
        return kind(f"target {target!r}: {cause}", target=target, cause=cause)
    return kind(str(known), target=target, status=known.status, code=known.code, cause=type(error).__name__)
