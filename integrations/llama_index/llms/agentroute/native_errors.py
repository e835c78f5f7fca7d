"""What an error of a LlamaIndex model or of the SDK below it means: one of our ProviderErrors, or nothing of ours."""

from __future__ import annotations

from agentroute.errors import ProviderError
from agentroute.native.errors import own_refusal, sdk_error

__all__ = ["native_error"]


def native_error(error: Exception, target: str) -> ProviderError | None:
    """Our error for theirs, or None where it is a mistake in the program or unknown."""
    return sdk_error(error, target) or own_refusal(error, target, ("llama_index.llms.",))
